//! Consoles of hospitals, their worklists, and the steps that they tell of.

mod steps;

use super::{Bounds, WorklistService};
use crate::access::Access;
use crate::config::{Config, Options};
use crate::place;
use crate::scp::mpps::StepService;
use chrono::{NaiveDateTime, TimeDelta};
use pacs_core::decode::read_data_set;
use pacs_core::device::{DeviceCharset, DeviceProfile, KeepUntil};
use pacs_core::encode::write_data_set;
use pacs_core::examination::{BodyPart, Status, reconcile::Kind};
use pacs_core::limits::DataSetLimits;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_core::tag::{Tag, Vr, tags, vr_of};
use pacs_core::worklist::WorklistKeys;
use pacs_core::{
    AeTitle, Attributes, ExaminationId, OrganisationCode, SopInstanceUid, TransferSyntaxUid, Value,
};
use pacs_net::service::AdmitAll;
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, MODALITY_PERFORMED_PROCEDURE_STEP, MODALITY_WORKLIST_FIND,
};
use pacs_net::{Acceptor, Requestor, RequestorError};
use pacs_store::Archive;
use pacs_store::registry::devices::Device;
use pacs_store::registry::examinations::{NewExamination, Reader};
use pacs_store::registry::organisations::Organisation;
use pacs_store::registry::patients::{Alike, Particulars, PersonName};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The organisations of the pilot.
#[derive(serde::Deserialize)]
struct List {
    organisations: Vec<Organisation>,
}

/// An archive with the organisations of the pilot, and its services on a port.
struct Centre {
    archive: Archive,
    address: String,
    _folder: TempDir,
}

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

fn code(text: &str) -> OrganisationCode {
    OrganisationCode::parse(text).unwrap()
}

fn operator(organisation: OrganisationCode) -> Agent {
    let grant = Grant::new(Role::Operator, Reach::Organisation(organisation));
    Agent::new(AgentKind::User, "operator", Grants::single(grant))
}

/// In an hour.
fn soon() -> NaiveDateTime {
    let now = place::now().naive_local();
    now.checked_add_signed(TimeDelta::hours(1)).unwrap()
}

