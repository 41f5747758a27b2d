//! Signing in by an OpenID provider, as a browser goes through it: by one that is right, by one
//! that has each flaw by which providers are impersonated, and by a foreign one.

#[path = "oidc/abuse.rs"]
mod abuse;
#[path = "oidc/described.rs"]
mod described;
#[path = "oidc/foreign.rs"]
mod foreign;
#[path = "oidc/leaving.rs"]
mod leaving;
#[path = "oidc/linking.rs"]
mod linking;

use std::time::Duration;

use pacs_tests::certificates::{Hospital, Wanted};
use pacs_tests::edges::until;
use pacs_tests::provider::{ACCESS_TOKEN, CALLBACK, CLIENT, Flaw, Provider, Terrain};
use pacs_tests::server::{Options, Server};
use pacs_tests::signed_in::{CHEAP_PASSWORDS, pacs};
use pacs_tests::tls_listener::Terms;
use pacs_tests::web::{Reply, get};
use pacs_tests::workspace;

/// Whom the provider knows, and the account here.
const SUBJECT: &str = "f3b1c2 d4/CANARY-SUBJECT";
const NAME: &str = "b.osmonova";

const API: &str = "/api/v1";

/// Settings of a server that gives up a provider that says nothing.
const HASTY: &str = "answer_seconds = 5";

/// A server that people sign in to by `provider`, and somebody who is linked.
struct Rig {
    server: Server,
    provider: Provider,
}

/// A browser that has begun.
struct Begun {
    cookie: String,
    location: String,
}

impl Rig {
    fn new(terrain: Terrain) -> Self {
        Self::with(Provider::start(SUBJECT, terrain, None), "")
    }

    fn of_flaw(flaw: Flaw) -> Self {
        Self::new(Terrain {
            flaw: Some(flaw),
            ..Terrain::default()
        })
    }

    /// The same, which gives up a provider that says nothing.
    fn hasty(flaw: Option<Flaw>) -> Self {
        let terrain = Terrain {
            flaw,
            ..Terrain::default()
        };
        Self::with(Provider::start(SUBJECT, terrain, None), HASTY)
    }

    /// With `more` in the section of the provider.
    fn with(provider: Provider, more: &str) -> Self {
        let folder = workspace::temporary_folder();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, format!("{}\n", CLIENT.1)).expect("a file");
        let shows = if more.contains("# public") {
            String::new()
        } else {
            format!("client_secret_file = {secret:?}\n")
        };
        let server = Server::start(Options {
            config: settings(&provider.issuer(), CLIENT.0, &format!("{shows}{more}")),
            ..Options::default()
        });
        let rig = Self { server, provider };
        rig.add(NAME);
        let said = rig.link(NAME, SUBJECT);
        assert!(said.contains("now"), "{said}");
        rig
    }

    fn add(&self, name: &str) {
        let role = "radiologist@006";
        let words = ["users", "add", name, "--display-name", "X", "--role", role];
        let _ = pacs(&self.server, &words).succeeded();
    }

    fn link(&self, name: &str, subject: &str) -> String {
        let issuer = self.provider.issuer();
        let words = ["users", "link", name, "--issuer", &issuer, "--subject"];
        let said = pacs(&self.server, &[&words[..], &[subject]].concat());
        said.succeeded().text
    }

    /// Reads a path of the API as a browser that has `cookie`.
    fn read(&self, path: &str, cookie: &str) -> Reply {
        let fields = [("Cookie", cookie)];
        let fields = if cookie.is_empty() { &[] } else { &fields[..] };
        get(self.server.http(), &format!("{API}{path}"), fields)
    }

    fn begin(&self, return_to: &str) -> Begun {
        let reply = self.read(&format!("/session/oidc?return_to={return_to}"), "");
        assert_eq!(reply.status, 303, "{:?}", reply.body);
        let cookie = cookies(&reply).pop().expect("a cookie");
        let (value, attributes) = cookie.split_once("; ").expect("attributes");
        assert_eq!(
            attributes,
            "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"
        );
        Begun {
            cookie: value.to_owned(),
            location: location(&reply),
        }
    }

    fn come_back(&self, query: &str, cookie: &str) -> Reply {
        self.read(&format!("/session/oidc/callback?{query}"), cookie)
    }

    /// The whole way.
    fn sign_in(&self) -> Reply {
        let begun = self.begin("/");
        let query = self.provider.authorize(&begun.location);
        self.come_back(&query, &begun.cookie)
    }

    fn trail(&self) -> String {
        let listed = pacs(&self.server, &["audit", "list", "--json"]);
        listed.succeeded().text
    }

    /// Nothing of the provider's is seen or kept anywhere.
    fn keeps_no_token(&self) {
        let issued = self.provider.issued();
        let mut secrets: Vec<&str> = issued.iter().map(String::as_str).collect();
        secrets.extend([ACCESS_TOKEN, "CANARY-CODE", CLIENT.1]);
        let signatures = issued.iter().filter_map(|token| token.rsplit('.').next());
        secrets.extend(signatures.filter(|text| text.len() > 20));
        let log = self.server.log();
        for secret in &secrets {
            assert!(!log.contains(secret), "{secret} in the log");
        }
        for file in pacs_tests::peers::files_below(&self.server.data()) {
            // A socket is no file to read.
            let Ok(bytes) = std::fs::read(&file) else {
                continue;
            };
            for secret in &secrets {
                let secret = secret.as_bytes();
                let holds = bytes.windows(secret.len()).any(|part| part == secret);
                assert!(!holds, "a token in {}", file.display());
            }
        }
    }
}

