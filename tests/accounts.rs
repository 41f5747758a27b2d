//! Signing in over HTTP, as a browser and as somebody who is none: cookies, tokens against other
//! sites, throttling, the first account, and what `pacs users` and `pacs audit` do about it.

use pacs_tests::edges::until;
use pacs_tests::peers::{self, run};
use pacs_tests::server::{Options, Server, ready_line};
use pacs_tests::signed_in::{CHEAP_PASSWORDS, PASSWORD, pacs};
use pacs_tests::stow::{Answer, ask};
use pacs_tests::workspace;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const SESSION: &str = "/api/v1/session";

fn start() -> Server {
    Server::start(Options {
        config: CHEAP_PASSWORDS.to_owned(),
        ..Options::default()
    })
}

fn send(
    server: &Server,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let mut all = vec![("Content-Type", "application/json")];
    all.extend_from_slice(fields);
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    ask(server.http(), method, path, &all, body.as_bytes())
}

fn sign_in(server: &Server, user: &str, password: &str) -> Answer {
    let typed = json!({"user": user, "password": password});
    send(server, "POST", SESSION, &[], &typed)
}

/// The cookie of an answer, with its attributes.
fn set_cookie(answer: &Answer) -> String {
    let lines = answer.head.lines();
    let mut set = lines.filter_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = set
        .next()
        .unwrap_or_else(|| panic!("no cookie: {}", answer.head));
    assert_eq!(set.next(), None);
    cookie.to_owned()
}

/// A browser that is signed in: the head is in lower case, and so the name of the cookie is given
/// back as it was.
struct Browser {
    cookie: String,
    token: String,
}

impl Browser {
    fn of(answer: &Answer) -> Self {
        let cookie = set_cookie(answer);
        let secret = cookie.split(['=', ';']).nth(1).expect("a secret");
        Self {
            cookie: format!("__Host-pacs_session={secret}"),
            token: answer.json()["csrf_token"]
                .as_str()
                .expect("a token")
                .to_owned(),
        }
    }

    fn send(&self, server: &Server, method: &str, path: &str, body: &Value) -> Answer {
        let fields = [("Cookie", &*self.cookie), ("X-CSRF-Token", &*self.token)];
        send(server, method, path, &fields, body)
    }

    fn status(&self, server: &Server) -> u16 {
        self.send(server, "GET", SESSION, &Value::Null).status
    }
}

fn code(answer: &Answer) -> String {
    assert!(
        answer.head.contains("application/problem+json"),
        "{}",
        answer.head
    );
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    assert!(problem["key"].is_string() && problem["detail"].is_string());
    problem["code"].as_str().expect("a code").to_owned()
}

/// Makes an account and chooses its password.
fn user(server: &Server, name: &str, role: &str) -> Browser {
    let added = [
        "users",
        "add",
        name,
        "--display-name",
        "Б. Осмонова",
        "--doctor",
        "--role",
        role,
    ];
    let first = pacs(server, &added).succeeded().text;
    let first = first.lines().last().expect("a password").to_owned();
    let browser = Browser::of(&sign_in(server, name, &first));
    let body = json!({"current": first, "new": PASSWORD});
    let changed = browser.send(server, "PUT", "/api/v1/session/password", &body);
    assert_eq!(changed.status, 200, "{:?}", changed.json());
    Browser::of(&changed)
}

