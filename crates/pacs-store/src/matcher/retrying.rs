//! Studies that cannot be judged: something that is to be read for them is damaged. They keep the
//! others from nothing, and are judged when it can be read.

use super::heads::of_study;
use super::{Matcher, MatcherError, News};
use crate::registry::examinations::StudyMatch;
use crate::registry::{RegistryError, Stored};
use pacs_core::tag::tags;
use pacs_core::uid::StudyUid;
use pacs_core::{Level, SopInstanceUid};

impl Matcher {
    /// Judges a study; one that cannot be judged is told of and kept in mind.
    pub(super) async fn judge_or_keep(
        &self,
        study: &StudyUid,
        news: &News,
    ) -> Result<Option<Stored<StudyMatch>>, MatcherError> {
        match self.judge_anew(study, news).await {
            Err(error) if is_of_study(&error) => {
                tracing::error!(%study, why = cause(&error), "a study cannot be judged yet");
                self.registry.keep_unjudged(study).await?;
                Ok(None)
            }
            other => other,
        }
    }

    /// Judges once more those that could not be judged.
    pub(super) async fn retry(&self) -> Result<(), MatcherError> {
        let mut after = None;
        loop {
            let page = self.registry.unjudged(after.as_ref()).await?;
            let Some(last) = page.last().cloned() else {
                return Ok(());
            };
            for study in page {
                let news = self.all_of(&study).await?;
                match self.judge_anew(&study, &news).await {
                    Err(error) if is_of_study(&error) => {
                        tracing::debug!(%study, %error, "a study can still not be judged");
                    }
                    other => {
                        other?;
                        self.registry.forget_unjudged(&study).await?;
                    }
                }
            }
            after = Some(last);
        }
    }

    /// All that is in sight of a study, as if it came just now: what was passed over is not known.
    async fn all_of(&self, study: &StudyUid) -> Result<News, MatcherError> {
        let query = of_study(Level::Instance, study).returning(tags::SOP_INSTANCE_UID);
        let found = self.archive.search(&self.permits.find, &query).await?;
        let uids = found.into_iter().filter_map(|found| {
            let text = found.attributes.text(tags::SOP_INSTANCE_UID)?;
            SopInstanceUid::parse_legacy(text).ok()
        });
        Ok(News {
            instances: uids.collect(),
            ..News::default()
        })
    }
}

fn cause(error: &MatcherError) -> String {
    match std::error::Error::source(error) {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// Whether it is this study alone that cannot be judged.
const fn is_of_study(error: &MatcherError) -> bool {
    matches!(
        error,
        MatcherError::Registry(
            RegistryError::Damaged { .. }
                | RegistryError::NotFound { .. }
                | RegistryError::Refused(_)
        )
    )
}
