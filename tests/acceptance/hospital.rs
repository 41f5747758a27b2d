//! A hospital whose console and workstation are DCMTK, with its operator at the portal.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pacs_tests::corpus::Parts;
use pacs_tests::day::images::{Header, Image, image, new_uid, tag};
use pacs_tests::day::plan::Kind;
use pacs_tests::day::typing::now;
use pacs_tests::edges::clock::Clock;
use pacs_tests::edges::until;
use pacs_tests::peers::{Said, dcmtk, files_below, has_dcmtk, run};
use pacs_tests::portal::{Browser, CT_OF_001, CT_OF_006, Portal, etag};
use pacs_tests::samples::{Random, part10};
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::Answer;
use pacs_tests::wire::{Tree, digest, uid};
use pacs_tests::workspace;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A workstation of organisation 006.
pub(crate) const WORKSTATION_OF_006: &str = "NATHOS_WS1";

/// The same of organisation 001.
pub(crate) const WORKSTATION_OF_001: &str = "KRKL_WS1";

/// The name of the first patient as the archive knows it.
pub(crate) const NAME: &str = "Жээнбеков^Чыңгыз^Үсөнович";

/// The same in Latin letters.
pub(crate) const LATIN_NAME: &str = "ZHEENBEKOV^CHYNGYZ^USONOVICH";

/// The PIN of the first patient, which says when they were born.
pub(crate) const PIN: &str = "20101199099907";

/// Organisation 006 at its centre.
pub(crate) struct Hospital {
    pub(crate) portal: Portal,
    pub(crate) operator: Browser,
    /// The number of a patient who is registered.
    pub(crate) patient: String,
}

/// A device of an organisation, as it is registered; a workstation makes nothing.
pub(crate) fn device(title: &str, organisation: &str, modality: &str, profile: &Value) -> Value {
    json!({
        "ae_title": title, "organisation": organisation, "modality": modality, "mpps": true,
        "profile": profile,
    })
}

/// The first patient.
pub(crate) fn person() -> Value {
    json!({
        "name": {"family": "Жээнбеков", "given": "Чыңгыз", "patronymic": "Үсөнович"},
        "pin": PIN,
    })
}

/// Registers somebody; their number.
pub(crate) fn registered(operator: &Browser, body: &Value) -> String {
    let made = operator.make("/patients", body);
    assert_eq!(made.status, 201, "{}", made.json());
    made.json()["number"].as_str().expect("a number").to_owned()
}

/// Saves the form of a CT of the chest; its ID.
pub(crate) fn ordered(operator: &Browser, patient: &str) -> String {
    let form = json!({
        "patient": patient,
        "kind": "ct",
        "regions": [{"part": "816094009"}],
        "weight_kg": "72,5",
        "complaints": "кашель «сухой», өпкө ооруйт, жөтөл түнкүсүн",
        "anamnesis": "с осени, ооруп жүрөт — күздөн бери",
        "is_meant_twice": true,
    });
    let saved = operator.make("/examinations", &form);
    assert_eq!(saved.status, 201, "{}", saved.json());
    saved.json()["id"].as_str().expect("an ID").to_owned()
}

