//! The settings of the OpenID provider by which people sign in.

use super::register::{EndpointConfig, EndpointTls, fingerprints, parts_of};
use crate::direct::is_loopback;
use crate::limits::{ISSUER_CHARS_MAX, OIDC_PARAMETER_CHARS_MAX};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Where the provider sends browsers back to, below whatever the server is reached by.
const CALLBACK: &str = "/api/v1/session/oidc/callback";

/// Characters of what the provider is called, and of other short texts.
const TEXT_CHARS_MAX: usize = 128;

/// Seconds since somebody proved who they are, as they may be demanded: a week.
const AUTH_AGE_S_MAX: u64 = 604_800;

/// Values of `acr` that mean one factor or none: 0 in OpenID Connect Core 1.0, 2; 1 in Keycloak.
const WEAK_CONTEXTS: [&str; 2] = ["0", "1"];

/// Values of `amr` (RFC 8176 2) that are no second factor, however many of them there are: what
/// somebody knows, where they are, and that somebody is there.
const WEAK_METHODS: [&str; 7] = ["geo", "kba", "pin", "pwd", "rba", "user", "wia"];

/// The section `[accounts.oidc]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OidcSection {
    issuer: String,
    client_id: String,
    client_secret_file: Option<PathBuf>,
    redirect_url: String,
    post_logout_redirect_url: Option<String>,
    name: Option<String>,
    scopes: Option<Vec<String>>,
    show_claim: Option<String>,
    #[serde(default)]
    require_acr: Vec<String>,
    #[serde(default)]
    require_amr: Vec<String>,
    max_age_seconds: Option<u64>,
    answer_seconds: Option<u64>,
    tls_ca: Option<PathBuf>,
    tls_name: Option<String>,
    #[serde(default)]
    certificate_sha256: Vec<String>,
}

/// The OpenID provider by which people sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// As it names itself.
    pub issuer: String,
    /// Where it is, and how it is known.
    pub endpoint: EndpointConfig,
    /// As it knows this archive.
    pub client_id: String,
    /// The file with what the archive shows it; `None`: a public client.
    pub client_secret_file: Option<PathBuf>,
    /// Where it sends browsers back to.
    pub redirect_url: String,
    /// The page here that it sends browsers to which have signed out there; `None`: it keeps them.
    pub post_logout_redirect_url: Option<String>,
    /// What it is called where people choose how to sign in.
    pub name: String,
    /// What is asked for, with `openid` first.
    pub scope: String,
    /// The claim by which an administrator knows somebody whom no account is linked with.
    pub show_claim: Option<String>,
    /// One of these must be in `acr`, where there are any.
    pub require_acr: Vec<String>,
    /// All of these must be in `amr`.
    pub require_amr: Vec<String>,
    /// How many seconds ago somebody may have proved who they are, where that is demanded.
    pub auth_age_s_max: Option<u64>,
    /// How long one answer may take.
    pub answer_duration_max: Duration,
}

/// Puts the settings together.
pub(super) fn settings(
    section: Option<OidcSection>,
    faults: &mut Vec<String>,
) -> Option<OidcConfig> {
    let section = section?;
    let faults_before = faults.len();
    let endpoint = endpoint(&section, faults);
    let mut fault = |what: String| faults.push(format!("accounts.oidc.{what}"));
    let is_visible = |text: &String| {
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        !text.is_empty() && text.len() <= TEXT_CHARS_MAX && text.bytes().all(is_visible)
    };
    if !is_visible(&section.client_id) {
        fault("client_id: not 1 to 128 visible characters of ASCII".to_owned());
    }
    if !is_callback(&section.redirect_url) {
        fault(format!(
            "redirect_url: {:?} is not https://HOST{CALLBACK} (http on loopback alone)",
            section.redirect_url
        ));
    }
    page_fault(&section).into_iter().for_each(&mut fault);
    let name = section.name.as_deref().unwrap_or("OpenID Connect").trim();
    let is_shown = |letter: char| !letter.is_control();
    let count = name.chars().count();
    if !(1..=TEXT_CHARS_MAX).contains(&count) || !name.chars().all(is_shown) {
        fault("name: not 1 to 128 characters".to_owned());
    }
    let scopes = section.scopes.unwrap_or_default();
    // RFC 6749 3.3: no quotes and no backslashes.
    let is_scope = |scope: &String| is_visible(scope) && !scope.contains(['"', '\\']);
    if !scopes.iter().all(is_scope) {
        fault("scopes: one is none".to_owned());
    }
    let demands = section.require_acr.iter().chain(&section.require_amr);
    if !demands.chain(&section.show_claim).all(is_visible) {
        fault("require_acr, require_amr or show_claim: a value is empty or too long".to_owned());
    }
    if !is_second_factor(&section.require_acr, &section.require_amr) {
        fault(
            "require_acr, require_amr: they take the place of the second factor of an account, \
             and ask for none. One of require_amr has to be more than a password (otp, hwk, mfa), \
             or none of require_acr be 0 or 1"
                .to_owned(),
        );
    }
    let auth_age_s_max = section.max_age_seconds;
    if auth_age_s_max.is_some_and(|seconds| seconds > AUTH_AGE_S_MAX) {
        fault(format!(
            "max_age_seconds: not between 0 and {AUTH_AGE_S_MAX}"
        ));
    }
    let seconds = section.answer_seconds.unwrap_or(10);
    if !(1..=60).contains(&seconds) {
        fault("answer_seconds: not between 1 and 60".to_owned());
    }
    let others = scopes.iter().map(String::as_str);
    let others = others.filter(|scope| *scope != "openid");
    let scope: Vec<&str> = std::iter::once("openid").chain(others).collect();
    let config = OidcConfig {
        name: name.to_owned(),
        scope: scope.join(" "),
        endpoint: endpoint?,
        issuer: section.issuer,
        client_id: section.client_id,
        client_secret_file: section.client_secret_file,
        redirect_url: section.redirect_url,
        post_logout_redirect_url: section.post_logout_redirect_url,
        show_claim: section.show_claim,
        require_acr: section.require_acr,
        require_amr: section.require_amr,
        auth_age_s_max,
        answer_duration_max: Duration::from_secs(seconds),
    };
    (faults.len() == faults_before).then_some(config)
}