/// The settings of a server whose people sign in there. An answer that comes is never late, however
/// busy the machine is: whoever waits for one to be late has [`HASTY`] in `more`.
fn settings(issuer: &str, client: &str, more: &str) -> String {
    let time = if more.contains(HASTY) {
        ""
    } else {
        "answer_seconds = 60"
    };
    format!(
        "{CHEAP_PASSWORDS}[accounts.oidc]\nissuer = \"{issuer}\"\nclient_id = \"{client}\"\n\
         redirect_url = \"{CALLBACK}\"\n{time}\nshow_claim = \"preferred_username\"\n{more}\n"
    )
}

fn cookies(reply: &Reply) -> Vec<String> {
    let set = reply
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    set.map(|(_, value)| value.clone()).collect()
}

fn location(reply: &Reply) -> String {
    reply.header("location").expect("a location").to_owned()
}

/// Status and code of a refusal, which gives no session.
fn refusal(reply: &Reply) -> (u16, String) {
    assert!(
        cookies(reply).is_empty(),
        "a refusal sets no cookie: {:?}",
        reply.headers
    );
    let problem = reply.json();
    (
        reply.status,
        problem["code"].as_str().expect("a code").to_owned(),
    )
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The cookie of the session that an answer begins.
fn session(reply: &Reply) -> String {
    assert_eq!(
        reply.status,
        303,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    let set = cookies(reply);
    assert_eq!(set.len(), 2, "{set:?}");
    let (value, attributes) = set[0].split_once("; ").expect("attributes");
    assert_eq!(
        attributes, "Path=/; Secure; HttpOnly; SameSite=Strict",
        "as a password makes it"
    );
    assert!(set[1].starts_with("__Host-pacs_sign_in=;") && set[1].ends_with("Max-Age=0"));
    assert!(value.starts_with("__Host-pacs_session="), "{value}");
    value.to_owned()
}

#[test]
fn somebody_signs_in_by_the_provider_and_no_token_is_seen_anywhere() {
    let rig = Rig::new(Terrain::default());
    let ways = rig.read("/session/ways", "").json();
    assert_eq!(ways["provider"], "OpenID Connect");

    let begun = rig.begin("/worklist?status=open%26x");
    let query = rig.provider.authorize(&begun.location);
    let came = rig.come_back(&query, &begun.cookie);

    let cookie = session(&came);
    assert_eq!(location(&came), "/worklist?status=open&x");
    let who = rig.read("/session", &cookie).json();
    assert_eq!(who["user"], NAME);
    assert_eq!(who["signed_in_by"], "provider");
    assert_eq!(who["external"][0]["issuer"], rig.provider.issuer());
    assert_eq!(who["external"][0]["subject"], SUBJECT);
    assert_eq!(who["must_change_password"], false, "there is no password");
    assert_eq!(rig.read("/organisations", &cookie).status, 200);
    assert_ne!(session(&rig.sign_in()), cookie, "a session is a new one");
    let trail = rig.trail();
    assert_eq!(trail.matches("BY_PROVIDER").count(), 2, "{trail}");
    let everything = format!("{:?}{}", came.headers, String::from_utf8_lossy(&came.body));
    assert!(!everything.contains("CANARY"), "{everything}");
    rig.keeps_no_token();
    let asked = rig.provider.requests();
    let of = |what: &str| asked.iter().filter(|line| line.contains(what)).count();
    assert_eq!((of("well-known"), of("/keys"), of("/token")), (1, 1, 2));
}

#[test]
fn the_archive_shows_its_secret_as_the_provider_takes_it() {
    let in_form = Terrain {
        takes_post_alone: true,
        ..Terrain::default()
    };
    session(&Rig::new(in_form).sign_in());
    let public = Terrain {
        is_public: true,
        ..Terrain::default()
    };
    let provider = Provider::start(SUBJECT, public, None);
    session(&Rig::with(provider, "# public").sign_in());
}

#[test]
fn the_session_that_the_browser_had_ends() {
    let rig = Rig::new(Terrain::default());
    let first = session(&rig.sign_in());

    let begun = rig.read("/session/oidc", &first);
    let sign_in = cookies(&begun).pop().expect("a cookie");
    let sign_in = sign_in.split(';').next().expect("a cookie").to_owned();
    let query = rig.provider.authorize(&location(&begun));
    // From another site the browser brings no Strict cookie.
    let second = session(&rig.come_back(&query, &sign_in));

    assert_eq!(rig.read("/session", &first).status, 401);
    assert_eq!(rig.read("/session", &second).status, 200);
}

#[test]
fn an_answer_counts_once_and_in_the_browser_that_asked() {
    let rig = Rig::new(Terrain::default());
    let gone = refused(403, "SIGN_IN_GONE");
    let begun = rig.begin("/");
    let query = rig.provider.authorize(&begun.location);

    // Somebody is sent the answer of another (login CSRF), without a cookie and with their own.
    assert_eq!(refusal(&rig.come_back(&query, "")), gone);
    let other = rig.begin("/");
    assert_eq!(refusal(&rig.come_back(&query, &other.cookie)), gone);
    let twice = format!("{}; __Host-pacs_sign_in=x", begun.cookie);
    assert_eq!(refusal(&rig.come_back(&query, &twice)), gone);
    // A code is put where another belongs: what it was asked with does not fit.
    let (_, state) = rig
        .provider
        .authorize(&other.location)
        .split_once("&state=")
        .map(|(code, rest)| (code.to_owned(), rest.to_owned()))
        .expect("a state");
    let code = query.split('&').next().expect("a code");
    let injected = format!("{code}&state={state}");
    let answer = rig.come_back(&injected, &other.cookie);
    assert_eq!(refusal(&answer), refused(403, "PROVIDER_REFUSED"));
    // It is used up by now.
    let answer = rig.come_back(&query, &begun.cookie);
    assert_eq!(refusal(&answer), refused(403, "PROVIDER_REFUSED"));

    let begun = rig.begin("/");
    let query = rig.provider.authorize(&begun.location);
    session(&rig.come_back(&query, &begun.cookie));
    assert_eq!(
        refusal(&rig.come_back(&query, &begun.cookie)),
        gone,
        "twice"
    );
    for query in ["", "code=x", "state=x", "code=x&state=", "error=x"] {
        assert_eq!(refusal(&rig.come_back(query, &begun.cookie)), gone);
    }
    let malformed = rig.come_back("code=x&state=x&state=y", &begun.cookie);
    assert_eq!(refusal(&malformed), refused(422, "MALFORMED"));
    let trail = rig.trail();
    assert!(trail.contains("PROVIDER_BAD_CODE"), "{trail}");
    assert!(!trail.contains("SIGN_IN_GONE"), "{trail}");
    rig.keeps_no_token();
}

#[test]
fn of_many_who_bring_the_same_answer_at_once_one_is_let_in() {
    let rig = Rig::new(Terrain::default());
    let begun = rig.begin("/");
    let query = rig.provider.authorize(&begun.location);

    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let come = || rig.come_back(&query, &begun.cookie).status;
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(come)).collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|status| status.expect("an answer")).collect()
    });

    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(303), count(403)), (1, 7), "{statuses:?}");
    let asked = rig.provider.requests();
    let tokens = asked.iter().filter(|line| line.contains("/token")).count();
    assert_eq!(tokens, 1, "the code went out once");
}

