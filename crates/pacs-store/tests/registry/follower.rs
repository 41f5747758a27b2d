//! The matcher over an archive: what comes in meets its examination.

use crate::examinations::{new_for, save};
use crate::rig::{Rig, code, now};
use bytes::Bytes;
use chrono::{FixedOffset, Offset as _, TimeDelta};
use pacs_core::access::{PermitAll, Right, Store, permit};
use pacs_core::device::DeviceProfile;
use pacs_core::examination::reconcile::{QueueReason, Rule};
use pacs_core::examination::{Reason, Status};
use pacs_core::role::{Agent, Licence, duty::Reconcile};
use pacs_core::uid::{SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};
use pacs_core::{AeTitle, Caller, ExaminationId, Permit};
use pacs_store::disk::OsDisk;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::{ChangeNumber, Provenance};
use pacs_store::limits::MatcherLimits;
use pacs_store::matcher::{Judged, Matcher, Permits};
use pacs_store::registry::devices::Device;
use pacs_store::registry::examinations::{Correcting, Examination, MatchState, Reader, StudyMatch};
use pacs_store::registry::{Moment, Stirred};
use pacs_store::{Announced, Archive, ArchiveOptions, Clock, DataDirectory};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

/// How the matched patient is called at a console.
pub(crate) const RIGHT: &str = "ZHEENBEKOV^USON";

pub(crate) fn may<R: Right>() -> Permit<R> {
    permit(&PermitAll, Caller::System { task: "test" }).unwrap()
}

/// An archive beside the records of a rig, its matcher, and a clock that stands until it is turned.
pub(crate) struct Centre {
    pub(crate) rig: Rig,
    pub(crate) archive: Archive,
    pub(crate) matcher: Matcher,
    clock: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

/// An instance, as a device sends it.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) sender: &'a str,
    pub(crate) study: &'a str,
    pub(crate) series: u32,
    pub(crate) number: u32,
    pub(crate) accession: &'a str,
    pub(crate) name: &'a str,
    pub(crate) born: &'a str,
    pub(crate) modality: &'a str,
}

/// An instance of series 1 of a study.
pub(crate) const fn sent<'a>(study: &'a str, number: u32, accession: &'a str) -> Sent<'a> {
    Sent {
        sender: "NATHOS_CT1",
        study,
        series: 1,
        number,
        accession,
        name: RIGHT,
        born: "",
        modality: "CT",
    }
}

impl Centre {
    pub(crate) async fn new() -> Self {
        Self::over(Rig::new().await).await
    }

    pub(crate) async fn over(rig: Rig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
        let directory = DataDirectory::open(disk).unwrap();
        let noon = u64::try_from(now().timestamp_millis()).unwrap();
        let clock = Arc::new(AtomicU64::new(noon));
        let told = Arc::clone(&clock);
        let options = ArchiveOptions {
            records: Arc::clone(&rig.records),
            clock: Clock::new(move || told.load(Ordering::SeqCst)),
            ..ArchiveOptions::new(directory, Arc::new(MemoryIndex::new()))
        };
        let archive = Archive::open(options).await.unwrap();
        Self {
            matcher: matcher(&archive),
            rig,
            archive,
            clock,
            _folder: folder,
        }
    }

    pub(crate) async fn order(&self) -> Examination {
        let new = new_for(&self.rig).await;
        save(&self.rig.registry, &new, 1).await.unwrap().value
    }

