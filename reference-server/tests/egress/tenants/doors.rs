//! Asks through every door, and says what somebody was given that they may not see, and what they
//! were not given that they may.

use super::callers::{Caller, DEPARTMENTS, Kind};
use super::dice::Dice;
use super::land::{Land, Stands, Study, scanner, scanner_in};
use crate::devices::{At, answers, associate, passcode};
use crate::people::title;
use crate::site::{EXPLICIT, Reply, Site};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::Attributes;
use pacs_core::encode::write_data_set;
use pacs_core::role::Role;
use pacs_core::tag::{Vr, tags};
use pacs_core::uid::TransferSyntaxUid;
use pacs_core::worklist::WorklistKeys;
use pacs_net::service::{Peer, StorageScp, StoreRequest, StoreSink};
use pacs_net::sop_class::{
    MODALITY_WORKLIST_FIND, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE,
};
use pacs_net::status::StoreStatus;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// The doors.
pub(crate) const DOORS: [&str; 8] = [
    "C-FIND",
    "C-GET",
    "C-MOVE",
    "MWL",
    "QIDO-RS",
    "WADO-RS",
    "lists of the portal",
    "pages of the portal",
];

type Texts = BTreeSet<String>;

/// Somebody who asks, and whom the answers are judged for: the same, but in a test of the test.
pub(crate) struct Visit<'a> {
    pub(crate) site: &'a Site,
    pub(crate) land: &'a Land,
    pub(crate) asks: &'a Caller,
    pub(crate) judged: &'a Caller,
    /// Door and what was wrong there.
    pub(crate) faults: Vec<(&'static str, String)>,
}

fn occur(texts: impl Iterator<Item = String>, bytes: &[u8]) -> Texts {
    let occurs = |text: &String| bytes.windows(text.len()).any(|at| at == text.as_bytes());
    texts.filter(occurs).collect()
}

