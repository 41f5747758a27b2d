//! Bounds of the server itself; those of the wire and the store stand in their crates.

use std::time::Duration;

/// AE titles that get a label of their own in the metrics; titles come from the wire.
pub const AE_LABELS_MAX: usize = 200;

/// Results of one query; more are refused with a status rather than cut silently.
pub const QUERY_RESULTS_MAX: usize = 100_000;

/// Instances of one retrieval.
pub const RETRIEVE_INSTANCES_MAX: usize = 100_000;

/// How long running operations may take to end after SIGTERM.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);
