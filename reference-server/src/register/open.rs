//! The register that the settings name.

use super::{CitizenRegister, Endpoint, FileRegister, Register, TundukRest, TundukSoap};
use crate::clock::World;
use crate::config::register::{EndpointConfig, RegisterConfig, RegisterKind};
use crate::tls::{TlsFileError, outgoing};
use pacs_store::registry::Registry;

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
    let tls = config.tls.as_ref().map(|tls| outgoing("register", tls));
    Ok(Endpoint {
        address: config.address.clone(),
        path: config.path.clone(),
        tls: tls.transpose()?,
    })
}
