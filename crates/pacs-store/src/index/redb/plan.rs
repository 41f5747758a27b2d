//! Where to look: a query, taken apart by levels, and the studies, series or instances that can
//! match it.
//!
//! Everything here may give too much and never too little; what it gives is still to be matched.

use super::budget::Budget;
use super::codec::{Reader, Stored};
use super::fault::Fault;
use super::rows::{Place, StudyRow};
use super::tables::{BY_ATTRIBUTE, Kind, NAMES_PER_ROW, each_key, ranges, series_of, study_of};
use super::view::View;
use crate::index::answer;
use memchr::memmem;
use pacs_core::instance::level_of;
use pacs_core::matching::{CompiledKey, Lookup, Matcher};
use pacs_core::tag::{tags, vr_of};
use pacs_core::{Attributes, Level, Matching, Query, Tag, Vr, fold};

/// A query, ready to be asked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) level: Level,
    /// Keys of the patient and study level, and those that no level has.
    pub(super) study: Matcher,
    pub(super) series: Matcher,
    pub(super) instance: Matcher,
    /// What an answer or a matcher needs, in order.
    wanted: Vec<Tag>,
    /// Text that every name that matches has in it, folded.
    in_name: String,
    /// Whether a key asks for something that no entity of the level has.
    pub(super) is_hopeless: bool,
}

/// What can match, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Candidates {
    All,
    Instances(Vec<Place>),
    /// Every key has more than were to be gathered.
    Many,
    /// Those whose names match, which are to be read for it.
    Named,
    Series(Vec<(u64, u32)>),
    Studies(Vec<u64>),
}

/// A list of candidates this short is not made shorter.
const SHORT: usize = 64;

impl Plan {
    pub(super) fn new(query: &Query) -> Self {
        let part = |wanted: &dyn Fn(Option<Level>) -> bool| {
            let keys = query.keys.iter();
            Matcher::new(&Query {
                level: query.level,
                keys: keys.filter(|k| wanted(home(k.tag))).cloned().collect(),
            })
        };
        let foreign = part(&|level| level.is_none_or(|level| level > query.level));
        let at = |level| move |home: Option<Level>| home == Some(level) && level <= query.level;
        Self {
            level: query.level,
            study: part(&|home| at(Level::Patient)(home) || at(Level::Study)(home)),
            series: part(&at(Level::Series)),
            instance: part(&at(Level::Instance)),
            wanted: answer::asked(query).into_iter().collect(),
            in_name: in_name(query),
            is_hopeless: !foreign.matches(&Attributes::new()),
        }
    }

    pub(super) fn wants(&self, tag: Tag) -> bool {
        self.wanted.binary_search(&tag).is_ok()
    }

    /// How many attributes an answer or a matcher needs, at most.
    pub(super) const fn wanted_count(&self) -> usize {
        self.wanted.len()
    }

    /// Whether all studies must be looked at, or all their names.
    pub(super) fn is_scan(&self) -> bool {
        let keys = self.study.keys().iter();
        let keys = keys.chain(self.series.keys()).chain(self.instance.keys());
        let mut by_key = keys.filter(|key| {
            [tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID].contains(&key.tag())
                || Kind::of(key.tag()).is_some()
        });
        !by_key.any(|key| useful(key) != Lookup::Scan)
    }

    /// Gathers up to `gathered_max` studies by the first key that has no more.
    pub(super) fn candidates(
        &self,
        view: &View,
        gathered_max: usize,
        budget: &Budget,
    ) -> Result<Candidates, Fault> {
        if let Some(places) = self.instances(view, budget)? {
            return Ok(Candidates::Instances(places));
        }
        if let Some(series) = self.series(view, budget)? {
            return Ok(Candidates::Series(series));
        }
        if let Some(studies) = self.studies(view, gathered_max, budget)? {
            return Ok(studies);
        }
        if self.is_named() {
            return Ok(Candidates::Named);
        }
        Ok(Candidates::All)
    }

    fn instances(&self, view: &View, budget: &Budget) -> Result<Option<Vec<Place>>, Fault> {
        for key in self.instance.keys() {
            if key.tag() != tags::SOP_INSTANCE_UID {
                continue;
            }
            if let Lookup::OneOf(uids) = useful(key) {
                let mut places = Vec::new();
                for uid in uids {
                    budget.spend(1)?;
                    places.extend(view.sop(uid)?);
                }
                places.sort_unstable();
                return Ok(Some(places));
            }
        }
        Ok(None)
    }