    pub(crate) fn now(&self) -> Moment {
        let noon = u64::try_from(now().timestamp_millis()).unwrap();
        let past = self.clock.load(Ordering::SeqCst) - noon;
        now() + TimeDelta::milliseconds(i64::try_from(past).unwrap())
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    pub(crate) async fn send(&self, sent: Sent<'_>) {
        let uid = instance_of(sent.study, sent.series, sent.number);
        self.send_as(sent, &uid).await;
    }

    /// Sends an instance with this UID.
    pub(crate) async fn send_as(&self, sent: Sent<'_>, uid: &str) {
        let (study, series) = (sent.study, sent.series);
        let mut data_set = Vec::new();
        for (group, element_number, vr, value) in [
            (0x0008, 0x0016, b"UI", CT),
            (0x0008, 0x0018, b"UI", uid),
            (0x0008, 0x0020, b"DA", "20261126"),
            (0x0008, 0x0030, b"TM", "121500"),
            (0x0008, 0x0050, b"SH", sent.accession),
            (0x0008, 0x0060, b"CS", sent.modality),
            (0x0010, 0x0010, b"PN", sent.name),
            (0x0010, 0x0030, b"DA", sent.born),
            (0x0020, 0x000d, b"UI", study),
            (0x0020, 0x000e, b"UI", &format!("{study}.{series}")),
        ] {
            element(&mut data_set, group, element_number, vr, value);
        }
        let announced = Announced {
            sop_class: SopClassUid::parse(CT).unwrap(),
            sop_instance: SopInstanceUid::parse(uid).unwrap(),
            transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
        };
        let provenance = Provenance {
            received_unix_ms: self.clock.load(Ordering::SeqCst),
            calling: sent.sender.to_owned(),
            address: Some([192, 0, 2, 7].into()),
        };
        let deposit = self.archive.deposit(&may::<Store>(), announced, provenance);
        let mut deposit = deposit.unwrap();
        deposit.write(Bytes::from(data_set)).await.unwrap();
        deposit.seal().await.unwrap();
    }

    /// Judges all that came.
    pub(crate) async fn step(&self) -> Judged {
        let cursor = self.matcher.cursor(ChangeNumber(0)).await;
        self.matcher.step(&mut cursor.unwrap()).await.unwrap()
    }

    pub(crate) async fn found(&self, study: &str) -> Option<StudyMatch> {
        let uid = StudyUid::parse(study).unwrap();
        let found = self.rig.registry.study_match(&licence(), &uid).await;
        found.ok().map(|found| found.value)
    }

    pub(crate) async fn state(&self, study: &str) -> Option<MatchState> {
        self.found(study).await.map(|found| found.state)
    }

    /// Why a study waits.
    pub(crate) async fn waits_for(&self, study: &str) -> Vec<QueueReason> {
        self.found(study).await.unwrap().waits_for()
    }

    pub(crate) async fn read(&self, id: ExaminationId) -> Examination {
        let system = Agent::system("test");
        let reader = Reader::new(&system);
        let read = self.rig.registry.examination(&reader, id, now()).await;
        read.unwrap().value
    }
}

pub(crate) fn licence() -> Licence<Reconcile> {
    Agent::system("test").national_licence().unwrap()
}

/// The UID of an instance that [`Centre::send`] sends.
pub(crate) fn instance_of(study: &str, series: u32, number: u32) -> String {
    format!("{study}.{series}.{number}")
}

pub(crate) fn matcher(archive: &Archive) -> Matcher {
    let place: FixedOffset = now().offset().fix();
    let permits = Permits {
        maintain: may(),
        get: may(),
        find: may(),
    };
    Matcher::new(archive, permits, place, MatcherLimits::default()).unwrap()
}

fn element(data_set: &mut Vec<u8>, group: u16, number: u16, vr: &[u8; 2], value: &str) {
    data_set.extend_from_slice(&group.to_le_bytes());
    data_set.extend_from_slice(&number.to_le_bytes());
    data_set.extend_from_slice(vr);
    let pad = if vr == b"UI" { 0 } else { b' ' };
    let mut value = value.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), pad);
    data_set.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
    data_set.extend_from_slice(&value);
}

#[tokio::test]
async fn what_a_device_sends_meets_the_examination_whose_id_was_typed() {
    let centre = Centre::over(Rig::on_disk().await).await;
    let id = centre.order().await.id;
    let digits = id.to_string();
    for number in 1..=3 {
        let nameless = Sent {
            name: "",
            ..sent("1.2.3", number, &digits)
        };
        centre.send(nameless).await;
    }
    let expected = Judged {
        changes_count: 3,
        bound_count: 1,
        ..Judged::default()
    };
    assert_eq!(centre.step().await, expected);
    let bound = MatchState::Bound {
        examination: id,
        rule: Some(Rule::AccessionNumber),
        flags: vec![],
    };
    assert_eq!(centre.state("1.2.3").await, Some(bound.clone()));
    let examination = centre.read(id).await;
    assert_eq!(examination.status(), Status::InProgress);

    // It ended before it had noted where it was: all is judged again, and nothing changes.
    let mut again = centre.archive.cursor(&may(), "matcher").await.unwrap();
    again.advance(ChangeNumber(0)).await.unwrap();
    assert_eq!(centre.step().await.changes_count, 3);
    assert_eq!(centre.state("1.2.3").await, Some(bound));
    assert_eq!(centre.read(id).await, examination);
    assert_eq!(centre.step().await, Judged::default());
}

