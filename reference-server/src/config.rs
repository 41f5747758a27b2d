//! The server's settings: command line, `PACS_*` variables, TOML file, defaults, in this order of
//! strength.
//!
//! [`Config::load`] checks the whole before anything is opened and names every fault at once.

mod associations;

pub use associations::AssociationLimits;

use associations::LimitsSection;
use clap::Parser;
use pacs_core::{Action, AeTitle};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// What may be said on the command line of `pacs-server`; everything can stand in the environment
/// too.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "pacs-server", version, about = "DICOM archive server")]
pub struct Options {
    /// TOML file with settings
    #[arg(long, value_name = "FILE", env = "PACS_CONFIG")]
    pub config: Option<PathBuf>,
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
    ae: Vec<AeSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSection {
    address: Option<String>,
    metrics_off_loopback: Option<bool>,
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
}

/// A remote AE of the configuration.
#[derive(Debug, Clone)]
pub struct RemoteAe {
    /// Its title.
    pub title: AeTitle,
    /// Where it listens, resolved once at start.
    pub address: SocketAddr,
    /// The IP addresses that its associations may come from: all that its host name stands for.
    pub sources: BTreeSet<IpAddr>,
    /// What it may ask.
    pub allow: BTreeSet<Action>,
    /// Titles it may name as C-MOVE destination.
    pub move_to: BTreeSet<AeTitle>,
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
    /// Plain DICOM off loopback was asked for.
    pub insecure_dicom: bool,
    /// `/metrics` answers clients that are not on loopback.
    pub metrics_off_loopback: bool,
    /// Silence after which an association is aborted.
    pub idle_duration_max: Duration,
    /// How many associations there may be.
    pub association_limits: AssociationLimits,
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
        let file = read_file(options)?;
        let mut faults = Vec::new();
        let dicom = address(
            "dicom.address",
            options
                .dicom
                .as_deref()
                .or(file.dicom.address.as_deref())
                .unwrap_or("127.0.0.1:11112"),
            &mut faults,
        );
        let http = address(
            "http.address",
            options
                .http
                .as_deref()
                .or(file.http.address.as_deref())
                .unwrap_or("127.0.0.1:8080"),
            &mut faults,
        );
        let ae_title = title(
            "dicom.ae_title",
            options
                .ae_title
                .as_deref()
                .or(file.dicom.ae_title.as_deref())
                .unwrap_or("PACS"),
            &mut faults,
        );
        let insecure_dicom = options
            .insecure_dicom
            .or(file.dicom.insecure)
            .unwrap_or(false);
        if let Some(dicom) = dicom
            && !dicom.ip().is_loopback()
            && !insecure_dicom
        {
            faults.push(format!(
                "dicom.address: {dicom} is not loopback, and DICOM without TLS there needs \
                 dicom.insecure = true (or --insecure-dicom)"
            ));
        }
        let idle_seconds = file.dicom.idle_seconds.unwrap_or(60);
        if !(1..=86_400).contains(&idle_seconds) {
            faults.push("dicom.idle_seconds: not between 1 and 86400".to_owned());
        }
        let association_limits = file.dicom.limits.check(&mut faults);
        let remote_aes = remote_aes(&file.dicom.ae, &mut faults);
        let (Some(dicom), Some(http), Some(ae_title), true) =
            (dicom, http, ae_title, faults.is_empty())
        else {
            return Err(ConfigError { faults });
        };
        Ok(Self {
            data: options
                .data
                .clone()
                .or(file.data)
                .unwrap_or_else(|| "./pacs-data".into()),
            dicom,
            http,
            ae_title,
            insecure_dicom,
            idle_duration_max: Duration::from_secs(idle_seconds),
            association_limits,
            metrics_off_loopback: file.http.metrics_off_loopback.unwrap_or(false),
            remote_aes,
        })
    }

    /// Whether plain DICOM is offered beyond this machine.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        !self.dicom.ip().is_loopback()
    }
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
        let move_to = section
            .move_to
            .iter()
            .filter_map(|text| title(&format!("{key}.move_to"), text, faults))
            .collect();
        let (Some(title), Some(address)) = (title_of_it, address_of_it) else {
            continue;
        };
        let allow = section.allow.iter().copied().collect();
        let ae = RemoteAe {
            title: title.clone(),
            address,
            sources: addresses_of_it.iter().map(SocketAddr::ip).collect(),
            allow,
            move_to,
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
mod tests {
    use super::*;
    use std::io::Write;

    fn load(toml: &str, options: Options) -> Result<Config, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        Config::load(&Options {
            config: Some(file.path().into()),
            ..options
        })
    }

    #[test]
    fn the_defaults_are_those_of_the_manual() {
        let config = Config::load(&Options::default()).unwrap();

        assert_eq!(config.dicom.to_string(), "127.0.0.1:11112");
        assert_eq!(config.http.to_string(), "127.0.0.1:8080");
        assert_eq!(config.ae_title.as_str(), "PACS");
        assert_eq!(config.data.to_str(), Some("./pacs-data"));
    }

    #[test]
    fn the_command_line_is_stronger_than_the_file() {
        let options = Options {
            ae_title: Some("CLI".into()),
            ..Options::default()
        };

        let config = load(
            "[dicom]\nae_title = \"FILE\"\naddress = \"127.0.0.1:0\"",
            options,
        );

        let config = config.unwrap();
        assert_eq!(config.ae_title.as_str(), "CLI");
        assert_eq!(config.dicom.port(), 0);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let toml = "[dicom]\nae_title = \"THIS TITLE IS TOO LONG\"\naddress = \"nowhere\"\n\
                    [[dicom.ae]]\ntitle = \"A\"\naddress = \"127.0.0.1:0\"\nmove_to = [\"B\"]";

        let faults = load(toml, Options::default()).unwrap_err().faults;

        assert_eq!(faults.len(), 4, "{faults:?}");
    }

    #[test]
    fn plain_dicom_off_loopback_needs_the_explicit_setting() {
        let bare = "[dicom]\naddress = \"0.0.0.0:0\"";
        let explicit = "[dicom]\naddress = \"0.0.0.0:0\"\ninsecure = true";

        assert!(load(bare, Options::default()).is_err());
        assert!(load(explicit, Options::default()).unwrap().is_insecure());
    }

    #[test]
    fn a_misspelt_key_or_right_is_refused() {
        assert!(load("[dicom]\nadress = \"127.0.0.1:1\"", Options::default()).is_err());
        let ae = "[[dicom.ae]]\ntitle = \"A\"\naddress = \"127.0.0.1:1\"\nallow = [\"stroe\"]";
        assert!(load(ae, Options::default()).is_err());
    }
}
