//! How far the index had come when the archive was last opened or closed, as the records know it.
//!
//! An index that has come less far is not what a crash leaves: it is the file of an earlier day. It
//! is brought up to the packs all the same, and whoever opened the archive learns of it.

use crate::error::OpenError;
use crate::index::{Index, LogPosition};
use crate::records::{Kind, Records, RecordsError, Revision};

/// Where it is kept.
const KIND: Kind = Kind::new("index");
const KEY: &str = "come to";

/// Whether `index`, which was just opened, has come less far than is known. A new one, which is to
/// be made from the packs, is no old one, and nothing is known of how far it has come.
pub(super) async fn is_old(index: &dyn Index, records: &dyn Records) -> Result<bool, OpenError> {
    let now = index.durable_position().await?;
    if now == LogPosition::default() {
        warn_of(forget(records).await);
        return Ok(false);
    }
    let (known, _) = known(records).await?;
    Ok(now < known)
}

/// Keeps how far `index` has come, durably, where the disk has room for that: an archive on a full
/// one gives images back all the same. What is known stays as it was then, and that is less.
pub(super) async fn keep_if_possible(index: &dyn Index, records: &dyn Records) {
    warn_of(keep(index, records).await);
}

async fn keep(index: &dyn Index, records: &dyn Records) -> Result<(), OpenError> {
    let now = index.durable_position().await?;
    Ok(set(records, now).await?)
}

fn warn_of<E: std::fmt::Display>(outcome: Result<(), E>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "how far the index has come could not be kept");
    }
}

/// Forgets it, before an index is made again: what a crash leaves of that has come less far, too.
pub(super) async fn forget(records: &dyn Records) -> Result<(), RecordsError> {
    set(records, LogPosition::default()).await
}

async fn set(records: &dyn Records, now: LogPosition) -> Result<(), RecordsError> {
    let (known, revision) = known(records).await?;
    if known == now {
        return Ok(());
    }
    // Two numbers: that does not fail.
    let value = serde_json::to_vec(&now).unwrap_or_default();
    records.put(KIND, KEY, value, revision).await?;
    Ok(())
}

/// What is kept; where nothing is, or it cannot be read, that is before all.
async fn known(records: &dyn Records) -> Result<(LogPosition, Option<Revision>), RecordsError> {
    let Some(record) = records.get(KIND, KEY).await? else {
        return Ok((LogPosition::default(), None));
    };
    let position = serde_json::from_slice(&record.value).unwrap_or_default();
    Ok((position, Some(record.revision)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::DurableContent;
    use crate::index::memory::MemoryIndex;
    use crate::records::memory::MemoryRecords;

    /// An index that has come to this place of the first pack.
    async fn at(offset: u64) -> MemoryIndex {
        let index = MemoryIndex::new();
        let end = LogPosition { pack: 1, offset };
        let staged = index.stage(Vec::new(), end).await.unwrap();
        let content = DurableContent::synced_up_to(end);
        staged.commit(content).unwrap();
        index.flush().await.unwrap();
        index
    }

    #[tokio::test]
    async fn what_has_come_less_far_is_old_and_what_a_crash_leaves_is_not() {
        let records = MemoryRecords::new();
        keep(&at(4_096).await, &records).await.unwrap();

        for (offset, expected) in [(512, true), (4_096, false), (9_216, false)] {
            let is_old = is_old(&at(offset).await, &records).await.unwrap();
            assert_eq!(is_old, expected, "{offset}");
        }
    }

    #[tokio::test]
    async fn what_is_half_made_again_is_not_old() {
        let records = MemoryRecords::new();
        keep(&at(4_096).await, &records).await.unwrap();

        assert!(!is_old(&MemoryIndex::new(), &records).await.unwrap());
        assert!(!is_old(&at(512).await, &records).await.unwrap());

        keep(&at(4_096).await, &records).await.unwrap();
        assert!(is_old(&at(512).await, &records).await.unwrap());
        forget(&records).await.unwrap();
        assert!(!is_old(&at(512).await, &records).await.unwrap());
    }
}
