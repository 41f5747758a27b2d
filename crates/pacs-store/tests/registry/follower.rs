//! The matcher over an archive: what comes in meets its examination.

use crate::examinations::{new_for, save};
use crate::rig::{Rig, code, now};
use bytes::Bytes;
use chrono::{FixedOffset, Offset as _};
use pacs_core::access::{PermitAll, Right, Store, permit};
use pacs_core::examination::reconcile::{QueueReason, Rule};
use pacs_core::examination::{Reason, Status};
use pacs_core::role::Agent;
use pacs_core::uid::{SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};
use pacs_core::{Caller, Permit};
use pacs_store::disk::OsDisk;
use pacs_store::index::Provenance;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::limits::MatcherLimits;
use pacs_store::matcher::{Judged, Matcher};
use pacs_store::registry::examinations::{MatchState, Reader};
use pacs_store::{Announced, Archive, ArchiveOptions, Clock, DataDirectory};
use std::sync::Arc;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

fn may<R: Right>() -> Permit<R> {
    permit(&PermitAll, Caller::System { task: "test" }).unwrap()
}

/// An archive beside the records of `rig`.
async fn archive(rig: &Rig) -> (Archive, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(OsDisk::open(folder.path()).unwrap());
    let directory = DataDirectory::open(disk).unwrap();
    let unix_ms = u64::try_from(now().timestamp_millis()).unwrap();
    let options = ArchiveOptions {
        records: Arc::clone(&rig.records),
        clock: Clock::new(move || unix_ms),
        ..ArchiveOptions::new(directory, Arc::new(MemoryIndex::new()))
    };
    (Archive::open(options).await.unwrap(), folder)
}

