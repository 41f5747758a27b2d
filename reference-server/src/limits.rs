//! Bounds of the server itself; those of the wire and the store stand in their crates.

use std::time::Duration;

/// AE titles that get a label of their own in the metrics; titles come from the wire.
pub const AE_LABELS_MAX: usize = 200;

/// Results of one query, and instances of one retrieval; more are refused with a status, never cut
/// silently. A result takes up to about a kilobyte until it is sent.
pub const RESULTS_MAX: usize = 100_000;

/// Connections that the HTTP side has open at once; more wait in the listener's queue.
pub const HTTP_CONNECTIONS_MAX: usize = 256;

/// Time in which the head of an HTTP request must be complete.
pub const HTTP_HEAD_DURATION_MAX: Duration = Duration::from_secs(10);

/// File descriptors that are kept for packs, index and HTTP when the rest is shared out to DICOM
/// connections.
pub const DESCRIPTORS_RESERVED: usize = 512;

/// DICOM connections that must be possible for a server to start.
pub const CONNECTIONS_MIN: usize = 64;

/// DICOM connections, however many descriptors there are.
pub const CONNECTIONS_MAX: usize = 16_384;

/// How long running operations may take to end after SIGTERM.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);
