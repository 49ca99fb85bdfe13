//! The screen by escape sequences, written at once for each picture.

use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier};
use std::io::{self, Write};
use tutela_os::terminal;

/// Where nobody tells how big the window is.
const SIZE_DEFAULT: Size = Size { width: 80, height: 24 };

/// To the alternate screen, cleared, without a cursor; and back.
pub const ENTER: &str = "\x1b[?1049h\x1b[2J\x1b[?25l";
pub const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// Draws on standard output.
#[derive(Debug, Default)]
pub struct Ansi {
    waiting: Vec<u8>,
}

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut look = None;
        let mut expected = None;
        for (x, y, cell) in content {
            if expected != Some((x, y)) {
                write!(self.waiting, "\x1b[{};{}H", y + 1, x + 1)?;
            }
            let wanted = (cell.fg, cell.bg, cell.modifier);
            if look != Some(wanted) {
                self.style(cell.fg, cell.modifier)?;
                look = Some(wanted);
            }
            self.waiting.extend_from_slice(cell.symbol().as_bytes());
            // What is wider than a column is behind by one; it is told where it is again.
            expected = cell.symbol().is_ascii().then_some((x + 1, y));
        }
        self.waiting.extend_from_slice(b"\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.waiting.extend_from_slice(b"\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.waiting.extend_from_slice(b"\x1b[?25h");
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Nothing here is drawn from where the cursor is.
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        write!(self.waiting, "\x1b[{};{}H", position.y + 1, position.x + 1)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.waiting.extend_from_slice(b"\x1b[0m\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        self.waiting.extend_from_slice(match region {
            ClearType::All => b"\x1b[2J",
            ClearType::AfterCursor => b"\x1b[0J",
            ClearType::BeforeCursor => b"\x1b[1J",
            ClearType::CurrentLine => b"\x1b[2K",
            ClearType::UntilNewLine => b"\x1b[0K",
        });
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        Ok(terminal::size().map_or(SIZE_DEFAULT, |(width, height)| Size { width, height }))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(&self.waiting)?;
        self.waiting.clear();
        out.flush()
    }
}

impl Ansi {
    /// The looks that the pictures here have; others are drawn plainly.
    fn style(&mut self, colour: Color, modifier: Modifier) -> io::Result<()> {
        self.waiting.extend_from_slice(b"\x1b[0");
        for (flag, code) in [
            (Modifier::BOLD, &b";1"[..]),
            (Modifier::DIM, b";2"),
            (Modifier::UNDERLINED, b";4"),
            (Modifier::REVERSED, b";7"),
        ] {
            if modifier.contains(flag) {
                self.waiting.extend_from_slice(code);
            }
        }
        let code = match colour {
            Color::Red => 31,
            Color::Green => 32,
            Color::Yellow => 33,
            Color::Cyan => 36,
            _ => 39,
        };
        write!(self.waiting, ";{code}m")
    }
}
