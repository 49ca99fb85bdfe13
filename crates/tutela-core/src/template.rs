//! Text with a hole for the number of the instance.
//!
//! Everything else in a spec is known when it is read; `${instance}` is known when an instance exists.
//! So the text of a spec that goes into a program's start is kept as a template until then.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Text in which the instance's number may stand any number of times. Clones share it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Template {
    pieces: Arc<[Piece]>,
}

/// A part of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Piece {
    /// Text, as it is.
    Text(String),
    /// The number of the instance.
    Instance,
}

impl Template {
    /// A template without a hole.
    pub fn fixed(text: impl Into<String>) -> Self {
        Template { pieces: Arc::new([Piece::Text(text.into())]) }
    }

    /// A template of these pieces.
    pub fn from_pieces(pieces: Vec<Piece>) -> Self {
        Template { pieces: pieces.into() }
    }

    /// The text for instance `index`, borrowed where it is the same for all.
    pub fn text(&self, index: u16) -> Cow<'_, str> {
        match &*self.pieces {
            [] => Cow::Borrowed(""),
            [Piece::Text(text)] => Cow::Borrowed(text),
            _ => Cow::Owned(self.render(index)),
        }
    }

    /// The text for instance `index`.
    pub fn render(&self, index: u16) -> String {
        let mut out = String::new();
        for piece in &*self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Instance => out.push_str(&index.to_string()),
            }
        }
        out
    }

    /// Whether the text differs from instance to instance.
    pub fn varies(&self) -> bool {
        self.pieces.contains(&Piece::Instance)
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

impl From<&str> for Template {
    fn from(text: &str) -> Self {
        Template::fixed(text)
    }
}

/// As it is written in a spec: `worker-${instance}`.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &*self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Instance => f.write_str("${instance}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}
