//! The routes, and what stands behind them.

use crate::access::Identify;
use crate::error::Failure;
use crate::limits::WebLimits;
use crate::retrieve;
use crate::stow;
use axum::Router;
use axum::http::header;
use axum::http::request::Parts;
use axum::routing::{get, post};
use pacs_core::Policy;
use pacs_store::Archive;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    /// For requests that store.
    stores: Arc<Semaphore>,
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

    /// A place among those who store, while the archive takes instances.
    pub(crate) fn place_to_store(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let full = |detail| Failure::Unavailable { detail };
        if !self.inner.archive.has_room() {
            return Err(full("the disk is full"));
        }
        if !self.inner.archive.has_memory() {
            return Err(full("instances on their way take all memory"));
        }
        let place = Arc::clone(&self.inner.stores).try_acquire_owned();
        place.map_err(|_none| full("too many requests store at the moment"))
    }

    /// What URLs in an answer to the request with this head begin with.
    pub(crate) fn base_url(&self, head: &Parts) -> String {
        let options = &self.inner.options;
        if let Some(url) = &options.public_url {
            return url.clone();
        }
        let host = head.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let host = host.or_else(|| head.uri.authority().map(|at| at.as_str()));
        let is_host = |host: &&str| {
            host.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
        };
        match host.filter(is_host) {
            Some(host) => format!("http://{host}{}", options.prefix),
            None => options.prefix.clone(),
        }
    }

    pub(crate) fn policy(&self) -> &dyn Policy {
        &*self.inner.options.policy
    }
}

/// The routes of DICOMweb over `archive`, to be served as they are or nested below
/// [`Options::prefix`].
pub fn router(archive: Archive, options: Options) -> Router {
    let web = Web {
        inner: Arc::new(Inner {
            archive,
            stores: Arc::new(Semaphore::new(options.limits.stores_max)),
            options,
        }),
    };
    Router::new()
        .route("/studies", post(stow::store))
        .route("/studies/{study}", post(stow::store_to_study))
        .route(
            "/studies/{study}/series/{series}/instances/{instance}",
            get(retrieve::instance),
        )
        .with_state(web)
}
