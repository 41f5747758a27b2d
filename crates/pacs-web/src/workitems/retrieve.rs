//! The Retrieve Workitem Transaction (PS3.18 11.5).

use super::{WORKITEM, inputs, task_of};
use crate::access::Allowed;
use crate::error::Failure;
use crate::qido::warn;
use crate::service::Web;
use crate::single::Form;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pacs_core::access::Find;

/// `GET /workitems/{workitem}`
pub(crate) async fn retrieve(
    Allowed(permit): Allowed<Find>,
    State(web): State<Web>,
    Path(workitem): Path<String>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let workitems = web.workitems()?;
    let form = Form::choose(&web, &headers, query.as_deref())?;
    let task = task_of(&workitem)?;
    let found = workitems.workitem(&permit, task).await?;
    let mut attributes = found.attributes().map_err(|error| {
        let examination = task.examination();
        tracing::error!(%examination, %error, "a {WORKITEM} cannot be written");
        Failure::Internal
    })?;
    let base = web.base_url_by(&headers);
    let named = inputs::of(&web, &permit, &found, (&base, workitems.title())).await?;
    inputs::put(&mut attributes, named.items);
    let kind = [(header::CONTENT_TYPE, form.media_type())];
    let mut response = (kind, form.write(&attributes)).into_response();
    if named.is_cut {
        let most = web.limits().workitem_instances_max;
        let warning = format!("Input Information Sequence names the first {most} instances");
        warn(&mut response, &warning);
    }
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&format!("{base}/workitems/{workitem}")) {
        headers.insert(header::CONTENT_LOCATION, location);
    }
    Ok(response)
}
