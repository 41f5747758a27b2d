//! The queue over HTTP: what each role sees of it, and what people put right.

use super::super::router;
use crate::accounts::manage::{NewUser, parse_grant};
use crate::accounts::{AccountRules, Accounts, Credentials, HashCost};
use crate::clock::World;
use crate::draining::{Drain, drain};
use crate::{http, place};
use bytes::Bytes;
use pacs_core::access::{PermitAll, Right, Store, permit};
use pacs_core::account::UserName;
use pacs_core::audit::Actor;
use pacs_core::role::{Agent, Grants};
use pacs_core::uid::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_core::{Caller, ExaminationId, OrganisationCode, Permit};
use pacs_store::index::Provenance;
use pacs_store::registry::examinations::NewExamination;
use pacs_store::registry::organisations::Organisation;
use pacs_store::registry::patients::{Alike, Particulars, PersonName};
use pacs_store::{Announced, Archive};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const PASSWORD: &str = "wooden bridge 71 goats";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(serde::Deserialize)]
struct Organisations {
    organisations: Vec<Organisation>,
}

/// A server with the organisations of the pilot, and its accounts.
struct Portal {
    archive: Archive,
    accounts: Accounts,
    desk: Arc<pacs_store::matcher::Matcher>,
    address: SocketAddr,
    patient: pacs_core::patient::PatientKey,
    _kept: (TempDir, Drain),
}

/// What was answered.
struct Said {
    status: u16,
    etag: String,
    body: Value,
}

/// Somebody who is signed in.
struct Person {
    secret: String,
    address: SocketAddr,
}

fn may<R: Right>() -> Permit<R> {
    permit(&PermitAll, Caller::System { task: "test" }).unwrap()
}

fn code(text: &str) -> OrganisationCode {
    OrganisationCode::parse(text).unwrap()
}

fn element(data_set: &mut Vec<u8>, (group, number): (u16, u16), vr: &[u8; 2], value: &str) {
    data_set.extend_from_slice(&group.to_le_bytes());
    data_set.extend_from_slice(&number.to_le_bytes());
    data_set.extend_from_slice(vr);
    let pad = if vr == b"UI" { 0 } else { b' ' };
    let mut value = value.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), pad);
    data_set.extend_from_slice(&u16::try_from(value.len()).unwrap().to_le_bytes());
    data_set.extend_from_slice(&value);
}

