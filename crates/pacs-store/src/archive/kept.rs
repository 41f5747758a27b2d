//! What is in sight of studies, and how many images of which series.

use super::Archive;
use crate::index::IndexError;
use crate::registry::examinations::KeptImages;
use crate::registry::rejections::Turning;
use pacs_core::access::Find;
use pacs_core::examination::reconcile::Kind;
use pacs_core::query::{Key, Matching};
use pacs_core::tag::{Vr, tags};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{Level, Permit, Query, SopInstanceUid};
use std::collections::{BTreeMap, BTreeSet};

impl Archive {
    /// The images in sight of these studies, by series; of one that is not there, none. What is
    /// being hidden or brought back is counted as if that were done.
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
            if let Some(turning) = self.turning(&study).await? {
                let series = self.as_turned(permit, &study, turning).await?;
                kept.insert(study, series);
                continue;
            }
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

    /// What is being turned of a study, as the registry has it.
    async fn turning(&self, study: &StudyUid) -> Result<Option<Turning>, IndexError> {
        let turning = self.registry().turning(study).await;
        turning.map_err(|error| IndexError::Backend {
            operation: "look at what is being turned",
            source: Box::new(error),
        })
    }

    /// The images of a study that are in sight when all that is written down of it is done.
    async fn as_turned(
        &self,
        permit: &Permit<Find>,
        study: &StudyUid,
        turning: Turning,
    ) -> Result<BTreeMap<SeriesUid, u64>, IndexError> {
        let query = Query::new(Level::Instance)
            .with(of_study(study))
            .returning(tags::SERIES_INSTANCE_UID)
            .returning(tags::SOP_INSTANCE_UID);
        let mut images = BTreeMap::<SeriesUid, BTreeSet<SopInstanceUid>>::new();
        for found in self.search(permit, &query).await? {
            let text = |tag| found.attributes.text(tag).unwrap_or_default();
            let series = SeriesUid::parse_legacy(text(tags::SERIES_INSTANCE_UID));
            let instance = SopInstanceUid::parse_legacy(text(tags::SOP_INSTANCE_UID));
            let (Ok(series), Ok(instance)) = (series, instance) else {
                continue;
            };
            if !turning.going.contains(&instance) {
                images.entry(series).or_default().insert(instance);
            }
        }
        for (instance, series) in turning.coming {
            images.entry(series).or_default().insert(instance);
        }
        let counted = images.into_iter().map(|(series, of)| {
            let count = u64::try_from(of.len()).unwrap_or(u64::MAX);
            (series, count)
        });
        Ok(counted.collect())
    }

    /// Whether anything of a study is in sight, as [`Self::kept_images`] counts.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn is_in_sight(
        &self,
        permit: &Permit<Find>,
        study: &StudyUid,
    ) -> Result<bool, IndexError> {
        if let Some(turning) = self.turning(study).await? {
            return Ok(!self.as_turned(permit, study, turning).await?.is_empty());
        }
        let query = Query::new(Level::Study).with(of_study(study));
        Ok(!self.search(permit, &query).await?.is_empty())
    }

    /// The kinds of the images of a study that can be found; none where nobody knows them.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn kinds_of_images(
        &self,
        permit: &Permit<Find>,
        study: &StudyUid,
    ) -> Result<BTreeSet<Kind>, IndexError> {
        let query = Query::new(Level::Series).with(of_study(study));
        let query = query.returning(tags::MODALITY);
        let found = self.search(permit, &query).await?;
        let modalities = found.iter().map(|one| one.attributes.text(tags::MODALITY));
        Ok(modalities.flatten().filter_map(Kind::of_modality).collect())
    }
}

fn of_study(study: &StudyUid) -> Key {
    Key {
        tag: tags::STUDY_INSTANCE_UID,
        vr: Vr::UI,
        matching: Matching::SingleValue(study.as_str().to_owned()),
    }
}
