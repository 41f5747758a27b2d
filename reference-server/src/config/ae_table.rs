//! The AE table: who the remote AEs are, what they may do, and where they may be.

use super::network::{self, Network};
use super::{addresses, idle_duration, title};
use pacs_core::{Action, AeTitle};
use pacs_net::security::Fingerprint;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AeSection {
    title: String,
    address: String,
    #[serde(default)]
    allow: Vec<Action>,
    #[serde(default)]
    move_to: Vec<String>,
    #[serde(default)]
    source_addresses: Vec<String>,
    #[serde(default)]
    tls: bool,
    #[serde(default)]
    certificate_sha256: Vec<String>,
    certificate_subject: Option<String>,
    tls_ca: Option<PathBuf>,
    tls_name: Option<String>,
    #[serde(default)]
    sees: AeSight,
    #[serde(default)]
    notify: bool,
    idle_seconds: Option<u64>,
}

/// What an AE sees of an archive that knows organisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AeSight {
    /// Every study: another archive, a reading station of the whole country.
    Everything,
    /// What the organisation makes whose device it is; of none, nothing.
    #[default]
    Organisation,
}

impl AeSight {
    /// As the configuration names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::Organisation => "organisation",
        }
    }
}

/// A remote AE of the configuration.
#[derive(Debug, Clone)]
pub struct RemoteAe {
    /// Its title.
    pub title: AeTitle,
    /// Where it listens, resolved at start and on SIGHUP.
    pub address: SocketAddr,
    /// The host of its address as it is written: what its certificate has to name.
    pub host: String,
    /// Where its associations may come from: `source_addresses`, or else all addresses that its
    /// host name stands for.
    pub sources: BTreeSet<Network>,
    /// It is dialled by TLS, and its associations must come over TLS.
    pub tls: bool,
    /// Certificates it may show, in both directions; empty: any.
    pub certificate_sha256: BTreeSet<Fingerprint>,
    /// The subject that its certificate must have when it associates, in the form of RFC 4514.
    pub certificate_subject: Option<String>,
    /// Who may vouch for it when it is dialled, instead of [`TlsConfig::ca`].
    ///
    /// [`TlsConfig::ca`]: super::tls::TlsConfig::ca
    pub tls_ca: Option<PathBuf>,
    /// What its certificate has to name, instead of `host`.
    pub tls_name: Option<String>,
    /// What it may ask.
    pub allow: BTreeSet<Action>,
    /// Titles it may name as C-MOVE destination.
    pub move_to: BTreeSet<AeTitle>,
    /// What it sees.
    pub sees: AeSight,
    /// It is told which instances are to be had (PS3.4 Annex R), of what it sees.
    pub notify: bool,
    /// How long its associations may be idle, instead of [`Config::idle_duration_max`].
    ///
    /// [`Config::idle_duration_max`]: super::Config::idle_duration_max
    pub idle_duration_max: Option<Duration>,
}

impl RemoteAe {
    /// Whether its associations may come from `address`.
    #[must_use]
    pub fn comes_from(&self, address: IpAddr) -> bool {
        self.sources.iter().any(|network| network.contains(address))
    }
}

/// Each of `texts`, read; what cannot be is a fault of `key`.
fn parsed<T>(ae: &str, key: &str, texts: &[String], faults: &mut Vec<String>) -> BTreeSet<T>
where
    T: FromStr<Err: Display> + Ord,
{
    let mut read = BTreeSet::new();
    for text in texts {
        match text.parse() {
            Ok(value) => {
                read.insert(value);
            }
            Err(error) => faults.push(format!("{ae}.{key}: {text:?}: {error}")),
        }
    }
    read
}

