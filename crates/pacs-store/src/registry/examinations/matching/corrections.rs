//! What people put right: which study, or which series of it, is of which examination.
//!
//! Nothing that is stored of images changes. A correction is one batch: what is decided of the
//! studies, what that makes of the examinations on both sides, the record of who did it and why,
//! and what it was before, by which it can be undone. A signed report is never left without its
//! images: the rules of [`progress`](pacs_core::examination::progress) refuse it.

use super::super::super::batch::Batch;
use super::super::super::document::Document;
use super::super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::super::{BETWEEN, Examination, Random, newest_first};
use super::allocation::{By, Moving};
use super::state::{has_flags, with_news};
use super::{KeptImages, MatchState, StudyMatch, StudyPart, touched};
use crate::limits::{CORRECTIONS_LISTED_MAX, STUDIES_CORRECTED_MAX};
use crate::records::{Kind, Revision};
use pacs_core::examination::Reason;
use pacs_core::examination::reconcile::QueueReason;
use pacs_core::role::{Licence, duty::Reconcile};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{ExaminationId, OrganisationCode, Phi};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Corrections of a study, newest first: its UID, and the key of the correction.
const OF_STUDY: Kind = Kind::new("correction-of-study");

/// Who puts something right, on what ground, and what they know of the images.
#[derive(Debug, Clone, Copy)]
pub struct Correcting<'a> {
    /// Whoever does it may.
    pub licence: &'a Licence<Reconcile>,
    /// The images of the studies that are put right, and of all that are of their examinations:
    /// [`Registry::studies_beside`].
    pub kept: &'a KeptImages,
    /// The state of the study that it is based on; `None`: whatever it is at.
    pub expected: Option<Revision>,
    /// Why.
    pub reason: &'a Reason,
    /// For a new planned Study Instance UID, and to name the correction.
    pub random: Random,
    /// When.
    pub at: Moment,
}

/// What was put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CorrectionKind {
    /// «Привязать»
    Bind,
    /// «Создать назначение из снимка»
    Create,
    /// «Объединить исследования»
    Merge,
    /// «Отложить»
    Postpone,
    /// «Отклонить»: it is of no examination here.
    Reject,
    /// «Разделить»
    Split,
    /// «Отвязать»
    Unbind,
}

/// That a correction was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Who did.
    pub by: String,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Moment,
}

/// A correction, with what was before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// What was done.
    pub kind: CorrectionKind,
    /// The examination that it was done for; of some there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examination: Option<ExaminationId>,
    /// What was decided of the studies before, the one that it was about first.
    pub before: Vec<StudyMatch>,
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: Moment,
    /// It was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<Undone>,
}

impl Document for Correction {
    const KIND: Kind = Kind::new("correction");
    const NAME: &'static str = "correction";
}

impl Correction {
    /// The examination that was made by it.
    fn made(&self) -> Option<ExaminationId> {
        let is_made = self.kind == CorrectionKind::Create;
        self.examination.filter(|_| is_made)
    }
}

/// What somebody has to look at since a study was as it `was`, whatever it was put right to.
fn news_since(was: &StudyMatch, now: &StudyMatch) -> Vec<QueueReason> {
    let version = QueueReason::DuplicateUidDifferentContent;
    let has_version = now.has_other_version && !was.has_other_version;
    let mut news: Vec<QueueReason> = has_version.then_some(version).into_iter().collect();
    if let MatchState::Bound { flags, .. } = &now.state {
        let old = was.waits_for();
        let is_new = |flag: &&QueueReason| !old.contains(flag) && **flag != version;
        news.extend(flags.iter().filter(is_new));
    }
    news
}

/// A correction on its way.
pub(super) struct Draft {
    pub(super) kind: CorrectionKind,
    pub(super) examination: Option<ExaminationId>,
    /// Each study, as it was and as it becomes.
    pub(super) studies: Vec<(Stored<StudyMatch>, StudyMatch)>,
}

impl Registry {
    /// «Привязать»: a study that waits, or has to be looked at, is of this examination.
    ///
    /// # Errors
    /// [`Refusal::Taken`] where it is bound to another; [`Refusal::Transition`];
    /// [`RegistryError::NotFound`] also for what is another organisation's.
    pub async fn bind_study(
        &self,
        how: &Correcting<'_>,
        study: &StudyUid,
        id: ExaminationId,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.correctable(how, study).await?;
        match before.value.examination() {
            Some(bound) if bound == id && !has_flags(&before.value.state) => return Ok(before),
            Some(bound) if bound != id => return Err(Refusal::Taken { what: "study" }.into()),
            _ => {}
        }
        let after = self.bound_to(how, &before.value, id).await?;
        let draft = Draft {
            kind: CorrectionKind::Bind,
            examination: Some(id),
            studies: vec![(before, after)],
        };
        self.correct(how, draft).await
    }

