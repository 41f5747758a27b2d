//! A server in this process, with two organisations, their devices and people.

use crate::people::{agent, code, device, let_in, organisation, particulars, title};
use bytes::Bytes;
use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use pacs_core::access::{Get, PermitAll, Right, Store, permit};
use pacs_core::examination::Event;
use pacs_core::examination::progress::Completion;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, Grant, Grants, Role};
use pacs_core::uid::{SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};
use pacs_core::{Caller, ExaminationId, Key, Level, Matching, Permit, Query, Vr};
use pacs_store::disk::OsDisk;
use pacs_store::index::{Provenance, StoredInstance};
use pacs_store::registry::Registry;
use pacs_store::registry::accounts::{
    AccountStore, PasswordHash, Session, SessionOf, SignedInBy, User, put,
};
use pacs_store::registry::examinations::{Action, MatchState, NewExamination};
use pacs_store::registry::patients::Alike;
use pacs_store::{Announced, Archive, DataDirectory};
use reference_server::config::{Config, Options};
use reference_server::directory::Directory;
use reference_server::notes::NoteTaker;
use reference_server::server::{Outcome, Server};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// How long is waited for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    pub(crate) registry: Registry,
    pub(crate) archive: Archive,
    pub(crate) dicom: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) folder: TempDir,
    directory: Directory,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Outcome>,
}

/// When all images are made, date and time, as a console in Bishkek has them: what was made long
/// before its order is not of it.
static MADE: LazyLock<(String, String)> = LazyLock::new(|| {
    let made = now() + TimeDelta::hours(6);
    let (date, time) = (made.format("%Y%m%d"), made.format("%H%M%S"));
    (date.to_string(), time.to_string())
});

pub(crate) fn now() -> DateTime<FixedOffset> {
    Utc::now().fixed_offset()
}

pub(crate) fn may<R: Right>() -> Permit<R> {
    permit(&PermitAll, Caller::System { task: "test" }).unwrap()
}

/// An answer of HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        if self.status == 204 {
            return serde_json::json!([]);
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.head))
    }
}

/// An instance: its head says these, and in front of and behind it stands what an image has.
#[derive(Debug, Clone)]
pub(crate) struct Sent<'a> {
    pub(crate) sender: &'a str,
    pub(crate) study: &'a str,
    pub(crate) number: u32,
    pub(crate) modality: &'a str,
    pub(crate) accession: &'a str,
    /// Name and ID of the patient, in ASCII.
    pub(crate) patient: (&'a str, &'a str),
}

fn element(out: &mut Vec<u8>, tag: (u16, u16), vr: &[u8; 2], value: &[u8]) {
    let pad = if matches!(vr, b"UI" | b"OW") { 0 } else { b' ' };
    let mut value = value.to_vec();
    value.resize(value.len().next_multiple_of(2), pad);
    out.extend_from_slice(&tag.0.to_le_bytes());
    out.extend_from_slice(&tag.1.to_le_bytes());
    out.extend_from_slice(vr);
    if vr == b"OW" {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend_from_slice(&value);
}

/// Two organisations, and what the titles of their devices begin with.
const ORGANISATIONS: [(&str, &str); 2] = [("001", "KRKL"), ("006", "NATHOS")];

/// Organisations, each with a scanner.
async fn fill(registry: &Registry, organisations: &[(&str, &str)]) {
    let system = Agent::system("test");
    let licence = system.national_licence().unwrap();
    for (of, prefix) in organisations {
        let new = organisation(of, prefix);
        let saved = registry.save_organisation(&licence, &new, None, now());
        saved.await.unwrap();
    }
    let licence = system.national_licence().unwrap();
    for (of, prefix) in organisations {
        let new = device(&format!("{prefix}_CT1"), of);
        let saved = registry.save_device(&licence, &new, None, now());
        saved.await.unwrap();
    }
}

impl Sent<'_> {
    pub(crate) fn uid(&self) -> String {
        format!("{}.{}", self.series(), self.number)
    }

    /// From number 100 on they are of a second one.
    pub(crate) fn series(&self) -> String {
        format!("{}.{}", self.study, 1 + self.number / 100)
    }

    pub(crate) fn data_set(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let (uid, series) = (self.uid(), self.series());
        let number = self.number.to_string();
        let (date, time) = &*MADE;
        // «Голова», in ISO 8859-5.
        let described = b"\xb3\xde\xdb\xde\xd2\xd0";
        let short = |number: u16| number.to_le_bytes();
        let pixels: Vec<u8> = (0..512_u16).map(|at| at.to_le_bytes()[0]).collect();
        let elements: [(u16, u16, &[u8; 2], &[u8]); 28] = [
            (0x0008, 0x0005, b"CS", b"ISO_IR 144"),
            (0x0008, 0x0016, b"UI", CT.as_bytes()),
            (0x0008, 0x0018, b"UI", uid.as_bytes()),
            (0x0008, 0x0020, b"DA", date.as_bytes()),
            (0x0008, 0x0030, b"TM", time.as_bytes()),
            (0x0008, 0x0050, b"SH", self.accession.as_bytes()),
            (0x0008, 0x0060, b"CS", self.modality.as_bytes()),
            (0x0008, 0x0090, b"PN", b""),
            (0x0008, 0x103e, b"LO", described),
            (0x0010, 0x0010, b"PN", self.patient.0.as_bytes()),
            (0x0010, 0x0020, b"LO", self.patient.1.as_bytes()),
            (0x0010, 0x0030, b"DA", b"19900131"),
            (0x0010, 0x0040, b"CS", b""),
            (0x0020, 0x000d, b"UI", self.study.as_bytes()),
            (0x0020, 0x000e, b"UI", series.as_bytes()),
            (0x0020, 0x0010, b"SH", b"1"),
            (0x0020, 0x0011, b"IS", b"1"),
            (0x0020, 0x0013, b"IS", number.as_bytes()),
            (0x0028, 0x0002, b"US", &short(1)),
            (0x0028, 0x0004, b"CS", b"MONOCHROME2"),
            (0x0028, 0x0010, b"US", &short(16)),
            (0x0028, 0x0011, b"US", &short(16)),
            (0x0028, 0x0100, b"US", &short(16)),
            (0x0028, 0x0101, b"US", &short(16)),
            (0x0028, 0x0102, b"US", &short(15)),
            (0x0028, 0x0103, b"US", &short(0)),
            (0x0028, 0x1052, b"DS", b"-1024"),
            (0x7fe0, 0x0010, b"OW", &pixels),
        ];
        for (group, number, vr, value) in elements {
            element(&mut out, (group, number), vr, value);
        }
        out
    }
}

