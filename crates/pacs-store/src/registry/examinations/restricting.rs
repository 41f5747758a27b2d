//! Examinations that only those see who are named for it: of staff, of people whom everybody knows,
//! of what harms whoever it is told of.

use super::super::accounts::{AccountStore, User};
use super::super::batch::Batch;
use super::super::commit::agent_event;
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::actions::add_event;
use super::{Examination, Reader};
use crate::limits::{EXAMINATION_NAMED_MAX, REGISTRY_ATTEMPTS_MAX};
use crate::records::Revision;
use pacs_core::account::UserName;
use pacs_core::audit::Act;
use pacs_core::examination::{Reason, TransitionError};
use pacs_core::limits::AUDIT_TEXT_CHARS_MAX;
use pacs_core::role::{Agent, AgentKind, Permission, Unlicensed};
use pacs_core::{ExaminationId, Phi};
use std::collections::BTreeSet;

impl Examination {
    /// Whether it is restricted, and this user is not named for it.
    pub(crate) fn is_kept_from(&self, agent: &Agent) -> bool {
        self.is_restricted && agent.kind == AgentKind::User && !self.named.contains(&agent.name)
    }
}

impl Registry {
    /// Says who alone sees an examination: whoever says so, and these; or with `None` that
    /// everybody does who has to do with it. For those who see it and edit orders where it is made.
    /// No tie to the patient shows it to anybody else then, nor does break glass. Where nobody who
    /// is named has an account any more that is in use, whoever edits orders there lets everybody
    /// see it again.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] for those who do not see it; [`RegistryError::Unlicensed`];
    /// [`Refusal::Unfit`] for too many; [`RegistryError::Changed`] where it is not at `expected`;
    /// [`RegistryError`].
    pub async fn restrict_examination(
        &self,
        reader: &Reader<'_>,
        (id, named): (ExaminationId, Option<&BTreeSet<UserName>>),
        (reason, expected): (&Reason, Option<Revision>),
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        if named.is_some_and(|named| named.len() > EXAMINATION_NAMED_MAX) {
            return Err(Refusal::Unfit { what: "named" }.into());
        }
        let _turn = self.turn().await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            let wanted = (id, named, reason);
            match self.restrict_once(reader, wanted, expected, at).await {
                Err(RegistryError::Changed) if expected.is_none() => {}
                other => return other,
            }
        }
        Err(RegistryError::Busy)
    }

    async fn restrict_once(
        &self,
        reader: &Reader<'_>,
        (id, named, reason): (ExaminationId, Option<&BTreeSet<UserName>>, &Reason),
        expected: Option<Revision>,
        at: Moment,
    ) -> Result<Stored<Examination>, RegistryError> {
        let agent = reader.agent;
        let before = match self.examination(reader, id, at).await {
            Err(RegistryError::NotFound { .. }) if named.is_none() => {
                self.left_alone(agent, id).await?
            }
            other => other?,
        };
        let performing = before.value.performing;
        if !edits_orders(agent, &before.value) {
            let permission = Permission::OrderEdit;
            return Err(RegistryError::Unlicensed(Unlicensed { permission }));
        }
        if expected.is_some_and(|expected| expected != before.revision) {
            return Err(RegistryError::Changed);
        }
        let mut after = before.value.clone();
        let own = named.map(|_| agent.name.as_str());
        let others = named.into_iter().flatten().map(UserName::as_str);
        let all: BTreeSet<&str> = others.chain(own).collect();
        after.named = all.into_iter().map(str::to_owned).collect();
        after.is_restricted = named.is_some();
        if after == before.value {
            return Ok(before);
        }
        after.changed_at = at;
        let name = if after.is_restricted {
            "restrict"
        } else {
            "unrestrict"
        };
        let actors = agent.actors_at(performing, before.value.work());
        let actor = actors.first().copied();
        let actor = actor.ok_or_else(|| {
            let actor = pacs_core::examination::Actor::System;
            Refusal::Transition(TransitionError::Actor { actor, event: name })
        })?;
        let mut row = add_event(agent, actor, name, Some(reason.clone()), at);
        row.from = Some(after.status());
        row.to = after.status();
        let said = format!("{} {}", name.to_uppercase(), after.named.join(" "));
        let mut batch = Batch::default();
        let after = self
            .put_examination(&mut batch, Some(&before), after, vec![row])
            .await?;
        let mut record = agent_event(Act::OrderChanged, agent, Some(performing), at);
        record.object.patient = Some(Phi::new(after.patient));
        record.object.examination = Some(id);
        // Of many, as many as fit: the examination has them all.
        record.reason = Some(said.trim().chars().take(AUDIT_TEXT_CHARS_MAX).collect());
        let revisions = self.commit(batch, record).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }

    /// An examination that is restricted to people of whom none can sign in any more, for whoever
    /// edits orders where it is made.
    async fn left_alone(
        &self,
        agent: &Agent,
        id: ExaminationId,
    ) -> Result<Stored<Examination>, RegistryError> {
        let found = self.examination_at(id).await?;
        let accounts = AccountStore::new(self.audit_trail());
        let of_it = &found.value;
        let mut is_left = of_it.is_restricted && edits_orders(agent, of_it);
        for name in &of_it.named {
            let named = accounts.get::<User>(name).await?;
            is_left &= named.is_none_or(|named| named.value.is_disabled);
        }
        if is_left {
            return Ok(found);
        }
        Err(RegistryError::NotFound {
            what: "examination",
        })
    }
}

/// Whether somebody edits all such orders where it is made.
fn edits_orders(agent: &Agent, of: &Examination) -> bool {
    let grants = &agent.grants;
    grants.reach_over(Permission::OrderEdit, of.performing, of.work())
}