impl Portal {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = crate::local::open(folder.path()).await.unwrap();
        let registry = archive.registry();
        let list = include_str!("../../../organisations.json");
        let list: Organisations = serde_json::from_str(list).unwrap();
        let system = Agent::system("test");
        for organisation in &list.organisations {
            let licence = system.national_licence().unwrap();
            let import = registry.import_organisation(&licence, organisation, place::now());
            import.await.unwrap();
        }
        let particulars = Particulars {
            name: PersonName {
                family: "Жээнбеков".to_owned(),
                given: "Үсөн".to_owned(),
                patronymic: String::new(),
            },
            birth_date: "1990-01-01".parse().ok(),
            ..Particulars::default()
        };
        let licence = system.licence(code("006")).unwrap();
        let registered = registry
            .register_patient(&licence, particulars, Alike::IsAnother, place::now())
            .await;
        let patient = registered.unwrap().patient().value.key;
        let rules = AccountRules {
            cost: HashCost {
                memory_kib: 64,
                passes: 1,
            },
            ..AccountRules::default()
        };
        let accounts = Accounts::new(registry.audit_trail(), rules, World::real()).unwrap();
        let desk = Arc::new(crate::matcher::matcher(&archive).unwrap());
        let rules = crate::register::RegisterRules::default();
        let world = World::real();
        let register = crate::register::Register::new(None, archive.registry(), rules, world);
        let cursors = crate::api::Cursors::open(&registry, &World::real()).await;
        let behind = crate::api::Behind {
            cursors: cursors.unwrap(),
            feed: crate::api::Feed::new(&archive),
            desk: Arc::clone(&desk),
            register,
            keeping: None,
            pictures: None,
            provider: None,
        };
        let routes = router(&archive, accounts.clone(), behind, None);
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (drain, draining) = drain();
        tokio::spawn(http::serve(listener, routes, draining));
        Self {
            archive,
            accounts,
            desk,
            address,
            patient,
            _kept: (folder, drain),
        }
    }

    async fn person(&self, name: &str, role: &str) -> Person {
        let new = NewUser {
            name: UserName::parse(name).unwrap(),
            display_name: name.to_owned(),
            is_doctor: false,
            grants: Grants::new(vec![parse_grant(role).unwrap()]).unwrap(),
        };
        let first = self.accounts.add(new, Actor::system("test")).await.unwrap();
        let typed = |password: &str| Credentials {
            user: name.to_owned(),
            password: password.to_owned(),
            code: None,
        };
        let signed_in = self.accounts.sign_in(&typed(&first.0), None, HERE).await;
        let who = self.accounts.who(&signed_in.unwrap().secret).await.unwrap();
        let changed = self
            .accounts
            .change_password(&who, &first.0, PASSWORD, HERE)
            .await;
        Person {
            secret: changed.unwrap().secret,
            address: self.address,
        }
    }

    async fn order(&self, number: u8) -> ExaminationId {
        let order = json!({
            "kind": "Ct",
            "regions": [{ "part": "69536005" }],
            "scheduled_at": place::now().naive_local(),
            "weight_tenths_kg": 705,
        });
        let new = NewExamination {
            patient: self.patient,
            ordering: code("006"),
            performing: code("006"),
            order: serde_json::from_value(order).unwrap(),
            is_meant_twice: true,
        };
        let operator = parse_grant("operator@006").unwrap();
        let grants = Grants::new(vec![operator]).unwrap();
        let agent = Agent::new(pacs_core::role::AgentKind::User, "op", grants);
        let licence = agent.licence(code("006")).unwrap();
        let registry = self.archive.registry();
        let ordered = registry.order_examination(&licence, &new, [number; 16], place::now());
        ordered.await.unwrap().value.id
    }

    /// An instance comes, and is judged.
    async fn came(&self, sender: &str, study: &str, series: u32, (accession, name): (&str, &str)) {
        let uid = format!("{study}.{series}.1");
        let mut data_set = Vec::new();
        for (tag, vr, value) in [
            ((0x0008, 0x0016), b"UI", CT),
            ((0x0008, 0x0018), b"UI", &uid),
            ((0x0008, 0x0020), b"DA", "20261126"),
            ((0x0008, 0x0050), b"SH", accession),
            ((0x0008, 0x0060), b"CS", "CT"),
            ((0x0010, 0x0010), b"PN", name),
            ((0x0010, 0x0030), b"DA", "19900101"),
            ((0x0020, 0x000d), b"UI", study),
            ((0x0020, 0x000e), b"UI", &format!("{study}.{series}")),
        ] {
            element(&mut data_set, tag, vr, value);
        }
        let announced = Announced {
            sop_class: SopClassUid::parse(CT).unwrap(),
            sop_instance: SopInstanceUid::parse(&uid).unwrap(),
            transfer_syntax: TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
        };
        let provenance = Provenance {
            received_unix_ms: u64::try_from(place::now().timestamp_millis()).unwrap(),
            calling: sender.to_owned(),
            address: Some(HERE),
        };
        let deposit = self.archive.deposit(&may::<Store>(), announced, provenance);
        let mut deposit = deposit.unwrap();
        deposit.write(Bytes::from(data_set)).await.unwrap();
        deposit.seal().await.unwrap();
        let cursor = self.desk.cursor(pacs_store::index::ChangeNumber(0)).await;
        self.desk.step(&mut cursor.unwrap()).await.unwrap();
    }
}