impl Site {
    /// With the organisations 001 and 006, each with a scanner; `config` is more TOML.
    pub(crate) async fn open(config: &str) -> Self {
        Self::open_with(config, &ORGANISATIONS).await
    }

    /// The same with other organisations, each with what titles of its devices begin with.
    pub(crate) async fn open_with(config: &str, organisations: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pacs.toml");
        std::fs::write(&file, config).unwrap();
        let options = Options {
            config: Some(file),
            data: Some(folder.path().join("data")),
            dicom: Some("127.0.0.1:0".to_owned()),
            http: Some("127.0.0.1:0".to_owned()),
            ..Options::default()
        };
        let config = Config::load(&options).unwrap();
        let server = Server::start(&config).await.unwrap();
        let (archive, directory) = (server.archive(), server.directory());
        let at = server.addresses().unwrap();
        // Before it runs: the matcher begins where it finds organisations.
        fill(&archive.registry(), organisations).await;
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async move {
            stopped.await.ok();
        }));
        let site = Self {
            registry: archive.registry(),
            archive,
            dicom: at.dicom,
            http: at.http,
            folder,
            directory,
            stop,
            running,
        };
        site.settle().await;
        site.until_it_follows("matcher").await;
        site.until_it_follows("arrivals").await;
        site
    }

    /// Waits until a follower of changes has found its place.
    async fn until_it_follows(&self, name: &str) {
        let is_new = async || self.archive.cursor(&may(), name).await.unwrap().is_new();
        let waiting = async {
            while is_new().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    }

    /// Stops the server, and gives where its data is.
    pub(crate) async fn close(self) -> TempDir {
        self.stop.send(()).unwrap();
        assert_eq!(self.running.await.unwrap(), Outcome::Stopped);
        self.folder
    }

    pub(crate) fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// As [`Self::close`], once another process can have the data.
    pub(crate) async fn leave(self) -> TempDir {
        let folder = self.close().await;
        let data = folder.path().join("data");
        // A process that ends lets go of everything; here some tasks have to end first.
        let is_free = || {
            let disk = OsDisk::open(&data).unwrap();
            DataDirectory::open(Arc::new(disk)).is_ok()
        };
        let freed = async {
            while !is_free() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, freed).await.unwrap();
        folder
    }

    /// Whatever the registry knows is noted in the index.
    pub(crate) async fn settle(&self) {
        let notes = NoteTaker::new(&self.archive, self.directory.clone()).unwrap();
        notes.catch_up().await.unwrap();
    }

    /// Waits until something is so; looks again whenever something is recorded.
    pub(crate) async fn until<T>(&self, check: impl AsyncFn() -> Option<T>) -> T {
        let mut appended = self.registry.audit_trail().appended();
        let waiting = async {
            loop {
                if let Some(found) = check().await {
                    return found;
                }
                appended.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap()
    }

    pub(crate) async fn patient(&self, family: &str) -> PatientKey {
        let licence = Agent::system("test").national_licence().unwrap();
        let new = particulars(family);
        let registered = self
            .registry
            .register_patient(&licence, new, Alike::IsAnother, now());
        registered.await.unwrap().patient().value.key
    }

    /// An examination of `patient` that one organisation orders and another makes.
    pub(crate) async fn order(
        &self,
        patient: PatientKey,
        by: (&str, &str),
        performing: &str,
    ) -> ExaminationId {
        self.order_of(patient, by, performing, 705).await
    }

    /// The same of other images, `Mr` and its like, and of departments: where it is made, and where
    /// it was ordered.
    pub(crate) async fn order_kind(
        &self,
        patient: PatientKey,
        by: (&str, &str),
        performing: &str,
        (kind, departments): (&str, [Option<&str>; 2]),
    ) -> ExaminationId {
        let how = (kind, 705, departments);
        self.order_with(patient, by, performing, how).await
    }

    /// The same of a patient of this weight.
    pub(crate) async fn order_of(
        &self,
        patient: PatientKey,
        by: (&str, &str),
        performing: &str,
        weight_tenths_kg: u16,
    ) -> ExaminationId {
        let how = ("Ct", weight_tenths_kg, [None; 2]);
        self.order_with(patient, by, performing, how).await
    }

    async fn order_with(
        &self,
        patient: PatientKey,
        (requester, ordering): (&str, &str),
        performing: &str,
        (kind, weight_tenths_kg, departments): (&str, u16, [Option<&str>; 2]),
    ) -> ExaminationId {
        let order = serde_json::json!({
            "kind": kind,
            "regions": [{ "part": "69536005" }],
            "scheduled_at": Utc::now().naive_utc(),
            "weight_tenths_kg": weight_tenths_kg,
            "complaints": "головная боль",
            "performing_department": departments[0],
            "ordering_department": departments[1],
        });
        let new = NewExamination {
            patient,
            ordering: code(ordering),
            performing: code(performing),
            order: serde_json::from_value(order).unwrap(),
            is_meant_twice: true,
        };
        let operator = agent(requester, Role::Operator, ordering);
        let licence = operator.licence(code(ordering)).unwrap();
        let mut random = [0; 16];
        getrandom::fill(&mut random).unwrap();
        let ordered = self
            .registry
            .order_examination(&licence, &new, random, now());
        ordered.await.unwrap().value.id
    }

    /// Stores an instance as if `sent.sender` had sent it.
    pub(crate) async fn send(&self, sent: &Sent<'_>) {
        let announced = Announced {
            sop_class: SopClassUid::parse(CT).unwrap(),
            sop_instance: SopInstanceUid::parse(&sent.uid()).unwrap(),
            transfer_syntax: TransferSyntaxUid::parse(EXPLICIT).unwrap(),
        };
        let provenance = Provenance {
            received_unix_ms: u64::try_from(Utc::now().timestamp_millis()).unwrap(),
            calling: title(sent.sender).as_str().to_owned(),
            address: None,
        };
        let deposit = self.archive.deposit(&may::<Store>(), announced, provenance);
        let mut deposit = deposit.unwrap();
        deposit.write(Bytes::from(sent.data_set())).await.unwrap();
        deposit.seal().await.unwrap();
    }

    /// Waits until a study is matched, and is noted; whether it is bound.
    pub(crate) async fn matched(&self, study: &str) -> bool {
        let licence = Agent::system("test").national_licence().unwrap();
        let uid = StudyUid::parse(study).unwrap();
        let state = self
            .until(async || {
                let found = self.registry.study_match(&licence, &uid).await;
                found.ok().map(|found| found.value.state)
            })
            .await;
        self.settle().await;
        matches!(state, MatchState::Bound { .. })
    }

    /// Somebody says that the examination of a study is complete; readers may begin.
    pub(crate) async fn complete(&self, study: &str) {
        let licence = Agent::system("test").national_licence().unwrap();
        let uid = StudyUid::parse(study).unwrap();
        let found = self.registry.study_match(&licence, &uid).await.unwrap();
        let id = *found.value.examinations().first().unwrap();
        let event = Event::Complete {
            by: Completion::Declared,
            images_kept: 1,
        };
        self.act(&Agent::system("test"), id, event).await;
        self.settle().await;
    }

    /// Lets something happen to an examination.
    pub(crate) async fn act(&self, by: &Agent, id: ExaminationId, event: Event) {
        let mut random = [0; 16];
        getrandom::fill(&mut random).unwrap();
        let action = Action {
            event,
            order: None,
            expected: None,
            random,
        };
        let acted = self.registry.act_on_examination(by, id, &action, now());
        acted.await.unwrap();
    }

    /// The instances of a study, whoever may see it.
    pub(crate) async fn stored(&self, study: &str) -> Vec<StoredInstance> {
        let query = Query::new(Level::Study).with(Key {
            tag: pacs_core::tag::tags::STUDY_INSTANCE_UID,
            vr: Vr::UI,
            matching: Matching::SingleValue(study.to_owned()),
        });
        let found = self.archive.select(&may::<Get>(), &query).await.unwrap();
        found.into_iter().collect()
    }

    /// The bytes of an instance, as they are kept.
    pub(crate) async fn kept(&self, stored: &StoredInstance) -> Vec<u8> {
        let mut reader = self.archive.read(&may::<Get>(), stored);
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }

    /// What is kept of people and their sessions.
    pub(crate) fn accounts(&self) -> AccountStore {
        AccountStore::new(self.registry.audit_trail())
    }

    /// Somebody with these roles who is signed in; the secret of the session.
    pub(crate) async fn sign_in(&self, name: &str, grants: Vec<Grant>, is_doctor: bool) -> String {
        let name = pacs_core::account::UserName::parse(name).unwrap();
        let now = Utc::now();
        let user = User {
            name: name.clone(),
            display_name: name.as_str().to_owned(),
            is_doctor,
            grants: Grants::new(grants).unwrap(),
            password: PasswordHash {
                algorithm: "argon2id".to_owned(),
                memory_kib: 8,
                passes: 1,
                lanes: 1,
                salt: "00".repeat(16),
                hash: "00".repeat(32),
            },
            must_change_password: false,
            second_factor: None,
            is_disabled: false,
            epoch: 1,
            created_at: now,
            password_changed_at: now,
            external: Vec::new(),
        };
        let changes = vec![put(name.as_str(), &user, None)];
        self.accounts().commit(changes, &[let_in()]).await.unwrap();
        self.session_of(&user).await
    }

    /// A session of somebody with an account; its secret.
    pub(crate) async fn session_of(&self, user: &User) -> String {
        let now = Utc::now();
        let session = Session {
            user: user.name.clone(),
            epoch: user.epoch,
            began_at: now,
            used_at: now,
            by: SignedInBy::Password,
            passcode: None,
        };
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret).unwrap();
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = blake3::hash(secret.as_bytes()).to_hex().to_string();
        let place = SessionOf {
            session: key.clone(),
        };
        let place = put(&session.place(&key), &place, None);
        let changes = vec![put(&key, &session, None), place];
        self.accounts().commit(changes, &[let_in()]).await.unwrap();
        secret
    }

    /// Asks over HTTP.
    pub(crate) async fn http(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.http_with(method, path, headers, "").await
    }

    /// The same with a body of JSON; `null`: with none.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &serde_json::Value,
    ) -> Reply {
        if body.is_null() {
            return self.http(method, path, headers).await;
        }
        let json = ("Content-Type", "application/json");
        let headers = [headers, &[json]].concat();
        let body = body.to_string();
        self.http_with(method, path, &headers, &body).await
    }

    /// The same, with a body. Of a stream of events the head alone is read.
    pub(crate) async fn http_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let mut text = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n", self.http);
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let address = self.http;
        let what = format!("{method} {path}");
        let asked = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut answer = Vec::new();
            loop {
                let mut part = [0; 16 << 10];
                let count = match stream.read(&mut part) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    read => read.unwrap_or_else(|error| {
                        let end = answer.len().min(400);
                        let begun = String::from_utf8_lossy(&answer[..end]);
                        panic!("{what}: {error} behind {} bytes: {begun}", answer.len())
                    }),
                };
                answer.extend_from_slice(&part[..count]);
                let head = answer.windows(4).position(|at| at == b"\r\n\r\n");
                let head = head.map(|end| String::from_utf8_lossy(&answer[..end]).to_lowercase());
                if count == 0 || head.is_some_and(|head| head.contains("text/event-stream")) {
                    return answer;
                }
            }
        });
        let answer = asked.await.unwrap();
        let end = answer.windows(4).position(|at| at == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply {
            status,
            head,
            body: answer[end + 4..].to_vec(),
        }
    }
}
