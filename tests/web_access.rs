//! Who gets in at DICOMweb: tokens in both forms, scopes, expiry, revocation, guesses, the open
//! loopback, and pages from elsewhere.

use std::net::SocketAddr;
use std::process::Command;

use pacs_tests::edges::until;
use pacs_tests::peers::{Said, run};
use pacs_tests::portal::{CT_OF_006, Portal, slice_of};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, PATIENCE, Server, start_refused};
use pacs_tests::stow::{Answer, RELATED, ask, related};
use pacs_tests::web::get;
use pacs_tests::workspace;

const STUDIES: &str = "/dicomweb/studies";

fn token(server: &Server, words: &[&str]) -> Said {
    let data = server.data();
    let mut pacs = Command::new(workspace::binary("pacs"));
    run(pacs.args(["token"]).args(words).arg("--data").arg(data))
}

/// Makes a token; its secret.
fn create(server: &Server, name: &str, scope: &str) -> String {
    let said = token(server, &["create", name, "--scope", scope]).succeeded();
    let secret = said.text.lines().find(|line| line.starts_with("pacs_"));
    secret
        .unwrap_or_else(|| panic!("no secret: {said:?}"))
        .to_owned()
}

fn store(server: &Server, fields: &[(&str, &str)]) -> Answer {
    let mut all = vec![("Content-Type", RELATED)];
    all.extend_from_slice(fields);
    let body = related(&[Slice::new(1, 1).file()]);
    ask(server.http(), "POST", STUDIES, &all, &body)
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

fn status(server: &Server, authorization: &str) -> u16 {
    store(server, &[("Authorization", authorization)]).status
}

/// A path that retrieves, for tokens that may.
fn instance() -> String {
    let slice = Slice::new(1, 1);
    let (study, series) = (slice.study, slice.series);
    format!(
        "{STUDIES}/{study}/series/{series}/instances/{}",
        slice.instance
    )
}

#[test]
fn nothing_works_without_credentials() {
    let server = Server::start(Options::default());

    for (method, path) in [
        ("POST", STUDIES),
        ("POST", "/dicomweb/studies/1.2"),
        ("GET", &*instance()),
    ] {
        let answer = ask(
            server.http(),
            method,
            path,
            &[("Content-Type", RELATED)],
            &[],
        );
        assert_eq!(answer.status, 401, "{method} {path}");
        let challenge = "www-authenticate: bearer realm=\"pacs\", basic realm=\"pacs\"";
        assert!(answer.head.contains(challenge), "{}", answer.head);
    }
    for shown in [
        "",
        "Bearer",
        "Bearer pacs_00",
        "Basic Og==",
        "Digest x",
        "Bearer \u{e4}",
    ] {
        assert_eq!(status(&server, shown), 401, "{shown}");
    }
}

#[test]
fn a_token_opens_what_its_scope_names_until_it_is_revoked() {
    let server = Server::start(Options::default());
    let sender = create(&server, "sender", "store");
    let viewer = create(&server, "viewer", "find,get");

    assert_eq!(status(&server, &bearer(&sender)), 200);
    assert_eq!(status(&server, &bearer(&viewer)), 403);
    let get = |secret: &str| {
        let shown = bearer(secret);
        let fields = [("Authorization", shown.as_str())];
        ask(server.http(), "GET", &instance(), &fields, &[]).status
    };
    assert_eq!(get(&viewer), 200);
    assert_eq!(get(&sender), 403);
    let twice = [
        ("Authorization", bearer(&sender)),
        ("Authorization", bearer(&sender)),
    ];
    let twice: Vec<(&str, &str)> = twice
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    assert_eq!(
        store(&server, &twice).status,
        401,
        "of two, which one counts?"
    );

    let listed = token(&server, &["list"]).succeeded().text;
    assert!(listed.contains("sender\tstore\t-\tin 36"), "{listed}");
    assert!(!listed.contains(&sender), "a secret is shown once");
    let _ = token(&server, &["revoke", "sender"]).succeeded();
    assert_eq!(
        status(&server, &bearer(&sender)),
        401,
        "from the next request on"
    );
    assert_eq!(get(&viewer), 200);
    assert!(!token(&server, &["revoke", "sender"]).success);
    assert!(
        !token(&server, &["create", "viewer", "--scope", "get"]).success,
        "taken"
    );
    assert!(!token(&server, &["create", "a b", "--scope", "get"]).success);
    assert!(!token(&server, &["create", "other", "--scope", "maintain"]).success);

    let file = server.data().join("access-tokens.json");
    let kept = std::fs::read_to_string(file).expect("a file");
    assert!(!kept.contains(&viewer), "the secret is not kept");
    assert!(!server.log().contains(&viewer) && !server.log().contains(&sender));
}

#[test]
fn a_token_is_also_the_password_of_basic_authentication() {
    let server = Server::start(Options::default());
    let secret = create(&server, "sender", "store");
    let curl = |user: &str| {
        let body = server.home().join("file.dcm");
        std::fs::write(&body, Slice::new(1, 1).file()).expect("a file");
        let url = format!("http://{}{STUDIES}", server.http());
        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-u",
            user,
            &url,
        ]);
        curl.args(["-H", "Content-Type: application/dicom", "--data-binary"]);
        run(curl.arg(format!("@{}", body.display()))).text
    };

    assert_eq!(curl(&format!("sender:{secret}")), "200");
    assert_eq!(curl(&format!("other:{secret}")), "401");
    assert_eq!(curl("sender:wrong"), "401");
}

