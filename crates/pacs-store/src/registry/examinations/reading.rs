//! Readings of examinations: what Unified Procedure Steps are of (PS3.4 Annex CC).
//!
//! An examination that waits to be read has a reading that waits; whoever takes it has that reading
//! in work, and it ends with a signed report, or is given up and another one waits. The lock is
//! that of the examination: a reading is the same fact, with its number and with what whoever took
//! it said to know it by.

use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::{Moment, Refusal, Registry, RegistryError};
use super::Examination;
use crate::limits::{READINGS_KEPT_MAX, REGISTRY_ATTEMPTS_MAX};
use chrono::TimeDelta;
use pacs_core::Phi;
use pacs_core::audit::Act;
use pacs_core::examination::Status;
use pacs_core::examination::progress::Guard;
use pacs_core::role::Agent;
use pacs_core::uid::ClaimUid;
use pacs_core::workitem::{State, Task};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whoever took an examination, and with it nothing happens for so long, has it no longer.
pub(crate) const IDLE_FOR: TimeDelta = TimeDelta::minutes(60);

/// Somebody who goes on, and says nothing new, has this noted no oftener.
pub(crate) const GONE_ON_EVERY: TimeDelta = TimeDelta::minutes(1);

/// One reading of an examination.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Which of the examination's readings, from 1 on.
    pub number: u32,
    /// How far it is.
    pub state: State,
    /// When it could be begun.
    pub opened_at: Moment,
    /// The user who took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Moment>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// How far they say they are, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What whoever took it said to know it by; `None`: they took it in the portal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<ClaimUid>,
}

/// Shows whose it is, and not by what that is known.
impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("number", &self.number)
            .field("state", &self.state)
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

impl Reading {
    const fn waiting(number: u32, opened_at: Moment) -> Self {
        Self {
            number,
            state: State::Scheduled,
            opened_at,
            by: None,
            began_at: None,
            ended_at: None,
            percent: None,
            claim: None,
        }
    }

    /// Whether `user` took it, and `claim` is what they said then.
    #[must_use]
    pub fn is_of(&self, user: &str, claim: &ClaimUid) -> bool {
        self.by.as_deref() == Some(user) && self.claim.as_ref() == Some(claim)
    }

    fn begin(&mut self, by: Option<String>, claim: Option<ClaimUid>, at: Moment) {
        self.state = State::InProgress;
        self.by = by;
        self.began_at = Some(at);
        self.claim = claim;
    }

    fn end(&mut self, state: State, at: Moment) {
        self.state = state;
        self.ended_at = Some(at);
    }
}

/// The last readings of an examination, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Readings(Vec<Reading>);

impl Readings {
    /// Whether nothing is kept.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that `number` says; `None` where it is kept no longer, or was never.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<&Reading> {
        self.0.iter().find(|reading| reading.number == number)
    }

    /// The one that stands for the examination: it waits, somebody has it in work, it was
    /// completed last, or was given up last.
    #[must_use]
    pub fn present(&self) -> Option<&Reading> {
        let last = self.0.last();
        let is_canceled = last.is_some_and(|last| last.state == State::Canceled);
        let mut completed = self.0.iter().rev();
        let completed = completed.find(|reading| reading.state == State::Completed);
        completed.filter(|_| is_canceled).or(last)
    }

    /// Whether `user` completed one of them: signed what is to be known of the images.
    #[must_use]
    pub fn has_completed(&self, user: &str) -> bool {
        let mut completed = self.0.iter().filter(|it| it.state == State::Completed);
        completed.any(|reading| reading.by.as_deref() == Some(user))
    }

    /// The number of the last one; 0 where there was none.
    #[must_use]
    pub fn last_number(&self) -> u32 {
        self.0.last().map_or(0, |last| last.number)
    }

    fn open(&mut self, at: Moment) {
        let number = self.last_number().saturating_add(1);
        self.0.push(Reading::waiting(number, at));
        if self.0.len() > READINGS_KEPT_MAX {
            // What was completed last stands for the examination, however often it was opened and
            // given up since.
            let mut completed = self.0.iter().rev();
            let completed = completed.find(|reading| reading.state == State::Completed);
            let is_first = completed.map(|it| it.number) == self.0.first().map(|it| it.number);
            self.0.remove(usize::from(is_first));
        }
    }

    /// The last one, where it has not ended.
    fn unended(&mut self) -> Option<&mut Reading> {
        self.0.last_mut().filter(|last| !last.state.is_final())
    }

    /// Follows an examination that has come to `status`. `by` has it in work, `claim` is what they
    /// say to know it by, and `is_signed` says that a report was just signed.
    pub(super) fn follow(
        &mut self,
        status: Status,
        (by, claim): (Option<&str>, Option<&ClaimUid>),
        is_signed: bool,
        at: Moment,
    ) {
        match status {
            Status::ImagesReceived => {
                if let Some(open) = self.unended().filter(|it| it.state == State::InProgress) {
                    open.end(State::Canceled, at);
                }
                if self.unended().is_none() {
                    self.open(at);
                }
            }
            Status::UnderReview => {
                if self.unended().is_none() {
                    self.open(at);
                }
                if let Some(open) = self.unended().filter(|it| it.state == State::Scheduled) {
                    open.begin(by.map(str::to_owned), claim.cloned(), at);
                }
            }
            Status::Reported | Status::Sent | Status::Delivered => {
                let ends = if is_signed {
                    State::Completed
                } else {
                    State::Canceled
                };
                if let Some(open) = self.unended() {
                    open.end(ends, at);
                }
            }
            Status::Cancelled
            | Status::Discontinued
            | Status::InProgress
            | Status::Registered
            | Status::Rejected
            | Status::Scheduled
            | _ => {
                if let Some(open) = self.unended() {
                    open.end(State::Canceled, at);
                }
            }
        }
    }
}

