//! What a server writes to standard output: one line, when it is ready.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

/// What a server says when it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it speaks DICOM.
    pub dicom: SocketAddr,
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    /// Where it speaks DICOM over TLS.
    pub dicom_tls: Option<SocketAddr>,
}

/// Reads `ready dicom=HOST:PORT http=HOST:PORT [dicom_tls=HOST:PORT]`.
#[must_use]
pub fn ready_line(line: &str) -> Option<Ready> {
    let mut at = line.trim_end().strip_prefix("ready ")?.split(' ');
    let mut next = |name| at.next()?.strip_prefix(name)?.parse().ok();
    Some(Ready {
        dicom: next("dicom=")?,
        http: next("http=")?,
        dicom_tls: next("dicom_tls="),
    })
}

/// The lines of `output` as they come, read until it is closed.
pub(super) fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens any more once the server is ready; reading on keeps its pipe empty.
            sender.send(line).ok();
        }
    });
    receiver
}