#[test]
fn an_expired_token_is_worth_nothing() {
    let server = Server::start(Options::default());
    let secret = create(&server, "sender", "store");
    let file = server.data().join("access-tokens.json");
    let text = std::fs::read_to_string(&file).expect("a file");
    let mut document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    document["tokens"][0]["expires_unix_s"] = 1.into();
    std::fs::write(&file, document.to_string()).expect("a file");

    assert_eq!(status(&server, &bearer(&secret)), 401);
    assert!(
        token(&server, &["list"])
            .succeeded()
            .text
            .contains("expired")
    );
}

#[test]
fn who_guesses_is_told_to_wait_with_an_alarm_and_right_tokens_go_on() {
    let server = Server::start(Options::default());
    let secret = create(&server, "sender", "store");

    let wrong: Vec<u16> = (0..30)
        .map(|number| status(&server, &format!("Bearer pacs_{number}")))
        .collect();

    assert_eq!(wrong[..10], [401; 10]);
    assert!(wrong.contains(&429), "{wrong:?}");
    assert!(wrong.iter().all(|status| [401, 429].contains(status)));
    server.wait_for_log("token_guessing");
    assert_eq!(status(&server, &bearer(&secret)), 200);
}

#[test]
fn an_open_loopback_is_for_programs_of_this_machine_alone() {
    let open = || vec!["--open-loopback".to_owned()];
    let home = workspace::temporary_folder();
    let mut arguments = open();
    arguments.extend(["--http", "0.0.0.0:0"].map(str::to_owned));
    let options = Options {
        arguments,
        ..Options::default()
    };
    let (status, said) = start_refused(&options, home.path());
    assert!(
        !status.success() && said.contains("http.open_loopback"),
        "{said}"
    );
    for elsewhere in [
        "public_url = \"https://pacs.example/dicomweb\"",
        "cors_origins = [\"https://viewer.example\"]",
    ] {
        let options = Options {
            arguments: open(),
            config: format!("[http]\n{elsewhere}\n"),
            ..Options::default()
        };
        let (status, said) = start_refused(&options, home.path());
        assert!(!status.success() && said.contains("http.open_loopback"));
        assert!(said.contains(".example"), "{said}");
    }

    let server = Server::start(Options {
        arguments: open(),
        ..Options::default()
    });
    assert_eq!(store(&server, &[]).status, 200);
    for elsewhere in [
        ("Origin", "https://elsewhere.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Authorization", "Bearer wrong"),
        ("Forwarded", "for=192.0.2.7"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Host", "pacs.example"),
        ("X-Real-IP", "192.0.2.7"),
        ("Via", "1.1 proxy"),
    ] {
        assert_eq!(store(&server, &[elsewhere]).status, 401, "{elsewhere:?}");
    }
}

#[test]
fn pages_of_configured_origins_may_use_it_and_no_others() {
    let home = workspace::temporary_folder();
    let wild = Options {
        config: "[http]\ncors_origins = [\"*\"]\n".to_owned(),
        ..Options::default()
    };
    let (status, said) = start_refused(&wild, home.path());
    assert!(
        !status.success() && said.contains("http.cors_origins"),
        "{said}"
    );

    let server = Server::start(Options {
        config: "[http]\ncors_origins = [\"https://viewer.example\"]\n".to_owned(),
        ..Options::default()
    });
    let secret = bearer(&create(&server, "sender", "store"));
    let method = ("Access-Control-Request-Method", "POST");
    let before = |origin| {
        let fields = [("Origin", origin), method];
        ask(server.http(), "OPTIONS", STUDIES, &fields, &[])
    };
    let known = before("https://viewer.example");
    assert_eq!(known.status, 204);
    assert!(
        known
            .head
            .contains("access-control-allow-origin: https://viewer.example")
    );
    assert!(known.head.contains("authorization"));
    assert!(!known.head.contains("allow-credentials"));
    let unknown = before("https://elsewhere.example");
    assert!(
        !unknown.head.contains("access-control-allow"),
        "{}",
        unknown.head
    );

    let authorized = ("Authorization", secret.as_str());
    let origin = ("Origin", "https://viewer.example");
    let answer = store(&server, &[authorized, origin]);
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .head
            .contains("access-control-allow-origin: https://viewer.example")
    );
    let refused = store(&server, &[origin]);
    assert_eq!(refused.status, 401);
    assert!(
        refused.head.contains("access-control-allow-origin"),
        "the page sees why"
    );
    let elsewhere = store(
        &server,
        &[authorized, ("Origin", "https://elsewhere.example")],
    );
    assert_eq!(
        elsewhere.status, 200,
        "a token is a token, but the page cannot read the answer"
    );
    assert!(!elsewhere.head.contains("access-control-allow-origin"));
}