impl Centre {
    async fn open(bounds: Option<Bounds>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = crate::local::open(folder.path()).await.unwrap();
        let access = Arc::new(Access::new(&Config::load(&Options::default()).unwrap()));
        let mut worklist = WorklistService::new(archive.registry(), Arc::clone(&access));
        worklist.bounds = bounds.unwrap_or(worklist.bounds);
        let steps = StepService::new(archive.clone(), access);
        let acceptor = Acceptor::builder(title("PACS"))
            .worklist(Arc::new(worklist))
            .procedure_steps(Arc::new(steps))
            .policy(Arc::new(AdmitAll))
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { acceptor.serve(listener, std::future::pending()).await });
        let centre = Self {
            archive,
            address,
            _folder: folder,
        };
        let list: List = serde_json::from_str(include_str!("../../../organisations.json")).unwrap();
        let licence = Agent::system("test").national_licence().unwrap();
        for organisation in &list.organisations {
            let registry = centre.archive.registry();
            let import = registry.import_organisation(&licence, organisation, place::now());
            import.await.unwrap();
        }
        centre
    }

    async fn device(&self, name: &str, organisation: &str, profile: DeviceProfile) {
        let device = Device {
            ae_title: title(name),
            organisation: code(organisation),
            host: String::new(),
            port: 0,
            modality: "CT".to_owned(),
            department: None,
            name: String::new(),
            mpps: true,
            commitment: false,
            profile,
        };
        let registry = self.archive.registry();
        let stored = crate::tool::devices::store(&registry, &device);
        stored.await.unwrap();
    }

    /// Orders examinations of one patient, planned for `at` and the minutes after it.
    async fn order(&self, organisation: &str, count: u32, at: NaiveDateTime) -> Vec<ExaminationId> {
        let (registry, organisation) = (self.archive.registry(), code(organisation));
        let operator = operator(organisation);
        let particulars = Particulars {
            name: PersonName {
                family: "Жээнбеков".to_owned(),
                given: "Үсөн".to_owned(),
                patronymic: "Өмүрбекович".to_owned(),
            },
            birth_date: "1990-01-01".parse().ok(),
            pin: serde_json::from_str("\"20101199099907\"").ok(),
            ..Particulars::default()
        };
        let licence = operator.licence(organisation).unwrap();
        let registered = registry
            .register_patient(&licence, particulars, Alike::IsAnother, place::now())
            .await
            .unwrap();
        let patient = registered.patient().value.key;
        self.order_for(patient, organisation, (count, at)).await
    }

    /// The same of this patient.
    async fn order_for(
        &self,
        patient: PatientKey,
        organisation: OrganisationCode,
        (count, at): (u32, NaiveDateTime),
    ) -> Vec<ExaminationId> {
        let registry = self.archive.registry();
        let licence = operator(organisation).licence(organisation).unwrap();
        let mut ids = Vec::new();
        for number in 0..count {
            let at = at
                .checked_add_signed(TimeDelta::minutes(number.into()))
                .unwrap();
            let order = serde_json::json!({
                "kind": Kind::Ct,
                "regions": [{ "part": BodyPart::parse("816094009").unwrap(), "side": null }],
                "scheduled_at": at,
                "weight_tenths_kg": 705,
                "complaints": "жөтөл",
            });
            let new = NewExamination {
                patient,
                ordering: organisation,
                performing: organisation,
                order: serde_json::from_value(order).unwrap(),
                is_meant_twice: true,
            };
            let mut random = [0; 16];
            getrandom::fill(&mut random).unwrap();
            let ordered = registry.order_examination(&licence, &new, random, place::now());
            ids.push(ordered.await.unwrap().value.id);
        }
        ids
    }

    async fn status(&self, id: ExaminationId) -> Status {
        let system = Agent::system("test");
        let registry = self.archive.registry();
        let reader = Reader::new(&system);
        let found = registry.examination(&reader, id, place::now());
        found.await.unwrap().value.status()
    }

    async fn associate(&self, calling: &str) -> Requestor {
        Requestor::builder(title(calling), title("PACS"))
            .context(MODALITY_WORKLIST_FIND, &[EXPLICIT_VR_LITTLE_ENDIAN])
            .context(
                MODALITY_PERFORMED_PROCEDURE_STEP,
                &[EXPLICIT_VR_LITTLE_ENDIAN],
            )
            .connect(&self.address)
            .await
            .unwrap()
    }

    /// What a device is told that asks for everything; besides the bytes.
    async fn asked(
        &self,
        calling: &str,
    ) -> Result<(Vec<Attributes>, Vec<Vec<u8>>), RequestorError> {
        self.asked_for(calling, WorklistKeys::all()).await
    }

    /// What a device is told that asks for these; besides the bytes.
    async fn asked_for(
        &self,
        calling: &str,
        keys: WorklistKeys,
    ) -> Result<(Vec<Attributes>, Vec<Vec<u8>>), RequestorError> {
        let mut association = self.associate(calling).await;
        let identifier = keys.to_identifier(&syntax()).unwrap();
        let mut find = association
            .find(MODALITY_WORKLIST_FIND, identifier.into())
            .await?;
        let (mut answers, mut bytes) = (Vec::new(), Vec::new());
        while let Some(answer) = find.next().await? {
            answers.push(read_data_set(&answer, &syntax(), &DataSetLimits::default()).unwrap());
            bytes.push(answer.to_vec());
        }
        association.release().await?;
        Ok((answers, bytes))
    }

    /// How many steps a device is told of that asks for these, and the final status.
    async fn told_in_part(&self, calling: &str, keys: WorklistKeys) -> (usize, u16) {
        let mut association = self.associate(calling).await;
        let identifier = keys.to_identifier(&syntax()).unwrap();
        let find = association.find(MODALITY_WORKLIST_FIND, identifier.into());
        let mut find = find.await.unwrap();
        let mut count = 0;
        let status = loop {
            match find.next().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => break 0,
                Err(RequestorError::Status { code, .. }) => break code,
                Err(error) => panic!("{error}"),
            }
        };
        association.release().await.unwrap();
        (count, status)
    }

    /// The status of the step in the worklist of a device, as often as it is there.
    async fn listed(&self, calling: &str) -> Vec<String> {
        let (answers, _) = self.asked(calling).await.unwrap();
        let step = |answer: &Attributes| {
            let steps = answer.items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE);
            let status = steps[0].text(tags::SCHEDULED_PROCEDURE_STEP_STATUS);
            status.unwrap().to_owned()
        };
        answers.iter().map(step).collect()
    }
}

fn syntax() -> TransferSyntaxUid {
    TransferSyntaxUid::parse(EXPLICIT_VR_LITTLE_ENDIAN).unwrap()
}

fn shows(charset: DeviceCharset) -> DeviceProfile {
    DeviceProfile {
        charset,
        ..DeviceProfile::default()
    }
}

