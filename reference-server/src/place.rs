//! The place of the archive: the clock on its wall.

use chrono::{DateTime, FixedOffset, Offset as _, Utc};
use std::time::SystemTime;

/// Kyrgyzstan is six hours ahead of UTC, all year.
const OFFSET_SECONDS: i32 = 6 * 3_600;

/// The time now at the place of the archive.
pub(crate) fn now() -> DateTime<FixedOffset> {
    let offset = FixedOffset::east_opt(OFFSET_SECONDS).unwrap_or_else(|| Utc.fix());
    DateTime::<Utc>::from(SystemTime::now()).with_timezone(&offset)
}
