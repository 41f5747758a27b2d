//! How far the trail is known to have been taken by a repository elsewhere.
//!
//! It stands beside the trail and is none of it: it tells of no act, and a backup that is restored
//! brings it back together with the records it is about.

use super::record::{RECORD, key_of, read_record};
use super::{Anchor, AuditError, AuditTrail, VERSION, damaged};
use crate::records::Kind;
use crate::registry::{read, write};
use pacs_core::audit::StateDigest;
use serde::{Deserialize, Serialize};

const FORWARDED: Kind = Kind::new("audit-forwarded");
const KEY: &str = "syslog";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    number: u64,
    digest: StateDigest,
}

/// How far a repository has taken the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// It has taken nothing yet.
    Nothing,
    /// What it has taken is not this trail: the record that it took last is not here, or is another
    /// one.
    OtherTrail(Anchor),
    /// All up to this record.
    Through(Anchor),
}

impl AuditTrail {
    /// How far a repository has taken the trail.
    ///
    /// # Errors
    /// [`AuditError::Damaged`], [`AuditError::Records`].
    pub async fn forwarded(&self) -> Result<Forwarded, AuditError> {
        let Some(record) = self.records.get(FORWARDED, KEY).await? else {
            return Ok(Forwarded::Nothing);
        };
        let Document {
            version,
            number,
            digest,
        } = read(FORWARDED, &record.value)?;
        if version != VERSION || number == 0 {
            return Err(damaged(FORWARDED).into());
        }
        let anchor = Anchor { number, digest };
        let last = self.records.get(RECORD, &key_of(number)).await?;
        // A record that is damaged is for `verify` to name; it is not another trail's.
        let is_other = match last.as_ref().map(read_record) {
            None => true,
            Some(Ok(last)) => last.digest != digest,
            Some(Err(_)) => false,
        };
        Ok(if is_other {
            Forwarded::OtherTrail(anchor)
        } else {
            Forwarded::Through(anchor)
        })
    }

    /// Keeps, durably, that a repository has taken all up to `anchor`.
    ///
    /// # Errors
    /// [`AuditError::Records`]; it may or may not be kept.
    pub async fn note_forwarded(&self, anchor: Anchor) -> Result<(), AuditError> {
        let before = self.records.get(FORWARDED, KEY).await?;
        let document = Document {
            version: VERSION,
            number: anchor.number,
            digest: anchor.digest,
        };
        let document = write(FORWARDED, &document)?;
        let revision = before.map(|before| before.revision);
        self.records.put(FORWARDED, KEY, document, revision).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Records;
    use crate::records::memory::MemoryRecords;
    use pacs_core::audit::{Act, Actor, AuditEvent};
    use std::sync::Arc;

    async fn trail(reason: &str, count: usize) -> AuditTrail {
        let records: Arc<dyn Records> = Arc::new(MemoryRecords::new());
        let trail = AuditTrail::new(records);
        let at = "2026-11-26T14:00:00+06:00".parse().unwrap();
        let mut event = AuditEvent::new(Act::UserChanged, at, Actor::system("test"));
        event.reason = Some(reason.to_owned());
        for _ in 0..count {
            trail.commit(Vec::new(), &event).await.unwrap();
        }
        trail
    }

    #[tokio::test]
    async fn how_far_a_repository_is_stays_known() {
        let trail = trail("A", 2).await;
        assert_eq!(trail.forwarded().await.unwrap(), Forwarded::Nothing);

        for record in trail.after(0, 9).await.unwrap() {
            let anchor = Anchor {
                number: record.number,
                digest: record.digest,
            };
            trail.note_forwarded(anchor).await.unwrap();
            let found = trail.forwarded().await.unwrap();
            assert_eq!(found, Forwarded::Through(anchor));
        }
        let verified = trail.verify(None, |_| {}).await.unwrap();
        assert_eq!((verified.records_count, verified.problem), (2, None));
    }

    #[tokio::test]
    async fn a_trail_that_is_another_one_is_told_from_the_one_that_was_taken() {
        let other = trail("B", 2).await;
        let taken = other.anchor().await.unwrap().unwrap();
        for count in [1, 2, 3] {
            let trail = trail("A", count).await;
            trail.note_forwarded(taken).await.unwrap();
            let found = trail.forwarded().await.unwrap();
            assert_eq!(found, Forwarded::OtherTrail(taken), "{count} records");
        }
    }
}
