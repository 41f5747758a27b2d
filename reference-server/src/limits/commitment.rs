//! Bounds of storage commitment.

use std::time::Duration;

/// Bounds of storage commitment. What is beyond a number is refused (0213H; over the web 503).
/// Requests over the web count apart from those of AEs, each client as an AE; they are open until
/// [`Self::result_kept`], and make room for new ones before it once they are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitmentBounds {
    /// Requests of one AE whose report is owed: some devices ask for each instance alone.
    pub open_per_ae_max: usize,
    /// Requests of all AEs whose report is owed.
    pub open_max: usize,
    /// References in the open requests of one AE.
    pub references_per_ae_max: usize,
    /// References in all open requests: about 70 bytes of the records each.
    pub references_max: usize,
    /// Instances read at once, for all AEs.
    pub checks_max: usize,
    /// Associations at once that bring reports.
    pub reporters_max: usize,
    /// How long an instance counts as checked; then it is read again before its report.
    pub checked_for: Duration,
    /// Time after a request in which its report goes over its own association, and in which it must
    /// be taken there; where the AE has no address it is the only way.
    pub line_wait: Duration,
    /// How long a peer may take to answer a report on an association of ours.
    pub response_duration_max: Duration,
    /// Pause after the first attempt that fails; each further one doubles it.
    pub retry_first: Duration,
    /// Longest pause between attempts.
    pub retry_longest: Duration,
    /// Time after a request in which its report is tried; then it is given up.
    pub retry_for: Duration,
    /// Time after a restart in which it is tried at least.
    pub retry_after_restart: Duration,
    /// How long an answer is put off while other archives that are to have the instances have not
    /// confirmed them; then those fail (0213H), and may be asked about again.
    pub put_off_for: Duration,
    /// How often it is looked whether they have.
    pub put_off_looked_every: Duration,
    /// Pause that a client over the web is told to make before it asks again.
    pub again_in: Duration,
    /// How long what came of a request over the web can be asked for.
    pub result_kept: Duration,
    /// How long reports that were given up show in `/healthz`.
    pub given_up_shown: Duration,
    /// Reports that were given up and are remembered; more are logged and counted only.
    pub given_up_max: usize,
}

impl Default for CommitmentBounds {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            open_per_ae_max: 1_000,
            open_max: 10_000,
            references_per_ae_max: 100_000,
            references_max: 500_000,
            checks_max: 2,
            reporters_max: 16,
            checked_for: MINUTE.saturating_mul(60),
            line_wait: Duration::from_secs(30),
            response_duration_max: MINUTE,
            retry_first: Duration::from_secs(5),
            retry_longest: MINUTE.saturating_mul(30),
            retry_for: MINUTE.saturating_mul(24 * 60),
            retry_after_restart: MINUTE.saturating_mul(10),
            put_off_for: MINUTE.saturating_mul(7 * 24 * 60),
            put_off_looked_every: MINUTE,
            again_in: Duration::from_secs(5),
            result_kept: MINUTE.saturating_mul(7 * 24 * 60),
            given_up_shown: MINUTE.saturating_mul(7 * 24 * 60),
            given_up_max: 1_000,
        }
    }
}
