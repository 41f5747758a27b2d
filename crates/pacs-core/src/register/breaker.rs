//! When a register that is down is left in peace.

use chrono::{DateTime, TimeDelta, Utc};

/// How soon, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures in a row after which nobody asks.
    pub failures_max: u32,
    /// For how long; then one question tries whether it is back.
    pub pause: TimeDelta,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self {
            failures_max: 5,
            pause: TimeDelta::seconds(60),
        }
    }
}

/// Counts failures in a row. While the pause lasts nobody asks, so that nobody waits for what is
/// not there; after it one question goes through, and what comes of it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    failures_count: u32,
    closed_until: Option<DateTime<Utc>>,
}

impl Breaker {
    /// Whether a question may go out now.
    pub fn admits(&mut self, rules: BreakerRules, now: DateTime<Utc>) -> bool {
        match self.closed_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // This one tries. If it is given up halfway, the next one does after a pause.
                self.closed_until = Some(later(now, rules));
                true
            }
        }
    }

    /// What became of a question that went out. Says whether the pause began with it.
    pub fn told(&mut self, is_up: bool, rules: BreakerRules, now: DateTime<Utc>) -> bool {
        if is_up {
            *self = Self::default();
            return false;
        }
        self.failures_count = self.failures_count.saturating_add(1);
        let is_over = self.failures_count >= rules.failures_max;
        if is_over {
            self.closed_until = Some(later(now, rules));
        }
        self.failures_count == rules.failures_max
    }

    /// Whether the register is known to be down.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.closed_until.is_some()
    }
}

fn later(now: DateTime<Utc>, rules: BreakerRules) -> DateTime<Utc> {
    now.checked_add_signed(rules.pause).unwrap_or(now)
}
