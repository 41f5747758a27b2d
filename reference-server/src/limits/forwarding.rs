//! Bounds of sending on all that comes, and of asking whether it is safe there.

use std::time::Duration;

/// AEs to which all that comes is sent on, at most.
pub const FORWARDS_COUNT: usize = 8;

/// Bounds of sending on all that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardingBounds {
    /// Instances that are looked at at once; after a kill as many may be sent once more.
    pub page_count: usize,
    /// Kinds of instances (class and transfer syntax) that one association is asked for.
    pub kinds_max: usize,
    /// How long an association is kept where nothing comes.
    pub linger: Duration,
    /// How often it is looked for what is to be done where nobody says so.
    pub look_every: Duration,
    /// How long a peer may take to answer.
    pub response_duration_max: Duration,
    /// The pause after the first attempt that fails; each further one is twice as long.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_longest: Duration,
    /// How often in a row it goes no further than one and the same instance, since the association
    /// ends or the peer has no room, before that is put aside, so that others go on.
    pub stuck_count_max: u32,
    /// Instances that are put aside, of one destination. Beyond it nothing is sent there until
    /// some of them are: none is lost for want of a note.
    pub aside_max: usize,
    /// Instances put aside that are tried again between two pages of what comes.
    pub aside_at_once: usize,
    /// The pause before an instance that was put aside is tried again; each further one is twice
    /// as long.
    pub again_first: Duration,
    /// The longest of these pauses.
    pub again_longest: Duration,
    /// How often an instance is tried that the peer does not take or does not confirm; then it
    /// counts as failed until the next start. Where the peer has no room, or the line breaks, it
    /// is tried without an end.
    pub again_count_max: u32,
    /// References of one request for commitment.
    pub asked_max: usize,
    /// How long what was sent gathers before commitment is asked for.
    pub gathered_for: Duration,
    /// How long the association of such a request is kept for its report.
    pub report_here: Duration,
    /// How long the report is waited for before commitment is asked for anew.
    pub report_wait: Duration,
    /// Requests whose report is still taken, of one destination.
    pub transactions_max: usize,
    /// Instances that devices wait for and that are asked about though they were sent long ago.
    pub wanted_max: usize,
    /// How long after an instance came it is written down that it was confirmed. Who asks later
    /// has the destination asked anew.
    pub noted_for: Duration,
    /// How often it is looked for what need not be written down any longer.
    pub swept_every: Duration,
    /// How long what was sent is gathered for one record of the audit trail.
    pub told_every: Duration,
    /// Studies of such records.
    pub told_max: usize,
}

impl Default for ForwardingBounds {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            page_count: 100,
            kinds_max: 100,
            linger: Duration::from_secs(20),
            look_every: MINUTE,
            response_duration_max: MINUTE.saturating_mul(2),
            retry_first: Duration::from_secs(1),
            retry_longest: MINUTE,
            stuck_count_max: 3,
            aside_max: 20_000,
            aside_at_once: 10,
            again_first: Duration::from_secs(30),
            again_longest: MINUTE.saturating_mul(60),
            again_count_max: 10,
            asked_max: 500,
            gathered_for: Duration::from_secs(1),
            report_here: Duration::from_secs(10),
            report_wait: MINUTE.saturating_mul(60),
            transactions_max: 64,
            wanted_max: 100_000,
            noted_for: MINUTE.saturating_mul(30 * 24 * 60),
            swept_every: MINUTE.saturating_mul(60),
            told_every: MINUTE,
            told_max: 500,
        }
    }
}
