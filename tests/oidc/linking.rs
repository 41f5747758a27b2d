//! Who is let in: accounts that an administrator has linked, as they stand here; second factors;
//! and what somebody sees who is not let in.

use aws_lc_rs::hmac;
use pacs_tests::provider::{Provider, Terrain};
use pacs_tests::server::Server;
use pacs_tests::signed_in::{Browser, pacs};
use pacs_tests::stow::{Answer, ask};
use pacs_tests::web::get;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{API, NAME, Rig, SUBJECT, location, refusal, refused, session};

fn etag(answer: &Answer) -> String {
    let line = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "));
    line.expect("a state").to_owned()
}

fn code(answer: &Answer) -> String {
    answer.json()["code"].as_str().expect("a code").to_owned()
}

#[test]
fn nobody_is_let_in_whom_no_account_is_linked_with() {
    let rig = Rig::new(Terrain::default());
    rig.provider.is_used_by("<b>somebody</b> else", &[]);

    let answer = rig.sign_in();
    assert_eq!(refusal(&answer), refused(403, "NOT_LINKED"));
    assert_eq!(answer.json()["subject"], "<b>somebody</b> else");
    let begun = rig.begin("/");
    let query = rig.provider.authorize(&begun.location);
    let path = format!("{API}/session/oidc/callback?{query}");
    let fields = [
        ("Cookie", &*begun.cookie),
        ("Accept", "text/html,*/*;q=0.8"),
    ];
    let page = get(rig.server.http(), &path, &fields);
    assert_eq!(page.status, 403);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let page = String::from_utf8(page.body).expect("UTF-8");
    assert!(page.contains("администратору") && page.contains("NOT_LINKED"));
    assert!(page.contains("&lt;b&gt;somebody&lt;/b&gt; else"), "{page}");

    let trail = rig.trail();
    let told = "UNKNOWN_SUBJECT <b>somebody</b> else (name of <b>somebody</b> else)";
    assert_eq!(trail.matches(told).count(), 2, "{trail}");
    let listed = pacs(&rig.server, &["users", "list"]).succeeded().text;
    assert!(!listed.contains("somebody"), "no account makes itself");
    rig.keeps_no_token();
}

#[test]
fn what_an_account_may_do_is_what_is_said_here() {
    let rig = Rig::new(Terrain::default());
    let cookie = session(&rig.sign_in());
    let grants = rig.read("/session", &cookie).json()["grants"].clone();
    assert_eq!(grants[0]["role"], "radiologist");

    let _ = pacs(&rig.server, &["users", "disable", NAME]).succeeded();
    assert_eq!(rig.read("/session", &cookie).status, 401);
    assert_eq!(refusal(&rig.sign_in()), refused(403, "NOT_LINKED"));
    assert!(rig.trail().contains("DISABLED"));
    let _ = pacs(&rig.server, &["users", "enable", NAME]).succeeded();
    let cookie = session(&rig.sign_in());

    let issuer = rig.provider.issuer();
    let of = ["--issuer", &issuer, "--subject", SUBJECT];
    rig.add("other");
    let taken = pacs(
        &rig.server,
        &[&["users", "link", "other"], &of[..]].concat(),
    );
    assert!(!taken.success, "{}", taken.text);
    let unlinked = pacs(&rig.server, &[&["users", "unlink", NAME], &of[..]].concat());
    let _ = unlinked.succeeded();
    assert_eq!(rig.read("/session", &cookie).status, 401);
    assert_eq!(refusal(&rig.sign_in()), refused(403, "NOT_LINKED"));
    // Another person of the same name at another provider is another person.
    let elsewhere = "https://another.example/realms/health";
    let of = ["--issuer", elsewhere, "--subject", SUBJECT];
    let linked = pacs(&rig.server, &[&["users", "link", NAME], &of[..]].concat());
    let _ = linked.succeeded();
    assert_eq!(refusal(&rig.sign_in()), refused(403, "NOT_LINKED"));
    let wrong = ["users", "link", NAME, "--issuer", "x", "--subject", "y"];
    assert!(!pacs(&rig.server, &wrong).success);
}

