//! Structured logs: one JSON object a line on standard error. Patient data cannot reach them, since
//! the types that hold it do not show it.

use tracing_subscriber::EnvFilter;

/// Starts logging; `PACS_LOG` sets the filter (default `info`).
pub fn start() {
    let filter = EnvFilter::try_from_env("PACS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would print to the standard error that has just failed, and panic.
        .log_internal_errors(false)
        .init();
    // A panic's message may quote what it stumbled over; its place is enough to find it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "a task panicked; its association or request is lost");
    }));
}
