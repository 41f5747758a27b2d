//! The instances of one association, and what came of each, by its place among them.

use super::{Shared, why};
use async_trait::async_trait;
use pacs_core::{SopClassUid, TransferSyntaxUid};
use pacs_net::requestor::{RequestorError, StoreResponse};
use pacs_net::service::{OutgoingInstance, SubOperations};
use pacs_store::index::StoredInstance;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Status of a peer that has no room now (PS3.4 B.2.3, `A7xxH`).
const OUT_OF_RESOURCES: std::ops::RangeInclusive<u16> = 0xA700..=0xA7FF;

/// Statuses of a peer that will never take an instance: the data set is not what it should be
/// (`A9xxH`), or cannot be understood (`Cxxx`).
const NEVER: [std::ops::RangeInclusive<u16>; 2] = [0xA900..=0xA9FF, 0xC000..=0xCFFF];

/// And: the SOP class is not supported (PS3.7 C.5.6).
const CLASS_NOT_SUPPORTED: u16 = 0x0122;

/// What came of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Perhaps another time, though that is not sure.
    Again(String),
    /// The association ended on it.
    Ended(String),
    /// The peer has no room.
    NoRoom(String),
    /// The peer does not want it.
    Refused(String),
    /// The peer has it.
    Taken,
}

impl Verdict {
    pub(super) fn of(response: &Result<StoreResponse, RequestorError>) -> Self {
        match response {
            Ok(_) => Self::Taken,
            Err(error @ RequestorError::Status { code, .. }) => {
                let why = why(error);
                if OUT_OF_RESOURCES.contains(code) {
                    Self::NoRoom(why)
                } else if *code == CLASS_NOT_SUPPORTED || NEVER.iter().any(|of| of.contains(code)) {
                    Self::Refused(why)
                } else {
                    Self::Again(why)
                }
            }
            Err(
                error @ (RequestorError::NoPresentationContext { .. } | RequestorError::Source(_)),
            ) => Self::Again(why(error)),
            Err(error) => Self::Ended(why(error)),
        }
    }
}

/// What came of the instances.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    verdicts: BTreeMap<usize, Verdict>,
    /// Places of those that were given to the association and not answered.
    under_way: VecDeque<usize>,
    /// Whether no more is to be sent.
    is_over: bool,
}

impl Inbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, place: usize, verdict: Verdict) {
        self.state().verdicts.insert(place, verdict);
    }

    /// The oldest of those under way was answered.
    pub(super) fn answered(&self, response: &Result<StoreResponse, RequestorError>) {
        let verdict = Verdict::of(response);
        let mut state = self.state();
        state.is_over |= matches!(verdict, Verdict::NoRoom(_));
        if let Some(place) = state.under_way.pop_front() {
            state.verdicts.insert(place, verdict);
        }
    }

    fn goes(&self, place: usize) {
        self.state().under_way.push_back(place);
    }

    fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// What came of the first instances, as far as there is no gap.
    pub(super) fn first(self) -> Vec<Verdict> {
        let state = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let verdicts = state.verdicts.into_iter().enumerate();
        let first = verdicts.take_while(|(at, (place, _))| at == place);
        first.map(|(_, (_, verdict))| verdict).collect()
    }
}

/// An instance that goes, and in which transfer syntax, where not in its own.
pub(super) struct Planned {
    pub(super) place: usize,
    pub(super) stored: StoredInstance,
    pub(super) to: Option<TransferSyntaxUid>,
}

/// The instances of one association.
pub(super) struct Outgoing<'a> {
    pub(super) shared: &'a Shared,
    pub(super) rest: std::vec::IntoIter<Planned>,
    pub(super) inbox: &'a Inbox,
}

#[async_trait]
impl SubOperations for Outgoing<'_> {
    fn count(&self) -> usize {
        self.rest.len()
    }

    fn kinds(&self) -> Vec<(SopClassUid, TransferSyntaxUid)> {
        Vec::new()
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        while !self.inbox.is_over() {
            let Planned { place, stored, to } = self.rest.next()?;
            let Shared { parts, moves, .. } = self.shared;
            let mut outgoing = parts.services.as_kept(moves, stored);
            if let Some(to) = to {
                match outgoing.source.convert(&to).await {
                    Ok(source) => {
                        outgoing.transfer_syntax = to;
                        outgoing.source = source;
                    }
                    Err(error) => {
                        let why = crate::tool::failure::chain(&error);
                        self.inbox.put(place, Verdict::Again(why));
                        continue;
                    }
                }
            }
            self.inbox.goes(place);
            return Some(outgoing);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Verdict {
        Verdict::of(&Err(RequestorError::Status {
            code,
            comment: Some("of a patient".to_owned()),
        }))
    }

    #[test]
    fn only_what_is_wrong_with_the_instance_is_refused_for_good() {
        for code in [0xA900, 0xC000, 0xCFFF, 0x0122] {
            assert!(matches!(status(code), Verdict::Refused(_)), "{code:04X}");
        }
        for code in [0xA700, 0xA7FF] {
            assert!(matches!(status(code), Verdict::NoRoom(_)), "{code:04X}");
        }
        for code in [0x0110, 0x0124, 0x0213, 0xFE00] {
            assert!(matches!(status(code), Verdict::Again(_)), "{code:04X}");
        }
        assert_eq!(
            status(0xA900),
            Verdict::Refused("status A900H".to_owned()),
            "and no word of the peer"
        );
    }

    #[test]
    fn what_came_of_instances_counts_up_to_the_first_gap() {
        let inbox = Inbox::default();
        inbox.goes(1);
        inbox.put(0, Verdict::Again(String::new()));
        inbox.goes(2);
        inbox.goes(4);
        let taken = || {
            Ok(StoreResponse {
                status: 0,
                comment: None,
            })
        };
        inbox.answered(&taken());
        inbox.answered(&Err(RequestorError::Status {
            code: 0xA700,
            comment: None,
        }));
        assert!(inbox.is_over());
        inbox.answered(&taken());
        let first = inbox.first();
        assert_eq!(first.len(), 3, "{first:?}");
        assert!(matches!(first.last(), Some(Verdict::NoRoom(_))));
    }
}
