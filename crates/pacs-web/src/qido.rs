//! QIDO-RS (PS3.18 10.6): the same query as C-FIND, over HTTP.
//!
//! Studies come newest first, by when their first instance arrived; series and instances of one
//! study in the order in which they arrived. A page that is not the last names the next one in
//! `Link`, by a cursor: what arrives meanwhile neither shifts nor repeats anything there, as it
//! may with `offset`.

mod alike;
mod answer;
mod fuzzy;
mod page;
mod request;

pub(crate) use answer::warn;
pub use request::{SearchRequest, read_search};
pub(crate) use request::{flag, leaf, number, path_of, put};

use crate::access::Allowed;
use crate::error::Failure;
use crate::limits::WebLimits;
use crate::listing::Listing;
use crate::query_string;
use crate::record;
use crate::resource::Parents;
use crate::retrieve::accept;
use crate::service::Web;
use answer::{Asked, answer};
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use pacs_core::Level;
use pacs_core::access::Find;

/// Reads the query of a URL as a search at `level`.
///
/// # Errors
/// As [`read_search`].
pub fn search_of_query(
    level: Level,
    query: Option<&str>,
    limits: &WebLimits,
) -> Result<SearchRequest, Failure> {
    let parameters = query_string::parameters(query, limits)?;
    read_search(level, &parameters, limits)
}

/// `GET /studies`
pub(crate) async fn studies(
    allowed: Allowed<Find>,
    State(web): State<Web>,
    parents: Parents,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    search(web, allowed, Level::Study, &parents, (&headers, query)).await
}

/// `GET /series`, `GET /studies/{study}/series`
pub(crate) async fn series(
    allowed: Allowed<Find>,
    State(web): State<Web>,
    parents: Parents,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    search(web, allowed, Level::Series, &parents, (&headers, query)).await
}

/// `GET /instances`, `GET /studies/{study}/instances`,
/// `GET /studies/{study}/series/{series}/instances`
pub(crate) async fn instances(
    allowed: Allowed<Find>,
    State(web): State<Web>,
    parents: Parents,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    search(web, allowed, Level::Instance, &parents, (&headers, query)).await
}

async fn search(
    web: Web,
    Allowed(permit): Allowed<Find>,
    level: Level,
    parents: &Parents,
    (headers, query): (&HeaderMap, Option<String>),
) -> Result<Response, Failure> {
    let query = query.as_deref();
    let listing = Listing::choose(&accept(&web, headers, query)?)?;
    let parameters = query_string::parameters(query, web.limits())?;
    let mut request = read_search(level, &parameters, web.limits())?;
    for (tag, uid) in parents.uids() {
        request.require(*tag, uid);
    }
    record::searched(&web, &permit, &request.query).await?;
    let found = page::page(&web, &permit, &request).await?;
    let asked = Asked {
        request: &request,
        parents,
        parameters: &parameters,
    };
    let base = web.base_url_by(headers);
    Ok(answer(&web, &asked, found, listing, base))
}
