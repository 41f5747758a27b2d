//! Whose a study is, for whoever judges its images.

use super::super::examinations::{Examination, MatchState, StudyMatch};
use super::super::{Registry, RegistryError};
use pacs_core::examination::reconcile::{Kind, QueueReason};
use pacs_core::rejection::Images;
use pacs_core::uid::StudyUid;
use pacs_core::{DepartmentCode, ExaminationId, OrganisationCode};
use std::collections::BTreeSet;

/// Whose a study is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Belonging {
    /// The organisation whose device sent it.
    pub organisation: Option<OrganisationCode>,
    /// The kinds of images of every examination that it, or a part of it, is of.
    pub kinds: BTreeSet<Kind>,
    /// The department where all of these are made, and of none that of the device; `None`: nobody
    /// knows, or there are several.
    pub department: Option<DepartmentCode>,
    /// Its examination, and the studies of that.
    pub examination: Option<(ExaminationId, Vec<StudyUid>)>,
    /// The studies of every examination that it, or a part of it, is of.
    pub beside: BTreeSet<StudyUid>,
}

impl Belonging {
    /// Its images, as far as it matters who judges them.
    #[must_use]
    pub const fn images(&self) -> Images<'_> {
        Images::new(self.organisation, &self.kinds, self.department.as_ref())
    }
}

impl Registry {
    /// Whose a study is: for the archive's own work.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn belonging(&self, study: &StudyUid) -> Result<Belonging, RegistryError> {
        let Some(found) = self.find::<StudyMatch>(study.as_str()).await? else {
            return Ok(Belonging::default());
        };
        let (mut examination, mut beside) = (None, BTreeSet::new());
        let (mut kinds, mut departments) = (BTreeSet::new(), BTreeSet::new());
        for id in found.value.examinations() {
            let of_it = self.read::<Examination>(&id.to_string()).await?.value;
            let studies = of_it.studies;
            kinds.insert(of_it.order.kind);
            departments.insert(of_it.order.performing_department);
            beside.extend(studies.iter().cloned());
            if found.value.examination() == Some(id) {
                examination = Some((id, studies));
            }
        }
        Ok(Belonging {
            organisation: found.value.organisation,
            department: match departments.pop_first() {
                None => found.value.department,
                Some(one) => one.filter(|_| departments.is_empty()),
            },
            kinds,
            examination,
            beside,
        })
    }

    /// What somebody has to look at of a study: for those who see it.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn flags_of_study(
        &self,
        study: &StudyUid,
    ) -> Result<Vec<QueueReason>, RegistryError> {
        let found = self.find::<StudyMatch>(study.as_str()).await?;
        Ok(match found.map(|found| found.value.state) {
            Some(MatchState::Bound { flags, .. }) => flags,
            Some(MatchState::Queued { reason, .. }) => vec![reason],
            Some(MatchState::Rejected) | None => Vec::new(),
        })
    }
}