    /// «Отвязать»: a study is not of the examination that it is bound to. It waits again, and
    /// nothing but a person binds it there. Series that were split off stay where they are.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] for one that is not bound; [`Refusal::Transition`], such as where a
    /// signed report stands; [`RegistryError`] otherwise.
    pub async fn unbind_study(
        &self,
        how: &Correcting<'_>,
        study: &StudyUid,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.correctable(how, study).await?;
        let Some(id) = before.value.examination() else {
            return Err(Refusal::Unfit { what: "study" }.into());
        };
        let mut after = before.value.clone();
        after.state = MatchState::Queued {
            reason: QueueReason::Unbound,
            suggestions: Vec::new(),
        };
        if !after.not_of.contains(&id) {
            after.not_of.push(id);
        }
        let draft = Draft {
            kind: CorrectionKind::Unbind,
            examination: Some(id),
            studies: vec![(before, after)],
        };
        self.correct(how, draft).await
    }

    /// «Разделить»: these series of a study are of this examination, whatever the rest is of.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] for series that the study does not have, and where nothing would be left
    /// of it; as [`Registry::unbind_study`] otherwise.
    pub async fn split_study(
        &self,
        how: &Correcting<'_>,
        study: &StudyUid,
        series: &BTreeSet<SeriesUid>,
        id: ExaminationId,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.correctable(how, study).await?;
        self.meant(how, before.value.organisation, id).await?;
        let all = how.kept.series_of(study).ok_or(RegistryError::Changed)?;
        let is_there = |series: &SeriesUid| all.contains_key(series);
        let is_all = all.keys().all(|one| series.contains(one));
        if series.is_empty() || is_all || !series.iter().all(is_there) {
            return Err(Refusal::Unfit { what: "series" }.into());
        }
        let mut after = before.value.clone();
        for part in &mut after.parts {
            part.series.retain(|one| !series.contains(one));
        }
        after.parts.retain(|part| !part.series.is_empty());
        if after.examination() != Some(id) {
            let own = after.parts.iter_mut().find(|part| part.examination == id);
            match own {
                Some(part) => part.series.extend(series.iter().cloned()),
                None => after.parts.push(StudyPart {
                    series: series.clone(),
                    examination: id,
                }),
            }
        }
        let draft = Draft {
            kind: CorrectionKind::Split,
            examination: Some(id),
            studies: vec![(before, after)],
        };
        self.correct(how, draft).await
    }

    /// «Объединить исследования»: all these studies are of one examination, whatever they were of.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] for fewer than two, the same one twice or too many; as
    /// [`Registry::unbind_study`] otherwise.
    pub async fn merge_studies(
        &self,
        how: &Correcting<'_>,
        studies: &[StudyUid],
        id: ExaminationId,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let different: BTreeSet<&StudyUid> = studies.iter().collect();
        let is_count = (2..=STUDIES_CORRECTED_MAX).contains(&studies.len());
        if !is_count || different.len() != studies.len() {
            return Err(Refusal::Unfit { what: "studies" }.into());
        }
        let mut turned = Vec::with_capacity(studies.len());
        for (number, study) in studies.iter().enumerate() {
            let before = match number {
                0 => self.correctable(how, study).await?,
                _ => self.study_match(how.licence, study).await?,
            };
            let mut after = self.bound_to(how, &before.value, id).await?;
            after.parts.clear();
            turned.push((before, after));
        }
        let draft = Draft {
            kind: CorrectionKind::Merge,
            examination: Some(id),
            studies: turned,
        };
        self.correct(how, draft).await
    }

    /// «Отклонить»: a study that waits is of no examination here. What is stored stays.
    ///
    /// # Errors
    /// [`Refusal::Taken`] where it, or a part of it, is bound; [`RegistryError`] otherwise.
    pub async fn reject_study(
        &self,
        how: &Correcting<'_>,
        study: &StudyUid,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.correctable(how, study).await?;
        if !before.value.examinations().is_empty() {
            return Err(Refusal::Taken { what: "study" }.into());
        }
        let mut after = before.value.clone();
        after.state = MatchState::Rejected;
        let draft = Draft {
            kind: CorrectionKind::Reject,
            examination: None,
            studies: vec![(before, after)],
        };
        self.correct(how, draft).await
    }

    /// «Отложить»: nobody needs to look before `until`.
    ///
    /// # Errors
    /// [`Refusal::Unfit`] for a time that is over and for a study that does not wait;
    /// [`RegistryError`] otherwise.
    pub async fn postpone_study(
        &self,
        how: &Correcting<'_>,
        study: &StudyUid,
        until: Moment,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.correctable(how, study).await?;
        if until <= how.at || before.value.waits_for().is_empty() {
            return Err(Refusal::Unfit { what: "time" }.into());
        }
        let mut after = before.value.clone();
        after.postponed_until = Some(until);
        let draft = Draft {
            kind: CorrectionKind::Postpone,
            examination: None,
            studies: vec![(before, after)],
        };
        self.correct(how, draft).await
    }

