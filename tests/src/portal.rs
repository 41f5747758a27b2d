//! The portal as a browser uses it: a server with organisations, devices and users, and people who
//! are signed in.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::peers::run;
use crate::samples::{self, Slice};
use crate::server::{Options, PATIENCE, Server};
use crate::stow::{Answer, ask, try_ask};
use crate::wire::{Association, Context, Proposal, uid};
use crate::workspace;

/// The password of everybody.
pub const PASSWORD: &str = "wooden bridge 71 goats";

/// Where the API is.
pub const API: &str = "/api/v1";

/// A server with the eleven organisations of the pilot, and a device of two of them.
#[derive(Debug)]
pub struct Portal {
    /// The server.
    pub server: Server,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct Browser {
    /// The cookie of the session.
    pub cookie: String,
    /// The token against requests of other sites.
    pub token: String,
    http: SocketAddr,
}

/// A device that makes CT images of organisation 006.
pub const CT_OF_006: &str = "NATHOS_CT1";

/// The same of organisation 001.
pub const CT_OF_001: &str = "KRKL_CT1";

impl Portal {
    /// Starts a server; passwords are hashed as cheaply as can be set.
    ///
    /// # Panics
    /// When it does not start or take the lists.
    #[must_use]
    pub fn start() -> Self {
        let devices = [(CT_OF_006, "006"), (CT_OF_001, "001")].map(
            |(title, code)| json!({"ae_title": title, "organisation": code, "modality": "CT"}),
        );
        Self::with_devices(&devices)
    }

    /// The same with other devices.
    ///
    /// # Panics
    /// When it does not start or take the lists.
    #[must_use]
    pub fn with_devices(devices: &[Value]) -> Self {
        Self::with(devices, "")
    }

    /// The same with more TOML for the configuration file.
    ///
    /// # Panics
    /// When it does not start or take the lists.
    #[must_use]
    pub fn with(devices: &[Value], config: &str) -> Self {
        let passwords = "[accounts]\npassword_memory_mib = 19\npassword_passes = 2\n";
        let mut server = Server::start(Options {
            config: format!("{passwords}{config}"),
            ..Options::default()
        });
        // With organisations from its start it knows from its first image whose they are.
        server.stop();
        let mut portal = Self { server };
        let organisations = workspace::root().join("reference-server/organisations.json");
        let organisations = organisations.to_str().expect("UTF-8");
        portal.pacs(&["organisations", "import", organisations]);
        let folder = workspace::temporary_folder();
        let file = folder.path().join("devices.json");
        let text = json!({ "devices": devices }).to_string();
        std::fs::write(&file, text).expect("a file");
        portal.pacs(&["devices", "import", file.to_str().expect("UTF-8")]);
        portal.server.restart();
        portal
    }

    /// Runs the tool on the archive of the server; what it said.
    ///
    /// # Panics
    /// When it fails.
    pub fn pacs(&self, words: &[&str]) -> String {
        let mut pacs = Command::new(workspace::binary("pacs"));
        let said = run(pacs.args(words).arg("--data").arg(self.server.data()));
        said.succeeded().text
    }

    /// Makes an account with these roles, such as `operator@006`, and signs in.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    pub fn user(&self, name: &str, roles: &[&str]) -> Browser {
        let mut words = vec![
            "users",
            "add",
            name,
            "--display-name",
            "Б. Осмонова",
            "--doctor",
        ];
        for role in roles {
            words.extend(["--role", role]);
        }
        let first = self.pacs(&words);
        let first = first.lines().last().expect("a password").to_owned();
        let browser = Browser::sign_in(self.server.http(), name, &first);
        let body = json!({"current": first, "new": PASSWORD});
        let changed = browser.send("PUT", "/session/password", &[], &body);
        assert_eq!(changed.status, 200, "{:?}", changed.json());
        Browser::of(self.server.http(), &changed)
    }

    /// Signs somebody in again whom [`Portal::user`] made.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    pub fn again(&self, name: &str) -> Browser {
        Browser::sign_in(self.server.http(), name, PASSWORD)
    }

    /// Stores a slice as the device of this title.
    ///
    /// # Panics
    /// When it is not taken.
    pub fn store(&self, device: &str, instance: &str, data_set: &[u8]) {
        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
        let proposal = Proposal {
            calling: device.to_owned(),
            ..Proposal::new(vec![Context::new(class, syntax)])
        };
        let connected = Association::connect(self.server.dicom(), &proposal);
        let mut association = connected.expect("an association");
        let stored = association.store(class, instance, syntax, data_set);
        assert_eq!(stored.expect("an answer"), 0, "C-STORE");
        association.release().expect("a release in order");
    }
}

/// The data set of a slice of the patient of an examination, with its ID as the console sends it.
#[must_use]
pub fn slice_of(slice: &Slice, accession: &str, patient: &str) -> Vec<u8> {
    let slice = Slice {
        patient_id: patient.to_owned(),
        ..slice.clone()
    };
    let mut wanted = Vec::new();
    samples::short(&mut wanted, 0x0008_0050, "SH", accession.as_bytes());
    let data_set = slice.data_set();
    // The slice has an empty Accession Number.
    let mut empty = Vec::new();
    samples::short(&mut empty, 0x0008_0050, "SH", b"");
    let at = data_set
        .windows(empty.len())
        .position(|window| window == empty);
    let at = at.expect("an Accession Number");
    [&data_set[..at], &wanted, &data_set[at + empty.len()..]].concat()
}

