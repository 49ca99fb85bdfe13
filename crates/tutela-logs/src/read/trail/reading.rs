//! One file of a label, open for reading by a [`super::Trail`]: when it was begun, how many lines were before it, and
//! the moments of its lines where they have none of their own.

use crate::doors::Doors;
use crate::files;
use crate::index::Mark;
use crate::index::look::Index;
use crate::policy::Form;
use crate::read::Place;
use crate::read::moments::Moments;
use crate::read::source::Source;
use crate::stamp::Wall;
use crate::writer::{begun_without_index, form_of, read_up_to};
use std::io::{self, Read, Seek, SeekFrom};

/// How much of a file is looked at to know its form: its longest beginning of an entry.
const BEGINNING_BYTES: usize = 64;

/// An open file.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) source: Source,
    /// `None`: it is the current one.
    pub(super) stamp: Option<String>,
    pub(super) form: Form,
    pub(super) begun: u64,
    /// How many lines were before it; `None`: nobody knows.
    pub(super) first: Option<u64>,
    moments: Option<Moments>,
}

impl Reading {
    /// `None`: it is not there, or is no file. `before` is the stamp of the file before it.
    pub(super) fn at(
        doors: Doors,
        place: &Place,
        stamp: Option<&str>,
        before: Option<&str>,
    ) -> io::Result<Option<Self>> {
        let path = match stamp {
            Some(stamp) => files::rotated(&place.dir, &place.label, stamp),
            None => files::current(&place.dir, &place.label),
        };
        let Some(mut source) = Source::open(doors, &path)? else { return Ok(None) };
        let mut beginning = [0; BEGINNING_BYTES];
        let filled = read_up_to(&mut source, &mut beginning)?;
        let beginning = &beginning[..filled];
        let index = Index::open(doors, &files::index_of(&path));
        let head = index.as_ref().map(Index::head);
        let begun = match head {
            Some(head) => head.begun,
            None => begun_without_index(beginning, before, &source.metadata()?),
        };
        Ok(Some(Reading {
            form: form_of(beginning),
            source,
            stamp: stamp.map(str::to_owned),
            begun,
            first: head.filter(|head| head.exact).map(|head| head.first),
            moments: index.map(Moments::over),
        }))
    }

    /// Reads at this offset.
    pub(super) fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.seek(SeekFrom::Start(offset))?;
        loop {
            match self.source.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// The form of a file that was empty when it was opened.
    pub(super) fn look_at_form(&mut self, beginning: &[u8]) {
        self.form = form_of(beginning);
    }

    /// When what stands at this offset was written, as far as the index knows. For offsets that grow.
    pub(super) fn moment(&mut self, offset: u64) -> Option<Wall> {
        self.moments.as_mut()?.at(offset).map(|(at, _)| at)
    }

    /// Looks for marks that were written since, and whether the index says that the file was begun again.
    pub(super) fn is_begun_again(&mut self) -> bool {
        let Some(moments) = &mut self.moments else { return false };
        moments.look_again();
        let known = moments.index.head().begun;
        moments.index.head_again().is_some_and(|head| head.begun != known)
    }

    pub(super) fn has_index(&self) -> bool {
        self.moments.is_some()
    }

    /// The last place at or before this offset of which the index knows how many lines are before it.
    pub(super) fn counted(&mut self, offset: u64) -> Option<Mark> {
        let (_, mark) = self.moments.as_mut()?.index.at_or_before(offset)?;
        Some(mark)
    }
}
