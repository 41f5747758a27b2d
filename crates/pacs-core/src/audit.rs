//! What is recorded of who did what with whose data: one event, as a DICOM audit message (PS3.15
//! A.5) and as JSON.
//!
//! An event holds no clinical text and no PIN. What it says of a patient stands in [`Phi`], so that
//! an event can be logged or shown in a test without it. Texts and lists that are longer than the
//! bounds of [`crate::limits`] are cut when an event is written; counts stay whole.

mod act;
mod document;
mod mask;
mod message;
pub mod syslog;
#[cfg(test)]
mod tests;

pub use act::{Act, Code};
pub use document::AuditEventError;
pub use mask::masked;
pub use message::message;

use crate::patient::PatientKey;
use crate::role::{Agent, AgentKind};
use crate::{ExaminationId, OrganisationCode, Phi, Role, SopClassUid, SopInstanceUid, StudyUid};
use chrono::{DateTime, FixedOffset};
use std::fmt;
use std::net::IpAddr;

/// Something that happened, as the audit trail keeps it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "document::Document", try_from = "document::Document")]
pub struct AuditEvent {
    /// What was done, or tried.
    pub act: Act,
    /// How it ended.
    pub outcome: Outcome,
    /// How many times: alike events that came too often to be told one by one are told as one.
    pub times: u64,
    /// When, with the offset of the place of the archive.
    pub at: DateTime<FixedOffset>,
    /// Who did it.
    pub actor: Actor,
    /// Where from; `None`: from the machine of the archive itself.
    pub from: Option<IpAddr>,
    /// On what.
    pub object: Object,
    /// Why the actor may have it, where that is not their ordinary work.
    pub purpose: Option<Purpose>,
    /// A reason that was given, or why it was refused: a code or a short text, never clinical.
    pub reason: Option<String>,
    /// Ties together what belongs to one request, here and in other systems: the id of a request,
    /// the message id of X-Road.
    pub correlation: Option<String>,
    /// What the object was before and after a change.
    pub change: Option<ChangeDigests>,
}

/// How an act ended (PS3.15 A.5.1, `EventOutcomeIndicator`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was refused, as a wrong password is.
    MinorFailure,
    /// It was refused in a way that somebody should look at.
    SeriousFailure,
    /// It could not be done, and nothing like it can be.
    MajorFailure,
}

impl Outcome {
    /// The value of the standard.
    #[must_use]
    pub const fn indicator(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::MinorFailure => 4,
            Self::SeriousFailure => 8,
            Self::MajorFailure => 12,
        }
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// What they are.
    pub kind: ActorKind,
    /// The name that the archive knows them by: of a user, the login; of a device, its AE title; of
    /// a program, that of its token; of the archive, the task. Empty for [`ActorKind::Nobody`].
    pub name: String,
    /// The roles they act in.
    pub roles: Vec<Role>,
    /// The organisation they act for.
    pub organisation: Option<OrganisationCode>,
    /// Their session, by a part of what is kept of it: no secret.
    pub session: Option<String>,
}

/// What somebody who does something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A modality or workstation.
    Device,
    /// Whoever could not say who they are. What they typed is not kept: it may be a password.
    Nobody,
    /// A program with a token.
    Program,
    /// The archive, or somebody at its machine.
    System,
    /// A person with an account.
    User,
}

impl Actor {
    /// Somebody of whom only this is known.
    #[must_use]
    pub fn new(kind: ActorKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            roles: Vec::new(),
            organisation: None,
            session: None,
        }
    }

    /// A task of the archive itself.
    #[must_use]
    pub fn system(task: &str) -> Self {
        Self::new(ActorKind::System, task)
    }

    /// Somebody unknown.
    #[must_use]
    pub fn nobody() -> Self {
        Self::new(ActorKind::Nobody, "")
    }
}

/// What something was done to. All of it is optional.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// Whose data.
    pub patient: Option<Phi<PatientKey>>,
    /// Of a merge: the patient who went into [`Self::patient`].
    pub merged_patient: Option<Phi<PatientKey>>,
    /// The examination.
    pub examination: Option<ExaminationId>,
    /// The studies.
    pub studies: Vec<StudyTouched>,
    /// Studies beyond those, where there were too many to list.
    pub studies_left_out: u64,
    /// What was asked, with PINs [`masked`].
    pub query: Option<Phi<String>>,
    /// The account that was used or changed.
    pub user: Option<String>,
    /// The other side: the AE title, name or address of who received, sent or was refused.
    pub node: Option<String>,
    /// The report, by its number.
    pub report: Option<String>,
    /// The key of a setting, a table or a function.
    pub setting: Option<String>,
}

/// A study that was touched, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyTouched {
    /// Which.
    pub study: StudyUid,
    /// What kind of instances, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sop_class: Option<SopClassUid>,
    /// How many instances.
    pub instances_count: u64,
    /// Which, where it was a part of the study; empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<SopInstanceUid>,
}

/// Why somebody may have what they ask for, where it is not their ordinary work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Purpose {
    /// Looking after the archive.
    Administration,
    /// Break glass.
    Emergency,
    /// The patient asked for it.
    PatientRequest,
}

impl Purpose {
    /// As JSON and messages name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Administration => "administration",
            Self::Emergency => "emergency",
            Self::PatientRequest => "patient_request",
        }
    }
}

/// What a document was before and after a change, without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeDigests {
    /// Before; `None`: it was not there.
    pub before: Option<StateDigest>,
    /// After; `None`: it is not there any more.
    pub after: Option<StateDigest>,
}

/// BLAKE3 of a document; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StateDigest(pub [u8; 32]);

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<StateDigest> for String {
    fn from(digest: StateDigest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for StateDigest {
    type Error = AuditEventError;

    /// Reads what [`fmt::Display`] writes, and nothing else: small letters alone.
    fn try_from(text: String) -> Result<Self, AuditEventError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
            b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
            _ => None,
        };
        let mut digest = [0; 32];
        if text.len() != 64 {
            return Err(AuditEventError::Digest);
        }
        for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = digits else {
                return Err(AuditEventError::Digest);
            };
            let pair = digit(*high).zip(digit(*low));
            let (high, low) = pair.ok_or(AuditEventError::Digest)?;
            *byte = high << 4 | low;
        }
        Ok(Self(digest))
    }
}

impl AuditEvent {
    /// An event that succeeded, with nothing said but this.
    #[must_use]
    pub fn new(act: Act, at: DateTime<FixedOffset>, actor: Actor) -> Self {
        Self {
            act,
            outcome: Outcome::Success,
            times: 1,
            at,
            actor,
            from: None,
            object: Object::default(),
            purpose: None,
            reason: None,
            correlation: None,
            change: None,
        }
    }

    /// An event of something that `agent` does, with all that is known of the
    /// circumstances.
    #[must_use]
    pub fn by(act: Act, at: DateTime<FixedOffset>, agent: &Agent) -> Self {
        let kind = match agent.kind {
            AgentKind::Device => ActorKind::Device,
            AgentKind::Program => ActorKind::Program,
            AgentKind::System => ActorKind::System,
            AgentKind::User => ActorKind::User,
        };
        let mut actor = Actor::new(kind, agent.name.clone());
        actor.session.clone_from(&agent.session);
        Self {
            from: agent.address,
            correlation: agent.correlation.clone(),
            ..Self::new(act, at, actor)
        }
    }

    /// The patients whose data it is about.
    pub fn patients(&self) -> impl Iterator<Item = PatientKey> {
        let both = [&self.object.patient, &self.object.merged_patient];
        both.into_iter().flatten().map(|key| *key.reveal())
    }
}
