//! What is known of studies beside what was received: what they are to say when they are searched
//! and answered, and what decides who sees them.

use pacs_core::coerce::Correction;
use pacs_core::examination::reconcile::Kind;
use pacs_core::instance::level_of;
use pacs_core::role::sight::{Sight, Studied, StudyFacts};
use pacs_core::{Attributes, Level, StudyUid, Tag};
use std::collections::BTreeSet;

/// What is known of a study.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct StudyNote {
    /// What its attributes are to say, in searches and answers, whatever was received.
    pub correction: Correction,
    /// What decides who sees it; `None`: that nobody has matched it yet.
    pub facts: Option<StudyFacts>,
}

/// Notes of studies, in any order, and how far whoever writes them has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notes {
    /// Each replaces what was noted of the study before. A study that is not here yet finds its
    /// note when it comes.
    pub of_studies: Vec<(StudyUid, StudyNote)>,
    /// A number of the writer's own, kept with them: [`super::Index::noted`] gives it back.
    pub through: u64,
}

impl StudyNote {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.correction.is_empty() && self.facts.is_none()
    }

    /// Says what it says of patient and study in their attributes.
    pub(crate) fn correct_study(&self, attributes: &mut Attributes) {
        self.correction.apply(attributes, |tag| {
            matches!(level_of(tag), Some(Level::Patient | Level::Study))
        });
    }

    /// Says what it says of series in the attributes of one, as far as those are `wanted`.
    pub(crate) fn correct_series(&self, attributes: &mut Attributes, wanted: impl Fn(Tag) -> bool) {
        self.correction.apply(attributes, |tag| {
            wanted(tag) && level_of(tag) == Some(Level::Series)
        });
    }
}

/// Whether `sight` reaches a study of which `facts` are known, which `sender` sent first, and whose
/// images in sight are of these kinds, as far as it asks for them.
pub(crate) fn is_seen(
    sight: &Sight,
    facts: Option<&StudyFacts>,
    (sender, kinds): (&str, &BTreeSet<Kind>),
) -> bool {
    sight.sees(match facts {
        Some(facts) => Studied::Known(facts, kinds),
        None => Studied::Unknown(sender, kinds),
    })
}
