//! What is to be erased for good: proposed by one person, agreed to by another, and final after a
//! while.
//!
//! What is erased is out of sight before, and stays in the packs until it is final. Then nobody
//! brings it back, the archive destroys it (`Archive::erase`), and its document stays as a
//! tombstone, which says when its bytes were gone.

use super::batch::Batch;
use super::commit::agent_event;
use super::document::Document;
use super::examinations::StudyMatch;
use super::rejections::{Opened, RejectionId, Turned};
use super::{Moment, Refusal, Registry, RegistryError, Stored};
use crate::limits::{ERASURES_OPEN_MAX, RETENTION_RULES_MAX};
use crate::records::{Kind, Revision};
use chrono::TimeDelta;
use pacs_core::audit::{Act, AuditEvent, StudyTouched};
use pacs_core::examination::Reason;
use pacs_core::rejection::{may_agree_to_erasing, may_propose_erasing};
use pacs_core::retention::RetentionPolicy;
use pacs_core::role::{Agent, Licence, Permission, Unlicensed, duty::OrganisationsManage};
use pacs_core::uid::StudyUid;
use pacs_core::{OrganisationCode, role::may_approve_erasing};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Erasures that are neither final nor given up.
const OPEN: Kind = Kind::new("erasure-open");
/// Erasures that are final, as long as the bytes are not known to be gone.
const UNDONE: Kind = Kind::new("erasure-undone");
/// The erasure of a study, by its UID.
const OF_STUDY: Kind = Kind::new("erasure-of-study");
/// There is one policy.
const POLICY_KEY: &str = "policy";

/// The policy as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptPolicy {
    policy: RetentionPolicy,
}

impl Document for KeptPolicy {
    const KIND: Kind = Kind::new("retention");
    const NAME: &'static str = "retention policy";
}

/// Why something may be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// All of it is rejected.
    Rejected,
    /// Its term is over, as the policy has it.
    TermOver,
}

/// Where an erasure stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// Another person agreed; it is final from a time on.
    Agreed {
        /// Who.
        by: String,
        /// When.
        at: Moment,
        /// It is not final before.
        not_before: Moment,
    },
    /// Nobody brings it back any more.
    Final {
        /// Who agreed.
        by: String,
        /// Since when.
        at: Moment,
        /// When the archive had destroyed its bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destroyed_at: Option<Moment>,
    },
    /// Somebody gave it up.
    GivenUp(Turned),
    /// It waits for another person.
    Proposed,
}

/// An erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Its ID.
    pub id: RejectionId,
    /// Of which study.
    pub study: StudyUid,
    /// Whose it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organisation: Option<OrganisationCode>,
    /// Why it may be.
    pub ground: Ground,
    /// Why it is to be, in words.
    pub reason: Reason,
    /// Who proposed it.
    pub by: String,
    /// When.
    pub at: Moment,
    /// When an erasure before it had destroyed what there was of the study then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed_before: Option<Moment>,
    /// Where it stands.
    pub state: ErasureState,
}

impl Document for Erasure {
    const KIND: Kind = Kind::new("erasure");
    const NAME: &'static str = "erasure";
}

impl Erasure {
    /// When all that there was of the study by then had been destroyed, by this or before it.
    #[must_use]
    pub fn destroyed_until(&self) -> Option<Moment> {
        if let ErasureState::Final { destroyed_at, .. } = self.state {
            return destroyed_at.or(self.destroyed_before);
        }
        self.destroyed_before
    }

    /// Whether what was rejected at a time cannot be brought back any more. The same may be sent
    /// again after it was destroyed, and rejected anew.
    #[must_use]
    pub fn covers(&self, rejected_at: Moment) -> bool {
        let is_to_go = matches!(
            self.state,
            ErasureState::Final {
                destroyed_at: None,
                ..
            }
        );
        is_to_go
            || self
                .destroyed_until()
                .is_some_and(|until| rejected_at <= until)
    }