#[test]
fn an_answer_of_another_issuer_is_none() {
    let rig = Rig::new(Terrain {
        names_itself: true,
        ..Terrain::default()
    });
    session(&rig.sign_in());
    let mixed_up = refused(502, "PROVIDER_UNTRUSTED");
    for other in ["&iss=https://another.example", "", "&iss="] {
        let begun = rig.begin("/");
        let query = rig.provider.authorize(&begun.location);
        let query = query.split("&iss=").next().expect("a query");
        let answer = rig.come_back(&format!("{query}{other}"), &begun.cookie);
        assert_eq!(refusal(&answer), mixed_up, "{other:?}");
        // What was asked is not good for a second attempt.
        let issuer = rig.provider.issuer();
        let again = rig.come_back(&format!("{query}&iss={issuer}"), &begun.cookie);
        assert_eq!(refusal(&again), refused(403, "SIGN_IN_GONE"));
    }
    let asked = rig.provider.requests();
    let tokens = asked.iter().filter(|line| line.contains("/token")).count();
    assert_eq!(tokens, 1, "no code went anywhere");
    let begun = rig.begin("/");
    let state = rig.provider.authorize(&begun.location);
    let state = state.split("state=").nth(1).expect("a state");
    let state = state.split('&').next().expect("a state");
    let issuer = rig.provider.issuer();
    let query = format!("error=access_denied&state={state}&iss={issuer}");
    let answer = rig.come_back(&query, &begun.cookie);
    assert_eq!(refusal(&answer), refused(403, "PROVIDER_REFUSED"));
}

