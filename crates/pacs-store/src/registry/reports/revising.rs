//! A signed report is taken up again, to be amended or added to.

use super::{ReportDraft, State, draft_key, told};
use crate::registry::batch::Batch;
use crate::registry::examinations::{Action, Examination, Random};
use crate::registry::{Moment, Registry, RegistryError, Stored};
use pacs_core::ExaminationId;
use pacs_core::audit::Act;
use pacs_core::examination::progress::Revision;
use pacs_core::examination::{Event, Reason};
use pacs_core::role::Agent;

/// What whoever takes a report up again says.
#[derive(Debug, Clone, Copy)]
pub struct Revising<'a> {
    /// How it is to change.
    pub revision: Revision,
    /// Why.
    pub reason: &'a Reason,
    /// What the examination must be at; `None`: whatever it is at.
    pub expected: Option<State>,
}

impl Registry {
    /// Takes the report that stands up again: `agent` has the examination in work then, and a draft
    /// that says what the report says. The report stands until the next version is signed.
    ///
    /// # Errors
    /// [`Refusal::Transition`](crate::registry::Refusal::Transition), where it is another's report
    /// also; [`RegistryError::NotFound`] for whoever has nothing to do with it, and where nothing
    /// was signed; [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn revise_report(
        &self,
        agent: &Agent,
        id: ExaminationId,
        revising: &Revising<'_>,
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        let _turn = self.turn().await;
        let before = self.examination_of_id(id).await?;
        let what = "examination";
        if agent
            .actors_at(before.value.performing, before.value.work())
            .is_empty()
            || before.value.is_kept_from(agent)
        {
            return Err(RegistryError::NotFound { what });
        }
        let expected = revising.expected;
        if expected.is_some_and(|expected| expected != before.revision) {
            return Err(RegistryError::Changed);
        }
        let versions = self.report_versions(id).await?;
        let standing = versions.last();
        let is_author_or_supervisor = match standing {
            Some(standing) => self.answers_for(agent, &standing.value).await?,
            None => false,
        };
        let event = Event::Revise {
            revision: revising.revision,
            is_author_or_supervisor,
            reason: revising.reason.clone(),
        };
        let action = Action {
            event: event.clone(),
            order: None,
            expected: None,
            random: Random::default(),
        };
        let mut batch = Batch::default();
        let (after, _) = self
            .add_step(&mut batch, agent, &before, (&event, &action), at)
            .await?;
        let standing = standing.ok_or(RegistryError::NotFound { what: "report" })?;
        let key = draft_key(id, &agent.name);
        let kept = self.find::<ReportDraft>(&key).await?;
        // What was written of this version before, and given up, is there again.
        let written = kept.as_ref().map(|kept| &kept.value).filter(|kept| {
            kept.based_on == standing.value.number && kept.revision == Some(revising.revision)
        });
        let text = written.map_or(&standing.value.text, |written| &written.text);
        let draft = ReportDraft {
            text: text.clone(),
            based_on: standing.value.number,
            revision: Some(revising.revision),
            reason: Some(revising.reason.clone()),
            changed_at: at,
        };
        batch.put(&key, &draft, kept.as_ref().map(|kept| kept.revision))?;
        let record = told(Act::ReportAmended, agent, &after, at);
        let states = self.commit(batch, record).await?;
        let state = states.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, state)
    }
}