#[tokio::test]
async fn a_console_sees_what_its_own_hospital_has_planned_in_its_own_characters() {
    let centre = Centre::open(None).await;
    for (name, organisation, charset) in [
        ("NATHOS_CT1", "006", DeviceCharset::Ascii),
        ("NATHOS_CT2", "006", DeviceCharset::Cyrillic),
        ("NATHOS_CT3", "006", DeviceCharset::Utf8),
        ("KRKL_CT1", "001", DeviceCharset::Utf8),
    ] {
        centre.device(name, organisation, shows(charset)).await;
    }
    let id = centre.order("006", 1, soon()).await[0];

    for (name, person, description) in [
        ("NATHOS_CT1", "ZHEENBEKOV^USON^OMURBEKOVICH", "CT: Chest"),
        (
            "NATHOS_CT2",
            "Жээнбеков^Усон^Омурбекович",
            "КТ: грудная клетка",
        ),
        (
            "NATHOS_CT3",
            "Жээнбеков^Үсөн^Өмүрбекович",
            "КТ: грудная клетка",
        ),
    ] {
        let (answers, bytes) = centre.asked(name).await.unwrap();
        let [answer] = &answers[..] else {
            panic!("{name}: {} answers", answers.len());
        };
        assert_eq!(answer.text(tags::PATIENT_NAME), Some(person));
        let text = answer.text(tags::REQUESTED_PROCEDURE_DESCRIPTION);
        assert_eq!(text, Some(description));
        let number = answer.text(tags::ACCESSION_NUMBER).unwrap();
        assert_eq!(number, id.to_string());
        assert_eq!(answer.text(tags::PATIENT_WEIGHT), Some("70.5"));
        assert!(answer.items(tags::OTHER_PATIENT_I_DS_SEQUENCE).is_empty());
        let step = &answer.items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE)[0];
        let codes = step.items(tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE);
        assert_eq!(codes[1].text(tags::CODE_VALUE), Some("816094009"));
        let station = step.text(tags::SCHEDULED_STATION_AE_TITLE);
        assert_eq!(station, Some(name));
        // The PIN is told to nobody.
        assert!(
            !bytes[0]
                .windows(14)
                .any(|window| window == b"20101199099907")
        );
    }
    assert!(centre.listed("KRKL_CT1").await.is_empty());
    let stranger = centre.asked("STRANGER").await.unwrap_err().to_string();
    assert!(stranger.contains("0124H"), "{stranger}");
    // Each query is recorded, and the trail holds.
    let trail = centre.archive.registry().audit_trail();
    let verified = trail.verify(None, |_| ()).await.unwrap();
    assert_eq!(verified.problem, None);
    assert!(verified.records_count >= 5);
    centre.archive.close().await;
}

/// The examinations that a device is told of that asks for the one with this value.
async fn named(centre: &Centre, calling: &str, tag: Tag, text: &str) -> Vec<String> {
    let keys = WorklistKeys::all().key(tag, text).unwrap();
    let (answers, _) = centre.asked_for(calling, keys).await.unwrap();
    let id = |answer: &Attributes| answer.text(tags::ACCESSION_NUMBER).unwrap().to_owned();
    answers.iter().map(id).collect()
}

