//! The Event Log: sources in the registry, and reports.

use crate::eventlog::{FIELDS_MAX, Kind, Level, Line, Record, cut, field_name};
use crate::{Error, Unsupported};
use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_SUCCESS, HANDLE};
use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_ERROR_TYPE, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};
use windows_sys::Win32::System::Registry::{
    HKEY, HKEY_LOCAL_MACHINE, KEY_SET_VALUE, REG_DWORD, REG_EXPAND_SZ, REG_OPTION_NON_VOLATILE, REG_VALUE_TYPE,
    RRF_NOEXPAND, RRF_RT_REG_EXPAND_SZ, RRF_RT_REG_SZ, RegCloseKey, RegCreateKeyExW, RegDeleteKeyW, RegGetValueW,
    RegSetValueExW,
};

pub(crate) const KIND: Option<Kind> = Some(Kind::EventLog);

/// Where sources of the log that administrators look into are registered.
const SOURCES: &str = r"SYSTEM\CurrentControlSet\Services\EventLog\Application";

/// The file that has a text for each id from 1 to 1000: the record's own first text.
const MESSAGES: &str = r"%SystemRoot%\System32\EventCreate.exe";

/// Errors, warnings and information.
const TYPES: u32 = 7;

/// A report has at most 61,440 bytes of texts in all; the texts for people come first.
const TEXT_UNITS_MAX: usize = 30_000;

/// The handle of a source. It is closed by a call of its own.
#[derive(Debug)]
pub(crate) struct EventLog(HANDLE);

// SAFETY: the handle names something of the log's process; its calls may be made from any thread, at the same time too.
unsafe impl Send for EventLog {}
// SAFETY: as above.
unsafe impl Sync for EventLog {}

impl EventLog {
    pub(crate) fn open(source: &str) -> Result<EventLog, Error> {
        let name = wide(source);
        // SAFETY: no computer means this one, and the name ends with a NUL.
        let handle = unsafe { RegisterEventSourceW(std::ptr::null(), name.as_ptr()) };
        if handle.is_null() {
            return Err(Error::io("open the Event Log", io::Error::last_os_error()));
        }
        Ok(EventLog(handle))
    }

    pub(crate) fn write(&self, record: &Record<'_>) -> Result<(), Error> {
        let kind = match record.level {
            Level::Error => EVENTLOG_ERROR_TYPE,
            Level::Warning => EVENTLOG_WARNING_TYPE,
            Level::Notice | Level::Info | Level::Debug => EVENTLOG_INFORMATION_TYPE,
        };
        let texts = texts(record);
        let pointers: Vec<*const u16> = texts.iter().map(|text| text.as_ptr()).collect();
        let count = u16::try_from(pointers.len()).unwrap_or(0);
        let id = u32::from(record.id.clamp(1, 1000));
        // SAFETY: the handle is open; there are that many pointers, each to a text that ends with a NUL; there is no
        // user and no further data.
        let written = unsafe {
            ReportEventW(self.0, kind, 0, id, std::ptr::null_mut(), count, 0, pointers.as_ptr(), std::ptr::null())
        };
        if written == 0 {
            return Err(Error::io("write to the Event Log", io::Error::last_os_error()));
        }
        Ok(())
    }
}

impl EventLog {
    pub(crate) fn relay(&self, _line: &Line<'_>) -> Result<(), Error> {
        Err(Unsupported::new("journal", "the journal is a part of systemd, which Windows does not have").into())
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again.
        unsafe { DeregisterEventSource(self.0) };
    }
}

/// The message, and each field as `NAME=value`, as far as there is room.
fn texts(record: &Record<'_>) -> Vec<Vec<u16>> {
    let fields = record.fields.iter().take(FIELDS_MAX).filter_map(|(name, value)| {
        let name = field_name(name)?;
        Some(format!("{name}={}", cut(value)))
    });
    let mut room = TEXT_UNITS_MAX;
    std::iter::once(cut(record.message).to_owned())
        .chain(fields)
        .map(|text| wide(&text))
        .take_while(|text| {
            let fits = text.len() <= room;
            room = room.saturating_sub(text.len());
            fits
        })
        .collect()
}

fn wide(text: &str) -> Vec<u16> {
    OsStr::new(text).encode_wide().filter(|unit| *unit != 0).take(TEXT_UNITS_MAX - 1).chain([0]).collect()
}

pub(crate) fn output_is_journal() -> bool {
    false
}

pub(crate) fn register(source: &str) -> Result<bool, Error> {
    let path = key_of(source)?;
    match messages_of(&path)? {
        Some(file) if file.eq_ignore_ascii_case(MESSAGES) => return Ok(false),
        Some(file) => {
            return Err(Error::Refused(format!(
                "the Event Log has a source {source} of another program already ({file}); choose another name"
            )));
        }
        None => {}
    }
    let failed = |code: u32| {
        let error = io::Error::from_raw_os_error(code.cast_signed());
        Error::io(format!("register {source} as a source of the Event Log, which an administrator may"), error)
    };
    let key = Key::create(&path).map_err(failed)?;
    let file: Vec<u8> = wide(MESSAGES).into_iter().flat_map(u16::to_le_bytes).collect();
    key.set("EventMessageFile", REG_EXPAND_SZ, &file).map_err(failed)?;
    key.set("TypesSupported", REG_DWORD, &TYPES.to_le_bytes()).map_err(failed)?;
    // The mark of those sources that the system's own program makes; it writes to no others.
    key.set("CustomSource", REG_DWORD, &1_u32.to_le_bytes()).map_err(failed)?;
    Ok(true)
}

