//! What DICOMweb counts.
//!
//! No label comes from a request as it stands: resources, methods and classes of statuses are from
//! lists, so that there are never more than a few hundred series.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pacs_web::{Observe, Tally};
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// What the last word of a path can be that is no identifier.
const WORDS: &[&str] = &[
    "bulkdata",
    "cancelrequest",
    "commitment-requests",
    "frames",
    "instances",
    "metadata",
    "pixeldata",
    "rendered",
    "series",
    "state",
    "studies",
    "subscribers",
    "thumbnail",
    "wado",
    "workitems",
];

/// Counters of DICOMweb.
#[derive(Debug, Clone)]
pub struct Counters {
    requests: HistogramVec,
    instances: IntCounterVec,
    received: IntCounter,
    sent: IntCounterVec,
}

impl Counters {
    /// All at zero, in `registry`.
    ///
    /// # Errors
    /// [`prometheus::Error`] where a name is registered twice: a fault of this crate.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = Self {
            requests: HistogramVec::new(
                HistogramOpts::new(
                    "pacs_web_request_seconds",
                    "Time from the head of a web request to the head of its answer",
                )
                .buckets(SECONDS.to_vec()),
                &["resource", "method", "status"],
            )?,
            instances: IntCounterVec::new(
                Opts::new(
                    "pacs_web_instances_total",
                    "Instances that came by STOW-RS, by what became of them",
                ),
                &["outcome"],
            )?,
            received: IntCounter::new(
                "pacs_web_received_bytes_total",
                "Bytes of the bodies of STOW-RS",
            )?,
            sent: IntCounterVec::new(
                Opts::new(
                    "pacs_web_sent_bytes_total",
                    "Bytes of the bodies of answers",
                ),
                &["resource"],
            )?,
        };
        registry.register(Box::new(counters.requests.clone()))?;
        registry.register(Box::new(counters.instances.clone()))?;
        registry.register(Box::new(counters.received.clone()))?;
        registry.register(Box::new(counters.sent.clone()))?;
        Ok(counters)
    }
}

impl Observe for Counters {
    fn stored(&self, tally: Tally) {
        let outcomes = [("stored", tally.stored), ("refused", tally.refused)];
        for (outcome, count) in outcomes {
            self.instances.with_label_values(&[outcome]).inc_by(count);
        }
        self.received.inc_by(tally.bytes);
    }
}

/// Counts a request, and what is sent for it.
pub(super) async fn count(
    State(counters): State<Counters>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let resource = resource_of(request.uri().path());
    let method = method_of(request.method());
    let response = next.run(request).await;
    let status = class_of(response.status());
    counters
        .requests
        .with_label_values(&[resource, method, status])
        .observe(began.elapsed().as_secs_f64());
    let sent = counters.sent.with_label_values(&[resource]);
    response.map(|body| Body::new(Counted { body, sent }))
}

/// The kind of resource that a path names, relative to the service.
fn resource_of(path: &str) -> &'static str {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut found = "capabilities";
    for (at, segment) in segments.enumerate() {
        let word = WORDS.iter().find(|word| **word == segment);
        found = match (word, found) {
            // The paths of bulk data and lists of frames go on behind these words.
            (_, "bulkdata" | "frames" | "other") => found,
            (Some(word), _) => word,
            (None, "studies") => "study",
            (None, "series") => "one_series",
            (None, "instances") => "instance",
            (None, "workitems") => "workitem",
            (None, _) if at == 0 => "other",
            (None, _) => found,
        };
    }
    found
}

fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// A body whose bytes are counted as they go.
struct Counted {
    body: Body,
    sent: IntCounter,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            self.sent
                .inc_by(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_of_a_few_names() {
        for (path, name) in [
            ("/", "capabilities"),
            ("/studies", "studies"),
            ("/studies/1.2", "study"),
            ("/studies/1.2/metadata", "metadata"),
            ("/studies/1.2/series", "series"),
            ("/studies/1.2/series/1.3", "one_series"),
            ("/studies/1.2/series/1.3/instances/1.4", "instance"),
            ("/studies/1.2/series/1.3/instances/1.4/frames/1,2", "frames"),
            (
                "/studies/1.2/series/1.3/instances/1.4/frames/1/rendered",
                "frames",
            ),
            (
                "/studies/1/series/2/instances/3/bulkdata/54000100/1/54001010",
                "bulkdata",
            ),
            ("/studies/1.2/thumbnail", "thumbnail"),
            ("/commitment-requests/2.25.1", "commitment-requests"),
            ("/wado", "wado"),
            ("/workitems", "workitems"),
            ("/workitems/2.25.1", "workitem"),
            ("/workitems/2.25.1/state", "state"),
            ("/random/studies/x", "other"),
        ] {
            assert_eq!(resource_of(path), name, "{path}");
        }
    }
}