    fn series(&self, view: &View, budget: &Budget) -> Result<Option<Vec<(u64, u32)>>, Fault> {
        for key in self.series.keys() {
            if key.tag() != tags::SERIES_INSTANCE_UID {
                continue;
            }
            if let Some(ranges) = ranges(Kind::SERIES_UID, useful(key)) {
                let mut found = Vec::new();
                for range in ranges {
                    budget.spend(1)?;
                    each_key(&view.keys, &range, |key| {
                        found.push(series_of(key)?);
                        Ok(())
                    })?;
                }
                found.sort_unstable();
                found.dedup();
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// By the best key; where that finds many, by what others find too.
    fn studies(
        &self,
        view: &View,
        gathered_max: usize,
        budget: &Budget,
    ) -> Result<Option<Candidates>, Fault> {
        let mut best: Option<Vec<u64>> = None;
        let mut are_many = false;
        for (kind, tag) in BY_ATTRIBUTE {
            for key in self.study.keys().iter().filter(|key| key.tag() == tag) {
                let Some(ranges) = ranges(kind, useful(key)) else {
                    continue;
                };
                // Reading a key costs a fraction of what a candidate costs.
                let count_max = match &best {
                    Some(best) if best.len() <= SHORT => continue,
                    Some(best) => best.len().saturating_mul(4),
                    None => gathered_max,
                };
                let Some(found) = gather(view, &ranges, count_max, budget)? else {
                    are_many = true;
                    continue;
                };
                best = Some(match best {
                    None => found,
                    Some(mut best) => {
                        best.retain(|study| found.binary_search(study).is_ok());
                        best
                    }
                });
            }
        }
        Ok(match best {
            Some(best) => Some(Candidates::Studies(best)),
            None => are_many.then_some(Candidates::Many),
        })
    }

    /// Whether a key surely fails on `row`: found out before anything is made of the row, for walks
    /// that pass over most of what they see.
    pub(super) fn rules_out(&self, row: &StudyRow<'_>) -> Result<bool, Fault> {
        for key in self.study.keys() {
            let tag = key.tag();
            let is_stored = matches!(level_of(tag), Some(Level::Patient | Level::Study));
            if !is_stored || computed(tag).is_some() || tag == tags::STUDY_INSTANCE_UID {
                continue;
            }
            let is_out = match row.find(tag)? {
                Stored::Items => false,
                Stored::Nothing => true,
                Stored::Text(text) => !key.matches_folded(&fold::matching_key(key.vr(), text)),
            };
            if is_out {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there is a key for names that rows of names can be held against.
    pub(super) fn is_named(&self) -> bool {
        let mut keys = self.study.keys().iter();
        keys.any(|key| key.tag() == tags::PATIENT_NAME && is_usual(key))
    }

    /// What reads the names that match out of rows of names.
    pub(super) fn named(&self) -> Named<'_> {
        Named {
            plan: self,
            in_name: memmem::Finder::new(&self.in_name),
        }
    }
}

/// Finds studies by their names.
pub(super) struct Named<'p> {
    plan: &'p Plan,
    in_name: memmem::Finder<'p>,
}

impl Named<'_> {
    /// The studies of the row `at` whose names match, in order.
    pub(super) fn of_row(&self, at: u64, row: &[u8]) -> Result<Vec<u64>, Fault> {
        let mut found = Vec::new();
        if self.in_name.find(row).is_none() {
            return Ok(found);
        }
        let first = at.saturating_mul(NAMES_PER_ROW).saturating_add(1);
        let mut names = Reader::new(row, "row of names");
        for study in first.. {
            if names.rest().is_empty() {
                break;
            }
            let name = names.text()?;
            if self.plan.study.matches_key(tags::PATIENT_NAME, name) {
                found.push(study);
            }
        }
        Ok(found)
    }
}

/// The longest literal text of the pattern for names. Empty components at the end of a name need
/// not be written in a pattern, so that no text beyond a `^` may be counted on to follow what is
/// before it.
fn in_name(query: &Query) -> String {
    let mut longest = String::new();
    for key in &query.keys {
        if let Matching::WildCard(pattern) = &key.matching
            && (key.tag, key.vr) == (tags::PATIENT_NAME, Vr::PN)
        {
            let pattern = fold::matching_key(Vr::PN, pattern);
            for literal in pattern.split(['*', '?', '^', '=', '\\']) {
                if literal.len() > longest.len() {
                    longest = literal.to_owned();
                }
            }
        }
    }
    longest
}

/// The studies in `ranges`, in order; `None` where they are more than `count_max`.
fn gather(
    view: &View,
    ranges: &[std::ops::Range<Vec<u8>>],
    count_max: usize,
    budget: &Budget,
) -> Result<Option<Vec<u64>>, Fault> {
    let mut found = Vec::new();
    for range in ranges {
        if range.start >= range.end {
            continue;
        }
        let keys = range.start.as_slice()..range.end.as_slice();
        for entry in view.keys.range::<&[u8]>(keys)? {
            if found.len() >= count_max {
                return Ok(None);
            }
            if found.len() % 16 == 15 {
                budget.spend(1)?;
            }
            found.push(study_of(entry?.0.value())?);
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(Some(found))
}

/// How to find what a key can match; a key that is folded in another way than ours is not to be
/// found so.
fn useful(key: &CompiledKey) -> Lookup<'_> {
    if is_usual(key) {
        key.lookup()
    } else {
        Lookup::Scan
    }
}

fn is_usual(key: &CompiledKey) -> bool {
    key.vr() == vr_of(key.tag())
}

/// The level whose entities have `tag`.
fn home(tag: Tag) -> Option<Level> {
    computed(tag).or_else(|| level_of(tag))
}

/// The level of an attribute that no row has, since it follows from other rows.
const fn computed(tag: Tag) -> Option<Level> {
    match tag {
        tags::NUMBER_OF_PATIENT_RELATED_STUDIES
        | tags::NUMBER_OF_PATIENT_RELATED_SERIES
        | tags::NUMBER_OF_PATIENT_RELATED_INSTANCES => Some(Level::Patient),
        tags::INSTANCE_AVAILABILITY
        | tags::MODALITIES_IN_STUDY
        | tags::NUMBER_OF_STUDY_RELATED_INSTANCES
        | tags::NUMBER_OF_STUDY_RELATED_SERIES
        | tags::SOP_CLASSES_IN_STUDY => Some(Level::Study),
        tags::NUMBER_OF_SERIES_RELATED_INSTANCES => Some(Level::Series),
        _ => None,
    }
}
