//! A provider that is not ours: oidc-provider of Node.js, gone through as a browser does, for each
//! algorithm by which it signs.

use pacs_tests::peers::{Listener, free_port, oidc_provider};
use pacs_tests::provider::CALLBACK;
use pacs_tests::server::{Options, Server};
use pacs_tests::signed_in::pacs;
use pacs_tests::web::{Reply, get};
use pacs_tests::workspace;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::leaving::{PAGE, sign_out};
use crate::{API, NAME, cookies, location, refusal, refused, session, settings};

/// A browser at the provider: cookies by name, wherever they are for.
struct Visitor {
    provider: SocketAddr,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    fn new(provider: SocketAddr) -> Self {
        Self {
            provider,
            cookies: BTreeMap::new(),
        }
    }

    /// Goes to a page of the provider, or sends a form there: where it is sent next.
    fn goes(&mut self, url: &str, form: Option<&str>) -> String {
        let own = format!("http://{}", self.provider);
        let path = url.strip_prefix(&own).unwrap_or(url);
        let cookie = self.cookie();
        let reply = match form {
            None => get(self.provider, path, &[("Cookie", &cookie)]),
            Some(form) => post(self.provider, path, &cookie, form),
        };
        for (_, cookie) in reply.headers.iter().filter(|it| it.0 == "set-cookie") {
            let pair = cookie
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='));
            let (name, value) = pair.expect("a cookie");
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        assert_eq!(
            reply.status,
            303,
            "{path}: {}",
            String::from_utf8_lossy(&reply.body)
        );
        location(&reply)
    }

    /// Looks at a page of the provider.
    fn looks(&self, url: &str) -> Reply {
        let own = format!("http://{}", self.provider);
        let path = url.strip_prefix(&own).expect("a page of the provider");
        get(self.provider, path, &[("Cookie", &self.cookie())])
    }

    fn cookie(&self) -> String {
        let cookies = self.cookies.iter();
        let cookies = cookies.map(|(name, value)| format!("{name}={value}"));
        cookies.collect::<Vec<_>>().join("; ")
    }

    /// Signs in as `subject`, and agrees: what the provider has the browser bring.
    fn signs_in(&mut self, begin: &str, subject: &str) -> String {
        let typed = format!("prompt=login&login={subject}&password=x");
        let mut at = begin.to_owned();
        let mut forms = [typed.as_str(), "prompt=consent"].into_iter();
        for _ in 0..12 {
            if let Some(query) = at.strip_prefix(CALLBACK) {
                return query.strip_prefix('?').expect("an answer").to_owned();
            }
            // A page with a form, which is sent to where it is.
            let form = at.contains("/interaction/").then(|| forms.next());
            at = self.goes(&at, form.map(|form| form.expect("two pages")));
        }
        panic!("no answer: {at}");
    }
}

fn post(address: SocketAddr, path: &str, cookie: &str, form: &str) -> Reply {
    let length = form.len();
    let kind = "application/x-www-form-urlencoded";
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nCookie: {cookie}\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{form}"
    );
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    Reply::of(&answer)
}

/// Signs out at the provider, which asks whether that is meant: where the browser is sent then.
fn leaves(visitor: &mut Visitor, location: &str) -> String {
    let page = visitor.looks(location);
    assert_eq!(page.status, 200, "{location}");
    let page = String::from_utf8(page.body).expect("UTF-8");
    let attribute = |behind: &str, name: &str| {
        let rest = page.split(behind).nth(1).expect("a form");
        let rest = rest.split(&format!("{name}=\"")).nth(1).expect("a value");
        rest.split('"').next().expect("a value").to_owned()
    };
    let action = attribute("<form", "action");
    let secret = attribute("name=\"xsrf\"", "value");
    visitor.goes(&action, Some(&format!("xsrf={secret}&logout=yes")))
}

/// Makes an account of somebody whom the provider knows.
fn link(server: &Server, issuer: &str, subject: &str) {
    let role = "radiologist@006";
    let words = ["users", "add", NAME, "--display-name", "X", "--role", role];
    let _ = pacs(server, &words).succeeded();
    let words = [
        "users",
        "link",
        NAME,
        "--issuer",
        issuer,
        "--subject",
        subject,
    ];
    let _ = pacs(server, &words).succeeded();
}

#[test]
fn somebody_signs_in_and_out_by_a_foreign_provider_with_each_algorithm() {
    let Some(modules) = oidc_provider() else {
        return;
    };
    let port = free_port();
    let script = workspace::root().join("tests/oidc/provider.cjs");
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules).arg(script);
    let command = command.arg(port.to_string()).args([CALLBACK, PAGE]);
    let provider = Listener::start(command, port);
    let issuer = format!("http://127.0.0.1:{port}");
    let folder = workspace::temporary_folder();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "wooden bridge: 71% goats").expect("a file");

    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let more = match algorithm {
            "EdDSA" => "scopes = [\"profile\"]".to_owned(),
            _ => format!("client_secret_file = {secret:?}"),
        };
        let more = format!("post_logout_redirect_url = {PAGE:?}\n{more}");
        let server = Server::start(Options {
            config: settings(&issuer, &format!("pacs-{algorithm}"), &more),
            ..Options::default()
        });
        let subject = "osmonova-1";
        link(&server, &issuer, subject);
        let begins = || {
            let begun = get(server.http(), &format!("{API}/session/oidc"), &[]);
            assert_eq!(
                begun.status,
                303,
                "{:?}",
                String::from_utf8_lossy(&begun.body)
            );
            let cookie = cookies(&begun).pop().expect("a cookie");
            let cookie = cookie.split(';').next().expect("a cookie").to_owned();
            (location(&begun), cookie)
        };
        let comes = |visitor: &mut Visitor, subject: &str| {
            let (begin, cookie) = begins();
            let query = visitor.signs_in(&begin, subject);
            assert!(query.contains("iss="), "it names itself: {query}");
            let path = format!("{API}/session/oidc/callback?{query}");
            get(server.http(), &path, &[("Cookie", &cookie)])
        };

        let mut visitor = Visitor::new(provider.address());
        let cookie = session(&comes(&mut visitor, subject));
        let who = get(
            server.http(),
            &format!("{API}/session"),
            &[("Cookie", &cookie)],
        );
        assert_eq!(who.json()["user"], NAME, "{algorithm}");
        let mut other = Visitor::new(provider.address());
        let stranger = refusal(&comes(&mut other, "stranger-2"));
        assert_eq!(stranger, refused(403, "NOT_LINKED"), "{algorithm}");

        // The provider knows the browser, until it is signed out there as well.
        let back = visitor.goes(&begins().0, None);
        assert!(back.starts_with(CALLBACK), "{algorithm}: {back}");
        let said = sign_out(&server, &cookie).json();
        let back = leaves(&mut visitor, said["location"].as_str().expect("a location"));
        let state = said["state"].as_str().expect("a state");
        assert_eq!(back, format!("{PAGE}?state={state}"), "{algorithm}");
        let asked = visitor.goes(&begins().0, None);
        assert!(asked.contains("/interaction/"), "{algorithm}: {asked}");
    }
}
