//! `fuzzymatching` (PS3.18 8.3.4.2): names as they sound and are typed, in Cyrillic or Latin.

use pacs_core::fold::k2;
use pacs_core::{Attributes, Tag};

/// A name that is looked for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FuzzyName {
    tag: Tag,
    /// Its words, folded.
    words: Vec<String>,
}

/// Shows no name.
impl std::fmt::Debug for FuzzyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FuzzyName")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl FuzzyName {
    /// Looks for `text` in the attribute under `tag`. Wild cards mean nothing more than they do at
    /// the end of a word: every word is the beginning of one. `None` where there is no word: that
    /// would be in every name.
    pub(crate) fn new(tag: Tag, text: &str) -> Option<Self> {
        let words = words(&text.replace(['*', '?'], " "));
        (!words.is_empty()).then_some(Self { tag, words })
    }

    /// The attribute it is looked for in.
    pub(crate) const fn tag(&self) -> Tag {
        self.tag
    }

    /// Whether each word begins a word of the name, in any order; a name in several scripts matches
    /// by any of them.
    pub(crate) fn matches(&self, attributes: &Attributes) -> bool {
        let name = words(attributes.text(self.tag).unwrap_or_default());
        self.words
            .iter()
            .all(|word| name.iter().any(|part| part.starts_with(word.as_str())))
    }
}

fn words(text: &str) -> Vec<String> {
    k2(text)
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::Vr;
    use pacs_core::tag::tags;

    #[test]
    fn spellings_orders_and_scripts_of_a_name_meet() {
        let mut attributes = Attributes::new();
        attributes.insert_text(tags::PATIENT_NAME, Vr::PN, "Жээнбеков^Өмүрбек");
        for text in ["Jeenbekov", "ЖЭЭНБЕК*", "omurbek zheenbekov", "Жеенбеков^О"]
        {
            let name = FuzzyName::new(tags::PATIENT_NAME, text).unwrap();
            assert!(name.matches(&attributes), "{text}");
        }
        let other = FuzzyName::new(tags::PATIENT_NAME, "Asanov").unwrap();
        assert!(!other.matches(&attributes));
        for text in ["", "*", "?", "'", "'?"] {
            assert_eq!(FuzzyName::new(tags::PATIENT_NAME, text), None, "{text}");
        }
    }
}
