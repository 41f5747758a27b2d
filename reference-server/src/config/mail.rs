//! The settings of e-mail: by which server it goes, and to whom.

use super::network::is_host_and_port;
use super::register::{EndpointTls, fingerprints};
use crate::limits::MAIL_ADDRESSES_MAX;
use pacs_core::OrganisationCode;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Characters of an address (RFC 5321 4.5.3.1.3, without the brackets of a path).
const ADDRESS_CHARS_MAX: usize = 254;

/// The section `[mail]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MailSection {
    server: String,
    tls: Option<bool>,
    tls_ca: Option<PathBuf>,
    tls_name: Option<String>,
    #[serde(default)]
    certificate_sha256: Vec<String>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: String,
    #[serde(default)]
    auditors: Vec<String>,
    #[serde(default)]
    organisations: BTreeMap<String, Vec<String>>,
}

/// By which server e-mail goes, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailConfig {
    /// `host:port` of the server: message submission over TLS from the first byte (RFC 8314).
    pub server: String,
    /// How it is known; `None`: a server on this machine, without TLS.
    pub tls: Option<EndpointTls>,
    /// By which name it knows us, and the file with the password.
    pub credentials: Option<(String, PathBuf)>,
    /// The address of the sender.
    pub from: String,
    /// Who is told of everything.
    pub auditors: Vec<String>,
    /// Who is told of what people of an organisation do.
    pub organisations: BTreeMap<OrganisationCode, Vec<String>>,
}

/// Puts the settings together.
pub(super) fn settings(
    section: Option<MailSection>,
    faults: &mut Vec<String>,
) -> Option<MailConfig> {
    let section = section?;
    let faults_before = faults.len();
    let certificate_sha256 = fingerprints("mail", &section.certificate_sha256, faults);
    let mut fault = |what: String| faults.push(format!("mail.{what}"));
    if !is_host_and_port(&section.server) {
        fault(format!("server: {:?} is not HOST:PORT", section.server));
    }
    let has_tls = section.tls.unwrap_or(true);
    let is_known = section.tls_ca.is_some() || !certificate_sha256.is_empty();
    if has_tls && !is_known {
        fault("tls_ca or certificate_sha256 is needed to know the server by".to_owned());
    }
    let here = section.server.parse::<SocketAddr>();
    if !has_tls && !here.is_ok_and(|here| here.ip().is_loopback()) {
        fault("tls: only a loopback address of this machine may be without".to_owned());
    }
    let credentials = match (section.user, section.password_file) {
        (Some(user), Some(file)) => Some((user, file)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            fault("user and password_file go together".to_owned());
            None
        }
    };
    let mut organisations = BTreeMap::new();
    for (code, addresses) in section.organisations {
        match OrganisationCode::parse(&code) {
            Ok(code) => drop(organisations.insert(code, addresses)),
            Err(_) => fault(format!(
                "organisations: {code:?} is no code of an organisation"
            )),
        }
    }
    let all = organisations.values().flatten().chain(&section.auditors);
    for address in all.clone().chain([&section.from]) {
        if !is_address(address) {
            fault(format!("{address:?} is no address"));
        }
    }
    match all.count() {
        0 => fault("auditors or organisations must name somebody".to_owned()),
        1..=MAIL_ADDRESSES_MAX => {}
        _ => fault(format!("more than {MAIL_ADDRESSES_MAX} addresses")),
    }
    (faults.len() == faults_before).then(|| MailConfig {
        server: section.server,
        tls: has_tls.then_some(EndpointTls {
            ca: section.tls_ca,
            name: section.tls_name,
            certificate_sha256,
            own: None,
        }),
        credentials,
        from: section.from,
        auditors: section.auditors,
        organisations,
    })
}

/// Whether something is an address as they are in use: no quoted local parts, no literals.
fn is_address(text: &str) -> bool {
    let is_of = |part: &str, more: &str| {
        let is_one = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        !part.is_empty() && part.chars().all(is_one)
    };
    let parts = text.split_once('@');
    text.len() <= ADDRESS_CHARS_MAX
        && parts
            .is_some_and(|(local, host)| is_of(local, "!#$%&'*+-/=?^_`{|}~.") && is_of(host, "-."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<MailConfig>, Vec<String>) {
        let mut faults = Vec::new();
        let section = toml::from_str(text).unwrap();
        (settings(Some(section), &mut faults), faults)
    }

    const WHOLE: &str = r#"
        server = "mail.example:465"
        tls_ca = "ca.pem"
        from = "pacs@archive.example"
        auditors = ["audit@archive.example"]
        [organisations]
        006 = ["head+pacs@hospital.example"]
    "#;

    #[test]
    fn a_server_needs_an_address_something_to_know_it_by_and_somebody_to_write_to() {
        let (config, faults) = read(WHOLE);
        assert!(faults.is_empty(), "{faults:?}");
        let config = config.unwrap();
        let code = OrganisationCode::parse("006").unwrap();
        assert_eq!(config.organisations[&code], ["head+pacs@hospital.example"]);
        let here = WHOLE.replace("mail.example:465", "127.0.0.1:25");
        let (config, faults) = read(&here.replace("tls_ca = \"ca.pem\"", "tls = false"));
        assert!(
            faults.is_empty() && config.unwrap().tls.is_none(),
            "{faults:?}"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (what, with, named) in [
            (":465", "", "HOST:PORT"),
            ("tls_ca = \"ca.pem\"", "", "tls_ca or certificate_sha256"),
            ("tls_ca = \"ca.pem\"", "tls = false", "loopback"),
            ("from = ", "user = \"a\"\nfrom = ", "go together"),
            ("audit@archive", "audit@[127.0.0.1]", "no address"),
            ("audit@archive", "audit <audit@archive>", "no address"),
            ("pacs@archive.example", "pacs", "no address"),
            ("006", "6", "code of an organisation"),
        ] {
            let (config, faults) = read(&WHOLE.replace(what, with));
            let is_named = faults.iter().any(|fault| fault.contains(named));
            assert!(is_named && config.is_none(), "{what} -> {with}: {faults:?}");
        }
        let (nobody, _) = WHOLE.split_once("auditors").unwrap();
        assert!(read(nobody).1[0].contains("must name somebody"));
    }
}
