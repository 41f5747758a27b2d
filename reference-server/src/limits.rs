//! Bounds of the server itself; those of the wire and the store stand in their crates.

use std::time::Duration;

/// AE titles that get a label of their own in the metrics; titles come from the wire.
pub const AE_LABELS_MAX: usize = 200;

/// Results of one query, and instances of one retrieval; more are refused with a status, never cut
/// silently. A result takes up to about a kilobyte until it is sent.
pub const RESULTS_MAX: usize = 100_000;

/// Memory that all conversions for weaker peers take together. Over it a conversion waits for
/// [`CONVERSION_QUEUE_DURATION_MAX`] to begin, and one that needs more in the middle fails.
pub const CONVERSION_MEMORY_BYTES_MAX: u64 = 256 << 20;

/// How long a conversion waits for memory; after it its sub-operation fails.
pub const CONVERSION_QUEUE_DURATION_MAX: Duration = Duration::from_secs(30);

/// Bytes of a converted data set that are held until it is known that all of it can be converted.
/// What becomes longer is converted twice.
pub const CONVERTED_BYTES_HELD: usize = 2 << 20;

/// Bytes that a conversion gives at a time.
pub const CONVERTED_PIECE_BYTES: usize = 512 << 10;

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

/// How often the archive is asked whether it has room, for metrics and log.
pub const ROOM_ASKED_EVERY: Duration = Duration::from_secs(1);

/// How long running operations may take to end after SIGTERM.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);

/// Wrong association requests that one address (of IPv6 a /64) may make at once; more are turned
/// away unseen. A device behind a router with others may be set up wrongly for a while.
pub const GUESSES_MAX: u32 = 10;

/// Time after which an address may be wrong once more.
pub const GUESS_RESTORED_AFTER: Duration = Duration::from_secs(1);

/// Addresses whose wrong requests are remembered; beyond that those that were wrong least are
/// forgotten.
pub const GUESSING_NETWORKS_MAX: usize = 4096;

/// Bytes of a PEM file; more is no certificate. A system's bundle has some 250 KB.
pub const PEM_BYTES_MAX: u64 = 4 << 20;

/// Characters of a user's name that are kept of what a device names.
pub const USER_NAME_CHARS_MAX: usize = 64;

/// Connections to the control socket at once.
pub const CONTROL_CONNECTIONS_MAX: u32 = 4;

/// Bytes of a request at the control socket.
pub const CONTROL_REQUEST_BYTES_MAX: u64 = 4_096;

/// Bytes of a part of an answer at the control socket: a document has at most 1 MiB, and takes up
/// to six times that as JSON.
pub const CONTROL_LINE_BYTES_MAX: u64 = 8 << 20;

/// How long the control socket waits for a request, and for each part of an answer to be taken.
pub const CONTROL_WAIT_DURATION_MAX: Duration = Duration::from_secs(60);

/// Files that `pacs` has found and not yet sent or deposited.
pub const FOUND_AHEAD_MAX: usize = 256;

/// Files that a journal of `pacs` remembers; those beyond are done again. Each takes about 40
/// bytes of memory.
pub const JOURNAL_ENTRIES_MAX: usize = 20_000_000;

/// Associations over which `pacs store` sends at once.
pub const ASSOCIATIONS_MAX: u16 = 64;

/// Deposits that `pacs import` makes at once: as many share one sync.
pub const DEPOSITS_MAX: u16 = 256;

/// Bytes of the head of an instance that `pacs export` looks at for the directory.
pub const EXPORT_HEAD_BYTES_MAX: usize = 64 << 20;
