//! Who is to read an examination, as it is kept.

use super::super::accounts::{AccountStore, User};
use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::Examination;
use super::actions::add_event;
use crate::limits::REGISTRY_ATTEMPTS_MAX;
use crate::records::Revision;
use pacs_core::audit::Act;
use pacs_core::examination::TransitionError;
use pacs_core::examination::assignment::{Assignment, Person};
use pacs_core::examination::progress::Guard;
use pacs_core::role::Agent;
use pacs_core::{ExaminationId, Phi};

impl Examination {
    /// It, as far as it matters who reads it.
    fn assignment(&self) -> Assignment<'_> {
        Assignment {
            status: self.status(),
            performing: self.performing,
            work: self.work(),
            assigned_to: self.assigned_to.as_deref(),
        }
    }
}

impl Registry {
    /// It, as far as it matters who reads it: whoever it was for and who is disabled, or does not
    /// read there any more, keeps nobody from it.
    pub(super) async fn assignment<'a>(
        &self,
        of: &'a Examination,
    ) -> Result<Assignment<'a>, RegistryError> {
        let assignment = of.assignment();
        let Some(name) = assignment.assigned_to else {
            return Ok(assignment);
        };
        let accounts = AccountStore::new(self.audit_trail());
        let found = accounts.get::<User>(name).await?.map(|found| found.value);
        let assignee = found.as_ref().filter(|user| !user.is_disabled);
        Ok(assignment.holding(assignee.map(|user| Person {
            name: user.name.as_str(),
            grants: &user.grants,
        })))
    }

    /// Says who is to read an examination, or that nobody in particular is.
    ///
    /// # Errors
    /// [`Refusal::Transition`] for whoever may not say so, and where it is in work or over;
    /// [`Refusal::Unfit`] for a reader who does not read there; [`RegistryError::NotFound`] for
    /// those without a role at the organisation that makes it, and where it is restricted to
    /// others; [`RegistryError::Changed`] where it is not at `expected`; [`RegistryError`].
    pub async fn assign_examination(
        &self,
        agent: &Agent,
        (id, to): (ExaminationId, Option<Person<'_>>),
        expected: Option<Revision>,
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            match self.assign_once(agent, (id, to), expected, at).await {
                Err(RegistryError::Changed) if expected.is_none() => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    async fn assign_once(
        &self,
        agent: &Agent,
        (id, to): (ExaminationId, Option<Person<'_>>),
        expected: Option<Revision>,
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        let before = self.examination_at(id).await?;
        let actors = agent.actors_at(before.value.performing, before.value.work());
        if actors.is_empty() || before.value.is_kept_from(agent) {
            return Err(RegistryError::NotFound {
                what: "examination",
            });
        }
        if expected.is_some_and(|expected| expected != before.revision) {
            return Err(RegistryError::Changed);
        }
        let by = Person {
            name: &agent.name,
            grants: &agent.grants,
        };
        let assignment = self.assignment(&before.value).await?;
        let actor = match assignment.change(by, &actors, to) {
            Ok(actor) => actor,
            Err(TransitionError::Guard(Guard::MayNotRead)) => {
                return Err(Refusal::Unfit { what: "reader" }.into());
            }
            Err(error) => return Err(Refusal::Transition(error).into()),
        };
        let to = to.map(|to| to.name.to_owned());
        if before.value.assigned_to == to {
            return Ok(before);
        }
        let mut after = before.value.clone();
        after.changed_at = at;
        // Whom it was for, or is for, is in the audit trail.
        let (name, whom) = match &to {
            Some(to) => ("assign", to.clone()),
            None => (
                "unassign",
                before.value.assigned_to.clone().unwrap_or_default(),
            ),
        };
        after.assigned_to = to;
        let mut row = add_event(agent, actor, name, None, at);
        row.from = Some(after.status());
        row.to = after.status();
        let mut batch = Batch::default();
        let after = self
            .put_examination(&mut batch, Some(&before), after, vec![row])
            .await?;
        let mut record = agent_event(Act::OrderChanged, agent, Some(after.performing), at);
        record.object.patient = Some(Phi::new(after.patient));
        record.object.examination = Some(id);
        record.reason = Some(format!("{} {whom}", name.to_uppercase()));
        let revisions = self.commit(batch, record).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }
}
