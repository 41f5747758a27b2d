//! The API of the portal, below `/api/v1`: JSON over HTTP, with a session in a cookie.
//!
//! docs/api.md tells the conventions; `routes` is the table that the router and the `OpenAPI`
//! document are made of. Whoever handles a request gets `guard::Signed` or nothing: a handler
//! cannot forget to ask who it is.

mod accounts;
mod asked;
mod conditional;
mod cursor;
mod devices;
mod emergency;
mod examinations;
mod feed;
pub(crate) mod guard;
mod images;
mod looking;
mod notices;
mod oidc;
mod openapi;
mod organisations;
mod page;
mod patients;
mod problem;
mod register;
mod repeat;
mod reports;
mod routes;
mod session;
mod set_up;
mod statistics;
mod stream;
mod studies;
mod trail;
mod unmatched;
mod users;
mod worklist;

pub(crate) use cursor::Cursors;
pub use feed::Feed;
pub use problem::Problem;
pub(crate) use repeat::forget;

use crate::accounts::Accounts;
use crate::clock::World;
use crate::oidc::Provider;
use crate::register::Register;
use crate::rejecting::Keeping;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use images::Images;
use pacs_store::Archive;
use pacs_store::matcher::Matcher;
use pacs_store::registry::Registry;
use pacs_web::Web;
use problem::codes;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Where it is mounted.
pub const PREFIX: &str = "/api/v1";

/// What every handler has.
#[derive(Debug, Clone)]
struct Api {
    accounts: Accounts,
    registry: Registry,
    /// What is seen of studies by those who decide whose they are.
    desk: Arc<Matcher>,
    register: Register,
    images: Images,
    feed: Feed,
    /// What seals where parts of lists begin.
    cursors: Cursors,
    world: World,
    /// Held by whoever has the whole audit trail read.
    verifying: Arc<Semaphore>,
    /// What takes images out of sight and sends them; `None`: those paths are not there.
    keeping: Option<Keeping>,
    /// What makes pictures; `None`: there are none.
    pictures: Option<Web>,
    /// Who says who somebody is, beside passwords; `None`: those paths are not there.
    provider: Option<Provider>,
    /// The host that the portal is reached by, where that is configured.
    public_authority: Option<Arc<str>>,
}

/// What stands behind the routes, beside archive and accounts.
pub(crate) struct Behind {
    /// What seals where parts of lists begin.
    pub(crate) cursors: Cursors,
    /// Follows the change sequence for those who look at examinations while they are made.
    pub(crate) feed: Feed,
    /// What is seen of studies by those who decide whose they are.
    pub(crate) desk: Arc<Matcher>,
    /// The citizen register.
    pub(crate) register: Register,
    /// What takes images out of sight and sends them; `None`: those paths are not there.
    pub(crate) keeping: Option<Keeping>,
    /// What makes pictures; `None`: there are none.
    pub(crate) pictures: Option<Web>,
    /// Who says who somebody is, beside passwords; `None`: those paths are not there.
    pub(crate) provider: Option<Provider>,
}

/// The routes.
pub(crate) fn router(
    archive: &Archive,
    accounts: Accounts,
    behind: Behind,
    public_url: Option<&str>,
) -> Router {
    let authority = public_url.map(crate::direct::authority_of);
    let api = Api {
        accounts,
        registry: archive.registry(),
        desk: behind.desk,
        register: behind.register,
        verifying: Arc::new(Semaphore::new(1)),
        images: behind.feed.images.clone(),
        feed: behind.feed,
        cursors: behind.cursors,
        world: World::real(),
        keeping: behind.keeping,
        pictures: behind.pictures,
        provider: behind.provider,
        public_authority: authority.map(Arc::from),
    };
    let routes = routes::table(Router::new())
        .fallback(async || codes::NOT_FOUND.problem())
        .method_not_allowed_fallback(async || codes::METHOD.problem())
        .layer(DefaultBodyLimit::max(crate::limits::API_BODY_BYTES_MAX))
        .layer(axum::middleware::from_fn_with_state(
            api.clone(),
            guard::guard,
        ))
        .with_state(api);
    Router::new().nest(PREFIX, routes)
}
