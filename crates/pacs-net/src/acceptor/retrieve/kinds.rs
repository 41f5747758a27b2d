//! What kinds of instances a C-MOVE is to deliver, and the presentation contexts that are proposed
//! for them.
//!
//! A kind, SOP class and transfer syntax, has a context of its own, so that the destination cannot
//! choose away what needs no conversion. A class whose instances can be converted has one or two
//! more, with what they can become (PS3.5 10.1 asks that the default transfer syntax be among it).

use crate::service::SubOperations;
use crate::sop_class::{
    EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN,
};
use pacs_core::{SopClassUid, TransferSyntaxUid};
use std::collections::BTreeMap;

/// SOP class, and the transfer syntax that an instance is kept in.
pub(super) type Kind = (SopClassUid, TransferSyntaxUid);

/// The kinds of one retrieval.
#[derive(Debug)]
pub(super) struct Kinds {
    /// In order, each once.
    kinds: Vec<Kind>,
    conversions: BTreeMap<TransferSyntaxUid, Vec<TransferSyntaxUid>>,
}

/// What is proposed on one association.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// Kinds that it is for.
    pub(super) kinds: Vec<Kind>,
    /// Presentation contexts.
    pub(super) contexts: Vec<(SopClassUid, Vec<TransferSyntaxUid>)>,
}

impl Kinds {
    pub(super) fn of(found: &dyn SubOperations) -> Self {
        let mut kinds = found.kinds();
        kinds.sort();
        kinds.dedup();
        let mut conversions = BTreeMap::new();
        for (_, kept) in &kinds {
            if !conversions.contains_key(kept) {
                conversions.insert(kept.clone(), found.conversions(kept));
            }
        }
        Self { kinds, conversions }
    }

    /// What an instance that is kept in `kept` can be converted to, the best first.
    pub(super) fn conversions(&self, kept: &TransferSyntaxUid) -> &[TransferSyntaxUid] {
        self.conversions.get(kept).map_or(&[], Vec::as_slice)
    }

    /// `kind` and those after it, as many as fit `contexts_max` contexts.
    pub(super) fn proposal(&self, kind: &Kind, contexts_max: usize) -> Proposal {
        let from = self.kinds.partition_point(|known| known < kind);
        let after = self.kinds.iter().skip(from).filter(|known| *known != kind);
        let mut proposal = Proposal {
            kinds: Vec::new(),
            contexts: Vec::new(),
        };
        for kind in std::iter::once(kind).chain(after) {
            let mut contexts = vec![(kind.0.clone(), vec![kind.1.clone()])];
            let is_same_class = |known: &Kind| known.0 == kind.0;
            if !proposal.kinds.iter().any(is_same_class) {
                let fallbacks = self.fallbacks(&kind.0).into_iter();
                contexts.extend(fallbacks.map(|names| (kind.0.clone(), names)));
            }
            let sum = proposal.contexts.len().saturating_add(contexts.len());
            if sum > contexts_max && !proposal.kinds.is_empty() {
                break;
            }
            proposal.contexts.extend(contexts);
            proposal.contexts.truncate(contexts_max);
            proposal.kinds.push(kind.clone());
        }
        proposal
    }

