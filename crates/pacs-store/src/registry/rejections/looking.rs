//! What was rejected, for those who judge it: which instances, one of them to be looked at, and
//! figures without persons.

use super::document::{OF_ORGANISATION, scope};
use super::listing::pointed_at;
use super::{Document as _, Rejection, RejectionId, touched};
use crate::limits::{REJECTIONS_IN_STATISTICS_MAX, REJECTIONS_PAGE_MAX};
use crate::registry::batch::Batch;
use crate::registry::commit::agent_event;
use crate::registry::examinations::{Period, figures_for, midnight};
use crate::registry::{Moment, Refusal, Registry, RegistryError, Stored};
use chrono::{Days, NaiveDate};
use pacs_core::audit::Act;
use pacs_core::rejection::{Quality, Title, may_see};
use pacs_core::role::Agent;
use pacs_core::{OrganisationCode, Phi, SopInstanceUid};
use std::collections::BTreeMap;

/// The rejections of one organisation of one day that stand, as far as they are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionCount {
    /// When, at the place of the archive.
    pub day: NaiveDate,
    /// Why.
    pub title: Title,
    /// What was wrong with the images, where somebody said so (PS3.16 CID 7011).
    pub quality: Option<Quality>,
    /// How many rejections.
    pub count: u64,
    /// Of how many instances.
    pub instances_count: u64,
}

impl Registry {
    /// The instances of a rejection, for whoever may judge them; the audit record has who asked.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] for others, also for whoever rejected them and may not see them;
    /// [`RegistryError`].
    pub async fn rejected_instances(
        &self,
        agent: &Agent,
        id: &RejectionId,
        at: Moment,
    ) -> Result<Vec<SopInstanceUid>, RegistryError> {
        self.judged_by(agent, id).await?;
        self.open_rejection(agent, id, at).await?;
        self.instances_of_rejection(id).await
    }

    /// Writes down that somebody looks at an instance of a rejection, which they may.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] for whoever may not, where it is none of the rejection, and
    /// where the study was erased; [`RegistryError`]: nothing is to be shown then.
    pub async fn look_at_rejected(
        &self,
        agent: &Agent,
        (id, instance): (&RejectionId, &SopInstanceUid),
        at: Moment,
    ) -> Result<(), RegistryError> {
        let found = self.judged_by(agent, id).await?;
        let rejection = &found.value;
        let erasure = self.erasure_of_study(&rejection.study).await?;
        let is_erased = erasure.is_some_and(|erasure| erasure.value.covers(rejection.at));
        if is_erased || !self.instances_of_rejection(id).await?.contains(instance) {
            return Err(not_found());
        }
        let mut event = touched(Act::ImagesViewed, agent, rejection, &[], at);
        for study in &mut event.object.studies {
            study.instances_count = 1;
            study.instances = vec![instance.clone()];
        }
        event.reason = Some(format!("REJECTED {}", rejection.title.name()));
        self.commit(Batch::default(), event).await.map(drop)
    }

    /// A rejection, for whoever judges such images there.
    async fn judged_by(
        &self,
        agent: &Agent,
        id: &RejectionId,
    ) -> Result<Stored<Rejection>, RegistryError> {
        let found = self.rejection(agent, id).await?;
        if may_see(agent, found.value.images(), found.value.title) {
            Ok(found)
        } else {
            Err(not_found())
        }
    }

    /// Counts the rejections of images of `organisation` that stand, of those that were made within
    /// `period`, by the clock of `at`. The table of roles has to permit figures there, be it
    /// technical ones alone; whoever may see figures of their own work alone gets those of their
    /// own rejections.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] where there are more than are counted at once; [`RegistryError`]
    /// otherwise.
    pub async fn rejection_figures(
        &self,
        agent: &Agent,
        organisation: OrganisationCode,
        period: Period,
        at: Moment,
    ) -> Result<Vec<RejectionCount>, RegistryError> {
        let figures = figures_for(agent, organisation)?;
        let mut event = agent_event(Act::Queried, agent, Some(organisation), at);
        let query = format!("rejection statistics {} {}", period.from, period.until);
        event.object.query = Some(Phi::new(query));
        self.commit(Batch::default(), event).await?;
        let place = *at.offset();
        let beyond = midnight(period.until.checked_add_days(Days::new(1)), place);
        let unfit = || Refusal::Unfit { what: "period" };
        let beyond = RejectionId::new(beyond.ok_or_else(unfit)?, [0; 8]);
        let prefix = format!("{}/", scope(Some(organisation)));
        let mut after = format!("{prefix}{}", beyond.newest_first());
        let mut counts = BTreeMap::<_, RejectionCount>::new();
        let mut counted = 0_usize;
        loop {
            let page =
                self.records()
                    .list(OF_ORGANISATION, &prefix, Some(&after), REJECTIONS_PAGE_MAX);
            let page = page.await?;
            let is_last = page.len() < REJECTIONS_PAGE_MAX;
            for record in page {
                let rejection = self.read::<Rejection>(&pointed_at(&record)?).await?.value;
                let day = rejection.at.with_timezone(&place).date_naive();
                if day < period.from {
                    return Ok(counts.into_values().collect());
                }
                counted = counted.saturating_add(1);
                if counted > REJECTIONS_IN_STATISTICS_MAX {
                    return Err(unfit().into());
                }
                let is_own = |user: &str| rejection.by == user;
                let made = (&rejection.kinds, rejection.department.as_ref());
                let is_counted = figures.count_each(made, is_own);
                if is_counted && rejection.is_standing() {
                    count(&mut counts, day, &rejection);
                }
                after = record.key;
            }
            if is_last {
                return Ok(counts.into_values().collect());
            }
        }
    }
}

/// What is alike: the day, the title and the code of what was wrong.
type Alike = (NaiveDate, Title, Option<&'static str>);

fn count(counts: &mut BTreeMap<Alike, RejectionCount>, day: NaiveDate, rejection: &Rejection) {
    let code = rejection.quality.map(|quality| quality.code().0);
    let count = counts
        .entry((day, rejection.title, code))
        .or_insert(RejectionCount {
            day,
            title: rejection.title,
            quality: rejection.quality,
            count: 0,
            instances_count: 0,
        });
    count.count = count.count.saturating_add(1);
    count.instances_count = count
        .instances_count
        .saturating_add(rejection.instances_count);
}

fn not_found() -> RegistryError {
    RegistryError::NotFound {
        what: Rejection::NAME,
    }
}
