//! Parts of the results of a search.

use super::{IndexError, Match, Quota, Results};
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Tag};

/// Which part of the results.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The UIDs of a result, from the study down to the level of the query: the page begins after
    /// it, whatever has come or gone before.
    pub after: Option<Vec<String>>,
    /// Results that are left out before the page.
    pub offset: usize,
    /// Results on the page, at most.
    pub count_max: usize,
}

/// The results on a page.
#[derive(Debug)]
pub struct PageOfMatches {
    /// In order, with the memory they take.
    pub matches: Results<Match>,
    /// Whether there are more behind them.
    pub has_more: bool,
}

/// The keys that name a result of `level`, from the study down.
fn names(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient => &[tags::PATIENT_ID],
        Level::Study => &[tags::STUDY_INSTANCE_UID],
        Level::Series => &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID],
        Level::Instance => &[
            tags::STUDY_INSTANCE_UID,
            tags::SERIES_INSTANCE_UID,
            tags::SOP_INSTANCE_UID,
        ],
    }
}

/// The page of all that was found, which is in the order of the index.
pub(super) fn of_all(
    found: Results<Match>,
    level: Level,
    page: &Page,
    quota: &Quota,
) -> Result<Option<PageOfMatches>, IndexError> {
    let mut turning = Turning::new(level, page, quota);
    let study = |result: &Match| {
        let uid = result.attributes.text(tags::STUDY_INSTANCE_UID);
        uid.map(str::to_owned)
    };
    let is_together = |a: &Match, b: &Match| level > Level::Study && study(a) == study(b);
    let groups: Vec<&[Match]> = found.chunk_by(is_together).collect();
    for result in groups.into_iter().rev().flatten() {
        if turning.take(result.clone())? {
            break;
        }
    }
    Ok(turning.end())
}

/// A page that results are laid on in their order.
pub(super) struct Turning<'p> {
    level: Level,
    page: &'p Page,
    has_begun: bool,
    skipped: usize,
    laid: PageOfMatches,
}

impl<'p> Turning<'p> {
    pub(super) fn new(level: Level, page: &'p Page, quota: &Quota) -> Self {
        Self {
            level,
            page,
            has_begun: page.after.is_none(),
            skipped: 0,
            laid: PageOfMatches {
                matches: Results::new(quota),
                has_more: false,
            },
        }
    }

    /// Takes the next result; whether no more are needed.
    ///
    /// # Errors
    /// As [`Results::push`].
    pub(super) fn take(&mut self, result: Match) -> Result<bool, IndexError> {
        if !self.has_begun {
            self.has_begun = self.is_last_of_page_before(&result.attributes);
        } else if self.skipped < self.page.offset {
            self.skipped += 1;
        } else if self.laid.matches.len() < self.page.count_max {
            self.laid.matches.push(result)?;
        } else {
            self.laid.has_more = true;
        }
        Ok(self.laid.has_more)
    }

    pub(super) fn end(self) -> Option<PageOfMatches> {
        self.has_begun.then_some(self.laid)
    }

    fn is_last_of_page_before(&self, result: &Attributes) -> bool {
        let after = self.page.after.as_deref().unwrap_or_default();
        let names = names(self.level);
        after.len() == names.len()
            && names
                .iter()
                .zip(after)
                .all(|(tag, uid)| result.text(*tag) == Some(uid))
    }
}
