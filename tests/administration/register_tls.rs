//! The citizen register behind a security server that speaks TLS: whom the archive takes it for,
//! whom it takes the archive for, and that nothing is ever asked in the clear instead.

use super::register::{ask, operator};
use super::{make, read, start};
use pacs_tests::certificates::{Authority, Certificate, Hospital, Wanted};
use pacs_tests::edges::until;
use pacs_tests::server::PATIENCE;
use pacs_tests::tls_listener::Terms;
use pacs_tests::xroad::{HANDSHAKE, KNOWN_PIN, SecurityServer};
use serde_json::{Value, json};

/// The settings of a register with more keys of its own.
fn with(settings: &str, keys: &str) -> String {
    settings.replacen("[register]\n", &format!("[register]\n{keys}\n"), 1)
}

/// Both ways to ask.
fn kinds(behind: &SecurityServer) -> [String; 2] {
    [behind.soap_settings(), behind.rest_settings()]
}

fn made(by: &Authority, name: &str, change: impl FnOnce(&mut Wanted)) -> Certificate {
    let mut wanted = Wanted::new(name);
    change(&mut wanted);
    by.make(&wanted)
}

fn secured(terms: &Terms) -> SecurityServer {
    let behind = SecurityServer::start();
    behind.show(Some(terms));
    behind
}

/// Every connection began with a hand-shake.
fn nothing_was_in_the_clear(behind: &SecurityServer) {
    let first = behind.first_bytes();
    assert!(!first.is_empty(), "nobody came");
    assert!(first.iter().all(|byte| *byte == HANDSHAKE), "{first:?}");
}

#[test]
fn over_tls_it_is_known_by_an_authority_by_a_name_or_by_its_fingerprint() {
    let hospital = Hospital::new();
    let own = made(&hospital.trusted, "security-server", |_| {});
    let named = made(&hospital.trusted, "named", |wanted| {
        "ss.hospital.example".clone_into(&mut wanted.host);
    });
    let ca = format!("tls_ca = {:?}", hospital.trusted.file());
    let name = format!("{ca}\ntls_name = \"ss.hospital.example\"");
    let pinned = format!("certificate_sha256 = [{:?}]", own.sha256);
    for (certificate, keys) in [(&own, &ca), (&named, &name), (&own, &pinned)] {
        let behind = secured(&Terms::new(certificate, None));
        for settings in kinds(&behind) {
            let server = start(&with(&settings, keys));
            let found = ask(&operator(&server, "operator"), &server, KNOWN_PIN);
            assert_eq!(found["person"]["given"], "Үсөн", "{keys}: {found}");
        }
        assert_eq!(behind.requests().len(), 2);
        nothing_was_in_the_clear(&behind);
    }
}

#[test]
fn a_security_server_that_asks_for_our_certificate_is_shown_the_one_of_the_settings() {
    let hospital = Hospital::new();
    let own = made(&hospital.trusted, "security-server", |_| {});
    let ours = made(&hospital.trusted, "pacs-service", |_| {});
    let foreign = made(&hospital.stranger, "stranger-service", |_| {});
    let behind = secured(&Terms::new(&own, Some(&hospital.trusted)));
    let ca = format!("tls_ca = {:?}", hospital.trusted.file());
    let showing = |of: &Certificate| {
        let [certificate, key] = of.files();
        format!("{ca}\ncertificate = {certificate:?}\nkey = {key:?}")
    };
    for settings in kinds(&behind) {
        let before = behind.requests().len();
        for keys in [&ca, &showing(&foreign)] {
            let server = start(&with(&settings, keys));
            let answer = ask(&operator(&server, "operator"), &server, KNOWN_PIN);
            assert_eq!(answer["outcome"], "unavailable", "{keys}: {answer}");
            server.wait_for_log("the peer refuses");
        }
        assert_eq!(behind.requests().len(), before, "no question was taken");
        let server = start(&with(&settings, &showing(&ours)));
        let found = ask(&operator(&server, "operator"), &server, KNOWN_PIN);
        assert_eq!(found["outcome"], "found", "{found}");
    }
    nothing_was_in_the_clear(&behind);
}

