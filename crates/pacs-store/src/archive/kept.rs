//! What is in sight of studies, and how many images of which series.

use super::Archive;
use crate::index::IndexError;
use crate::registry::examinations::KeptImages;
use pacs_core::access::Find;
use pacs_core::query::{Key, Matching};
use pacs_core::tag::{Vr, tags};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{Level, Permit, Query};
use std::collections::BTreeMap;

impl Archive {
    /// The images in sight of these studies, by series; of one that is not there, none.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn kept_images(
        &self,
        permit: &Permit<Find>,
        studies: impl IntoIterator<Item = StudyUid> + Send,
    ) -> Result<KeptImages, IndexError> {
        let mut kept = KeptImages::new();
        let studies: Vec<StudyUid> = studies.into_iter().collect();
        for study in studies {
            let query = Query::new(Level::Series)
                .with(of_study(&study))
                .returning(tags::NUMBER_OF_SERIES_RELATED_INSTANCES);
            let mut series = BTreeMap::new();
            for found in self.search(permit, &query).await? {
                let text = |tag| found.attributes.text(tag).unwrap_or_default();
                let uid = SeriesUid::parse_legacy(text(tags::SERIES_INSTANCE_UID));
                let count = text(tags::NUMBER_OF_SERIES_RELATED_INSTANCES).parse();
                if let Ok(uid) = uid {
                    series.insert(uid, count.unwrap_or(0));
                }
            }
            kept.insert(study, series);
        }
        Ok(kept)
    }

    /// Whether anything of a study is in sight.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn is_in_sight(
        &self,
        permit: &Permit<Find>,
        study: &StudyUid,
    ) -> Result<bool, IndexError> {
        let query = Query::new(Level::Study).with(of_study(study));
        Ok(!self.search(permit, &query).await?.is_empty())
    }
}

fn of_study(study: &StudyUid) -> Key {
    Key {
        tag: tags::STUDY_INSTANCE_UID,
        vr: Vr::UI,
        matching: Matching::SingleValue(study.as_str().to_owned()),
    }
}
