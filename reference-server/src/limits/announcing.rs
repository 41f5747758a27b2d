//! Bounds of telling AEs which instances are to be had.

use std::time::Duration;

/// Studies that an AE is owed a notification of and that are read at once.
pub const ANNOUNCED_PAGE_COUNT: usize = 100;

/// Bounds of telling AEs which instances are to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncingBounds {
    /// AEs that are told at once.
    pub at_once_max: usize,
    /// How long changes are gathered before somebody is told: of a study whose images come one by
    /// one not each is told.
    pub gathered_for: Duration,
    /// Instances of one notification; a study with more is told in several.
    pub instances_max: usize,
    /// How often it is looked for what is owed where nobody says so.
    pub look_every: Duration,
    /// Studies of which one AE is owed something; of more it is not told.
    pub owed_max: usize,
    /// How long an AE may take to answer.
    pub response_duration_max: Duration,
    /// The pause after the first attempt that fails; each further one is twice as long.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_longest: Duration,
    /// How long it is tried after a study changed last.
    pub tried_for: Duration,
}

impl Default for AnnouncingBounds {
    fn default() -> Self {
        Self {
            at_once_max: 4,
            gathered_for: Duration::from_secs(1),
            instances_max: 2_000,
            look_every: Duration::from_secs(60),
            owed_max: 20_000,
            response_duration_max: Duration::from_secs(60),
            retry_first: Duration::from_secs(2),
            retry_longest: Duration::from_secs(600),
            tried_for: Duration::from_secs(72 * 3_600),
        }
    }
}
