//! The register that the settings name.

use super::{CitizenRegister, Endpoint, FileRegister, Register, TundukRest, TundukSoap};
use crate::clock::World;
use crate::config::register::{EndpointConfig, EndpointTls, RegisterConfig, RegisterKind};
use crate::tls::{TlsFileError, authorities, credentials};
use pacs_net::tls::{ClientSettings, MinimumVersion, TlsClient, Trust};
use pacs_store::registry::Registry;
use std::collections::BTreeSet;

/// The desk before the register that `config` names.
///
/// # Errors
/// [`TlsFileError`] where its certificates are of no use.
pub fn open(
    config: &RegisterConfig,
    registry: Registry,
    world: World,
) -> Result<Register, TlsFileError> {
    let asked: Option<Box<dyn CitizenRegister>> = match &config.kind {
        None => None,
        Some(RegisterKind::File(path)) => Some(Box::new(FileRegister::new(path.clone()))),
        Some(RegisterKind::TundukSoap {
            endpoint: at,
            xroad,
        }) => Some(Box::new(TundukSoap::new(endpoint(at)?, xroad.clone()))),
        Some(RegisterKind::TundukRest {
            endpoint: at,
            xroad,
            paths,
        }) => {
            let (xroad, paths) = (xroad.clone(), paths.clone());
            Some(Box::new(TundukRest::new(endpoint(at)?, xroad, paths)))
        }
    };
    Ok(Register::new(asked, registry, config.rules, world))
}

fn endpoint(config: &EndpointConfig) -> Result<Endpoint, TlsFileError> {
    Ok(Endpoint {
        address: config.address.clone(),
        path: config.path.clone(),
        tls: config.tls.as_ref().map(client).transpose()?,
    })
}

fn client(config: &EndpointTls) -> Result<TlsClient, TlsFileError> {
    let trust = match &config.ca {
        // A fingerprint says more than an authority does.
        _ if !config.certificate_sha256.is_empty() => {
            Trust::Pinned(config.certificate_sha256.clone())
        }
        Some(ca) => Trust::Authorities(authorities(ca)?),
        // The settings do not pass without either.
        None => Trust::Pinned(BTreeSet::new()),
    };
    let own = config.own.as_ref();
    let own = own.map(|(certificate, key)| credentials(certificate, key));
    let settings = ClientSettings {
        trust,
        credentials: own.transpose()?,
        name: config.name.clone(),
        minimum: MinimumVersion::Tls12,
    };
    TlsClient::new(&settings).map_err(|source| TlsFileError::Settings {
        of: "register".to_owned(),
        source,
    })
}
