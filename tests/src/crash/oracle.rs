//! The oracle: it knows, outside the server, what was sent and what was acknowledged, and asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::samples::Slice;
use crate::wire::{Association, Context, Keys, Proposal, identifier, uid};

/// Remembers what was sent and what was acknowledged, outside the server.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    studies: BTreeMap<String, BTreeMap<String, Sent>>,
    is_power_gone: bool,
    answered_without_power: usize,
}

#[derive(Clone, Debug)]
struct Sent {
    digest: String,
    acknowledged: bool,
}

impl Oracle {
    /// A data set with this digest is about to be sent.
    pub(crate) fn note_sent(&mut self, slice: &Slice, digest: String) {
        let sent = Sent {
            digest,
            acknowledged: false,
        };
        self.studies
            .entry(slice.study.clone())
            .or_default()
            .insert(slice.instance.clone(), sent);
    }

    /// The power goes from now on. Where power really goes no more answers come; here they can,
    /// from a sync that the loss overtook: Linux 6.18 says that it succeeded where it shuts ext4
    /// down under it. They do not count as acknowledged.
    pub(crate) fn note_power_gone(&mut self) {
        self.is_power_gone = true;
    }

    /// The power is back.
    pub(crate) fn note_power_back(&mut self) {
        self.is_power_gone = false;
    }

    /// The server said Success.
    pub(crate) fn note_acknowledged(&mut self, slice: &Slice) {
        let study = self.studies.get_mut(&slice.study).expect("it was sent");
        let sent = study.get_mut(&slice.instance).expect("it was sent");
        if self.is_power_gone {
            self.answered_without_power += 1;
        } else {
            sent.acknowledged = true;
        }
    }

    /// How many instances were answered with Success while the power was going.
    pub(crate) fn answered_without_power(&self) -> usize {
        self.answered_without_power
    }

    /// How many instances were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.studies
            .values()
            .flat_map(BTreeMap::values)
            .filter(|sent| sent.acknowledged)
            .count()
    }

    /// What was acknowledged of a study.
    pub(crate) fn acknowledged_of(&self, study: &str) -> Vec<String> {
        let sent = self.studies.get(study).into_iter().flatten();
        sent.filter(|(_, sent)| sent.acknowledged)
            .map(|(instance, _)| instance.clone())
            .collect()
    }

    /// Every study of which something was sent.
    pub(crate) fn studies(&self) -> BTreeSet<String> {
        self.studies.keys().cloned().collect()
    }

    /// Compares what the server at `address` gives back of `studies` with what is known; how many
    /// instances are there that were not acknowledged.
    ///
    /// # Panics
    /// When anything acknowledged is lost, anything came back changed, or C-FIND and C-GET
    /// disagree.
    pub(crate) fn ask(&self, address: SocketAddr, studies: &BTreeSet<String>) -> usize {
        let mut association = Association::connect(address, &questions())
            .expect("a server that is ready takes associations");
        let mut kept = 0;
        for study in studies {
            let Some(sent) = self.studies.get(study) else {
                continue;
            };
            kept += ask_for_study(&mut association, study, sent);
        }
        association.release().expect("the server releases in order");
        kept
    }
}

fn questions() -> Proposal {
    Proposal::new(vec![
        Context::new(uid::STUDY_ROOT_FIND, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::receiving(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN),
    ])
}

fn ask_for_study(
    association: &mut Association,
    study: &str,
    sent: &BTreeMap<String, Sent>,
) -> usize {
    let keys = Keys::at("STUDY").with(identifier::tag::STUDY, study);
    let (ended, received) = association.get(&keys).expect("the server answers C-GET");
    let acknowledged = sent.values().filter(|sent| sent.acknowledged).count();
    if acknowledged > 0 || !received.is_empty() {
        assert_eq!(ended.status, 0, "C-GET of study {study}: {ended:?}");
    }
    let mut back = BTreeMap::new();
    for instance in received {
        let sent = sent.get(&instance.sop_instance);
        let sent = sent.unwrap_or_else(|| panic!("{} was never sent", instance.sop_instance));
        assert_eq!(
            sent.digest, instance.digest,
            "{} came back changed",
            instance.sop_instance
        );
        back.insert(instance.sop_instance, sent.acknowledged);
    }
    let lost: Vec<&String> = sent
        .iter()
        .filter(|(instance, sent)| sent.acknowledged && !back.contains_key(*instance))
        .map(|(instance, _)| instance)
        .collect();
    assert!(lost.is_empty(), "LOST after it was acknowledged: {lost:?}");
    for series in found(
        association,
        &Keys::at("SERIES"),
        study,
        identifier::tag::SERIES,
    ) {
        let keys = Keys::at("IMAGE").with(identifier::tag::SERIES, &series);
        let images = found(association, &keys, study, identifier::tag::SOP_INSTANCE);
        let retrieved: BTreeSet<String> = back.keys().cloned().collect();
        assert_eq!(
            images, retrieved,
            "C-FIND and C-GET disagree about study {study}"
        );
    }
    back.values().filter(|acknowledged| !**acknowledged).count()
}

/// The values of `wanted` that C-FIND gives for `keys` in `study`.
fn found(association: &mut Association, keys: &Keys, study: &str, wanted: u32) -> BTreeSet<String> {
    let keys = keys
        .clone()
        .with(identifier::tag::STUDY, study)
        .with(wanted, "");
    let (answers, status) = association
        .find(uid::STUDY_ROOT_FIND, &keys)
        .expect("the server answers C-FIND");
    assert_eq!(status, 0, "C-FIND in study {study}");
    answers.iter().map(|answer| answer.text(wanted)).collect()
}