impl Person {
    async fn ask(&self, method: &str, path: &str, etag: &str, body: &Value) -> Said {
        let token = super::super::guard::csrf_token(&self.secret);
        let (kind, length) = if body.is_null() {
            ("", String::new())
        } else {
            ("Content-Type: application/json\r\n", body.to_string())
        };
        let based = if etag.is_empty() {
            String::new()
        } else {
            format!("If-Match: {etag}\r\n")
        };
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Cookie: __Host-pacs_session={}\r\nX-CSRF-Token: {token}\r\n{kind}{based}\
             Content-Length: {}\r\n\r\n{length}",
            self.address,
            self.secret,
            length.len(),
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let etag = head.lines().find_map(|line| line.strip_prefix("etag: "));
        Said {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            etag: etag.unwrap_or_default().to_owned(),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    async fn get(&self, path: &str) -> Said {
        self.ask("GET", path, "", &Value::Null).await
    }

    /// Corrects a study in the state that it is in, by what is said besides the reason.
    async fn correct(&self, study: &str, how: &str, body: Value) -> Said {
        let read = self.get(&format!("/unmatched/{study}")).await;
        let mut body = body;
        body["reason"] = json!("a reason");
        let path = format!("/unmatched/{study}/{how}");
        self.ask("POST", &path, &read.etag, &body).await
    }

    /// The studies of a list.
    async fn listed(&self, query: &str) -> Vec<String> {
        let said = self.get(&format!("/unmatched{query}")).await;
        assert_eq!(said.status, 200, "{}", said.body);
        let items = said.body["items"].as_array().unwrap().iter();
        items
            .map(|item| item["study"].as_str().unwrap().to_owned())
            .collect()
    }
}

const RIGHT: &str = "ZHEENBEKOV^USON";

#[tokio::test]
async fn each_organisation_sees_its_own_queue_and_nobodys_is_for_the_archive() {
    let portal = Portal::open().await;
    let id = portal.order(1).await.to_string();
    portal.came("NATHOS_CT1", "1.2.3", 1, ("", RIGHT)).await;
    portal.came("KRKL_CT1", "1.2.4", 1, (&id, RIGHT)).await;
    portal.came("ELSEWHERE", "1.2.5", 1, (&id, RIGHT)).await;
    let operator = portal.person("operator", "operator@006").await;
    assert_eq!(operator.listed("").await, ["1.2.3"]);
    assert_eq!(operator.listed("?organisation=006").await, ["1.2.3"]);
    for (path, status) in [
        ("/unmatched?organisation=001", 403),
        ("/unmatched?organisation=none", 403),
        ("/unmatched?organisation=6", 422),
        ("/unmatched?cursor=00", 422),
        ("/unmatched/1.2.4", 404),
        ("/unmatched/1.2.5", 404),
        ("/unmatched/1.2.99", 404),
        ("/unmatched/a%20b", 422),
    ] {
        assert_eq!(operator.get(path).await.status, status, "{path}");
    }
    let admin = portal.person("admin", "archive_admin@national").await;
    assert_eq!(admin.get("/unmatched").await.status, 422);
    assert_eq!(admin.listed("?organisation=none").await, ["1.2.5"]);
    assert_eq!(admin.listed("?organisation=001").await, ["1.2.4"]);
    for role in [
        "expert@006",
        "referrer@006",
        "moh_admin@national",
        "auditor@national",
    ] {
        let name = role.replace('@', "_");
        let nobody = portal.person(&name, role).await;
        for path in [
            "/unmatched",
            "/unmatched?organisation=006",
            "/unmatched/1.2.3",
        ] {
            assert_eq!(nobody.get(path).await.status, 403, "{role} {path}");
        }
    }
    let one = operator.get("/unmatched/1.2.3").await;
    assert_eq!(one.body["reasons"], json!(["NO_ID"]));
    assert_eq!(one.body["header"]["patient_name"], RIGHT);
    assert_eq!(one.body["senders"], json!(["NATHOS_CT1"]));
    let candidate = &one.body["candidates"][0];
    assert_eq!(candidate["examination"], id);
    assert_eq!(candidate["rule"]["name"], "NAME_ALIKE");
    assert_eq!(candidate["differences"], json!([]));
    let pages = operator.get("/unmatched?limit=1").await;
    let next = pages.body["next"].as_str().unwrap();
    let rest = operator.listed(&format!("?limit=1&cursor={next}")).await;
    assert_eq!(rest, [""; 0]);
    portal.archive.close().await;
}

#[tokio::test]
async fn a_study_is_bound_by_who_saw_its_state_and_typed_the_id_again_where_names_differ() {
    let portal = Portal::open().await;
    let id = portal.order(1).await.to_string();
    portal
        .came("NATHOS_CT1", "1.2.3", 1, ("", "IVANOVA^ANNA"))
        .await;
    let operator = portal.person("operator", "operator@006").await;
    let path = "/unmatched/1.2.3/bind";
    let body = json!({"examination": id, "reason": "seen"});
    assert_eq!(operator.ask("POST", path, "", &body).await.status, 428);
    assert_eq!(operator.ask("POST", path, "\"1\"", &body).await.status, 412);
    let unseen = operator
        .correct("1.2.3", "bind", json!({"examination": id}))
        .await;
    assert_eq!(
        (unseen.status, &unseen.body["code"]),
        (422, &json!("RETYPE_NEEDED"))
    );
    assert_eq!(unseen.body["differences"], json!(["name"]));
    let nothing = json!({"examination": "250060004328"});
    let wrong = operator.correct("1.2.3", "bind", nothing).await;
    assert_eq!(
        (wrong.status, &wrong.body["code"]),
        (422, &json!("MALFORMED"))
    );
    let other = json!({"examination": id, "retyped": "260019999992"});
    assert_eq!(operator.correct("1.2.3", "bind", other).await.status, 422);

    let typed = json!({"examination": id, "retyped": id});
    let bound = operator.correct("1.2.3", "bind", typed).await;
    assert_eq!(bound.status, 200, "{}", bound.body);
    assert_eq!(bound.body["state"], "bound");
    assert_eq!(bound.body["examination"], id);
    assert_eq!(bound.body["corrections"][0]["kind"], "bind");
    assert_eq!(operator.listed("").await, [""; 0]);
    let undone = operator.correct("1.2.3", "undo", json!({})).await;
    assert_eq!(
        (undone.status, &undone.body["state"]),
        (200, &json!("queued"))
    );
    assert_eq!(undone.body["corrections"][0]["undone"]["by"], "operator");
    assert_eq!(operator.listed("").await, ["1.2.3"]);
    let again = operator.correct("1.2.3", "undo", json!({})).await;
    assert_eq!(again.status, 404);
    portal.archive.close().await;
}

#[tokio::test]
async fn every_correction_is_done_over_http_and_refused_where_a_rule_forbids_it() {
    let portal = Portal::open().await;
    let (one, two) = (
        portal.order(1).await.to_string(),
        portal.order(2).await.to_string(),
    );
    for series in [1, 2] {
        portal
            .came("NATHOS_CT1", "1.2.3", series, (&one, RIGHT))
            .await;
    }
    portal.came("NATHOS_CT1", "1.2.4", 1, (&two, RIGHT)).await;
    portal.came("NATHOS_CT1", "1.2.5", 1, ("", RIGHT)).await;
    let person = portal.person("radiographer", "radiographer@006").await;
    let split = json!({"series": ["1.2.3.2"], "examination": two});
    let split = person.correct("1.2.3", "split", split).await;
    assert_eq!(split.status, 200, "{}", split.body);
    assert_eq!(split.body["series"][0]["examination"], one);
    assert_eq!(split.body["series"][1]["examination"], two);
    let merged = json!({"studies": ["1.2.3"], "examination": two});
    let merged = person.correct("1.2.4", "merge", merged).await;
    assert_eq!(merged.status, 200, "{}", merged.body);
    let read = person.get("/unmatched/1.2.3").await;
    assert_eq!(read.body["examination"], two);
    let unbound = person.correct("1.2.3", "unbind", json!({})).await;
    assert_eq!(unbound.body["reasons"], json!(["UNBOUND"]));
    assert_eq!(unbound.body["not_of"], json!([two]));

    let taken = person.correct("1.2.4", "reject", json!({})).await;
    assert_eq!((taken.status, &taken.body["code"]), (409, &json!("TAKEN")));
    let until = place::now() + chrono::TimeDelta::hours(2);
    let put_off = person
        .correct("1.2.5", "postpone", json!({"until": until}))
        .await;
    assert_eq!(put_off.status, 200, "{}", put_off.body);
    assert_eq!(person.listed("").await, ["1.2.3"]);
    assert_eq!(person.listed("?postponed=true").await.len(), 2);
    let past = json!({"until": "2020-01-01T00:00:00Z"});
    assert_eq!(person.correct("1.2.5", "postpone", past).await.status, 422);

    let patient = portal.patient.to_string();
    let made = json!({"patient": patient, "regions": [{"part": "69536005"}]});
    let made = person.correct("1.2.5", "create", made).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.body["candidates"][0]["status"], "images_received");
    let rejected = person.correct("1.2.3", "reject", json!({})).await;
    assert_eq!(rejected.body["state"], "rejected");
    let unknown = json!({"patient": patient, "regions": [], "more": 1});
    assert_eq!(person.correct("1.2.3", "create", unknown).await.status, 400);
    let path = "/unmatched/1.2.3/unbind";
    let read = person.get("/unmatched/1.2.3").await;
    let empty = person
        .ask("POST", path, &read.etag, &json!({"reason": " "}))
        .await;
    assert_eq!(empty.body["code"], "REASON_NEEDED");
    portal.archive.close().await;
}
