//! Signing: a draft becomes a version.

use super::{Document as _, OWED, ReportDraft, ReportVersion, State, draft_key, told, version_key};
use crate::limits::REPORT_VERSIONS_MAX;
use crate::records::Change;
use crate::registry::batch::Batch;
use crate::registry::examinations::{Action, Examination, MatchState, Random, StudyMatch};
use crate::registry::{Moment, Refusal, Registry, RegistryError, Stored};
use pacs_core::audit::Act;
use pacs_core::examination::Event;
use pacs_core::examination::progress::{Guard, ReportCheck, Revision};
use pacs_core::role::Agent;
use pacs_core::uid::{SeriesUid, text_of_random};
use pacs_core::{ExaminationId, SopInstanceUid};

/// What whoever signs says.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'a> {
    /// The state of the draft that they saw.
    pub draft: State,
    /// What they are called.
    pub author_name: &'a str,
    /// They confirmed patient and examination ID.
    pub is_identity_confirmed: bool,
    /// They saw the images that came late, where some did.
    pub has_seen_late_images: bool,
    /// They proved anew, for this, that it is they.
    pub is_proved: bool,
    /// For the UIDs of the document and of its series.
    pub random: [Random; 2],
}

impl Registry {
    /// Signs what `agent` wrote of an examination that they have in work.
    ///
    /// # Errors
    /// [`Refusal::Transition`] with what is missing or in the way; [`RegistryError::Changed`] where
    /// the draft is another one, or is of an older version; [`Refusal::Unfit`] for an addendum that
    /// adds nothing; [`Refusal::Exhausted`]; [`RegistryError`].
    pub async fn sign_report(
        &self,
        agent: &Agent,
        id: ExaminationId,
        signing: &Signing<'_>,
        at: Moment,
    ) -> Result<Stored<ReportVersion>, RegistryError> {
        let _turn = self.turn().await;
        let held = self.held(agent, id).await?;
        let key = draft_key(id, &agent.name);
        let Some(draft) = self.find::<ReportDraft>(&key).await? else {
            return Err(Refusal::Transition(Guard::Description.into()).into());
        };
        let versions = self.report_versions(id).await?;
        let standing = versions.last().map(|version| &version.value);
        let last = standing.map_or(0, |standing| standing.number);
        if draft.revision != signing.draft || draft.value.based_on != last {
            return Err(RegistryError::Changed);
        }
        if versions.len() >= REPORT_VERSIONS_MAX {
            return Err(Refusal::Exhausted { what: "versions" }.into());
        }
        let (event, action) = self.signed(&held.value, &draft.value, signing).await?;
        let version = version_of(&held.value, &draft.value, standing, signing, (agent, at))?;
        let mut batch = Batch::default();
        let owed = version_key(id, version.number);
        batch.main(&owed, &version, None)?;
        self.add_step(&mut batch, agent, &held, (&event, &action), at)
            .await?;
        let drop = Change::delete(ReportDraft::KIND, &key, draft.revision);
        batch.changes.push(drop);
        batch.point(OWED, &owed, &owed, None);
        let record = told(Act::ReportSigned, agent, &held.value, at);
        let states = self.commit(batch, record).await?;
        let state = states.first().copied().ok_or(RegistryError::Changed)?;
        self.inner.report_signed.notify_one();
        Stored::of(version, state)
    }

    /// The event, with what the registry knows of it.
    async fn signed(
        &self,
        examination: &Examination,
        draft: &ReportDraft,
        signing: &Signing<'_>,
    ) -> Result<(Event, Action), RegistryError> {
        let mut is_resolved = true;
        for study in &examination.studies {
            let found = self.find::<StudyMatch>(study.as_str()).await?;
            is_resolved &= found.is_some_and(|found| match &found.value.state {
                MatchState::Bound { flags, .. } => flags.is_empty(),
                MatchState::Queued { .. } | MatchState::Rejected => false,
            });
        }
        let event = Event::Sign(ReportCheck {
            has_description: !draft.text.description.is_empty(),
            has_conclusion: !draft.text.conclusion.is_empty(),
            is_identity_confirmed: signing.is_identity_confirmed,
            holds_lock: true,
            has_seen_late_images: signing.has_seen_late_images,
            is_resolved,
            is_signature_valid: signing.is_proved,
        });
        let action = Action {
            event: event.clone(),
            order: None,
            expected: None,
            random: Random::default(),
        };
        Ok((event, action))
    }
}

fn version_of(
    examination: &Examination,
    draft: &ReportDraft,
    standing: Option<&ReportVersion>,
    signing: &Signing<'_>,
    (agent, at): (&Agent, Moment),
) -> Result<ReportVersion, Refusal> {
    if draft.revision == Some(Revision::Addendum) {
        let adds = |standing: &ReportVersion| draft.text.addendum != standing.text.addendum;
        if draft.text.addendum.is_empty() || !standing.is_none_or(adds) {
            return Err(Refusal::Unfit { what: "addendum" });
        }
    }
    let study = examination.studies.first();
    let study = study.ok_or(Refusal::Transition(Guard::NoImages.into()))?;
    let [instance, series] = signing.random.map(text_of_random);
    let unfit = |_| Refusal::Unfit { what: "random UID" };
    // Versions are in one series, as long as the images are in one study.
    let of_before = standing.filter(|standing| standing.study == *study);
    let series = match of_before {
        Some(standing) => standing.series.clone(),
        None => SeriesUid::parse(&series).map_err(unfit)?,
    };
    let last = standing.map_or(0, |standing| standing.number);
    Ok(ReportVersion {
        examination: examination.id,
        number: last.saturating_add(1),
        revision: draft.revision,
        reason: draft.reason.clone(),
        text: draft.text.clone(),
        author: agent.name.clone(),
        author_name: signing.author_name.to_owned(),
        signed_at: at,
        study: study.clone(),
        series,
        instance: SopInstanceUid::parse(&instance).map_err(unfit)?,
    })
}
