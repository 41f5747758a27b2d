//! Carries one HTTP request to a configured place and brings the answer, within bounds.
//!
//! One connection for each request, to the one place of the configuration: nothing that a person or
//! an answer says leads anywhere else, and no redirection is followed.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use pacs_net::ByteStream;
use pacs_net::tls::TlsClient;
use pacs_net::transport;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use tokio::task::JoinSet;

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host:port`.
    pub address: String,
    /// The path that requests go to, or begin with.
    pub path: String,
    /// By TLS, where it is.
    pub tls: Option<TlsClient>,
}

/// How long an answer may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerBounds {
    /// Bytes of its head.
    pub(crate) head_bytes_max: usize,
    /// Bytes of its body.
    pub(crate) body_bytes_max: usize,
}

/// What came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why nothing came, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarrierError {
    /// It is not there.
    #[error("no connection")]
    Connect(#[source] io::Error),
    /// It went away in the middle, or speaks no HTTP.
    #[error("the connection ended before the answer did")]
    Dropped(#[source] hyper::Error),
    /// The answer is longer than any.
    #[error("the answer is too long")]
    TooLong,
}

impl Endpoint {
    /// Carries a request. A connection that does not come about is tried once more; what was sent
    /// is not sent again. The caller bounds the wait.
    pub(crate) async fn carry(
        &self,
        mut request: Request<Body>,
        bounds: AnswerBounds,
    ) -> Result<Reply, CarrierError> {
        let stream = match self.connect().await {
            Ok(stream) => stream,
            Err(_first) => self.connect().await.map_err(CarrierError::Connect)?,
        };
        let headers = request.headers_mut();
        if let Ok(host) = self.host().parse() {
            headers.insert(header::HOST, host);
        }
        headers.insert(
            header::CONNECTION,
            header::HeaderValue::from_static("close"),
        );
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(bounds.head_bytes_max)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(CarrierError::Dropped)?;
        // It ends with this set, at the latest.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(CarrierError::Dropped)?.into_parts();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: whole(body, bounds.body_bytes_max).await?,
        })
    }

    /// What `Host` says: the port of the scheme is left out, since servers make URLs of it.
    fn host(&self) -> &str {
        let port = if self.tls.is_some() { ":443" } else { ":80" };
        self.address.strip_suffix(port).unwrap_or(&self.address)
    }

    async fn connect(&self) -> io::Result<Box<dyn ByteStream>> {
        match &self.tls {
            Some(tls) => tls.open(&self.address).await,
            None => Ok(Box::new(transport::open(&self.address).await?)),
        }
    }
}

/// All of an answer, where it is not too long.
async fn whole(mut body: Incoming, bytes_max: usize) -> Result<Vec<u8>, CarrierError> {
    let said = body.size_hint().lower();
    if said > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
        return Err(CarrierError::TooLong);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(CarrierError::Dropped)?;
        if let Ok(data) = frame.into_data() {
            if bytes.len().saturating_add(data.len()) > bytes_max {
                return Err(CarrierError::TooLong);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// Text as a part of a path or of a form (RFC 3986 2.1): percent signs for all but unreserved
/// letters.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            write!(out, "%{byte:02X}").ok();
        }
    }
    out
}
