//! The settings of DICOM over TLS.

use super::RemoteAe;
use clap::{Args, ValueEnum};
use pacs_core::AeTitle;
use pacs_net::tls::{ClientAuthentication, MinimumVersion};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What of TLS may be said on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsOptions {
    /// Address of the DICOM listener with TLS, by custom port 2762 [default: none]
    #[arg(long, value_name = "ADDR", env = "PACS_DICOM_TLS")]
    pub dicom_tls: Option<String>,
    /// PEM file with our certificate, then those that vouch for it
    #[arg(long, value_name = "FILE", env = "PACS_TLS_CERTIFICATE")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the private key of our certificate
    #[arg(long, value_name = "FILE", env = "PACS_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// PEM file with the authorities that may vouch for certificates of clients
    #[arg(long, value_name = "FILE", env = "PACS_TLS_CLIENT_CA")]
    pub tls_client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate [default: required where one could be accepted]
    #[arg(long, value_name = "WHETHER", env = "PACS_TLS_CLIENTS")]
    pub tls_clients: Option<Clients>,
}

/// Whether clients must show a certificate, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Clients {
    /// They are not asked
    Off,
    /// They may
    Optional,
    /// They must
    Required,
}

/// The section `[dicom.tls]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    address: Option<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_ca: Option<PathBuf>,
    clients: Option<Clients>,
    ca: Option<PathBuf>,
    minimum_version: Option<Version>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Version {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// DICOM over TLS. The files are read when the server starts, and again on SIGHUP.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
    /// Our certificate and its private key: shown by the listener, and to peers that ask for it.
    pub own: Option<(PathBuf, PathBuf)>,
    /// Who may vouch for certificates of clients.
    pub client_ca: Option<PathBuf>,
    /// Whether clients must show a certificate.
    pub clients: ClientAuthentication,
    /// Who may vouch for remote AEs that are dialled.
    pub ca: Option<PathBuf>,
    /// The oldest version that is spoken, in both directions.
    pub minimum: MinimumVersion,
}

pub(super) fn settings(
    options: &TlsOptions,
    section: TlsSection,
    aes: &BTreeMap<AeTitle, RemoteAe>,
    faults: &mut Vec<String>,
) -> TlsConfig {
    let text = options.dicom_tls.as_deref().or(section.address.as_deref());
    let address = text.and_then(|text| super::address("dicom.tls.address", text, faults));
    let certificate = options.tls_certificate.clone().or(section.certificate);
    let own = match (certificate, options.tls_key.clone().or(section.key)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            faults.push("dicom.tls.key: missing, for dicom.tls.certificate".to_owned());
            None
        }
        (None, Some(_)) => {
            faults.push("dicom.tls.certificate: missing, for dicom.tls.key".to_owned());
            None
        }
    };
    if text.is_some() && own.is_none() {
        faults.push("dicom.tls.address: TLS needs dicom.tls.certificate and key".to_owned());
    }
    let client_ca = options.tls_client_ca.clone().or(section.client_ca);
    let is_possible =
        client_ca.is_some() || aes.values().any(|ae| !ae.certificate_sha256.is_empty());
    let clients = match options.tls_clients.or(section.clients) {
        Some(Clients::Off) => ClientAuthentication::Off,
        Some(Clients::Optional) => ClientAuthentication::Optional,
        None if !is_possible => ClientAuthentication::Off,
        Some(Clients::Required) | None => ClientAuthentication::Required,
    };
    if clients != ClientAuthentication::Off && !is_possible {
        faults.push(
            "dicom.tls.clients: no certificate could be accepted; set dicom.tls.client_ca, or \
             certificate_sha256 of an AE"
                .to_owned(),
        );
    }
    let config = TlsConfig {
        address,
        own,
        clients,
        ca: section.ca,
        minimum: match section.minimum_version {
            Some(Version::Tls13) => MinimumVersion::Tls13,
            Some(Version::Tls12) | None => MinimumVersion::Tls12,
        },
        client_ca,
    };
    for ae in aes.values() {
        check(ae, &config, text.is_some(), faults);
    }
    config
}

/// What of an AE does not go with the settings of TLS.
fn check(ae: &RemoteAe, config: &TlsConfig, listens: bool, faults: &mut Vec<String>) {
    let mut fault = |what: &str| faults.push(format!("dicom.ae {}: {what}", ae.title));
    let is_bound = !ae.certificate_sha256.is_empty() || ae.certificate_subject.is_some();
    // One that is dialled is known by its certificate there, whether it can show it here or not.
    if is_bound && !ae.tls {
        if !listens {
            fault("is bound to a certificate, and there is no dicom.tls.address to show it at");
        } else if config.clients == ClientAuthentication::Off {
            fault("is bound to a certificate, and dicom.tls.clients asks for none");
        }
    }
    if ae.certificate_subject.is_some() && config.client_ca.is_none() {
        fault("certificate_subject is worth nothing without dicom.tls.client_ca");
    }
    let is_trusted = ae.tls_ca.is_some() || config.ca.is_some();
    if ae.tls && !is_trusted && ae.certificate_sha256.is_empty() {
        fault("tls needs tls_ca, dicom.tls.ca or certificate_sha256 to know the peer by");
    }
}
