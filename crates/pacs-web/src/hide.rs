//! Deletion (PS3.18 10.4 has none; servers agree on DELETE): what is deleted goes out of sight, and
//! can be brought back. Nothing is ever erased here.

use crate::access::Allowed;
use crate::error::Failure;
use crate::record::Use;
use crate::resource::{Resource, Target};
use crate::service::Web;
use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use pacs_core::Permit;
use pacs_core::access::{Get, Hide};

/// What is written down as the reason.
const REASON: &str = "deleted over DICOMweb";

/// Takes what is deleted out of sight, and records who did it: what the host program does in place
/// of the archive alone.
#[async_trait]
pub trait Deletion: std::fmt::Debug + Send + Sync + 'static {
    /// Hides `target` for the caller of the permit; how many instances that were.
    ///
    /// # Errors
    /// [`DeletionRefused`]; nothing was hidden then.
    async fn delete(&self, permit: &Permit<Hide>, target: Target) -> Result<u64, DeletionRefused>;
}

/// Why something is not deleted. Exhaustive on purpose: each has a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeletionRefused {
    /// What is there does not allow it, such as a report that stands on it.
    #[error("it cannot be deleted as it is")]
    Conflict,
    /// It failed, and whoever looks after the server was told.
    #[error("it could not be deleted")]
    Failed,
    /// There is no such thing, or not for whoever asks.
    #[error("there is no such thing")]
    NotFound,
}

impl From<DeletionRefused> for Failure {
    fn from(refused: DeletionRefused) -> Self {
        match refused {
            DeletionRefused::Conflict => Self::Conflict {
                detail: refused.to_string(),
            },
            DeletionRefused::Failed => Self::Internal,
            DeletionRefused::NotFound => Self::NotFound { what: "resource" },
        }
    }
}

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
    let target: Target = resource.target()?;
    // A path whose parts do not belong together names nothing.
    let hidden_count = if let Some(deletion) = web.deletion() {
        let _found = resource.found(web, may_see).await?;
        deletion.delete(permit, target).await?
    } else {
        let _found = resource.instances_for(web, may_see, Use::Hide).await?;
        web.archive().hide(permit, target, REASON).await?
    };
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