#[test]
fn accounts_are_linked_by_whoever_looks_after_them() {
    let rig = Rig::new(Terrain::default());
    let server = &rig.server;
    let own = Browser::of_new_user(server, "own", &["org_admin@006"]);
    let other = Browser::of_new_user(server, "other", &["org_admin@001"]);
    let reader = Browser::of_new_user(server, "reader", &["radiologist@006"]);
    let path = format!("{API}/users/reader/external");
    let of_reader = format!("{API}/users/reader");
    let identity = json!({"issuer": rig.provider.issuer(), "subject": "second"});
    let send = |browser: &Browser, method: &str, etag: &str, body: &Value| {
        let fields = [("If-Match", etag)];
        browser.send(server, method, &path, &fields, body)
    };
    let read = own.send(server, "GET", &of_reader, &[], &Value::Null);
    assert_eq!(read.json()["external"], json!([]));
    let first = etag(&read);

    assert_eq!(
        code(&send(&reader, "POST", &first, &identity)),
        "NOT_PERMITTED"
    );
    assert_eq!(code(&send(&other, "POST", &first, &identity)), "NOT_FOUND");
    let blind = own.send(server, "POST", &path, &[], &identity);
    assert_eq!(code(&blind), "IF_MATCH_NEEDED");
    for wrong in [
        json!({"issuer": "x", "subject": "second"}),
        json!({"issuer": "https://x", "subject": ""}),
        json!({"issuer": "https://x", "subject": "a\nb"}),
    ] {
        assert_eq!(code(&send(&own, "POST", &first, &wrong)), "MALFORMED");
    }
    let elsewhere = json!({"issuer": "https://another.example", "subject": "second"});
    let wrong = send(&own, "POST", &first, &elsewhere);
    assert_eq!((wrong.status, code(&wrong)), (422, "MALFORMED".to_owned()));
    assert_eq!(wrong.json()["what"], "issuer");
    let taken = json!({"issuer": rig.provider.issuer(), "subject": SUBJECT});
    assert_eq!(code(&send(&own, "POST", &first, &taken)), "TAKEN");
    let linked = send(&own, "POST", &first, &identity);
    assert_eq!(linked.status, 200, "{:?}", linked.json());
    assert_eq!(linked.json()["external"][0]["subject"], "second");
    assert_eq!(code(&send(&own, "POST", &first, &identity)), "STALE");
    rig.provider.is_used_by("second", &[]);
    let cookie = session(&rig.sign_in());
    assert_eq!(rig.read("/session", &cookie).json()["user"], "reader");

    let second = etag(&linked);
    let unlinked = send(&own, "DELETE", &second, &identity);
    assert_eq!(unlinked.json()["external"], json!([]));
    assert_eq!(rig.read("/session", &cookie).status, 401, "it ends");
    let third = etag(&unlinked);
    assert_eq!(code(&send(&own, "DELETE", &third, &identity)), "NOT_FOUND");
    let trail = rig.trail();
    let told = format!("LINKED second {}", rig.provider.issuer());
    assert_eq!(trail.matches(&told).count(), 2, "linked and unlinked");
    let own_path = format!("{API}/users/own/external");
    let fields = [("If-Match", "\"1\"")];
    let own_account = own.send(server, "POST", &own_path, &fields, &identity);
    assert_eq!(code(&own_account), "OWN_ACCOUNT");
}

