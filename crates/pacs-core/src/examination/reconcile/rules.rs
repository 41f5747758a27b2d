//! The rules, M0 to M6.

use super::likeness::{
    Contradiction, agrees, contradiction, contradicts, differs, has_words, is_name_alike,
    is_unknown,
};
use super::{
    Binding, Candidate, HeaderField, Kind, MatchingPolicy, Origin, QueueReason, Received, Rule,
    StudyHeader, Suggestion, Verdict,
};
use crate::examination::{ExaminationId, ExaminationIdError, Status};
use crate::patient::Identifier;
use chrono::{NaiveDateTime, TimeDelta};

/// How far a study may be from an open order of a patient known by an identifier.
const PATIENT_WINDOW_HOURS: i64 = 24;
/// How far it may be from an order of somebody whose name is alike.
const NAME_WINDOW_HOURS: i64 = 48;
/// How long before its order a study may be made: clocks of devices are wrong by hours.
const BEFORE_ORDER_HOURS: i64 = 24;

/// Named by its ID, but something speaks against it, or for another as well.
const SCORE_NAMED: u8 = 95;
const SCORE_PATIENT: u8 = 90;
const SCORE_NAME_AND_BIRTH_DATE: u8 = 70;
const SCORE_NAME_AND_SEX: u8 = 40;

/// Says what becomes of a study.
///
/// `candidates` are orders that could be meant: those of [`StudyHeader::ids`] of any organisation,
/// the one whose planned UID the study has, and the open orders of patients who have the identifier
/// or a name like it. Others do no harm; the order of the candidates does not matter.
///
/// Orders of other organisations are never suggested, and nothing of them shows but that they are
/// another organisation's.
#[must_use]
pub fn verdict(
    received: &Received<'_>,
    candidates: &[Candidate],
    policy: MatchingPolicy,
) -> Verdict {
    if let Some(binding) = received.binding {
        return bound(received, binding);
    }
    let suggestions = suggestions(received, candidates);
    let queued = |reason, named| Verdict::Queued {
        reason,
        suggestions: with(&suggestions, named),
    };
    let Some(header) = received.headers.first() else {
        return queued(QueueReason::NoId, vec![]);
    };
    if received.has_other_version {
        return queued(QueueReason::DuplicateUidDifferentContent, vec![]);
    }
    if received.has_other_senders {
        // Whose the rest is, is for a person to say; which order was meant can be shown.
        let named = match named(received, candidates) {
            Named::One(candidate, rule) => vec![(candidate.examination, rule)],
            Named::Refused(_, named) => named,
            Named::Nothing => vec![],
        };
        return queued(QueueReason::OtherOrg, named);
    }
    if differ(received.headers.iter()) || received.has_more_headers {
        return queued(QueueReason::MixedPatient, vec![]);
    }
    match named(received, candidates) {
        Named::One(candidate, rule) => Verdict::Bound {
            examination: candidate.examination,
            rule,
            flags: vec![],
        },
        Named::Refused(reason, named) => queued(reason, named),
        Named::Nothing => {
            let by_patient = |suggestion: &&Suggestion| suggestion.rule == Rule::Patient;
            let of_patient: Vec<_> = suggestions.iter().filter(by_patient).collect();
            match of_patient.as_slice() {
                [one] if policy.binds_by_patient && !received.not_of.contains(&one.examination) => {
                    Verdict::Bound {
                        examination: one.examination,
                        rule: Rule::Patient,
                        flags: vec![],
                    }
                }
                [_, _, ..] => queued(QueueReason::Ambiguous, vec![]),
                _ => queued(without_id(header, received.origin), vec![]),
            }
        }
    }
}

