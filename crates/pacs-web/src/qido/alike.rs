//! The page of a search for names that are alike (`fuzzymatching`): no index finds them, so that
//! they are looked at one by one. Names of patients and studies are compared once for each study,
//! whatever the level of the search, and only within a study that is alike its series and instances
//! are looked at. No page looks at more than a bounded number of results; where it ends before it
//! has found all, the next one goes on there.

use super::page::{Cursor, Found, gone};
use super::request::{SearchRequest, level_of_key};
use crate::error::Failure;
use crate::service::Web;
use pacs_core::access::Find;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Key, Level, Matching, Permit, Query, Vr};
use pacs_store::index::{Match, Page, PageOfMatches};

/// Results that are looked at together.
const LOOKED_AT: usize = 1_000;

/// At least: most of them may not be alike.
const LOOKED_AT_MIN: usize = 64;

/// A page that is being filled.
struct Looking<'r> {
    web: &'r Web,
    permit: &'r Permit<Find>,
    request: &'r SearchRequest,
    chosen: PageOfMatches,
    left_out: usize,
    looked_at: usize,
    /// The last of the results on the page.
    last: Option<Cursor>,
}

/// Whether the page has come to its end.
enum Step {
    Ended(Found),
    GoOn,
}

/// The page that `request`, which names somebody, asks for.
///
/// # Errors
/// [`Failure::Unavailable`] where this client or all of them look at too much already.
pub(super) async fn page(
    web: &Web,
    permit: &Permit<Find>,
    request: &SearchRequest,
) -> Result<Found, Failure> {
    let _place = web.place_to_look(permit.caller())?;
    let mut looking = Looking {
        web,
        permit,
        request,
        chosen: web.archive().page_of_none(),
        left_out: 0,
        looked_at: 0,
        last: None,
    };
    let after = request.after.clone();
    if request.names_below_study() {
        // These are few, wherever they are.
        return Ok(match looking.results(&request.query, after).await? {
            Step::Ended(found) => found,
            Step::GoOn => looking.end(),
        });
    }
    looking.studies(after).await
}

impl Looking<'_> {
    /// All studies behind the cursor, and before them the rest of its own.
    async fn studies(mut self, after: Option<Cursor>) -> Result<Found, Failure> {
        let level = self.request.query.level;
        let mut study = after.as_ref().map(|cursor| cursor.study().to_owned());
        if let (Some(cursor), Some(study)) = (after, &study)
            && level > Level::Study
            && !cursor.is_study()
            && let Step::Ended(found) = self.within(study, Some(cursor)).await?
        {
            return Ok(found);
        }
        let query = self.request.of_studies();
        loop {
            let page = Page {
                after: study.take().map(|study| vec![study]),
                offset: 0,
                count_max: LOOKED_AT,
            };
            let found = self.web.archive().search_page(self.permit, &query, &page);
            let found = found.await?.ok_or_else(gone)?;
            let has_more = found.has_more;
            for result in found.matches {
                let uid = result.attributes.text(tags::STUDY_INSTANCE_UID);
                let uid = uid.unwrap_or_default().to_owned();
                self.looked_at = self.looked_at.saturating_add(1);
                if self.is_alike(&result.attributes, Level::Study)
                    && let Step::Ended(found) = self.within(&uid, None).await?
                {
                    return Ok(found);
                }
                if self.has_looked_enough() {
                    return Ok(self.cut(Cursor::of_study(&uid)));
                }
                study = Some(uid);
            }
            if !has_more {
                return Ok(self.end());
            }
        }
    }

    /// The results in a study that is alike, behind the cursor.
    async fn within(&mut self, study: &str, after: Option<Cursor>) -> Result<Step, Failure> {
        let query = self.request.query.clone().with(Key {
            tag: tags::STUDY_INSTANCE_UID,
            vr: Vr::UI,
            matching: Matching::SingleValue(study.to_owned()),
        });
        self.results(&query, after).await
    }

    /// The results of `query` behind the cursor that are alike.
    async fn results(&mut self, query: &Query, after: Option<Cursor>) -> Result<Step, Failure> {
        let mut after = after;
        loop {
            let page = Page {
                after: after.map(Cursor::into_uids),
                offset: 0,
                count_max: self.wanted(),
            };
            let found = self.web.archive().search_page(self.permit, query, &page);
            let found = found.await?.ok_or_else(gone)?;
            let has_more = found.has_more;
            let mut at = None;
            for result in found.matches {
                self.looked_at = self.looked_at.saturating_add(1);
                at = Cursor::after(&result.attributes, query.level);
                if self.is_alike(&result.attributes, query.level)
                    && !self.take(result, at.as_ref())?
                {
                    return Ok(Step::Ended(self.full()));
                }
            }
            match at {
                Some(at) if has_more && self.has_looked_enough() => {
                    return Ok(Step::Ended(self.cut(at)));
                }
                Some(at) if has_more => after = Some(at),
                _ => return Ok(Step::GoOn),
            }
        }
    }

    /// Puts one on the page, or leaves it out before; not where the page is full.
    fn take(&mut self, result: Match, at: Option<&Cursor>) -> Result<bool, Failure> {
        if self.left_out < self.request.offset {
            self.left_out = self.left_out.saturating_add(1);
            return Ok(true);
        }
        if self.chosen.matches.len() >= self.request.limit {
            return Ok(false);
        }
        self.chosen.matches.push(result)?;
        self.last = at.cloned();
        Ok(true)
    }

    /// Results that are looked at next: no more than the page can still take, where all are alike.
    fn wanted(&self) -> usize {
        let left_out = self.request.offset.saturating_sub(self.left_out);
        let room = self.request.limit.saturating_sub(self.chosen.matches.len());
        let wanted = left_out.saturating_add(room).saturating_add(1);
        wanted.clamp(LOOKED_AT_MIN, LOOKED_AT)
    }

    /// Whether the names of `level` and above are those that are looked for.
    fn is_alike(&self, attributes: &Attributes, level: Level) -> bool {
        let mut names = self.request.fuzzy.iter();
        names.all(|name| {
            let of = level_of_key(name.tag());
            of.is_some_and(|of| of > level) || name.matches(attributes)
        })
    }

    fn has_looked_enough(&self) -> bool {
        self.looked_at >= self.web.limits().looked_at_max
    }

    fn found(&mut self, next: Option<Cursor>, is_cut: bool) -> Found {
        let empty = self.web.archive().page_of_none();
        let mut page = std::mem::replace(&mut self.chosen, empty);
        page.has_more = next.is_some() || is_cut;
        Found {
            page,
            next,
            offset: self.request.offset.saturating_sub(self.left_out),
            is_cut,
        }
    }

    /// There are more.
    fn full(&mut self) -> Found {
        let next = self.last.take();
        let mut found = self.found(next, false);
        found.page.has_more = true;
        found
    }

    /// Nobody has looked at what is behind `at`.
    fn cut(&mut self, at: Cursor) -> Found {
        self.found(Some(at), true)
    }

    /// There are no more.
    fn end(&mut self) -> Found {
        self.found(None, false)
    }
}

#[cfg(test)]
mod tests;