#[test]
fn no_token_is_believed_that_is_not_of_this_provider_for_this_sign_in() {
    let rig = Rig::new(Terrain::default());
    let flaws = [
        (Flaw::AccessHash, "ID_TOKEN_ACCESS_HASH"),
        (Flaw::AlgorithmNone, "ID_TOKEN_ALGORITHM"),
        (Flaw::AnotherNonce, "ID_TOKEN_NONCE"),
        (Flaw::AnotherParty, "ID_TOKEN_AUDIENCE"),
        (Flaw::AnotherTime, "ID_TOKEN_ISSUED"),
        (Flaw::Audience, "ID_TOKEN_AUDIENCE"),
        (Flaw::Critical, "ID_TOKEN_CRITICAL"),
        (Flaw::Expired, "ID_TOKEN_EXPIRED"),
        (Flaw::ForeignKey, "ID_TOKEN_SIGNATURE"),
        (Flaw::HmacWithPublicKey, "ID_TOKEN_ALGORITHM"),
        (Flaw::Issuer, "ID_TOKEN_ISSUER"),
        (Flaw::NoNonce, "ID_TOKEN_NONCE"),
        (Flaw::NoSubject, "ID_TOKEN_CLAIMS"),
        (Flaw::NoToken, "ID_TOKEN_FORM"),
        (Flaw::Old, "ID_TOKEN_ISSUED"),
        (Flaw::SeveralAudiences, "ID_TOKEN_AUDIENCE"),
        (Flaw::Signature, "ID_TOKEN_SIGNATURE"),
    ];
    for (flaw, reason) in flaws {
        rig.provider.has(Some(flaw));
        let answer = rig.sign_in();
        assert_eq!(
            refusal(&answer),
            refused(502, "PROVIDER_UNTRUSTED"),
            "{flaw:?}"
        );
        let newest = pacs(&rig.server, &["audit", "list", "--json", "--count", "2"]);
        let newest = newest.succeeded().text;
        assert!(newest.contains(reason), "{flaw:?}: {newest}");
    }
    rig.provider.has(Some(Flaw::Refusing));
    assert_eq!(refusal(&rig.sign_in()), refused(403, "PROVIDER_REFUSED"));
    rig.provider.has(None);
    session(&rig.sign_in());
    rig.keeps_no_token();
}

#[test]
fn what_a_provider_says_of_itself_is_held_against_its_name() {
    for flaw in [
        Flaw::EndlessDiscovery,
        Flaw::EndpointElsewhere,
        Flaw::KeysElsewhere,
        Flaw::NoS256,
        Flaw::OtherIssuer,
        Flaw::RedirectingDiscovery,
        Flaw::SilentDiscovery,
    ] {
        let rig = Rig::hasty(Some(flaw));
        let answer = rig.read("/session/oidc", "");
        let unavailable = refused(503, "PROVIDER_UNAVAILABLE");
        assert_eq!(refusal(&answer), unavailable, "{flaw:?}");
        // It is left in peace for a moment, and then asked again.
        rig.provider.has(None);
        until(Duration::from_secs(30), "the provider", || {
            (rig.read("/session/oidc", "").status == 303).then_some(())
        });
        session(&rig.sign_in());
    }
}