/// Whether what is demanded is a second factor, or nothing is.
fn is_second_factor(contexts: &[String], methods: &[String]) -> bool {
    let is_one = |context: &String| WEAK_CONTEXTS.contains(&&**context);
    let is_alone = |method: &String| WEAK_METHODS.contains(&&**method);
    // Any one of the contexts is enough; of the methods all are needed.
    let has_context = !contexts.is_empty() && !contexts.iter().any(is_one);
    let has_method = !methods.iter().all(is_alone);
    has_context || has_method || (contexts.is_empty() && methods.is_empty())
}

/// Whether the provider may send browsers there: `Secure` cookies come back by TLS, or on loopback.
fn is_callback(url: &str) -> bool {
    let parts = parts_of(url).filter(|(_, _, path)| path.ends_with(CALLBACK));
    parts.is_some_and(|(is_secure, address, _)| is_secure || is_loopback(&address))
}

/// What is wrong with the page for browsers that have signed out.
fn page_fault(section: &OidcSection) -> Option<String> {
    let page = section.post_logout_redirect_url.as_ref()?;
    let is_beside = is_page_beside(page, &section.redirect_url);
    (!is_beside).then(|| {
        format!("post_logout_redirect_url: {page:?} is no page at the host of redirect_url")
    })
}

/// Whether a URL is one of a page at the scheme, host and port of another.
fn is_page_beside(url: &str, other: &str) -> bool {
    let (Some((is_secure, address, path)), Some(other)) = (parts_of(url), parts_of(other)) else {
        return false;
    };
    let is_beside = (is_secure, address) == (other.0, other.1);
    is_beside && url.len() <= OIDC_PARAMETER_CHARS_MAX && !path.starts_with("/api/")
}

