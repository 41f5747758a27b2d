//! Deletion (PS3.18 10.4 has none; servers agree on DELETE): what is deleted goes out of sight, and
//! can be brought back. Nothing is ever erased here.

use crate::access::Allowed;
use crate::error::Failure;
use crate::record::{self, Use};
use crate::resource::{Resource, Target};
use crate::service::Web;
use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use pacs_core::access::{Get, Hide};
use pacs_core::{Level, Permit};

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
    // A path whose parts do not belong together names nothing.
    let found = resource.select(web, may_see).await?;
    let target: Target = resource.target()?;
    let hidden_count = if let Some(deletion) = web.deletion() {
        deletion.delete(permit, target).await?
    } else {
        if !web.archive().may_hide(permit, &target).await? {
            // It is seen, and somebody else's: nothing is done, and nothing recorded as done.
            return Err(Failure::Forbidden);
        }
        let is_part = resource.level() > Level::Study;
        record::used(web, may_see, Use::Hide, (&*found, is_part)).await?;
        web.archive().hide(permit, target, REASON).await?
    };
    if hidden_count == 0 && permit.sight().is_narrowed() {
        // It became somebody else's meanwhile.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ProgramSent, Record, Unrecorded};
    use crate::testing::{Service, may};
    use async_trait::async_trait;
    use pacs_core::access::{Action, permit};
    use pacs_core::role::sight::{Onlooker, Senders, Sight};
    use pacs_core::{Caller, Phi, Policy};
    use pacs_store::index::StoredInstance;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts what is recorded as done.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl Record for Counting {
        async fn searched(&self, _: &Caller, _: &Phi<String>) -> Result<(), Unrecorded> {
            Ok(())
        }

        async fn used(
            &self,
            _: &Caller,
            what: Use,
            _: (&[StoredInstance], bool),
        ) -> Result<(), Unrecorded> {
            assert_eq!(what, Use::Hide);
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }

        async fn program_sent(&self, _: &Caller, _: ProgramSent<'_>) -> Result<(), Unrecorded> {
            Ok(())
        }
    }

    /// Nothing is theirs.
    #[derive(Debug)]
    struct Stranger;

    impl Policy for Stranger {
        fn permits(&self, _: &Caller, _: Action) -> bool {
            true
        }

        fn sight(&self, _: &Caller, _: Action) -> Sight {
            let at = std::time::SystemTime::UNIX_EPOCH.into();
            let senders = Arc::new(Senders::default());
            Sight::Narrowed(Arc::new(Onlooker::machine(None, senders, at)))
        }
    }

    #[tokio::test]
    async fn a_deletion_that_is_refused_is_not_recorded_as_done() {
        let counting = Arc::new(Counting::default());
        let record = Arc::clone(&counting);
        let service = Service::with(|options| options.record = Some(record)).await;
        service.store(1, 1, "Asanov^Bakyt").await;
        let resource = Resource::new("2.25.1", None, None).unwrap();
        let caller = Caller::System { task: "test" };
        let stranger = permit::<Hide>(&Stranger, caller).unwrap();

        let refused = hide(&service.web, &may(), &stranger, &resource).await;
        assert!(matches!(refused, Err(Failure::Forbidden)));
        assert_eq!(counting.0.load(Ordering::Relaxed), 0);

        let done = hide(&service.web, &may(), &may(), &resource).await;
        assert_eq!(done.unwrap(), StatusCode::NO_CONTENT);
        assert_eq!(counting.0.load(Ordering::Relaxed), 1);
    }
}
