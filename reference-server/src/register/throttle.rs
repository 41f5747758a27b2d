//! How often one person may ask: a register is no list to be read through.

use chrono::{DateTime, TimeDelta, Utc};
use std::collections::HashMap;

/// People of whom it is known at once; beyond it those who have asked least lately are forgotten.
const PEOPLE_MAX: usize = 10_000;

/// How many questions each person has asked within the minute.
#[derive(Debug, Default)]
pub(super) struct Throttle(HashMap<String, (DateTime<Utc>, u32)>);

impl Throttle {
    /// Counts a question; or says in how many seconds the person may ask again.
    pub(super) fn count(
        &mut self,
        who: &str,
        per_minute_max: u32,
        now: DateTime<Utc>,
    ) -> Result<(), u64> {
        let minute = TimeDelta::minutes(1);
        let is_over =
            |began: DateTime<Utc>| !(began <= now && now.signed_duration_since(began) < minute);
        if self.0.len() >= PEOPLE_MAX && !self.0.contains_key(who) {
            self.0.retain(|_, (began, _)| !is_over(*began));
            if self.0.len() >= PEOPLE_MAX {
                self.0.clear();
            }
        }
        let (began, count) = self.0.entry(who.to_owned()).or_insert((now, 0));
        if is_over(*began) {
            (*began, *count) = (now, 0);
        }
        if *count >= per_minute_max {
            let left = minute - now.signed_duration_since(*began);
            return Err(u64::try_from(left.num_seconds()).unwrap_or(0).max(1));
        }
        *count = count.saturating_add(1);
        Ok(())
    }
}
