//! How far followers have come.

use crate::rig::{self, sample};
use async_trait::async_trait;
use pacs_core::access::Maintain;
use pacs_store::index::ChangeNumber;
use pacs_store::records::memory::MemoryRecords;
use pacs_store::records::{Change, Kind, Record, Records, RecordsError, Revision, Take};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

#[tokio::test]
async fn a_follower_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let records = Arc::new(MemoryRecords::new());
    let open = || {
        let records = Arc::clone(&records);
        rig::open_with(directory.path(), |o| o.records = records)
    };
    let maintain = rig::permit::<Maintain>();
    let archive = open().await;
    let mut cursor = archive.cursor(&maintain, "forward").await.unwrap();
    assert_eq!(cursor.position(), ChangeNumber(0));
    let mut stale = archive.cursor(&maintain, "forward").await.unwrap();

    cursor.advance(ChangeNumber(7)).await.unwrap();
    cursor.advance(ChangeNumber(9)).await.unwrap();

    assert!(
        stale.advance(ChangeNumber(1)).await.is_err(),
        "two followers of one name"
    );
    archive.close().await;
    drop((archive, cursor));
    let archive = open().await;
    let cursor = archive.cursor(&maintain, "forward").await.unwrap();
    assert_eq!(cursor.position(), ChangeNumber(9));
    let other = archive.cursor(&maintain, "other").await.unwrap();
    assert_eq!(other.position(), ChangeNumber(0));
}

/// Records that, once they are to, do what they are asked and never return, or take nothing.
#[derive(Debug, Default)]
struct Unwilling {
    records: MemoryRecords,
    is_silent: AtomicBool,
    is_full: AtomicBool,
}

#[async_trait]
impl Records for Unwilling {
    async fn get(&self, kind: Kind, key: &str) -> Result<Option<Record>, RecordsError> {
        self.records.get(kind, key).await
    }

    async fn list(
        &self,
        kind: Kind,
        prefix: &str,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Record>, RecordsError> {
        self.records.list(kind, prefix, after, count_max).await
    }

    async fn each(&self, take: Take) -> Result<(), RecordsError> {
        self.records.each(take).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Revision>, RecordsError> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(RecordsError::Backend {
                operation: "write",
                source: "the disk is full".into(),
            });
        }
        let revisions = self.records.apply(changes).await;
        if self.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        revisions
    }
}

#[tokio::test]
async fn a_follower_whose_advance_was_cancelled_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let records = Arc::new(Unwilling::default());
    let given = Arc::clone(&records);
    let archive = rig::open_with(directory.path(), |o| o.records = given).await;
    let maintain = rig::permit::<Maintain>();
    let mut cursor = archive.cursor(&maintain, "forward").await.unwrap();
    cursor.advance(ChangeNumber(3)).await.unwrap();

    records.is_silent.store(true, Ordering::SeqCst);
    for position in [4, 5] {
        let mut advance = Box::pin(cursor.advance(ChangeNumber(position)));
        let polled = std::future::poll_fn(|c| Poll::Ready(advance.as_mut().poll(c))).await;
        assert!(polled.is_pending());
    }
    records.is_silent.store(false, Ordering::SeqCst);

    cursor.advance(ChangeNumber(6)).await.unwrap();
    assert_eq!(cursor.position(), ChangeNumber(6));
    cursor.advance(ChangeNumber(7)).await.unwrap();
    let cursor = archive.cursor(&maintain, "forward").await.unwrap();
    assert_eq!(cursor.position(), ChangeNumber(7));
}

/// Whoever keeps images gives them back where the disk takes nothing any more.
#[tokio::test]
async fn an_archive_opens_and_closes_where_its_records_have_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let records = Arc::new(Unwilling::default());
    let open = || {
        let given = Arc::clone(&records);
        rig::open_with(directory.path(), |o| o.records = given)
    };
    let archive = open().await;
    let kept = [sample(1, 1, 500)];
    rig::deposit(&archive, &kept[0]).await.unwrap();

    records.is_full.store(true, Ordering::SeqCst);
    archive.close().await;
    drop(archive);

    for _ in 0..2 {
        let archive = open().await;
        rig::assert_holds(&archive, &kept).await;
        assert!(!archive.opened().is_index_old);
        archive.close().await;
        drop(archive);
    }
}
