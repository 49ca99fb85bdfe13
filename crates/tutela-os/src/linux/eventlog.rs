//! The journal of systemd, in its native protocol: one datagram per record, or a sealed file where that is too long.

use super::address::Address;
use super::journal;
use crate::eventlog::{FIELDS_MAX, Kind, Level, Line, Record, cut, field_name, own_field_name};
use crate::{Error, Unsupported};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

pub(crate) const KIND: Option<Kind> = Some(Kind::Journal);

const SOCKET: &str = "/run/systemd/journal/socket";

/// How long a journal that does not read is waited for. It is another process on a busy disk.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

#[derive(Debug)]
pub(crate) struct EventLog {
    socket: UnixDatagram,
    source: String,
}

impl EventLog {
    pub(crate) fn open(source: &str) -> Result<EventLog, Error> {
        EventLog::open_at(Path::new(SOCKET), source)
    }

    fn open_at(path: &Path, source: &str) -> Result<EventLog, Error> {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(Address::of(path)?.path)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        match connect() {
            Ok(socket) => Ok(EventLog { socket, source: cut(source).to_owned() }),
            Err(error) => {
                let error: io::Error = error;
                let reason = format!("the journal of systemd does not listen at {}: {error}", path.display());
                Err(Unsupported::new("event log", reason).into())
            }
        }
    }

    pub(crate) fn write(&self, record: &Record<'_>) -> Result<(), Error> {
        let text = encode(&self.source, record);
        self.send(&text).map_err(|source| Error::io("write to the journal", source))
    }

    pub(crate) fn relay(&self, line: &Line<'_>) -> Result<(), Error> {
        let text = encode_line(line);
        self.send(&text).map_err(|source| Error::io("write to the journal", source))
    }

    fn send(&self, text: &[u8]) -> io::Result<()> {
        let sent = self.patiently(|| self.socket.send(text).map(drop));
        match sent {
            Err(error) if is_too_long(&error) => {
                let file = sealed(text)?;
                self.patiently(|| self.send_file(&file))
            }
            other => other,
        }
    }

    fn send_file(&self, file: &File) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut attached = SendAncillaryBuffer::new(&mut space);
        let handles = [file.as_fd()];
        if !attached.push(SendAncillaryMessage::ScmRights(&handles)) {
            return Err(io::Error::other("no room for a handle"));
        }
        sendmsg(&self.socket, &[IoSlice::new(&[])], &mut attached, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Tries again once the journal has read something, within [`PATIENCE`].
    fn patiently(&self, mut send: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        match send() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut look = [PollFd::new(&self.socket, PollFlags::OUT)];
                poll(&mut look, Some(&PATIENCE))?;
                send()
            }
            other => other,
        }
    }
}

/// The kernel's words for a datagram that does not fit its buffers.
fn is_too_long(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

/// A file in memory that nobody can change any more, which is what the journal asks for.
fn sealed(text: &[u8]) -> io::Result<File> {
    let file = memfd_create(c"journal record", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(text)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file)
}

fn encode(source: &str, record: &Record<'_>) -> Vec<u8> {
    let priority = match record.level {
        Level::Error => "3",
        Level::Warning => "4",
        Level::Notice => "5",
        Level::Info => "6",
        Level::Debug => "7",
    };
    let mut text = Vec::with_capacity(512);
    put(&mut text, "MESSAGE", record.message);
    put(&mut text, "PRIORITY", priority);
    put(&mut text, "SYSLOG_IDENTIFIER", source);
    if let Some(id) = record.message_id {
        put(&mut text, "MESSAGE_ID", &format!("{id:032x}"));
    }
    for (name, value) in record.fields.iter().take(FIELDS_MAX) {
        if let Some(name) = field_name(name) {
            put(&mut text, &name, value);
        }
    }
    text
}

fn encode_line(line: &Line<'_>) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.message.len() + 512);
    put_bytes(&mut text, "MESSAGE", line.message);
    if let Some(priority) = line.priority {
        put(&mut text, "PRIORITY", &priority.to_string());
    }
    put(&mut text, "SYSLOG_IDENTIFIER", line.identifier);
    let ours = line.fields.iter().map(|(name, value)| (field_name(name), value));
    let own = line.own.iter().take(FIELDS_MAX).map(|(name, value)| (own_field_name(name), value));
    for (name, value) in ours.chain(own) {
        if let Some(name) = name {
            put_bytes(&mut text, &name, value.as_bytes());
        }
    }
    text
}

fn put(text: &mut Vec<u8>, name: &str, value: &str) {
    put_bytes(text, name, cut(value).as_bytes());
}

/// A value of several lines has its length before it, as eight bytes, the lowest first.
fn put_bytes(text: &mut Vec<u8>, name: &str, value: &[u8]) {
    text.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        text.push(b'\n');
        text.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        text.push(b'=');
    }
    text.extend_from_slice(value);
    text.push(b'\n');
}

