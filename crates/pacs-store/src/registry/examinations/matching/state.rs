//! What a verdict of the matcher makes of what was decided before.

use super::{MatchState, Suggested};
use pacs_core::examination::reconcile::{QueueReason, Suggestion, Verdict};

/// How likely an examination is that a rule would bind to.
const SCORE_NAMED: u8 = 95;

/// Whether there is something in question that a person has not seen.
pub(super) const fn has_flags(state: &MatchState) -> bool {
    matches!(state, MatchState::Bound { flags, .. } if !flags.is_empty())
}

/// Whether a study waits for a reason that images which come later do not take away.
const fn is_in_question(reason: QueueReason) -> bool {
    matches!(
        reason,
        QueueReason::MixedPatient
            | QueueReason::DuplicateUidDifferentContent
            | QueueReason::Unbound
    )
}

/// What a verdict makes of the state before; `None`: of nothing. `has_new_header`: something came
/// that says what nothing before it said.
pub(super) fn state_of(
    verdict: &Verdict,
    before: Option<&MatchState>,
    has_new_header: bool,
) -> MatchState {
    let queued = |reason, suggestions: &[Suggestion]| MatchState::Queued {
        reason,
        suggestions: suggestions.iter().map(suggested).collect(),
    };
    match (verdict, before) {
        // What a person said stays, of what they saw.
        (_, Some(MatchState::Rejected)) if !has_new_header => MatchState::Rejected,
        // Whatever it names, a part of it is of no examination: a person says which.
        (
            Verdict::Bound {
                examination, rule, ..
            },
            Some(MatchState::Rejected),
        ) => MatchState::Queued {
            reason: QueueReason::MixedPatient,
            suggestions: vec![Suggested {
                examination: *examination,
                rule: *rule,
                score: SCORE_NAMED,
            }],
        },
        // What is in question stays so, whatever comes after it: a person decides.
        (Verdict::Bound { .. }, Some(before @ MatchState::Queued { reason, .. }))
            if is_in_question(*reason) =>
        {
            before.clone()
        }
        (
            Verdict::Bound {
                examination,
                rule,
                flags,
            },
            before,
        ) => bound(before, (*examination, *rule), flags),
        // Images of another organisation with the UID of a study that is bound here.
        (Verdict::Queued { reason, .. }, Some(before @ MatchState::Bound { .. })) => {
            with_flag(before.clone(), *reason)
        }
        (
            Verdict::Queued {
                reason,
                suggestions,
            },
            before,
        ) => {
            let old = match before {
                Some(MatchState::Queued { reason, .. }) if is_in_question(*reason) => Some(*reason),
                _ => None,
            };
            queued(old.unwrap_or(*reason), suggestions)
        }
    }
}

/// That it was bound says M0; why it was, stays, and so does what somebody has to look at.
fn bound(
    before: Option<&MatchState>,
    (examination, rule): (
        pacs_core::ExaminationId,
        pacs_core::examination::reconcile::Rule,
    ),
    flags: &[QueueReason],
) -> MatchState {
    let mut all = flags.to_vec();
    let mut why = Some(rule);
    if let Some(MatchState::Bound {
        examination: was,
        rule,
        flags: before,
    }) = before
        && *was == examination
    {
        let more = before.iter().filter(|flag| !flags.contains(flag));
        all.extend(more.copied());
        why = *rule;
    }
    MatchState::Bound {
        examination,
        rule: why,
        flags: all,
    }
}

/// A study that somebody has to look at for these, too.
pub(super) fn with_news(state: MatchState, news: &[QueueReason]) -> MatchState {
    let in_question = news.iter().find(|reason| is_in_question(**reason));
    match (state, in_question) {
        (state @ MatchState::Bound { .. }, _) => news
            .iter()
            .fold(state, |state, flag| with_flag(state, *flag)),
        (
            MatchState::Queued {
                reason,
                suggestions,
            },
            Some(news),
        ) if !is_in_question(reason) => MatchState::Queued {
            reason: *news,
            suggestions,
        },
        (MatchState::Rejected, Some(news)) => MatchState::Queued {
            reason: *news,
            suggestions: Vec::new(),
        },
        (state, _) => state,
    }
}

/// A bound study that somebody has to look at for this, too.
pub(super) fn with_flag(mut state: MatchState, reason: QueueReason) -> MatchState {
    if let MatchState::Bound { flags, .. } = &mut state
        && !flags.contains(&reason)
    {
        flags.push(reason);
    }
    state
}

const fn suggested(suggestion: &Suggestion) -> Suggested {
    Suggested {
        examination: suggestion.examination,
        rule: suggestion.rule,
        score: suggestion.score,
    }
}
