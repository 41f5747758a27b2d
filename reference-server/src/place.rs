//! The place of the archive: the clock on its wall.

use chrono::{DateTime, FixedOffset, Offset as _, Utc};
use std::time::SystemTime;

/// Kyrgyzstan is six hours ahead of UTC, all year.
const OFFSET_SECONDS: i32 = 6 * 3_600;

/// How far the clock on its wall is ahead of UTC.
pub(crate) fn offset() -> FixedOffset {
    FixedOffset::east_opt(OFFSET_SECONDS).unwrap_or_else(|| Utc.fix())
}

/// The time now at the place of the archive.
pub(crate) fn now() -> DateTime<FixedOffset> {
    DateTime::<Utc>::from(SystemTime::now()).with_timezone(&offset())
}