#[tokio::test]
async fn what_nobody_can_place_waits_with_its_reason() {
    let centre = Centre::new().await;
    let digits = centre.order().await.id.to_string();
    let mut wrong = digits.clone().into_bytes();
    wrong.swap(10, 11);
    let wrong = String::from_utf8(wrong).unwrap();
    centre.send(sent("1.2.4", 1, &wrong)).await;
    centre.send(sent("1.2.5", 1, "")).await;
    for (study, sender) in [
        ("1.2.6", "KRKL_CT1"),
        ("1.2.7", "ELSEWHERE"),
        ("1.2.8", "web client"),
    ] {
        let elsewhere = Sent {
            sender,
            ..sent(study, 1, &digits)
        };
        centre.send(elsewhere).await;
    }
    let expected = Judged {
        changes_count: 5,
        queued_count: 5,
        foreign_count: 2,
        ..Judged::default()
    };
    assert_eq!(centre.step().await, expected);
    for (study, why) in [
        ("1.2.4", QueueReason::BadCheckDigit),
        ("1.2.5", QueueReason::NoId),
        ("1.2.6", QueueReason::OtherOrg),
        ("1.2.7", QueueReason::UnknownSender),
        ("1.2.8", QueueReason::UnknownSender),
    ] {
        assert_eq!(centre.waits_for(study).await, [why], "{study}");
    }
    let unknown = centre.found("1.2.7").await.unwrap();
    assert_eq!(
        (unknown.organisation, &*unknown.senders),
        (None, &["ELSEWHERE".to_owned()][..])
    );
    let registry = &centre.rig.registry;
    let nobodys = registry.unmatched_studies(&licence(), None, None, 9).await;
    assert_eq!(nobodys.unwrap().studies.len(), 2);
    let here = crate::matching::person();
    let hidden = registry.unmatched_studies(&here, None, None, 9).await;
    assert!(
        hidden.is_err(),
        "whoever looks after one organisation sees none of them"
    );
}

#[tokio::test]
async fn what_waits_is_judged_again_when_its_device_or_an_order_is_entered() {
    let centre = Centre::new().await;
    let registry = &centre.rig.registry;
    let without_id = Sent {
        sender: "OLD_SCANNER",
        born: "19900101",
        ..sent("1.2.3", 1, "")
    };
    centre.send(without_id).await;
    centre.step().await;
    assert_eq!(
        centre.waits_for("1.2.3").await,
        [QueueReason::UnknownSender]
    );
    registry.stirred().await;

    let device = Device {
        ae_title: AeTitle::parse("OLD_SCANNER").unwrap(),
        organisation: code("006"),
        host: String::new(),
        port: 0,
        modality: "CT".to_owned(),
        department: None,
        name: String::new(),
        mpps: false,
        commitment: false,
        profile: DeviceProfile::default(),
    };
    let manages = Agent::system("test").national_licence().unwrap();
    let saved = registry.save_device(&manages, &device, None, now()).await;
    saved.unwrap();
    let stirred = registry.stirred().await;
    assert!(stirred.everything);
    assert_eq!(centre.matcher.judge_again(&stirred).await.unwrap(), 1);
    let found = centre.found("1.2.3").await.unwrap();
    assert_eq!(
        (found.organisation, found.waits_for()),
        (Some(code("006")), vec![QueueReason::NoId])
    );

    let id = centre.order().await.id;
    let stirred = registry.stirred().await;
    assert!(stirred.organisations.contains(&code("006")), "{stirred:?}");
    let orders = Stirred {
        everything: false,
        ..stirred
    };
    assert_eq!(centre.matcher.judge_again(&orders).await.unwrap(), 1);
    let Some(MatchState::Queued { suggestions, .. }) = centre.state("1.2.3").await else {
        panic!("it waits");
    };
    let suggested: Vec<_> = suggestions.iter().map(|one| one.examination).collect();
    assert_eq!(suggested, [id]);
}

