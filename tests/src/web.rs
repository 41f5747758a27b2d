//! HTTP as a client of DICOMweb speaks it: one request on a connection of its own, the answer whole
//! or cut.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::server::PATIENCE;

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, without its chunks.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub is_whole: bool,
}

/// A part of a `multipart/related` body.
#[derive(Clone, Debug)]
pub struct Part {
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What it holds.
    pub body: Vec<u8>,
}

impl Part {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let mut headers = headers.iter();
    headers
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

/// Asks `address` for `path`.
///
/// # Panics
/// When nothing answers in HTTP.
#[must_use]
pub fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    request(address, "GET", path, headers)
}

/// Sends a request without a body.
///
/// # Panics
/// When nothing answers in HTTP.
#[must_use]
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut stream = TcpStream::connect(address).expect("the HTTP port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    // A body that is cut ends with an error or without its last chunk; both show below.
    let ended = stream.read_to_end(&mut answer).is_ok();
    Reply::read(&answer, ended)
}

impl Reply {
    fn read(answer: &[u8], ended: bool) -> Self {
        let end = position(answer, b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&answer[..end]).expect("a head in text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers: Vec<(String, String)> = lines.map(header).collect();
        let rest = &answer[end + 4..];
        let (body, is_whole) = if find(&headers, "transfer-encoding") == Some("chunked") {
            chunks(rest)
        } else {
            let length = find(&headers, "content-length").and_then(|text| text.parse().ok());
            (
                rest.to_vec(),
                length.is_none_or(|length: usize| length == rest.len()),
            )
        };
        Self {
            status: status.and_then(|s| s.parse().ok()).expect("a status"),
            headers,
            body,
            is_whole: is_whole && ended,
        }
    }

    /// A whole answer, as it came.
    ///
    /// # Panics
    /// When it is no HTTP.
    #[must_use]
    pub fn of(answer: &[u8]) -> Self {
        Self::read(answer, true)
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&self.body));
        })
    }

    /// The parts of the body.
    ///
    /// # Panics
    /// When it is no `multipart/related` body, or not to its end.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let kind = self.header("content-type").expect("a type");
        assert!(kind.starts_with("multipart/related"), "{kind}");
        let boundary = kind.split("boundary=").nth(1).expect("a boundary");
        let boundary = boundary
            .split(';')
            .next()
            .unwrap_or(boundary)
            .trim_matches('"');
        let mark = format!("--{boundary}");
        let mut rest = self.body.as_slice();
        rest = rest
            .strip_prefix(mark.as_bytes())
            .expect("a first boundary");
        let between = format!("\r\n{mark}");
        let mut parts = Vec::new();
        while !rest.starts_with(b"--") {
            rest = rest.strip_prefix(b"\r\n").expect("a line's end");
            let end = position(rest, between.as_bytes()).expect("a last boundary");
            let head_end = position(rest, b"\r\n\r\n").expect("a part's head");
            let head = std::str::from_utf8(&rest[..head_end]).expect("text");
            parts.push(Part {
                headers: head.split("\r\n").map(header).collect(),
                body: rest[head_end + 4..end].to_vec(),
            });
            rest = &rest[end + between.len()..];
        }
        parts
    }
}

fn header(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_ascii_lowercase(), value.trim().to_owned())
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// The bytes of all chunks, and whether the last one was there.
fn chunks(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = position(rest.get(..20.min(rest.len())).unwrap_or(rest), b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let chunk = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if chunk.len() < size + 2 {
            break;
        }
        body.extend_from_slice(&chunk[..size]);
        rest = &chunk[size + 2..];
    }
    (body, false)
}
