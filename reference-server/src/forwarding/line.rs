//! The association with a destination: kept open while instances come, and opened anew where one
//! needs a presentation context that it does not have.

use super::outgoing::{Inbox, Outgoing, Planned, Verdict};
use super::{Shared, Trouble, why};
use crate::scp::Services;
use pacs_core::{AeTitle, SopClassUid, TransferSyntaxUid};
use pacs_net::sop_class::IMPLICIT_VR_LITTLE_ENDIAN;
use pacs_net::{NetLimits, Requestor};
use pacs_store::index::StoredInstance;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

/// Presentation contexts that one association is asked for.
const CONTEXTS_MAX: usize = 120;

/// What every archive and every workstation takes some of: CR, CT, MR and secondary capture. A peer
/// that takes none of these and nothing else takes nothing now.
const COMMON: [&str; 4] = [
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.7",
];

/// A class, and how its instances are kept.
type Kind = (SopClassUid, TransferSyntaxUid);

/// Why nothing can be sent where no context was accepted.
const NOTHING_TAKEN: &str = "the peer takes no instances from us";

/// Why one instance is not sent.
const NOT_TAKEN: &str = "the peer takes neither the SOP class nor the transfer syntax";

#[derive(Debug)]
struct Open {
    association: Requestor,
    /// What was agreed.
    contexts: HashSet<Kind>,
    /// What was asked for.
    proposed: BTreeSet<Kind>,
}

/// The association with one destination, if it stands.
#[derive(Debug)]
pub(super) struct Line {
    to: AeTitle,
    /// Whether instances may go in another transfer syntax.
    converts: bool,
    open: Option<Open>,
    /// Kinds that came of late, the latest first: others of them will.
    known: VecDeque<Kind>,
}

