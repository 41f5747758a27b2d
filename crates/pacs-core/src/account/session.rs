//! How long a session lives.

use chrono::{DateTime, TimeDelta, Utc};

/// How much earlier than before a clock may be: more, and nothing that it says of a session can be
/// believed.
const CLOCK_BACK_MINUTES_MAX: i64 = 5;

/// When a session ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRules {
    /// Time without a request.
    pub idle_max: TimeDelta,
    /// Time since signing in, whatever is done.
    pub absolute_max: TimeDelta,
}

impl Default for SessionRules {
    /// 30 minutes, 12 hours.
    fn default() -> Self {
        Self {
            idle_max: TimeDelta::minutes(30),
            absolute_max: TimeDelta::hours(12),
        }
    }
}

/// When a session began and was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimes {
    /// When somebody signed in.
    pub began_at: DateTime<Utc>,
    /// When it was last used.
    pub used_at: DateTime<Utc>,
}

impl SessionTimes {
    /// Whether the session still lives at `now`. One that is used later than `now` does not: the
    /// clock was put back.
    #[must_use]
    pub fn is_live(self, rules: SessionRules, now: DateTime<Utc>) -> bool {
        let back = TimeDelta::minutes(-CLOCK_BACK_MINUTES_MAX);
        let idle = now.signed_duration_since(self.used_at);
        let age = now.signed_duration_since(self.began_at);
        idle >= back && age >= back && idle < rules.idle_max && age < rules.absolute_max
    }

    /// When it ends if it is not used any more.
    #[must_use]
    pub fn ends_at(self, rules: SessionRules) -> DateTime<Utc> {
        let by = |from: DateTime<Utc>, after| from.checked_add_signed(after).unwrap_or(from);
        by(self.used_at, rules.idle_max).min(by(self.began_at, rules.absolute_max))
    }
}