impl Hospital {
    /// Starts the centre; `None` (said loudly) without DCMTK.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[], "")
    }

    /// The same with more devices, and more TOML for the configuration.
    pub(crate) fn with(more: &[Value], config: &str) -> Option<Self> {
        if !has_dcmtk() {
            return None;
        }
        let plain = json!({});
        let own = [
            device(CT_OF_006, "006", "CT", &plain),
            device(CT_OF_001, "001", "CT", &plain),
            device(WORKSTATION_OF_006, "006", "", &plain),
            device(WORKSTATION_OF_001, "001", "", &plain),
        ];
        let portal = Portal::with(&[&own[..], more].concat(), config);
        let operator = portal.user("operator", &["operator@006"]);
        let patient = registered(&operator, &person());
        Some(Self {
            portal,
            operator,
            patient,
        })
    }

    /// Starts the server again, so that it goes by `clock`; everybody signs in again.
    pub(crate) fn go_by(&mut self, clock: &Clock) {
        assert!(self.portal.server.stop().success(), "it ends in order");
        for (name, value) in clock.environment() {
            self.portal.server.set_environment(name, Some(&value));
        }
        self.portal.server.restart();
        self.operator = self.portal.again("operator");
    }

    /// Whoever calls themselves `title` there.
    pub(crate) fn ae(&self, title: &str) -> Ae {
        Ae::new(title, "PACS", self.portal.server.dicom())
    }

    /// The console.
    pub(crate) fn console(&self) -> Ae {
        self.ae(CT_OF_006)
    }

    /// The workstation.
    pub(crate) fn workstation(&self) -> Ae {
        self.ae(WORKSTATION_OF_006)
    }

    /// The entry of an examination in the worklist of the console.
    pub(crate) fn entry(&self, id: &str) -> Tree {
        self.console().worklist().remove(id).expect("an entry")
    }

    /// Orders a CT of the patient; its ID.
    pub(crate) fn order(&self) -> String {
        ordered(&self.operator, &self.patient)
    }

    /// An examination as the operator sees it.
    pub(crate) fn examination(&self, id: &str) -> Value {
        read(&self.operator, &format!("/examinations/{id}"))
    }

    /// Waits until an examination stands there.
    pub(crate) fn stands(&self, id: &str, status: &str) {
        until(PATIENCE, &format!("{id} as {status}"), || {
            (self.examination(id)["status"] == status).then_some(())
        });
    }

    /// The console sends images of the ID, and the server knows whose they are.
    pub(crate) fn made(&self, id: &str, count: usize) -> Shot {
        let shot = Shot::of(&typed(id), count);
        self.console().send(&shot.images);
        decided(&self.operator, &shot.study, "bound", &[]);
        shot
    }

    /// Waits until the workstation finds one study by a key, under the name of the patient: what is
    /// found follows the registry a moment later.
    pub(crate) fn finds(&self, key: &str) {
        until(PATIENCE, key, || {
            let found = self.workstation().studies(key);
            let names: Vec<String> = found.iter().map(|one| one.text_of(tag::NAME)).collect();
            (names == [NAME]).then_some(())
        });
    }

    /// The images of a shot as the workstation gets them, once they say whose they are.
    pub(crate) fn given(&self, shot: &Shot) -> BTreeMap<String, Vec<u8>> {
        until(PATIENCE, "images that say whose they are", || {
            let given = self.workstation().get(&shot.study);
            let says = |bytes: &Vec<u8>| {
                let tree = Tree::read(bytes).expect("a data set");
                tree.text_of(tag::PATIENT_ID) == self.patient
            };
            (given.len() == shot.images.len() && given.values().all(says)).then_some(given)
        })
    }
}

/// What somebody reads.
pub(crate) fn read(who: &Browser, path: &str) -> Value {
    let answer = who.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.json());
    answer.json()
}