impl Examination {
    /// Its readings. Of one that was made from images, or before readings were kept, the first is
    /// what its status says.
    #[must_use]
    pub fn readings(&self) -> Readings {
        if !self.readings.is_empty() {
            return self.readings.clone();
        }
        let opened_at = self.received_at.unwrap_or(self.created_at);
        let mut first = Reading::waiting(1, opened_at);
        match self.status() {
            Status::ImagesReceived => {}
            Status::UnderReview => {
                let lock = self.lock.as_ref();
                let since = lock.map_or(self.changed_at, |lock| lock.at);
                let by = lock.map(|lock| lock.by.clone());
                // A report was signed before it was opened once more.
                if self.progress.revision().is_some() {
                    first.end(State::Completed, since);
                    let mut second = Reading::waiting(2, since);
                    second.begin(by, None, since);
                    return Readings(vec![first, second]);
                }
                first.begin(by, None, since);
            }
            Status::Reported | Status::Sent | Status::Delivered => {
                first.end(State::Completed, self.changed_at);
            }
            Status::Cancelled
            | Status::Discontinued
            | Status::InProgress
            | Status::Registered
            | Status::Rejected
            | Status::Scheduled
            | _ => return Readings::default(),
        }
        Readings(vec![first])
    }

    /// The task that a reading of it is.
    #[must_use]
    pub fn task(&self, number: u32) -> Option<Task> {
        Task::new(self.id, self.made_unix_ms(), number)
    }

    /// Whether `task` is a reading of this examination, and not of one of another archive that has
    /// the same ID.
    #[must_use]
    pub fn has_task(&self, task: Task) -> bool {
        task.examination() == self.id && task.made_unix_ms() == self.made_unix_ms()
    }

    fn made_unix_ms(&self) -> u64 {
        u64::try_from(self.created_at.timestamp_millis()).unwrap_or(0)
    }

    /// Until when whoever has it in work has it, where nothing happens with it.
    #[must_use]
    pub fn lock_ends_at(&self) -> Option<Moment> {
        let lock = self.lock.as_ref()?;
        lock.at.max(self.changed_at).checked_add_signed(IDLE_FOR)
    }
}