pub(crate) fn unregister(source: &str) -> Result<bool, Error> {
    let path = key_of(source)?;
    if messages_of(&path)?.is_none_or(|file| !file.eq_ignore_ascii_case(MESSAGES)) {
        return Ok(false);
    }
    let path = wide(&path);
    // SAFETY: the key is one of the OS's own, the path ends with a NUL.
    match unsafe { RegDeleteKeyW(HKEY_LOCAL_MACHINE, path.as_ptr()) } {
        ERROR_SUCCESS => Ok(true),
        ERROR_FILE_NOT_FOUND => Ok(false),
        code => {
            let error = io::Error::from_raw_os_error(code.cast_signed());
            Err(Error::io(format!("take {source} out of the sources of the Event Log"), error))
        }
    }
}

/// A name with a separator would lead to another key.
fn key_of(source: &str) -> Result<String, Error> {
    if source.is_empty() || source.len() > 255 || source.contains(['\\', '\0']) {
        return Err(Error::Refused(format!("{source:?} is no name for a source of the Event Log")));
    }
    Ok(format!(r"{SOURCES}\{source}"))
}

/// The file in which a source's texts are; `None`: there is no such source, or it names none.
fn messages_of(path: &str) -> Result<Option<String>, Error> {
    let (path, value) = (wide(path), wide("EventMessageFile"));
    let mut units = [0_u16; 1024];
    let mut bytes = 2048_u32;
    let kinds = RRF_RT_REG_SZ | RRF_RT_REG_EXPAND_SZ | RRF_NOEXPAND;
    // SAFETY: the texts end with a NUL, and the room is as long as said.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            path.as_ptr(),
            value.as_ptr(),
            kinds,
            std::ptr::null_mut(),
            units.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    match code {
        ERROR_SUCCESS => {
            let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
            Ok(Some(String::from_utf16_lossy(&units[..end])))
        }
        ERROR_FILE_NOT_FOUND => Ok(None),
        code => Err(Error::io("read the sources of the Event Log", io::Error::from_raw_os_error(code.cast_signed()))),
    }
}

/// An open key of the registry.
struct Key(HKEY);

impl Key {
    fn create(path: &str) -> Result<Key, u32> {
        let path = wide(path);
        let mut key = std::ptr::null_mut();
        // SAFETY: the path ends with a NUL, the key's place is ours, and everything else may be left out.
        let code = unsafe {
            RegCreateKeyExW(
                HKEY_LOCAL_MACHINE,
                path.as_ptr(),
                0,
                std::ptr::null(),
                REG_OPTION_NON_VOLATILE,
                KEY_SET_VALUE,
                std::ptr::null(),
                &raw mut key,
                std::ptr::null_mut(),
            )
        };
        if code == ERROR_SUCCESS { Ok(Key(key)) } else { Err(code) }
    }

    fn set(&self, name: &str, kind: REG_VALUE_TYPE, value: &[u8]) -> Result<(), u32> {
        let name = wide(name);
        let length = u32::try_from(value.len()).unwrap_or(0);
        // SAFETY: the key is open, the name ends with a NUL, and the value is as long as said.
        let code = unsafe { RegSetValueExW(self.0, name.as_ptr(), 0, kind, value.as_ptr(), length) };
        if code == ERROR_SUCCESS { Ok(()) } else { Err(code) }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: the key is ours and not used again.
        unsafe { RegCloseKey(self.0) };
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_registered_once_and_taken_out_again_and_a_foreign_one_is_left_alone() {
        let name = format!("tutela-test-{}", std::process::id());
        assert!(register(&name).unwrap());
        assert!(!register(&name).unwrap());
        assert_eq!(messages_of(&key_of(&name).unwrap()).unwrap().as_deref(), Some(MESSAGES));
        let log = EventLog::open(&name).unwrap();
        let fields = [("service", "ä b".into())];
        let record =
            Record { level: Level::Warning, message: "it failed", id: 4711, message_id: None, fields: &fields };
        log.write(&record).unwrap();
        let key = Key::create(&key_of(&name).unwrap()).unwrap();
        let foreign: Vec<u8> = wide(r"C:\other.dll").into_iter().flat_map(u16::to_le_bytes).collect();
        key.set("EventMessageFile", REG_EXPAND_SZ, &foreign).unwrap();
        assert!(matches!(register(&name), Err(Error::Refused(_))));
        assert!(!unregister(&name).unwrap());
        let ours: Vec<u8> = wide(MESSAGES).into_iter().flat_map(u16::to_le_bytes).collect();
        key.set("EventMessageFile", REG_EXPAND_SZ, &ours).unwrap();
        drop(key);
        assert!(unregister(&name).unwrap());
        assert!(!unregister(&name).unwrap());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["", "a\\b", "a\0b"] {
            assert!(matches!(register(name), Err(Error::Refused(_))), "{name:?}");
        }
    }

    #[test]
    fn what_does_not_fit_a_report_is_left_out_from_the_end() {
        let long = "x".repeat(20_000);
        let fields = [("a", long.as_str().into()), ("b", long.as_str().into())];
        let record = Record { level: Level::Info, message: "m", id: 1, message_id: None, fields: &fields };
        assert_eq!(texts(&record).len(), 2);
    }
}
