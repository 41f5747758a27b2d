//! Legal holds: studies of which nothing is erased, whatever a policy or two people say, as long as
//! somebody needs them, such as a court.

use super::batch::Batch;
use super::commit::agent_event;
use super::document::Document;
use super::rejections::{Opened, RejectionId, Turned};
use super::{Moment, Refusal, Registry, RegistryError, Stored};
use crate::records::{Kind, Revision};
use pacs_core::OrganisationCode;
use pacs_core::audit::{Act, AuditEvent, StudyTouched};
use pacs_core::examination::Reason;
use pacs_core::rejection::{may_hold, may_lift_hold};
use pacs_core::role::{Agent, Permission, Unlicensed};
use pacs_core::uid::StudyUid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The hold of a study that stands, by its UID.
const OF_STUDY: Kind = Kind::new("hold-of-study");

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its ID.
    pub id: RejectionId,
    /// Of which study.
    pub study: StudyUid,
    /// Whose it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationCode>,
    /// Why, in words.
    pub reason: Reason,
    /// Who set it.
    pub by: String,
    /// When.
    pub at: Moment,
    /// Who lifted it, when and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Turned>,
}

impl Document for Hold {
    const KIND: Kind = Kind::new("hold");
    const NAME: &'static str = "hold";
}

impl Hold {
    fn keys(&self) -> BTreeSet<(Kind, String)> {
        match self.lifted {
            None => BTreeSet::from([(OF_STUDY, self.study.as_str().to_owned())]),
            Some(_) => BTreeSet::new(),
        }
    }
}

impl Registry {
    /// The hold of a study, where one stands: for the archive's own work.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn hold_of_study(
        &self,
        study: &StudyUid,
    ) -> Result<Option<Stored<Hold>>, RegistryError> {
        match self.pointer(OF_STUDY, study.as_str()).await? {
            None => Ok(None),
            Some(pointer) => self.read::<Hold>(&pointer.to).await.map(Some),
        }
    }

    /// Refuses where a study is held.
    ///
    /// # Errors
    /// [`Refusal::Held`]; [`RegistryError`].
    pub(crate) async fn refuse_held(&self, study: &StudyUid) -> Result<(), RegistryError> {
        match self.hold_of_study(study).await? {
            None => Ok(()),
            Some(_) => Err(Refusal::Held.into()),
        }
    }

    /// Holds a study that is of `organisation`. To be called by `Rejections::hold`, so that nothing
    /// of it is erased meanwhile.
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`]; [`Refusal::Taken`] where it is held; [`RegistryError`].
    pub(crate) async fn place_hold(
        &self,
        agent: &Agent,
        (study, organisation): (&StudyUid, Option<OrganisationCode>),
        reason: &Reason,
        random: [u8; 8],
        at: Moment,
    ) -> Result<Stored<Hold>, RegistryError> {
        if !may_hold(agent, organisation) {
            return Err(unlicensed(Permission::ImageErasePropose));
        }
        let hold = Hold {
            id: RejectionId::new(at, random),
            study: study.clone(),
            organisation,
            reason: reason.clone(),
            by: agent.name.clone(),
            at,
            lifted: None,
        };
        self.put_hold(agent, (None, hold), ("HELD", at)).await
    }

    /// Lifts the hold of a study.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where none stands; [`RegistryError::Unlicensed`];
    /// [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn lift_hold(
        &self,
        agent: &Agent,
        (study, expected): (&StudyUid, Option<Revision>),
        reason: &Reason,
        at: Moment,
    ) -> Result<Stored<Hold>, RegistryError> {
        let before = self.hold(agent, study).await?;
        if !may_lift_hold(agent, before.value.organisation) {
            return Err(unlicensed(Permission::ImageEraseApprove));
        }
        if expected.is_some_and(|expected| expected != before.revision) {
            return Err(RegistryError::Changed);
        }
        let mut after = before.value.clone();
        after.lifted = Some(Turned {
            by: agent.name.clone(),
            at,
            reason: reason.clone(),
        });
        self.put_hold(agent, (Some(&before), after), ("LIFTED", at))
            .await
    }

    /// The hold of a study, for those who may propose or agree to erase it; for others there is
    /// none.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError`] otherwise.
    pub async fn hold(
        &self,
        agent: &Agent,
        study: &StudyUid,
    ) -> Result<Stored<Hold>, RegistryError> {
        let found = self.hold_of_study(study).await?;
        let found = found.filter(|found| may_hold(agent, found.value.organisation));
        found.ok_or(RegistryError::NotFound { what: Hold::NAME })
    }

    /// A hold by its ID, whether or not it stands: for whoever set it just now.
    ///
    /// # Errors
    /// As [`Registry::hold`].
    pub async fn hold_by_id(
        &self,
        agent: &Agent,
        id: &RejectionId,
    ) -> Result<Stored<Hold>, RegistryError> {
        let found = self.read::<Hold>(id.as_str()).await?;
        if may_hold(agent, found.value.organisation) {
            return Ok(found);
        }
        Err(RegistryError::NotFound { what: Hold::NAME })
    }

    /// As [`Registry::hold`]; the audit record has who opened it.
    ///
    /// # Errors
    /// As [`Registry::hold`].
    pub async fn open_hold(
        &self,
        agent: &Agent,
        study: &StudyUid,
        at: Moment,
    ) -> Result<Stored<Hold>, RegistryError> {
        let found = self.hold(agent, study).await?;
        let opened = Opened {
            what: format!("hold {}", found.value.id),
            study,
            organisation: found.value.organisation,
            examination: None,
            patient: None,
        };
        self.note_opened(agent, opened, at).await?;
        Ok(found)
    }

    async fn put_hold(
        &self,
        agent: &Agent,
        (before, after): (Option<&Stored<Hold>>, Hold),
        (word, at): (&str, Moment),
    ) -> Result<Stored<Hold>, RegistryError> {
        let mut batch = Batch::default();
        let id = after.id.as_str();
        batch.main(id, &after, before)?;
        let had = before.map_or_else(BTreeSet::new, |before| before.value.keys());
        self.reindex(&mut batch, &had, &after.keys(), id).await?;
        let event = told(agent, &after, word, at);
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }
}

const fn unlicensed(permission: Permission) -> RegistryError {
    RegistryError::Unlicensed(Unlicensed { permission })
}

fn told(agent: &Agent, hold: &Hold, word: &str, at: Moment) -> AuditEvent {
    let mut event = agent_event(Act::RestrictedFunctionUsed, agent, hold.organisation, at);
    event.object.studies = vec![StudyTouched {
        study: hold.study.clone(),
        sop_class: None,
        instances_count: 0,
        instances: Vec::new(),
    }];
    event.object.setting = Some("legal_hold".to_owned());
    event.reason = Some(word.to_owned());
    event.correlation = Some(hold.id.as_str().to_owned());
    event
}
