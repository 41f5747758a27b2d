//! The server's settings: command line, `PACS_*` variables, TOML file, defaults, in this order of
//! strength.
//!
//! [`Config::load`] checks the whole before anything is opened and names every fault at once.

pub mod accounts;
mod ae_table;
mod associations;
pub mod audit;
pub mod derived;
mod forward;
pub mod mail;
pub mod network;
pub mod oidc;
pub mod register;
pub mod tls;
pub mod web;

pub use ae_table::{AeSight, RemoteAe, is_own};
pub use associations::AssociationLimits;
pub use forward::Forward;

use crate::accounts::AccountRules;
use accounts::AccountsSection;
use ae_table::{AeSection, own_destinations, remote_aes};
use associations::LimitsSection;
use audit::{AuditSection, SyslogConfig};
use clap::Parser;
use derived::{DerivedConfig, DerivedSection};
use forward::ForwardSection;
use mail::{MailConfig, MailSection};
use oidc::OidcConfig;
use pacs_core::AeTitle;
use pacs_store::scrub::ScrubPlan;
use register::{RegisterConfig, RegisterSection};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
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
    mail: Option<MailSection>,
    #[serde(default)]
    forward: Vec<ForwardSection>,
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
    /// By which server e-mail goes, and to whom, if it does.
    pub mail: Option<MailConfig>,
    /// Remote AEs by title.
    pub remote_aes: BTreeMap<AeTitle, RemoteAe>,
    /// Where all that comes is sent on to.
    pub forwards: Vec<Forward>,
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
        let idle_duration_max = idle_duration("dicom.idle_seconds", idle_seconds, &mut faults);
        let association_limits = file.dicom.limits.check(&mut faults);
        let scrub = scrub(&file.scrub, &mut faults);
        let derived = derived::settings(file.derived, &mut faults);
        let oidc = oidc::settings(file.accounts.oidc.take(), &mut faults);
        let accounts = accounts::settings(file.accounts, &mut faults);
        let register = register::settings(file.register, &mut faults);
        let title = ae_title.as_ref().map_or("PACS", AeTitle::as_str);
        let audit_signing_key = file.audit.signing_key.take();
        let syslog = audit::settings(file.audit, title, &mut faults);
        let mail = mail::settings(file.mail, &mut faults);
        let remote_aes = remote_aes(&file.dicom.ae, &mut faults);
        let forwards = forward::settings(&file.forward, &remote_aes, &mut faults);
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
            idle_duration_max,
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
            mail,
            remote_aes,
            forwards,
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
            ("mail", self.mail != new.mail),
            ("forward", self.forwards != new.forwards),
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

/// How long an association may be idle.
fn idle_duration(key: &str, seconds: u64, faults: &mut Vec<String>) -> Duration {
    if !(1..=86_400).contains(&seconds) {
        faults.push(format!("{key}: not between 1 and 86400"));
    }
    Duration::from_secs(seconds)
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

fn title(key: &str, text: &str, faults: &mut Vec<String>) -> Option<AeTitle> {
    AeTitle::parse(text)
        .map_err(|e| faults.push(format!("{key}: {text:?}: {e}")))
        .ok()
}

#[cfg(test)]
mod tests;
