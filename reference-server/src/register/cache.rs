//! Answers that were given a moment ago.
//!
//! An answer is kept for the one question, for the one who asked it and for the organisation on
//! whose behalf: whoever else asks, or for another one, goes to the register, whose own log then
//! has who it was (docs/decisions/0024).

use chrono::{DateTime, TimeDelta, Utc};
use pacs_core::OrganisationCode;
use pacs_core::register::{Outcome, Question};
use pacs_core::role::duty::PatientSearch;
use pacs_core::role::{AgentKind, Licence};
use std::collections::HashMap;

/// Who asked what, and on whose behalf.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    kind: AgentKind,
    name: String,
    organisation: Option<OrganisationCode>,
    question: Question,
}

impl Asked {
    /// That whoever holds `licence` asks `question`.
    pub(super) fn of(licence: &Licence<PatientSearch>, question: &Question) -> Self {
        let agent = licence.agent();
        Self {
            kind: agent.kind,
            name: agent.name.clone(),
            organisation: licence.organisation(),
            question: question.clone(),
        }
    }
}

/// An answer, when it came, and the id it came by.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) outcome: Outcome,
    pub(super) at: DateTime<Utc>,
    pub(super) message_id: String,
}

#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<Asked, Kept>);

impl Cache {
    /// The answer, where it is not older than `age_max`.
    pub(super) fn get(
        &self,
        asked: &Asked,
        age_max: TimeDelta,
        now: DateTime<Utc>,
    ) -> Option<Kept> {
        let kept = self.0.get(asked)?;
        is_fresh(kept, age_max, now).then(|| kept.clone())
    }

    /// Keeps an answer, and of more than `count_max` the newest.
    pub(super) fn keep(&mut self, asked: Asked, kept: Kept, age_max: TimeDelta, count_max: usize) {
        let now = kept.at;
        if self.0.len() >= count_max {
            self.0.retain(|_, kept| is_fresh(kept, age_max, now));
        }
        if self.0.len() >= count_max {
            let oldest = self.0.iter().min_by_key(|(_, kept)| kept.at);
            if let Some(oldest) = oldest.map(|(asked, _)| asked.clone()) {
                self.0.remove(&oldest);
            }
        }
        if count_max > 0 {
            self.0.insert(asked, kept);
        }
    }
}

/// A clock that was put back makes nothing fresh.
fn is_fresh(kept: &Kept, age_max: TimeDelta, now: DateTime<Utc>) -> bool {
    let age = now.signed_duration_since(kept.at);
    age >= TimeDelta::zero() && age < age_max
}
