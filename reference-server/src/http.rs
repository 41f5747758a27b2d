//! The HTTP side: is the server alive, is it ready, what has it counted.

use crate::metrics::Metrics;
use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the pages show.
#[derive(Debug)]
pub struct Health {
    /// Set once every listener is open, cleared when the server begins to drain or the store failed.
    pub ready: AtomicBool,
    /// Plain DICOM is offered beyond this machine.
    pub insecure_dicom: bool,
    /// `/metrics` answers clients that are not on loopback.
    pub metrics_off_loopback: bool,
    /// The counters.
    pub metrics: Arc<Metrics>,
}

/// The routes.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn healthz(State(health): State<Arc<Health>>) -> Json<serde_json::Value> {
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "insecure_dicom": health.insecure_dicom,
    }))
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

async fn metrics(
    State(health): State<Arc<Health>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
) -> Response {
    // The labels name the devices of a hospital, so that a stranger does not get them unasked.
    if !health.metrics_off_loopback && !client.ip().to_canonical().is_loopback() {
        return StatusCode::FORBIDDEN.into_response();
    }
    let format = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (format, health.metrics.render()).into_response()
}
