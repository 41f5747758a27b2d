//! Pages of results, and the cursors that lead from one to the next.

use super::request::SearchRequest;
use crate::error::Failure;
use crate::service::Web;
use pacs_core::access::Find;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Permit, Tag, Uid};
use pacs_store::index::{Match, Page, PageOfMatches};

/// Results that are looked at together, where they are chosen here and not by the index.
const LOOKED_AT: usize = 1_000;

/// The UIDs of the result after which a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor(Vec<String>);

/// The UIDs that name a result of `level`.
const fn names(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient | Level::Study => &[tags::STUDY_INSTANCE_UID],
        Level::Series => &[tags::STUDY_INSTANCE_UID, tags::SERIES_INSTANCE_UID],
        Level::Instance => &[
            tags::STUDY_INSTANCE_UID,
            tags::SERIES_INSTANCE_UID,
            tags::SOP_INSTANCE_UID,
        ],
    }
}

impl Cursor {
    /// Reads what [`Self::to_text`] wrote.
    pub(super) fn parse(text: &str, level: Level) -> Result<Self, Failure> {
        let uids = text.split('/').map(|uid| {
            let uid = Uid::parse_legacy(uid).ok()?;
            Some(uid.as_str().to_owned())
        });
        let uids: Option<Vec<String>> = uids.collect();
        uids.filter(|uids| uids.len() == names(level).len())
            .map(Self)
            .ok_or_else(|| Failure::bad_request("cursor is none of this search"))
    }

    /// The cursor that goes on after `result`.
    pub(super) fn after(result: &Attributes, level: Level) -> Option<Self> {
        let uids = names(level).iter();
        let uids = uids.map(|tag| result.text(*tag).map(str::to_owned));
        uids.collect::<Option<Vec<String>>>().map(Self)
    }

    /// In a form for URLs.
    pub(super) fn to_text(&self) -> String {
        self.0.join("/")
    }
}

/// The page that `request` asks for: the index looks no further than its end.
pub(super) async fn page(
    web: &Web,
    permit: &Permit<Find>,
    request: &SearchRequest,
) -> Result<PageOfMatches, Failure> {
    let after = request.after.as_ref().map(|cursor| cursor.0.clone());
    let page = Page {
        after,
        offset: request.offset,
        count_max: request.limit,
    };
    if !request.fuzzy.is_empty() {
        return chosen(web, permit, request, page).await;
    }
    let found = web.archive().search_page(permit, &request.query, &page);
    found.await?.ok_or_else(gone)
}

fn gone() -> Failure {
    Failure::bad_request("the result that cursor names is there no more: begin again")
}

/// The page of those results whose names are like the ones that are looked for.
async fn chosen(
    web: &Web,
    permit: &Permit<Find>,
    request: &SearchRequest,
    page: Page,
) -> Result<PageOfMatches, Failure> {
    let is_asked_for = |result: &Match| {
        let mut names = request.fuzzy.iter();
        names.all(|name| name.matches(&result.attributes))
    };
    let mut looking = Page {
        after: page.after.clone(),
        offset: 0,
        count_max: LOOKED_AT,
    };
    let mut left_out: usize = 0;
    let mut chosen = web.archive().page_of_none();
    loop {
        let found = web.archive().search_page(permit, &request.query, &looking);
        let found = found.await?.ok_or_else(gone)?;
        let last = found.matches.last().map(|last| &last.attributes);
        let next = last.and_then(|last| Cursor::after(last, request.query.level));
        for result in found.matches.into_iter().filter(is_asked_for) {
            if left_out < page.offset {
                left_out = left_out.saturating_add(1);
            } else if chosen.matches.len() < page.count_max {
                chosen.matches.push(result)?;
            } else {
                chosen.has_more = true;
                return Ok(chosen);
            }
        }
        match next {
            Some(cursor) if found.has_more => looking.after = Some(cursor.0),
            _ => return Ok(chosen),
        }
    }
}
