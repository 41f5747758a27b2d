//! The settings of the citizen register.

use crate::register::{RegisterRules, RestPath};
use chrono::TimeDelta;
use pacs_core::patient::Sex;
use pacs_core::register::Service;
use pacs_core::register::xroad::{ServiceCodes, Subsystem, XRoad, is_code, is_element_name};
use pacs_net::security::Fingerprint;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Where the elements of the services are from, in the public code that was looked at ("seccurity"
/// is spelled so there).
const NAMESPACE: &str = "http://tunduk-seccurity-infocom.x-road.fi/producer";

/// The section `[register]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterSection {
    kind: Option<Kind>,
    file: Option<PathBuf>,
    url: Option<String>,
    answer_seconds: Option<u64>,
    under_way_max: Option<usize>,
    kept_minutes: Option<i64>,
    per_minute_max: Option<u32>,
    pause_seconds: Option<i64>,
    recheck_seconds: Option<u64>,
    namespace: Option<String>,
    #[serde(default)]
    sex_codes: BTreeMap<String, String>,
    #[serde(default)]
    not_found_codes: BTreeSet<String>,
    client: Option<ClientSection>,
    #[serde(default)]
    services: BTreeMap<String, ServiceSection>,
    tls_ca: Option<PathBuf>,
    tls_name: Option<String>,
    #[serde(default)]
    certificate_sha256: Vec<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    File,
    TundukRest,
    TundukSoap,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientSection {
    instance: String,
    class: String,
    member: String,
    subsystem: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceSection {
    instance: Option<String>,
    class: String,
    member: String,
    subsystem: String,
    service: String,
    #[serde(default)]
    version: String,
    path: Option<String>,
}

/// Which register is asked, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterConfig {
    /// Which; `None`: none.
    pub kind: Option<RegisterKind>,
    /// How.
    pub rules: RegisterRules,
}

/// A register, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterKind {
    /// A table.
    File(PathBuf),
    /// Behind a security server of X-Road, over REST.
    TundukRest {
        /// The security server.
        endpoint: EndpointConfig,
        /// Who asks what.
        xroad: XRoad,
        /// What stands behind the codes of each service.
        paths: BTreeMap<Service, RestPath>,
    },
    /// Behind a security server of X-Road, over SOAP.
    TundukSoap {
        /// The security server.
        endpoint: EndpointConfig,
        /// Who asks what.
        xroad: XRoad,
    },
}

/// Where a security server is, and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// `host:port`.
    pub address: String,
    /// The path that requests go to, or begin with.
    pub path: String,
    /// By TLS.
    pub tls: Option<EndpointTls>,
}

/// How a security server is known, and what it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointTls {
    /// Who may vouch for its certificate.
    pub ca: Option<PathBuf>,
    /// What its certificate has to name; `None`: the host.
    pub name: Option<String>,
    /// The certificates that it may show, whoever vouches for them.
    pub certificate_sha256: BTreeSet<Fingerprint>,
    /// Our certificate and its private key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Puts the settings together.
pub(super) fn settings(section: RegisterSection, faults: &mut Vec<String>) -> RegisterConfig {
    let rules = rules(&section, faults);
    let kind = match section.kind {
        None => {
            if section.url.is_some() || section.file.is_some() {
                faults.push("register.kind: missing: file, tunduk-soap or tunduk-rest".to_owned());
            }
            None
        }
        Some(Kind::File) => {
            if section.file.is_none() {
                faults.push("register.file: missing".to_owned());
            }
            section.file.map(RegisterKind::File)
        }
        Some(Kind::TundukRest) => x_road(section, true, faults),
        Some(Kind::TundukSoap) => x_road(section, false, faults),
    };
    RegisterConfig { kind, rules }
}

fn rules(section: &RegisterSection, faults: &mut Vec<String>) -> RegisterRules {
    let mut rules = RegisterRules::default();
    let mut within = |is_within: bool, what: &str| {
        if !is_within {
            faults.push(format!("register.{what}"));
        }
    };
    if let Some(seconds) = section.answer_seconds {
        within(
            (1..=60).contains(&seconds),
            "answer_seconds: not between 1 and 60",
        );
        rules.answer_duration_max = Duration::from_secs(seconds);
    }
    if let Some(count) = section.under_way_max {
        within(
            (1..=64).contains(&count),
            "under_way_max: not between 1 and 64",
        );
        rules.under_way_max = count;
    }
    if let Some(minutes) = section.kept_minutes {
        within(
            (0..=1_440).contains(&minutes),
            "kept_minutes: not between 0 (not at all) and 1440",
        );
        rules.answer_age_max = TimeDelta::try_minutes(minutes).unwrap_or_default();
    }
    if let Some(count) = section.per_minute_max {
        within(
            (1..=1_000).contains(&count),
            "per_minute_max: not between 1 and 1000",
        );
        rules.per_minute_max = count;
    }
    if let Some(seconds) = section.pause_seconds {
        within(
            (1..=3_600).contains(&seconds),
            "pause_seconds: not between 1 and 3600",
        );
        rules.breaker.pause = TimeDelta::try_seconds(seconds).unwrap_or_default();
    }
    if let Some(seconds) = section.recheck_seconds {
        within(
            (1..=86_400).contains(&seconds),
            "recheck_seconds: not between 1 and 86400",
        );
        rules.rechecked_every = Duration::from_secs(seconds.max(1));
    }
    rules
}

