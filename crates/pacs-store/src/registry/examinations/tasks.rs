//! Reading tasks of many examinations: one merged list of all that somebody has to do, or those of
//! what they name.

use super::super::patients::Patient;
use super::super::{Moment, Registry, RegistryError, Stored};
use super::candidates::if_readable;
use super::document::{LIST, QUEUE, status_name};
use super::{BETWEEN, Examination, Reader, Reading, newest_first};
use crate::limits::{EXAMINATIONS_OF_PATIENT_MAX, READING_TASKS_LISTED_MAX};
use crate::records::{Kind, Record};
use pacs_core::OrganisationCode;
use pacs_core::examination::Status;
use pacs_core::workitem::State;
use pacs_core::worklist::WorklistSubject;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// An examination with the reading that stands for it, and its patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTask {
    /// The examination.
    pub examination: Stored<Examination>,
    /// Its patient, as they are called now.
    pub patient: Stored<Patient>,
    /// The reading.
    pub reading: Reading,
}

/// What was found of a list of readings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundTasks {
    /// Those that are seen: what somebody has to do first, the most urgent of it first, and of
    /// these what waits longest; then what is done, the newest first.
    pub tasks: Vec<FoundTask>,
    /// There may be more: no more were looked at.
    pub is_cut: bool,
}

/// Whose readings are looked for, and how far they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTasks {
    /// Of examinations that these make.
    pub organisations: Vec<OrganisationCode>,
    /// And of those that are assigned to whoever looks.
    pub has_assigned: bool,
    /// In these states.
    pub states: Vec<State>,
    /// Of this examination or patient alone, which is then looked up.
    pub subject: Option<WorklistSubject>,
    /// How many examinations may be looked at; each reading of a list counts as one. Nothing is
    /// found where it is less than twice the organisations.
    pub scanned_max: usize,
}

impl WantedTasks {
    fn has(&self, reader: &Reader<'_>, examination: &Examination) -> bool {
        let is_assigned = examination.assigned_to.as_deref() == Some(&*reader.agent.name);
        let is_listed = self.organisations.contains(&examination.performing)
            || (self.has_assigned && is_assigned);
        let part = Part::of(examination.status());
        is_listed && part.is_some_and(|part| self.states.contains(&part.state))
    }

    fn scopes(&self, reader: &Reader<'_>) -> Vec<String> {
        let mut scopes: Vec<String> = Vec::with_capacity(self.organisations.len());
        let performing = self.organisations.iter();
        scopes.extend(performing.map(|of| format!("performing/{of}")));
        if self.has_assigned {
            scopes.push(format!("assigned/{}", reader.agent.name));
        }
        scopes
    }
}

/// A part of the lists of a scope.
#[derive(Debug, Clone, Copy)]
struct Part {
    state: State,
    status: Status,
    kind: Kind,
}

/// Those that there are, in the order in which they are looked at.
const PARTS: [Part; 6] = [
    Part::new(State::Scheduled, Status::ImagesReceived, QUEUE),
    Part::new(State::InProgress, Status::UnderReview, QUEUE),
    Part::new(State::Completed, Status::Reported, LIST),
    Part::new(State::Completed, Status::Sent, LIST),
    Part::new(State::Completed, Status::Delivered, LIST),
    Part::new(State::Canceled, Status::Rejected, LIST),
];

impl Part {
    const fn new(state: State, status: Status, kind: Kind) -> Self {
        Self {
            state,
            status,
            kind,
        }
    }

    fn of(status: Status) -> Option<Self> {
        PARTS.into_iter().find(|part| part.status == status)
    }

    /// What comes sooner has less.
    fn place(examination: &Examination) -> (usize, String, pacs_core::ExaminationId) {
        let status = examination.status();
        let number = PARTS.iter().position(|part| part.status == status);
        let is_queued = Self::of(status).is_some_and(|part| part.kind == QUEUE);
        let place = if is_queued {
            examination.place_in_queue()
        } else {
            newest_first(examination.created_at)
        };
        (number.unwrap_or(PARTS.len()), place, examination.id)
    }
}

/// What a search may still cost: each call of a list, and each record that it gives.
struct Budget(usize);

impl Budget {
    /// Of what is left, how much of each of so many lists is looked at in one go; `None` where
    /// there is not enough left to look at all of them.
    fn page(&self, lists: usize) -> Option<usize> {
        // A half for the calls and the first records of each, the other for what comes first.
        let half = self.0.checked_div(lists.saturating_mul(2))?;
        (half > 0).then(|| half.min(READING_TASKS_LISTED_MAX))
    }
}

/// The list of one scope, as far as it was read.
struct Run {
    prefix: String,
    records: VecDeque<Record>,
    after: Option<String>,
    is_over: bool,
}

impl Run {
    fn new(prefix: String) -> Self {
        Self {
            prefix,
            records: VecDeque::new(),
            after: None,
            is_over: false,
        }
    }

