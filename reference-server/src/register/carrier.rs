//! Carries one HTTP request to a configured place and brings the answer, within bounds.
//!
//! One connection for each request, to the one place of the configuration: nothing that a person or
//! an answer says leads anywhere else, and no redirection is followed.

use crate::limits::REGISTER_HEAD_BYTES_MAX;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use pacs_core::limits::REGISTER_ANSWER_BYTES_MAX;
use pacs_net::ByteStream;
use pacs_net::tls::TlsClient;
use pacs_net::transport::prepare;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use tokio::net::TcpStream;
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

/// What came.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
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
    Dropped,
    /// The answer is longer than any.
    #[error("the answer is too long")]
    TooLong,
}

impl Endpoint {
    /// Carries a request. A connection that does not come about is tried once more; what was sent
    /// is not sent again.
    pub(super) async fn carry(&self, mut request: Request<Body>) -> Result<Reply, CarrierError> {
        let stream = match self.connect().await {
            Ok(stream) => stream,
            Err(_first) => self.connect().await.map_err(CarrierError::Connect)?,
        };
        let headers = request.headers_mut();
        if let Ok(host) = self.address.parse() {
            headers.insert(header::HOST, host);
        }
        headers.insert(
            header::CONNECTION,
            header::HeaderValue::from_static("close"),
        );
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(REGISTER_HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| CarrierError::Dropped)?;
        // It ends with this set, at the latest.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(|_| CarrierError::Dropped)?.into_parts();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: whole(body).await?,
        })
    }

    async fn connect(&self) -> io::Result<Box<dyn ByteStream>> {
        match &self.tls {
            Some(tls) => tls.open(&self.address).await,
            None => {
                let stream = TcpStream::connect(&self.address).await?;
                prepare(&stream)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// All of an answer, where it is not too long.
async fn whole(mut body: Incoming) -> Result<Vec<u8>, CarrierError> {
    let said = body.size_hint().lower();
    if said > u64::try_from(REGISTER_ANSWER_BYTES_MAX).unwrap_or(u64::MAX) {
        return Err(CarrierError::TooLong);
    }
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| CarrierError::Dropped)?;
        if let Ok(data) = frame.into_data() {
            if bytes.len().saturating_add(data.len()) > REGISTER_ANSWER_BYTES_MAX {
                return Err(CarrierError::TooLong);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}
