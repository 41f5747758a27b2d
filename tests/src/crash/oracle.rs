//! The oracle: it knows, outside the server, what was sent, what was acknowledged and what is out
//! of sight, and asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::samples::Slice;
use crate::server::Server;
use crate::web;
use crate::web_server::values;
use crate::wire::{Association, Context, Keys, Proposal, identifier, uid};

/// Number of Study Related Instances, as QIDO-RS names it.
const INSTANCES_COUNT: &str = "00201208";

/// Remembers what was sent and what was acknowledged, outside the server.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    studies: BTreeMap<String, Study>,
    /// Studies turned since they were last asked for.
    turned: BTreeSet<String>,
    counts: Counts,
    is_power_gone: bool,
}

/// What was acknowledged, but for instances over C-STORE.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Instances acknowledged by a response of STOW-RS.
    pub(crate) stowed: usize,
    /// Studies taken out of sight.
    pub(crate) hidden: usize,
    /// Studies brought back.
    pub(crate) restored: usize,
    /// Instances answered with Success while the power was going.
    pub(crate) answered_without_power: usize,
}

#[derive(Clone, Debug, Default)]
struct Study {
    instances: BTreeMap<String, Sent>,
    sight: Sight,
}

#[derive(Clone, Debug)]
struct Sent {
    digest: String,
    acknowledged: bool,
}

/// Whether a study is in sight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It is to be found, with all that was acknowledged of it.
    #[default]
    In,
    /// It is not to be found.
    Out,
    /// One of the two: somebody asked, and was not answered.
    Either,
}

impl Oracle {
    /// A data set with this digest is about to be sent.
    pub(crate) fn note_sent(&mut self, slice: &Slice, digest: String) {
        let sent = Sent {
            digest,
            acknowledged: false,
        };
        let study = self.studies.entry(slice.study.clone()).or_default();
        study.instances.insert(slice.instance.clone(), sent);
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

    /// Whether answers count for nothing now.
    pub(crate) fn is_power_gone(&self) -> bool {
        self.is_power_gone
    }

    /// The server said Success.
    pub(crate) fn note_acknowledged(&mut self, slice: &Slice) {
        if self.is_power_gone {
            self.counts.answered_without_power += 1;
            return;
        }
        let study = self.studies.get_mut(&slice.study).expect("it was sent");
        let sent = study.instances.get_mut(&slice.instance);
        sent.expect("it was sent").acknowledged = true;
    }

    /// The response of STOW-RS says that it is stored.
    pub(crate) fn note_stowed(&mut self, slice: &Slice) {
        self.note_acknowledged(slice);
        if !self.is_power_gone {
            self.counts.stowed += 1;
        }
    }

    /// Somebody asks for a study to be taken out of sight, or brought back.
    pub(crate) fn note_turning(&mut self, study: &str) {
        let known = self.studies.get_mut(study).expect("it was sent");
        known.sight = Sight::Either;
        self.turned.insert(study.to_owned());
    }

    /// The server said that it was done.
    pub(crate) fn note_turned(&mut self, study: &str, sight: Sight) {
        if self.is_power_gone {
            return;
        }
        self.studies.get_mut(study).expect("it was sent").sight = sight;
        match sight {
            Sight::In => self.counts.restored += 1,
            Sight::Out => self.counts.hidden += 1,
            Sight::Either => {}
        }
    }

    /// Studies that were turned since this was last asked.
    pub(crate) fn take_turned(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.turned)
    }

    /// Believes the opposite of what it knows of every study that was turned.
    pub(crate) fn be_lied_to(&mut self) {
        for study in &self.turned {
            let known = self.studies.get_mut(study).expect("it was sent");
            known.sight = match known.sight {
                Sight::In => Sight::Out,
                Sight::Out => Sight::In,
                Sight::Either => Sight::Either,
            };
        }
    }

