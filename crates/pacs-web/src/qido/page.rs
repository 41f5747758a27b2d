//! Pages of results, and the cursors that lead from one to the next.

use super::alike;
use super::request::SearchRequest;
use crate::error::Failure;
use crate::service::Web;
use pacs_core::access::Find;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Permit, Tag, Uid};
use pacs_store::index::{Page, PageOfMatches};

/// The UIDs of the result after which a page begins: its own, and those above it; the study alone
/// where the page begins behind all that is in it.
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
        uids.filter(|uids| uids.len() == 1 || uids.len() == names(level).len())
            .map(Self)
            .ok_or_else(Self::foreign)
    }

    /// The answer to one of another search.
    pub(super) fn foreign() -> Failure {
        Failure::bad_request("cursor is none of this search")
    }

    /// The cursor that goes on after `result`.
    pub(super) fn after(result: &Attributes, level: Level) -> Option<Self> {
        let uids = names(level).iter();
        let uids = uids.map(|tag| result.text(*tag).map(str::to_owned));
        uids.collect::<Option<Vec<String>>>().map(Self)
    }

    /// The cursor that goes on behind this study.
    pub(super) fn of_study(study: &str) -> Self {
        Self(vec![study.to_owned()])
    }

    /// The study of the result.
    pub(super) fn study(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Whether it goes on behind a study.
    pub(super) const fn is_study(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether it names a result of `level`.
    pub(super) fn is_whole(&self, level: Level) -> bool {
        self.0.len() == names(level).len()
    }

    /// The UIDs.
    pub(super) fn into_uids(self) -> Vec<String> {
        self.0
    }

    /// In a form for URLs.
    pub(super) fn to_text(&self) -> String {
        self.0.join("/")
    }
}

/// A page, and what is known of the next one.
pub(super) struct Found {
    pub(super) page: PageOfMatches,
    /// Where the next page begins, where there may be one.
    pub(super) next: Option<Cursor>,
    /// Results that the next page leaves out before it begins.
    pub(super) offset: usize,
    /// Whether the search ended before the page was full: not all was looked at.
    pub(super) is_cut: bool,
}

/// The page that `request` asks for: the index looks no further than its end.
pub(super) async fn page(
    web: &Web,
    permit: &Permit<Find>,
    request: &SearchRequest,
) -> Result<Found, Failure> {
    if !request.fuzzy.is_empty() {
        return alike::page(web, permit, request).await;
    }
    let level = request.query.level;
    let after = request.after.clone();
    let page = Page {
        after: after.map(Cursor::into_uids),
        offset: request.offset,
        count_max: request.limit,
    };
    let found = web.archive().search_page(permit, &request.query, &page);
    let page = found.await?.ok_or_else(gone)?;
    let last = page.matches.last().filter(|_| page.has_more);
    let next = last.and_then(|last| Cursor::after(&last.attributes, level));
    Ok(Found {
        page,
        next,
        offset: 0,
        is_cut: false,
    })
}

pub(super) fn gone() -> Failure {
    Failure::bad_request("the result that cursor names is there no more: begin again")
}
