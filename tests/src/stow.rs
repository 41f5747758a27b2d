//! A small client of STOW-RS over a plain socket, which can also break off in the middle, and
//! what it is answered.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The boundary of all bodies here.
pub const BOUNDARY: &str = "boundary-of-the-tests";

/// The `Content-Type` of a body of DICOM files.
pub const RELATED: &str =
    "multipart/related; type=\"application/dicom\"; boundary=boundary-of-the-tests";

/// A request that is sent piece by piece.
#[derive(Debug)]
pub struct Request {
    stream: TcpStream,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as JSON; `None` where it is none, or was cut.
    #[must_use]
    pub fn try_json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// SOP Instance UIDs that are said to be stored.
    #[must_use]
    pub fn stored(&self) -> Vec<String> {
        stored(&self.json())
    }

    /// SOP Instance UIDs that are said to have failed, with their reasons.
    #[must_use]
    pub fn failed(&self) -> Vec<(String, u64)> {
        let json = self.json();
        let failed = items(&json, "00081198");
        failed
            .map(|item| {
                let reason = &item["00081197"]["Value"][0];
                (text(item, "00081155"), reason.as_u64().expect("a reason"))
            })
            .collect()
    }

    /// Reasons of failures of what cannot be named.
    #[must_use]
    pub fn other_failures(&self) -> Vec<u64> {
        let json = self.json();
        let others = items(&json, "0008119A");
        others
            .map(|item| item["00081197"]["Value"][0].as_u64().expect("a reason"))
            .collect()
    }
}

/// SOP Instance UIDs that a response (PS3.18 10.5.3) says are stored.
#[must_use]
pub fn stored(response: &Value) -> Vec<String> {
    items(response, "00081199")
        .map(|item| text(item, "00081155"))
        .collect()
}

fn items<'j>(json: &'j Value, tag: &str) -> impl Iterator<Item = &'j Value> {
    json[tag]["Value"].as_array().into_iter().flatten()
}

fn text(item: &Value, tag: &str) -> String {
    item[tag]["Value"][0].as_str().expect("a text").to_owned()
}

impl Request {
    /// Sends the head of a request; `fields` are lines of the head.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn begin(
        server: SocketAddr,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        Ok(Self { stream })
    }

    /// Sends bytes of the body.
    ///
    /// # Errors
    /// When the server takes no more.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes as one chunk of a chunked body; none ends it.
    ///
    /// # Errors
    /// When the server takes no more.
    pub fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream
            .write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
        self.stream.write_all(bytes)?;
        self.stream.write_all(b"\r\n")
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn answer(mut self) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut bytes)
            && bytes.is_empty()
        {
            return Err(error);
        }
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let mut body = bytes[end + 4..].to_vec();
        if head.contains("transfer-encoding: chunked") {
            body = unchunked(&body);
        }
        Ok(Answer {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            head,
            body,
        })
    }

    /// Breaks the connection.
    pub fn break_off(self) {
        crate::proxy::reset(&self.stream);
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let digits = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length = usize::from_str_radix(digits.trim(), 16).unwrap_or(0);
        let rest = &bytes[end + 2..];
        if length == 0 || rest.len() < length {
            break;
        }
        body.extend_from_slice(&rest[..length]);
        bytes = rest.get(length + 2..).unwrap_or_default();
    }
    body
}

/// A body of `files`, without its end where it `is_cut`.
#[must_use]
pub fn related(files: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for file in files {
        body.extend_from_slice(&part_head());
        body.extend_from_slice(file);
    }
    body.extend_from_slice(&end());
    body
}

/// What stands before each file of a body.
#[must_use]
pub fn part_head() -> Vec<u8> {
    format!("\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n").into_bytes()
}

/// What stands behind the last file.
#[must_use]
pub fn end() -> Vec<u8> {
    format!("\r\n--{BOUNDARY}--\r\n").into_bytes()
}

/// Sends a whole request.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let answer = try_ask(server, method, path, fields, body);
    answer.unwrap_or_else(|error| panic!("no answer: {error}"))
}

/// Sends a whole request to a server that may be gone.
///
/// # Errors
/// When there is no answer.
pub fn try_ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let length = body.len().to_string();
    let mut all = vec![("Content-Length", length.as_str())];
    all.extend_from_slice(fields);
    let mut request = Request::begin(server, method, path, &all)?;
    // Who is refused at once need not have read the body.
    let sent = request.send(body);
    let answer = request.answer();
    answer.map_err(|error| sent.err().unwrap_or(error))
}

/// Stores `files` in one request.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn store(server: SocketAddr, path: &str, files: &[Vec<u8>]) -> Answer {
    let kind = [("Content-Type", RELATED)];
    ask(server, "POST", path, &kind, &related(files))
}
