//! Keys and values of the registry: owned keys, values with their kind, and whole trees for taking a step back.
//!
//! Always the 64-bit view, which is the one that the SCM reads. Nothing is cached: whoever plans reads, whoever carries
//! out reads again.

use super::text::{Wide, text, texts, units};
use crate::platform::security::Descriptor;
use std::fmt;
use std::io;
use windows_sys::Win32::Foundation::{
    ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, ERROR_SUCCESS, WIN32_ERROR,
};
use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_CURRENT_USER, HKEY_LOCAL_MACHINE, KEY_ALL_ACCESS, KEY_READ, KEY_SET_VALUE, KEY_WOW64_64KEY,
    REG_CREATED_NEW_KEY, REG_DWORD, REG_EXPAND_SZ, REG_MULTI_SZ, REG_OPTION_NON_VOLATILE, REG_SAM_FLAGS, REG_SZ,
    RegCloseKey, RegCreateKeyExW, RegDeleteKeyExW, RegDeleteTreeW, RegDeleteValueW, RegEnumKeyExW, RegEnumValueW,
    RegOpenKeyExW, RegQueryValueExW, RegSetValueExW,
};

/// The longest name of a key in UTF-16 units, with its NUL.
const LONGEST_KEY: usize = 256;

/// The longest name of a value in UTF-16 units, with its NUL.
const LONGEST_VALUE_NAME: usize = 16_384;

/// How often a value that grows while it is read is read again, before that is told.
const ATTEMPTS: usize = 4;

/// Whose part of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// `HKLM`, the computer's.
    Machine,
    /// `HKCU`, that of the account which runs this.
    User,
}

/// A key by its root and path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) root: Root,
    pub(super) path: String,
}

impl Place {
    pub(super) fn machine(path: impl Into<String>) -> Place {
        Place { root: Root::Machine, path: path.into() }
    }

    pub(super) fn child(&self, name: &str) -> Place {
        Place { root: self.root, path: format!("{}\\{name}", self.path) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = match self.root {
            Root::Machine => "HKLM",
            Root::User => "HKCU",
        };
        write!(f, "{root}\\{}", self.path)
    }
}

/// What a value holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data {
    kind: u32,
    bytes: Vec<u8>,
}

impl Data {
    pub(super) fn text(value: &str) -> Data {
        Data { kind: REG_SZ, bytes: Wide::new(value).bytes() }
    }

    pub(super) fn texts<T: AsRef<str>>(values: &[T]) -> Data {
        Data { kind: REG_MULTI_SZ, bytes: Wide::list(values).bytes() }
    }

    pub(super) fn as_text(&self) -> Option<String> {
        [REG_SZ, REG_EXPAND_SZ].contains(&self.kind).then(|| text(&units(&self.bytes)))
    }

    pub(super) fn as_texts(&self) -> Option<Vec<String>> {
        (self.kind == REG_MULTI_SZ).then(|| texts(&units(&self.bytes)))
    }

    pub(super) fn as_number(&self) -> Option<u32> {
        let bytes = self.bytes.as_slice().try_into().ok()?;
        (self.kind == REG_DWORD).then(|| u32::from_le_bytes(bytes))
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.as_text() {
            return f.write_str(&text);
        }
        if let Some(texts) = self.as_texts() {
            return f.write_str(&texts.join(" | "));
        }
        if let Some(number) = self.as_number() {
            return write!(f, "{number}");
        }
        write!(f, "{} bytes of kind {}", self.bytes.len(), self.kind)
    }
}

/// Everything in a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tree {
    values: Vec<(String, Data)>,
    keys: Vec<(String, Tree)>,
}

/// An open key, closed on drop.
struct Key(HKEY);

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key was opened by us and is closed once.
        unsafe { RegCloseKey(self.0) };
    }
}

fn checked(code: WIN32_ERROR) -> io::Result<()> {
    if code == ERROR_SUCCESS { Ok(()) } else { Err(of_code(code)) }
}

fn of_code(code: WIN32_ERROR) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed())
}

fn predefined(root: Root) -> HKEY {
    match root {
        Root::Machine => HKEY_LOCAL_MACHINE,
        Root::User => HKEY_CURRENT_USER,
    }
}

fn open(place: &Place, access: REG_SAM_FLAGS) -> io::Result<Option<Key>> {
    let path = Wide::new(&place.path);
    let mut key: HKEY = std::ptr::null_mut();
    // SAFETY: the path ends with a NUL and lives through the call; the result is written to a local.
    let code =
        unsafe { RegOpenKeyExW(predefined(place.root), path.as_ptr(), 0, access | KEY_WOW64_64KEY, &raw mut key) };
    if code == ERROR_FILE_NOT_FOUND {
        return Ok(None);
    }
    checked(code).map(|()| Some(Key(key)))
}

/// The value `name`; `None` when there is no such value or no such key.
pub(super) fn read(place: &Place, name: &str) -> io::Result<Option<Data>> {
    let Some(key) = open(place, KEY_READ)? else { return Ok(None) };
    let wide = Wide::new(name);
    let mut bytes: Vec<u8> = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut kind = 0;
        let mut size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let buffer = if bytes.is_empty() { std::ptr::null_mut() } else { bytes.as_mut_ptr() };
        // SAFETY: the buffer has `size` bytes, or is null, which asks for the size; the name ends with a NUL.
        let code =
            unsafe { RegQueryValueExW(key.0, wide.as_ptr(), std::ptr::null(), &raw mut kind, buffer, &raw mut size) };
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        match code {
            ERROR_FILE_NOT_FOUND => return Ok(None),
            ERROR_SUCCESS if length <= bytes.len() => {
                bytes.truncate(length);
                return Ok(Some(Data { kind, bytes }));
            }
            ERROR_SUCCESS | ERROR_MORE_DATA => bytes.resize(length, 0),
            code => return Err(of_code(code)),
        }
    }
    Err(of_code(ERROR_MORE_DATA))
}