impl Line {
    pub(super) const fn new(to: AeTitle, converts: bool) -> Self {
        Self {
            to,
            converts,
            open: None,
            known: VecDeque::new(),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Ends it in order.
    pub(super) async fn release(&mut self) {
        if let Some(open) = self.open.take()
            && open.association.is_established()
            && let Err(error) = open.association.release().await
        {
            tracing::debug!(called = %self.to, %error, "release failed");
        }
    }

    /// Has an association on which all of `instances` may go, as far as the peer takes them;
    /// whether it is a new one.
    pub(super) async fn ready(
        &mut self,
        shared: &Shared,
        instances: &[StoredInstance],
    ) -> Result<bool, Trouble> {
        let bounds = shared.parts.bounds;
        let kinds = instances.iter().map(kind_of);
        let kinds: BTreeSet<Kind> = kinds.take(bounds.kinds_max).collect();
        let serves = |open: &Open| {
            let is_of_use = open.association.is_established() && !open.contexts.is_empty();
            is_of_use && kinds.iter().all(|of| open.proposed.contains(of))
        };
        if self.open.as_ref().is_some_and(serves) {
            return Ok(false);
        }
        self.release().await;
        self.known.retain(|known| !kinds.contains(known));
        for kind in kinds {
            self.known.push_front(kind);
        }
        self.known.truncate(bounds.kinds_max);
        let proposed: BTreeSet<Kind> = self.known.iter().cloned().collect();
        let Some(remote) = shared.parts.access.remote_ae(&self.to) else {
            return Err(Trouble::Peer("the AE has no address any more".to_owned()));
        };
        let mut builder = Requestor::builder(shared.parts.our_title.clone(), self.to.clone())
            .connector(Arc::clone(&shared.parts.connector))
            .limits(NetLimits {
                response_duration_max: bounds.response_duration_max,
                ..NetLimits::default()
            });
        for (class, syntaxes) in proposals(&proposed, self.converts) {
            builder = builder.context(&class, &syntaxes);
        }
        let connected = builder.connect(&remote.address.to_string()).await;
        let association = connected.map_err(|error| Trouble::Peer(why(&error)))?;
        let contexts = association.negotiated().contexts().iter();
        let contexts = contexts.map(|of| (of.abstract_syntax.clone(), of.transfer_syntax.clone()));
        self.open = Some(Open {
            contexts: contexts.collect(),
            association,
            proposed,
        });
        Ok(true)
    }

    /// Sends `instances`: what came of the first of them, as far as it came.
    pub(super) async fn store(
        &mut self,
        shared: &Shared,
        instances: &[StoredInstance],
    ) -> Vec<Verdict> {
        let converts = self.converts;
        let Some(open) = &mut self.open else {
            return Vec::new();
        };
        if open.contexts.is_empty() {
            return vec![Verdict::Ended(NOTHING_TAKEN.to_owned())];
        }
        let inbox = Inbox::default();
        let mut planned = Vec::with_capacity(instances.len());
        for (place, stored) in instances.iter().enumerate() {
            match fitting(stored, &open.contexts, converts) {
                Some(to) => planned.push(Planned {
                    place,
                    stored: stored.clone(),
                    to,
                }),
                // An archive is to learn to take it.
                None if converts => inbox.put(place, Verdict::Refused(NOT_TAKEN.to_owned())),
                None => inbox.put(place, Verdict::Again(NOT_TAKEN.to_owned())),
            }
        }
        let mut outgoing = Outgoing {
            shared,
            rest: planned.into_iter(),
            inbox: &inbox,
        };
        let report = |_: &_, response: &_| inbox.answered(response);
        let stored = open.association.store_all(&mut outgoing, report).await;
        if stored.is_err() || !open.association.is_established() {
            self.open = None;
        }
        inbox.first()
    }
}

fn kind_of(stored: &StoredInstance) -> Kind {
    let head = &stored.instance;
    (head.sop_class.clone(), head.transfer_syntax.clone())
}

/// In which transfer syntax the peer takes an instance, where not in its own; `None`: in none.
fn fitting(
    stored: &StoredInstance,
    contexts: &HashSet<Kind>,
    converts: bool,
) -> Option<Option<TransferSyntaxUid>> {
    let (class, own) = kind_of(stored);
    if contexts.contains(&(class.clone(), own.clone())) {
        return Some(None);
    }
    if !converts {
        return None;
    }
    let others = Services::others(&own);
    let mut others = others.into_iter();
    let is_taken = |other: &TransferSyntaxUid| contexts.contains(&(class.clone(), other.clone()));
    others.find(is_taken).map(Some)
}

/// A presentation context for each kind as it is kept; where instances may go otherwise, one for
/// each class with what they can be converted to; and some of what every peer takes.
fn proposals(kinds: &BTreeSet<Kind>, converts: bool) -> Vec<(String, Vec<String>)> {
    let text = |syntax: &TransferSyntaxUid| syntax.as_str().to_owned();
    let mut contexts: Vec<(String, Vec<String>)> = kinds
        .iter()
        .map(|(class, kept)| (class.as_str().to_owned(), vec![text(kept)]))
        .collect();
    let classes: BTreeSet<&SopClassUid> = kinds.iter().map(|(class, _)| class).collect();
    for class in classes.into_iter().filter(|_| converts) {
        let mut others: Vec<String> = Vec::new();
        for (_, kept) in kinds.iter().filter(|(of, _)| of == class) {
            for other in Services::others(kept).iter().map(text) {
                if !others.contains(&other) {
                    others.push(other);
                }
            }
        }
        if !others.is_empty() {
            contexts.push((class.as_str().to_owned(), others));
        }
    }
    contexts.truncate(CONTEXTS_MAX);
    for class in COMMON {
        contexts.push((class.to_owned(), vec![IMPLICIT_VR_LITTLE_ENDIAN.to_owned()]));
    }
    contexts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(class: &str, syntax: &str) -> Kind {
        (
            SopClassUid::parse(class).unwrap(),
            TransferSyntaxUid::parse(syntax).unwrap(),
        )
    }

    #[test]
    fn an_archive_is_asked_for_what_is_kept_and_a_workstation_for_more() {
        let j2k = kind("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.90");
        let kinds = BTreeSet::from([j2k]);

        let archive = proposals(&kinds, false);
        let workstation = proposals(&kinds, true);

        assert_eq!(archive.len(), 1 + COMMON.len());
        assert_eq!(archive[0].1, ["1.2.840.10008.1.2.4.90"]);
        assert_eq!(workstation.len(), 2 + COMMON.len());
        let others = &workstation[1].1;
        assert!(others.iter().any(|of| of == "1.2.840.10008.1.2.1"));
    }

    #[test]
    fn no_more_contexts_are_asked_for_than_there_are() {
        let kinds = (0..100).map(|number| kind(&format!("1.2.{number}"), "1.2.840.10008.1.2.4.90"));
        let kinds = kinds.collect();
        assert!(proposals(&kinds, true).len() <= 128);
    }
}