    /// Takes the last correction of a study back, with all that it did. Of studies that were put
    /// right together all are as they were.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where there is none; [`Refusal::Superseded`] where another of
    /// its studies was put right since; as [`Registry::unbind_study`] otherwise.
    pub async fn undo_correction(
        &self,
        how: &Correcting<'_>,
        study: &StudyUid,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let _turn = self.turn().await;
        let asked = self.correctable(how, study).await?;
        let nothing = RegistryError::NotFound {
            what: Correction::NAME,
        };
        let key = asked.value.correction.clone().ok_or(nothing)?;
        let correction = self.read::<Correction>(&key).await?;
        let mut turned = Vec::new();
        for was in &correction.value.before {
            let now = self.study_match(how.licence, &was.study).await?;
            if now.value.correction.as_deref() != Some(&*key) {
                return Err(Refusal::Superseded.into());
            }
            let mut after = was.clone();
            after.witnesses.clone_from(&now.value.witnesses);
            after.senders.clone_from(&now.value.senders);
            after.has_other_version = now.value.has_other_version;
            after.is_out_of_sight = now.value.is_out_of_sight;
            after.state = with_news(after.state, &news_since(was, &now.value));
            if let Some(made) = correction.value.made()
                && !after.not_of.contains(&made)
            {
                after.not_of.push(made);
            }
            turned.push((now, after));
        }
        turned.sort_by_key(|(now, _)| now.value.study != *study);
        let mut batch = Batch::default();
        let mut undone = correction.value.clone();
        undone.undone = Some(Undone {
            by: how.licence.agent().name.clone(),
            reason: how.reason.clone(),
            at: how.at,
        });
        batch.put(&key, &undone, Some(correction.revision))?;
        let cancelled = undone.made();
        self.turn_over(how, batch, turned, (undone.examination, None, cancelled))
            .await
    }

    /// The corrections of a study, newest first, up to [`CORRECTIONS_LISTED_MAX`].
    ///
    /// # Errors
    /// As [`Registry::study_match`].
    pub async fn corrections_of(
        &self,
        licence: &Licence<Reconcile>,
        study: &StudyUid,
    ) -> Result<Vec<Correction>, RegistryError> {
        self.study_match(licence, study).await?;
        let prefix = format!("{}{BETWEEN}", study.as_str());
        let list = self
            .records()
            .list(OF_STUDY, &prefix, None, CORRECTIONS_LISTED_MAX);
        let mut found = Vec::new();
        for record in list.await? {
            let key = String::from_utf8(record.value).unwrap_or_default();
            found.push(self.read::<Correction>(&key).await?.value);
        }
        Ok(found)
    }

