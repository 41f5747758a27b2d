//! Which study is of which examination, and those of which nobody knows yet.

mod allocation;
mod corrections;
mod kept;
mod making;
mod state;
mod unjudged;
mod verdicts;

pub(in super::super) use allocation::{By, Moving};
pub use corrections::{Correcting, Correction, CorrectionKind, Undone};
pub use kept::KeptImages;
pub use verdicts::ReceivedStudy;

use super::super::commit::agent_event;
use super::super::document::Document;
use super::super::{Moment, Registry, RegistryError, Stored};
use super::{BETWEEN, newest_first};
use crate::limits::UNMATCHED_PAGE_MAX;
use crate::records::Kind;
use pacs_core::audit::{Act, AuditEvent, StudyTouched};
use pacs_core::examination::Reason;
use pacs_core::examination::reconcile::{QueueReason, Rule};
use pacs_core::role::{Licence, duty::Reconcile};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{DepartmentCode, ExaminationId, OrganisationCode, SopInstanceUid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Studies of an organisation that wait for a person, newest first.
const UNMATCHED: Kind = Kind::new("study-unmatched");

/// In place of the organisation in keys, of studies whose sender nobody knows.
const NOBODY: &str = "-";

/// An order that a person may bind a study to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggested {
    /// Which.
    pub examination: ExaminationId,
    /// Why.
    pub rule: Rule,
    /// How likely, of 100.
    pub score: u8,
}

/// What was decided of a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchState {
    /// It is of this examination.
    Bound {
        /// Which.
        examination: ExaminationId,
        /// By which rule; `None`: a person said so.
        rule: Option<Rule>,
        /// Somebody has to look.
        #[serde(default)]
        flags: Vec<QueueReason>,
    },
    /// A person decides.
    Queued {
        /// Why.
        reason: QueueReason,
        /// Orders that could be meant, the likeliest first.
        #[serde(default)]
        suggestions: Vec<Suggested>,
    },
    /// A person said that it is of no examination here.
    Rejected,
}

/// Series of a study that a person said are of another examination than the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyPart {
    /// Which series.
    pub series: BTreeSet<SeriesUid>,
    /// Of which examination they are.
    pub examination: ExaminationId,
}

/// What is known of whose a study is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StudyMatch {
    /// The study.
    pub study: StudyUid,
    /// The organisation whose device sent it, or to which it was brought; `None`: nobody knows the
    /// sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationCode>,
    /// The department of that device; `None`: nobody knows, or there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<DepartmentCode>,
    /// It was brought on media or from another archive.
    pub is_import: bool,
    /// When its first instance came.
    pub received_at: Moment,
    /// Its first instance.
    pub first_instance: SopInstanceUid,
    /// Instances whose headers say all that its headers say, each different one once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<SopInstanceUid>,
    /// Who sent it: AE titles, and names of clients and tasks; the first one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub senders: Vec<String>,
    /// The archive keeps another version of one of its instances.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_other_version: bool,
    /// All of it is rejected, and not for having been made under another order: nobody has to look
    /// before something of it is in sight again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_out_of_sight: bool,
    /// What was decided.
    pub state: MatchState,
    /// Series that were decided otherwise; no series is in two of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<StudyPart>,
    /// Examinations that a person, or the device, said it is not of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_of: Vec<ExaminationId>,
    /// Nobody needs to look before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postponed_until: Option<Moment>,
    /// When it was decided last.
    pub decided_at: Moment,
    /// Who decided: a person, or the task of the archive.
    pub decided_by: String,
    /// Why, where a person decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The last correction that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correction: Option<String>,
}

impl Document for StudyMatch {
    const KIND: Kind = Kind::new("study-match");
    const NAME: &'static str = "match of a study";
}

impl StudyMatch {
    /// The examination that it is bound to, but for series that were split off.
    #[must_use]
    pub const fn examination(&self) -> Option<ExaminationId> {
        match &self.state {
            MatchState::Bound { examination, .. } => Some(*examination),
            MatchState::Queued { .. } | MatchState::Rejected => None,
        }
    }

    /// The examination that one of its series is bound to: what is shown and sent of its images is
    /// that one's.
    #[must_use]
    pub fn examination_of(&self, series: &SeriesUid) -> Option<ExaminationId> {
        let mut parts = self.parts.iter();
        match parts.find(|part| part.series.contains(series)) {
            Some(part) => Some(part.examination),
            None => self.examination(),
        }
    }

    /// Every examination that it, or a part of it, is bound to.
    #[must_use]
    pub fn examinations(&self) -> BTreeSet<ExaminationId> {
        let parts = self.parts.iter().map(|part| part.examination);
        self.examination().into_iter().chain(parts).collect()
    }

    /// Why it waits for a person: also one that is bound, and has to be looked at.
    #[must_use]
    pub fn waits_for(&self) -> Vec<QueueReason> {
        match &self.state {
            MatchState::Bound { flags, .. } => flags.clone(),
            MatchState::Queued { reason, .. } => vec![*reason],
            MatchState::Rejected => Vec::new(),
        }
    }

