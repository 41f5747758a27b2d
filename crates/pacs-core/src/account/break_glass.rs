//! Opening one patient in an emergency: a reason first, and somebody who looks at it afterwards.
//!
//! For how long it opens whom is the rule of [`crate::role::visibility::BreakGlass`].

use crate::limits::{BREAK_GLASS_TEXT_CHARS_MAX, BREAK_GLASS_TEXT_CHARS_MIN};
use chrono::{Datelike as _, Days, NaiveDate, Weekday};

/// Working days in which somebody has to look at it.
const REVIEW_WORKING_DAYS: u32 = 3;

/// Why, from the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreakGlassReason {
    /// Life or limb is in danger.
    Emergency,
    /// Many injured at once.
    MassCasualty,
    /// Who is responsible cannot be reached.
    NobodyReachable,
    /// Something else, which the text says.
    Other,
    /// The patient cannot agree.
    Unconscious,
}

impl BreakGlassReason {
    /// As JSON names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::MassCasualty => "mass_casualty",
            Self::NobodyReachable => "nobody_reachable",
            Self::Other => "other",
            Self::Unconscious => "unconscious",
        }
    }
}

/// What the reviewer thinks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was right.
    Justified,
    /// It was not, and something follows from it.
    Unjustified,
}

/// Why a text is none that explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an explanation has {BREAK_GLASS_TEXT_CHARS_MIN} to {BREAK_GLASS_TEXT_CHARS_MAX} characters"
)]
pub struct ExplanationError;

/// Reads an explanation: something that somebody can judge.
///
/// # Errors
/// [`ExplanationError`].
pub fn explanation(text: &str) -> Result<String, ExplanationError> {
    let text = text.trim();
    let chars_count = text.chars().count();
    if (BREAK_GLASS_TEXT_CHARS_MIN..=BREAK_GLASS_TEXT_CHARS_MAX).contains(&chars_count) {
        return Ok(text.to_owned());
    }
    Err(ExplanationError)
}

/// The day by which somebody has to look at what was opened on `opened`: the third working day
/// after it, Monday to Friday. Public holidays are not known here, so that it can be too early.
#[must_use]
pub fn review_due(opened: NaiveDate) -> NaiveDate {
    let mut day = opened;
    let mut left = REVIEW_WORKING_DAYS;
    while let (1.., Some(next)) = (left, day.checked_add_days(Days::new(1))) {
        day = next;
        let is_working = !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        left = left.saturating_sub(u32::from(is_working));
    }
    day
}