    /// Where the next record stands; the same in all lists of a part. What comes sooner has less.
    fn place(&self) -> Option<String> {
        let next = self.records.front()?;
        next.key.get(self.prefix.len()..).map(str::to_owned)
    }
}

impl Registry {
    /// The readings that stand for examinations that `reader` sees. Where there is more than one
    /// search may look at, that is what comes first of all of it, whoever makes it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn reading_tasks(
        &self,
        reader: &Reader<'_>,
        wanted: &WantedTasks,
        at: Moment,
    ) -> Result<FoundTasks, RegistryError> {
        if let Some(subject) = wanted.subject {
            return self.reading_tasks_of(reader, (wanted, subject), at).await;
        }
        let scopes = wanted.scopes(reader);
        let mut found = FoundTasks::default();
        let mut budget = Budget(wanted.scanned_max);
        for part in PARTS {
            if !wanted.states.contains(&part.state) || found.is_cut {
                continue;
            }
            let records;
            (records, found.is_cut) = self.merged(part, &scopes, &mut budget).await?;
            for record in records {
                if let Some(examination) = self.readable(&record).await? {
                    let task = self.seen_task(reader, examination, at).await?;
                    found.tasks.extend(task);
                }
            }
        }
        Ok(found)
    }

    /// Those of an examination or patient that is named.
    async fn reading_tasks_of(
        &self,
        reader: &Reader<'_>,
        (wanted, subject): (&WantedTasks, WorklistSubject),
        at: Moment,
    ) -> Result<FoundTasks, RegistryError> {
        let named = self.examinations_named(subject).await?;
        let mut found = FoundTasks {
            tasks: Vec::new(),
            is_cut: named.len() >= EXAMINATIONS_OF_PATIENT_MAX,
        };
        for examination in named {
            if wanted.has(reader, &examination.value) {
                let task = self.seen_task(reader, examination, at).await?;
                found.tasks.extend(task);
            }
        }
        let place = |found: &FoundTask| Part::place(&found.examination.value);
        found.tasks.sort_by_cached_key(place);
        Ok(found)
    }

    /// A part of the lists of all scopes as one, and whether there may be more of it.
    async fn merged(
        &self,
        part: Part,
        scopes: &[String],
        budget: &mut Budget,
    ) -> Result<(Vec<Record>, bool), RegistryError> {
        let mut merged: Vec<Record> = Vec::new();
        let Some(page) = budget.page(scopes.len()) else {
            return Ok((merged, !scopes.is_empty()));
        };
        let status = status_name(part.status);
        let prefix = |scope| format!("{scope}{BETWEEN}{status}{BETWEEN}");
        let mut runs: Vec<Run> = scopes.iter().map(prefix).map(Run::new).collect();
        let mut next: BinaryHeap<Reverse<(String, usize)>> = BinaryHeap::new();
        for (number, run) in runs.iter_mut().enumerate() {
            self.read_on(run, (part.kind, page), budget).await?;
            next.extend(run.place().map(|place| Reverse((place, number))));
        }
        let mut last = None;
        while let Some(Reverse((place, number))) = next.pop() {
            let Some(run) = runs.get_mut(number) else {
                continue;
            };
            // An examination that stands in two of them comes twice in a row.
            let record = run.records.pop_front();
            merged.extend(record.filter(|_| last.as_ref() != Some(&place)));
            last = Some(place);
            if run.records.is_empty() && !run.is_over {
                if budget.0 <= 1 {
                    // What this one has next may come before all that is left of the others.
                    return Ok((merged, true));
                }
                self.read_on(run, (part.kind, page), budget).await?;
            }
            next.extend(run.place().map(|place| Reverse((place, number))));
        }
        Ok((merged, false))
    }

    async fn read_on(
        &self,
        run: &mut Run,
        (kind, page): (Kind, usize),
        budget: &mut Budget,
    ) -> Result<(), RegistryError> {
        budget.0 = budget.0.saturating_sub(1);
        let wanted = page.min(budget.0);
        let records = self
            .records()
            .list(kind, &run.prefix, run.after.as_deref(), wanted)
            .await?;
        budget.0 = budget.0.saturating_sub(records.len());
        run.is_over = records.len() < wanted;
        run.after = records.last().map(|last| last.key.clone());
        run.records = records.into();
        Ok(())
    }

    async fn seen_task(
        &self,
        reader: &Reader<'_>,
        examination: Stored<Examination>,
        at: Moment,
    ) -> Result<Option<FoundTask>, RegistryError> {
        if !reader.sees(&examination.value, &[], at) {
            return Ok(None);
        }
        let readings = examination.value.readings();
        let Some(reading) = readings.present().cloned() else {
            return Ok(None);
        };
        let patient = if_readable(self.survivor(examination.value.patient).await)?;
        Ok(patient.map(|patient| FoundTask {
            examination,
            patient,
            reading,
        }))
    }
}