#[tokio::test]
async fn a_query_that_names_an_examination_or_a_patient_is_told_of_them_alone() {
    let centre = Centre::open(None).await;
    for (name, organisation) in [("NATHOS_CT1", "006"), ("KRKL_CT1", "001")] {
        let profile = shows(DeviceCharset::Utf8);
        centre.device(name, organisation, profile).await;
    }
    let ids = centre.order("006", 3, soon()).await;
    let far = soon().checked_add_signed(TimeDelta::days(40)).unwrap();
    let later = centre.order("006", 1, far).await[0];
    let all = centre.asked("NATHOS_CT1").await.unwrap().0;
    let patient = all[0].text(tags::PATIENT_ID).unwrap().to_owned();
    let step = |id: ExaminationId| format!("{id}-01");

    for id in &ids {
        let text = id.to_string();
        for tag in [tags::ACCESSION_NUMBER, tags::REQUESTED_PROCEDURE_ID] {
            assert_eq!(named(&centre, "NATHOS_CT1", tag, &text).await, [&*text]);
            assert!(named(&centre, "KRKL_CT1", tag, &text).await.is_empty());
        }
        let tag = tags::SCHEDULED_PROCEDURE_STEP_ID;
        let found = named(&centre, "NATHOS_CT1", tag, &step(*id)).await;
        assert_eq!(found, [&*text]);
    }
    // The second attempt of an examination that has had none.
    let second = format!("{}-02", ids[0]);
    let tag = tags::SCHEDULED_PROCEDURE_STEP_ID;
    assert!(named(&centre, "NATHOS_CT1", tag, &second).await.is_empty());
    // In the order of their times, and no sooner than the device sees them.
    let found = named(&centre, "NATHOS_CT1", tags::PATIENT_ID, &patient).await;
    assert_eq!(
        found,
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    );
    assert!(
        named(&centre, "KRKL_CT1", tags::PATIENT_ID, &patient)
            .await
            .is_empty()
    );
    let text = later.to_string();
    let tag = tags::ACCESSION_NUMBER;
    assert!(named(&centre, "NATHOS_CT1", tag, &text).await.is_empty());
    // Both are asked for, and one of them is another's.
    let keys = WorklistKeys::all().key(tags::PATIENT_ID, "P0000000000");
    let keys = keys.unwrap().key(tag, &ids[0].to_string()).unwrap();
    assert!(
        centre
            .asked_for("NATHOS_CT1", keys)
            .await
            .unwrap()
            .0
            .is_empty()
    );
    // Nobody has this number.
    let unknown = "P0000009995";
    assert!(
        named(&centre, "NATHOS_CT1", tags::PATIENT_ID, unknown)
            .await
            .is_empty()
    );
    centre.archive.close().await;
}

#[tokio::test]
async fn a_long_worklist_is_read_page_by_page_up_to_its_bound() {
    let bounds = Bounds {
        page_count: 4,
        scanned_max: 12,
        steps_max: 9,
    };
    let centre = Centre::open(Some(bounds)).await;
    let profile = DeviceProfile::default();
    centre.device("NATHOS_CT1", "006", profile).await;
    centre.order("006", 7, soon()).await;
    assert_eq!(centre.listed("NATHOS_CT1").await.len(), 7);
    // Two at the same minute as two of them: all that may be, and no more.
    centre.order("006", 2, soon()).await;
    assert_eq!(centre.listed("NATHOS_CT1").await.len(), 9);
    centre.order("006", 1, soon()).await;
    let cut = centre.told_in_part("NATHOS_CT1", WorklistKeys::all()).await;
    assert_eq!(cut, (9, 0xA700), "nothing is cut silently");
    // Of much that is looked at for little, too: what is named is looked up.
    let nobody = || {
        WorklistKeys::all()
            .key(tags::PATIENT_NAME, "NOBODY*")
            .unwrap()
    };
    let none = centre.told_in_part("NATHOS_CT1", nobody()).await;
    assert_eq!(none, (0, 0), "ten are looked at");
    centre.order("006", 3, soon()).await;
    let none = centre.told_in_part("NATHOS_CT1", nobody()).await;
    assert_eq!(none, (0, 0xA700), "not all of them are looked at");
    centre.archive.close().await;
}

/// More than the registry gives at once, and several times what is read at once: as a hospital may
/// have open, within the bounds that docs/conformance-statement.md tells.
#[tokio::test]
async fn of_five_hundred_and_more_open_examinations_each_is_told_once_and_none_is_cut() {
    const PATIENTS: u32 = 26;
    const OF_EACH: u32 = 20;
    let centre = Centre::open(None).await;
    let profile = DeviceProfile::default();
    centre.device("NATHOS_CT1", "006", profile).await;
    let (registry, of) = (centre.archive.registry(), code("006"));
    let mut ordered = BTreeSet::new();
    for number in 0..PATIENTS {
        let particulars = Particulars {
            name: PersonName {
                family: format!("Асанов{number}"),
                ..PersonName::default()
            },
            birth_date: "1990-01-01".parse().ok(),
            ..Particulars::default()
        };
        let licence = operator(of).licence(of).unwrap();
        let registered =
            registry.register_patient(&licence, particulars, Alike::IsAnother, place::now());
        let patient = registered.await.unwrap().patient().value.key;
        let made = centre.order_for(patient, of, (OF_EACH, soon())).await;
        ordered.extend(made.into_iter().map(|id| id.to_string()));
    }

    let (answers, _) = centre.asked("NATHOS_CT1").await.unwrap();
    assert_eq!(answers.len(), ordered.len(), "with Success at the end");
    let told = answers.iter().map(|answer| {
        let id = answer.text(tags::ACCESSION_NUMBER).unwrap_or_default();
        id.trim().to_owned()
    });
    assert_eq!(told.collect::<BTreeSet<_>>(), ordered);
    let planned = answers.iter().map(|answer| {
        let step = &answer.items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE)[0];
        let text = |tag| step.text(tag).unwrap_or_default().trim().to_owned();
        let date = text(tags::SCHEDULED_PROCEDURE_STEP_START_DATE);
        date + &text(tags::SCHEDULED_PROCEDURE_STEP_START_TIME)
    });
    assert!(planned.is_sorted(), "in the order of their times");
    // Where less is asked for, the rest is looked at all the same.
    let last = ordered.last().unwrap();
    let one = named(&centre, "NATHOS_CT1", tags::ACCESSION_NUMBER, last).await;
    assert_eq!(one.len(), 1);
    centre.archive.close().await;
}