fn matcher(archive: &Archive) -> Matcher {
    let place: FixedOffset = now().offset().fix();
    let permits = (may(), may());
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

/// An instance that `sender` sends.
async fn send(
    archive: &Archive,
    sender: &str,
    study: &str,
    number: u32,
    accession: &str,
    name: &str,
) {
    let uid = format!("{study}.1.{number}");
    let mut data_set = Vec::new();
    for (group, element_number, vr, value) in [
        (0x0008, 0x0016, b"UI", CT),
        (0x0008, 0x0018, b"UI", &uid),
        (0x0008, 0x0020, b"DA", "20261126"),
        (0x0008, 0x0030, b"TM", "121500"),
        (0x0008, 0x0050, b"SH", accession),
        (0x0008, 0x0060, b"CS", "CT"),
        (0x0010, 0x0010, b"PN", name),
        (0x0020, 0x000d, b"UI", study),
        (0x0020, 0x000e, b"UI", &format!("{study}.1")),
    ] {
        element(&mut data_set, group, element_number, vr, value);
    }
    let announced = Announced {
        sop_class: SopClassUid::parse(CT).unwrap(),
        sop_instance: SopInstanceUid::parse(&uid).unwrap(),
        transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
    };
    let provenance = Provenance {
        received_unix_ms: u64::try_from(now().timestamp_millis()).unwrap(),
        calling: sender.to_owned(),
        address: None,
    };
    let mut deposit = archive
        .deposit(&may::<Store>(), announced, provenance)
        .unwrap();
    deposit.write(Bytes::from(data_set)).await.unwrap();
    deposit.seal().await.unwrap();
}

async fn state(rig: &Rig, study: &str) -> Option<MatchState> {
    let licence = Agent::system("test").national_licence().unwrap();
    let uid = StudyUid::parse(study).unwrap();
    let found = rig.registry.study_match(&licence, &uid).await;
    found.ok().map(|found| found.value.state)
}

#[tokio::test]
async fn what_a_device_sends_meets_the_examination_whose_id_was_typed() {
    let rig = Rig::on_disk().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    let (archive, _folder) = archive(&rig).await;
    let matcher = matcher(&archive);
    let mut cursor = matcher.cursor().await.unwrap();
    let digits = id.to_string();
    for number in 1..=3 {
        send(&archive, "NATHOS_CT1", "1.2.3", number, &digits, "").await;
    }
    let judged = matcher.step(&mut cursor).await.unwrap();

    let expected = Judged {
        changes_count: 3,
        bound_count: 1,
        ..Judged::default()
    };
    assert_eq!(judged, expected);
    let bound = MatchState::Bound {
        examination: id,
        rule: Some(Rule::AccessionNumber),
        flags: vec![],
    };
    assert_eq!(state(&rig, "1.2.3").await, Some(bound.clone()));
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let read = rig.registry.examination(&reader, id, now());
    let examination = read.await.unwrap();
    assert_eq!(examination.value.status(), Status::InProgress);

    // It ended before it had noted where it was: all is judged again, and nothing changes.
    let mut again = archive.cursor(&may(), "matcher").await.unwrap();
    again
        .advance(pacs_store::index::ChangeNumber(0))
        .await
        .unwrap();
    matcher.step(&mut again).await.unwrap();
    assert_eq!(state(&rig, "1.2.3").await, Some(bound));
    let read = rig.registry.examination(&reader, id, now());
    assert_eq!(read.await.unwrap().revision, examination.revision);
    assert_eq!(matcher.step(&mut again).await.unwrap(), Judged::default());
}

#[tokio::test]
async fn what_nobody_can_place_waits_with_its_reason() {
    let rig = Rig::new().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    let (archive, _folder) = archive(&rig).await;
    let matcher = matcher(&archive);
    let mut cursor = matcher.cursor().await.unwrap();
    let digits = id.to_string();
    let mut wrong = digits.clone().into_bytes();
    wrong.swap(10, 11);
    let wrong = String::from_utf8(wrong).unwrap();
    send(&archive, "NATHOS_CT1", "1.2.4", 1, &wrong, "").await;
    send(&archive, "NATHOS_CT1", "1.2.5", 1, "", "IVANOV^IVAN").await;
    send(&archive, "KRKL_CT1", "1.2.6", 1, &digits, "").await;
    send(&archive, "ELSEWHERE", "1.2.7", 1, &digits, "").await;

    let judged = matcher.step(&mut cursor).await.unwrap();

    let expected = Judged {
        changes_count: 4,
        queued_count: 3,
        foreign_count: 1,
        ..Judged::default()
    };
    assert_eq!(judged, expected);
    for (study, why) in [
        ("1.2.4", QueueReason::BadCheckDigit),
        ("1.2.5", QueueReason::NoId),
        ("1.2.6", QueueReason::OtherOrg),
    ] {
        let found = state(&rig, study).await;
        assert!(
            matches!(&found, Some(MatchState::Queued { reason, .. }) if *reason == why),
            "{study}: {found:?}"
        );
    }
    assert_eq!(state(&rig, "1.2.7").await, None);
}

#[tokio::test]
async fn images_of_another_patient_in_a_bound_study_are_flagged() {
    let rig = Rig::new().await;
    let id = save(&rig.registry, &new_for(&rig).await, 1)
        .await
        .unwrap()
        .value
        .id;
    let (archive, _folder) = archive(&rig).await;
    let matcher = matcher(&archive);
    let mut cursor = matcher.cursor().await.unwrap();
    let digits = id.to_string();
    send(
        &archive,
        "NATHOS_CT1",
        "1.2.3",
        1,
        &digits,
        "ZHEENBEKOV^USON",
    )
    .await;
    matcher.step(&mut cursor).await.unwrap();
    send(&archive, "NATHOS_CT1", "1.2.3", 2, &digits, "IVANOV^IVAN").await;
    matcher.step(&mut cursor).await.unwrap();

    let flagged = MatchState::Bound {
        examination: id,
        rule: Some(Rule::AccessionNumber),
        flags: vec![QueueReason::MixedPatient],
    };
    assert_eq!(state(&rig, "1.2.3").await, Some(flagged.clone()));
    let licence = Agent::system("test").national_licence().unwrap();
    let waiting = rig
        .registry
        .unmatched_studies(&licence, code("006"), None, 9);
    assert_eq!(waiting.await.unwrap().studies.len(), 1);

    // What is in question stays so when more of the right patient come, until somebody decides.
    let right = "ZHEENBEKOV^USON";
    send(&archive, "NATHOS_CT1", "1.2.3", 3, &digits, right).await;
    matcher.step(&mut cursor).await.unwrap();
    assert_eq!(state(&rig, "1.2.3").await, Some(flagged));
    let study = StudyUid::parse("1.2.3").unwrap();
    let seen = Reason::parse("looked at").unwrap();
    rig.registry
        .bind_study(&licence, &study, id, seen, now())
        .await
        .unwrap();
    let clear = MatchState::Bound {
        examination: id,
        rule: None,
        flags: vec![],
    };
    assert_eq!(state(&rig, "1.2.3").await, Some(clear));
}

#[tokio::test]
async fn a_study_of_two_patients_waits_for_a_person_whatever_comes_after() {
    let rig = Rig::new().await;
    let saved = save(&rig.registry, &new_for(&rig).await, 1).await.unwrap();
    let (archive, _folder) = archive(&rig).await;
    let matcher = matcher(&archive);
    let mut cursor = matcher.cursor().await.unwrap();
    let digits = saved.value.id.to_string();
    let right = "ZHEENBEKOV^USON";
    send(&archive, "NATHOS_CT1", "1.2.3", 1, &digits, right).await;
    send(&archive, "NATHOS_CT1", "1.2.3", 2, &digits, "IVANOV^IVAN").await;
    matcher.step(&mut cursor).await.unwrap();
    let mixed = state(&rig, "1.2.3").await.unwrap();
    let MatchState::Queued { reason, .. } = &mixed else {
        panic!("{mixed:?}");
    };
    assert_eq!(*reason, QueueReason::MixedPatient);

    send(&archive, "NATHOS_CT1", "1.2.3", 3, &digits, right).await;
    matcher.step(&mut cursor).await.unwrap();

    assert_eq!(state(&rig, "1.2.3").await, Some(mixed));
}
