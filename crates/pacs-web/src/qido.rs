//! QIDO-RS (PS3.18 10.6): the same query as C-FIND, over HTTP.
//!
//! Studies come newest first, by when their first instance arrived; series and instances of one
//! study in the order in which they arrived. A page that is not the last names the next one in
//! `Link`, by a cursor: what arrives meanwhile neither shifts nor repeats anything there, as it
//! may with `offset`.

mod answer;
mod fuzzy;
mod page;
mod request;

pub use request::{SearchRequest, read_search};

use crate::access::Allowed;
use crate::error::Failure;
use crate::limits::WebLimits;
use crate::query_string;
use crate::resource;
use crate::retrieve::{accept, json_type};
use crate::service::Web;
use answer::{Asked, answer};
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use pacs_core::access::Find;
use pacs_core::tag::tags;
use pacs_core::{Level, Permit, Tag};

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
    Allowed(permit): Allowed<Find>,
    State(web): State<Web>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    search(&web, &permit, &headers, Level::Study, &[], query.as_deref()).await
}

/// `GET /series`
pub(crate) async fn series(
    Allowed(permit): Allowed<Find>,
    State(web): State<Web>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    search(
        &web,
        &permit,
        &headers,
        Level::Series,
        &[],
        query.as_deref(),
    )
    .await
}

/// `GET /instances`
pub(crate) async fn instances(
    Allowed(permit): Allowed<Find>,
    State(web): State<Web>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    search(
        &web,
        &permit,
        &headers,
        Level::Instance,
        &[],
        query.as_deref(),
    )
    .await
}

/// `GET /studies/{study}/series`
pub(crate) async fn series_of_study(
    Allowed(permit): Allowed<Find>,
    State(web): State<Web>,
    Path(study): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let parents = [(tags::STUDY_INSTANCE_UID, study)];
    search(
        &web,
        &permit,
        &headers,
        Level::Series,
        &parents,
        query.as_deref(),
    )
    .await
}

/// `GET /studies/{study}/instances`
pub(crate) async fn instances_of_study(
    Allowed(permit): Allowed<Find>,
    State(web): State<Web>,
    Path(study): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let parents = [(tags::STUDY_INSTANCE_UID, study)];
    search(
        &web,
        &permit,
        &headers,
        Level::Instance,
        &parents,
        query.as_deref(),
    )
    .await
}

/// `GET /studies/{study}/series/{series}/instances`
pub(crate) async fn instances_of_series(
    Allowed(permit): Allowed<Find>,
    State(web): State<Web>,
    Path((study, series)): Path<(String, String)>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let parents = [
        (tags::STUDY_INSTANCE_UID, study),
        (tags::SERIES_INSTANCE_UID, series),
    ];
    search(
        &web,
        &permit,
        &headers,
        Level::Instance,
        &parents,
        query.as_deref(),
    )
    .await
}

async fn search(
    web: &Web,
    permit: &Permit<Find>,
    headers: &HeaderMap,
    level: Level,
    parents: &[(Tag, String)],
    query: Option<&str>,
) -> Result<Response, Failure> {
    let kind = json_type(&accept(web, headers, query)?)?;
    let parameters = query_string::parameters(query, web.limits())?;
    let mut request = read_search(level, &parameters, web.limits())?;
    let mut named = Vec::new();
    for (tag, uid) in parents {
        let uid = resource::uid(uid)?;
        request.require(*tag, &uid);
        named.push((*tag, uid));
    }
    let found = web.archive().search(permit, &request.query).await?;
    let page = page::page(&request, &found)?;
    drop(found);
    let base = web.base_url_by(headers);
    let asked = Asked {
        request: &request,
        parents: &named,
        parameters: &parameters,
    };
    answer(web, &asked, page, (kind, &base))
}
