//! The HTTP side: is the server alive, is it ready, what has it counted; and how connections are
//! served, whatever routes there are.

mod crowd;
mod openapi;
mod paced;

use crate::commitment::Commitments;
use crate::direct::is_direct;
use crate::draining::Draining;
use crate::forwarder::Forwarder;
use crate::limits::{
    HTTP_BUFFER_BYTES_MAX, HTTP_CONNECTIONS_MAX, HTTP_CONNECTIONS_OF_NETWORK_MAX,
    HTTP_FIELDS_BYTES_MAX, HTTP_HEAD_DURATION_MAX, HTTP_TARGET_BYTES_MAX, HTTP_WRITE_WAIT_MAX,
};
use crate::metrics::Metrics;
use crate::upkeep::Upkeep;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use crowd::Crowd;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use paced::Paced;
use pacs_net::transport;
use serde_json::json;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Pause after the operating system has no socket for us.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the pages show.
#[derive(Debug)]
pub struct Health {
    /// Set once every listener is open, cleared when the server begins to drain or the store
    /// failed.
    pub ready: AtomicBool,
    /// Plain DICOM is offered beyond this machine.
    pub insecure_dicom: bool,
    /// HTTP is offered beyond this machine.
    pub insecure_http: bool,
    /// `/metrics` answers clients that are not programs of this machine.
    pub metrics_off_loopback: bool,
    /// What is owed of storage commitment.
    pub commitments: Commitments,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What is known of the content.
    pub upkeep: Arc<Upkeep>,
    /// What sends the audit trail elsewhere, if it is sent.
    pub forwarder: Option<Forwarder>,
}

/// The routes.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/", get(pages))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi::openapi))
        .route("/api/openapi.json", get(dicomweb))
        .with_state(health)
}

/// Serves `routes` until an end begins; then nobody connects any more, and it returns once what is
/// asked by then is answered. Handlers find the same [`Draining`] among the extensions.
/// Connections, those of one network, the head of a request and the waits for it and for a client
/// to take an answer are bounded.
pub async fn serve(listener: TcpListener, routes: Router, draining: Draining) {
    let routes = routes
        .layer(from_fn(bounded))
        .layer(Extension(draining.clone()));
    let mut begun = pin!(draining.clone().begun());
    let crowd = Crowd::new(HTTP_CONNECTIONS_OF_NETWORK_MAX);
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut begun => break,
            accepted = accepted => accepted,
            Some(ended) = connections.join_next() => {
                told(ended);
                continue;
            }
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "HTTP connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(member) = crowd.join(client.ip()) else {
            tracing::debug!(%client, "HTTP connection closed: its network has too many");
            continue;
        };
        if let Err(error) = transport::prepare(&stream) {
            // Only costs time: the end of an answer, or of a client that is gone, comes later.
            tracing::debug!(%client, kind = ?error.kind(), "socket options were refused");
        }
        // A layer of the router would make all its routes anew, for each connection.
        let routes = TowerToHyperService::new(routes.clone());
        let asked = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(client));
            routes.call(request)
        });
        let draining = draining.clone();
        connections.spawn(async move {
            let _held = (place, member);
            let stream = Paced::new(stream, HTTP_WRITE_WAIT_MAX);
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HTTP_HEAD_DURATION_MAX)
                .max_buf_size(HTTP_BUFFER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), asked);
            let mut served = pin!(served);
            let ended = tokio::select! {
                ended = &mut served => ended,
                () = draining.begun() => {
                    served.as_mut().graceful_shutdown();
                    served.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%client, %error, "HTTP connection ended");
            }
        });
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        told(ended);
    }
}

/// Says where the service of a connection panicked: the connection is gone then, and nothing else.
fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("the service of an HTTP connection failed in a way that it must not");
    }
}

/// Lets requests through whose heads are no longer than they may be, and whose bodies everybody on
/// their way takes to end in the same place.
async fn bounded(request: Request, next: Next) -> Response {
    if is_wrapped(request.headers()) {
        // What stands behind it may be another request, or not: nothing more is read.
        let close = [(header::CONNECTION, "close")];
        return (StatusCode::NOT_IMPLEMENTED, close).into_response();
    }
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > HTTP_TARGET_BYTES_MAX) {
        return StatusCode::URI_TOO_LONG.into_response();
    }
    let fields = request.headers().iter();
    let lengths = fields.map(|(name, value)| name.as_str().len() + value.len());
    if lengths.sum::<usize>() > HTTP_FIELDS_BYTES_MAX {
        return StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response();
    }
    next.run(request).await
}

/// Whether the body has another transfer coding than `chunked`, once (RFC 9112 6.1). Nobody here
/// undoes it, and whoever passed the request on may have seen the body end somewhere else.
fn is_wrapped(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(coding), None) => !is_chunked(coding),
        (Some(_), Some(_)) => true,
    }
}

/// What there is, for whoever looks at the server with a browser.
async fn pages() -> &'static str {
    "This is a PACS.\n\n\
     /dicomweb/             DICOMweb (PS3.18); needs a token\n\
     /api/openapi.json      what DICOMweb has to offer, for programs\n\
     /api/v1/openapi.json   what the API of the portal has to offer, for programs\n\
     /openapi.json          what these pages have to offer\n\
     /healthz               whether the server lives, and what is known of its content\n\
     /readyz                whether it takes requests\n\
     /metrics               what it has counted\n"
}

async fn healthz(State(health): State<Arc<Health>>) -> Json<serde_json::Value> {
    let is_clean = health.upkeep.is_clean();
    let (open, given_up) = health.commitments.counts();
    let mut shown = json!({
        "status": if is_clean { "ok" } else { "damaged" },
        "version": env!("CARGO_PKG_VERSION"),
        "insecure_dicom": health.insecure_dicom,
        "insecure_http": health.insecure_http,
        "commitments_open": open,
        "commitment_reports_given_up": given_up,
        "audit_forwarding": health.forwarder.as_ref().map(Forwarder::shown),
    });
    if let (Some(shown), serde_json::Value::Object(more)) =
        (shown.as_object_mut(), health.upkeep.shown())
    {
        shown.extend(more);
    }
    Json(shown)
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    if health.ready.load(Ordering::Acquire) {
        Json(json!({"ready": true})).into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"ready": false})),
        )
            .into_response()
    }
}

/// What DICOMweb has to offer, for programs. It is no secret: anybody has the program.
async fn dicomweb() -> Json<serde_json::Value> {
    Json(pacs_web::openapi(
        crate::web::PREFIX,
        env!("CARGO_PKG_VERSION"),
    ))
}

async fn metrics(
    State(health): State<Arc<Health>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    head: Parts,
) -> Response {
    // The labels name the devices of a hospital, so that a stranger does not get them unasked, nor
    // a page that has a browser of this machine ask.
    let is_of_here = client.ip().to_canonical().is_loopback() && is_direct(&head);
    if !health.metrics_off_loopback && !is_of_here {
        return StatusCode::FORBIDDEN.into_response();
    }
    health.upkeep.measure();
    if let Some(forwarder) = &health.forwarder {
        forwarder.measure();
    }
    let format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (format, health.metrics.render()).into_response()
}
