//! Who reads what of a report.

use super::delivering::{Delivery, may_read, reads};
use super::{ReportDraft, ReportVersion, draft_key, told};
use crate::registry::batch::Batch;
use crate::registry::examinations::{Examination, Reader};
use crate::registry::{Moment, Registry, RegistryError, Stored};
use pacs_core::ExaminationId;
use pacs_core::audit::Act;
use pacs_core::role::{Agent, Permission, Unlicensed};
use std::fmt;

/// A report, as far as whoever asks reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct ReportShown {
    /// Its examination.
    pub examination: Stored<Examination>,
    /// The versions that may be read, oldest first.
    pub versions: Vec<Stored<ReportVersion>>,
    /// What whoever asks has written and not signed.
    pub draft: Option<Stored<ReportDraft>>,
    /// Who was sent it; for those who write reports where the examination is made, and of the
    /// organisations for which whoever asks reads.
    pub deliveries: Vec<Stored<Delivery>>,
}

impl fmt::Debug for ReportShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} versions of a report", self.versions.len())
    }
}

impl Registry {
    /// The report of an examination. Those who write reports where it is made read all that is
    /// signed; organisations that were sent it, up to the version that they were sent; whoever else
    /// sees the examination and reads reports, what was sent to anybody. The audit record has who
    /// read it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] for those who neither see the examination nor were sent its
    /// report; [`RegistryError::Unlicensed`] for those who see how far it is, not what it says;
    /// [`RegistryError`].
    pub async fn report(
        &self,
        reader: &Reader<'_>,
        id: ExaminationId,
        at: Moment,
    ) -> Result<ReportShown, RegistryError> {
        let agent = reader.agent;
        let seen = match self.examination(reader, id, at).await {
            Ok(found) => Some(found),
            Err(RegistryError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let all = self.deliveries_of(id).await?;
        let examination = match &seen {
            Some(seen) => seen.clone(),
            None if all.is_empty() => return Err(missing()),
            None => self.examination_of_id(id).await?,
        };
        let found = &examination.value;
        let writes = seen.is_some() && writes(agent, found);
        let is_of = |sent: &&Stored<Delivery>| may_read(agent, sent.value.organisation, found);
        let own = all.iter().filter(is_of).map(|sent| sent.value.number);
        let sent_to_anybody = all.iter().map(|sent| sent.value.number).max();
        let until = if writes {
            Some(u32::MAX)
        } else if seen.is_some() && reads_somewhere(agent, found) {
            sent_to_anybody.or(Some(0))
        } else {
            own.max()
        };
        let Some(until) = until else {
            let permission = Permission::ReportView;
            return Err(if seen.is_some() {
                RegistryError::Unlicensed(Unlicensed { permission })
            } else {
                missing()
            });
        };
        let mut versions = self.report_versions(id).await?;
        versions.retain(|version| version.value.number <= until);
        let draft = self
            .find::<ReportDraft>(&draft_key(id, &agent.name))
            .await?;
        let draft = draft.filter(|_| writes);
        let deliveries = if writes {
            all
        } else {
            let own = all.into_iter().filter(|sent| is_of(&sent));
            own.collect()
        };
        let record = told(Act::ReportRead, agent, found, at);
        self.commit(Batch::default(), record).await?;
        Ok(ReportShown {
            examination,
            versions,
            draft,
            deliveries,
        })
    }
}

const fn missing() -> RegistryError {
    RegistryError::NotFound {
        what: "examination",
    }
}

/// Whether `agent` is of those who write reports where it is made.
fn writes(agent: &Agent, examination: &Examination) -> bool {
    let (performing, work) = (examination.performing, examination.work());
    agent
        .grants
        .reach_over(Permission::ReportWrite, performing, work)
}

/// Whether `agent`, who sees the examination, reads reports by any role: whoever treats the
/// patient, for whom the patient agreed, or in an emergency.
fn reads_somewhere(agent: &Agent, examination: &Examination) -> bool {
    let (grants, permission) = (&agent.grants, Permission::ReportView);
    let made = grants.extents_over(permission, examination.performing, examination.work());
    let (ordering, work) = (examination.ordering, examination.ordered_work());
    let ordered = grants.extents_over(permission, ordering, work);
    let elsewhere = grants.extents_anywhere(permission, examination.work_elsewhere());
    let mut extents = made.chain(ordered).chain(elsewhere);
    extents.any(|extent| reads(agent, extent, examination))
}
