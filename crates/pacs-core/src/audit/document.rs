//! Events as JSON: names that a person understands, and nothing that is not said.

use super::{
    Act, Actor, ActorKind, AuditEvent, ChangeDigests, Object, Outcome, Purpose, StudyTouched,
};
use crate::limits::{
    AUDIT_INSTANCES_MAX, AUDIT_QUERY_CHARS_MAX, AUDIT_STUDIES_MAX, AUDIT_TEXT_CHARS_MAX,
};
use crate::patient::PatientKey;
use crate::{ExaminationId, OrganisationCode, Phi, Role};
use chrono::{DateTime, FixedOffset};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Why a document is no event. The document is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditEventError {
    /// A digest is not 64 hexadecimal digits.
    #[error("a digest is 64 hexadecimal digits")]
    Digest,
    /// What stands for a patient is no number of the archive.
    #[error("an event names no patient of the archive")]
    Patient,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    act: Act,
    outcome: Outcome,
    #[serde(default = "once", skip_serializing_if = "is_once")]
    times: u64,
    at: DateTime<FixedOffset>,
    actor: Who,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "What::is_empty")]
    object: What,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<ChangeDigests>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    kind: ActorKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organisation: Option<OrganisationCode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

/// `Phi` until the moment it is written, so that `Debug` of it shows nothing either.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct What {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hidden")]
    patient: Option<Phi<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hidden")]
    merged_patient: Option<Phi<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    examination: Option<ExaminationId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    studies: Vec<StudyTouched>,
    /// Beyond those that are listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    studies_left_out: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hidden")]
    query: Option<Phi<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    setting: Option<String>,
}

/// What stands for itself alone does not say so.
const fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_once(times: &u64) -> bool {
    *times == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

mod hidden {
    use crate::Phi;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Phi<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Phi::reveal).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Phi<String>>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Phi::new))
    }
}

impl What {
    const fn is_empty(&self) -> bool {
        self.patient.is_none()
            && self.merged_patient.is_none()
            && self.examination.is_none()
            && self.studies.is_empty()
            && self.query.is_none()
            && self.user.is_none()
            && self.node.is_none()
            && self.report.is_none()
            && self.setting.is_none()
    }
}

/// What a patient is called in an event.
pub(super) fn name_of(key: PatientKey) -> String {
    key.to_string()
}

fn key_of(name: &str) -> Result<PatientKey, AuditEventError> {
    PatientKey::parse(name).map_err(|_| AuditEventError::Patient)
}

pub(super) fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

/// Without what is beyond the bounds, and how many studies that are; counts of instances stay.
fn bounded(studies: Vec<StudyTouched>) -> (Vec<StudyTouched>, u64) {
    let left_out = studies.len().saturating_sub(AUDIT_STUDIES_MAX);
    let mut left = AUDIT_INSTANCES_MAX;
    let kept = studies.into_iter().take(AUDIT_STUDIES_MAX);
    let kept = kept.map(|mut study| {
        study.instances.truncate(left);
        left = left.saturating_sub(study.instances.len());
        study
    });
    (kept.collect(), u64::try_from(left_out).unwrap_or(u64::MAX))
}

impl From<AuditEvent> for Document {
    fn from(event: AuditEvent) -> Self {
        let AuditEvent { actor, object, .. } = event;
        let short = |text: String| cut(&text, AUDIT_TEXT_CHARS_MAX);
        let said = |text: Option<String>| {
            let text = text.filter(|text| !text.trim().is_empty());
            text.map(short)
        };
        let named = |key: Phi<PatientKey>| Phi::new(name_of(key.into_inner()));
        let (studies, left_out) = bounded(object.studies);
        let query = object.query.map(Phi::into_inner);
        Self {
            act: event.act,
            outcome: event.outcome,
            times: event.times,
            at: event.at,
            actor: Who {
                kind: actor.kind,
                name: short(actor.name),
                roles: actor.roles,
                organisation: actor.organisation,
                session: said(actor.session),
            },
            from: event.from.map(|address| address.to_canonical()),
            object: What {
                patient: object.patient.map(named),
                merged_patient: object.merged_patient.map(named),
                examination: object.examination,
                studies,
                studies_left_out: object.studies_left_out.saturating_add(left_out),
                query: query.map(|query| Phi::new(cut(&query, AUDIT_QUERY_CHARS_MAX))),
                user: said(object.user),
                node: said(object.node),
                report: said(object.report),
                setting: said(object.setting),
            },
            purpose: event.purpose,
            reason: said(event.reason),
            correlation: said(event.correlation),
            change: event.change,
        }
    }
}

impl TryFrom<Document> for AuditEvent {
    type Error = AuditEventError;

    fn try_from(document: Document) -> Result<Self, AuditEventError> {
        let Document { actor, object, .. } = document;
        let read = |name: Option<Phi<String>>| {
            let key = name.map(|name| key_of(name.reveal())).transpose()?;
            Ok(key.map(Phi::new))
        };
        Ok(Self {
            act: document.act,
            outcome: document.outcome,
            times: document.times,
            at: document.at,
            actor: Actor {
                kind: actor.kind,
                name: actor.name,
                roles: actor.roles,
                organisation: actor.organisation,
                session: actor.session,
            },
            from: document.from,
            object: Object {
                patient: read(object.patient)?,
                merged_patient: read(object.merged_patient)?,
                examination: object.examination,
                studies: object.studies,
                studies_left_out: object.studies_left_out,
                query: object.query,
                user: object.user,
                node: object.node,
                report: object.report,
                setting: object.setting,
            },
            purpose: document.purpose,
            reason: document.reason,
            correlation: document.correlation,
            change: document.change,
        })
    }
}
