//! Whether an instance is safe: what may be committed to, and what may not.

use crate::rig::{self, Sample, sample};
use pacs_core::SopClassUid;
use pacs_core::access::{Commit, Hide};
use pacs_store::index::Target;
use pacs_store::{Archive, Outcome, Safekeeping};
use std::fs;

async fn check(archive: &Archive, sample: &Sample) -> Safekeeping {
    let announced = &sample.announced;
    let (instance, class) = (&announced.sop_instance, &announced.sop_class);
    let permit = rig::permit::<Commit>();
    archive.check(&permit, instance, class).await.unwrap()
}

#[tokio::test]
async fn what_is_there_whole_is_kept_and_what_is_not_there_is_unknown() {
    let directory = tempfile::tempdir().unwrap();
    // The digest is compared whatever reads do.
    let archive = rig::open_with(directory.path(), |o| {
        o.limits.large_bytes = 100_000;
        o.verifies_reads = false;
    })
    .await;
    let samples = [sample(1, 1, 5_000), sample(2, 1, 2_500_000)];
    for sample in &samples {
        assert_eq!(check(&archive, sample).await, Safekeeping::Unknown);
        rig::deposit(&archive, sample).await.unwrap();
        assert_eq!(check(&archive, sample).await, Safekeeping::Kept);
        let mut of_other_class = sample.clone();
        let class = SopClassUid::parse("1.2.840.10008.5.1.4.1.1.4").unwrap();
        of_other_class.announced.sop_class = class;
        let found = check(&archive, &of_other_class).await;
        assert_eq!(found, Safekeeping::OtherClass);
    }
}

#[tokio::test]
async fn what_is_hidden_is_not_kept_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open(directory.path()).await;
    let sample = sample(1, 1, 5_000);
    rig::deposit(&archive, &sample).await.unwrap();
    let hide = rig::permit::<Hide>();
    let target = || Target::Instance(sample.announced.sop_instance.clone());

    archive
        .hide(&hide, target(), "wrong patient")
        .await
        .unwrap();
    assert_eq!(check(&archive, &sample).await, Safekeeping::Hidden);
    archive.restore(&hide, target()).await.unwrap();
    assert_eq!(check(&archive, &sample).await, Safekeeping::Kept);
}

/// A device asks by UID alone: it may mean the version that is not served.
#[tokio::test]
async fn damage_to_any_version_is_damage_and_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.verifies_reads = false).await;
    let versions = [sample(1, 1, 5_000), sample(1, 2, 5_000)];
    for version in &versions {
        rig::deposit(&archive, version).await.unwrap();
    }
    assert_eq!(check(&archive, &versions[0]).await, Safekeeping::Kept);

    let pack = directory.path().join("packs/log-0000000001.tar");
    let mut bytes = fs::read(&pack).unwrap();
    let second = &versions[1].data_set;
    let at = bytes
        .windows(second.len())
        .position(|w| w == second)
        .unwrap();
    bytes[at + 4_000] ^= 1;
    fs::write(&pack, &bytes).unwrap();

    assert_eq!(check(&archive, &versions[0]).await, Safekeeping::Damaged);
    // Sent again it is kept again: the pack grows.
    let receipt = rig::deposit(&archive, &versions[1]).await.unwrap();
    assert_eq!(receipt.outcome, Outcome::Same);
    let grown = fs::read(&pack).unwrap();
    let copies = grown.windows(second.len()).filter(|w| w == second).count();
    assert_eq!(copies, 1, "the whole copy");
}

#[tokio::test]
async fn a_pack_that_is_gone_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let archive = rig::open_with(directory.path(), |o| o.limits.large_bytes = 100_000).await;
    let sample = sample(1, 1, 300_000);
    rig::deposit(&archive, &sample).await.unwrap();
    let archive = rig::reopen(archive, directory.path()).await;
    assert_eq!(check(&archive, &sample).await, Safekeeping::Kept);
    let pack = directory.path().join("packs/large-0000000001.tar");

    let bytes = fs::read(&pack).unwrap();
    fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();

    assert_eq!(check(&archive, &sample).await, Safekeeping::Damaged);
}
