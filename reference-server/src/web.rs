//! DICOMweb, as this server has it: below `/dicomweb`, under the policy of [`Access`].

mod counters;

pub use counters::Counters;

use crate::access::Access;
use crate::clients::{Clients, Stranger};
use crate::config::Config;
use crate::cors;
use crate::direct::is_direct;
use async_trait::async_trait;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::header;
use axum::http::request::Parts;
use pacs_core::Caller;
use pacs_image::Decoders;
use pacs_store::Archive;
use pacs_web::commitment::Commitment;
use pacs_web::{Derived, Identify, Options, Unidentified, Web, WebLimits};
use std::net::SocketAddr;
use std::sync::Arc;

/// Where it is mounted.
pub const PREFIX: &str = "/dicomweb";

/// The routes, and what is behind them; `http` is where the server really listens.
pub fn routes(
    archive: &Archive,
    config: &Config,
    access: &Arc<Access>,
    (decoders, derived, commitment): (Decoders, Derived, Arc<dyn Commitment>),
    http: Option<SocketAddr>,
    counters: &Counters,
) -> (Router, Web) {
    let options = Options {
        identify: Arc::new(Door {
            clients: access.clients(),
            open_loopback: config.web.open_loopback,
        }),
        policy: Arc::clone(access) as _,
        prefix: PREFIX.to_owned(),
        public_url: config.web.public_url.clone(),
        local_port: http.map(|http| http.port()),
        decoders: Some(decoders),
        commitment: Some(commitment),
        derived,
        spool_directory: Some(config.data.clone()),
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
    open_loopback: bool,
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
            (None, _) if self.open_loopback && address.is_loopback() && is_direct(head) => None,
            // Of two, a proxy may have looked at the other one.
            _ => return Err(refused(false)),
        };
        Ok(Caller::Client { address, name })
    }
}