    /// What else was acknowledged.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// How many instances were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        let instances = self.studies.values().map(|study| study.acknowledged());
        instances.map(|of_study| of_study.count()).sum()
    }

    /// What was acknowledged of a study.
    pub(crate) fn acknowledged_of(&self, study: &str) -> Vec<String> {
        let known = self.studies.get(study).into_iter();
        known.flat_map(Study::acknowledged).cloned().collect()
    }

    /// Every study of which something was sent.
    pub(crate) fn studies(&self) -> BTreeSet<String> {
        self.studies.keys().cloned().collect()
    }

    /// Every study of which something was acknowledged, and whether it is out of sight.
    pub(crate) fn studies_acknowledged(&self) -> Vec<(String, Sight)> {
        let mut studies = Vec::new();
        for (uid, study) in &self.studies {
            if study.acknowledged().next().is_some() {
                studies.push((uid.clone(), study.sight));
            }
        }
        studies
    }

    /// Compares what the server gives back of `studies` with what is known; how many instances are
    /// there that were not acknowledged.
    ///
    /// # Panics
    /// When anything acknowledged is lost, anything came back changed, something is found that is
    /// out of sight, or C-FIND, QIDO-RS and C-GET disagree.
    pub(crate) fn ask(&mut self, server: &Server, studies: &BTreeSet<String>) -> usize {
        let mut association = Association::connect(server.dicom(), &questions())
            .expect("a server that is ready takes associations");
        let mut kept = 0;
        for study in studies {
            let Some(known) = self.studies.get_mut(study) else {
                continue;
            };
            kept += ask_for_study(&mut association, server.http(), study, known);
        }
        association.release().expect("the server releases in order");
        kept
    }
}

impl Study {
    /// What was acknowledged of it.
    fn acknowledged(&self) -> impl Iterator<Item = &String> {
        let acknowledged = self.instances.iter().filter(|(_, sent)| sent.acknowledged);
        acknowledged.map(|(instance, _)| instance)
    }

    /// Compares what came back of it, and learns where it is if that was not known.
    fn compare(&mut self, uid: &str, back: &BTreeSet<String>) {
        if self.sight == Sight::Either {
            // It is one of the two, wholly, and remains so.
            self.sight = if back.is_empty() {
                Sight::Out
            } else {
                Sight::In
            };
        }
        if self.sight == Sight::Out {
            assert!(
                back.is_empty(),
                "LOST after it was acknowledged: study {uid} was out of sight: {back:?}"
            );
            return;
        }
        let lost: Vec<&String> = self
            .acknowledged()
            .filter(|instance| !back.contains(*instance))
            .collect();
        assert!(lost.is_empty(), "LOST after it was acknowledged: {lost:?}");
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
    http: SocketAddr,
    study: &str,
    known: &mut Study,
) -> usize {
    let back = retrieved(association, study, known);
    known.compare(study, &back);
    let mut images = BTreeSet::new();
    let of_study = Keys::at("SERIES");
    for series in found(association, &of_study, study, identifier::tag::SERIES) {
        let keys = Keys::at("IMAGE").with(identifier::tag::SERIES, &series);
        let of_series = found(association, &keys, study, identifier::tag::SOP_INSTANCE);
        assert!(!of_series.is_empty(), "series {series} is there, and empty");
        images.extend(of_series);
    }
    assert_eq!(
        images, back,
        "C-FIND and C-GET disagree about study {study}"
    );
    ask_the_web(http, study, back.len());
    let unacknowledged = |instance: &&String| !known.instances[*instance].acknowledged;
    back.iter().filter(unacknowledged).count()
}

/// What C-GET gives of a study, each as it was sent.
fn retrieved(association: &mut Association, study: &str, known: &Study) -> BTreeSet<String> {
    let keys = Keys::at("STUDY").with(identifier::tag::STUDY, study);
    let (ended, received) = association.get(&keys).expect("the server answers C-GET");
    let is_expected = known.sight == Sight::In && known.acknowledged().next().is_some();
    if is_expected || !received.is_empty() {
        assert_eq!(ended.status, 0, "C-GET of study {study}: {ended:?}");
    }
    let mut back = BTreeSet::new();
    for instance in received {
        let uid = instance.sop_instance;
        let sent = known.instances.get(&uid);
        let sent = sent.unwrap_or_else(|| panic!("{uid} was never sent"));
        assert_eq!(sent.digest, instance.digest, "{uid} came back changed");
        back.insert(uid);
    }
    back
}

/// QIDO-RS counts what C-GET gave, and WADO-RS knows nothing of a study that is not to be found.
fn ask_the_web(http: SocketAddr, study: &str, count: usize) {
    let studies = "/dicomweb/studies";
    let search = format!("{studies}?StudyInstanceUID={study}&includefield={INSTANCES_COUNT}");
    let counted = values(&web::get(http, &search, &[]), INSTANCES_COUNT);
    let expected: Vec<String> = (count > 0).then(|| count.to_string()).into_iter().collect();
    assert_eq!(counted, expected, "QIDO-RS and C-GET disagree: {study}");
    if count == 0 {
        let reply = web::get(http, &format!("{studies}/{study}/metadata"), &[]);
        assert_eq!(reply.status, 404, "WADO-RS knows study {study}");
    }
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
