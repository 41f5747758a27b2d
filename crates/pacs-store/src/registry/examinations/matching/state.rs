//! What a verdict of the matcher makes of what was decided before.

use super::{MatchState, suggested};
use pacs_core::examination::reconcile::{QueueReason, Verdict};

/// Whether there is something in question that a person has not seen.
pub(super) const fn has_flags(state: &MatchState) -> bool {
    matches!(state, MatchState::Bound { flags, .. } if !flags.is_empty())
}

/// Whether a study waits for a reason that images which come later do not take away.
const fn is_in_question(state: &MatchState) -> bool {
    matches!(
        state,
        MatchState::Queued {
            reason: QueueReason::MixedPatient | QueueReason::DuplicateUidDifferentContent,
            ..
        }
    )
}

/// What a verdict makes of the state before.
pub(super) fn state_of(verdict: &Verdict, before: &MatchState) -> MatchState {
    match verdict {
        // What is in question stays so, whatever comes after it: a person decides.
        Verdict::Bound { .. } if is_in_question(before) => before.clone(),
        Verdict::Bound {
            examination,
            rule,
            flags,
        } => {
            let mut flags = flags.clone();
            if let MatchState::Bound {
                examination: bound,
                flags: before,
                ..
            } = before
                && bound == examination
            {
                let more = before.iter().filter(|flag| !flags.contains(flag));
                let more: Vec<_> = more.copied().collect();
                flags.extend(more);
            }
            // That it was bound says M0; why it was, stays.
            let rule = if let MatchState::Bound {
                examination: bound,
                rule: before,
                ..
            } = before
                && bound == examination
            {
                *before
            } else {
                Some(*rule)
            };
            MatchState::Bound {
                examination: *examination,
                rule,
                flags,
            }
        }
        Verdict::Queued {
            reason,
            suggestions,
        } => match before {
            // Images of another organisation with the UID of a study that is bound here.
            MatchState::Bound {
                examination,
                rule,
                flags,
            } => {
                let mut flags = flags.clone();
                if !flags.contains(reason) {
                    flags.push(*reason);
                }
                MatchState::Bound {
                    examination: *examination,
                    rule: *rule,
                    flags,
                }
            }
            MatchState::Queued { reason: old, .. } => MatchState::Queued {
                reason: if is_in_question(before) {
                    *old
                } else {
                    *reason
                },
                suggestions: suggestions.iter().map(suggested).collect(),
            },
        },
    }
}