    /// Whether whose it is was decided, so that another sender changes nothing of it.
    fn is_settled(&self) -> bool {
        self.correction.is_some() || !self.examinations().is_empty()
    }

    /// Whether it was made under another order than it is bound to: somebody looks at it, in sight
    /// or not.
    fn is_disowned(&self) -> bool {
        match &self.state {
            MatchState::Bound { flags, .. } => flags.contains(&QueueReason::Unbound),
            MatchState::Queued { .. } | MatchState::Rejected => false,
        }
    }

    /// Where it waits for a person.
    pub(in super::super) fn keys(&self) -> BTreeSet<(Kind, String)> {
        let is_seen = !self.is_out_of_sight || self.is_disowned();
        let waits = is_seen && !self.waits_for().is_empty();
        let at = newest_first(self.received_at);
        let (prefix, study) = (prefix_of(self.organisation), self.study.as_str());
        let key = format!("{prefix}{at}{BETWEEN}{study}");
        waits.then_some((UNMATCHED, key)).into_iter().collect()
    }
}

/// What the keys of the queue of an organisation begin with.
fn prefix_of(organisation: Option<OrganisationCode>) -> String {
    match organisation {
        Some(code) => format!("{code}{BETWEEN}"),
        None => format!("{NOBODY}{BETWEEN}"),
    }
}

/// A part of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnmatchedPage {
    /// The studies, newest first.
    pub studies: Vec<Stored<StudyMatch>>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

/// Whether a licence is good for studies of an organisation; those whose sender nobody knows are
/// for those who look after all.
fn covers(licence: &Licence<Reconcile>, organisation: Option<OrganisationCode>) -> bool {
    match organisation {
        Some(organisation) => licence.check(organisation).is_ok(),
        None => licence.organisation().is_none(),
    }
}

impl Registry {
    /// What is known of whose a study is.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], also for those of other organisations, and of examinations that
    /// are restricted to others or other work than the licence is good for.
    pub async fn study_match(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyUid,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let found = self.read::<StudyMatch>(study.as_str()).await?;
        let is_covered = covers(licence, found.value.organisation);
        if !is_covered || self.is_kept_from(licence, &found.value).await? {
            return Err(RegistryError::NotFound {
                what: StudyMatch::NAME,
            });
        }
        Ok(found)
    }

    /// Whether a study, or a part of it, is of an examination that is restricted to others, or is
    /// other work than the licence is good for.
    async fn is_kept_from(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyMatch,
    ) -> Result<bool, RegistryError> {
        for id in study.examinations() {
            let of_it = self.examination_at(id).await?.value;
            let organisation = study.organisation.unwrap_or(of_it.performing);
            let work = if organisation == of_it.performing {
                of_it.work()
            } else {
                of_it.work_elsewhere()
            };
            let is_other = licence.check_over(organisation, work).is_err();
            if is_other || of_it.is_kept_from(licence.agent()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// «Неопознанные снимки» of an organisation, newest first, from where a former part says;
    /// `None`: those whose sender nobody knows, which asks for a licence for all organisations.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn unmatched_studies(
        &self,
        licence: &Licence<Reconcile>,
        organisation: Option<OrganisationCode>,
        cursor: Option<&str>,
        count_max: usize,
    ) -> Result<UnmatchedPage, RegistryError> {
        if !covers(licence, organisation) {
            return Err(RegistryError::NotFound {
                what: StudyMatch::NAME,
            });
        }
        let prefix = prefix_of(organisation);
        // What a client sends back is a part of a key, and no more.
        let after = cursor.map(|cursor| format!("{prefix}{cursor}"));
        let count_max = count_max.clamp(1, UNMATCHED_PAGE_MAX);
        let records = self
            .records()
            .list(UNMATCHED, &prefix, after.as_deref(), count_max)
            .await?;
        let mut page = UnmatchedPage::default();
        if records.len() == count_max {
            let last = records.last().and_then(|last| last.key.get(prefix.len()..));
            page.next = last.map(str::to_owned);
        }
        for record in records {
            let study = String::from_utf8(record.value).unwrap_or_default();
            // One that was decided just now waits no longer.
            if let Some(found) = self.find::<StudyMatch>(&study).await?
                && !self.is_kept_from(licence, &found.value).await?
            {
                page.studies.push(found);
            }
        }
        Ok(page)
    }
}

/// The event of a change of whose a study is.
fn touched(licence: &Licence<Reconcile>, studies: &[&StudyMatch], at: Moment) -> AuditEvent {
    let organisation = studies.first().and_then(|study| study.organisation);
    let mut event = agent_event(Act::ImagesChanged, licence.agent(), organisation, at);
    let touched = studies.iter().map(|study| StudyTouched {
        study: study.study.clone(),
        sop_class: None,
        instances_count: 0,
        instances: Vec::new(),
    });
    event.object.studies = touched.collect();
    event
}
