//! Deletion (PS3.18 10.4 has none; servers agree on DELETE): what is deleted goes out of sight, and
//! can be brought back. Nothing is ever erased here.

use crate::access::Allowed;
use crate::error::Failure;
use crate::record::Use;
use crate::resource::{Resource, Target};
use crate::service::Web;
use axum::extract::State;
use axum::http::StatusCode;
use pacs_core::Permit;
use pacs_core::access::{Get, Hide};

/// What is written down as the reason.
const REASON: &str = "deleted over DICOMweb";

/// `DELETE /studies/{study}` and what is below it
pub(crate) async fn delete(
    Allowed(may_see): Allowed<Get>,
    Allowed(permit): Allowed<Hide>,
    State(web): State<Web>,
    resource: Resource,
) -> Result<StatusCode, Failure> {
    hide(&web, &may_see, &permit, &resource).await
}

async fn hide(
    web: &Web,
    may_see: &Permit<Get>,
    permit: &Permit<Hide>,
    resource: &Resource,
) -> Result<StatusCode, Failure> {
    // A path whose parts do not belong together names nothing.
    let _found = resource.instances_for(web, may_see, Use::Hide).await?;
    let target: Target = resource.target()?;
    let hidden_count = web.archive().hide(permit, target, REASON).await?;
    if hidden_count == 0 && permit.sight().is_narrowed() {
        // It is seen, and somebody else's.
        return Err(Failure::Forbidden);
    }
    tracing::info!(
        level = resource.what(),
        uid = resource.last_uid().map(pacs_core::Uid::as_str),
        hidden_count,
        "hidden on request over DICOMweb"
    );
    Ok(StatusCode::NO_CONTENT)
}
