//! The routes, and what stands behind them.

use crate::access::Identify;
use crate::limits::WebLimits;
use crate::retrieve;
use axum::Router;
use axum::routing::get;
use pacs_core::Policy;
use pacs_store::Archive;
use std::sync::Arc;

/// How an archive is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Says who asks.
    pub identify: Arc<dyn Identify>,
    /// Says what they may do: the same as under DIMSE.
    pub policy: Arc<dyn Policy>,
    /// Where the routes are mounted, as in `/dicomweb`: URLs in answers begin so.
    pub prefix: String,
    /// What URLs in answers begin with, where clients come by another name than they say in Host
    /// (behind a proxy with TLS): scheme, host and path, without a slash at the end.
    pub public_url: Option<String>,
    /// Bounds.
    pub limits: WebLimits,
}

/// What every handler has: the archive, and how it is served. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Web {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    archive: Archive,
    options: Options,
}

impl Web {
    /// The archive. Nothing can be asked of it without a permit.
    #[must_use]
    pub fn archive(&self) -> &Archive {
        &self.inner.archive
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> &WebLimits {
        &self.inner.options.limits
    }

    pub(crate) fn identify(&self) -> &dyn Identify {
        &*self.inner.options.identify
    }

    pub(crate) fn policy(&self) -> &dyn Policy {
        &*self.inner.options.policy
    }
}

/// The routes of DICOMweb over `archive`, to be served as they are or nested below
/// [`Options::prefix`].
pub fn router(archive: Archive, options: Options) -> Router {
    let web = Web {
        inner: Arc::new(Inner { archive, options }),
    };
    Router::new()
        .route(
            "/studies/{study}/series/{series}/instances/{instance}",
            get(retrieve::instance),
        )
        .with_state(web)
}
