//! DICOMweb, as this server has it: below `/dicomweb`, under the policy of [`Access`].

mod counters;

pub use counters::Counters;

use crate::access::Access;
use crate::accounts::Accounts;
use crate::api::guard::{is_of, secret, shows_token, told_address};
use crate::clients::{Clients, Stranger};
use crate::config::Config;
use crate::cors;
use crate::direct::{authority_of, is_direct};
use crate::recorder::Recorder;
use async_trait::async_trait;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{Method, header};
use pacs_core::Caller;
use pacs_core::access::SignedIn;
use pacs_image::Decoders;
use pacs_store::Archive;
use pacs_store::egress::Overlays;
use pacs_store::registry::Registry;
use pacs_web::commitment::Commitment;
use pacs_web::hide::Deletion;
use pacs_web::workitems::Workitems;
use pacs_web::{Derived, Identify, Options, Unidentified, Web, WebLimits};
use std::net::SocketAddr;
use std::sync::Arc;

/// Where it is mounted.
pub const PREFIX: &str = "/dicomweb";

/// Who gets in, what they are given, and who records it.
pub type Doors<'a> = (
    &'a Arc<Access>,
    &'a Arc<dyn Overlays>,
    &'a Accounts,
    &'a Recorder,
);

/// What stands behind the routes, beside the archive.
pub type Makers = (Decoders, Derived, Answering);

/// What answers for safekeeping, deletes, and has reading tasks.
pub type Answering = (Arc<dyn Commitment>, Arc<dyn Deletion>, Arc<dyn Workitems>);

/// The routes, and what is behind them; `http` is where the server really listens.
pub fn routes(
    archive: &Archive,
    config: &Config,
    (access, overlays, accounts, recorder): Doors<'_>,
    (decoders, derived, (commitment, deletion, workitems)): Makers,
    http: Option<SocketAddr>,
    counters: &Counters,
) -> (Router, Web) {
    let options = Options {
        identify: Arc::new(Door {
            clients: access.clients(),
            accounts: accounts.clone(),
            registry: archive.registry(),
            authority: config
                .web
                .public_url
                .as_deref()
                .map(authority_of)
                .map(Arc::from),
            open_loopback: config.web.open_loopback,
        }),
        policy: Arc::clone(access) as _,
        overlays: Arc::clone(overlays),
        prefix: PREFIX.to_owned(),
        public_url: config.web.public_url.clone(),
        local_port: http.map(|http| http.port()),
        decoders: Some(decoders),
        commitment: Some(commitment),
        deletion: Some(deletion),
        workitems: Some(workitems),
        derived,
        spool_directory: Some(config.data.clone()),
        record: Some(Arc::new(recorder.clone())),
        observer: Some(Arc::new(counters.clone())),
        limits: WebLimits::default(),
    };
    let web = Web::new(archive.clone(), options);
    let routes = pacs_web::routes(web.clone());
    // Around everything: what browsers ask first carries no token.
    let origins = config.web.cors_origins.clone();
    let routes = routes.layer(axum::middleware::from_fn_with_state(origins, cors::allow));
    let counters = counters.clone();
    let routes = routes.layer(axum::middleware::from_fn_with_state(
        counters,
        counters::count,
    ));
    // As a service: its root is there with a slash at the end, too.
    (Router::new().nest_service(PREFIX, routes), web)
}

/// What a client may show.
const CHALLENGE: &str = "Bearer realm=\"pacs\", Basic realm=\"pacs\", charset=\"UTF-8\"";

/// Who gets in.
#[derive(Debug)]
struct Door {
    clients: Clients,
    accounts: Accounts,
    /// Knows which numbers a patient has.
    registry: Registry,
    /// The host that the portal is reached by, where that is configured.
    authority: Option<Arc<str>>,
    open_loopback: bool,
}

impl Door {
    /// Whoever is signed in to the portal, whose viewer asks for images with the cookie of the
    /// session. What changes something has the token of the session, as everywhere in the API.
    async fn signed_in(&self, head: &Parts, secret: &str) -> Option<SignedIn> {
        let is_safe = matches!(head.method, Method::GET | Method::HEAD);
        let is_ours = || {
            is_of(self.authority.as_deref(), &head.headers) && shows_token(&head.headers, secret)
        };
        if !is_safe && !is_ours() {
            return None;
        }
        let who = self.accounts.who(secret).await.ok()?;
        if who.must_change_password() {
            return None;
        }
        let address = told_address(head, self.authority.is_some())?;
        let person = self.accounts.person(who, &self.registry, (address, None));
        person.await.ok()
    }
}

#[async_trait]
impl Identify for Door {
    async fn identify(&self, head: &Parts) -> Result<Caller, Unidentified> {
        let refused = |is_guessing| Unidentified {
            challenge: CHALLENGE,
            is_guessing,
        };
        let client = head.extensions.get::<ConnectInfo<SocketAddr>>();
        let address = client.map(|client| client.0.ip().to_canonical());
        let address = address.ok_or_else(|| refused(false))?;
        let mut shown = head.headers.get_all(header::AUTHORIZATION).iter();
        let name = match (shown.next(), shown.next()) {
            (Some(authorization), None) => {
                let authorization = authorization.to_str().unwrap_or_default();
                let name = self.clients.name(authorization, address);
                Some(name.map_err(|stranger| refused(stranger == Stranger::Guessing))?)
            }
            (None, _) if let Some(secret) = secret(&head.headers) => {
                let user = self.signed_in(head, &secret).await;
                return user
                    .map(|user| Caller::User(Box::new(user)))
                    .ok_or(refused(false));
            }
            (None, _) if self.open_loopback && address.is_loopback() && is_direct(head) => None,
            // Of two, a proxy may have looked at the other one.
            _ => return Err(refused(false)),
        };
        Ok(Caller::Client { address, name })
    }
}
