//! The server's settings: command line, `PACS_*` variables, TOML file, defaults, in this order of
//! strength.
//!
//! [`Config::load`] checks the whole before anything is opened and names every fault at once.

pub mod accounts;
mod associations;
pub mod audit;
pub mod derived;
pub mod network;
pub mod oidc;
pub mod register;
pub mod tls;
pub mod web;

pub use associations::AssociationLimits;

use crate::accounts::AccountRules;
use accounts::AccountsSection;
use associations::LimitsSection;
use audit::{AuditSection, SyslogConfig};
use clap::Parser;
use derived::{DerivedConfig, DerivedSection};
use network::Network;
use oidc::OidcConfig;
use pacs_core::{Action, AeTitle};
use pacs_net::security::Fingerprint;
use pacs_store::scrub::ScrubPlan;
use register::{RegisterConfig, RegisterSection};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tls::{TlsConfig, TlsOptions, TlsSection};
use web::WebConfig;

/// What may be said on the command line of `pacs-server`; everything can stand in the environment
/// too.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "pacs-server", version, about = "DICOM archive server")]
pub struct Options {
    /// TOML file with settings
    #[arg(long, value_name = "FILE", env = "PACS_CONFIG")]
    pub config: Option<PathBuf>,
    /// A demonstration to look at, in a folder of its own, or in this one
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with_all = ["config", "data"])]
    pub demo: Option<Option<PathBuf>>,
    /// Directory of the archive, made if absent [default: ./pacs-data]
    #[arg(long, value_name = "DIR", env = "PACS_DATA")]
    pub data: Option<PathBuf>,
    /// Address of the DICOM listener; port 0 takes a free one [default: 127.0.0.1:11112]
    #[arg(long, value_name = "ADDR", env = "PACS_DICOM")]
    pub dicom: Option<String>,
    /// Address of the HTTP listener; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "PACS_HTTP")]
    pub http: Option<String>,
    /// AE title of this archive [default: PACS]
    #[arg(long, value_name = "AE", env = "PACS_AE_TITLE")]
    pub ae_title: Option<String>,
    /// Allow DICOM without TLS on an address that is not loopback
    #[arg(long, value_name = "BOOL", env = "PACS_INSECURE_DICOM", num_args = 0..=1,
          default_missing_value = "true")]
    pub insecure_dicom: Option<bool>,
    /// Allow HTTP, which has no TLS, on an address that is not loopback
    #[arg(long, value_name = "BOOL", env = "PACS_INSECURE_HTTP", num_args = 0..=1,
          default_missing_value = "true")]
    pub insecure_http: Option<bool>,
    /// Let every program of this machine use DICOMweb without a token; HTTP must be on loopback
    #[arg(long, value_name = "BOOL", env = "PACS_OPEN_LOOPBACK", num_args = 0..=1,
          default_missing_value = "true")]
    pub open_loopback: Option<bool>,
    /// DICOM over TLS
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// The TOML file. Unknown keys are refused, so that a misspelt right is not silently absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    #[serde(default)]
    dicom: DicomSection,
    #[serde(default)]
    http: HttpSection,
    #[serde(default)]
    scrub: ScrubSection,
    #[serde(default)]
    derived: DerivedSection,
    #[serde(default)]
    accounts: AccountsSection,
    #[serde(default)]
    register: RegisterSection,
    #[serde(default)]
    audit: AuditSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScrubSection {
    days: Option<f64>,
    megabytes_per_second_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DicomSection {
    address: Option<String>,
    ae_title: Option<String>,
    insecure: Option<bool>,
    idle_seconds: Option<u64>,
    #[serde(default)]
    limits: LimitsSection,
    #[serde(default)]
    tls: TlsSection,
    #[serde(default)]
    ae: Vec<AeSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSection {
    address: Option<String>,
    insecure: Option<bool>,
    metrics_off_loopback: Option<bool>,
    open_loopback: Option<bool>,
    #[serde(default)]
    cors_origins: Vec<String>,
    public_url: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AeSection {
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
}

impl RemoteAe {
    /// Whether its associations may come from `address`.
    #[must_use]
    pub fn comes_from(&self, address: IpAddr) -> bool {
        self.sources.iter().any(|network| network.contains(address))
    }
}

/// The settings, whole and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of the archive.
    pub data: PathBuf,
    /// Where DICOM listens.
    pub dicom: SocketAddr,
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Our title.
    pub ae_title: AeTitle,
    /// DICOM over TLS.
    pub tls: TlsConfig,
    /// Plain DICOM off loopback was asked for.
    pub insecure_dicom: bool,
    /// `/metrics` answers clients that are not on loopback.
    pub metrics_off_loopback: bool,
    /// DICOMweb.
    pub web: WebConfig,
    /// Silence after which an association is aborted.
    pub idle_duration_max: Duration,
    /// How many associations there may be.
    pub association_limits: AssociationLimits,
    /// How all content is read again and compared; `None`: not at all.
    pub scrub: Option<ScrubPlan>,
    /// What is made of stored instances, and where it is kept.
    pub derived: DerivedConfig,
    /// What hashing a password costs, and how long sessions live.
    pub accounts: AccountRules,
    /// The OpenID provider by which people sign in, if there is one.
    pub oidc: Option<OidcConfig>,
    /// Which citizen register is asked, and how.
    pub register: RegisterConfig,
    /// The key by which the audit trail is signed each day, if it is.
    pub audit_signing_key: Option<PathBuf>,
    /// Where the messages of the audit trail go besides, if they do.
    pub syslog: Option<SyslogConfig>,
    /// Remote AEs by title.
    pub remote_aes: BTreeMap<AeTitle, RemoteAe>,
}

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("{}", .faults.join("\n"))]
pub struct ConfigError {
    /// One sentence for each fault.
    pub faults: Vec<String>,
}

impl Config {
    /// Puts the settings together and checks them.
    ///
    /// # Errors
    /// [`ConfigError`] with every fault found.
    pub fn load(options: &Options) -> Result<Self, ConfigError> {
        let mut file = read_file(options)?;
        let mut faults = Vec::new();
        let dicom = first(&options.dicom, &file.dicom.address, "127.0.0.1:11112");
        let dicom = address("dicom.address", dicom, &mut faults);
        let http = first(&options.http, &file.http.address, "127.0.0.1:8080");
        let http = address("http.address", http, &mut faults);
        let ae_title = first(&options.ae_title, &file.dicom.ae_title, "PACS");
        let ae_title = title("dicom.ae_title", ae_title, &mut faults);
        let insecure_dicom = options
            .insecure_dicom
            .or(file.dicom.insecure)
            .unwrap_or(false);
        faults.extend(dicom.and_then(|dicom| exposed(dicom, insecure_dicom)));
        let web = web::settings(options, &file.http, http, &mut faults);
        let idle_seconds = file.dicom.idle_seconds.unwrap_or(60);
        if !(1..=86_400).contains(&idle_seconds) {
            faults.push("dicom.idle_seconds: not between 1 and 86400".to_owned());
        }
        let association_limits = file.dicom.limits.check(&mut faults);
        let scrub = scrub(&file.scrub, &mut faults);
        let derived = derived::settings(file.derived, &mut faults);
        let oidc = oidc::settings(file.accounts.oidc.take(), &mut faults);
        let accounts = accounts::settings(file.accounts, &mut faults);
        let register = register::settings(file.register, &mut faults);
        let title = ae_title.as_ref().map_or("PACS", AeTitle::as_str);
        let audit_signing_key = file.audit.signing_key.take();
        let syslog = audit::settings(file.audit, title, &mut faults);
        let remote_aes = remote_aes(&file.dicom.ae, &mut faults);
        let tls = tls::settings(&options.tls, file.dicom.tls, &remote_aes, &mut faults);
        let listeners = [dicom, http, tls.address].into_iter().flatten();
        faults.extend(own_destinations(&remote_aes, listeners));
        let (Some(dicom), Some(http), Some(ae_title), true) =
            (dicom, http, ae_title, faults.is_empty())
        else {
            return Err(ConfigError { faults });
        };
        Ok(Self {
            data: data_directory(options, file.data),
            dicom,
            http,
            ae_title,
            tls,
            insecure_dicom,
            idle_duration_max: Duration::from_secs(idle_seconds),
            association_limits,
            web,
            metrics_off_loopback: file.http.metrics_off_loopback.unwrap_or(false),
            scrub,
            derived,
            accounts,
            oidc,
            register,
            audit_signing_key,
            syslog,
            remote_aes,
        })
    }

    /// Whether plain DICOM is offered beyond this machine.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        !self.dicom.ip().is_loopback()
    }

    /// Whether HTTP, which has no TLS, is offered beyond this machine.
    #[must_use]
    pub fn is_http_insecure(&self) -> bool {
        !self.http.ip().is_loopback()
    }
}