#[test]
fn keys_and_tokens_have_a_time_and_a_length_and_come_from_one_place() {
    for flaw in [
        Flaw::EndlessKeys,
        Flaw::EndlessTokens,
        Flaw::RedirectingTokens,
        Flaw::SilentTokens,
    ] {
        let rig = Rig::hasty(None);
        let begun = rig.begin("/");
        rig.provider.has(Some(flaw));
        let query = rig.provider.authorize(&begun.location);
        let answer = rig.come_back(&query, &begun.cookie);
        let unavailable = refused(503, "PROVIDER_UNAVAILABLE");
        assert_eq!(refusal(&answer), unavailable, "{flaw:?}");
        let asked = rig.provider.requests();
        let elsewhere = asked.iter().any(|line| line.contains("elsewhere"));
        assert!(!elsewhere, "no redirection is followed");
        assert_eq!(rig.read("/session/ways", "").status, 200);
    }
}

/// A provider that has another key from now on, of the same name or of another.
fn rotated(id: &str) {
    let rig = Rig::new(Terrain::default());
    session(&rig.sign_in());
    let keys = || {
        let asked = rig.provider.requests();
        asked.iter().filter(|line| line.contains("/keys")).count()
    };
    assert_eq!(keys(), 1);

    rig.provider.rotate(id);
    let untrusted = refused(502, "PROVIDER_UNTRUSTED");
    let mut refused_count = 0;
    until(Duration::from_secs(60), "the new key", || {
        let answer = rig.sign_in();
        if answer.status == 303 {
            return Some(());
        }
        assert_eq!(refusal(&answer), untrusted);
        refused_count += 1;
        std::thread::sleep(Duration::from_secs(1));
        None
    });

    assert!(refused_count > 1, "the keys had just been read");
    assert_eq!(keys(), 2, "and were read once more");
}

#[test]
fn a_key_that_is_newer_is_looked_for_and_not_more_often_than_it_may_be() {
    rotated("second");
}

#[test]
fn a_newer_key_under_the_name_of_the_old_one_is_looked_for_too() {
    rotated("first");
}

#[test]
fn a_provider_over_tls_is_known_by_its_authority() {
    let hospital = Hospital::new();
    let terms = Terms::new(&hospital.trusted.make(&Wanted::new("provider")), None);
    let provider = Provider::start(SUBJECT, Terrain::default(), Some(terms));
    let ca = format!("tls_ca = {:?}\n", hospital.trusted.file());
    let rig = Rig::with(provider.clone(), &ca);
    session(&rig.sign_in());
    provider.has(Some(Flaw::EndpointElsewhere));
    let other = Rig::with(provider.clone(), &ca);
    let answer = other.read("/session/oidc", "");
    assert_eq!(refusal(&answer), refused(503, "PROVIDER_UNAVAILABLE"));

    provider.has(None);
    let ca = format!("tls_ca = {:?}\n", hospital.stranger.file());
    let answer = Rig::with(provider, &ca).read("/session/oidc", "");
    assert_eq!(refusal(&answer), refused(503, "PROVIDER_UNAVAILABLE"));
}

#[test]
fn nobody_is_sent_to_another_place_by_signing_in() {
    let rig = Rig::new(Terrain::default());
    for elsewhere in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "/%2Fevil.example",
        "/x%0D%0ASet-Cookie:a=b",
        "javascript:alert(1)",
        "/api/v1/session",
        "/x/%252e%252E/api/v1/session",
        "",
    ] {
        let path = format!("/session/oidc?return_to={elsewhere}");
        let answer = rig.read(&path, "");
        assert_eq!(refusal(&answer), refused(422, "MALFORMED"), "{elsewhere}");
    }
    let unknown = rig.read("/session/oidc?to=/x", "");
    assert_eq!(refusal(&unknown), refused(422, "MALFORMED"));
}

#[test]
fn without_a_provider_the_paths_are_not_there() {
    let server = Server::start(Options {
        config: CHEAP_PASSWORDS.to_owned(),
        ..Options::default()
    });
    for path in ["/session/oidc", "/session/oidc/callback?code=x&state=y"] {
        let answer = get(server.http(), &format!("{API}{path}"), &[]);
        assert_eq!(refusal(&answer), refused(404, "NOT_FOUND"), "{path}");
    }
    let ways = get(server.http(), &format!("{API}/session/ways"), &[]).json();
    assert_eq!(ways["provider"], serde_json::Value::Null);
    assert_eq!(ways["password"], true);
}

#[test]
fn a_server_does_not_start_without_the_secret_that_it_is_to_show() {
    let folder = workspace::temporary_folder();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "\n").expect("a file");
    let more = format!("client_secret_file = {secret:?}");
    let options = Options {
        config: settings("http://127.0.0.1:1", CLIENT.0, &more),
        ..Options::default()
    };
    let (_, said) = pacs_tests::server::start_refused(&options, folder.path());
    assert!(said.contains("client_secret_file"), "{said}");
}