    /// What instances of a class can be converted to: uncompressed, which is wanted where it is
    /// taken, and compressed. Big endian is left out: it is retired, and everyone takes the default
    /// transfer syntax.
    fn fallbacks(&self, sop_class: &SopClassUid) -> Vec<Vec<TransferSyntaxUid>> {
        let (mut plain, mut compressed) = (Vec::new(), Vec::new());
        let of_class = self.kinds.iter().filter(|kind| kind.0 == *sop_class);
        for name in of_class.flat_map(|(_, kept)| self.conversions(kept)) {
            let names: &mut Vec<TransferSyntaxUid> = match name.as_str() {
                EXPLICIT_VR_BIG_ENDIAN => continue,
                EXPLICIT_VR_LITTLE_ENDIAN | IMPLICIT_VR_LITTLE_ENDIAN => &mut plain,
                _ => &mut compressed,
            };
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let mut fallbacks = vec![plain, compressed];
        fallbacks.retain(|names| !names.is_empty());
        fallbacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPLICIT: &str = "1.2.840.10008.1.2.1";
    const IMPLICIT: &str = "1.2.840.10008.1.2";
    const JPEG: &str = "1.2.840.10008.1.2.4.70";
    const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
    const RLE: &str = "1.2.840.10008.1.2.5";

    fn kind(class: &str, kept: &str) -> Kind {
        (
            SopClassUid::parse(class).unwrap(),
            TransferSyntaxUid::parse(kept).unwrap(),
        )
    }

    fn kinds(list: &[(&str, &str)]) -> Kinds {
        let targets = [EXPLICIT, IMPLICIT, EXPLICIT_VR_BIG_ENDIAN];
        let conversions = |kept: &str| -> Vec<TransferSyntaxUid> {
            let others = targets.into_iter().filter(|target| *target != kept);
            let others = others.filter(|_| kept != JPEG);
            others
                .map(|target| TransferSyntaxUid::parse(target).unwrap())
                .collect()
        };
        let mut kinds: Vec<Kind> = list.iter().map(|(c, k)| kind(c, k)).collect();
        kinds.sort();
        Kinds {
            conversions: kinds
                .iter()
                .map(|(_, kept)| (kept.clone(), conversions(kept.as_str())))
                .collect(),
            kinds,
        }
    }

    fn proposed(kinds: &Kinds, first: &Kind, contexts_max: usize) -> Vec<(String, Vec<String>)> {
        let proposal = kinds.proposal(first, contexts_max);
        let names = |names: Vec<TransferSyntaxUid>| names.iter().map(ToString::to_string).collect();
        let contexts = proposal.contexts.into_iter();
        contexts
            .map(|(class, syntaxes)| (class.to_string(), names(syntaxes)))
            .collect()
    }

    fn context(class: &str, syntaxes: &[&str]) -> (String, Vec<String>) {
        let syntaxes = syntaxes.iter().map(ToString::to_string);
        (class.to_owned(), syntaxes.collect())
    }

    #[test]
    fn each_kind_has_its_context_and_each_class_what_it_can_become() {
        let kinds = kinds(&[
            ("1.1", EXPLICIT),
            ("1.1", RLE),
            ("1.2", JPEG),
            ("1.3", IMPLICIT),
        ]);
        assert_eq!(
            proposed(&kinds, &kind("1.1", EXPLICIT), 128),
            [
                context("1.1", &[EXPLICIT]),
                context("1.1", &[IMPLICIT, EXPLICIT]),
                context("1.1", &[RLE]),
                context("1.2", &[JPEG]),
                context("1.3", &[IMPLICIT]),
                context("1.3", &[EXPLICIT]),
            ]
        );
    }

    #[test]
    fn compressed_ones_have_a_context_of_their_own_so_that_uncompressed_is_taken_first() {
        let mut kinds = kinds(&[("1.1", EXPLICIT)]);
        for targets in kinds.conversions.values_mut() {
            for name in [JPEG_LS, RLE] {
                targets.push(TransferSyntaxUid::parse(name).unwrap());
            }
        }
        assert_eq!(
            proposed(&kinds, &kind("1.1", EXPLICIT), 128),
            [
                context("1.1", &[EXPLICIT]),
                context("1.1", &[IMPLICIT]),
                context("1.1", &[JPEG_LS, RLE]),
            ]
        );
        // Where there is not room for all, what needs most is left out.
        assert_eq!(proposed(&kinds, &kind("1.1", EXPLICIT), 2).len(), 2);
    }

    #[test]
    fn an_association_is_for_as_many_kinds_as_have_room() {
        let kinds = kinds(&[("1.1", RLE), ("1.2", RLE), ("1.3", RLE)]);
        let proposal = kinds.proposal(&kind("1.2", RLE), 3);
        assert_eq!(proposal.kinds, [kind("1.2", RLE)]);
        assert_eq!(proposal.contexts.len(), 2);
        let proposal = kinds.proposal(&kind("1.2", RLE), 4);
        assert_eq!(proposal.kinds, [kind("1.2", RLE), kind("1.3", RLE)]);
        // Where there is room for one context it is the one that needs no conversion.
        let proposal = kinds.proposal(&kind("1.1", RLE), 1);
        assert_eq!(proposal.contexts.len(), 1);
        assert_eq!(proposal.contexts[0].1, [kind("1.1", RLE).1]);
    }
}