impl Config {
    /// The keys in which `new` differs and that count from the next start on: all but the AE
    /// table and TLS without its address.
    #[must_use]
    pub fn changed_for_restart(&self, new: &Self) -> Vec<&'static str> {
        let changes = [
            ("data", self.data != new.data),
            ("dicom.address", self.dicom != new.dicom),
            ("dicom.ae_title", self.ae_title != new.ae_title),
            (
                "dicom.idle_seconds",
                self.idle_duration_max != new.idle_duration_max,
            ),
            ("dicom.insecure", self.insecure_dicom != new.insecure_dicom),
            (
                "dicom.limits",
                self.association_limits != new.association_limits,
            ),
            ("dicom.tls.address", self.tls.address != new.tls.address),
            ("http.address", self.http != new.http),
            (
                "http.metrics_off_loopback",
                self.metrics_off_loopback != new.metrics_off_loopback,
            ),
            (
                "http.insecure, open_loopback, cors_origins or public_url",
                self.web != new.web,
            ),
            ("scrub", self.scrub != new.scrub),
            ("derived", self.derived != new.derived),
            ("accounts", self.accounts != new.accounts),
            ("accounts.oidc", self.oidc != new.oidc),
            ("register", self.register != new.register),
            (
                "audit.signing_key",
                self.audit_signing_key != new.audit_signing_key,
            ),
            ("audit.syslog", self.syslog != new.syslog),
        ];
        let changed = changes.into_iter().filter(|(_, has_changed)| *has_changed);
        changed.map(|(key, _)| key).collect()
    }
}