fn x_road(
    section: RegisterSection,
    is_rest: bool,
    faults: &mut Vec<String>,
) -> Option<RegisterKind> {
    let faults_before = faults.len();
    let endpoint = endpoint(&section, faults);
    let mut paths = BTreeMap::new();
    if is_rest {
        for (service, of) in known_services(&section) {
            let path = of.path.as_deref().unwrap_or("{pin}");
            match RestPath::parse(path) {
                Ok(path) => drop(paths.insert(service, path)),
                Err(error) => {
                    let name = service.name();
                    faults.push(format!("register.services.{name}.path: {error}"));
                }
            }
        }
    }
    let services = services(&section, is_rest, faults);
    let sex_codes = sex_codes(&section.sex_codes, faults);
    let Some(client) = &section.client else {
        faults.push(
            "register.client: missing: who asks, by instance, class, member and \
                     subsystem"
                .to_owned(),
        );
        return None;
    };
    let client = Subsystem {
        instance: client.instance.clone(),
        class: client.class.clone(),
        member: client.member.clone(),
        subsystem: client.subsystem.clone(),
    };
    if !client.codes().into_iter().all(is_code) {
        faults.push("register.client: a code is empty, too long, or has separators".to_owned());
    }
    let xroad = XRoad {
        client,
        services,
        producer_namespace: section.namespace.unwrap_or_else(|| NAMESPACE.to_owned()),
        sex_codes,
        not_found_codes: section.not_found_codes,
    };
    let endpoint = endpoint.filter(|_| faults.len() == faults_before)?;
    Some(if is_rest {
        RegisterKind::TundukRest {
            endpoint,
            xroad,
            paths,
        }
    } else {
        RegisterKind::TundukSoap { endpoint, xroad }
    })
}

fn known_services(section: &RegisterSection) -> impl Iterator<Item = (Service, &ServiceSection)> {
    let all = Service::ALL.into_iter();
    all.filter_map(|service| Some((service, section.services.get(service.name())?)))
}

fn services(
    section: &RegisterSection,
    is_rest: bool,
    faults: &mut Vec<String>,
) -> BTreeMap<Service, ServiceCodes> {
    for name in section.services.keys() {
        if !Service::ALL.iter().any(|service| service.name() == name) {
            let names = Service::ALL.map(Service::name).join(", ");
            faults.push(format!(
                "register.services.{name}: there is no such service: {names}"
            ));
        }
    }
    if !section.services.contains_key(Service::Person.name()) {
        faults.push("register.services.person: missing: the service that is asked by PIN".into());
    }
    let instance = section.client.as_ref().map(|client| &client.instance);
    let mut services = BTreeMap::new();
    for (service, of) in known_services(section) {
        let codes = ServiceCodes {
            of: Subsystem {
                instance: of
                    .instance
                    .as_ref()
                    .or(instance)
                    .cloned()
                    .unwrap_or_default(),
                class: of.class.clone(),
                member: of.member.clone(),
                subsystem: of.subsystem.clone(),
            },
            service: of.service.clone(),
            version: of.version.clone(),
        };
        let is_service = if is_rest {
            is_code(&codes.service)
        } else {
            is_element_name(&codes.service)
        };
        let is_version = codes.version.is_empty() || is_code(&codes.version);
        if !is_service || !is_version || !codes.of.codes().into_iter().all(is_code) {
            let name = service.name();
            faults.push(format!(
                "register.services.{name}: a code is empty, too long, or has separators"
            ));
        }
        services.insert(service, codes);
    }
    services
}

fn sex_codes(codes: &BTreeMap<String, String>, faults: &mut Vec<String>) -> BTreeMap<String, Sex> {
    let mut read = BTreeMap::new();
    for (text, sex) in codes {
        match Sex::of_code(sex) {
            Some(sex) => drop(read.insert(text.clone(), sex)),
            None => faults.push(format!("register.sex_codes: {sex:?} is none of F, M, O")),
        }
    }
    read
}

fn endpoint(section: &RegisterSection, faults: &mut Vec<String>) -> Option<EndpointConfig> {
    let Some(url) = section.url.as_deref() else {
        faults.push("register.url: missing: the own security server".to_owned());
        return None;
    };
    let Some((is_secure, address, path)) = parts_of(url) else {
        faults.push(format!(
            "register.url: {url:?} is not http://HOST[:PORT]/ or https://HOST[:PORT]/"
        ));
        return None;
    };
    let certificate_sha256 = fingerprints("register", &section.certificate_sha256, faults);
    let own = section.certificate.clone().zip(section.key.clone());
    if section.certificate.is_some() != section.key.is_some() {
        faults.push("register: certificate and key go together".to_owned());
    }
    let is_known = section.tls_ca.is_some() || !certificate_sha256.is_empty();
    if is_secure && !is_known {
        faults.push(
            "register.url: https needs tls_ca or certificate_sha256 to know the server by"
                .to_owned(),
        );
    }
    if !is_secure && (is_known || own.is_some() || section.tls_name.is_some()) {
        faults.push("register: certificates are of no use without https in url".to_owned());
    }
    Some(EndpointConfig {
        address,
        path,
        tls: is_secure.then(|| EndpointTls {
            ca: section.tls_ca.clone(),
            name: section.tls_name.clone(),
            certificate_sha256,
            own,
        }),
    })
}

