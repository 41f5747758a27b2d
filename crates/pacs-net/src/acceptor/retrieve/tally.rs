//! Counts sub-operations (PS3.4 C.4.2.1.6 to C.4.2.1.9).

use super::is_done;
use crate::dimse::CommandSet;
use crate::service::ConversionError;
use crate::status::{RetrieveStatus, StatusClass};
use pacs_core::{SopInstanceUid, TransferSyntaxUid};

/// What a sub-operation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SubOutcome {
    Completed,
    Failed { reason: String },
    Warning,
}

impl SubOutcome {
    /// From the status of its response. Its comment is no business of the peer that asked: it is
    /// free text, and may name a patient.
    pub(super) fn of(status: u16) -> Self {
        match is_done(status) {
            Some(true) => Self::Completed,
            Some(false) => Self::Warning,
            None => Self::Failed {
                reason: format!("peer answered {status:04X}H"),
            },
        }
    }

    /// No accepted presentation context has its SOP class in its transfer syntax.
    pub(super) fn no_context(transfer_syntax: &TransferSyntaxUid) -> Self {
        Self::Failed {
            reason: format!("no context for {transfer_syntax}"),
        }
    }

    /// A peer takes it only converted, and that is not possible. Unlike the comment of a peer, ours
    /// names no patient.
    pub(super) fn not_converted(error: &ConversionError) -> Self {
        Self::Failed {
            reason: error.0.to_string(),
        }
    }

    pub(super) fn unreadable() -> Self {
        Self::Failed {
            reason: "stored instance cannot be read".to_owned(),
        }
    }
}

/// The counters of one retrieval. Those on the wire end at 65,535.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    all: usize,
    completed: usize,
    failed: usize,
    warning: usize,
    failed_uids: Vec<SopInstanceUid>,
    failed_uids_max: usize,
    first_reason: Option<String>,
}

fn wire(count: usize) -> Option<u16> {
    Some(u16::try_from(count).unwrap_or(u16::MAX))
}

impl Tally {
    pub(super) fn new(all: usize, failed_uids_max: usize) -> Self {
        Self {
            all,
            failed_uids_max,
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, uid: &SopInstanceUid, outcome: SubOutcome) {
        match outcome {
            SubOutcome::Completed => self.completed = self.completed.saturating_add(1),
            SubOutcome::Warning => self.warning = self.warning.saturating_add(1),
            SubOutcome::Failed { reason } => {
                self.failed = self.failed.saturating_add(1);
                self.first_reason.get_or_insert(reason);
                if self.failed_uids.len() < self.failed_uids_max {
                    self.failed_uids.push(uid.clone());
                }
            }
        }
    }

    pub(super) fn failed_uids(&self) -> &[SopInstanceUid] {
        &self.failed_uids
    }

    pub(super) const fn done(&self) -> u64 {
        self.completed.saturating_add(self.warning) as u64
    }

    pub(super) const fn failed(&self) -> u64 {
        self.failed as u64
    }

    /// How the retrieval ends when nothing else ends it.
    pub(super) fn status(&self) -> RetrieveStatus {
        let status = match (self.failed, self.done()) {
            (0, _) if self.warning == 0 => RetrieveStatus::SUCCESS,
            (failed, 0) if failed > 0 => RetrieveStatus::OUT_OF_RESOURCES_SUB_OPERATIONS,
            _ => RetrieveStatus::SUB_OPERATIONS_FAILED,
        };
        match &self.first_reason {
            Some(reason) => status.with_comment(reason.clone()),
            None => status,
        }
    }

    fn counted(&self, command: &CommandSet, status: u16) -> CommandSet {
        CommandSet {
            completed: wire(self.completed),
            failed: wire(self.failed),
            warning: wire(self.warning),
            ..command.response(status)
        }
    }

    fn remaining(&self) -> Option<u16> {
        let done = [self.completed, self.failed, self.warning];
        wire(done.into_iter().fold(self.all, usize::saturating_sub))
    }

    /// A pending response.
    pub(super) fn pending(&self, command: &CommandSet) -> CommandSet {
        CommandSet {
            remaining: self.remaining(),
            ..self.counted(command, RetrieveStatus::of(0xff00).code())
        }
    }

    /// The final response; it has a data set if something failed.
    pub(super) fn response(&self, command: &CommandSet, status: &RetrieveStatus) -> CommandSet {
        let mut response = self.counted(command, status.code());
        status.fill(&mut response);
        response.has_data_set = !self.failed_uids.is_empty();
        if status.class() == StatusClass::Cancel {
            response.remaining = self.remaining();
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(completed: usize, failed: usize, warning: usize) -> Tally {
        let mut tally = Tally::new(10, 2);
        let uid = SopInstanceUid::parse("1.2.3").unwrap();
        for _ in 0..completed {
            tally.count(&uid, SubOutcome::of(0));
        }
        for _ in 0..failed {
            tally.count(&uid, SubOutcome::of(0xa700));
        }
        for _ in 0..warning {
            tally.count(&uid, SubOutcome::of(0xb000));
        }
        tally
    }

    #[test]
    fn the_final_status_is_that_of_the_standard() {
        assert_eq!(tally(3, 0, 0).status().code(), 0x0000);
        assert_eq!(tally(0, 0, 0).status().code(), 0x0000);
        assert_eq!(tally(3, 1, 0).status().code(), 0xb000);
        assert_eq!(tally(3, 0, 1).status().code(), 0xb000);
        assert_eq!(tally(0, 3, 0).status().code(), 0xa702);
        assert_eq!(tally(0, 3, 0).status().comment(), "peer answered A700H");
    }

    #[test]
    fn failures_are_counted_beyond_the_list() {
        let tally = tally(1, 5, 0);
        let response = tally.response(&CommandSet::default(), &tally.status());

        assert_eq!(tally.failed_uids().len(), 2);
        assert_eq!((response.completed, response.failed), (Some(1), Some(5)));
        assert_eq!(response.remaining, None);
        assert!(response.has_data_set);
        assert_eq!(tally.pending(&CommandSet::default()).remaining, Some(4));
    }
}