/// M0: images follow their study, unless another organisation uses its UID.
fn bound(received: &Received<'_>, binding: &Binding) -> Verdict {
    let order = &binding.order;
    if order.organisation != received.origin.organisation() {
        return Verdict::Queued {
            reason: QueueReason::OtherOrg,
            suggestions: vec![],
        };
    }
    let mut flags = Vec::new();
    if is_mixed(received.headers, binding) || received.has_more_headers {
        flags.push(QueueReason::MixedPatient);
    }
    if received.has_other_version {
        flags.push(QueueReason::DuplicateUidDifferentContent);
    }
    if received.has_other_senders {
        flags.push(QueueReason::OtherOrg);
    }
    Verdict::Bound {
        examination: order.examination,
        rule: Rule::StudyBound,
        flags,
    }
}

/// Whether a header of a bound study names another examination, or another patient than the order,
/// the header by which it was bound, or any other: the one by which it was bound may say nothing of
/// its patient.
fn is_mixed(headers: &[StudyHeader], binding: &Binding) -> bool {
    let order = &binding.order;
    let first = binding.seen.first();
    let is_known = |id| {
        let mut seen = binding.seen.iter().flat_map(StudyHeader::ids);
        id == order.examination || seen.any(|known| known == id)
    };
    let is_seen = |header: &StudyHeader| {
        let mut seen = binding.seen.iter().map(|seen| &seen.person);
        seen.any(|seen| *seen == header.person || agrees(seen, &header.person))
    };
    let new = headers.iter().filter(|header| !is_seen(header));
    let is_other = |header: &&StudyHeader| {
        let is_id = has_id_in_patient_id(header, std::slice::from_ref(order));
        first.is_some_and(|first| differs(&header.person, &first.person))
            || contradicts(&header.person, &order.person, is_id)
    };
    headers
        .iter()
        .any(|header| header.ids().any(|id| !is_known(id)))
        || new.clone().any(|header| is_other(&header))
        || differ(new)
}

/// Whether any two of these headers differ in who the patient is: the first may be one that says
/// nothing of its patient.
fn differ<'a>(headers: impl Iterator<Item = &'a StudyHeader> + Clone) -> bool {
    headers.clone().enumerate().any(|(at, one)| {
        let mut rest = headers.clone().skip(at.saturating_add(1));
        rest.any(|other| differs(&one.person, &other.person))
    })
}

/// What speaks against a header being of an order that it names, or that a person binds it to: the
/// kind of images, or the patient.
#[must_use]
pub fn objection(header: &StudyHeader, candidate: &Candidate) -> Option<QueueReason> {
    let is_id = has_id_in_patient_id(header, std::slice::from_ref(candidate));
    if !is_kind(header.kind.as_ref(), &candidate.kind) {
        Some(QueueReason::ModalityMismatch)
    } else if contradicts(&header.person, &candidate.person, is_id) {
        Some(QueueReason::Conflict)
    } else {
        None
    }
}

/// Something in which a header and an order are not the same.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// Both have a date of birth, and another one.
    BirthDate,
    /// The patient does not have the identifier.
    Identifier,
    /// They are other images than were ordered.
    Kind,
    /// The name does not sound the same.
    Name,
    /// Both have a sex, and another one.
    Sex,
    /// They were made more than two days before or after the time that was planned.
    Time,
}

