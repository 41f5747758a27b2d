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
use pacs_core::role::{Agent, AgentKind, Extent, Permission, Unlicensed};
use pacs_core::{OrganisationCode, Phi};
use std::collections::BTreeMap;

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
        if figures == Figures::Technical {
            return Ok(Vec::new());
        }
        let counted_for = figures.user();
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
                if counted_for.is_none_or(|user| examination.readings().has_completed(user)) {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::registry) enum Figures<'a> {
    /// Of everybody's work.
    All,
    /// Of the work of this user alone.
    Own(&'a str),
    /// Of what the archive holds, and of no examination.
    Technical,
}

impl<'a> Figures<'a> {
    /// Whose work alone is counted; `None`: everybody's.
    pub(in crate::registry) const fn user(self) -> Option<&'a str> {
        match self {
            Self::Own(user) => Some(user),
            Self::All | Self::Technical => None,
        }
    }
}

/// Which figures `agent` may see of an organisation: the most that a role of theirs gives.
pub(in crate::registry) fn figures_for(
    agent: &Agent,
    organisation: OrganisationCode,
) -> Result<Figures<'_>, Unlicensed> {
    let permission = Permission::Statistics;
    let held = |extent| {
        let mut extents = agent.grants.extents(permission, organisation);
        extents.any(|of| of == extent)
    };
    let is_all = held(Extent::Aggregated) || held(Extent::Whole);
    if is_all || agent.kind == AgentKind::System {
        return Ok(Figures::All);
    }
    if held(Extent::Technical) {
        return Ok(Figures::Technical);
    }
    if held(Extent::Own) {
        return Ok(Figures::Own(&agent.name));
    }
    Err(Unlicensed { permission })
}

pub(in crate::registry) fn midnight(day: Option<NaiveDate>, offset: FixedOffset) -> Option<Moment> {
    let begin = day?.and_time(NaiveTime::MIN);
    begin.and_local_timezone(offset).single()
}
