//! Scrub: everything is read, damage is remembered until it is none, and a pass outlives a process.

use crate::maintain::lived_in;
use crate::rig::{self, sample};
use pacs_core::access::Maintain;
use pacs_store::records::memory::MemoryRecords;
use pacs_store::scrub::{Pass, ScrubPlan, ScrubState};
use pacs_store::{Archive, Clock};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

const AT_ONCE: ScrubPlan = ScrubPlan {
    pass_duration: Duration::from_millis(1),
    bytes_per_second_max: u64::MAX,
};

async fn open(directory: &Path, records: &Arc<MemoryRecords>) -> Archive {
    let records = Arc::clone(records);
    rig::open_with(directory, |o| {
        o.limits.large_bytes = 100_000;
        o.limits.pack_bytes = 9_000;
        o.records = records;
    })
    .await
}

/// Scrubs until `is_enough`.
async fn scrub(
    archive: &Archive,
    plan: ScrubPlan,
    is_enough: impl Fn(&ScrubState) -> bool,
) -> ScrubState {
    let (status, mut told) = watch::channel(ScrubState::default());
    let permit = rig::permit::<Maintain>();
    tokio::select! {
        ended = archive.scrub(&permit, plan, &status) => panic!("{ended:?}"),
        state = told.wait_for(is_enough) => state.unwrap().clone(),
    }
}

#[tokio::test]
async fn a_scrub_reads_everything_and_goes_on_where_the_last_process_was() {
    let directory = tempfile::tempdir().unwrap();
    let records = Arc::new(MemoryRecords::new());
    let archive = open(directory.path(), &records).await;
    lived_in(&archive).await;
    let slow = ScrubPlan {
        pass_duration: Duration::from_secs(1_000_000),
        bytes_per_second_max: 1,
    };
    let begun = scrub(&archive, slow, |state| {
        state
            .pass
            .as_ref()
            .is_some_and(|pass| pass.entries_count > 0)
    })
    .await;
    assert!(begun.last.is_none());
    // What is found or comes to an end is kept at once; else once a minute.
    let archive = {
        archive.close().await;
        drop(archive);
        open(directory.path(), &records).await
    };

    let ended = scrub(&archive, AT_ONCE, |state| state.last.is_some()).await;

    let (first, last) = (begun.pass.unwrap(), ended.last.clone().unwrap());
    assert_eq!(last.started_unix_ms, first.started_unix_ms);
    assert_eq!((last.entries_count, last.damaged_count), (12, 0));
    assert!(
        last.bytes >= first.total_bytes * 9 / 10,
        "{last:?} {first:?}"
    );
    assert!(ended.is_clean());
}

/// The order of a pass follows from its seed.
#[tokio::test]
async fn the_next_pass_begins_when_it_is_due_and_in_another_order() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicU64::new(1_800_000_000_000));
    let archive = rig::open_with(directory.path(), |o| {
        let clock = Arc::clone(&clock);
        o.limits.pack_bytes = 9_000;
        o.clock = Clock::new(move || clock.load(Ordering::Relaxed));
    })
    .await;
    lived_in(&archive).await;
    let plan = ScrubPlan {
        pass_duration: Duration::from_millis(50),
        ..AT_ONCE
    };
    let seed_of = |pass: &Option<Pass>| {
        let pass = serde_json::to_value(pass).unwrap();
        pass["seed"].as_u64().expect("a pass with a seed")
    };
    let (status, mut told) = watch::channel(ScrubState::default());
    let permit = rig::permit::<Maintain>();
    let turned = async {
        let has_begun = |state: &ScrubState| state.pass.is_some();
        let first = seed_of(&told.wait_for(has_begun).await.unwrap().pass);
        let ended = |state: &ScrubState| state.last.is_some() && state.pass.is_none();
        drop(told.wait_for(ended).await.unwrap());
        // It is not due before the clock says so.
        clock.fetch_add(60, Ordering::Relaxed);
        (
            first,
            seed_of(&told.wait_for(has_begun).await.unwrap().pass),
        )
    };

    let (first, next) = tokio::select! {
        ended = archive.scrub(&permit, plan, &status) => panic!("{ended:?}"),
        seeds = turned => seeds,
    };

    assert_eq!(next, first + 60);
}

#[tokio::test]
async fn what_a_scrub_finds_is_remembered_until_it_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let records = Arc::new(MemoryRecords::new());
    let archive = open(directory.path(), &records).await;
    lived_in(&archive).await;
    let stored = rig::select(&archive).await;
    let name = format!("packs/log-{:010}.tar", stored[0].location.pack);
    let files = [name.as_str(), "packs/large-0000000001.tar"].map(|n| directory.path().join(n));
    for (file, at) in files.iter().zip([stored[0].location.offset, 50_000]) {
        flip(file, at);
    }

    let found = scrub(&archive, AT_ONCE, |state| state.last.is_some()).await;

    assert_eq!(found.damage.len(), 2, "{found:?}");
    assert_eq!(found.last.unwrap().damaged_count, 2);
    // It is kept when it is sent again.
    let again = rig::deposit(&archive, &sample(2, 1, 2_000)).await.unwrap();
    assert_ne!(again.outcome, pacs_store::Outcome::New);
    flip(&files[0], stored[0].location.offset);
    let asking = archive.clone();
    let left = scrub(&archive, AT_ONCE, move |state| {
        asking.look_again(&rig::permit::<Maintain>());
        state.damage.len() == 1
    })
    .await;
    assert!(!left.is_clean());
    flip(&files[1], 50_000);
    let archive = {
        archive.close().await;
        drop(archive);
        open(directory.path(), &records).await
    };
    scrub(&archive, AT_ONCE, ScrubState::is_clean).await;
}

fn flip(file: &Path, at: u64) {
    let mut bytes = fs::read(file).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 4;
    fs::write(file, bytes).unwrap();
}
