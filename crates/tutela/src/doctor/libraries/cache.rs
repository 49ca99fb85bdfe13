//! The list of libraries that `ldconfig` makes, `/etc/ld.so.cache`, in the form that glibc has written since 1998.

use std::collections::HashMap;
use std::path::PathBuf;

/// Begins the list; an older list may stand before it.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";

/// Bytes of the head, and of one entry.
const HEAD_BYTES: usize = 48;
const ENTRY_BYTES: usize = 24;

/// The files of each library's name, in the order of the list. Empty where the bytes are something else.
pub(super) fn parse(bytes: &[u8]) -> HashMap<String, Vec<PathBuf>> {
    let mut found: HashMap<String, Vec<PathBuf>> = HashMap::new();
    let Some(begin) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) else { return found };
    let list = &bytes[begin..];
    let number = |at: usize| -> Option<usize> {
        let four: [u8; 4] = list.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(four)).ok()
    };
    // Places of texts count from the beginning of this list.
    let text = |at: usize| -> Option<String> {
        let rest = list.get(at..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    };
    let count = number(20).unwrap_or(0).min(list.len() / ENTRY_BYTES);
    for index in 0..count {
        let at = HEAD_BYTES + index * ENTRY_BYTES;
        if let (Some(name), Some(path)) = (number(at + 4).and_then(text), number(at + 8).and_then(text)) {
            found.entry(name).or_default().push(PathBuf::from(path));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_read_and_a_cut_list_gives_what_it_has() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(2_u32.to_ne_bytes());
        bytes.resize(HEAD_BYTES, 0);
        let texts = u32::try_from(HEAD_BYTES + 2 * ENTRY_BYTES).unwrap_or(0);
        for (name, path) in [(texts, texts + 9), (999_999, texts)] {
            let mut entry = 1_u32.to_ne_bytes().to_vec();
            entry.extend(name.to_ne_bytes());
            entry.extend(path.to_ne_bytes());
            entry.resize(ENTRY_BYTES, 0);
            bytes.extend(entry);
        }
        bytes.extend(b"liba.so.1\0/lib/liba.so.1\0".iter().copied());
        // The name has nine letters and its end.
        let found = parse(&bytes);
        assert_eq!(found.len(), 1);
        assert!(parse(b"something else").is_empty());
    }
}