/// In what `header` and `candidate` are not the same, in order: for a person who compares them.
/// What one of them does not say is no difference.
#[must_use]
pub fn differences(header: &StudyHeader, candidate: &Candidate) -> Vec<Difference> {
    let (named, person) = (&header.person, &candidate.person);
    let differs = |is_other: Option<bool>| is_other.unwrap_or(false);
    let birth_dates = named.birth_date.zip(person.birth_date);
    let is_theirs = |identifier: &Identifier| person.identifiers.contains(identifier);
    let is_id = has_id_in_patient_id(header, std::slice::from_ref(candidate));
    let has_other = !is_id && !named.identifiers.is_empty();
    let far = TimeDelta::hours(NAME_WINDOW_HOURS);
    let distance =
        |made: NaiveDateTime| made.signed_duration_since(candidate.scheduled_at).abs() > far;
    let has_names = has_words(named) && has_words(person);
    let all = [
        (
            Difference::BirthDate,
            differs(birth_dates.map(|(a, b)| a != b)),
        ),
        (
            Difference::Identifier,
            has_other && !named.identifiers.iter().any(is_theirs),
        ),
        (
            Difference::Kind,
            !is_kind(header.kind.as_ref(), &candidate.kind),
        ),
        (Difference::Name, has_names && !is_name_alike(named, person)),
        (
            Difference::Sex,
            differs(named.sex.zip(person.sex).map(|(a, b)| a != b)),
        ),
        (Difference::Time, differs(header.made_at.map(distance))),
    ];
    let found = all.into_iter().filter(|(_, is_other)| *is_other);
    found.map(|(difference, _)| difference).collect()
}

/// What the IDs and the UID in the headers say.
enum Named<'a> {
    /// This order.
    One(&'a Candidate, Rule),
    /// An order, but not so that it could be bound; and which, where that may be shown.
    Refused(QueueReason, Vec<(ExaminationId, Rule)>),
    Nothing,
}

/// M1, M2, M3: every order that is named, and the one of them that fits.
fn named<'a>(received: &Received<'_>, candidates: &'a [Candidate]) -> Named<'a> {
    let mut namings: Vec<(&Candidate, Rule, &StudyHeader)> = Vec::new();
    let mut is_of_other_organisation = false;
    for header in received.headers {
        let planned = |candidate: &&Candidate| {
            candidate.planned_study == header.study
                && candidate.organisation == received.origin.organisation()
        };
        let by_uid = candidates.iter().find(planned);
        let by_id = names_of(header).into_iter().filter_map(|(id, rule)| {
            let candidate = candidates.iter().find(|c| c.examination == id)?;
            Some((candidate, rule))
        });
        let all = by_uid.map(|candidate| (candidate, Rule::PlannedStudy));
        for (candidate, rule) in all.into_iter().chain(by_id) {
            if candidate.organisation != received.origin.organisation() {
                is_of_other_organisation = true;
            } else if namings.iter().all(|(known, ..)| *known != candidate) {
                namings.push((candidate, rule, header));
            }
        }
    }
    let mut fitting = Vec::new();
    // Something speaks for them as well: they are a question where another one fits.
    let mut rivals = Vec::new();
    let mut refused = None;
    for (candidate, rule, header) in namings {
        let is_id = has_id_in_patient_id(header, candidates);
        let of_another = || {
            let contradict = |header: &StudyHeader| {
                let is_id = has_id_in_patient_id(header, candidates);
                contradicts(&header.person, &candidate.person, is_id)
            };
            let is_other = received.headers.iter().any(contradict);
            is_other.then_some(QueueReason::Conflict)
        };
        match against(received, header, is_id, candidate, rule).or_else(of_another) {
            None => fitting.push((candidate, rule)),
            Some(reason) => {
                let partly = contradiction(&header.person, &candidate.person, is_id);
                if reason == QueueReason::Conflict && partly == Contradiction::Partly {
                    rivals.push((candidate, rule));
                }
                refused.get_or_insert((reason, candidate, rule));
            }
        }
    }
    match (fitting.as_slice(), refused) {
        // What stands in its right place and does not fit is a question, whatever else does.
        (_, Some((reason, candidate, rule)))
            if fitting.is_empty() || matches!(rule, Rule::PlannedStudy | Rule::AccessionNumber) =>
        {
            let is_suggested = !matches!(reason, QueueReason::IdCancelled);
            let named = is_suggested.then_some((candidate.examination, rule));
            Named::Refused(reason, named.into_iter().collect())
        }
        ([(candidate, rule)], _) if rivals.is_empty() => {
            match says_otherwise(received, candidates, (candidate, *rule)) {
                Some(reason) => Named::Refused(reason, vec![(candidate.examination, *rule)]),
                None => Named::One(candidate, *rule),
            }
        }
        ([_, ..], _) => {
            let all = fitting
                .iter()
                .chain(&rivals)
                .map(|(candidate, rule)| (candidate.examination, *rule));
            Named::Refused(QueueReason::Ambiguous, all.collect())
        }
        ([], _) if is_of_other_organisation => Named::Refused(QueueReason::OtherOrg, vec![]),
        ([], _) => nobodys(received),
    }
}

