//! What is written down of single instances of a destination: that it has confirmed one, and that
//! one is put aside. What stands between the places of sender and asker needs no note.

use pacs_core::{AeTitle, SopClassUid, SopInstanceUid};
use pacs_store::index::{Digest, StoredInstance};
use pacs_store::records::{Change, Kind, Record, Records, RecordsError, Revision};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Documents of this kind say that a destination has confirmed an instance.
const CONFIRMED: Kind = Kind::new("forward-confirmed");

/// Documents of this kind are instances that were put aside.
const ASIDE: Kind = Kind::new("forward-aside");

/// Version of the documents.
const VERSION: u32 = 1;

/// Documents that are read at once at start.
const PAGE_COUNT: usize = 500;

/// One version of an instance: with other bytes it is another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Content {
    pub(super) sop_class: SopClassUid,
    pub(super) instance: SopInstanceUid,
    /// Of its bytes, as 64 hexadecimal digits.
    pub(super) digest: String,
}

impl Content {
    pub(super) fn of(stored: &StoredInstance) -> Self {
        Self {
            sop_class: stored.instance.sop_class.clone(),
            instance: stored.instance.instance.clone(),
            digest: digest_text(&stored.digest),
        }
    }

    pub(super) fn is(&self, stored: &StoredInstance) -> bool {
        self.instance == stored.instance.instance && self.digest == digest_text(&stored.digest)
    }
}

fn digest_text(digest: &Digest) -> String {
    format!("{digest:?}")
}

/// How an instance that is put aside stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It is sent again.
    Again,
    /// It was given up; the next start tries it again.
    Failed,
    /// It was sent again, and is to be confirmed.
    Sent,
}

/// An instance that is put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Aside {
    version: u32,
    pub(super) sop_class: SopClassUid,
    pub(super) instance: SopInstanceUid,
    pub(super) digest: String,
    pub(super) state: State,
    /// Attempts that count towards giving it up.
    pub(super) count: u32,
    /// All attempts.
    pub(super) attempts_count: u32,
    /// Not before this, by the clock on the wall.
    pub(super) again_unix_ms: u64,
    /// In words of ours.
    pub(super) why: String,
}

impl Aside {
    pub(super) fn new(content: &Content, state: State) -> Self {
        Self {
            version: VERSION,
            sop_class: content.sop_class.clone(),
            instance: content.instance.clone(),
            digest: content.digest.clone(),
            state,
            count: 0,
            attempts_count: 0,
            again_unix_ms: 0,
            why: String::new(),
        }
    }

    pub(super) fn content(&self) -> Content {
        Content {
            sop_class: self.sop_class.clone(),
            instance: self.instance.clone(),
            digest: self.digest.clone(),
        }
    }

    fn to_value(&self) -> Result<Vec<u8>, RecordsError> {
        serde_json::to_vec(self).map_err(|source| RecordsError::Backend {
            operation: "write what is put aside",
            source: Box::new(source),
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let aside: Self = serde_json::from_slice(&record.value).ok()?;
        (aside.version == VERSION).then_some(aside)
    }
}

/// The documents of one destination.
#[derive(Debug)]
pub(super) struct Ledger {
    records: Arc<dyn Records>,
    /// What all keys begin with; no title and no UID holds a backslash.
    prefix: String,
}

impl Ledger {
    pub(super) fn new(records: Arc<dyn Records>, title: &AeTitle) -> Self {
        let prefix = format!("{title}\\");
        Self { records, prefix }
    }

    fn key(&self, content: &Content) -> String {
        format!("{}{}\\{}", self.prefix, content.instance, content.digest)
    }

    /// All that is put aside.
    pub(super) async fn asides(&self) -> Result<Vec<(Aside, Revision)>, RecordsError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .records
                .list(ASIDE, &self.prefix, after.as_deref(), PAGE_COUNT);
            let page = page.await?;
            let Some(last) = page.last() else {
                return Ok(all);
            };
            after = Some(last.key.clone());
            for record in page {
                let aside = Aside::read(&record);
                let damaged = RecordsError::Damaged {
                    what: "instance put aside",
                };
                all.push((aside.ok_or(damaged)?, record.revision));
            }
        }
    }

    pub(super) async fn put(
        &self,
        aside: &Aside,
        expected: Option<Revision>,
    ) -> Result<Revision, RecordsError> {
        let key = self.key(&aside.content());
        let value = aside.to_value()?;
        self.records.put(ASIDE, &key, value, expected).await
    }

    pub(super) async fn take_away(
        &self,
        content: &Content,
        expected: Revision,
    ) -> Result<(), RecordsError> {
        let key = self.key(content);
        self.records.delete(ASIDE, &key, expected).await
    }

    pub(super) async fn is_confirmed(&self, content: &Content) -> Result<bool, RecordsError> {
        let found = self.records.get(CONFIRMED, &self.key(content)).await?;
        Ok(found.is_some())
    }

    /// Writes down that all of `contents` are confirmed; they are no longer put aside.
    pub(super) async fn confirm(
        &self,
        contents: &[(Content, Option<Revision>)],
        now_unix_ms: u64,
    ) -> Result<(), RecordsError> {
        let mut changes = Vec::with_capacity(contents.len());
        for (content, aside) in contents {
            let key = self.key(content);
            if let Some(expected) = aside {
                changes.push(Change::delete(ASIDE, key.clone(), *expected));
            }
            if self.records.get(CONFIRMED, &key).await?.is_none() {
                let note = serde_json::json!({"version": VERSION, "at_unix_ms": now_unix_ms});
                let note = note.to_string().into_bytes();
                changes.push(Change::put(CONFIRMED, key, note, None));
            }
        }
        if !changes.is_empty() {
            self.records.apply(changes).await?;
        }
        Ok(())
    }

    /// Forgets that these were confirmed.
    pub(super) async fn forget(&self, contents: &[Content]) -> Result<(), RecordsError> {
        let mut changes = Vec::new();
        for content in contents {
            let key = self.key(content);
            if let Some(note) = self.records.get(CONFIRMED, &key).await? {
                changes.push(Change::delete(CONFIRMED, key, note.revision));
            }
        }
        if !changes.is_empty() {
            self.records.apply(changes).await?;
        }
        Ok(())
    }
}
