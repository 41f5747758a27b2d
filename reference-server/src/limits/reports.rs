//! Bounds of putting signed reports into the archive.

use std::time::Duration;

/// Documents of reports that are looked for at once.
pub const REPORT_DOCUMENTS_AT_ONCE: usize = 100;

/// How often it is looked whether what could not be put into the archive can be now.
pub const REPORT_DOCUMENTS_LOOKED_AT_EVERY: Duration = Duration::from_secs(60);