fn endpoint(section: &OidcSection, faults: &mut Vec<String>) -> Option<EndpointConfig> {
    let issuer = &section.issuer;
    let mut fault = |what: String| faults.push(format!("accounts.oidc.{what}"));
    let parts = parts_of(issuer).filter(|_| issuer.len() <= ISSUER_CHARS_MAX);
    let Some((is_secure, address, path)) = parts else {
        fault(format!(
            "issuer: {issuer:?} is not https://HOST[:PORT][/PATH]"
        ));
        return None;
    };
    if !is_secure && !is_loopback(&address) {
        fault(format!(
            "issuer: {issuer:?}: http is for a provider on loopback alone"
        ));
    }
    let certificate_sha256 = fingerprints("accounts.oidc", &section.certificate_sha256, faults);
    let is_known = section.tls_ca.is_some() || !certificate_sha256.is_empty();
    if is_secure && !is_known {
        faults.push(
            "accounts.oidc: tls_ca or certificate_sha256 is needed to know the provider by"
                .to_owned(),
        );
    }
    if !is_secure && (is_known || section.tls_name.is_some()) {
        faults.push("accounts.oidc: certificates are of no use without https in issuer".to_owned());
    }
    Some(EndpointConfig {
        address,
        path,
        tls: is_secure.then(|| EndpointTls {
            ca: section.tls_ca.clone(),
            name: section.tls_name.clone(),
            certificate_sha256,
            own: None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<OidcConfig>, Vec<String>) {
        let mut faults = Vec::new();
        let section = toml::from_str(text).unwrap();
        (settings(Some(section), &mut faults), faults)
    }

    const WHOLE: &str = r#"
        issuer = "https://sso.example/realms/health"
        client_id = "pacs"
        redirect_url = "https://pacs.example/api/v1/session/oidc/callback"
        tls_ca = "ca.pem"
        scopes = ["profile", "openid"]
    "#;

    #[test]
    fn a_provider_needs_an_issuer_a_client_and_something_to_know_it_by() {
        assert_eq!(settings(None, &mut Vec::new()), None);
        let (config, faults) = read(WHOLE);
        assert!(faults.is_empty(), "{faults:?}");
        let config = config.unwrap();
        assert_eq!(
            (&*config.endpoint.address, &*config.endpoint.path),
            ("sso.example:443", "/realms/health")
        );
        assert_eq!(config.scope, "openid profile");
        assert_eq!(config.post_logout_redirect_url, None);
        let page = "https://pacs.example/signed-out";
        let (config, faults) = read(&format!("{WHOLE}post_logout_redirect_url = {page:?}"));
        assert!(faults.is_empty(), "{faults:?}");
        let config = config.unwrap();
        assert_eq!(config.post_logout_redirect_url.as_deref(), Some(page));
        assert_eq!(config.answer_duration_max, Duration::from_secs(10));
        let here = WHOLE
            .replace("https://sso.example", "http://127.0.0.1:8081")
            .replace("https://pacs.example", "http://localhost:8080")
            .replace("tls_ca = \"ca.pem\"", "");
        let (config, faults) = read(&here);
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(config.unwrap().endpoint.tls, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (what, with, named) in [
            ("https://sso.example/", "http://sso.example/", "loopback"),
            ("https://sso.example/", "ftp://sso.example/", "issuer"),
            ("realms/health", "realms?x=1", "issuer"),
            ("realms/health", "realms#x", "issuer"),
            ("\"pacs\"", "\"\"", "client_id"),
            ("\"pacs\"", "\"a b\"", "client_id"),
            (
                "https://pacs.example",
                "http://pacs.example",
                "redirect_url",
            ),
            ("oidc/callback", "oidc", "redirect_url"),
            ("tls_ca = \"ca.pem\"", "", "tls_ca or certificate_sha256"),
            (
                "tls_ca = \"ca.pem\"",
                "certificate_sha256 = [\"x\"]",
                "certificate_sha256",
            ),
            ("\"profile\"", "\"a b\"", "scopes"),
            (
                "scopes",
                "post_logout_redirect_url = \"https://evil.example/\"\nscopes",
                "post_logout_redirect_url",
            ),
            (
                "scopes",
                "post_logout_redirect_url = \"http://pacs.example/\"\nscopes",
                "post_logout_redirect_url",
            ),
            (
                "scopes",
                "post_logout_redirect_url = \"https://pacs.example/api/v1/session\"\nscopes",
                "post_logout_redirect_url",
            ),
            ("scopes", "require_amr = [\"\"]\nscopes", "require_amr"),
            ("scopes", "name = \" \"\nscopes", "name"),
            ("scopes", "answer_seconds = 61\nscopes", "answer_seconds"),
            (
                "scopes",
                "max_age_seconds = 604801\nscopes",
                "max_age_seconds",
            ),
            ("scopes", "require_amr = [\"pwd\"]\nscopes", "second factor"),
            ("scopes", "require_acr = [\"1\"]\nscopes", "second factor"),
            ("https://sso.example/", "http://[::1]:1/", "of no use"),
        ] {
            let (config, faults) = read(&WHOLE.replace(what, with));
            let is_named = faults.iter().any(|fault| fault.contains(named));
            assert!(is_named && config.is_none(), "{what} -> {with}: {faults:?}");
        }
        for (contexts, methods, is_enough) in [
            (&[][..], &[][..], true),
            (&["0"], &[], false),
            (&["0", "2"], &[], false),
            (&["2", "gold"], &[], true),
            (&[], &["pwd", "pin", "user"], false),
            (&[], &["pwd", "otp"], true),
            (&["1"], &["pwd"], false),
            (&["1"], &["hwk"], true),
            (&["2"], &["pwd"], true),
        ] {
            let owned = |all: &[&str]| -> Vec<String> { all.iter().map(|&it| it.into()).collect() };
            let enough = is_second_factor(&owned(contexts), &owned(methods));
            assert_eq!(enough, is_enough, "{contexts:?} {methods:?}");
        }
        let unknown = WHOLE.replace("scopes", "secret = \"in the file of settings\"\nscopes");
        assert!(toml::from_str::<OidcSection>(&unknown).is_err());
        assert!(toml::from_str::<OidcSection>("issuer = \"https://x\"").is_err());
    }
}
