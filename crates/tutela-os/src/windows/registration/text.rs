//! Text as the functions of Windows take and give it: UTF-16 with a NUL at its end, or lists of such.
//!
//! Invariant: what comes in has no NUL inside, which planning checks once for every text of a definition.

/// A text that ends with a NUL.
#[derive(Debug, Clone)]
pub(super) struct Wide(Vec<u16>);

impl Wide {
    pub(super) fn new(text: &str) -> Wide {
        Wide(text.encode_utf16().chain([0]).collect())
    }

    /// A list as `REG_MULTI_SZ` has it: every text with its NUL, and one more at the end.
    pub(super) fn list<T: AsRef<str>>(texts: &[T]) -> Wide {
        let mut units: Vec<u16> = texts.iter().flat_map(|text| text.as_ref().encode_utf16().chain([0])).collect();
        // An empty list is two NULs as well, because readers look for the second one.
        if units.is_empty() {
            units.push(0);
        }
        units.push(0);
        Wide(units)
    }

    /// Valid as long as this lives.
    pub(super) fn as_ptr(&self) -> *const u16 {
        self.0.as_ptr()
    }

    /// The bytes with the NULs, as the registry keeps them.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }
}

/// The text before the first NUL.
pub(super) fn text(units: &[u16]) -> String {
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    String::from_utf16_lossy(&units[..end])
}

/// The texts of a list, up to the first empty one.
pub(super) fn texts(units: &[u16]) -> Vec<String> {
    units.split(|unit| *unit == 0).take_while(|text| !text.is_empty()).map(String::from_utf16_lossy).collect()
}

/// The units of bytes from the registry; an odd byte at the end is no unit.
pub(super) fn units(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// How many units there are before the NUL at `start`; nought for none.
///
/// # Safety
/// `start` is null or points to units that end with a NUL.
unsafe fn length(start: *const u16) -> usize {
    if start.is_null() {
        return 0;
    }
    let mut length = 0;
    loop {
        // SAFETY: every unit before this one was not the NUL, so this one is still inside.
        let unit = unsafe { start.add(length) };
        // SAFETY: as above; units that the OS gives are aligned.
        if unsafe { unit.read() } == 0 {
            return length;
        }
        length += 1;
    }
}

/// The text at `start`; nothing for a null pointer.
///
/// # Safety
/// `start` is null or points to units that end with a NUL.
pub(super) unsafe fn text_at(start: *const u16) -> String {
    // SAFETY: as the caller says.
    let length = unsafe { length(start) };
    if length == 0 {
        return String::new();
    }
    // SAFETY: that many units were just read from there.
    let units = unsafe { std::slice::from_raw_parts(start, length) };
    String::from_utf16_lossy(units)
}

/// The list at `start`; nothing for a null pointer.
///
/// # Safety
/// `start` is null or points to texts with a NUL each, the last of them empty.
pub(super) unsafe fn texts_at(start: *const u16) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = start;
    loop {
        // SAFETY: `next` is the start of a text of the list, or null.
        let text = unsafe { text_at(next) };
        if text.is_empty() {
            return texts;
        }
        // SAFETY: `next` is the start of a text of the list.
        let units = unsafe { length(next) };
        // SAFETY: the text is followed by its NUL, and that by the next text or the last NUL.
        next = unsafe { next.add(units + 1) };
        texts.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_the_way_there_and_back() {
        for list in [&["a", "zwei ö", "三"][..], &["one"], &[]] {
            let bytes = Wide::list(list).bytes();
            assert_eq!(texts(&units(&bytes)), list);
            assert_eq!(bytes[bytes.len() - 4..], [0; 4]);
        }
    }

    #[test]
    fn lists_are_read_where_they_lie() {
        let list = Wide::list(&["a", "bc"]);
        // SAFETY: the list is well formed and lives.
        assert_eq!(unsafe { texts_at(list.as_ptr()) }, ["a", "bc"]);
        // SAFETY: null is allowed.
        assert_eq!(unsafe { texts_at(std::ptr::null()) }, Vec::<String>::new());
    }
}