    /// Whether nothing is left to do for it.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(
            self.state,
            ErasureState::GivenUp(_)
                | ErasureState::Final {
                    destroyed_at: Some(_),
                    ..
                }
        )
    }

    fn keys(&self) -> BTreeSet<(Kind, String)> {
        let id = self.id.as_str().to_owned();
        let of_study = (OF_STUDY, self.study.as_str().to_owned());
        match self.state {
            ErasureState::Agreed { .. } | ErasureState::Proposed => {
                BTreeSet::from([(OPEN, id), of_study])
            }
            ErasureState::Final {
                destroyed_at: None, ..
            } => BTreeSet::from([(UNDONE, id), of_study]),
            ErasureState::Final { .. } => BTreeSet::from([of_study]),
            // What was destroyed before must stay known.
            ErasureState::GivenUp(_) if self.destroyed_before.is_some() => {
                BTreeSet::from([of_study])
            }
            ErasureState::GivenUp(_) => BTreeSet::new(),
        }
    }
}

impl Registry {
    /// For how long images are kept.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn retention(&self) -> Result<(RetentionPolicy, Option<Revision>), RegistryError> {
        let found = self.find::<KeptPolicy>(POLICY_KEY).await?;
        Ok(found.map_or_else(Default::default, |found| {
            (found.value.policy, Some(found.revision))
        }))
    }

    /// Says for how long images are kept from now on.
    ///
    /// # Errors
    /// [`Refusal::Unfit`]; [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn set_retention(
        &self,
        licence: &Licence<OrganisationsManage>,
        policy: &RetentionPolicy,
        expected: Option<Revision>,
        at: Moment,
    ) -> Result<Revision, RegistryError> {
        if !policy.is_fit(RETENTION_RULES_MAX) {
            return Err(Refusal::Unfit { what: "policy" }.into());
        }
        let before = self.find::<KeptPolicy>(POLICY_KEY).await?;
        if before.as_ref().map(|before| before.revision) != expected {
            return Err(RegistryError::Changed);
        }
        let mut batch = Batch::default();
        let kept = KeptPolicy {
            policy: policy.clone(),
        };
        batch.main(POLICY_KEY, &kept, before.as_ref())?;
        let mut event = agent_event(Act::SecurityConfigured, licence.agent(), None, at);
        event.object.setting = Some("retention".to_owned());
        let revisions = self.commit(batch, event).await?;
        revisions.first().copied().ok_or(RegistryError::Changed)
    }

    /// Proposes to erase a study, which is out of sight or whose term is over.
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`]; [`Refusal::Held`]; [`Refusal::Taken`] where it is proposed or
    /// about to be destroyed; [`RegistryError`].
    pub async fn propose_erasure(
        &self,
        agent: &Agent,
        (study, ground): (&StudyUid, Ground),
        reason: &Reason,
        random: [u8; 8],
        at: Moment,
    ) -> Result<Stored<Erasure>, RegistryError> {
        let matched = self.find::<StudyMatch>(study.as_str()).await?;
        let organisation = matched.and_then(|found| found.value.organisation);
        if !may_propose_erasing(agent, organisation) {
            return Err(unlicensed(Permission::ImageErasePropose));
        }
        self.refuse_held(study).await?;
        let open = self
            .records()
            .list(OPEN, "", None, ERASURES_OPEN_MAX)
            .await?;
        if open.len() >= ERASURES_OPEN_MAX {
            return Err(Refusal::Exhausted { what: "erasures" }.into());
        }
        // What was destroyed may have been sent again: that is erased like any other.
        let earlier = match self.pointer(OF_STUDY, study.as_str()).await? {
            None => None,
            Some(pointer) => {
                let earlier = self.read::<Erasure>(&pointer.to).await?.value;
                earlier.is_done().then_some((earlier, pointer.revision))
            }
        };
        let erasure = Erasure {
            id: RejectionId::new(at, random),
            study: study.clone(),
            organisation,
            ground,
            reason: reason.clone(),
            by: agent.name.clone(),
            at,
            destroyed_before: earlier.as_ref().and_then(|(of, _)| of.destroyed_until()),
            state: ErasureState::Proposed,
        };
        let mut batch = Batch::default();
        let id = erasure.id.as_str();
        batch.main(id, &erasure, None)?;
        let mut has = erasure.keys();
        if let Some((_, revision)) = earlier {
            batch.point(OF_STUDY, study.as_str(), id, Some(revision));
            has.remove(&(OF_STUDY, study.as_str().to_owned()));
        }
        self.reindex(&mut batch, &BTreeSet::new(), &has, id).await?;
        let event = told(Act::RestrictedFunctionUsed, agent, &erasure, "PROPOSED", at);
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(erasure, revision)
    }

    /// Agrees to what another person proposed: it is final after the days of the policy.
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`] for the proposer, and for whoever may not; [`Refusal::Held`];
    /// [`Refusal::TooLate`]; [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn agree_to_erasure(
        &self,
        agent: &Agent,
        (id, expected): (&RejectionId, Option<Revision>),
        at: Moment,
    ) -> Result<Stored<Erasure>, RegistryError> {
        let before = self.erasure_at(agent, id, expected).await?;
        let erasure = &before.value;
        let is_another = erasure.organisation.is_none_or(|organisation| {
            may_approve_erasing(&erasure.by, &agent.name, &agent.grants, organisation)
        });
        let may = may_agree_to_erasing(agent, erasure.organisation);
        if !may || !is_another || erasure.by == agent.name {
            return Err(unlicensed(Permission::ImageEraseApprove));
        }
        if before.value.state != ErasureState::Proposed {
            return Err(Refusal::TooLate.into());
        }
        self.refuse_held(&erasure.study).await?;
        let (policy, _) = self.retention().await?;
        let wait = TimeDelta::days(i64::from(policy.waiting_days));
        let state = ErasureState::Agreed {
            by: agent.name.clone(),
            at,
            not_before: at.checked_add_signed(wait).unwrap_or(at),
        };
        self.turn_erasure(agent, &before, state, ("AGREED", at))
            .await
    }

    /// Gives up an erasure that is not final.
    ///
    /// # Errors
    /// [`RegistryError::Unlicensed`] for whoever may neither propose nor agree;
    /// [`Refusal::TooLate`]; [`RegistryError::Changed`]; [`RegistryError`].
    pub async fn give_up_erasure(
        &self,
        agent: &Agent,
        (id, expected): (&RejectionId, Option<Revision>),
        reason: &Reason,
        at: Moment,
    ) -> Result<Stored<Erasure>, RegistryError> {
        let before = self.erasure_at(agent, id, expected).await?;
        let is_open = matches!(
            before.value.state,
            ErasureState::Agreed { .. } | ErasureState::Proposed
        );
        if !is_open {
            return Err(Refusal::TooLate.into());
        }
        let state = ErasureState::GivenUp(Turned {
            by: agent.name.clone(),
            at,
            reason: reason.clone(),
        });
        self.turn_erasure(agent, &before, state, ("GIVEN_UP", at))
            .await
    }

    /// Makes what was agreed to final, where its time has come: for the archive's own work, which
    /// sees that it is out of sight.
    ///
    /// # Errors
    /// [`Refusal::TooLate`] for one that is not agreed to, or whose time has not come;
    /// [`RegistryError`].
    pub async fn finish_erasure(
        &self,
        before: &Stored<Erasure>,
        at: Moment,
    ) -> Result<Stored<Erasure>, RegistryError> {
        let ErasureState::Agreed { by, not_before, .. } = &before.value.state else {
            return Err(Refusal::TooLate.into());
        };
        if at < *not_before {
            return Err(Refusal::TooLate.into());
        }
        let state = ErasureState::Final {
            by: by.clone(),
            at,
            destroyed_at: None,
        };
        let system = Agent::system("erasing");
        self.turn_erasure(&system, before, state, ("FINAL", at))
            .await
    }

    /// Says that the bytes of what is final are gone: for the archive's own work.
    ///
    /// # Errors
    /// [`Refusal::TooLate`] for one that is not final, or of which that is said; [`RegistryError`].
    pub async fn note_destroyed(
        &self,
        before: &Stored<Erasure>,
        now: Moment,
    ) -> Result<Stored<Erasure>, RegistryError> {
        let ErasureState::Final {
            by,
            at,
            destroyed_at: None,
        } = &before.value.state
        else {
            return Err(Refusal::TooLate.into());
        };
        let state = ErasureState::Final {
            by: by.clone(),
            at: *at,
            destroyed_at: Some(now),
        };
        let system = Agent::system("erasing");
        self.turn_erasure(&system, before, state, ("DESTROYED", now))
            .await
    }

    /// Erasures that are final, and whose bytes are not known to be gone; oldest first, up to
    /// `ERASURES_OPEN_MAX` of them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn undone_erasures(&self) -> Result<Vec<Stored<Erasure>>, RegistryError> {
        let records = self.records();
        let undone = records.list(UNDONE, "", None, ERASURES_OPEN_MAX).await?;
        let mut found = Vec::new();
        for record in undone {
            found.push(self.read::<Erasure>(&record.key).await?);
        }
        Ok(found)
    }

    async fn turn_erasure(
        &self,
        agent: &Agent,
        before: &Stored<Erasure>,
        state: ErasureState,
        (word, at): (&str, Moment),
    ) -> Result<Stored<Erasure>, RegistryError> {
        let mut after = before.value.clone();
        after.state = state;
        let is_final = matches!(after.state, ErasureState::Final { .. });
        let act = if is_final {
            Act::StudyErased
        } else {
            Act::RestrictedFunctionUsed
        };
        let mut batch = Batch::default();
        let id = after.id.as_str();
        batch.main(id, &after, Some(before))?;
        self.reindex(&mut batch, &before.value.keys(), &after.keys(), id)
            .await?;
        let event = told(act, agent, &after, word, at);
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(after, revision)
    }

    async fn erasure_at(
        &self,
        agent: &Agent,
        id: &RejectionId,
        expected: Option<Revision>,
    ) -> Result<Stored<Erasure>, RegistryError> {
        let found = self.erasure(agent, id).await?;
        if expected.is_some_and(|expected| expected != found.revision) {
            return Err(RegistryError::Changed);
        }
        Ok(found)
    }

    /// An erasure, for whoever may propose or agree; for others it is not there.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError`] otherwise.
    pub async fn erasure(
        &self,
        agent: &Agent,
        id: &RejectionId,
    ) -> Result<Stored<Erasure>, RegistryError> {
        let found = self.read::<Erasure>(id.as_str()).await?;
        if sees(agent, &found.value) {
            return Ok(found);
        }
        Err(RegistryError::NotFound {
            what: Erasure::NAME,
        })
    }

    /// The same; the audit record has who opened it.
    ///
    /// # Errors
    /// As [`Registry::erasure`].
    pub async fn open_erasure(
        &self,
        agent: &Agent,
        id: &RejectionId,
        at: Moment,
    ) -> Result<Stored<Erasure>, RegistryError> {
        let found = self.erasure(agent, id).await?;
        let opened = Opened {
            what: format!("erasure {id}"),
            study: &found.value.study,
            organisation: found.value.organisation,
            examination: None,
            patient: None,
        };
        self.note_opened(agent, opened, at).await?;
        Ok(found)
    }

    /// Erasures that wait, oldest first, as far as `agent` may see them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn open_erasures(
        &self,
        agent: &Agent,
    ) -> Result<Vec<Stored<Erasure>>, RegistryError> {
        let records = self
            .records()
            .list(OPEN, "", None, ERASURES_OPEN_MAX)
            .await?;
        let mut found = Vec::new();
        for record in records {
            let erasure = self.read::<Erasure>(&record.key).await?;
            if sees(agent, &erasure.value) {
                found.push(erasure);
            }
        }
        Ok(found)
    }

    /// The erasure of a study that waits or is final, or the last one of a study of which another
    /// was: for the archive's own work.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn erasure_of_study(
        &self,
        study: &StudyUid,
    ) -> Result<Option<Stored<Erasure>>, RegistryError> {
        match self.pointer(OF_STUDY, study.as_str()).await? {
            None => Ok(None),
            Some(pointer) => self.read::<Erasure>(&pointer.to).await.map(Some),
        }
    }
}

fn sees(agent: &Agent, erasure: &Erasure) -> bool {
    let organisation = erasure.organisation;
    may_propose_erasing(agent, organisation) || may_agree_to_erasing(agent, organisation)
}

const fn unlicensed(permission: Permission) -> RegistryError {
    RegistryError::Unlicensed(Unlicensed { permission })
}

fn told(act: Act, agent: &Agent, erasure: &Erasure, word: &str, at: Moment) -> AuditEvent {
    let mut event = agent_event(act, agent, erasure.organisation, at);
    event.object.studies = vec![StudyTouched {
        study: erasure.study.clone(),
        sop_class: None,
        instances_count: 0,
        instances: Vec::new(),
    }];
    event.object.setting = Some("erasing".to_owned());
    event.reason = Some(word.to_owned());
    event.correlation = Some(erasure.id.as_str().to_owned());
    event
}
