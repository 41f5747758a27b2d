//! Deposits: new, same, conflicting, large, refused.

use crate::rig::{self, sample};
use pacs_store::Outcome;

#[tokio::test]
async fn what_was_deposited_is_found_and_read_back_also_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let samples = [
        sample(1, 1, 10_000),
        sample(2, 1, 526_000),
        sample(3, 1, 11),
    ];
    let archive = rig::open(directory.path()).await;

    for sample in &samples {
        let receipt = rig::deposit(&archive, sample).await.unwrap();
        assert_eq!(receipt.outcome, Outcome::New);
    }

    rig::assert_holds(&archive, &samples).await;
    archive.close().await;
    drop(archive);
    let archive = rig::open(directory.path()).await;
    assert_eq!(archive.opened().replayed_count, 3);
    rig::assert_holds(&archive, &samples).await;
}