#[tokio::test]
async fn neither_many_orders_of_one_second_nor_one_that_is_damaged_hide_the_others() {
    let bounds = Bounds {
        page_count: 2,
        scanned_max: 500,
        steps_max: 500,
    };
    let centre = Centre::open(Some(bounds)).await;
    let profile = DeviceProfile::default();
    centre.device("NATHOS_CT1", "006", profile).await;
    let mut ids = Vec::new();
    let second = soon();
    for _ in 0..7 {
        ids.extend(centre.order("006", 1, second).await);
    }
    assert_eq!(centre.listed("NATHOS_CT1").await.len(), 7);
    let permit = pacs_core::access::permit(
        &pacs_core::access::PermitAll,
        pacs_core::Caller::System { task: "test" },
    );
    let records = centre.archive.records(&permit.unwrap());
    let kind = pacs_store::records::Kind::new("examination");
    let key = ids[3].to_string();
    let record = records.get(kind, &key).await.unwrap().unwrap();
    let damaged = b"{}".to_vec();
    let put = records.put(kind, &key, damaged, Some(record.revision));
    put.await.unwrap();
    assert_eq!(centre.listed("NATHOS_CT1").await.len(), 6);
    centre.archive.close().await;
}

/// DCMTK's findscu, or `None`, said loudly.
async fn findscu(arguments: Vec<String>) -> Option<String> {
    let run = tokio::task::spawn_blocking(move || {
        let mut findscu = Command::new("findscu");
        findscu.env("TCP_NODELAY", "1").args(&arguments).output()
    });
    match run.await.unwrap() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Some(String::from_utf8_lossy(&output.stdout).into_owned() + &text)
        }
        Err(error) => {
            let required = std::env::var_os("PACS_REQUIRE_PEERS").is_some();
            assert!(!required, "DCMTK is required: {error}");
            None
        }
    }
}

#[tokio::test]
async fn dcmtk_asks_for_the_worklist_and_cancels_it() {
    let centre = Centre::open(None).await;
    let profile = DeviceProfile::default();
    centre.device("NATHOS_CT1", "006", profile).await;
    let ids = centre.order("006", 6, soon()).await;
    let port = centre.address.rsplit_once(':').unwrap().1.to_owned();
    let ask = |options: &[&str]| {
        let fixed = [
            "-W",
            "-v",
            "-aet",
            "NATHOS_CT1",
            "-aec",
            "PACS",
            "127.0.0.1",
        ];
        let port = [port.as_str()];
        let all = fixed.iter().chain(&port).chain(options);
        findscu(all.map(|argument| (*argument).to_owned()).collect())
    };
    let count = |said: &str| said.matches("Find Response: ").count();

    let Some(all) = ask(&["-k", "(0040,0100)", "-k", "AccessionNumber"]).await else {
        return;
    };
    assert_eq!(count(&all), 6, "{all}");
    // The empty sequence is answered whole.
    assert!(all.contains("(0040,0009) SH"), "{all}");
    let one = format!("AccessionNumber={}", ids[2]);
    let one = ask(&["-k", &one, "-k", "PatientName"]).await.unwrap();
    assert!(one.contains("ZHEENBEKOV^USON^OMURBEKOVICH"), "{one}");
    assert_eq!(count(&one), 1, "{one}");
    let modality = "(0040,0100)[0].Modality=";
    for (value, expected) in [("CT", 6), ("MR", 0)] {
        let key = format!("{modality}{value}");
        let said = ask(&["-k", &key, "-k", "AccessionNumber"]).await.unwrap();
        assert_eq!(count(&said), expected, "{said}");
    }
    let cancelled = ask(&["--cancel", "2", "-k", "AccessionNumber"])
        .await
        .unwrap();
    assert!(count(&cancelled) >= 2, "{cancelled}");
    assert!(!cancelled.contains("rror"), "{cancelled}");
    centre.archive.close().await;
}
