//! A client by hand: one connection over TCP, with TLS or without, from an address of the test's choice.

use rustix::net::{AddressFamily, SocketType};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use tutela_it::BOUND;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The status line and the headers, in small letters.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A connection.
pub enum Wire {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection of TCP from an address of this computer.
pub fn connect(to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(BOUND))?;
    Ok(stream)
}

impl Wire {
    /// Opens one. Within TLS 1.3 a server that does not believe us says so with the first answer.
    pub fn open(to: SocketAddr, from: Ipv4Addr, tls: Option<&Arc<ClientConfig>>) -> io::Result<Wire> {
        let stream = connect(to, from)?;
        let Some(config) = tls else { return Ok(Wire::Plain(stream)) };
        let name = ServerName::try_from("localhost").unwrap();
        let mut wire = StreamOwned::new(ClientConnection::new(config.clone(), name).unwrap(), stream);
        while wire.conn.is_handshaking() {
            wire.conn.complete_io(&mut wire.sock)?;
        }
        Ok(Wire::Secure(Box::new(wire)))
    }

    /// The certificate that the server showed.
    pub fn shown(&self) -> CertificateDer<'static> {
        match self {
            Wire::Plain(_) => panic!("there is no TLS"),
            Wire::Secure(wire) => wire.conn.peer_certificates().unwrap()[0].clone().into_owned(),
        }
    }

    /// Writes a request.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<()> {
        let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.write_all(format!("{method} {path} HTTP/1.1\r\nhost: tutela\r\n{length}{headers}\r\n").as_bytes())?;
        self.flush()
    }

    /// Asks once; the connection stays.
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        self.send(method, path, headers)?;
        let head = self.until(b"\r\n\r\n")?.to_ascii_lowercase();
        let status = head.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok());
        let mut answer = Answer { status: status.ok_or_else(broken)?, head, body: Vec::new() };
        if let Some(length) = answer.header("content-length") {
            let mut body = vec![0; length.parse().map_err(|_| broken())?];
            self.read_exact(&mut body)?;
            answer.body = body;
            return Ok(answer);
        }
        loop {
            let length = self.until(b"\r\n")?;
            let mut chunk = vec![0; usize::from_str_radix(length.trim(), 16).map_err(|_| broken())? + 2];
            self.read_exact(&mut chunk)?;
            chunk.truncate(chunk.len() - 2);
            if chunk.is_empty() {
                return Ok(answer);
            }
            answer.body.extend(chunk);
        }
    }

    /// Reads up to and with a mark.
    pub fn until(&mut self, mark: &[u8]) -> io::Result<String> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(mark) {
            let mut one = [0];
            self.read_exact(&mut one)?;
            bytes.push(one[0]);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn broken() -> io::Error {
    io::Error::other("no answer of HTTP")
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(bytes),
            Wire::Secure(stream) => stream.read(bytes),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Secure(stream) => stream.flush(),
        }
    }
}