#[test]
fn a_certificate_that_is_not_its_own_is_a_register_out_of_reach() {
    let hospital = Hospital::new();
    let (trusted, stranger) = (&hospital.trusted, &hospital.stranger);
    let own = made(trusted, "security-server", |_| {});
    let elsewhere = made(trusted, "elsewhere", |wanted| {
        "127.0.0.2".clone_into(&mut wanted.host);
    });
    let old = made(trusted, "old", |wanted| wanted.year = 2002);
    let unknown = made(stranger, "unknown", |_| {});
    let behind = secured(&Terms::new(&own, None));
    let ca = format!("tls_ca = {:?}", trusted.file());
    for settings in kinds(&behind) {
        let server = start(&with(&settings, &ca));
        let operator = operator(&server, "operator");
        let before = behind.requests().len();
        for (terms, why) in [
            (Some(Terms::new(&elsewhere, None)), "for another name"),
            (Some(Terms::new(&old, None)), "has expired"),
            (
                Some(Terms::new(&unknown, None)),
                "an authority that is not trusted",
            ),
            (None, "the peer does not speak TLS"),
        ] {
            behind.show(terms.as_ref());
            let answer = ask(&operator, &server, KNOWN_PIN);
            assert_eq!(answer["outcome"], "unavailable", "{why}: {answer}");
            assert!(answer["person"].is_null());
            server.wait_for_log(why);
        }
        assert_eq!(behind.requests().len(), before, "no question was heard");
        behind.show(Some(&Terms::new(&own, None)));
        assert_eq!(ask(&operator, &server, KNOWN_PIN)["outcome"], "found");
        assert!(!server.log().contains(KNOWN_PIN));
    }
    nothing_was_in_the_clear(&behind);
    // A pin outweighs an authority that vouches.
    let pinned = format!("{ca}\ncertificate_sha256 = [{:?}]", elsewhere.sha256);
    let server = start(&with(&behind.soap_settings(), &pinned));
    let answer = ask(&operator(&server, "operator"), &server, KNOWN_PIN);
    assert_eq!(answer["outcome"], "unavailable", "{answer}");
    server.wait_for_log("not the one that is pinned");
    nothing_was_in_the_clear(&behind);
}

/// Workflow: the order proceeds with what was typed in, and is held against the register later.
#[test]
fn who_was_typed_in_while_its_certificate_was_wrong_is_verified_when_it_is_right() {
    let hospital = Hospital::new();
    let own = made(&hospital.trusted, "security-server", |_| {});
    let old = made(&hospital.trusted, "old", |wanted| wanted.year = 2002);
    let behind = secured(&Terms::new(&old, None));
    let ca = hospital.trusted.file();
    let keys = format!("tls_ca = {ca:?}\nrecheck_seconds = 1");
    let server = start(&with(&behind.soap_settings(), &keys));
    let operator = operator(&server, "operator");
    assert_eq!(ask(&operator, &server, KNOWN_PIN)["outcome"], "unavailable");
    let typed = json!({"name": {"family": "Жээнбеков", "given": "Үсөн"}, "pin": KNOWN_PIN});
    let made = make(&operator, &server, "/patients", &typed);
    assert_eq!(made.status, 201, "{}", made.json());
    assert_eq!(made.json()["identity"], "declared", "{}", made.json());
    let number = made.json()["number"].as_str().expect("a number").to_owned();
    assert_eq!(behind.requests().len(), 0);

    behind.show(Some(&Terms::new(&own, None)));

    let card = format!("/patients/{number}");
    let verified = until(PATIENCE, "the register", || {
        let card: Value = read(&operator, &server, &card).json();
        (card["identity"] == "verified").then_some(card)
    });
    assert_eq!(verified["name"]["patronymic"], "Өмүрбекович", "{verified}");
    nothing_was_in_the_clear(&behind);
}