/// What the command line says, or the file, or else nobody.
fn first<'a>(option: &'a Option<String>, of_file: &'a Option<String>, default: &'a str) -> &'a str {
    option.as_deref().or(of_file.as_deref()).unwrap_or(default)
}

fn data_directory(options: &Options, of_file: Option<PathBuf>) -> PathBuf {
    let given = options.data.clone().or(of_file);
    given.unwrap_or_else(|| "./pacs-data".into())
}

/// Plain DICOM beyond this machine is offered on purpose or not at all.
fn exposed(dicom: SocketAddr, insecure_dicom: bool) -> Option<String> {
    (!dicom.ip().is_loopback() && !insecure_dicom).then(|| {
        format!(
            "dicom.address: {dicom} is not loopback, and DICOM without TLS there needs \
             dicom.insecure = true (or --insecure-dicom); with TLS it is dicom.tls.address"
        )
    })
}

/// How the content is scrubbed: within 30 days, and with 50 MB in a second at most, unless
/// something else is said.
fn scrub(section: &ScrubSection, faults: &mut Vec<String>) -> Option<ScrubPlan> {
    const DAY_SECONDS: f64 = 86_400.0;
    let days = section.days.unwrap_or(30.0);
    if !(0.0..=3_650.0).contains(&days) {
        faults.push("scrub.days: not between 0 (no scrub) and 3650".to_owned());
        return None;
    }
    let megabytes = section.megabytes_per_second_max.unwrap_or(50);
    if !(1..=100_000).contains(&megabytes) {
        faults.push("scrub.megabytes_per_second_max: not between 1 and 100000".to_owned());
    }
    (days > 0.0).then(|| ScrubPlan {
        pass_duration: Duration::from_secs_f64(days * DAY_SECONDS),
        bytes_per_second_max: megabytes.saturating_mul(1_000_000),
    })
}

fn read_file(options: &Options) -> Result<File, ConfigError> {
    let Some(path) = &options.config else {
        return Ok(File::default());
    };
    let fault = |what: String| ConfigError {
        faults: vec![format!("{}: {what}", path.display())],
    };
    let text = std::fs::read_to_string(path).map_err(|e| fault(format!("cannot be read: {e}")))?;
    toml::from_str(&text).map_err(|e| fault(e.to_string()))
}

fn address(key: &str, text: &str, faults: &mut Vec<String>) -> Option<SocketAddr> {
    addresses(key, text, faults).first().copied()
}

/// All addresses that `text` stands for, IPv4 ones in their own form; none, and a fault, if there
/// is none.
fn addresses(key: &str, text: &str, faults: &mut Vec<String>) -> Vec<SocketAddr> {
    let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let found: Vec<SocketAddr> = match text.to_socket_addrs() {
        Ok(found) => found.map(canonical).collect(),
        Err(e) => {
            faults.push(format!("{key}: {text:?} is not HOST:PORT: {e}"));
            return Vec::new();
        }
    };
    if found.is_empty() {
        faults.push(format!("{key}: {text:?} has no address"));
    }
    found
}

/// Says which AEs are listeners of this server: a C-MOVE there would go round in circles.
fn own_destinations(
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
fn refused_destination(text: &str, found: &[SocketAddr]) -> Option<String> {
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

fn title(key: &str, text: &str, faults: &mut Vec<String>) -> Option<AeTitle> {
    AeTitle::parse(text)
        .map_err(|e| faults.push(format!("{key}: {text:?}: {e}")))
        .ok()
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

fn remote_aes(sections: &[AeSection], faults: &mut Vec<String>) -> BTreeMap<AeTitle, RemoteAe> {
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

#[cfg(test)]
mod tests;
