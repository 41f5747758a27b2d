//! Associations of the tool.

use super::failure::Failure;
use super::{Connection, Search, Wanted};
use pacs_core::{Level, Query};
use pacs_net::NetLimits;
use pacs_net::requestor::{Requestor, RequestorBuilder};
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, PATIENT_ROOT_FIND, PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE,
};
use std::net::SocketAddr;

/// What is proposed for commands and identifiers.
pub(super) const UNCOMPRESSED: [&str; 2] = [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN];

/// The query/retrieve classes of the model that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classes {
    pub(super) find: &'static str,
    pub(super) get: &'static str,
    pub(super) move_to: &'static str,
}

impl Connection {
    /// An association to be, without presentation contexts.
    pub(super) fn builder(&self) -> RequestorBuilder {
        let limits = NetLimits {
            connect_duration_max: self.timeout,
            association_duration_max: self.timeout,
            response_duration_max: self.timeout,
            ..NetLimits::default()
        };
        Requestor::builder(self.ae_title.clone(), self.peer.title.clone()).limits(limits)
    }

    /// The association of `builder` with the peer. A peer that does not say that it knows the user
    /// would answer for nobody in particular.
    pub(super) async fn connect(&self, builder: &RequestorBuilder) -> Result<Requestor, Failure> {
        let mut builder = builder.clone();
        if let Some(tls) = self.tls.connector()? {
            builder = builder.connector(tls);
        }
        let identity = self.person.identity()?;
        let is_named = identity.is_some();
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        self.resolve().await?;
        let association = builder.connect(&self.peer.address).await?;
        if is_named && association.negotiated().identity_response.is_none() {
            association.abort().await;
            let what = "the peer does not say that it knows the user";
            return Err(Failure::Association(what.to_owned()));
        }
        Ok(association)
    }

    /// Where the peer's name points: at one address or more.
    pub(super) async fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let address = &self.peer.address;
        let looking = tokio::net::lookup_host(address);
        let found = match tokio::time::timeout(self.timeout, looking).await {
            Ok(Ok(found)) => found.collect(),
            Ok(Err(error)) => return Err(Failure::Name(format!("{address}: {error}"))),
            Err(_) => return Err(Failure::Name(format!("{address}: no answer in time"))),
        };
        if Vec::is_empty(&found) {
            return Err(Failure::Name(format!("{address} has no address")));
        }
        Ok(found)
    }
}

impl Search {
    /// What was typed, as a query.
    pub(super) fn query(&self) -> Result<Query, Failure> {
        self.wanted.query()
    }

    pub(super) const fn classes(&self) -> Classes {
        if self.wanted.patient_root {
            Classes {
                find: PATIENT_ROOT_FIND,
                get: PATIENT_ROOT_GET,
                move_to: PATIENT_ROOT_MOVE,
            }
        } else {
            Classes {
                find: STUDY_ROOT_FIND,
                get: STUDY_ROOT_GET,
                move_to: STUDY_ROOT_MOVE,
            }
        }
    }
}

impl Wanted {
    /// What was typed, as a query.
    pub(super) fn query(&self) -> Result<Query, Failure> {
        let mut query = Query::new(Level::from(self.level));
        for key in &self.keys {
            let added = query.key(key.tag, &key.value);
            query = added.map_err(|error| Failure::CommandLine(error.to_string()))?;
        }
        Ok(query)
    }
}
