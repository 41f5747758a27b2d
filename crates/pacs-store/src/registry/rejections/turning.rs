//! What is being turned: rejections and restorations of which the archive has not been told to the
//! end. Whoever counts images takes what is written down as done, so that the archive can be told
//! step by step while others go on.

use super::{OPEN, Rejection, RejectionState};
use crate::registry::{Registry, RegistryError, Stored};
use pacs_core::SopInstanceUid;
use pacs_core::uid::{SeriesUid, StudyUid};
use std::collections::{BTreeMap, BTreeSet};

/// What is being turned of a study.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Turning {
    /// Instances that are rejected; some may be in sight yet.
    pub(crate) going: BTreeSet<SopInstanceUid>,
    /// Instances that are brought back, each with its series, and that nothing else hides; some may
    /// be out of sight yet. Where nobody wrote the series down they are not among them.
    pub(crate) coming: BTreeMap<SopInstanceUid, SeriesUid>,
}

impl Registry {
    /// What is being turned of a study; `None` where nothing is. It stays so in a turn.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub(crate) async fn turning(&self, study: &StudyUid) -> Result<Option<Turning>, RegistryError> {
        // Hardly ever is anything, of whatever study.
        if self.records().list(OPEN, "", None, 1).await?.is_empty() {
            return Ok(None);
        }
        let all = self.rejections_of_study(study).await?;
        let is_restoring =
            |one: &&Stored<Rejection>| matches!(one.value.state, RejectionState::Restoring(_));
        let is_going = |one: &Stored<Rejection>| one.value.state == RejectionState::Ordered;
        let has_restoring = all.iter().any(|one| is_restoring(&one));
        if !has_restoring && !all.iter().any(is_going) {
            return Ok(None);
        }
        let mut turning = Turning::default();
        let mut hidden = BTreeSet::new();
        for one in &all {
            let is_hiding = has_restoring && one.value.is_standing();
            if !is_hiding && !is_going(one) {
                continue;
            }
            let instances = self.instances_of_rejection(&one.value.id).await?;
            if is_going(one) {
                turning.going.extend(instances.iter().cloned());
            }
            hidden.extend(instances);
        }
        for one in all.iter().filter(is_restoring) {
            for chunk in self.content_of(&one.value.id).await? {
                let known = chunk.with_series().into_iter();
                let free = known.filter(|(instance, _)| !hidden.contains(*instance));
                let free = free.map(|(instance, series)| (instance.clone(), series.clone()));
                turning.coming.extend(free);
            }
        }
        Ok(Some(turning))
    }
}