#[test]
fn a_user_is_made_signs_in_chooses_a_password_and_signs_out() {
    let server = start();
    let words = [
        "users",
        "add",
        "b.osmonova",
        "--display-name",
        "X",
        "--role",
        "radiologist@006",
    ];
    let first = pacs(&server, &words).succeeded().text;
    let first = first.lines().last().expect("a password");
    assert!(!pacs(&server, &words).success, "the name is taken");

    let answer = sign_in(&server, "B.Osmonova", first);
    assert_eq!(answer.status, 201);
    assert_eq!(
        set_cookie(&answer).split_once(';').expect("attributes").1,
        " path=/; secure; httponly; samesite=strict"
    );
    assert!(answer.head.contains("cache-control: no-store"));
    let shown = answer.json();
    assert_eq!(
        (&shown["user"], &shown["must_change_password"]),
        (&json!("b.osmonova"), &json!(true))
    );
    assert_eq!(
        shown["grants"][0],
        json!({"role": "radiologist", "reach": {"organisation": "006"}})
    );
    let browser = Browser::of(&answer);
    assert_eq!(browser.status(&server), 200);
    let open = browser.send(&server, "GET", "/api/v1/session/break-glass", &Value::Null);
    assert_eq!(
        (open.status, code(&open)),
        (403, "PASSWORD_MUST_CHANGE".to_owned())
    );

    let weak = json!({"current": first, "new": "aaaaaaaaaaaaaaaaaaaa"});
    let refused = browser.send(&server, "PUT", "/api/v1/session/password", &weak);
    assert_eq!(
        (refused.status, code(&refused)),
        (422, "PASSWORD_GUESSABLE".to_owned())
    );
    let body = json!({"current": first, "new": PASSWORD});
    let changed = browser.send(&server, "PUT", "/api/v1/session/password", &body);
    assert_eq!(changed.status, 200);
    assert_eq!(browser.status(&server), 401, "the old session is over");
    let browser = Browser::of(&changed);
    let out = browser.send(&server, "DELETE", SESSION, &Value::Null);
    assert_eq!(out.status, 204);
    assert!(set_cookie(&out).contains("max-age=0"));
    let over = browser.send(&server, "GET", SESSION, &Value::Null);
    assert_eq!(
        (over.status, code(&over)),
        (401, "NOT_SIGNED_IN".to_owned())
    );
}

#[test]
fn nothing_is_changed_on_behalf_of_another_page() {
    let server = start();
    let browser = user(&server, "b.osmonova", "radiologist@006");
    let host = server.http().to_string();
    let own = format!("http://{host}");
    let cookie = ("Cookie", browser.cookie.as_str());
    let token = ("X-CSRF-Token", browser.token.as_str());
    let from: [(&[(&str, &str)], &str); 8] = [
        (&[cookie], "no token"),
        (&[cookie, ("X-CSRF-Token", "0")], "a wrong token"),
        (
            &[cookie, token, ("Origin", "https://elsewhere.example")],
            "another page",
        ),
        (&[cookie, token, ("Origin", "null")], "a page of nowhere"),
        (
            &[cookie, token, ("Sec-Fetch-Site", "cross-site")],
            "another site",
        ),
        (
            &[cookie, token, ("Sec-Fetch-Site", "same-site")],
            "a sister of this site",
        ),
        (
            &[cookie, token, ("Origin", "http://127.0.0.1:1")],
            "another port",
        ),
        (
            &[
                cookie,
                token,
                ("Origin", &own),
                ("Origin", "https://elsewhere.example"),
            ],
            "two",
        ),
    ];
    for method in ["DELETE", "POST", "PUT"] {
        let path = match method {
            "PUT" => "/api/v1/session/password",
            "POST" => "/api/v1/session/break-glass",
            _ => SESSION,
        };
        for (fields, why) in &from {
            let refused = send(&server, method, path, fields, &json!({}));
            assert_eq!(
                (refused.status, code(&refused)),
                (403, "CROSS_SITE".to_owned()),
                "{why}"
            );
        }
    }
    assert_eq!(browser.status(&server), 200, "still signed in");
    let here = [
        cookie,
        token,
        ("Origin", &*own),
        ("Sec-Fetch-Site", "same-origin"),
    ];
    assert_eq!(
        send(&server, "DELETE", SESSION, &here, &Value::Null).status,
        204
    );
}