    /// The studies whose images have to be counted before `studies` are put right for
    /// `examinations`: they, and all of the examinations that they come from and go to.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn studies_beside(
        &self,
        studies: &[StudyUid],
        examinations: &[ExaminationId],
    ) -> Result<BTreeSet<StudyUid>, RegistryError> {
        let mut all: BTreeSet<StudyUid> = studies.iter().cloned().collect();
        let mut touched: BTreeSet<ExaminationId> = examinations.iter().copied().collect();
        for study in studies {
            let Some(found) = self.find::<StudyMatch>(study.as_str()).await? else {
                continue;
            };
            touched.extend(found.value.examinations());
            // Taken back, it goes where it came from, with those that came along.
            if let Some(key) = &found.value.correction
                && let Some(correction) = self.find::<Correction>(key).await?
            {
                for was in &correction.value.before {
                    touched.extend(was.examinations());
                    all.insert(was.study.clone());
                    let now = self.find::<StudyMatch>(was.study.as_str()).await?;
                    touched.extend(now.into_iter().flat_map(|now| now.value.examinations()));
                }
            }
        }
        for id in touched {
            if let Some(found) = self.find::<Examination>(&id.to_string()).await? {
                all.extend(found.value.studies);
            }
        }
        Ok(all)
    }

    /// The study, as somebody may put it right who saw it.
    pub(super) async fn correctable(
        &self,
        how: &Correcting<'_>,
        study: &StudyUid,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let found = self.study_match(how.licence, study).await?;
        match how.expected {
            Some(expected) if expected != found.revision => Err(RegistryError::Changed),
            _ => Ok(found),
        }
    }

    /// The examination that images of a study of `organisation` may be bound to: nobody learns of
    /// another organisation's, nor of one that is restricted to others.
    async fn meant(
        &self,
        how: &Correcting<'_>,
        organisation: Option<OrganisationCode>,
        id: ExaminationId,
    ) -> Result<Stored<Examination>, RegistryError> {
        let found = self.examination_at(id).await?;
        let is_own = organisation.is_none_or(|own| own == found.value.performing);
        if is_own && !found.value.is_kept_from(how.licence.agent()) {
            return Ok(found);
        }
        Err(RegistryError::NotFound {
            what: Examination::NAME,
        })
    }

    async fn bound_to(
        &self,
        how: &Correcting<'_>,
        before: &StudyMatch,
        id: ExaminationId,
    ) -> Result<StudyMatch, RegistryError> {
        let examination = self.meant(how, before.organisation, id).await?;
        let performing = examination.value.performing;
        let over = how.licence.check_over(performing, examination.value.work());
        if over.is_err() {
            return Err(RegistryError::NotFound {
                what: Examination::NAME,
            });
        }
        let mut after = before.clone();
        after.organisation = Some(examination.value.performing);
        after.state = MatchState::Bound {
            examination: id,
            rule: None,
            flags: Vec::new(),
        };
        after.not_of.retain(|not| *not != id);
        Ok(after)
    }

    /// Stores a correction with what it makes of the examinations.
    async fn correct(
        &self,
        how: &Correcting<'_>,
        draft: Draft,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        self.correct_with(how, Batch::default(), draft, None).await
    }

    /// The same, with what `batch` has already: `made` is new in it.
    pub(super) async fn correct_with(
        &self,
        how: &Correcting<'_>,
        mut batch: Batch,
        mut draft: Draft,
        made: Option<ExaminationId>,
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let number = u128::from_be_bytes(how.random);
        let key = format!("{}{BETWEEN}{number:032x}", newest_first(how.at));
        let correction = Correction {
            kind: draft.kind,
            examination: draft.examination,
            before: draft
                .studies
                .iter()
                .map(|(before, _)| before.value.clone())
                .collect(),
            by: how.licence.agent().name.clone(),
            reason: how.reason.clone(),
            at: how.at,
            undone: None,
        };
        batch.put(&key, &correction, None)?;
        for (_, after) in &mut draft.studies {
            after.correction = Some(key.clone());
            let place = format!("{}{BETWEEN}{key}", after.study.as_str());
            batch.point(OF_STUDY, &place, &key, None);
        }
        let examination = (draft.examination, made, None);
        self.turn_over(how, batch, draft.studies, examination).await
    }

    /// Stores that each study becomes what stands beside it; gives the first.
    async fn turn_over(
        &self,
        how: &Correcting<'_>,
        mut batch: Batch,
        mut studies: Vec<(Stored<StudyMatch>, StudyMatch)>,
        (examination, made, cancelled): (
            Option<ExaminationId>,
            Option<ExaminationId>,
            Option<ExaminationId>,
        ),
    ) -> Result<Stored<StudyMatch>, RegistryError> {
        let place = batch.changes.len();
        for (number, (before, after)) in studies.iter_mut().enumerate() {
            after.decided_at = how.at;
            how.licence.agent().name.clone_into(&mut after.decided_by);
            after.reason = Some(how.reason.clone());
            let is_postponed_now = after.postponed_until != before.value.postponed_until;
            after.postponed_until = after.postponed_until.filter(|_| is_postponed_now);
            match number {
                0 => batch.main(after.study.as_str(), after, Some(before))?,
                _ => batch.put(after.study.as_str(), after, Some(before.revision))?,
            }
        }
        for (before, after) in &studies {
            let study = after.study.as_str();
            self.reindex(&mut batch, &before.value.keys(), &after.keys(), study)
                .await?;
        }
        let turns: Vec<_> = studies
            .iter()
            .map(|(before, after)| (Some(&before.value), after))
            .collect();
        let moving = Moving {
            by: By {
                agent: how.licence.agent(),
                random: how.random,
                at: how.at,
            },
            kept: how.kept,
            reason: how.reason,
        };
        self.reallocate(&mut batch, &moving, &turns, (made, cancelled))
            .await?;
        let touched_studies: Vec<&StudyMatch> = turns.iter().map(|(_, after)| *after).collect();
        let mut event = touched(how.licence, &touched_studies, how.at);
        event.object.examination = examination;
        if let Some(id) = examination
            && let Some(found) = self.find::<Examination>(&id.to_string()).await?
        {
            event.object.patient = Some(Phi::new(found.value.patient));
        }
        let revisions = self.commit(batch, event).await?;
        let revision = revisions
            .get(place)
            .copied()
            .ok_or(RegistryError::Changed)?;
        let (_, after) = studies.into_iter().next().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }
}