/// What an ID says that no order has.
fn nobodys<'a>(received: &Received<'_>) -> Named<'a> {
    match received.headers.first().and_then(|header| header.accession) {
        Some(Ok(_)) => Named::Refused(QueueReason::IdNotFound, vec![]),
        Some(Err(ExaminationIdError::CheckDigit | ExaminationIdError::NeverGiven)) => {
            Named::Refused(QueueReason::BadCheckDigit, vec![])
        }
        // An ID in a wrong field that no order has may be any number.
        Some(Err(ExaminationIdError::Format)) | None => Named::Nothing,
    }
}

/// Why an ID in a wrong field is not believed: in the right one stands another. What was left in
/// a field from the patient before is still there when the ID of the next is mistyped.
fn says_otherwise(
    received: &Received<'_>,
    candidates: &[Candidate],
    (candidate, rule): (&Candidate, Rule),
) -> Option<QueueReason> {
    if !matches!(rule, Rule::IdInWrongField(_)) {
        return None;
    }
    let mut typed = received
        .headers
        .iter()
        .filter_map(|header| header.accession);
    typed.find_map(|typed| match typed {
        Ok(id) if id == candidate.examination => None,
        // An order of this organisation would have been held against the study itself.
        Ok(id) => Some(match candidates.iter().find(|one| one.examination == id) {
            Some(_) => QueueReason::OtherOrg,
            None => QueueReason::IdNotFound,
        }),
        Err(ExaminationIdError::CheckDigit | ExaminationIdError::NeverGiven) => {
            Some(QueueReason::BadCheckDigit)
        }
        Err(ExaminationIdError::Format) => None,
    })
}

/// The IDs in a header, each with the rule by which it would bind.
fn names_of(header: &StudyHeader) -> Vec<(ExaminationId, Rule)> {
    let right = header.accession.and_then(Result::ok);
    let right = right.map(|id| (id, Rule::AccessionNumber));
    let elsewhere = header.elsewhere.iter();
    right
        .into_iter()
        .chain(elsewhere.map(|(field, id)| (*id, Rule::IdInWrongField(*field))))
        .collect()
}

/// Whether Patient ID is the ID of an order, and so says nothing of the patient. The number of a
/// card can look like an ID, but no order has it.
fn has_id_in_patient_id(header: &StudyHeader, candidates: &[Candidate]) -> bool {
    header.elsewhere.iter().any(|(field, id)| {
        let is_order = |candidate: &Candidate| candidate.examination == *id;
        *field == HeaderField::PatientId && candidates.iter().any(is_order)
    })
}

/// What speaks against an order that is named.
fn against(
    received: &Received<'_>,
    header: &StudyHeader,
    is_id_in_patient_id: bool,
    candidate: &Candidate,
    rule: Rule,
) -> Option<QueueReason> {
    let id = candidate.examination;
    let is_wrong_field = matches!(rule, Rule::IdInWrongField(_));
    let must_be_later = is_wrong_field || matches!(received.origin, Origin::Import(_));
    if received.not_of.contains(&id) {
        Some(QueueReason::Unbound)
    } else if candidate.status == Status::Cancelled {
        Some(QueueReason::IdCancelled)
    } else if !is_kind(header.kind.as_ref(), &candidate.kind) {
        Some(QueueReason::ModalityMismatch)
    } else if contradicts(&header.person, &candidate.person, is_id_in_patient_id) {
        Some(QueueReason::Conflict)
    } else if must_be_later && is_before_order(header.made_at, candidate) {
        Some(QueueReason::BeforeOrder)
    } else {
        None
    }
}

