//! The rules, M0 to M6.

use super::{
    Binding, Candidate, Header, Kind, MatchingPolicy, Origin, Person, QueueReason, Rule,
    Suggestion, Verdict,
};
use crate::examination::{ExaminationId, ExaminationIdError, Status};
use crate::fold::k2;
use chrono::TimeDelta;

/// How far a study may be from an open order of a patient known by an identifier.
const PATIENT_WINDOW_HOURS: i64 = 24;
/// How far it may be from an order of somebody whose name is alike.
const NAME_WINDOW_HOURS: i64 = 48;

const SCORE_PATIENT: u8 = 90;
const SCORE_NAME_AND_BIRTH_DATE: u8 = 70;
const SCORE_NAME_AND_SEX: u8 = 40;
/// Named by its ID, but something speaks against it.
const SCORE_CONTRADICTED: u8 = 95;

/// Says what becomes of a study.
///
/// `binding` is the examination that the study is bound to, if it is. `candidates` are orders that
/// could be meant: those of [`Header::ids`] of any organisation, the one whose planned UID the
/// study has, and the open orders of patients who have the identifier or a name like it.
/// Others do no harm; the order of the candidates does not matter.
///
/// Orders of other organisations are never suggested, and nothing of them shows but that they are
/// another organisation's.
#[must_use]
pub fn verdict(
    header: &Header,
    origin: Origin,
    binding: Option<&Binding>,
    candidates: &[Candidate],
    policy: MatchingPolicy,
) -> Verdict {
    if let Some(binding) = binding {
        let is_other_person = contradicts(header, &binding.first);
        let flag = if is_other_person {
            Some(QueueReason::MixedPatient)
        } else {
            header
                .is_other_version
                .then_some(QueueReason::DuplicateUidDifferentContent)
        };
        return Verdict::Bound {
            examination: binding.examination,
            rule: Rule::StudyBound,
            flag,
        };
    }
    let suggestions = suggestions(header, origin, candidates);
    let queued = |reason| Verdict::Queued {
        reason,
        suggestions: suggestions.clone(),
    };
    if header.is_other_version {
        return queued(QueueReason::DuplicateUidDifferentContent);
    }
    match named(header, origin, candidates) {
        Named::One(candidate, rule) => Verdict::Bound {
            examination: candidate.examination,
            rule,
            flag: None,
        },
        Named::Not(reason, against) => Verdict::Queued {
            reason,
            suggestions: with(suggestions, against),
        },
        Named::Nothing => {
            let by_patient: Vec<_> = suggestions
                .iter()
                .filter(|suggestion| suggestion.rule == Rule::Patient)
                .collect();
            match by_patient.as_slice() {
                [one] if policy.binds_by_patient => Verdict::Bound {
                    examination: one.examination,
                    rule: Rule::Patient,
                    flag: None,
                },
                [_, _, ..] => queued(QueueReason::Ambiguous),
                _ => queued(without_id(header, origin)),
            }
        }
    }
}

/// What the IDs and the UID in a header say.
enum Named<'a> {
    /// This order.
    One(&'a Candidate, Rule),
    /// An order, but not so that it could be bound; and which, where that may be shown.
    Not(QueueReason, Option<(ExaminationId, Rule)>),
    Nothing,
}

/// M1, M2, M3.
fn named<'a>(header: &Header, origin: Origin, candidates: &'a [Candidate]) -> Named<'a> {
    let of_here = |candidate: &&Candidate| candidate.organisation == origin.organisation();
    let planned = candidates
        .iter()
        .filter(of_here)
        .find(|candidate| candidate.planned_study == header.study);
    if let Some(candidate) = planned {
        return checked(header, candidate, Rule::PlannedStudy);
    }
    let by_id = |id: ExaminationId| candidates.iter().find(|c| c.examination == id);
    // A number of another system can look like an ID: where it is no order's, the other fields may
    // name one.
    let by_accession = header.accession.and_then(Result::ok).and_then(by_id);
    match by_accession {
        Some(candidate) if of_here(&candidate) => {
            return checked(header, candidate, Rule::AccessionNumber);
        }
        Some(_) => return Named::Not(QueueReason::OtherOrg, None),
        None => {}
    }
    let mut fitting: Vec<(&Candidate, Rule)> = Vec::new();
    let mut misfit = None;
    for (field, id) in &header.elsewhere {
        let Some(candidate) = by_id(*id) else {
            continue;
        };
        if !of_here(&candidate) {
            misfit.get_or_insert(Named::Not(QueueReason::OtherOrg, None));
            continue;
        }
        match checked(header, candidate, Rule::IdInWrongField(*field)) {
            Named::One(candidate, rule) => {
                if fitting.iter().all(|(known, _)| *known != candidate) {
                    fitting.push((candidate, rule));
                }
            }
            not @ (Named::Not(..) | Named::Nothing) => {
                misfit.get_or_insert(not);
            }
        }
    }
    match (fitting.as_slice(), misfit, header.accession) {
        ([(candidate, rule)], _, _) => Named::One(candidate, *rule),
        ([_, _, ..], _, _) => Named::Not(QueueReason::Ambiguous, None),
        ([], Some(misfit), _) => misfit,
        ([], None, Some(Ok(_))) => Named::Not(QueueReason::IdNotFound, None),
        ([], None, Some(Err(ExaminationIdError::CheckDigit | ExaminationIdError::NeverGiven))) => {
            Named::Not(QueueReason::BadCheckDigit, None)
        }
        // An ID in a wrong field that no order has may be any number.
        ([], None, Some(Err(ExaminationIdError::Format)) | None) => Named::Nothing,
    }
}

