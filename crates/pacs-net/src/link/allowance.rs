//! How long a peer may take for what is under way: it may be silent for a while, and each byte
//! earns it time, but never more than that while. Who keeps to a least rate can go on for ever; who
//! drips cannot hold what others need.

use std::time::Duration;
use tokio::time::Instant;

/// The time that a peer has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    until: Option<Instant>,
    while_max: Duration,
    bytes_per_second_min: u32,
}

impl Allowance {
    /// From now on.
    pub(super) fn new(while_max: Duration, bytes_per_second_min: u32) -> Self {
        Self {
            until: Instant::now().checked_add(while_max),
            while_max,
            bytes_per_second_min,
        }
    }

    /// When it is used up; `None` is never.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The peer has sent or taken `bytes`.
    pub(super) fn earn(&mut self, bytes: u64) {
        let most = Instant::now().checked_add(self.while_max);
        let earned = bytes
            .saturating_mul(1_000_000_000)
            .checked_div(u64::from(self.bytes_per_second_min))
            .map_or(Duration::MAX, Duration::from_nanos);
        let until = self.until.and_then(|until| until.checked_add(earned));
        self.until = [until, most].into_iter().flatten().min();
    }

    /// The peer was kept waiting for `duration`.
    pub(super) fn suspended(&mut self, duration: Duration) {
        self.until = self.until.and_then(|until| until.checked_add(duration));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_earn_time_but_never_more_than_the_first_while() {
        let began = Instant::now();
        let mut allowance = Allowance::new(Duration::from_secs(60), 1000);
        let left = |allowance: &Allowance| allowance.until().unwrap().duration_since(began);

        allowance.earn(8 << 20);
        assert_eq!(left(&allowance).as_secs(), 60);
        tokio::time::advance(Duration::from_secs(30)).await;
        allowance.earn(5000);
        assert_eq!(left(&allowance).as_secs(), 65);
        allowance.suspended(Duration::from_secs(100));
        assert_eq!(left(&allowance).as_secs(), 165);
    }

    #[tokio::test(start_paused = true)]
    async fn a_while_without_end_does_not_end() {
        let mut allowance = Allowance::new(Duration::MAX, 1000);
        allowance.earn(1);
        assert_eq!(allowance.until(), None);
    }
}