#[test]
fn nobody_is_signed_in_by_another_page() {
    let server = start();
    let _browser = user(&server, "b.osmonova", "radiologist@006");
    // Signing somebody in as somebody else is none of another page's business either.
    let typed = json!({"user": "b.osmonova", "password": PASSWORD});
    let elsewhere = [("Origin", "https://elsewhere.example")];
    assert_eq!(
        send(&server, "POST", SESSION, &elsewhere, &typed).status,
        403
    );
    // A form of another page can send these without being asked, and no JSON.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let refused = ask(
            server.http(),
            "POST",
            SESSION,
            &[("Content-Type", kind)],
            b"{}",
        );
        assert_eq!(refused.status, 415, "{kind}");
    }
}

#[test]
fn a_planted_session_is_worth_nothing_and_the_old_one_ends() {
    let server = start();
    let old = user(&server, "b.osmonova", "radiologist@006");
    let typed = json!({"user": "b.osmonova", "password": PASSWORD});
    let planted = format!("__Host-pacs_session={}", "a".repeat(64));

    let answer = send(&server, "POST", SESSION, &[("Cookie", &planted)], &typed);
    assert_eq!(answer.status, 201);
    assert!(!set_cookie(&answer).contains("aaaaaaaa"));
    assert_eq!(
        send(
            &server,
            "GET",
            SESSION,
            &[("Cookie", &planted)],
            &Value::Null
        )
        .status,
        401
    );
    let again = send(&server, "POST", SESSION, &[("Cookie", &old.cookie)], &typed);
    assert_eq!(again.status, 201);
    assert_eq!(old.status(&server), 401);
    let both = format!("{}; {planted}", Browser::of(&again).cookie);
    assert_eq!(
        send(&server, "GET", SESSION, &[("Cookie", &both)], &Value::Null).status,
        401
    );
}

#[test]
fn guesses_are_throttled_beyond_a_restart_and_leave_what_was_typed_nowhere() {
    let mut server = start();
    let browser = user(&server, "b.osmonova", "radiologist@006");
    for n in 0..10 {
        let refused = sign_in(&server, "b.osmonova", &format!("CANARY-{n}"));
        assert_eq!(
            (refused.status, code(&refused)),
            (401, "WRONG_CREDENTIALS".to_owned())
        );
    }
    let wait = sign_in(&server, "b.osmonova", PASSWORD);
    assert_eq!((wait.status, code(&wait)), (429, "WAIT".to_owned()));
    assert!(wait.head.contains("retry-after: "), "{}", wait.head);
    server.wait_for_log("password_guessing");
    assert!(!server.log().contains("CANARY"));
    server.kill();
    server.restart();
    assert_eq!(sign_in(&server, "b.osmonova", PASSWORD).status, 429);
    assert_eq!(
        browser.status(&server),
        200,
        "sessions live on, and who is in stays in"
    );
    let unknown = sign_in(&server, "CANARY-NAME", "CANARY");
    assert_eq!(
        (unknown.status, code(&unknown)),
        (401, "WRONG_CREDENTIALS".to_owned())
    );

    assert!(!server.log().contains("CANARY"));
    let told = pacs(&server, &["audit", "list", "--json"]).succeeded().text;
    assert!(!told.contains("CANARY"), "{told}");
    assert_eq!(told.matches("WRONG_CREDENTIALS").count(), 11);
    let file = std::fs::read(server.data().join("records.redb")).expect("the records");
    let holds = |what: &[u8]| file.windows(what.len()).any(|bytes| bytes == what);
    assert!(holds(b"b.osmonova") && !holds(b"CANARY") && !holds(PASSWORD.as_bytes()));
}

/// A server whose standard output is read on after it is ready.
struct Printing {
    child: Child,
    http: SocketAddr,
    token: String,
}

