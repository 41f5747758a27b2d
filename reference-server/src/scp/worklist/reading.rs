//! The steps of one query, read page by page while they are sent.

use super::{Bounds, failed, item};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime};
use pacs_core::device::KeepUntil;
use pacs_core::examination::Status;
use pacs_core::mpps::StepState;
use pacs_core::role::{Licence, duty};
use pacs_core::worklist::{Institution, WorklistQuery};
use pacs_core::{ExaminationId, OrganisationCode, TransferSyntaxUid};
use pacs_net::service::Matches;
use pacs_net::status::FindStatus;
use pacs_store::registry::devices::Device;
use pacs_store::registry::examinations::{Scheduled, ScheduledPage};
use pacs_store::registry::{Registry, RegistryError};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// What a console is told that is not told of everything.
const TOO_MUCH: &str = "there is more: name a day, a modality or a patient";

/// Who asks what, and when.
pub(super) struct Seen {
    pub(super) device: Device,
    pub(super) institution: Institution,
    pub(super) query: WorklistQuery,
    pub(super) syntax: TransferSyntaxUid,
    pub(super) now: NaiveDateTime,
    pub(super) bounds: Bounds,
}

/// The answers, as they come.
pub(super) struct Reading {
    registry: Registry,
    licence: Licence<duty::WorklistQuery>,
    organisation: OrganisationCode,
    seen: Seen,
    from: NaiveDateTime,
    to: NaiveDateTime,
    /// Where the next page begins.
    place: Option<String>,
    ready: VecDeque<Bytes>,
    found_count: usize,
    scanned_count: usize,
    is_read: bool,
    /// There is more than is looked at or told of.
    is_cut: bool,
}

impl Reading {
    pub(super) fn new(
        registry: Registry,
        licence: Licence<duty::WorklistQuery>,
        days: &RangeInclusive<NaiveDate>,
        seen: Seen,
    ) -> Self {
        let first = year_of_four_digits(*days.start()).and_time(NaiveTime::MIN);
        let last = year_of_four_digits(*days.end());
        let last = last.and_hms_opt(23, 59, 59).unwrap_or(first);
        Self {
            organisation: seen.device.organisation,
            registry,
            licence,
            seen,
            from: first,
            to: last,
            place: None,
            ready: VecDeque::new(),
            found_count: 0,
            scanned_count: 0,
            is_read: false,
            is_cut: false,
        }
    }

    /// What is looked at next: that which the query names, else a page of all.
    async fn page(&self) -> Result<ScheduledPage, RegistryError> {
        let span = (self.from, self.to);
        if let Some(subject) = self.seen.query.subject() {
            let found = self.registry.scheduled_examinations_of(
                &self.licence,
                self.organisation,
                subject,
                span,
            );
            return Ok(ScheduledPage {
                examinations: found.await?,
                next: None,
            });
        }
        self.registry
            .scheduled_examinations(
                &self.licence,
                self.organisation,
                span,
                self.place.as_deref(),
                self.seen.bounds.page_count,
            )
            .await
    }

    async fn read_page(&mut self) -> Result<(), RegistryError> {
        let page = self.page().await?;
        for scheduled in page.examinations {
            if self.scanned_count == self.seen.bounds.scanned_max {
                self.cut();
                return Ok(());
            }
            self.scanned_count = self.scanned_count.saturating_add(1);
            let answer = match self.answer(&scheduled).await {
                Ok(answer) => answer,
                // What is wrong with one must not hide all the others.
                Err(error @ (RegistryError::Damaged { .. } | RegistryError::NotFound { .. })) => {
                    let examination = scheduled.examination.value.id;
                    tracing::error!(%examination, %error, "a step of a worklist cannot be read");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(answer) = answer else { continue };
            if self.found_count == self.seen.bounds.steps_max {
                self.cut();
                return Ok(());
            }
            self.found_count = self.found_count.saturating_add(1);
            self.ready.push_back(answer);
        }
        self.is_read = page.next.is_none();
        self.place = page.next;
        Ok(())
    }

    /// Ends where it is, and says so.
    fn cut(&mut self) {
        tracing::warn!(
            calling = %self.seen.device.ae_title, answered = self.found_count,
            looked_at = self.scanned_count,
            "a worklist has more steps than are answered: the query names too little"
        );
        self.is_read = true;
        self.is_cut = true;
    }

    /// The answer for an examination that the device still sees and the query means.
    async fn answer(&self, scheduled: &Scheduled) -> Result<Option<Bytes>, RegistryError> {
        let seen = &self.seen;
        let profile = &seen.device.profile;
        let examination = &scheduled.examination.value;
        let department = examination.order.performing_department.as_ref();
        if !seen.device.serves(department) {
            return Ok(None);
        }
        let mut listing = item::listing(examination);
        let may_have_ended = profile.keep_until == KeepUntil::Completed;
        if may_have_ended && examination.status() == Status::InProgress {
            listing.ended_at = self.ended_at(examination.id).await?;
        }
        if !profile.keep_until.lists(&listing, seen.now) {
            return Ok(None);
        }
        let item = item::item(scheduled, &seen.device, &seen.institution);
        let title = &seen.device.ae_title;
        let Some(answer) = seen.query.answer(&item, profile, title) else {
            return Ok(None);
        };
        match WorklistQuery::write_answer(&answer, profile, &seen.syntax) {
            Ok(written) => Ok(Some(written.into())),
            Err(error) => {
                // What one order says must not hide all the others.
                tracing::error!(%error, examination = %examination.id, "a step cannot be written");
                Ok(None)
            }
        }
    }

    /// When the last step of an examination ended, where none goes on.
    async fn ended_at(&self, id: ExaminationId) -> Result<Option<NaiveDateTime>, RegistryError> {
        let steps = self.registry.steps_of_examination(id).await?;
        let mut ended = None;
        for step in steps {
            if step.value.organisation != self.organisation {
                continue;
            }
            if step.value.step.state() != StepState::Completed {
                return Ok(None);
            }
            ended = ended.max(Some(step.value.changed_at.naive_local()));
        }
        Ok(ended)
    }
}

/// Times have years of four digits.
fn year_of_four_digits(day: NaiveDate) -> NaiveDate {
    let bound = |year, month, day| NaiveDate::from_ymd_opt(year, month, day);
    match day.year() {
        ..=0 => bound(1, 1, 1).unwrap_or(day),
        1..=9999 => day,
        _ => bound(9999, 12, 31).unwrap_or(day),
    }
}

#[async_trait]
impl Matches for Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, FindStatus> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Ok(Some(answer));
            }
            if self.is_cut {
                return Err(FindStatus::OUT_OF_RESOURCES.with_comment(TOO_MUCH));
            }
            if self.is_read {
                return Ok(None);
            }
            self.read_page().await.map_err(|error| failed(&error))?;
        }
    }

    fn has_unsupported_keys(&self) -> bool {
        self.seen.query.has_unsupported_keys()
    }
}