impl Browser {
    /// Signs in at the server at `http`.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    pub fn sign_in(http: SocketAddr, name: &str, password: &str) -> Self {
        let typed = json!({"user": name, "password": password}).to_string();
        let json_kind = [("Content-Type", "application/json")];
        let path = format!("{API}/session");
        let answer = ask(http, "POST", &path, &json_kind, typed.as_bytes());
        Self::of(http, &answer)
    }

    fn of(http: SocketAddr, answer: &Answer) -> Self {
        let lines = answer.head.lines();
        let mut set = lines.filter_map(|line| line.strip_prefix("set-cookie: "));
        let cookie = set
            .next()
            .unwrap_or_else(|| panic!("no cookie: {}", answer.head));
        let secret = cookie.split(['=', ';']).nth(1).expect("a secret");
        Self {
            cookie: format!("__Host-pacs_session={secret}"),
            token: answer.json()["csrf_token"]
                .as_str()
                .expect("a token")
                .to_owned(),
            http,
        }
    }

    /// The same at the server that is at another address now.
    #[must_use]
    pub fn at(&self, http: SocketAddr) -> Self {
        Self {
            http,
            ..self.clone()
        }
    }

    /// Sends a request to a path of the API; `null` is no body.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn send(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> Answer {
        let answer = self.try_send(method, path, fields, body);
        answer.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The same, to a server that may be gone.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &Value,
    ) -> io::Result<Answer> {
        let mut all = vec![("Cookie", &*self.cookie), ("X-CSRF-Token", &*self.token)];
        all.extend_from_slice(fields);
        let mut text = String::new();
        if !body.is_null() {
            all.push(("Content-Type", "application/json"));
            text = body.to_string();
        }
        let path = format!("{API}{path}");
        try_ask(self.http, method, &path, &all, text.as_bytes())
    }

    /// Reads.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &Value::Null)
    }

    /// Lets something happen.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body)
    }

    /// Makes something, under a name of its own.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn make(&self, path: &str, body: &Value) -> Answer {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let key = format!("request-{:08}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.send("POST", path, &[("Idempotency-Key", &key)], body)
    }

    /// Changes what is in the state `etag`.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn put(&self, path: &str, etag: &str, body: &Value) -> Answer {
        self.send("PUT", path, &[("If-Match", etag)], body)
    }

    /// Begins to read a stream of events.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn stream(&self, path: &str, last_event_id: Option<&str>) -> Stream {
        let mut stream = TcpStream::connect(self.http).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let last = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n"));
        let head = format!(
            "GET {API}{path} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n{}\r\n",
            self.http,
            self.cookie,
            last.unwrap_or_default()
        );
        stream.write_all(head.as_bytes()).expect("a request");
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let count = lines.read_line(&mut head).expect("a head");
            assert!(count > 0, "{head}");
        }
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        Stream {
            status: status.expect("a status"),
            lines,
        }
    }
}

/// A stream of events.
#[derive(Debug)]
pub struct Stream {
    /// The status of the answer.
    pub status: u16,
    lines: BufReader<TcpStream>,
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its ID.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// What it says.
    pub data: Value,
}

impl Stream {
    /// The next event; `None` where the stream has ended.
    ///
    /// # Panics
    /// When it is broken off, or no event comes for a minute.
    pub fn next_event(&mut self) -> Option<Event> {
        let begun = Instant::now();
        let (mut id, mut name, mut data) = (None, String::new(), None);
        loop {
            assert!(begun.elapsed() < PATIENCE, "no event comes");
            let mut line = String::new();
            // Each event is a chunk: the lines between are lengths, and empty.
            let count = self.lines.read_line(&mut line).expect("a line");
            assert!(count > 0, "the stream is broken off");
            if line == "0\r\n" {
                return None;
            }
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("id: ") {
                id = Some(value.to_owned());
            } else if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut name);
            } else if let Some(value) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(value).expect("JSON"));
            } else if let Some(data) = data.take().filter(|_| line.is_empty()) {
                return Some(Event { id, name, data });
            }
        }
    }

    /// The next event for which `is_wanted`.
    ///
    /// # Panics
    /// When the stream ends before.
    pub fn wait_for(&mut self, is_wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next_event().expect("the event comes");
            if is_wanted(&event) {
                return event;
            }
        }
    }
}

/// The state that an answer shows.
///
/// # Panics
/// When it names none.
#[must_use]
pub fn etag(answer: &Answer) -> String {
    let mut lines = answer.head.lines();
    let tag = lines.find_map(|line| line.strip_prefix("etag: "));
    tag.unwrap_or_else(|| panic!("no ETag: {}", answer.head))
        .to_owned()
}

/// Status and code of a refusal.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn refusal(answer: &Answer) -> (u16, String) {
    assert!(
        answer.head.contains("application/problem+json"),
        "{}",
        answer.head
    );
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status);
    assert!(problem["key"].is_string() && problem["detail"].is_string());
    (
        answer.status,
        problem["code"].as_str().expect("a code").to_owned(),
    )
}

/// A refusal that is expected.
#[must_use]
pub fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
