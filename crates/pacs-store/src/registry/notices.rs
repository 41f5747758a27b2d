//! What people are told of examinations that are theirs: the author of a report that images came
//! late or left, whoever ordered one that it came back.
//!
//! A notice is written in the batch of what it tells of. Of one examination somebody is told each
//! thing once, with when it happened last, until they take it away.

use super::batch::Batch;
use super::document::Document;
use super::examinations::Examination;
use super::{Moment, Registry, RegistryError, Stored};
use crate::limits::NOTICES_LISTED_MAX;
use crate::records::Kind;
use pacs_core::ExaminationId;
use pacs_core::examination::Effect;
use pacs_core::role::{Agent, AgentKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Between the parts of a key.
const BETWEEN: char = '\u{1f}';

/// What somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Images of what they read or reported came late, left or were taken out of sight, or a
    /// revision of their report was given up.
    Author,
    /// What they ordered came back: more images are wanted.
    Operator,
}

impl Told {
    const fn name(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Operator => "operator",
        }
    }
}

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whom.
    pub user: String,
    /// Of which examination.
    pub examination: ExaminationId,
    /// As whom they are told.
    pub told: Told,
    /// What happened last.
    pub event: String,
    /// When.
    pub at: Moment,
}

impl Document for Notice {
    const KIND: Kind = Kind::new("notice");
    const NAME: &'static str = "notice";
}

fn key_of(user: &str, id: ExaminationId, told: Told) -> String {
    format!("{user}{BETWEEN}{id}{BETWEEN}{}", told.name())
}

impl Registry {
    /// Adds to `batch` that people are told of `event`, as `effects` of it say; whoever did it
    /// knows.
    pub(super) async fn notify(
        &self,
        batch: &mut Batch,
        by: &Agent,
        examination: &Examination,
        (event, effects): (&str, &[Effect]),
    ) -> Result<(), RegistryError> {
        let mut told: BTreeSet<(String, Told)> = BTreeSet::new();
        if effects.contains(&Effect::NotifyOperator) {
            told.insert((examination.requester.clone(), Told::Operator));
        }
        if effects.contains(&Effect::NotifyAuthor) {
            let author = self.author_of_report(examination.id).await?;
            let holder = examination.lock.as_ref().map(|lock| lock.by.clone());
            told.extend(
                [author, holder]
                    .into_iter()
                    .flatten()
                    .map(|user| (user, Told::Author)),
            );
        }
        told.retain(|(user, _)| by.kind != AgentKind::User || *user != by.name);
        for (user, told) in told {
            let key = key_of(&user, examination.id, told);
            let known = self.find::<Notice>(&key).await?;
            let notice = Notice {
                user,
                examination: examination.id,
                told,
                event: event.to_owned(),
                at: examination.changed_at,
            };
            batch.put(&key, &notice, known.map(|known| known.revision))?;
        }
        Ok(())
    }

    /// What `user` is told and has not taken away, newest first.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn notices(&self, user: &str) -> Result<Vec<Stored<Notice>>, RegistryError> {
        let prefix = format!("{user}{BETWEEN}");
        let mut found = self
            .list::<Notice>(&prefix, None, NOTICES_LISTED_MAX)
            .await?;
        found.sort_by_key(|notice| std::cmp::Reverse(notice.value.at));
        Ok(found)
    }

    /// Takes away what `user` is told of an examination, where it is still what they saw at `seen`.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where they are told nothing of it; [`RegistryError::Changed`]
    /// where something happened since; [`RegistryError`].
    pub async fn take_notice_away(
        &self,
        user: &str,
        (id, told): (ExaminationId, Told),
        seen: super::Revision,
    ) -> Result<(), RegistryError> {
        let key = key_of(user, id, told);
        let notice = self.read::<Notice>(&key).await?;
        if notice.revision != seen {
            return Err(RegistryError::Changed);
        }
        Ok(self.records().delete(Notice::KIND, &key, seen).await?)
    }
}