impl Printing {
    fn start() -> (Self, TempDir) {
        let home = workspace::temporary_folder();
        let mut server = Command::new(workspace::binary("pacs-server"));
        server.args([
            "--data",
            "data",
            "--dicom",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
        ]);
        let server = server.current_dir(home.path()).stdout(Stdio::piped());
        let mut child = server
            .stderr(Stdio::null())
            .spawn()
            .expect("the server runs");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut next = || lines.next().expect("a line").expect("text");
        let ready = next();
        let http = ready_line(&ready).expect("the server is ready").http;
        let token = next();
        let token = token.rsplit(' ').next().expect("a token").to_owned();
        (Self { child, http, token }, home)
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_first_account_is_made_by_the_token_that_is_printed() {
    let (server, _home) = Printing::start();
    let send = |path: &str, body: &Value| {
        let kind = [("Content-Type", "application/json")];
        ask(
            server.http,
            "POST",
            path,
            &kind,
            body.to_string().as_bytes(),
        )
    };
    let user = json!({"user": "admin.one", "display_name": "A", "password": PASSWORD});
    let first = |token: &str| {
        let mut first = user.clone();
        first["token"] = json!(token);
        first
    };
    let wrong = send("/api/v1/set-up", &first("set_up_00"));
    assert_eq!(
        (wrong.status, code(&wrong)),
        (403, "SET_UP_OVER".to_owned())
    );
    assert_eq!(send("/api/v1/set-up", &first(&server.token)).status, 201);
    assert_eq!(
        send("/api/v1/set-up", &first(&server.token)).status,
        403,
        "once"
    );
    let shown = send(SESSION, &json!({"user": "admin.one", "password": PASSWORD})).json();
    assert_eq!(
        shown["grants"],
        json!([{"role": "moh_admin", "reach": "national"}])
    );
}

#[test]
fn accounts_are_looked_after_by_the_tool_whether_the_server_runs_or_not() {
    let mut server = start();
    let browser = user(&server, "b.osmonova", "radiologist@006");
    for wrong in [
        [
            "users",
            "add",
            "x",
            "--display-name",
            "X",
            "--role",
            "device@006",
        ],
        [
            "users",
            "add",
            "x",
            "--display-name",
            "X",
            "--role",
            "king@006",
        ],
        [
            "users",
            "add",
            "1x",
            "--display-name",
            "X",
            "--role",
            "operator@006",
        ],
    ] {
        assert!(!pacs(&server, &wrong).success, "{wrong:?}");
    }
    let both = [
        "users",
        "roles",
        "b.osmonova",
        "--role",
        "auditor@national",
        "--role",
        "operator@006",
    ];
    let refused = pacs(&server, &both);
    assert!(
        !refused.success && refused.text.contains("no other role"),
        "{}",
        refused.text
    );
    let _ = pacs(&server, &["users", "disable", "b.osmonova"]).succeeded();
    assert_eq!(browser.status(&server), 401);
    assert_eq!(sign_in(&server, "b.osmonova", PASSWORD).status, 401);
    server.stop();

    let _ = pacs(&server, &["users", "enable", "b.osmonova"]).succeeded();
    let password = pacs(&server, &["users", "reset", "b.osmonova"])
        .succeeded()
        .text;
    let password = password.lines().last().expect("a password").to_owned();
    let listed = pacs(&server, &["users", "list"]).succeeded().text;
    assert!(
        listed.contains("b.osmonova\tradiologist@006\tmust choose"),
        "{listed}"
    );
    server.restart();

    assert_eq!(sign_in(&server, "b.osmonova", PASSWORD).status, 401);
    assert_eq!(sign_in(&server, "b.osmonova", &password).status, 201);
}

#[test]
fn the_audit_trail_tells_of_it_and_is_verified_while_the_server_runs() {
    let server = start();
    let browser = user(&server, "b.osmonova", "radiologist@006");
    let opened = json!({
        "patient": "P0000005724", "reason": "unconscious",
        "explanation": "polytrauma, priors needed", "proof": PASSWORD,
    });
    let path = "/api/v1/session/break-glass";
    let answer = browser.send(&server, "POST", path, &opened);
    assert_eq!(answer.status, 201, "{:?}", answer.json());
    assert_eq!(answer.json()["patient"], "P0000005724");
    let open = browser.send(&server, "GET", path, &Value::Null).json();
    assert_eq!(open["items"].as_array().map(Vec::len), Some(1));

    let of_patient = ["audit", "list", "--patient", "P0000005724"];
    let told = pacs(&server, &of_patient).succeeded().text;
    assert!(
        told.contains("\tb.osmonova\tbreak_glass_started\tdone\tP0000005724"),
        "{told}"
    );
    let verified = pacs(&server, &["audit", "verify"]).succeeded().text;
    let anchor = verified
        .rsplit(' ')
        .next()
        .expect("an anchor")
        .trim()
        .to_owned();
    let _ = pacs(&server, &["audit", "verify", "--noted", &anchor]).succeeded();
    let other = format!("1:{}", "0".repeat(64));
    let refused = pacs(&server, &["audit", "verify", "--noted", &other]);
    assert!(
        !refused.success && refused.text.contains("was noted"),
        "{}",
        refused.text
    );
    let Some(python) = peers::python() else {
        return;
    };
    let listed = pacs(&server, &["audit", "list", "--message"])
        .succeeded()
        .text;
    let messages: Vec<String> = listed.lines().map(str::to_owned).collect();
    let mut script = Command::new(python);
    script.arg(workspace::root().join("tests/audit/read.py"));
    let read = peers::answers(&mut script, &messages);
    assert!(messages.len() >= 8 && read.len() == messages.len());
    assert!(
        !read.iter().any(|said| said.contains("\"error\"")),
        "{read:?}"
    );
}

#[test]
fn what_a_device_sends_waits_for_its_own_hospital_and_is_put_off_over_http() {
    let server = start();
    let list = workspace::root().join("reference-server/organisations.json");
    let list = list.to_str().expect("UTF-8");
    let imported = pacs(&server, &["organisations", "import", list]);
    let _ = imported.succeeded();
    let files = workspace::temporary_folder();
    let sent = pacs_tests::samples::write_study(files.path(), 1, 2);
    let to = format!("PACS@{}", server.dicom());
    let mut store = Command::new(workspace::binary("pacs"));
    store
        .args(["store", &to, "--ae-title", "NATHOS_CT1"])
        .args(&sent);
    let _ = run(&mut store).succeeded();
    let here = user(&server, "operator", "operator@006");
    let queue = |browser: &Browser| {
        let answer = browser.send(&server, "GET", "/api/v1/unmatched", &Value::Null);
        assert_eq!(answer.status, 200);
        answer.json()["items"].as_array().expect("a list").clone()
    };
    let patience = std::time::Duration::from_secs(60);
    let first = || queue(&here).first().cloned();
    let waiting = until(patience, "the study waits for somebody", first);
    assert_eq!(waiting["senders"], json!(["NATHOS_CT1"]));
    assert_eq!(waiting["organisation"], "006");
    let elsewhere = user(&server, "other", "operator@001");
    assert!(queue(&elsewhere).is_empty());
    let study = waiting["study"].as_str().expect("a UID");
    let path = format!("/api/v1/unmatched/{study}");
    let hidden = elsewhere.send(&server, "GET", &path, &Value::Null);
    assert_eq!(
        (hidden.status, code(&hidden)),
        (404, "NOT_FOUND".to_owned())
    );
    let body = json!({"until": "2099-01-01T00:00:00Z", "reason": "a reason"});
    let late = here.send(&server, "POST", &format!("{path}/postpone"), &body);
    assert_eq!(
        (late.status, code(&late)),
        (428, "IF_MATCH_NEEDED".to_owned())
    );
    let fields = [
        ("Cookie", &*here.cookie),
        ("X-CSRF-Token", &*here.token),
        ("If-Match", waiting["etag"].as_str().expect("a state")),
    ];
    let put_off = send(&server, "POST", &format!("{path}/postpone"), &fields, &body);
    assert_eq!(put_off.status, 200, "{:?}", put_off.json());
    assert!(queue(&here).is_empty());
}
