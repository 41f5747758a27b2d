//! The settings of derived data.

use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The section `[derived]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DerivedSection {
    folder: Option<PathBuf>,
    megabytes_max: Option<u64>,
    quiet_seconds: Option<u64>,
}

/// Where derived data is kept, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedConfig {
    /// Where; `None`: in the data directory.
    pub folder: Option<PathBuf>,
    /// How much; 0: nothing is kept.
    pub bytes_max: u64,
    /// How long a series is quiet before its metadata is made.
    pub quiet_duration: Duration,
}

/// Megabytes that are kept unless something else is said.
const MEGABYTES: u64 = 2_048;

/// Seconds of quiet unless something else is said.
const QUIET_SECONDS: u64 = 10;

/// Puts the settings together.
pub(super) fn settings(section: DerivedSection, faults: &mut Vec<String>) -> DerivedConfig {
    let megabytes = section.megabytes_max.unwrap_or(MEGABYTES);
    if megabytes > 1 << 30 {
        faults.push("derived.megabytes_max: not between 0 (none) and 1073741824".to_owned());
    }
    let quiet_seconds = section.quiet_seconds.unwrap_or(QUIET_SECONDS);
    if !(1..=86_400).contains(&quiet_seconds) {
        faults.push("derived.quiet_seconds: not between 1 and 86400".to_owned());
    }
    DerivedConfig {
        folder: section.folder,
        bytes_max: megabytes.saturating_mul(1_000_000),
        quiet_duration: Duration::from_secs(quiet_seconds),
    }
}
