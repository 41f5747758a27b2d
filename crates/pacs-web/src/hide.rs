//! Deletion (PS3.18 10.4 has none; servers agree on DELETE): what is deleted goes out of sight, and
//! can be brought back. Nothing is ever erased here.

use crate::access::Allowed;
use crate::error::Failure;
use crate::resource::{Resource, Target};
use crate::service::Web;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pacs_core::Permit;
use pacs_core::access::{Get, Hide};

/// What is written down as the reason.
const REASON: &str = "deleted over DICOMweb";

/// `DELETE /studies/{study}`
pub(crate) async fn study(
    Allowed(may_see): Allowed<Get>,
    Allowed(permit): Allowed<Hide>,
    State(web): State<Web>,
    Path(study): Path<String>,
) -> Result<StatusCode, Failure> {
    hide(&web, &may_see, &permit, &Resource::new(&study, None, None)?).await
}

/// `DELETE /studies/{study}/series/{series}`
pub(crate) async fn series(
    Allowed(may_see): Allowed<Get>,
    Allowed(permit): Allowed<Hide>,
    State(web): State<Web>,
    Path((study, series)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let resource = Resource::new(&study, Some(&series), None)?;
    hide(&web, &may_see, &permit, &resource).await
}

/// `DELETE /studies/{study}/series/{series}/instances/{instance}`
pub(crate) async fn instance(
    Allowed(may_see): Allowed<Get>,
    Allowed(permit): Allowed<Hide>,
    State(web): State<Web>,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<StatusCode, Failure> {
    let resource = Resource::new(&study, Some(&series), Some(&instance))?;
    hide(&web, &may_see, &permit, &resource).await
}

async fn hide(
    web: &Web,
    may_see: &Permit<Get>,
    permit: &Permit<Hide>,
    resource: &Resource,
) -> Result<StatusCode, Failure> {
    // A path whose parts do not belong together names nothing.
    resource.instances(web, may_see).await?;
    // The archive hides by one UID, in whatever study that is.
    if resource.stands_elsewhere(web, may_see).await? {
        let what = resource.what();
        let detail = format!("the UID of the {what} also stands elsewhere: nothing was deleted");
        return Err(Failure::Conflict { detail });
    }
    let target: Target = resource.target()?;
    let hidden_count = web.archive().hide(permit, target, REASON).await?;
    tracing::info!(
        level = resource.what(),
        uid = resource.last_uid().map(pacs_core::Uid::as_str),
        hidden_count,
        "hidden on request over DICOMweb"
    );
    Ok(StatusCode::NO_CONTENT)
}
