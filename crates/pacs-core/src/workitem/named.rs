//! What a search for reading tasks names, so that it need not be looked for.

use super::Task;
use crate::examination::ExaminationId;
use crate::organisation::OrganisationCode;
use crate::patient::PatientKey;
use crate::query::{Key, Matching};
use crate::tag::{Tag, tags};
use crate::uid::WorkitemUid;
use crate::worklist::WorklistSubject;
use std::borrow::Cow;

/// What Worklist Labels begin with; the code of the organisation follows.
const LABEL: &str = "READING ";

/// The list in which reading tasks of an organisation stand (Worklist Label, 0074,1202).
#[must_use]
pub fn worklist_label(of: OrganisationCode) -> String {
    format!("{LABEL}{of}")
}

/// The examination or patient that a search with these keys is about, where it names one: by SOP
/// Instance UID, by Accession Number or Requested Procedure ID within Referenced Request Sequence,
/// or by Patient ID. All else that it asks still has to match.
#[must_use]
pub fn subject(keys: &[Key]) -> Option<WorklistSubject> {
    let uid = named(keys, tags::SOP_INSTANCE_UID);
    let uid = uid.and_then(|uid| WorkitemUid::parse(&uid).ok());
    if let Some(task) = uid.as_ref().and_then(Task::of_uid) {
        return Some(WorklistSubject::Examination(task.examination()));
    }
    let mut ids = [tags::ACCESSION_NUMBER, tags::REQUESTED_PROCEDURE_ID]
        .into_iter()
        .filter_map(|tag| named(request(keys), tag));
    if let Some(id) = ids.find_map(|id| ExaminationId::try_from(id.into_owned()).ok()) {
        return Some(WorklistSubject::Examination(id));
    }
    let patient = PatientKey::parse(&named(keys, tags::PATIENT_ID)?);
    patient.ok().map(WorklistSubject::Patient)
}

/// The organisation in whose list a search with these keys looks, where it names one.
#[must_use]
pub fn organisation(keys: &[Key]) -> Option<OrganisationCode> {
    let label = named(keys, tags::WORKLIST_LABEL)?;
    OrganisationCode::parse(label.strip_prefix(LABEL)?).ok()
}

fn request(keys: &[Key]) -> &[Key] {
    let is_request = |key: &&Key| key.tag == tags::REFERENCED_REQUEST_SEQUENCE;
    match keys.iter().find(is_request).map(|key| &key.matching) {
        Some(Matching::Sequence(keys)) => keys,
        _ => &[],
    }
}

/// The one value that an attribute has to have.
fn named(keys: &[Key], tag: Tag) -> Option<Cow<'_, str>> {
    let key = keys.iter().find(|key| key.tag == tag)?;
    match &key.matching {
        Matching::SingleValue(text) => Some(text.trim().into()),
        Matching::UidList(uids) => match uids.as_slice() {
            [uid] => Some(uid.as_str().to_owned().into()),
            _ => None,
        },
        Matching::AnyOf(_)
        | Matching::Range { .. }
        | Matching::Sequence(_)
        | Matching::Universal
        | Matching::WildCard(_) => None,
    }
}