fn is_before_order(made_at: Option<NaiveDateTime>, candidate: &Candidate) -> bool {
    let earliest = candidate
        .ordered_at
        .checked_sub_signed(TimeDelta::hours(BEFORE_ORDER_HOURS));
    made_at
        .zip(earliest)
        .is_some_and(|(made, earliest)| made < earliest)
}

fn is_kind(made: Option<&Kind>, ordered: &Kind) -> bool {
    made.is_none_or(|made| made == ordered)
}

/// M4 and M5: what a person may choose from, best first.
fn suggestions(received: &Received<'_>, candidates: &[Candidate]) -> Vec<Suggestion> {
    let mut suggestions: Vec<_> = candidates
        .iter()
        .filter(|candidate| candidate.organisation == received.origin.organisation())
        .filter(|candidate| candidate.is_open())
        .flat_map(|candidate| {
            let headers = received.headers.iter();
            headers.filter_map(|header| suggestion(received, header, candidate))
        })
        .collect();
    suggestions.sort_by_key(|s| (std::cmp::Reverse(s.score), s.examination));
    let mut seen = Vec::new();
    suggestions.retain(|suggestion| {
        let is_new = !seen.contains(&suggestion.examination);
        seen.push(suggestion.examination);
        is_new
    });
    suggestions
}

fn suggestion(
    received: &Received<'_>,
    header: &StudyHeader,
    candidate: &Candidate,
) -> Option<Suggestion> {
    if !is_kind(header.kind.as_ref(), &candidate.kind) {
        return None;
    }
    let made_at = header.made_at.unwrap_or(received.received_at);
    let distance = made_at.signed_duration_since(candidate.scheduled_at).abs();
    let is_within = |hours| distance <= TimeDelta::hours(hours);
    let (named, person) = (&header.person, &candidate.person);
    let is_known = |identifier: &Identifier| {
        identifier.is_national() && person.identifiers.contains(identifier)
    };
    let (rule, score) = if named.identifiers.iter().any(is_known) && is_within(PATIENT_WINDOW_HOURS)
    {
        (Rule::Patient, SCORE_PATIENT)
    } else if is_within(NAME_WINDOW_HOURS) && is_name_alike(named, person) {
        let score = match (named.birth_date, person.birth_date) {
            (Some(a), Some(b)) if a == b => SCORE_NAME_AND_BIRTH_DATE,
            (Some(_), Some(_)) => return None,
            _ if named.sex.is_some() && named.sex == person.sex => SCORE_NAME_AND_SEX,
            _ => return None,
        };
        (Rule::NameAlike, score)
    } else {
        return None;
    };
    Some(Suggestion {
        examination: candidate.examination,
        rule,
        score,
    })
}

/// The orders that were named stand before those that are only alike.
fn with(suggestions: &[Suggestion], named: Vec<(ExaminationId, Rule)>) -> Vec<Suggestion> {
    let is_named = |suggestion: &Suggestion| {
        let mut ids = named.iter().map(|(id, _)| id);
        ids.any(|id| *id == suggestion.examination)
    };
    let rest = suggestions.iter().filter(|s| !is_named(s)).copied();
    let first = named.iter().map(|(examination, rule)| Suggestion {
        examination: *examination,
        rule: *rule,
        score: SCORE_NAMED,
    });
    first.chain(rest).collect()
}

/// M6.
fn without_id(header: &StudyHeader, origin: Origin) -> QueueReason {
    if matches!(origin, Origin::Import(_)) {
        QueueReason::OutsideImport
    } else if is_unknown(&header.person) {
        QueueReason::EmergencyUnregistered
    } else {
        QueueReason::NoId
    }
}