/// The table, checked.
pub(super) fn remote_aes(
    sections: &[AeSection],
    faults: &mut Vec<String>,
) -> BTreeMap<AeTitle, RemoteAe> {
    let mut aes = BTreeMap::new();
    for (at, section) in sections.iter().enumerate() {
        let key = format!("dicom.ae[{at}]");
        let title_of_it = title(&format!("{key}.title"), &section.title, faults);
        let addresses_of_it = addresses(&format!("{key}.address"), &section.address, faults);
        let address_of_it = addresses_of_it.first().copied();
        if address_of_it.is_some_and(|a| a.port() == 0) {
            faults.push(format!("{key}.address: port 0 is nowhere"));
        }
        if let Some(why) = refused_destination(&section.address, &addresses_of_it) {
            faults.push(format!("{key}.address: {why}"));
        }
        let sources = parsed(&key, "source_addresses", &section.source_addresses, faults);
        let certificate_sha256 = parsed(
            &key,
            "certificate_sha256",
            &section.certificate_sha256,
            faults,
        );
        let move_to = section
            .move_to
            .iter()
            .filter_map(|text| title(&format!("{key}.move_to"), text, faults))
            .collect();
        let idle_duration_max = section
            .idle_seconds
            .map(|seconds| idle_duration(&format!("{key}.idle_seconds"), seconds, faults));
        let (Some(title), Some(address)) = (title_of_it, address_of_it) else {
            continue;
        };
        let allow = section.allow.iter().copied().collect();
        let host = section
            .address
            .rsplit_once(':')
            .map_or("", |(host, _)| host);
        let ae = RemoteAe {
            title: title.clone(),
            address,
            host: host.trim_matches(['[', ']']).to_owned(),
            sources: if section.source_addresses.is_empty() {
                addresses_of_it.iter().map(|a| a.ip().into()).collect()
            } else {
                sources
            },
            tls: section.tls,
            certificate_sha256,
            certificate_subject: section.certificate_subject.clone(),
            tls_ca: section.tls_ca.clone(),
            tls_name: section.tls_name.clone(),
            allow,
            move_to,
            sees: section.sees,
            notify: section.notify,
            idle_duration_max,
        };
        if aes.insert(title.clone(), ae).is_some() {
            faults.push(format!("{key}.title: {title} stands twice"));
        }
    }
    let unknown: Vec<String> = aes
        .values()
        .flat_map(|ae| ae.move_to.iter().map(move |to| (ae, to)))
        .filter(|(_, to)| !aes.contains_key(*to))
        .map(|(ae, to)| format!("dicom.ae {}: move_to {to} is not configured", ae.title))
        .collect();
    faults.extend(unknown);
    aes
}

/// Says which AEs are listeners of this server: a C-MOVE there would go round in circles.
pub(super) fn own_destinations(
    aes: &BTreeMap<AeTitle, RemoteAe>,
    listeners: impl Iterator<Item = SocketAddr> + Clone,
) -> Vec<String> {
    aes.values()
        .filter(|ae| is_own(ae.address, listeners.clone()))
        .map(|ae| {
            let (title, address) = (&ae.title, ae.address);
            format!("dicom.ae {title}: {address} is a listener of this server itself")
        })
        .collect()
}

/// Whether a connection to `address` would reach one of `listeners`.
#[must_use]
pub fn is_own(address: SocketAddr, mut listeners: impl Iterator<Item = SocketAddr>) -> bool {
    let ip = address.ip().to_canonical();
    listeners.any(|listener| {
        let listens_at = listener.ip().to_canonical();
        let is_everywhere = listens_at.is_unspecified();
        listener.port() == address.port()
            && (listens_at == ip || is_everywhere && is_of_this_machine(ip))
    })
}

fn is_of_this_machine(ip: IpAddr) -> bool {
    // The system lets nobody bind to an address that is not its own.
    ip.is_unspecified() || ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Why the addresses of an AE are none to send patient data to. An address that is written as such
/// is meant; a name leads wherever name servers say.
pub(super) fn refused_destination(text: &str, found: &[SocketAddr]) -> Option<String> {
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_meant = literal.is_ok() || host == "localhost";
    found.iter().map(SocketAddr::ip).find_map(|ip| {
        let what = network::special(ip)?;
        let is_nowhere = ip.is_unspecified() || ip.is_multicast();
        (is_nowhere || !is_meant).then(|| {
            format!("{text:?} leads to {ip}, which is {what}; no instance is sent there by name")
        })
    })
}
