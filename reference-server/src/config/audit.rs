//! The settings of the audit trail: where its messages go besides.

use super::network::is_host_and_port;
use super::register::{EndpointTls, fingerprints};
use pacs_core::audit::syslog::{Facility, MESSAGE_ID, SyslogName, SyslogNameError};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// The section `[audit]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AuditSection {
    /// The private key by which the trail is signed.
    pub(super) signing_key: Option<PathBuf>,
    syslog: Option<SyslogSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SyslogSection {
    address: String,
    tls_ca: Option<PathBuf>,
    tls_name: Option<String>,
    #[serde(default)]
    certificate_sha256: Vec<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    needs_close_notify: bool,
    facility: Option<u8>,
    app_name: Option<String>,
    host_name: Option<String>,
    message_id: Option<String>,
    enterprise_number: Option<u32>,
    enterprise_site: Option<String>,
    source: Option<String>,
    message_bytes_max: Option<usize>,
    alarm_after_minutes: Option<u64>,
}

/// Where the messages of the audit trail go, by syslog over TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogConfig {
    /// `host:port`.
    pub address: String,
    /// How the repository is known, and what it is shown. Its files are read for each connection.
    pub tls: EndpointTls,
    /// A repository has taken what it was sent only if it says so by a `close_notify`.
    pub needs_close_notify: bool,
    /// What kind of messages they are.
    pub facility: Facility,
    /// The program, as messages name it.
    pub app_name: SyslogName,
    /// The machine; `None`: as the system names it.
    pub host_name: Option<SyslogName>,
    /// What messages of this kind are called.
    pub message_id: SyslogName,
    /// The private enterprise number of whoever runs the archive.
    pub enterprise_number: Option<u32>,
    /// The enterprise (`AuditEnterpriseSiteID`).
    pub enterprise_site: Option<String>,
    /// The archive in its enterprise (`AuditSourceID`).
    pub source: String,
    /// Bytes of a message.
    pub message_bytes_max: usize,
    /// How long a record may wait before that is an alarm.
    pub alarm_after: Duration,
}

/// Puts the settings together; `ae_title` is what the archive is called where nothing else is said.
pub(super) fn settings(
    section: AuditSection,
    ae_title: &str,
    faults: &mut Vec<String>,
) -> Option<SyslogConfig> {
    let section = section.syslog?;
    let faults_before = faults.len();
    let mut fault = |what: String| faults.push(format!("audit.syslog.{what}"));
    if !is_host_and_port(&section.address) {
        fault(format!("address: {:?} is not HOST:PORT", section.address));
    }
    let names = names(&section, &mut fault);
    let facility = section
        .facility
        .map_or_else(|| Ok(Facility::default()), Facility::new);
    let facility = facility.map_err(|error| fault(format!("facility: {error}")));
    let message_bytes_max = section.message_bytes_max.unwrap_or(32_768);
    if !(8_192..=1 << 20).contains(&message_bytes_max) {
        fault("message_bytes_max: not between 8192 and 1048576".to_owned());
    }
    let minutes = section.alarm_after_minutes.unwrap_or(15);
    if !(1..=10_080).contains(&minutes) {
        fault("alarm_after_minutes: not between 1 and 10080".to_owned());
    }
    let certificate_sha256 = fingerprints("audit.syslog", &section.certificate_sha256, faults);
    if section.certificate.is_some() != section.key.is_some() {
        faults.push("audit.syslog: certificate and key go together".to_owned());
    }
    if section.tls_ca.is_none() && certificate_sha256.is_empty() {
        faults.push(
            "audit.syslog: tls_ca or certificate_sha256 is needed to know the repository by"
                .to_owned(),
        );
    }
    let (Some(names), Ok(facility), true) = (names, facility, faults.len() == faults_before) else {
        return None;
    };
    Some(SyslogConfig {
        address: section.address,
        tls: EndpointTls {
            ca: section.tls_ca,
            name: section.tls_name,
            certificate_sha256,
            own: section.certificate.zip(section.key),
        },
        needs_close_notify: section.needs_close_notify,
        facility,
        app_name: names.app,
        host_name: names.host,
        message_id: names.message_id,
        enterprise_number: section.enterprise_number,
        enterprise_site: section.enterprise_site,
        source: section.source.unwrap_or_else(|| ae_title.to_owned()),
        message_bytes_max,
        alarm_after: Duration::from_secs(minutes.saturating_mul(60)),
    })
}

/// What stands in the head of messages.
struct Names {
    app: SyslogName,
    host: Option<SyslogName>,
    message_id: SyslogName,
}

fn names(section: &SyslogSection, fault: &mut impl FnMut(String)) -> Option<Names> {
    let app = SyslogName::app(section.app_name.as_deref().unwrap_or("pacs-server"));
    let message_id = section.message_id.as_deref().unwrap_or(MESSAGE_ID);
    let message_id = SyslogName::message_id(message_id);
    let host = section.host_name.as_deref().map(SyslogName::host);
    let mut read = |key: &str, name: Result<SyslogName, SyslogNameError>| {
        name.map_err(|error| fault(format!("{key}: {error}"))).ok()
    };
    let app = read("app_name", app);
    let message_id = read("message_id", message_id);
    let host = host.map(|host| read("host_name", host));
    Some(Names {
        app: app?,
        message_id: message_id?,
        host: match host {
            Some(host) => Some(host?),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<SyslogConfig>, Vec<String>) {
        let mut faults = Vec::new();
        let section = toml::from_str(text).unwrap();
        (settings(section, "PACS", &mut faults), faults)
    }

    const WHOLE: &str = r#"
        [syslog]
        address = "audit.example:6514"
        tls_ca = "ca.pem"
        app_name = "pacs"
    "#;

    #[test]
    fn a_repository_needs_an_address_and_something_to_know_it_by() {
        assert_eq!(read(""), (None, Vec::new()));
        let (config, faults) = read(WHOLE);
        assert!(faults.is_empty(), "{faults:?}");
        let config = config.unwrap();
        assert_eq!(
            (&*config.source, config.message_bytes_max),
            ("PACS", 32_768)
        );
        assert_eq!(config.alarm_after, Duration::from_secs(900));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (what, with, named) in [
            (":6514", "", "address"),
            (":6514", ":0", "address"),
            ("tls_ca = \"ca.pem\"", "", "tls_ca or certificate_sha256"),
            (
                "tls_ca = \"ca.pem\"",
                "certificate_sha256 = [\"x\"]",
                "certificate_sha256",
            ),
            ("\"pacs\"", "\"a b\"", "app_name"),
            ("app_name", "host_name = \"\"\napp_name", "host_name"),
            ("app_name", "facility = 24\napp_name", "facility"),
            ("app_name", "key = \"k\"\napp_name", "certificate and key"),
            (
                "app_name",
                "message_bytes_max = 100\napp_name",
                "message_bytes_max",
            ),
            (
                "app_name",
                "alarm_after_minutes = 0\napp_name",
                "alarm_after_minutes",
            ),
        ] {
            let (config, faults) = read(&WHOLE.replace(what, with));
            let is_named = faults.iter().any(|fault| fault.contains(named));
            assert!(is_named && config.is_none(), "{what} -> {with}: {faults:?}");
        }
        assert!(toml::from_str::<AuditSection>("[syslog]\naddress = \"a:1\"\nudp = true").is_err());
    }
}