/// Reads the fingerprints of certificates; `section` is where they stand.
pub(super) fn fingerprints(
    section: &str,
    texts: &[String],
    faults: &mut Vec<String>,
) -> BTreeSet<Fingerprint> {
    let mut read = BTreeSet::new();
    for text in texts {
        match text.parse() {
            Ok(of) => drop(read.insert(of)),
            Err(_) => faults.push(format!(
                "{section}.certificate_sha256: {text:?} is not 64 hexadecimal digits"
            )),
        }
    }
    read
}

/// Whether it is by TLS, `host:port`, and the path.
pub(crate) fn parts_of(url: &str) -> Option<(bool, String, String)> {
    let (is_secure, rest) = match url.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("http://")?),
    };
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (rest, "/".to_owned()),
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b);
    let is_path = |b: u8| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b);
    if authority.is_empty() || !authority.bytes().all(is_host) || !path.bytes().all(is_path) {
        return None;
    }
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let has_port = port.is_some_and(|port| !port.contains(']'));
    if has_port && port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return None;
    }
    let address = match (has_port, is_secure) {
        (true, _) => authority.to_owned(),
        (false, true) => format!("{authority}:443"),
        (false, false) => format!("{authority}:80"),
    };
    Some((is_secure, address, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (RegisterConfig, Vec<String>) {
        let mut faults = Vec::new();
        let section = toml::from_str(text).unwrap();
        (settings(section, &mut faults), faults)
    }

    const SOAP: &str = r#"
        kind = "tunduk-soap"
        url = "http://10.0.0.5:8080/"
        sex_codes = { "1" = "F", "2" = "M" }
        [client]
        instance = "central-server"
        class = "GOV"
        member = "70000099"
        subsystem = "pacs-service"
        [services.person]
        class = "GOV"
        member = "70000005"
        subsystem = "zags-service"
        service = "zagsDataByPin"
        version = "v1"
    "#;

    #[test]
    fn a_register_behind_x_road_is_set_up_by_its_codes() {
        let (config, faults) = read(SOAP);
        assert!(faults.is_empty(), "{faults:?}");
        let Some(RegisterKind::TundukSoap { endpoint, xroad }) = config.kind else {
            panic!("no SOAP");
        };
        assert_eq!(
            (&*endpoint.address, &*endpoint.path),
            ("10.0.0.5:8080", "/")
        );
        let person = &xroad.services[&Service::Person];
        assert_eq!(person.of.instance, "central-server");
        assert_eq!(xroad.sex_codes["1"], Sex::Female);
        let (config, faults) = read(&SOAP.replace("tunduk-soap", "tunduk-rest"));
        assert!(faults.is_empty(), "{faults:?}");
        assert!(matches!(config.kind, Some(RegisterKind::TundukRest { .. })));
        let (config, faults) = read("kind = \"file\"\nfile = \"r.csv\"\nkept_minutes = 0");
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(config.kind, Some(RegisterKind::File("r.csv".into())));
        assert_eq!(read("").0.kind, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (what, with, named) in [
            ("kind = \"tunduk-soap\"", "", "register.kind"),
            ("http://10.0.0.5:8080/", "ftp://x", "register.url"),
            ("http://10.0.0.5:8080/", "http://a:b/", "register.url"),
            (
                "http://10.0.0.5:8080/",
                "https://x/",
                "tls_ca or certificate_sha256",
            ),
            ("[services.person]", "[services.persons]", "no such service"),
            ("zagsDataByPin", "zags><", "register.services.person"),
            ("\"70000099\"", "\"\"", "register.client"),
            ("\"F\"", "\"X\"", "register.sex_codes"),
            (
                "[client]",
                "answer_seconds = 0\n[client]",
                "register.answer_seconds",
            ),
        ] {
            let (_, faults) = read(&SOAP.replace(what, with));
            let is_named = faults.iter().any(|fault| fault.contains(named));
            assert!(is_named, "{what} -> {with}: {faults:?}");
        }
        assert!(toml::from_str::<RegisterSection>("pin = 1").is_err());
    }

    #[test]
    fn addresses_have_a_port() {
        for (url, address) in [
            ("http://ss.example", "ss.example:80"),
            ("https://ss.example/x", "ss.example:443"),
            ("https://[::1]:8443/", "[::1]:8443"),
            ("https://[::1]/", "[::1]:443"),
        ] {
            assert_eq!(parts_of(url).unwrap().1, address, "{url}");
        }
    }
}
