//! Which instances of a study are to be had: what others are told of it (PS3.4 Annex R).

use super::{RejectError, Rejections};
use crate::index::StoredInstance;
use crate::registry::rejections::RejectionState;
use pacs_core::availability::Availability;
use pacs_core::commitment::Reference;
use pacs_core::uid::{SeriesUid, StudyUid};
use std::collections::BTreeSet;

/// Whether an instance is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceAvailability {
    /// Its series.
    pub series: SeriesUid,
    /// Its class and UID.
    pub reference: Reference,
    /// Whether it is.
    pub availability: Availability,
}

impl InstanceAvailability {
    fn of(stored: StoredInstance, availability: Availability) -> Self {
        Self {
            series: stored.instance.series,
            reference: Reference {
                sop_class: stored.instance.sop_class,
                sop_instance: stored.instance.instance,
            },
            availability,
        }
    }
}

impl Rejections {
    /// The instances of a study that are in sight, and those that a rejection took out of it, as
    /// far as they are kept; in the order of their series. `None` while some are being turned: that
    /// they were is announced.
    ///
    /// # Errors
    /// [`RejectError::Index`], [`RejectError::Registry`].
    pub async fn availability(
        &self,
        study: &StudyUid,
    ) -> Result<Option<Vec<InstanceAvailability>>, RejectError> {
        let rejections = self.registry.rejections_of_study(study).await?;
        let mut standing = Vec::new();
        for rejection in rejections.iter().map(|of| &of.value) {
            match rejection.state {
                RejectionState::Ordered | RejectionState::Restoring(_) => return Ok(None),
                RejectionState::Applied => standing.push(&rejection.id),
                RejectionState::Restored(_) => {}
            }
        }
        let online = Availability::Online;
        let visible = self.visible(study).await?.into_iter();
        let mut all: Vec<_> = visible
            .map(|stored| InstanceAvailability::of(stored, online))
            .collect();
        let told = all.iter().map(|of| of.reference.sop_instance.clone());
        let mut told: BTreeSet<_> = told.collect();
        for id in standing {
            for instance in self.registry.instances_of_rejection(id).await? {
                if !told.insert(instance.clone()) {
                    continue;
                }
                let kept = self.archive.kept_instance(&self.hide, &instance).await?;
                let hidden = Availability::Unavailable;
                all.extend(kept.map(|stored| InstanceAvailability::of(stored, hidden)));
            }
        }
        // Within a series they stay in the order in which the archive has them.
        all.sort_by(|one, other| one.series.cmp(&other.series));
        Ok(Some(all))
    }
}
