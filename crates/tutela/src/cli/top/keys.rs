//! What a terminal sends for a key.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C.
    Interrupt,
}

/// The keys in what one read gave. A terminal sends a key's bytes at once, so that an escape character with nothing
/// behind it is the key of that name; what is not known is passed over.
pub fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        keys.extend(match first {
            0x1b => match after {
                [b'[', sequence @ ..] => {
                    let length = sequence.iter().position(|byte| matches!(byte, 0x40..=0x7e)).unwrap_or(sequence.len());
                    rest = sequence.get(length + 1..).unwrap_or_default();
                    named(sequence.get(..=length).unwrap_or_default())
                }
                [b'O', letter, others @ ..] => {
                    rest = others;
                    named(&[*letter])
                }
                _ => Some(Key::Escape),
            },
            b'\r' | b'\n' => Some(Key::Enter),
            0x7f | 0x08 => Some(Key::Backspace),
            0x03 => Some(Key::Interrupt),
            0x00..=0x1f => None,
            _ => {
                let text = String::from_utf8_lossy(&bytes[bytes.len() - after.len() - 1..]).into_owned();
                let letter = text.chars().next();
                rest = &after[letter.map_or(0, |letter| (letter.len_utf8() - 1).min(after.len()))..];
                letter.filter(|letter| *letter != char::REPLACEMENT_CHARACTER).map(Key::Char)
            }
        });
    }
    keys
}

fn named(sequence: &[u8]) -> Option<Key> {
    Some(match sequence {
        [.., b'A'] => Key::Up,
        [.., b'B'] => Key::Down,
        [.., b'H'] | b"1~" | b"7~" => Key::Home,
        [.., b'F'] | b"4~" | b"8~" => Key::End,
        b"5~" => Key::PageUp,
        b"6~" => Key::PageDown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_terminals_become_keys() {
        assert_eq!(keys(b"j\x1b[A\x1bOB\x1b[1;5Bq"), [Key::Char('j'), Key::Up, Key::Down, Key::Down, Key::Char('q')]);
        assert_eq!(keys(b"\x1b[5~\x1b[6~\x1b[H\x1b[4~"), [Key::PageUp, Key::PageDown, Key::Home, Key::End]);
        assert_eq!(keys("ä\r\x7f".as_bytes()), [Key::Char('ä'), Key::Enter, Key::Backspace]);
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
        assert_eq!(keys(b"\x03\x1b[99u\xff\x01"), [Key::Interrupt]);
        assert_eq!(keys(b"\x1b["), []);
    }
}
