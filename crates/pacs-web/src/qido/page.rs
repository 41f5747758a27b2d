//! Pages of results, and the cursors that lead from one to the next.

use super::request::SearchRequest;
use crate::error::Failure;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Tag, Uid};
use pacs_store::index::Match;

/// The UIDs of the result after which a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor(Vec<String>);

/// A page of the results.
#[derive(Debug)]
pub(crate) struct Page {
    /// Those on it.
    pub(crate) matches: Vec<Match>,
    /// How many come behind it.
    pub(crate) rest_count: usize,
}

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

    fn is(&self, result: &Attributes, level: Level) -> bool {
        let tags = names(level).iter();
        tags.zip(&self.0)
            .all(|(tag, uid)| result.text(*tag) == Some(uid))
    }
}

/// The page of `found`, which is in the order of the index, that `request` asks for.
pub(super) fn page(request: &SearchRequest, found: &[Match]) -> Result<Page, Failure> {
    let level = request.query.level;
    let is_asked_for = |result: &&Match| {
        let mut names = request.fuzzy.iter();
        names.all(|name| name.matches(&result.attributes))
    };
    let ordered: Vec<&Match> = newest_first(found, level).filter(is_asked_for).collect();
    let skipped = match &request.after {
        None => request.offset,
        Some(cursor) => {
            let mut results = ordered.iter();
            let at = results.position(|result| cursor.is(&result.attributes, level));
            let at = at.ok_or_else(|| {
                Failure::bad_request("the result that cursor names is there no more: begin again")
            })?;
            at.saturating_add(1).saturating_add(request.offset)
        }
    };
    let rest = ordered.len().saturating_sub(skipped);
    let on_page = ordered.into_iter().skip(skipped).take(request.limit);
    Ok(Page {
        matches: on_page.cloned().collect(),
        rest_count: rest.saturating_sub(request.limit),
    })
}

/// With the order of studies turned round; what belongs to one study stays as it is.
fn newest_first(found: &[Match], level: Level) -> impl Iterator<Item = &Match> {
    let study = |result: &Match| {
        let uid = result.attributes.text(tags::STUDY_INSTANCE_UID);
        uid.map(str::to_owned)
    };
    let is_together = move |a: &Match, b: &Match| level > Level::Study && study(a) == study(b);
    let groups: Vec<&[Match]> = found.chunk_by(is_together).collect();
    groups.into_iter().rev().flatten()
}
