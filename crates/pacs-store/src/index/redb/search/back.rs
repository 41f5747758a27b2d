//! Pages of a search: from the newest study back, and no further than the page is full.

use super::{Search, Sink};
use crate::index::page::Turning;
use crate::index::redb::budget::Budget;
use crate::index::redb::fault::Fault;
use crate::index::redb::plan::{Candidates, Plan};
use crate::index::redb::rows::{StudyRow, entity_key, from_entity_key};
use crate::index::redb::tables::{Kind, NAMES_PER_ROW, each_key, exact, study_of};
use crate::index::redb::view::View;
use crate::index::{Match, Page, PageOfMatches, Quota};
use pacs_core::{Vr, fold};

/// A page of what matches `plan`: studies from the last one on, each in its own order. Of a key
/// up to `gathered_max` candidates are gathered at first.
pub(in crate::index::redb) fn page(
    view: &View,
    plan: &Plan,
    (page, gathered_max): (&Page, usize),
    quota: &Quota,
    budget: &Budget,
) -> Result<Option<PageOfMatches>, Fault> {
    let search = Search::new(view, plan, quota, budget);
    let mut turning = Turning::new(plan.level, page, quota);
    let from = search.page_begins(page)?;
    let results_count = page.offset.saturating_add(page.count_max);
    let newest = Newest {
        gathered_max,
        rows_count: u64::try_from(results_count.saturating_add(gathered_max))
            .unwrap_or(u64::MAX)
            .saturating_mul(ROWS_PER_RESULT),
    };
    let turned = search.run_back(from, newest, &mut |found| {
        let attributes = found.attributes;
        if turning.take(Match { attributes })? {
            Err(Fault::Enough)
        } else {
            Ok(())
        }
    });
    match turned {
        Ok(()) | Err(Fault::Enough) => Ok(turning.end()),
        Err(other) => Err(other),
    }
}

/// When a page looks at the newest studies before it gathers all that a key finds.
#[derive(Debug, Clone, Copy)]
struct Newest {
    /// Where every key has more candidates.
    gathered_max: usize,
    /// Rows of studies and series that it looks at then.
    rows_count: u64,
}

/// Rows that are looked at for each result and candidate: reading one costs about as much as
/// gathering some candidates.
const ROWS_PER_RESULT: u64 = 2;

/// Rows that are passed over, having been looked at, in the time that it takes to answer with one.
const ROWS_PASSED: usize = 8;

impl Search<'_> {
    /// The study of the result after which `page` begins: those behind it need not be looked at.
    /// One that whoever asks does not see is not there.
    fn page_begins(&self, page: &Page) -> Result<u64, Fault> {
        let Some(study) = page.after.as_ref().and_then(|uids| uids.first()) else {
            return Ok(u64::MAX);
        };
        // Studies are numbered from 1 on: behind one that is not there is nothing.
        let mut last = 0;
        let uid = fold::matching_key(Vr::UI, study);
        each_key(
            &self.view.keys,
            &exact(Kind::STUDY_UID, uid.as_bytes()),
            |key| {
                last = study_of(key)?;
                Ok(())
            },
        )?;
        if last != 0 && !self.sees(last)? {
            last = 0;
        }
        Ok(last)
    }

    /// As [`Self::run`], with the studies from `from` back to the first.
    fn run_back(&self, from: u64, newest: Newest, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if self.plan.is_hopeless {
            return Ok(());
        }
        let plan = self.plan;
        let mut from = from;
        let mut candidates = plan.candidates(self.view, newest.gathered_max, self.budget)?;
        if candidates == Candidates::Many {
            let left = if plan.is_named() {
                // Names stand together, and are folded.
                self.named_back(from, newest.rows_count, sink)?
            } else {
                self.walk_back(from, newest.rows_count, sink)?
            };
            match left {
                None => return Ok(()),
                Some(left) => from = left,
            }
            candidates = plan.candidates(self.view, usize::MAX, self.budget)?;
        }
        match candidates {
            Candidates::All | Candidates::Many => {
                self.walk_back(from, u64::MAX, sink)?;
                Ok(())
            }
            Candidates::Named => {
                self.named_back(from, u64::MAX, sink)?;
                Ok(())
            }
            Candidates::Studies(studies) => {
                for study in studies.into_iter().rev().filter(|study| *study <= from) {
                    self.one_study(study, |row| self.study(study, row, None, sink))?;
                }
                Ok(())
            }
            Candidates::Series(series) => {
                for of_study in series.chunk_by(|a, b| a.0 == b.0).rev() {
                    self.these_series(of_study, from, sink)?;
                }
                Ok(())
            }
            Candidates::Instances(places) => {
                for of_study in places.chunk_by(|a, b| a.study == b.study).rev() {
                    self.these_instances(of_study, from, sink)?;
                }
                Ok(())
            }
        }
    }

    /// Goes on with the studies from `from` back, until `rows_count` rows were read; the study to
    /// go on from then, where there may be any.
    fn walk_back(
        &self,
        from: u64,
        rows_count: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Option<u64>, Fault> {
        let end = entity_key(from, u32::MAX);
        let entries = self.view.entities.range::<&[u8]>(..=end.as_slice())?;
        let mut left_count = rows_count;
        for (at, entry) in entries.rev().enumerate() {
            if at % ROWS_PASSED == 0 {
                self.budget.spend(1)?;
            }
            let (key, row) = entry?;
            let (study, series) = from_entity_key(key.value())?;
            left_count = left_count.saturating_sub(1);
            if series == 0 {
                let row = StudyRow::decode(row.value())?;
                if !self.plan.rules_out(&row)? {
                    self.budget.spend(1)?;
                    self.study(study, &row, None, sink)?;
                }
                if left_count == 0 {
                    return Ok(study.checked_sub(1).filter(|next| *next > 0));
                }
            }
        }
        Ok(None)
    }

    /// As [`Self::walk_back`], with the studies whose names match.
    fn named_back(
        &self,
        from: u64,
        rows_count: u64,
        sink: &mut Sink<'_>,
    ) -> Result<Option<u64>, Fault> {
        let named = self.plan.named();
        let last = from.saturating_sub(1) / NAMES_PER_ROW;
        let mut left_count = rows_count;
        for entry in self.view.names.range(..=last)?.rev() {
            self.budget.spend(1)?;
            let (at, row) = entry?;
            let studies = named.of_row(at.value(), row.value())?;
            for study in studies.into_iter().rev().filter(|study| *study <= from) {
                left_count = left_count.saturating_sub(1);
                self.one_study(study, |row| {
                    if self.plan.rules_out(row)? {
                        return Ok(());
                    }
                    self.study(study, row, None, sink)
                })?;
            }
            left_count = left_count.saturating_sub(1);
            if left_count == 0 {
                let first = at.value().saturating_mul(NAMES_PER_ROW);
                return Ok(Some(first).filter(|next| *next > 0));
            }
        }
        Ok(None)
    }
}