#[tokio::test]
async fn images_of_another_patient_in_a_bound_study_are_flagged() {
    let centre = Centre::new().await;
    let id = centre.order().await.id;
    let digits = id.to_string();
    centre.send(sent("1.2.3", 1, &digits)).await;
    centre.step().await;
    let other = Sent {
        name: "IVANOV^IVAN",
        ..sent("1.2.3", 2, &digits)
    };
    centre.send(other).await;
    centre.step().await;

    let flagged = MatchState::Bound {
        examination: id,
        rule: Some(Rule::AccessionNumber),
        flags: vec![QueueReason::MixedPatient],
    };
    assert_eq!(centre.state("1.2.3").await, Some(flagged.clone()));
    let registry = &centre.rig.registry;
    let waiting = registry
        .unmatched_studies(&licence(), Some(code("006")), None, 9)
        .await;
    assert_eq!(waiting.unwrap().studies.len(), 1);

    // What is in question stays so when more of the right patient come, until somebody decides.
    centre.send(sent("1.2.3", 3, &digits)).await;
    centre.step().await;
    assert_eq!(centre.state("1.2.3").await, Some(flagged));
    let study = StudyUid::parse("1.2.3").unwrap();
    let kept = centre.archive.kept_images(&may(), [study.clone()]).await;
    let seen = Reason::parse("looked at").unwrap();
    let (kept, national) = (kept.unwrap(), licence());
    let how = Correcting {
        licence: &national,
        kept: &kept,
        expected: None,
        reason: &seen,
        random: [1; 16],
        at: now(),
    };
    registry.bind_study(&how, &study, id).await.unwrap();
    let clear = MatchState::Bound {
        examination: id,
        rule: None,
        flags: vec![],
    };
    assert_eq!(centre.state("1.2.3").await, Some(clear.clone()));
    // What the person saw is seen; somebody else again is not.
    centre.send(sent("1.2.3", 4, &digits)).await;
    centre.step().await;
    assert_eq!(centre.state("1.2.3").await, Some(clear));
    let third = Sent {
        name: "PETROVA^ANNA",
        ..sent("1.2.3", 5, &digits)
    };
    centre.send(third).await;
    centre.step().await;
    assert_eq!(centre.waits_for("1.2.3").await, [QueueReason::MixedPatient]);
}

#[tokio::test]
async fn one_image_of_another_patient_among_a_hundred_keeps_the_study_from_being_bound() {
    let centre = Centre::new().await;
    let digits = centre.order().await.id.to_string();
    for number in 1..=100 {
        let name = if number == 50 { "IVANOV^IVAN" } else { RIGHT };
        let image = Sent {
            name,
            ..sent("1.2.3", number, &digits)
        };
        centre.send(image).await;
    }
    centre.step().await;
    let mixed = centre.found("1.2.3").await.unwrap();
    assert_eq!(mixed.waits_for(), [QueueReason::MixedPatient]);
    assert_eq!(mixed.witnesses.len(), 2);

    // A person decides, whatever comes after.
    centre.send(sent("1.2.3", 101, &digits)).await;
    centre.step().await;
    assert_eq!(centre.state("1.2.3").await, Some(mixed.state));
}

#[tokio::test]
async fn whose_a_study_is_depends_on_no_race_of_two_organisations() {
    let centre = Centre::new().await;
    let order = centre.order().await;
    let planned = order.planned_study.as_str();
    let image = |sender, number| Sent {
        sender,
        ..sent(planned, number, "")
    };
    // A device elsewhere has the UID first, and both send in one go.
    centre.send(image("KRKL_CT1", 1)).await;
    centre.step().await;
    assert_eq!(
        centre.found(planned).await.unwrap().organisation,
        Some(code("001"))
    );
    centre.send(image("KRKL_CT1", 2)).await;
    centre.send(image("NATHOS_CT1", 3)).await;
    centre.step().await;
    let found = centre.found(planned).await.unwrap();
    assert_eq!(
        found.organisation,
        Some(code("006")),
        "whoever planned it has it"
    );
    let MatchState::Queued {
        reason,
        suggestions,
    } = &found.state
    else {
        panic!("{found:?}");
    };
    assert_eq!(*reason, QueueReason::OtherOrg);
    assert_eq!(suggestions[0].examination, order.id);

    // Of one that is bound somebody has to look.
    centre.send(sent("1.2.3", 1, &order.id.to_string())).await;
    centre.step().await;
    let late = Sent {
        sender: "KRKL_CT1",
        ..sent("1.2.3", 2, "")
    };
    centre.send(late).await;
    centre.step().await;
    let found = centre.found("1.2.3").await.unwrap();
    assert_eq!(found.examination(), Some(order.id));
    assert_eq!(found.waits_for(), [QueueReason::OtherOrg]);
}

#[tokio::test]
async fn nothing_is_passed_over_that_comes_while_the_first_organisation_is_entered() {
    let centre = Centre::new().await;
    let from = centre.matcher.last_change().await.unwrap();
    let digits = centre.order().await.id.to_string();
    // Images are there before the matcher looks for the first time.
    centre.send(sent("1.2.3", 1, &digits)).await;
    let archive = centre.archive.clone();
    let matcher = matcher(&archive);
    let running = tokio::spawn(async move { matcher.run(from).await });
    let is_bound = async {
        while centre.found("1.2.3").await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    is_bound.await;
    assert!(centre.found("1.2.3").await.unwrap().examination().is_some());
    centre.archive.close().await;
    running.await.unwrap().unwrap();
}
