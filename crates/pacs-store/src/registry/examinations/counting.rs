//! Figures without persons: how many examinations, by day, kind of images and where they stand.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::{Moment, Refusal, Registry, RegistryError};
use super::document::{LIST, status_name};
use super::listing::id_of;
use super::{BETWEEN, Examination, newest_first};
use crate::limits::{EXAMINATIONS_IN_STATISTICS_MAX, EXAMINATIONS_PAGE_MAX};
use chrono::{Days, FixedOffset, NaiveDate, NaiveTime};
use pacs_core::audit::Act;
use pacs_core::examination::Status;
use pacs_core::examination::reconcile::Kind;
use pacs_core::role::{Agent, AgentKind, Extent, Permission, Unlicensed, Work};
use pacs_core::{DepartmentCode, OrganisationCode, Phi};
use std::collections::{BTreeMap, BTreeSet};

/// The examinations of one organisation that got their IDs on one day, as far as they are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminationCount {
    /// When, at the place of the archive.
    pub day: NaiveDate,
    /// The kind of images.
    pub kind: Kind,
    /// Where they stand now.
    pub status: Status,
    /// How many.
    pub count: u64,
}

/// Days, the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first.
    pub from: NaiveDate,
    /// The last.
    pub until: NaiveDate,
}

impl Registry {
    /// Counts the examinations that `organisation` makes, of those that got their IDs within
    /// `period`, by the clock of `at`. The table of roles has to permit figures there; whoever may
    /// see figures of their own work alone gets those of what they read and signed.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] where there are more than are counted at once; [`RegistryError`]
    /// otherwise.
    pub async fn examination_figures(
        &self,
        agent: &Agent,
        organisation: OrganisationCode,
        period: Period,
        at: Moment,
    ) -> Result<Vec<ExaminationCount>, RegistryError> {
        let figures = figures_for(agent, organisation)?;
        let mut event = agent_event(Act::Queried, agent, Some(organisation), at);
        let query = format!("statistics {} {}", period.from, period.until);
        event.object.query = Some(Phi::new(query));
        self.commit(Batch::default(), event).await?;
        if figures.are_technical() {
            return Ok(Vec::new());
        }
        let prefix = format!("performing/{organisation}{BETWEEN}all{BETWEEN}");
        let beyond = midnight(period.until.checked_add_days(Days::new(1)), *at.offset());
        let begin = midnight(Some(period.from), *at.offset());
        let (Some(beyond), Some(begin)) = (beyond, begin) else {
            return Err(Refusal::Unfit { what: "period" }.into());
        };
        // Behind the last one that is too new.
        let mut after = format!("{prefix}{}{BETWEEN}\u{7f}", newest_first(beyond));
        let mut counts = Counts::new();
        let mut counted = 0_usize;
        loop {
            let page = self
                .records()
                .list(LIST, &prefix, Some(&after), EXAMINATIONS_PAGE_MAX);
            let page = page.await?;
            let is_last = page.len() < EXAMINATIONS_PAGE_MAX;
            for record in page {
                let examination = self.examination_at(id_of(&record)?).await?.value;
                if examination.created_at < begin {
                    return Ok(counts.into_values().collect());
                }
                counted = counted.saturating_add(1);
                if counted > EXAMINATIONS_IN_STATISTICS_MAX {
                    return Err(Refusal::Unfit { what: "period" }.into());
                }
                let is_own = |user: &str| examination.readings().has_completed(user);
                if figures.counts(examination.work(), is_own) {
                    count(&mut counts, examination, *at.offset());
                }
                after = record.key;
            }
            if is_last {
                return Ok(counts.into_values().collect());
            }
        }
    }
}

/// The figures, by what is alike.
type Counts = BTreeMap<(NaiveDate, String, &'static str), ExaminationCount>;

fn count(counts: &mut Counts, examination: Examination, place: FixedOffset) {
    let day = examination.created_at.with_timezone(&place).date_naive();
    let status = examination.status();
    let kind = examination.order.kind;
    let key = (day, format!("{kind:?}"), status_name(status));
    let count = counts.entry(key).or_insert(ExaminationCount {
        day,
        kind,
        status,
        count: 0,
    });
    count.count = count.count.saturating_add(1);
}

/// Which figures somebody may see of an organisation.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry) struct Figures<'a> {
    agent: &'a Agent,
    organisation: OrganisationCode,
}

impl Figures<'_> {
    fn has(self, extent: Extent) -> bool {
        let grants = &self.agent.grants;
        let (permission, of) = (Permission::Statistics, self.organisation);
        let mut held = grants.extents_over(permission, of, Work::Any);
        held.any(|held| held == extent)
    }

    fn are_whole(self) -> bool {
        let is_system = self.agent.kind == AgentKind::System;
        is_system || self.has(Extent::Aggregated) || self.has(Extent::Whole)
    }

    /// Whether they are of what the archive holds, and of no examination.
    fn are_technical(self) -> bool {
        !self.are_whole() && self.has(Extent::Technical)
    }

    /// Whether this part of the work is counted; `is_own`: that of this user.
    fn counts(self, work: Work<'_>, is_own: impl Fn(&str) -> bool) -> bool {
        let agent = self.agent;
        let grants = &agent.grants;
        let mut held = grants.extents_over(Permission::Statistics, self.organisation, work);
        let of_all = [Extent::Aggregated, Extent::Technical, Extent::Whole];
        let counts =
            |extent| of_all.contains(&extent) || (extent == Extent::Own && is_own(&agent.name));
        agent.kind == AgentKind::System || held.any(counts)
    }

    /// The same of images of these kinds that were made in this department; of none, nobody knows
    /// them.
    pub(in crate::registry) fn count_each(
        self,
        (kinds, department): (&BTreeSet<Kind>, Option<&DepartmentCode>),
        is_own: impl Fn(&str) -> bool,
    ) -> bool {
        let mut all = kinds.iter();
        let is_known = !kinds.is_empty();
        let counts = |kind| self.counts(Work::Of { kind, department }, &is_own);
        (is_known && all.all(|kind| counts(Some(kind)))) || counts(None)
    }
}

/// Which figures `agent` may see of an organisation: the most that a role of theirs gives, of the
/// part of the work that it is held for.
pub(in crate::registry) fn figures_for(
    agent: &Agent,
    organisation: OrganisationCode,
) -> Result<Figures<'_>, Unlicensed> {
    let figures = Figures {
        agent,
        organisation,
    };
    if figures.are_whole() || figures.has(Extent::Technical) || figures.has(Extent::Own) {
        return Ok(figures);
    }
    let permission = Permission::Statistics;
    Err(Unlicensed { permission })
}

pub(in crate::registry) fn midnight(day: Option<NaiveDate>, offset: FixedOffset) -> Option<Moment> {
    let begin = day?.and_time(NaiveTime::MIN);
    begin.and_local_timezone(offset).single()
}