impl<'a> Visit<'a> {
    pub(crate) const fn new(
        (site, land): (&'a Site, &'a Land),
        (asks, judged): (&'a Caller, &'a Caller),
    ) -> Self {
        Self {
            site,
            land,
            asks,
            judged,
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, door: &'static str, what: String) {
        let who = format!("{:?}", self.judged.kind);
        self.faults.push((door, format!("{door}, {who}: {what}")));
    }

    /// Nothing that they may not see.
    fn holds_no_secret(&mut self, door: &'static str, path: &str, bytes: &[u8]) {
        let secrets = self.land.secrets(self.judged, path.contains("/unmatched"));
        for (what, text) in secrets {
            // What they asked by, they knew.
            let is_told = bytes.windows(text.len()).any(|at| at == text.as_bytes());
            if is_told && !path.contains(&text) {
                self.fault(door, format!("{path} tells {what}: {text}"));
            }
        }
    }

    fn same(&mut self, door: &'static str, path: &str, (found, may): (Texts, Texts)) {
        if found != may {
            self.fault(door, format!("{path} gives {found:?}, not {may:?}"));
        }
    }

    async fn get(&mut self, door: &'static str, path: &str) -> Reply {
        let reply = self.asks.shows.ask(self.site, "GET", path).await;
        self.holds_no_secret(door, path, &reply.body);
        reply
    }

    async fn status(&mut self, door: &'static str, path: &str, expected: u16) {
        let reply = self.get(door, path).await;
        if reply.status != expected {
            self.fault(door, format!("{path}: {}, not {expected}", reply.status));
        }
    }

    fn uids(&self, is_one: impl Fn(&Study) -> bool) -> Texts {
        let studies = self.land.studies.iter();
        let studies = studies.filter(|study| is_one(study));
        studies.map(|study| study.uid.clone()).collect()
    }

    fn ids(&self, is_one: impl Fn(usize) -> bool) -> Texts {
        let all = self.land.examinations.iter().enumerate();
        let all = all.filter(|(at, _)| is_one(*at));
        all.map(|(_, one)| one.id.to_string()).collect()
    }

    /// Studies that they see.
    fn seen(&self) -> Texts {
        self.uids(|study| self.land.sees_study(self.judged, study))
    }

    fn studies_in(&self, bytes: &[u8]) -> Texts {
        occur(self.uids(|_| true).into_iter(), bytes)
    }

    fn examinations_in(&self, bytes: &[u8]) -> Texts {
        occur(self.ids(|_| true).into_iter(), bytes)
    }

    /// Through all doors that are for such a caller.
    pub(crate) async fn everywhere(&mut self, dice: &mut Dice) {
        match self.judged.kind.clone() {
            Kind::Device(of) => {
                let calling = scanner(of);
                self.dimse((&calling, None), dice).await;
                self.worklist(&calling, (of, None)).await;
                for department in DEPARTMENTS.map(Some) {
                    let calling = scanner_in(of, department);
                    self.worklist(&calling, (of, department)).await;
                }
            }
            Kind::Program(_) => self.dicomweb(dice).await,
            Kind::User { .. } => {
                self.dicomweb(dice).await;
                self.portal(dice).await;
                // At an AE that may and sees everything itself.
                let identity = passcode(self.site, &self.asks.shows).await;
                self.dimse(("CENTRE", Some(&identity)), dice).await;
            }
        }
    }

    pub(crate) async fn dicomweb(&mut self, dice: &mut Dice) {
        const QIDO: &str = "QIDO-RS";
        let seen = self.seen();
        let (limit, mut offset, mut found) = (1 + dice.below(4), 0, Texts::new());
        loop {
            let path = format!("/dicomweb/studies?limit={limit}&offset={offset}");
            let reply = self.get(QIDO, &path).await;
            let part = self.studies_in(&reply.body);
            offset += limit;
            let is_last = part.len() < limit;
            found.extend(part);
            if is_last {
                break;
            }
        }
        self.same(QIDO, "all studies", (found, seen.clone()));
        for level in ["series", "instances"] {
            let path = format!("/dicomweb/{level}?limit=1000");
            let reply = self.get(QIDO, &path).await;
            let found = self.studies_in(&reply.body);
            self.same(QIDO, &path, (found, seen.clone()));
        }
        let land = self.land;
        for _ in 0..6 {
            let study = dice.pick(&land.studies);
            let one = dice.pick(&land.examinations);
            let number = &land.patients[one.patient].number;
            let own = Texts::from([study.uid.clone()]);
            let own: Texts = own.intersection(&seen).cloned().collect();
            let (path, may) = match dice.below(4) {
                0 => (format!("studies?StudyInstanceUID={}", study.uid), Some(own)),
                1 => (format!("studies/{}/instances", study.uid), Some(own)),
                2 => (format!("studies?AccessionNumber={}", one.id), None),
                _ => (format!("series?PatientID={number}"), None),
            };
            let path = format!("/dicomweb/{path}");
            let reply = self.get(QIDO, &path).await;
            if reply.status < 300
                && let Some(may) = may
            {
                let found = self.studies_in(&reply.body);
                self.same(QIDO, &path, (found, may));
            }
        }
        for study in &land.studies {
            let of_sight = if land.sees_study(self.judged, study) {
                200
            } else {
                404
            };
            let expected = if self.judged.looks() { of_sight } else { 403 };
            let base = format!("/dicomweb/studies/{}", study.uid);
            let instance = format!("{base}/series/{uid}.1/instances/{uid}.1.1", uid = study.uid);
            for path in [format!("{base}/metadata"), instance] {
                self.status("WADO-RS", &path, expected).await;
            }
        }
    }

    /// A list with all its parts; `None` where it is refused.
    async fn list(&mut self, path: &str, dice: &mut Dice) -> Option<Vec<u8>> {
        let path = format!("/api/v1{path}&limit={}", 1 + dice.below(5));
        let (mut all, mut next) = (Vec::new(), String::new());
        loop {
            let reply = self
                .get("lists of the portal", &format!("{path}{next}"))
                .await;
            if reply.status == 403 {
                return None;
            }
            assert_eq!(reply.status, 200, "{path}");
            all.extend_from_slice(&reply.body);
            match reply.json()["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => return Some(all),
            }
        }
    }

    async fn listed(&mut self, path: &str, (is_permitted, may): (bool, Texts), dice: &mut Dice) {
        const LISTS: &str = "lists of the portal";
        let said = self.list(path, dice).await;
        if said.is_some() != is_permitted {
            self.fault(LISTS, format!("{path} is permitted: {}", said.is_some()));
        }
        let is_of_studies = path.starts_with("/studies") || path.starts_with("/unmatched");
        let said = said.unwrap_or_default();
        let found = if is_of_studies {
            self.studies_in(&said)
        } else {
            self.examinations_in(&said)
        };
        if is_permitted {
            self.same(LISTS, path, (found, may));
        }
    }

    pub(crate) async fn portal(&mut self, dice: &mut Dice) {
        let (land, judged) = (self.land, self.judged);
        let looks = judged.looks();
        let Kind::User { roles, .. } = &judged.kind else {
            panic!("the portal is for people");
        };
        for of in &land.organisations {
            let has_role = roles.iter().any(|(_, at, ..)| at == of);
            let one = |at: usize| &land.examinations[at];
            let in_list = |at: usize| land.sees(judged, at, true);
            let scopes = [
                (
                    "performing",
                    self.ids(|at| in_list(at) && one(at).performing == *of),
                ),
                (
                    "ordering",
                    self.ids(|at| in_list(at) && one(at).ordering == *of),
                ),
                (
                    "queue",
                    self.ids(|at| {
                        let waits = one(at).stands == Stands::Received;
                        in_list(at) && waits && one(at).performing == *of
                    }),
                ),
            ];
            for (scope, may) in scopes {
                let path = format!("/examinations?organisation={of}&scope={scope}");
                self.listed(&path, (looks && has_role, may), dice).await;
            }
            let may =
                self.uids(|study| study.organisation == *of && land.knows_study(judged, study));
            let path = format!("/studies?organisation={of}");
            self.listed(&path, (true, may), dice).await;
            let may = self.uids(|study| {
                let is_theirs = study.organisation == *of && judged.reconciles_for(study.work());
                is_theirs && study.examination.is_none()
            });
            let path = format!("/unmatched?organisation={of}");
            self.listed(&path, (judged.reconciles(of), may), dice).await;
            let looks_at = [Role::Radiographer, Role::Radiologist];
            let may = self.ids(|at| {
                let is_theirs = judged.holds_for(&looks_at, one(at).work());
                is_theirs && one(at).waits_for_images() && one(at).performing == *of
            });
            let path = format!("/worklist?organisation={of}&from=2026-01-01&to=2199-12-31");
            let makes = judged.holds(&looks_at, of);
            self.listed(&path, (makes, may), dice).await;
        }
        self.pages(looks).await;
    }

    async fn pages(&mut self, looks: bool) {
        const PAGES: &str = "pages of the portal";
        let (land, judged) = (self.land, self.judged);
        let status = |is_there: bool, is_permitted: bool| match (is_permitted, is_there) {
            (false, _) => 403,
            (true, true) => 200,
            (true, false) => 404,
        };
        for (at, one) in land.examinations.iter().enumerate() {
            let expected = status(land.sees(judged, at, false), looks);
            let path = format!("/api/v1/examinations/{}", one.id);
            self.status(PAGES, &path, expected).await;
        }
        for study in &land.studies {
            let expected = status(land.knows_study(judged, study), true);
            let path = format!("/api/v1/studies/{}", study.uid);
            self.status(PAGES, &path, expected).await;
            let is_theirs = judged.reconciles_for(study.work());
            let expected = status(is_theirs, judged.reconciles_any());
            let path = format!("/api/v1/unmatched/{}", study.uid);
            self.status(PAGES, &path, expected).await;
        }
        for (number, patient) in land.patients.iter().enumerate() {
            let path = format!("/api/v1/patients/{}/examinations", patient.number);
            let reply = self.get(PAGES, &path).await;
            if !looks {
                continue;
            }
            let found = self.examinations_in(&reply.body);
            let may = self
                .ids(|at| land.examinations[at].patient == number && land.sees(judged, at, false));
            self.same(PAGES, &path, (found, may));
        }
    }

    pub(crate) async fn dimse(&mut self, at: At<'_>, dice: &mut Dice) {
        let (land, seen) = (self.land, self.seen());
        let mut association = associate(self.site, at).await;
        if association.context(STUDY_ROOT_FIND).is_err() {
            // Whoever may not look at images at all is told so.
            self.same("C-FIND", "all studies", (Texts::new(), seen));
            return;
        }
        let all = answers(&mut association, STUDY_ROOT_FIND, keys("")).await;
        let all = all.unwrap().concat();
        self.holds_no_secret("C-FIND", "all studies", &all);
        let found = self.studies_in(&all);
        self.same("C-FIND", "all studies", (found, seen.clone()));
        for _ in 0..4 {
            let study = dice.pick(&land.studies);
            let may = if seen.contains(&study.uid) {
                study.instances_count
            } else {
                0
            };
            let one = answers(&mut association, STUDY_ROOT_FIND, keys(&study.uid)).await;
            let one = one.unwrap();
            self.holds_no_secret("C-FIND", &study.uid, &one.concat());
            if one.len() != may.min(1) {
                self.fault("C-FIND", format!("{}: {} answers", study.uid, one.len()));
            }
            let storage = Kept::default();
            let kept = Arc::clone(&storage.0);
            let get = association.get(STUDY_ROOT_GET, of(&study.uid), Arc::new(storage));
            get.await.unwrap().finish().await.unwrap();
            let got = kept.lock().unwrap().concat();
            let count = kept.lock().unwrap().len();
            self.holds_no_secret("C-GET", &study.uid, &got);
            if count != may {
                self.fault("C-GET", format!("{}: {count}, not {may}", study.uid));
            }
            let to = title("SINK");
            let moving = association.move_to(STUDY_ROOT_MOVE, of(&study.uid), &to);
            let ended = moving.await.unwrap().finish().await.unwrap();
            let count = usize::from(ended.progress.completed.unwrap_or_default());
            if count != may {
                self.fault("C-MOVE", format!("{}: {count}, not {may}", study.uid));
            }
        }
        association.release().await.unwrap();
    }

    pub(crate) async fn worklist(&mut self, calling: &str, (of, department): (&str, Option<&str>)) {
        let land = self.land;
        let mut association = associate(self.site, (calling, None)).await;
        let keys = WorklistKeys::all().to_identifier(&syntax()).unwrap();
        let found = answers(&mut association, MODALITY_WORKLIST_FIND, keys.into()).await;
        let found = found.unwrap().concat();
        association.release().await.unwrap();
        self.holds_no_secret("MWL", "all steps", &found);
        let found = self.examinations_in(&found);
        let may = self.ids(|at| {
            let one = &land.examinations[at];
            one.waits_for_images() && one.performing == of && one.is_for(department)
        });
        self.same("MWL", "all steps", (found, may));
    }
}

fn syntax() -> TransferSyntaxUid {
    TransferSyntaxUid::parse(EXPLICIT).unwrap()
}

/// Names a study.
fn of(study: &str) -> Bytes {
    crate::devices::of_study(study)
}

/// Asks for a study, or for all of them, and whose they are.
fn keys(study: &str) -> Bytes {
    let mut keys = Attributes::new();
    keys.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, "STUDY");
    keys.insert_text(tags::ACCESSION_NUMBER, Vr::SH, "");
    keys.insert_text(tags::PATIENT_NAME, Vr::PN, "");
    keys.insert_text(tags::PATIENT_ID, Vr::LO, "");
    keys.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, study);
    write_data_set(&keys, &syntax()).unwrap().into()
}

/// Keeps what is sent to it, instance by instance.
#[derive(Debug, Default)]
struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

struct One {
    all: Arc<Mutex<Vec<Vec<u8>>>>,
    bytes: Vec<u8>,
}

#[async_trait]
impl StorageScp for Kept {
    async fn begin(
        &self,
        _peer: &Peer,
        _request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        Ok(Box::new(One {
            all: Arc::clone(&self.0),
            bytes: Vec::new(),
        }))
    }
}

#[async_trait]
impl StoreSink for One {
    async fn write(&mut self, fragment: Bytes) -> Result<(), StoreStatus> {
        self.bytes.extend_from_slice(&fragment);
        Ok(())
    }

    async fn end(self: Box<Self>) -> StoreStatus {
        let Self { all, bytes } = *self;
        all.lock().unwrap().push(bytes);
        StoreStatus::SUCCESS
    }
}