/// The code that a telephone shows in `ahead_s` seconds (RFC 6238).
fn code_of(secret: &str, ahead_s: u64) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let (mut bits, mut count, mut key) = (0_u64, 0, Vec::new());
    for letter in secret.bytes() {
        let value = letters.iter().position(|known| *known == letter);
        bits = bits << 5 | value.expect("base32") as u64;
        count += 5;
        if count >= 8 {
            count -= 8;
            key.push((bits >> count & 0xff) as u8);
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let step = (now.expect("after 1970").as_secs() + ahead_s) / 30;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let four = [tag[at] & 0x7f, tag[at + 1], tag[at + 2], tag[at + 3]];
    format!("{:06}", u32::from_be_bytes(four) % 1_000_000)
}

/// Somebody with a second factor here: its secret.
fn with_factor(server: &Server, name: &str) -> String {
    let browser = Browser::of_new_user(server, name, &["radiologist@006"]);
    let path = format!("{API}/session/second-factor");
    let password = json!({"password": pacs_tests::signed_in::PASSWORD});
    let offered = browser.send(server, "POST", &path, &[], &password);
    let secret = offered.json()["secret"]
        .as_str()
        .expect("a secret")
        .to_owned();
    let body = json!({"code": code_of(&secret, 0)});
    let confirmed = browser.send(server, "PUT", &path, &[], &body);
    assert_eq!(confirmed.status, 204);
    secret
}

#[test]
fn a_second_factor_that_is_kept_here_is_asked_for_here() {
    let rig = Rig::new(Terrain::default());
    let secret = with_factor(&rig.server, "careful");
    let _ = rig.link("careful", "careful one");
    rig.provider.is_used_by("careful one", &[]);
    let begun = rig.begin("/worklist");
    let query = rig.provider.authorize(&begun.location);

    let came = rig.come_back(&query, &begun.cookie);
    assert_eq!(came.status, 303);
    assert_eq!(location(&came), "/worklist#second_factor");
    let set: Vec<_> = came
        .headers
        .iter()
        .filter(|it| it.0 == "set-cookie")
        .collect();
    assert_eq!(set.len(), 1, "and no session");
    assert!(set[0].1.starts_with(&begun.cookie), "{set:?}");
    assert_eq!(rig.read("/session", &begun.cookie).status, 401);

    let say = |cookie: &str, code: &str, site: &str| {
        let body = json!({"code": code}).to_string();
        let fields = [
            ("Content-Type", "application/json"),
            ("Cookie", cookie),
            ("Sec-Fetch-Site", site),
        ];
        let path = format!("{API}/session/oidc");
        ask(rig.server.http(), "POST", &path, &fields, body.as_bytes())
    };
    let right = code_of(&secret, 30);
    let here = "same-origin";
    assert_eq!(
        code(&say(&begun.cookie, &right, "cross-site")),
        "CROSS_SITE"
    );
    assert_eq!(
        code(&say("__Host-pacs_sign_in=x", &right, here)),
        "NOT_SIGNED_IN"
    );
    let wrong = if right == "000000" {
        "000001"
    } else {
        "000000"
    };
    assert_eq!(code(&say(&begun.cookie, wrong, here)), "WRONG_CREDENTIALS");
    let signed_in = say(&begun.cookie, &right, here);
    assert_eq!(signed_in.status, 201, "{:?}", signed_in.json());
    assert_eq!(signed_in.json()["user"], "careful");
    let again = say(&begun.cookie, &right, here);
    assert_eq!(code(&again), "NOT_SIGNED_IN", "it is over");
    let trail = rig.trail();
    for told in ["CODE_NEEDED", "WRONG_CODE", "BY_PROVIDER"] {
        assert!(trail.contains(told), "{told}: {trail}");
    }
}

#[test]
fn what_the_provider_must_ask_for_takes_the_place_of_a_second_factor_here() {
    let provider = Provider::start(SUBJECT, Terrain::default(), None);
    let rig = Rig::with(provider, "require_amr = [\"mfa\", \"hwk\"]");
    with_factor(&rig.server, "careful");
    let _ = rig.link("careful", "careful one");
    let weak = refused(403, "PROVIDER_WEAK");
    for methods in [&[][..], &["pwd"], &["pwd", "mfa"]] {
        rig.provider.is_used_by("careful one", methods);
        assert_eq!(refusal(&rig.sign_in()), weak, "{methods:?}");
    }
    assert!(rig.trail().contains("PROVIDER_WEAK careful one"));

    rig.provider
        .is_used_by("careful one", &["hwk", "pwd", "mfa"]);
    let cookie = session(&rig.sign_in());
    assert_eq!(rig.read("/session", &cookie).json()["user"], "careful");
}
