//! The Search Transaction (PS3.18 11.9). Keys are those of a query of studies; what they mean is
//! [`pacs_core::matching`], as everywhere.

use super::{WORKITEM, Wanted};
use crate::access::Allowed;
use crate::error::Failure;
use crate::limits::WebLimits;
use crate::listing::Listing;
use crate::qido::{flag, leaf, number, path_of, put, warn};
use crate::query_string;
use crate::record;
use crate::retrieve::accept;
use crate::service::Web;
use crate::{json, xml};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Find;
use pacs_core::fold::matching_key;
use pacs_core::matching::Matcher;
use pacs_core::tag::tags;
use pacs_core::workitem::{self, MATCHED, UNASKED, Workitem};
use pacs_core::{Attributes, Key, Level, Matching, Query, Tag, Value, Vr};
use pacs_store::egress::described_as;
use std::collections::BTreeSet;

/// `GET /workitems`
pub(crate) async fn search(
    Allowed(permit): Allowed<Find>,
    State(web): State<Web>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let workitems = web.workitems()?;
    let query = query.as_deref();
    let listing = Listing::choose(&accept(&web, &headers, query)?)?;
    let parameters = query_string::parameters(query, web.limits())?;
    let asked = Asked::read(&parameters, web.limits())?;
    let _place = web.place_for_workitems(permit.caller())?;
    let described = described_as("WORKITEM", &asked.query.keys);
    record::searched_for(&web, &permit, &described).await?;
    let states = workitem::State::ALL.into_iter();
    let wanted = Wanted {
        states: states.filter(|state| asked.has_state(*state)).collect(),
        subject: workitem::subject(&asked.query.keys),
        organisation: workitem::organisation(&asked.query.keys),
    };
    let found = workitems.worklist(&permit, &wanted).await?;
    let mut page = Page::default();
    for workitem in found.workitems {
        if page.take(&asked, &workitem) {
            break;
        }
    }
    Ok(answer(&web, &asked, page, (listing, found.is_cut)))
}

/// A search, read and bounded.
struct Asked {
    query: Query,
    matcher: Matcher,
    /// What is returned.
    returned: BTreeSet<Tag>,
    limit: usize,
    offset: usize,
    warnings: Vec<String>,
}

impl Asked {
    fn read(parameters: &[(String, String)], limits: &WebLimits) -> Result<Self, Failure> {
        let mut asked = Self {
            // Keys of a workitem are of no level: none is asked for.
            query: Query::new(Level::Study),
            matcher: Matcher::new(&Query::new(Level::Study)),
            returned: UNASKED.iter().copied().collect(),
            limit: limits.workitems_unasked_max,
            offset: 0,
            warnings: Vec::new(),
        };
        for (name, value) in parameters {
            match name.as_str() {
                "limit" => asked.limit = number(name, value)?,
                "offset" => asked.offset = number(name, value)?,
                "includefield" => asked.include(value)?,
                "fuzzymatching" => {
                    if flag(name, value)? {
                        asked.warn("names of workitems are not matched by how they sound");
                    }
                }
                // Chosen before, in the place of the header.
                "accept" => {}
                _ => asked.attribute(name, value)?,
            }
        }
        if asked.limit > limits.results_max {
            asked.limit = limits.results_max;
            let most = limits.results_max;
            asked.warn(&format!("at most {most} results are returned at once"));
        }
        asked.matcher = Matcher::new(&asked.query);
        Ok(asked)
    }

    fn warn(&mut self, warning: &str) {
        if !self.warnings.iter().any(|known| known == warning) {
            self.warnings.push(warning.to_owned());
        }
    }

    /// An attribute to match, and to return.
    fn attribute(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let Some(path) = path_of(name)? else {
            self.warn("a parameter that is not known was ignored");
            return Ok(());
        };
        let Some((last, around)) = path.split_last() else {
            return Ok(());
        };
        let top = *path.first().unwrap_or(last);
        if !is_known(top) {
            self.warn(&format!("{top} is not matched here"));
            return Ok(());
        }
        self.returned.insert(top);
        let mut key = leaf(*last, value)?;
        for sequence in around.iter().rev() {
            key = Key {
                tag: *sequence,
                vr: Vr::SQ,
                matching: Matching::Sequence(vec![key]),
            };
        }
        put(&mut self.query.keys, key)
    }

    fn include(&mut self, value: &str) -> Result<(), Failure> {
        let names = value.split(',').map(str::trim);
        for name in names.filter(|name| !name.is_empty()) {
            if name == "all" {
                self.returned.extend(MATCHED);
                continue;
            }
            let path = path_of(name)?
                .ok_or_else(|| Failure::bad_request("includefield names no attribute"))?;
            match path.first() {
                Some(top) if is_known(*top) => {
                    self.returned.insert(*top);
                }
                Some(top) => self.warn(&format!("{top} is not returned here")),
                None => {}
            }
        }
        Ok(())
    }

    /// Whether workitems of `state` can match.
    fn has_state(&self, state: workitem::State) -> bool {
        let folded = matching_key(Vr::CS, state.term());
        self.matcher
            .matches_key(tags::PROCEDURE_STEP_STATE, &folded)
    }

    /// What is told of a workitem: each attribute that is returned, empty where it has none.
    fn told(&self, mut of: Attributes) -> Attributes {
        of.retain(|attribute| self.returned.contains(&attribute.tag));
        for tag in &self.returned {
            let vr = pacs_core::tag::vr_of(*tag);
            if of.get(*tag).is_none() {
                let empty = if vr == Vr::SQ {
                    Value::Items(Vec::new())
                } else {
                    Value::Text("".into())
                };
                of.insert(*tag, vr, empty);
            }
        }
        of
    }
}

fn is_known(tag: Tag) -> bool {
    UNASKED.contains(&tag) || MATCHED.contains(&tag)
}

/// Results of one answer.
#[derive(Default)]
struct Page {
    results: Vec<Attributes>,
    left_out: usize,
    has_more: bool,
}

impl Page {
    /// Takes a workitem that matches; whether the page is full.
    fn take(&mut self, asked: &Asked, workitem: &Workitem) -> bool {
        let attributes = match workitem.attributes() {
            Ok(attributes) => attributes,
            Err(error) => {
                let examination = workitem.task.examination();
                tracing::error!(%examination, %error, "a {WORKITEM} cannot be written");
                return false;
            }
        };
        if !asked.matcher.matches(&attributes) {
            return false;
        }
        if self.left_out < asked.offset {
            self.left_out = self.left_out.saturating_add(1);
            return false;
        }
        if self.results.len() >= asked.limit {
            self.has_more = true;
            return true;
        }
        self.results.push(asked.told(attributes));
        false
    }
}

fn answer(
    web: &Web,
    asked: &Asked,
    page: Page,
    (mut listing, is_cut): (Listing, bool),
) -> Response {
    let kind = [(header::CONTENT_TYPE, listing.content_type())];
    let mut response = if page.results.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let mut out = Vec::new();
        for result in &page.results {
            listing.next(&mut out);
            if listing.is_xml() {
                xml::write_attributes(&mut out, result);
            } else {
                json::write_attributes(&mut out, result);
            }
        }
        listing.end(&mut out);
        (kind, out).into_response()
    };
    if page.has_more {
        warn(
            &mut response,
            "There are additional results that can be requested",
        );
    } else if is_cut {
        warn(
            &mut response,
            "The search ended before it had looked at everything: narrow it",
        );
    }
    for warning in asked.warnings.iter().take(web.limits().warnings_max) {
        warn(&mut response, warning);
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
