//! What a value of a key asks for, by its VR (PS3.4 C.2.2.2).

use super::{Matching, QueryError};
use crate::fold;
use crate::limits::QueryLimits;
use crate::matching::moment;
use crate::scan::values::unpadded;
use crate::tag::{Tag, Vr};
use crate::uid::Uid;

impl Matching {
    /// Reads the values of a key of `vr`, which stand between backslashes. Nothing, or nothing but
    /// `*`, is universal. `tag` is for the error.
    ///
    /// # Errors [`QueryError::Value`] where a value is none of its VR or has wild cards that the VR
    /// does not permit, [`QueryError::Limit`] for too many values or too long ones.
    pub fn of_text(tag: Tag, vr: Vr, text: &str, limits: &QueryLimits) -> Result<Self, QueryError> {
        let mut values = Vec::new();
        let mut patterns_count: usize = 0;
        for value in fold::values(vr, text) {
            let value = unpadded(vr, value);
            if value.is_empty() {
                continue;
            }
            if value
                .chars()
                .take(limits.value_chars_max.saturating_add(1))
                .count()
                > limits.value_chars_max
            {
                return Err(QueryError::Limit {
                    what: "length of a value",
                });
            }
            let matching = Self::of_value(vr, &value).ok_or(QueryError::Value { tag })?;
            if matching == Self::Universal {
                return Ok(matching);
            }
            if matches!(matching, Self::Range { .. } | Self::WildCard(_)) {
                patterns_count = patterns_count.saturating_add(1);
            }
            values.push(matching);
            if values.len() > limits.list_values_max {
                return Err(QueryError::Limit {
                    what: "number of values",
                });
            }
        }
        if values.len() > 1 && patterns_count > limits.list_patterns_max {
            return Err(QueryError::Limit {
                what: "number of patterns",
            });
        }
        Ok(Self::of_values(vr, values))
    }

    fn of_values(vr: Vr, mut values: Vec<Self>) -> Self {
        if values.len() < 2 {
            return values.pop().unwrap_or(Self::Universal);
        }
        if vr != Vr::UI {
            return Self::AnyOf(values);
        }
        // Every value was read as a UID before.
        let texts = values.iter().map(Self::to_text);
        Self::UidList(
            texts
                .filter_map(|text| Uid::parse_legacy(&text).ok())
                .collect(),
        )
    }

    fn of_value(vr: Vr, value: &str) -> Option<Self> {
        if value.chars().all(|c| c == '*') || is_bulk(vr) {
            return Some(Self::Universal);
        }
        if matches!(vr, Vr::DA | Vr::DT | Vr::TM) {
            return Self::of_moment(vr, value);
        }
        if vr == Vr::UI {
            let uid = Uid::parse_legacy(value).ok()?;
            return Some(Self::SingleValue(uid.as_str().to_owned()));
        }
        if !permits_wild_cards(vr) {
            let plain = !value.contains(['*', '?']);
            return plain.then(|| Self::SingleValue(value.to_owned()));
        }
        // What a client or we could not read is one character of some kind.
        let value = value.replace(char::REPLACEMENT_CHARACTER, "?");
        Some(if fold::is_blank(vr, &value) {
            Self::Universal
        } else if value.contains(['*', '?']) {
            Self::WildCard(value)
        } else {
            Self::SingleValue(value)
        })
    }

    fn of_moment(vr: Vr, value: &str) -> Option<Self> {
        if moment::bounds(vr, value).is_some() {
            return Some(Self::SingleValue(value.to_owned()));
        }
        let end = |end: &str| (!end.is_empty()).then(|| end.to_owned());
        let (from, to) = moment::split_range(vr, value)?;
        if from.is_empty() && to.is_empty() {
            return Some(Self::Universal);
        }
        if let (Some(first), Some(last)) = (moment::bounds(vr, from), moment::bounds(vr, to))
            && first.first > last.last
        {
            return None;
        }
        Some(Self::Range {
            from: end(from),
            to: end(to),
        })
    }

    /// The text of a key that asks for this: what [`Self::of_text`] reads. Sequences have none.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::AnyOf(alternatives) => {
                let texts: Vec<String> = alternatives.iter().map(Self::to_text).collect();
                texts.join("\\")
            }
            Self::Range { from, to } => format!(
                "{}-{}",
                from.as_deref().unwrap_or_default(),
                to.as_deref().unwrap_or_default()
            ),
            Self::Sequence(_) | Self::Universal => String::new(),
            Self::SingleValue(text) | Self::WildCard(text) => text.clone(),
            Self::UidList(uids) => {
                let texts: Vec<&str> = uids.iter().map(Uid::as_str).collect();
                texts.join("\\")
            }
        }
    }
}

/// PS3.4 C.2.2.2.4 names the VRs without wild cards; unknown VRs hold text here.
const fn permits_wild_cards(vr: Vr) -> bool {
    use Vr::{AE, CS, LO, LT, PN, SH, ST, UC, UN, UR, UT};
    matches!(vr, AE | CS | LO | LT | PN | SH | ST | UC | UN | UR | UT)
}

/// Bytes, which no key can ask for.
pub(super) const fn is_bulk(vr: Vr) -> bool {
    use Vr::{OB, OD, OF, OL, OV, OW};
    matches!(vr, OB | OD | OF | OL | OV | OW)
}
