//! Structured logs: one JSON object a line on standard error. Patient data cannot reach them, since the types
//! that hold it do not show it.

use tracing_subscriber::EnvFilter;

/// Starts logging; `PACS_LOG` sets the filter (default `info`).
pub fn start() {
    let filter = EnvFilter::try_from_env("PACS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
