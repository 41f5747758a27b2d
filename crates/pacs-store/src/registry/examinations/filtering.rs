//! Lists of examinations with filters, in their orders, and how many there are.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::{Moment, Refusal, Registry, RegistryError};
use super::document::{LIST, QUEUE, is_queued, status_name};
use super::listing::{asked, id_of};
use super::{BETWEEN, Examination, ExaminationPage, Priority, Reader, Scope};
use crate::limits::{EXAMINATIONS_COUNTED_MAX, EXAMINATIONS_PAGE_MAX, EXAMINATIONS_SCANNED_MAX};
use chrono::NaiveDate;
use pacs_core::audit::Act;
use pacs_core::examination::Status;
use pacs_core::examination::reconcile::Kind;

/// Statuses that a list can have.
const STATUSES: [Status; 10] = [
    Status::Scheduled,
    Status::InProgress,
    Status::ImagesReceived,
    Status::UnderReview,
    Status::Reported,
    Status::Sent,
    Status::Delivered,
    Status::Discontinued,
    Status::Rejected,
    Status::Cancelled,
];

/// In which order examinations are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Those that got their ID last first.
    #[default]
    Newest,
    /// The most urgent first, and of these those that wait longest: for statuses in which somebody
    /// has to do something.
    Urgent,
}

/// A list of examinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Whose.
    pub scope: Scope,
    /// Of which status; `None`: of any.
    pub status: Option<Status>,
    /// In which order.
    pub order: Order,
    /// Of which kind of images.
    pub kind: Option<Kind>,
    /// Of which urgency.
    pub priority: Option<Priority>,
    /// That got their ID from this day on.
    pub from: Option<NaiveDate>,
    /// That got their ID until this day.
    pub to: Option<NaiveDate>,
    /// That this user has in work.
    pub held_by: Option<String>,
    /// To which images came late, or of which some are missing.
    pub is_flagged: bool,
}

impl Listed {
    /// All of a scope, newest first.
    #[must_use]
    pub const fn all(scope: Scope, status: Option<Status>) -> Self {
        Self {
            scope,
            status,
            order: Order::Newest,
            kind: None,
            priority: None,
            from: None,
            to: None,
            held_by: None,
            is_flagged: false,
        }
    }

    fn has(&self, examination: &Examination) -> bool {
        let order = &examination.order;
        let day = examination.created_at.date_naive();
        let lock = examination.lock.as_ref();
        let progress = &examination.progress;
        self.kind.as_ref().is_none_or(|kind| *kind == order.kind)
            && self
                .priority
                .is_none_or(|priority| priority == order.priority)
            && self.from.is_none_or(|from| from <= day)
            && self.to.is_none_or(|to| day <= to)
            && self
                .held_by
                .as_ref()
                .is_none_or(|user| lock.is_some_and(|lock| lock.by == *user))
            && (!self.is_flagged || progress.has_late_images() || progress.is_incomplete())
    }
}

/// How many examinations of a status somebody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCount {
    /// The status.
    pub status: Status,
    /// How many.
    pub count: usize,
    /// There are more.
    pub has_more: bool,
}

impl Registry {
    /// As [`Registry::examinations`], with filters and in either order. The audit record has which
    /// list was asked for.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] for an order that the status does not have; [`RegistryError`] otherwise.
    pub async fn listed_examinations(
        &self,
        reader: &Reader<'_>,
        listed: &Listed,
        cursor: Option<&str>,
        count_max: usize,
        at: Moment,
    ) -> Result<ExaminationPage, RegistryError> {
        let scope = listed.scope.name();
        let status = listed.status.map_or("all", status_name);
        let kind = match listed.order {
            Order::Newest => LIST,
            Order::Urgent if listed.status.is_some_and(is_queued) => QUEUE,
            Order::Urgent => return Err(Refusal::Unfit { what: "order" }.into()),
        };
        let event = agent_event(Act::Queried, reader.agent, None, at);
        let event = asked(event, format!("examinations {scope} {status}"));
        self.commit(Batch::default(), event).await?;
        let prefix = format!("{scope}{BETWEEN}{status}{BETWEEN}");
        let count_max = count_max.clamp(1, EXAMINATIONS_PAGE_MAX);
        // What a client sends back is a part of a key, and no more.
        let mut after = cursor.map(|cursor| format!("{prefix}{cursor}"));
        let mut page = ExaminationPage::default();
        let mut scanned = 0_usize;
        loop {
            let records = self
                .records()
                .list(kind, &prefix, after.as_deref(), count_max)
                .await?;
            let is_last = records.len() < count_max;
            for record in records {
                scanned = scanned.saturating_add(1);
                let id = id_of(&record)?;
                let place = record.key.get(prefix.len()..).map(str::to_owned);
                after = Some(record.key);
                let examination = self.examination_at(id).await?;
                let is_wanted = listed.has(&examination.value);
                if is_wanted && reader.sees(&examination.value, &[], at) {
                    page.examinations.push(examination);
                }
                let is_full = page.examinations.len() == count_max;
                if is_full || scanned == EXAMINATIONS_SCANNED_MAX {
                    page.next = place;
                    return Ok(page);
                }
            }
            if is_last {
                return Ok(page);
            }
        }
    }

    /// Writes down that somebody follows what happens to the examinations of a scope.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing is to be told then.
    pub async fn note_following(
        &self,
        reader: &Reader<'_>,
        scope: &Scope,
        at: Moment,
    ) -> Result<(), RegistryError> {
        self.note_scope(reader, ("progress of examinations", scope), at)
            .await
    }

    async fn note_scope(
        &self,
        reader: &Reader<'_>,
        (what, scope): (&str, &Scope),
        at: Moment,
    ) -> Result<(), RegistryError> {
        let event = agent_event(Act::Queried, reader.agent, None, at);
        let event = asked(event, format!("{what} {}", scope.name()));
        self.commit(Batch::default(), event).await.map(drop)
    }

    /// How many examinations of each status `reader` sees in a scope, up to a bound. The audit
    /// record has which scope was asked for.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn count_examinations(
        &self,
        reader: &Reader<'_>,
        scope: &Scope,
        at: Moment,
    ) -> Result<Vec<StatusCount>, RegistryError> {
        self.note_scope(reader, ("counts of examinations", scope), at)
            .await?;
        let mut counts = Vec::with_capacity(STATUSES.len());
        for status in STATUSES {
            let prefix = format!("{}{BETWEEN}{}{BETWEEN}", scope.name(), status_name(status));
            let wanted = EXAMINATIONS_COUNTED_MAX.saturating_add(1);
            let records = self.records().list(LIST, &prefix, None, wanted).await?;
            let has_more = records.len() > EXAMINATIONS_COUNTED_MAX;
            let mut count = 0_usize;
            for record in records.iter().take(EXAMINATIONS_COUNTED_MAX) {
                let examination = self.examination_at(id_of(record)?).await?;
                if reader.sees(&examination.value, &[], at) {
                    count = count.saturating_add(1);
                }
            }
            counts.push(StatusCount {
                status,
                count,
                has_more,
            });
        }
        Ok(counts)
    }
}
