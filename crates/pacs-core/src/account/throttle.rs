//! How often somebody may be wrong: a number of times at once, and then once in a while.
//!
//! What is kept is one time, so that it can be kept durably, and a restart forgives nothing.

use chrono::{DateTime, TimeDelta, Utc};

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThrottleRules {
    /// At once.
    pub burst_max: u32,
    /// Time after which one more may be wrong.
    pub restored_after: TimeDelta,
}

impl ThrottleRules {
    /// For one account: 10, and one more in 40 seconds: at most 100 in the first hour, 90 in each
    /// further one.
    pub const ACCOUNT: Self = Self {
        burst_max: 10,
        restored_after: TimeDelta::seconds(40),
    };

    /// For one network, behind which there may be a whole hospital: 50, and one more in 10 seconds.
    pub const NETWORK: Self = Self {
        burst_max: 50,
        restored_after: TimeDelta::seconds(10),
    };

    fn whole(self) -> TimeDelta {
        times(self.restored_after, self.burst_max)
    }
}

fn times(time: TimeDelta, count: u32) -> TimeDelta {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    time.checked_mul(count).unwrap_or(TimeDelta::MAX)
}

/// What has been wrong so far: when all of it will be forgiven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Throttle {
    forgiven_at: DateTime<Utc>,
}

impl Throttle {
    /// Nothing has been wrong.
    pub const CLEAN: Self = Self {
        forgiven_at: DateTime::UNIX_EPOCH,
    };

    /// How long all of it takes to be forgiven, seen from `now`. Where the clock was put back, not
    /// longer than everything takes.
    fn left(self, rules: ThrottleRules, now: DateTime<Utc>) -> TimeDelta {
        let left = self.forgiven_at.signed_duration_since(now);
        left.clamp(TimeDelta::zero(), rules.whole())
    }

    /// How long to wait before one more may be tried, while `under_way` others are; `None`: not at
    /// all.
    #[must_use]
    pub fn wait(
        self,
        rules: ThrottleRules,
        under_way_count: u32,
        now: DateTime<Utc>,
    ) -> Option<TimeDelta> {
        let asked = times(rules.restored_after, under_way_count.saturating_add(1));
        let left = self.left(rules, now);
        let over = left.checked_add(&asked)?.checked_sub(&rules.whole())?;
        (over > TimeDelta::zero()).then_some(over)
    }

    /// After one more was wrong.
    #[must_use]
    pub fn failed(self, rules: ThrottleRules, now: DateTime<Utc>) -> Self {
        let left = self.left(rules, now);
        let left = left.checked_add(&rules.restored_after);
        let left = left.unwrap_or(TimeDelta::MAX).min(rules.whole());
        Self {
            forgiven_at: now.checked_add_signed(left).unwrap_or(now),
        }
    }

    /// Whether it need not be kept any more.
    #[must_use]
    pub fn is_forgiven(self, now: DateTime<Utc>) -> bool {
        self.forgiven_at <= now
    }
}