#[test]
fn metrics_are_for_programs_of_this_machine_alone() {
    let server = Server::start(Options::default());
    let show = |fields: &[(&str, &str)]| get(server.http(), "/metrics", fields).status;

    assert_eq!(show(&[]), 200);
    for elsewhere in [
        ("Host", "rebound.example"),
        ("Origin", "https://elsewhere.example"),
        ("X-Forwarded-For", "192.0.2.7"),
    ] {
        assert_eq!(show(&[elsewhere]), 403, "{elsewhere:?}");
    }
}

#[test]
fn http_beyond_this_machine_needs_the_explicit_setting_and_is_told() {
    let home = workspace::temporary_folder();
    let everywhere = |more: &[&str]| Options {
        arguments: [&["--http", "0.0.0.0:0"], more]
            .concat()
            .iter()
            .map(|a| (*a).to_owned())
            .collect(),
        ..Options::default()
    };
    let (status, said) = start_refused(&everywhere(&[]), home.path());
    assert!(
        !status.success() && said.contains("http.insecure"),
        "{said}"
    );

    let server = Server::start(everywhere(&["--insecure-http"]));
    let (_, health) = server.get("/healthz");
    let health: serde_json::Value = serde_json::from_str(&health).expect("JSON");
    assert_eq!(health["insecure_http"], true);
    assert_eq!(health["insecure_dicom"], false);
    server.wait_for_log("HTTP without TLS");
}

/// Storing, deleting and taking into work with these fields is all refused.
fn nothing_is_changed(http: SocketAddr, study: &str, (fields, why): (&[(&str, &str)], &str)) {
    let body = related(&[Slice::new(1, 2).file()]);
    let workitem = "/dicomweb/workitems/2.25.1/state";
    // As a form of another page could send it, too: without asking first.
    for kind in [RELATED, "text/plain"] {
        let with_kind = [fields, &[("Content-Type", kind)]].concat();
        let stored = ask(http, "POST", "/dicomweb/studies", &with_kind, &body);
        assert_eq!(stored.status, 401, "STOW-RS {kind}: {why}");
    }
    for (method, path) in [("DELETE", study), ("PUT", workitem)] {
        let changed = ask(http, method, path, fields, b"{}");
        assert_eq!(changed.status, 401, "{method}: {why}");
    }
    // A token of the session alone is nobody.
    let alone = [fields, &[]].concat();
    let alone: Vec<_> = alone
        .into_iter()
        .filter(|(name, _)| *name != "Cookie")
        .collect();
    assert_eq!(ask(http, "DELETE", study, &alone, &[]).status, 401, "{why}");
}

/// The cookie of a session goes with whatever a page of another place has the browser ask; the
/// token of the session does not (security.md T14).
#[test]
fn a_session_reads_over_dicomweb_and_changes_nothing_without_its_token() {
    let portal = Portal::start();
    let radiographer = portal.user("radiographer", &["radiographer@006"]);
    let http = portal.server.http();
    let slice = Slice::new(1, 1);
    portal.store(CT_OF_006, &slice.instance, &slice_of(&slice, "", ""));
    let study = format!("/dicomweb/studies/{}", slice.study);
    let cookie = ("Cookie", radiographer.cookie.as_str());
    let token = ("X-CSRF-Token", radiographer.token.as_str());
    let found = || {
        let path = format!("/dicomweb/studies?0020000D={}", slice.study);
        ask(http, "GET", &path, &[cookie], &[]).status
    };
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[cookie], "no token"),
        (&[cookie, ("X-CSRF-Token", "0")], "a wrong token"),
        (
            &[cookie, token, ("Origin", "https://elsewhere.example")],
            "a page of elsewhere",
        ),
        (
            &[cookie, token, ("Sec-Fetch-Site", "cross-site")],
            "another site",
        ),
        (
            &[cookie, token, ("Sec-Fetch-Site", "same-site")],
            "a sister of this site",
        ),
    ];
    for (fields, why) in cases {
        nothing_is_changed(http, &study, (fields, why));
    }
    until(PATIENCE, "the study, with the cookie alone", || {
        (found() == 200).then_some(())
    });
    let metadata = ask(http, "GET", &format!("{study}/metadata"), &[cookie], &[]);
    let count = metadata.json().as_array().map(Vec::len);
    assert_eq!(
        (metadata.status, count),
        (200, Some(1)),
        "nothing came, nothing went"
    );
    let head = ask(http, "HEAD", &study, &[cookie], &[]);
    assert_eq!(head.status, 200);

    let own = format!("http://{http}");
    let here = [
        cookie,
        token,
        ("Origin", &*own),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    let gone = ask(http, "DELETE", &study, &here, &[]);
    assert!((200..300).contains(&gone.status), "{}", gone.status);
    assert_eq!(found(), 204, "with its token it does");
}