/// An order that is named, if nothing speaks against it.
fn checked<'a>(header: &Header, candidate: &'a Candidate, rule: Rule) -> Named<'a> {
    let against = if candidate.status == Status::Cancelled {
        QueueReason::IdCancelled
    } else if !is_kind(header.kind.as_ref(), &candidate.kind) {
        QueueReason::ModalityMismatch
    } else if contradicts(header, &candidate.person) {
        QueueReason::Conflict
    } else {
        return Named::One(candidate, rule);
    };
    Named::Not(against, Some((candidate.examination, rule)))
}

fn is_kind(made: Option<&Kind>, ordered: &Kind) -> bool {
    made.is_none_or(|made| made == ordered)
}

/// Whether the header names somebody else than `person`.
///
/// It does not where Patient ID is one of theirs, or holds the examination ID; nor where date of
/// birth and family name agree. Without a Patient ID, name and date of birth must both differ.
fn contradicts(header: &Header, person: &Person) -> bool {
    let named = &header.person;
    let has_identifier = !named.identifiers.is_empty();
    let is_known = named
        .identifiers
        .iter()
        .any(|identifier| person.identifiers.contains(identifier));
    if is_known {
        return false;
    }
    let family_agrees = shares_family(named, person);
    let birth_agrees = named.birth_date.is_some() && named.birth_date == person.birth_date;
    if has_identifier {
        return !(family_agrees && birth_agrees);
    }
    // Where the ID was typed in place of the patient, the rest of the form is often left empty or
    // filled at random; but two disagreements are two.
    let has_name = !named.names.is_empty() && !header.is_id_in_patient_id;
    let has_birth_date = named.birth_date.is_some() && person.birth_date.is_some();
    has_name && has_birth_date && !family_agrees && !birth_agrees
}

/// Whether a word of one family name sounds like a word of the other's.
fn shares_family(a: &Person, b: &Person) -> bool {
    let words = |person: &Person| -> Vec<String> {
        let families = person.names.iter().flat_map(|name| name.split('='));
        families
            .filter_map(|group| group.split('^').next())
            .flat_map(|family| k2(family).split(' ').map(str::to_owned).collect::<Vec<_>>())
            .filter(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()))
            .collect()
    };
    let of_b = words(b);
    words(a).iter().any(|word| of_b.contains(word))
}

/// уулу, кызы, оглы, угли: part of many names, as keys.
const STOP_WORDS: [&str; 4] = ["ulu", "kizi", "ogli", "ugli"];

/// Whether the whole names sound alike, their words in any order.
fn is_name_alike(a: &Person, b: &Person) -> bool {
    let keys = |person: &Person| -> Vec<Vec<String>> {
        let groups = person.names.iter().flat_map(|name| name.split('='));
        groups
            .map(|group| {
                let mut words: Vec<String> = k2(group).split(' ').map(str::to_owned).collect();
                words.retain(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()));
                words.sort();
                words
            })
            .filter(|words| !words.is_empty())
            .collect()
    };
    let of_b = keys(b);
    keys(a).iter().any(|words| of_b.contains(words))
}

/// M4 and M5: what a person may choose from, best first.
fn suggestions(header: &Header, origin: Origin, candidates: &[Candidate]) -> Vec<Suggestion> {
    let mut suggestions: Vec<_> = candidates
        .iter()
        .filter(|candidate| candidate.organisation == origin.organisation())
        .filter(|candidate| candidate.is_open() && is_kind(header.kind.as_ref(), &candidate.kind))
        .filter_map(|candidate| suggestion(header, candidate))
        .collect();
    suggestions.sort_by_key(|s| (std::cmp::Reverse(s.score), s.examination));
    suggestions.dedup_by_key(|s| s.examination);
    suggestions
}

fn suggestion(header: &Header, candidate: &Candidate) -> Option<Suggestion> {
    let distance = header
        .made_at?
        .signed_duration_since(candidate.scheduled_at)
        .abs();
    let is_within = |hours| distance <= TimeDelta::hours(hours);
    let (named, person) = (&header.person, &candidate.person);
    let is_known = named
        .identifiers
        .iter()
        .any(|identifier| person.identifiers.contains(identifier));
    let (rule, score) = if is_known && is_within(PATIENT_WINDOW_HOURS) {
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

/// The order that was named stands before those that are only alike.
fn with(mut suggestions: Vec<Suggestion>, named: Option<(ExaminationId, Rule)>) -> Vec<Suggestion> {
    if let Some((examination, rule)) = named {
        suggestions.retain(|suggestion| suggestion.examination != examination);
        let first = Suggestion {
            examination,
            rule,
            score: SCORE_CONTRADICTED,
        };
        suggestions.insert(0, first);
    }
    suggestions
}

/// M6.
fn without_id(header: &Header, origin: Origin) -> QueueReason {
    if matches!(origin, Origin::Import(_)) {
        QueueReason::OutsideImport
    } else if header.is_unknown_person {
        QueueReason::EmergencyUnregistered
    } else {
        QueueReason::NoId
    }
}