impl Registry {
    /// Takes note that `agent` goes on with a reading that they have in work, known by `claim`:
    /// they have it for another hour. It is no change of what was ordered, and nothing follows of
    /// it; where it says nothing new, and something happened within the last minute, nothing is
    /// written.
    ///
    /// # Errors
    /// [`Guard::NotHolder`] of [`Refusal::Transition`] where they do not have it in work;
    /// [`RegistryError`] otherwise.
    pub async fn go_on_reading(
        &self,
        agent: &Agent,
        (task, claim): (Task, &ClaimUid),
        percent: Option<u8>,
        at: Moment,
    ) -> Result<(), RegistryError> {
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            match self.go_on_once(agent, (task, claim), percent, at).await {
                Err(RegistryError::Changed) => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    async fn go_on_once(
        &self,
        agent: &Agent,
        (task, claim): (Task, &ClaimUid),
        percent: Option<u8>,
        at: Moment,
    ) -> Result<(), RegistryError> {
        let id = task.examination();
        let before = self.examination_at(id).await?;
        let mut after = before.value.clone();
        let mut readings = after.readings();
        let open = readings.unended().filter(|open| {
            let is_it = open.number == task.number() && open.state == State::InProgress;
            is_it && open.is_of(&agent.name, claim)
        });
        let Some(open) = open.filter(|_| before.value.has_task(task)) else {
            return Err(Refusal::Transition(Guard::NotHolder.into()).into());
        };
        let held_since = after.lock.as_ref().map_or(at, |lock| lock.at);
        let is_recent = at < held_since.max(after.changed_at) + GONE_ON_EVERY;
        let percent = percent.or(open.percent);
        if is_recent && percent == open.percent {
            return Ok(());
        }
        open.percent = percent;
        after.readings = readings;
        after.changed_at = at;
        let mut batch = Batch::default();
        let after = self.put_examination(&mut batch, Some(&before), after, Vec::new());
        let performing = after.await?.performing;
        let mut event = agent_event(Act::ReadingContinued, agent, Some(performing), at);
        event.object.patient = Some(Phi::new(before.value.patient));
        event.object.examination = Some(id);
        self.commit(batch, event).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u32) -> Moment {
        let text = format!("2026-11-26T10:{minute:02}:00+06:00");
        text.parse().unwrap()
    }

    fn claim() -> ClaimUid {
        ClaimUid::parse("2.25.99").unwrap()
    }

    fn states(readings: &Readings) -> Vec<(u32, State)> {
        let all = readings.0.iter();
        all.map(|reading| (reading.number, reading.state)).collect()
    }

    #[test]
    fn a_reading_that_was_given_up_never_waits_again_and_another_one_does() {
        let mut readings = Readings::default();
        let nobody = (None, None);
        readings.follow(Status::InProgress, nobody, false, at(0));
        assert_eq!(readings.present(), None);
        readings.follow(Status::ImagesReceived, nobody, false, at(1));
        readings.follow(Status::ImagesReceived, nobody, false, at(2));
        assert_eq!(states(&readings), [(1, State::Scheduled)], "late images");

        let claim = claim();
        let osmonova = (Some("osmonova"), Some(&claim));
        readings.follow(Status::UnderReview, osmonova, false, at(3));
        readings.follow(Status::UnderReview, nobody, false, at(4));
        let taken = readings.present().unwrap();
        assert!(taken.is_of("osmonova", &claim) && !taken.is_of("asanov", &claim));
        assert!(!taken.is_of("osmonova", &ClaimUid::parse("2.25.98").unwrap()));
        assert!(!format!("{taken:?}").contains("2.25.99"), "nobody is told");

        readings.follow(Status::ImagesReceived, nobody, false, at(5));
        let expected = [(1, State::Canceled), (2, State::Scheduled)];
        assert_eq!(states(&readings), expected);
        assert_eq!(readings.get(1).unwrap().ended_at, Some(at(5)));
        readings.follow(Status::Rejected, nobody, false, at(6));
        assert_eq!(readings.present().unwrap().state, State::Canceled);
    }

    #[test]
    fn a_signed_report_completes_a_reading_and_a_revision_is_one_more() {
        let mut readings = Readings::default();
        let (nobody, asanov) = ((None, None), (Some("asanov"), None));
        readings.follow(Status::ImagesReceived, nobody, false, at(1));
        readings.follow(Status::UnderReview, asanov, false, at(2));
        readings.follow(Status::Reported, nobody, true, at(3));
        readings.follow(Status::Sent, nobody, false, at(4));
        readings.follow(Status::Delivered, nobody, false, at(5));
        assert_eq!(states(&readings), [(1, State::Completed)]);
        readings.follow(Status::UnderReview, asanov, false, at(6));
        let second = readings.present().unwrap();
        assert_eq!((second.number, second.state), (2, State::InProgress));
        // The revision is given up: what was completed stands.
        readings.follow(Status::Delivered, nobody, false, at(7));
        let expected = [(1, State::Completed), (2, State::Canceled)];
        assert_eq!(states(&readings), expected);
        assert_eq!(readings.present().unwrap().number, 1);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let mut readings = Readings::default();
        let times = u32::try_from(READINGS_KEPT_MAX).unwrap() + 3;
        for _ in 0..times {
            readings.follow(Status::ImagesReceived, (None, None), false, at(1));
            readings.follow(Status::UnderReview, (Some("a"), None), false, at(2));
        }
        assert_eq!(readings.0.len(), READINGS_KEPT_MAX);
        assert_eq!(readings.last_number(), times);
        assert_eq!(readings.get(1), None);
    }

    #[test]
    fn what_was_completed_is_kept_however_often_its_revision_is_given_up() {
        let mut readings = Readings::default();
        let (nobody, asanov) = ((None, None), (Some("asanov"), None));
        readings.follow(Status::ImagesReceived, nobody, false, at(1));
        readings.follow(Status::UnderReview, asanov, false, at(2));
        readings.follow(Status::ImagesReceived, nobody, false, at(2));
        readings.follow(Status::UnderReview, asanov, false, at(2));
        readings.follow(Status::Delivered, nobody, true, at(3));
        for _ in 0..READINGS_KEPT_MAX * 2 {
            readings.follow(Status::UnderReview, asanov, false, at(4));
            readings.follow(Status::Delivered, nobody, false, at(5));
        }
        assert_eq!(readings.0.len(), READINGS_KEPT_MAX);
        let present = readings.present().unwrap();
        assert_eq!((present.number, present.state), (2, State::Completed));
    }
}