/// Waits until a study is in this state, for these reasons; all that is known of it then.
pub(crate) fn decided(who: &Browser, study: &str, state: &str, reasons: &[&str]) -> Value {
    let begun = Instant::now();
    loop {
        let answer = who.get(&format!("/unmatched/{study}"));
        let known = answer.json();
        if known["state"] == state && known["reasons"] == json!(reasons) {
            return known;
        }
        let is_patient = begun.elapsed() < PATIENCE;
        assert!(is_patient, "{study} is not {state} {reasons:?}: {known}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Somebody says whose a study is; who is asked to type the ID once more does so.
pub(crate) fn put_right(who: &Browser, study: &str, act: &str, body: &Value) -> Answer {
    let path = format!("/unmatched/{study}");
    let mut body = body.clone();
    body["reason"] = json!("сверено с направлением");
    loop {
        let seen = who.get(&path);
        assert_eq!(seen.status, 200, "{}", seen.json());
        let based = [("If-Match", &*etag(&seen))];
        let answer = who.send("POST", &format!("{path}/{act}"), &based, &body);
        match (answer.status, answer.json()["code"].as_str()) {
            (422, Some("RETYPE_NEEDED")) if body["retyped"].is_null() => {
                body["retyped"] = body["examination"].clone();
            }
            // It was judged again in between.
            (412, _) => {}
            _ => return answer,
        }
    }
}

/// What is typed at the console with an ID: a number of its own, and a name in Latin letters.
pub(crate) fn typed(id: &str) -> Header {
    Header {
        patient_id: "4711".to_owned(),
        name: "ZHEENBEKOV^CHYNGYZ".to_owned(),
        birth_date: "19900101".to_owned(),
        sex: "M".to_owned(),
        accession: id.to_owned(),
        study_id: "1".to_owned(),
        made_at: now(),
        ..Header::default()
    }
}

/// What was made for one patient at once.
pub(crate) struct Shot {
    pub(crate) study: String,
    pub(crate) images: Vec<Image>,
}

fn random() -> Random {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Random::new(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Images of a series of their own in a study.
pub(crate) fn series(kind: Kind, header: &Header, study: &str, count: usize) -> Vec<Image> {
    let mut random = random();
    let series = new_uid(&mut random);
    let images =
        (1..=count).map(|number| image(&mut random, kind, header, (study, &series, number)));
    images.collect()
}

impl Shot {
    /// CT images of a study with a UID of the console's own.
    pub(crate) fn of(header: &Header, count: usize) -> Self {
        let study = new_uid(&mut random());
        Self::planned(header, &study, count)
    }

    /// The same under the UID that the worklist gave.
    pub(crate) fn planned(header: &Header, study: &str, count: usize) -> Self {
        Self {
            study: study.to_owned(),
            images: series(Kind::Ct, header, study, count),
        }
    }

    /// The digests of the data sets that were sent, by instance.
    pub(crate) fn digests(&self) -> BTreeMap<String, String> {
        let images = self.images.iter();
        let images = images.map(|image| (image.instance.clone(), image.digest.clone()));
        images.collect()
    }

    /// The SOP Instance UIDs.
    pub(crate) fn instances(&self) -> Vec<&str> {
        self.images.iter().map(|image| &*image.instance).collect()
    }
}

/// The digests of data sets, by instance.
pub(crate) fn digests(given: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, String> {
    let given = given.iter();
    let given = given.map(|(instance, bytes)| (instance.clone(), digest(bytes)));
    given.collect()
}

/// The keys of a worklist query: what a console shows of a patient and an order.
const WORKLIST: [&str; 15] = [
    "0008,0050",
    "0010,0010",
    "0010,0020",
    "0010,0030",
    "0010,0040",
    "0010,21B0",
    "0020,000D",
    "0032,1060",
    "0040,1001",
    "0040,1400",
    "(0040,0100)[0].(0008,0060)=CT",
    "(0040,0100)[0].(0040,0001)",
    "(0040,0100)[0].(0040,0002)",
    "(0040,0100)[0].(0040,0007)",
    "(0040,0100)[0].(0040,0009)",
];

/// An application entity of DCMTK.
pub(crate) struct Ae {
    title: String,
    called: String,
    server: SocketAddr,
}

impl Ae {
    /// One that calls the server by `called`.
    pub(crate) fn new(title: &str, called: &str, server: SocketAddr) -> Self {
        Self {
            title: title.to_owned(),
            called: called.to_owned(),
            server,
        }
    }

    /// The same over another line.
    pub(crate) fn over(self, server: SocketAddr) -> Self {
        Self { server, ..self }
    }

    fn dcmtk(&self, command: &str, options: &[&str]) -> Command {
        let mut dcmtk = dcmtk(command);
        dcmtk.args(["-aet", &self.title, "-aec", &self.called]);
        dcmtk.args(options).arg(self.server.ip().to_string());
        dcmtk.arg(self.server.port().to_string());
        dcmtk
    }

    /// What storescu says of files that it is to send.
    pub(crate) fn try_send_files(&self, files: &[PathBuf]) -> Said {
        // A context for what there is to send, and no other.
        run(self.dcmtk("storescu", &["-v", "-R"]).args(files))
    }

    /// What storescu says of images.
    pub(crate) fn try_send(&self, images: &[Image]) -> Said {
        let folder = workspace::temporary_folder();
        let files = images.iter().enumerate().map(|(at, image)| {
            let path = folder.path().join(format!("{at:04}.dcm"));
            let names = (image.class, &*image.instance);
            let file = part10(names, uid::EXPLICIT_LITTLE_ENDIAN, &image.data_set);
            std::fs::write(&path, file).expect("a file");
            path
        });
        self.try_send_files(&files.collect::<Vec<_>>())
    }

    /// Sends images, each of which is taken with 0000H.
    pub(crate) fn send(&self, images: &[Image]) {
        let said = self.try_send(images).succeeded();
        assert_eq!(taken(&said), images.len(), "{}", said.text);
    }

    /// Sends a data set.
    pub(crate) fn send_object(&self, class: &'static str, object: &Tree) {
        let data_set = object.encode();
        self.send(&[Image {
            class,
            instance: object.text_of(0x0008_0018),
            series: object.text_of(0x0020_000E),
            digest: digest(&data_set),
            data_set,
        }]);
    }

    /// The answers of a C-FIND, as findscu writes them down.
    fn found(&self, options: &[&str], keys: &[&str]) -> Found {
        let folder = workspace::temporary_folder();
        let to = folder.path().to_str().expect("UTF-8").to_owned();
        let mut all = vec!["-xe", "-X", "-od", &to];
        all.extend_from_slice(options);
        for key in keys {
            all.extend(["-k", key]);
        }
        let _ = run(&mut self.dcmtk("findscu", &all)).succeeded();
        Found { folder }
    }

    /// The answers to a query of the worklist.
    pub(crate) fn ask_for_worklist(&self) -> Found {
        self.found(&["-W"], &WORKLIST)
    }

    /// The worklist by ID.
    pub(crate) fn worklist(&self) -> BTreeMap<String, Tree> {
        let answers = self.ask_for_worklist().trees().into_iter();
        let answers = answers.map(|answer| (answer.text_of(tag::ACCESSION), answer));
        answers.collect()
    }

    /// The studies that are found by a key, such as `PatientID=P1`.
    pub(crate) fn studies(&self, key: &str) -> Vec<Tree> {
        let keys = [
            "QueryRetrieveLevel=STUDY",
            "0020,000D",
            "0010,0010",
            "0010,0020",
            "0008,0050",
            "0020,1208",
            key,
        ];
        self.found(&["-S"], &keys).trees()
    }

    /// How many instances a study has, as C-FIND says; none where it is not found.
    pub(crate) fn count(&self, study: &str) -> u64 {
        let found = self.studies(&format!("StudyInstanceUID={study}"));
        let count = found.first().map(|found| found.text_of(0x0020_1208));
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    /// The data sets of a study as getscu gets them, by instance.
    pub(crate) fn get(&self, study: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = workspace::temporary_folder();
        let to = folder.path().to_str().expect("UTF-8");
        let study = format!("StudyInstanceUID={study}");
        // +B keeps the data set as it was received, instead of encoding it again.
        let options = [
            "-S",
            "+B",
            "-od",
            to,
            "-k",
            "QueryRetrieveLevel=STUDY",
            "-k",
        ];
        let options = [&options[..], &[&study]].concat();
        let _ = run(&mut self.dcmtk("getscu", &options)).succeeded();
        received(folder.path())
    }
}

/// Answers of a C-FIND in files.
pub(crate) struct Found {
    folder: TempDir,
}

impl Found {
    /// The files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files_below(self.folder.path())
    }

    /// What they hold.
    pub(crate) fn trees(&self) -> Vec<Tree> {
        let files = self.files().into_iter();
        let trees = files.map(|file| Tree::read(&data_set_of(&file)).expect("a data set"));
        trees.collect()
    }
}

/// The data set of a file.
pub(crate) fn data_set_of(path: &Path) -> Vec<u8> {
    let file = std::fs::read(path).expect("a file");
    file[Parts::of(&file).data_set_offset..].to_vec()
}

/// How often storescu was told Success.
pub(crate) fn taken(said: &Said) -> usize {
    said.text
        .matches("Received Store Response (Success)")
        .count()
}

/// The data sets of files in a folder, by instance.
pub(crate) fn received(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = files_below(folder).into_iter().map(|path| {
        let data_set = data_set_of(&path);
        let tree = Tree::read(&data_set).expect("a data set");
        (tree.text_of(0x0008_0018), data_set)
    });
    files.collect()
}