/// Writes the value `name` of a key that there is.
pub(super) fn write(place: &Place, name: &str, data: &Data) -> io::Result<()> {
    let key = open(place, KEY_SET_VALUE)?.ok_or_else(|| of_code(ERROR_FILE_NOT_FOUND))?;
    let wide = Wide::new(name);
    let size = u32::try_from(data.bytes.len()).map_err(io::Error::other)?;
    // SAFETY: the data has `size` bytes; the name ends with a NUL; both live through the call.
    checked(unsafe { RegSetValueExW(key.0, wide.as_ptr(), 0, data.kind, data.bytes.as_ptr(), size) })
}

/// Removes the value `name`, if it is there.
pub(super) fn remove(place: &Place, name: &str) -> io::Result<()> {
    let Some(key) = open(place, KEY_SET_VALUE)? else { return Ok(()) };
    let wide = Wide::new(name);
    // SAFETY: the name ends with a NUL and lives through the call.
    match unsafe { RegDeleteValueW(key.0, wide.as_ptr()) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        code => checked(code),
    }
}

/// Makes the key and those above it; with the access list `descriptor` when it was not there. Answers whether it was
/// made.
pub(super) fn make(place: &Place, descriptor: Option<&Descriptor>) -> io::Result<bool> {
    let path = Wide::new(&place.path);
    let attributes: Option<SECURITY_ATTRIBUTES> = descriptor.map(Descriptor::attributes);
    let security = attributes.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mut key: HKEY = std::ptr::null_mut();
    let mut disposition = 0;
    // SAFETY: the path ends with a NUL; the attributes, when given, point to a descriptor that lives through the
    // call; results are written to locals.
    let code = unsafe {
        RegCreateKeyExW(
            predefined(place.root),
            path.as_ptr(),
            0,
            std::ptr::null(),
            REG_OPTION_NON_VOLATILE,
            KEY_SET_VALUE | KEY_WOW64_64KEY,
            security,
            &raw mut key,
            &raw mut disposition,
        )
    };
    checked(code)?;
    drop(Key(key));
    Ok(disposition == REG_CREATED_NEW_KEY)
}

/// Removes the key with everything in it, if it is there.
pub(super) fn remove_tree(place: &Place) -> io::Result<()> {
    let Some(key) = open(place, KEY_ALL_ACCESS)? else { return Ok(()) };
    // SAFETY: a null name means the content of the key, which is open with all rights.
    checked(unsafe { RegDeleteTreeW(key.0, std::ptr::null()) })?;
    drop(key);
    let path = Wide::new(&place.path);
    // SAFETY: the path ends with a NUL and lives through the call.
    match unsafe { RegDeleteKeyExW(predefined(place.root), path.as_ptr(), KEY_WOW64_64KEY, 0) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        code => checked(code),
    }
}

/// Removes the key when there is nothing in it.
pub(super) fn remove_if_empty(place: &Place) -> io::Result<()> {
    if tree(place)?.is_some_and(|tree| tree == Tree::default()) { remove_tree(place) } else { Ok(()) }
}

/// The names of the keys in a key; none when it is not there.
pub(super) fn keys(place: &Place) -> io::Result<Vec<String>> {
    let Some(key) = open(place, KEY_READ)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for index in 0.. {
        let mut name = [0_u16; LONGEST_KEY];
        let mut size = LONGEST_KEY as u32;
        // SAFETY: the buffer has `size` units; what is not wanted is null.
        let code = unsafe {
            RegEnumKeyExW(
                key.0,
                index,
                name.as_mut_ptr(),
                &raw mut size,
                std::ptr::null(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if code == ERROR_NO_MORE_ITEMS {
            break;
        }
        checked(code)?;
        names.push(text(&name));
    }
    Ok(names)
}

/// Everything in the key, for putting it back.
pub(super) fn tree(place: &Place) -> io::Result<Option<Tree>> {
    let Some(key) = open(place, KEY_READ)? else { return Ok(None) };
    let mut tree = Tree::default();
    for index in 0.. {
        let mut name = vec![0_u16; LONGEST_VALUE_NAME];
        let mut size = LONGEST_VALUE_NAME as u32;
        // SAFETY: the buffer has `size` units; what is not wanted is null.
        let code = unsafe {
            RegEnumValueW(
                key.0,
                index,
                name.as_mut_ptr(),
                &raw mut size,
                std::ptr::null(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if code == ERROR_NO_MORE_ITEMS {
            break;
        }
        checked(code)?;
        let name = text(&name);
        tree.values.extend(read(place, &name)?.map(|data| (name, data)));
    }
    for name in keys(place)? {
        if let Some(inner) = self::tree(&place.child(&name))? {
            tree.keys.push((name, inner));
        }
    }
    Ok(Some(tree))
}

/// Puts everything of `tree` into the key, which is made.
pub(super) fn put(place: &Place, tree: &Tree, descriptor: Option<&Descriptor>) -> io::Result<()> {
    make(place, descriptor)?;
    for (name, data) in &tree.values {
        write(place, name, data)?;
    }
    tree.keys.iter().try_for_each(|(name, inner)| put(&place.child(name), inner, None))
}