pub(crate) fn output_is_journal() -> bool {
    journal::is_output_ours()
}

/// The journal takes records of everybody.
pub(crate) fn register(_source: &str) -> Result<bool, Error> {
    Ok(false)
}

pub(crate) fn unregister(_source: &str) -> Result<bool, Error> {
    Ok(false)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::borrow::Cow;
    use std::io::{IoSliceMut, Read, Seek};

    fn record<'a>(message: &'a str, fields: &'a [(&'a str, Cow<'a, str>)]) -> Record<'a> {
        Record { level: Level::Warning, message, id: 1, message_id: Some(0xab), fields }
    }

    #[test]
    fn a_record_is_a_line_for_each_field_and_several_lines_have_their_length() {
        let fields = [("tutela_service", "api".into()), ("_PID", "1\n2".into())];
        let text = encode("shop", &record("it failed", &fields));
        let wanted = b"MESSAGE=it failed\nPRIORITY=4\nSYSLOG_IDENTIFIER=shop\nMESSAGE_ID=000000000000000000000000000000ab\nTUTELA_SERVICE=api\nPID\n\x03\0\0\0\0\0\0\x001\n2\n";
        assert_eq!(text.escape_ascii().to_string(), wanted.escape_ascii().to_string());
    }

    #[test]
    fn a_record_arrives_as_a_datagram_or_as_a_sealed_file_where_it_is_too_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let log = EventLog::open_at(&path, "shop").unwrap();
        log.write(&record("short", &[])).unwrap();
        let mut buffer = [0; 4096];
        let length = journal.recv(&mut buffer).unwrap();
        assert!(buffer[..length].starts_with(b"MESSAGE=short\n"));

        let long = "x".repeat(30_000);
        let fields: Vec<(&str, Cow<'_, str>)> = (0..40).map(|_| ("LONG", Cow::from(long.as_str()))).collect();
        log.write(&record("long", &fields)).unwrap();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut attached = RecvAncillaryBuffer::new(&mut space);
        recvmsg(&journal, &mut [IoSliceMut::new(&mut buffer)], &mut attached, RecvFlags::empty()).unwrap();
        let mut handles = attached.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(handles) => Some(handles),
            _ => None,
        });
        let mut file = File::from(handles.next().unwrap().next().unwrap());
        file.rewind().unwrap();
        let mut text = Vec::new();
        file.read_to_end(&mut text).unwrap();
        assert!(text.starts_with(b"MESSAGE=long\n") && text.len() > 40 * 30_000, "{}", text.len());
        assert!(file.write_all(b"more").is_err());
    }

    #[test]
    fn a_line_of_others_keeps_its_bytes_and_its_own_names_stand_behind_ours() {
        let (fields, own) = ([("TUTELA_GUARD", "shop".into())], [("tutela_guard", "x".into()), ("user", "u\n".into())]);
        let line = Line { identifier: "api", priority: Some(3), message: b"a\xff\0\nb", fields: &fields, own: &own };
        let wanted = b"MESSAGE\n\x05\0\0\0\0\0\0\0a\xff\0\nb\nPRIORITY=3\nSYSLOG_IDENTIFIER=api\nTUTELA_GUARD=shop\nFIELD_TUTELA_GUARD=x\nUSER\n\x02\0\0\0\0\0\0\0u\n\n";
        assert_eq!(encode_line(&line).escape_ascii().to_string(), wanted.escape_ascii().to_string());
        let silent = Line { identifier: "api", priority: None, message: b"", fields: &[], own: &[] };
        assert_eq!(encode_line(&silent), b"MESSAGE=\nSYSLOG_IDENTIFIER=api\n");
    }

    #[test]
    fn a_host_without_a_journal_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let error = EventLog::open_at(&dir.path().join("none"), "shop").unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
    }
}
