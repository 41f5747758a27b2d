//! Somebody at the portal: an account of the server, and a browser that is signed in to it.

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::peers::{Said, run};
use crate::server::Server;
use crate::stow::{Answer, try_ask};
use crate::workspace;

const SESSION: &str = "/api/v1/session";

/// The password that everybody here chooses.
pub const PASSWORD: &str = "wooden bridge 71 goats";

/// Passwords are hashed as cheaply as can be set.
pub const CHEAP_PASSWORDS: &str = "[accounts]\npassword_memory_mib = 19\npassword_passes = 2\n";

/// `pacs` beside a server.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn pacs(server: &Server, words: &[&str]) -> Said {
    let mut pacs = Command::new(workspace::binary("pacs"));
    run(pacs.args(words).arg("--data").arg(server.data()))
}

/// Sends a request with a body of JSON, or without one.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn send(
    server: &Server,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let answer = try_send(server.http(), method, path, fields, body);
    answer.unwrap_or_else(|error| panic!("no answer: {error}"))
}

/// The same to a server that may be gone.
fn try_send(
    http: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &Value,
) -> io::Result<Answer> {
    let mut all = Vec::new();
    let mut text = String::new();
    if !body.is_null() {
        all.push(("Content-Type", "application/json"));
        text = body.to_string();
    }
    all.extend_from_slice(fields);
    try_ask(http, method, path, &all, text.as_bytes())
}

/// A browser that is signed in.
#[derive(Clone, Debug)]
pub struct Browser {
    cookie: String,
    token: String,
}

impl Browser {
    /// Signs in.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn sign_in(server: &Server, user: &str, password: &str) -> Self {
        let typed = json!({"user": user, "password": password});
        Self::of(&send(server, "POST", SESSION, &[], &typed))
    }

    /// Makes an account by `pacs users add`, and chooses its password.
    ///
    /// # Panics
    /// When something is refused.
    #[must_use]
    pub fn of_new_user(server: &Server, name: &str, roles: &[&str]) -> Self {
        let mut words = vec!["users", "add", name, "--display-name", name];
        for role in roles {
            words.extend(["--role", role]);
        }
        let first = pacs(server, &words).succeeded().text;
        let first = first.lines().last().expect("a password").to_owned();
        Self::sign_in(server, name, &first).with_password(server, &first)
    }

    /// Chooses another password.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn with_password(&self, server: &Server, current: &str) -> Self {
        let body = json!({"current": current, "new": PASSWORD});
        let path = format!("{SESSION}/password");
        Self::of(&self.send(server, "PUT", &path, &[], &body))
    }

    fn of(answer: &Answer) -> Self {
        assert!(matches!(answer.status, 200 | 201), "{:?}", answer.json());
        let cookie = answer.head.lines();
        let mut cookie = cookie.filter_map(|line| line.strip_prefix("set-cookie: "));
        let secret = cookie
            .next()
            .and_then(|cookie| cookie.split(['=', ';']).nth(1));
        // The head is in lower case, and so the name of the cookie is given back as it was.
        Self {
            cookie: format!("__Host-pacs_session={}", secret.expect("a secret")),
            token: answer.json()["csrf_token"]
                .as_str()
                .expect("a token")
                .to_owned(),
        }
    }

    /// Sends a request below `/api/v1`, or another one.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn send(
        &self,
        server: &Server,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        send(server, method, path, &self.and(fields), body)
    }

    /// The same to a server that may be gone.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn try_send(
        &self,
        http: SocketAddr,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &Value,
    ) -> io::Result<Answer> {
        try_send(http, method, path, &self.and(fields), body)
    }

    /// What it sends with every request, and `fields`.
    fn and<'a>(&'a self, fields: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut all = vec![("Cookie", &*self.cookie), ("X-CSRF-Token", &*self.token)];
        all.extend_from_slice(fields);
        all
    }

    /// What is read below `/api/v1`.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn get(&self, server: &Server, path: &str) -> Value {
        let answer = self.send(server, "GET", &format!("/api/v1{path}"), &[], &Value::Null);
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.json());
        answer.json()
    }
}

/// The code of a refusal.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn code(answer: &Answer) -> String {
    assert!(
        answer.head.contains("application/problem+json"),
        "{}",
        answer.head
    );
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    problem["code"].as_str().expect("a code").to_owned()
}

/// A header of an answer.
#[must_use]
pub fn header(answer: &Answer, name: &str) -> Option<String> {
    let mut lines = answer.head.lines();
    let prefix = format!("{name}: ");
    lines.find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
}
