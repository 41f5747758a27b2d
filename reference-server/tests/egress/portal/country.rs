//! Two organisations with what the rows of the table act on, made one by one.

use super::{FOREIGN, OWN};
use crate::people::{agent, code, device, let_in, particulars};
use crate::policy::{Shows, grant};
use crate::site::{Reply, Sent, Site, now};
use chrono::{Days, Utc};
use pacs_core::ExaminationId;
use pacs_core::account::UserName;
use pacs_core::account::break_glass::BreakGlassReason;
use pacs_core::account::totp::TotpSecret;
use pacs_core::audit::Actor;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::{Event, Numbering, Reason, assignment};
use pacs_core::patient::{PatientKey, PatientNumber};
use pacs_core::rejection::{Asked, Rejected, Title};
use pacs_core::role::{Agent, Grant, Grants, Reach, Role};
use pacs_core::uid::{SeriesUid, SopInstanceUid, StudyUid};
use pacs_store::registry::accounts::{
    Emergency, ExternalIdentity, ExternalOf, SecondFactor, Throttled, User, put,
};
use pacs_store::registry::consents::{Ground, NewConsent};
use pacs_store::registry::examinations::{Examination, Reader, StudyMatch};
use pacs_store::registry::patients::{Alike, Patient};
use pacs_store::registry::rejections::{NoteState, ReceivedNote};
use pacs_store::registry::{Moment, Revision, Stored};
use reference_server::accounts::manage::NewUser;
use reference_server::accounts::{AccountRules, Accounts, HashCost};
use reference_server::clock::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// A provider of identities that nobody reaches.
pub(crate) const ISSUER: &str = "http://127.0.0.1:1/realms/health";

/// Passwords cost little, and neither the workstations of both organisations nor the provider by
/// which people sign in can be reached.
const CONFIG: &str = r#"
[accounts]
password_memory_mib = 19
password_passes = 2

[accounts.oidc]
issuer = "http://127.0.0.1:1/realms/health"
client_id = "pacs"
redirect_url = "http://localhost/api/v1/session/oidc/callback"

[[dicom.ae]]
title = "NATHOS_WS"
address = "127.0.0.1:1"

[[dicom.ae]]
title = "KRKL_WS"
address = "127.0.0.1:1"
"#;

/// Says nothing of anybody's health.
pub(crate) const WHY: &str = "a reason that somebody can judge";

/// It, and whoever makes things happen in it.
pub(crate) struct Country {
    pub(crate) site: Site,
    /// Looks after the archive everywhere.
    keeper: Shows,
    accounts: Accounts,
    count: AtomicU32,
    /// Studies that came, to be taken one by one: to match a hundred takes as long as one.
    ready: Mutex<BTreeMap<(&'static str, bool), Vec<Made>>>,
}

/// Studies of each organisation that come together.
const BATCH: usize = 12;

/// An examination, its study and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) id: ExaminationId,
    pub(crate) study: String,
    pub(crate) patient: PatientKey,
}

/// The number of a patient as it is typed.
pub(crate) fn number(patient: PatientKey) -> String {
    match patient {
        PatientKey::Known(number) => number.to_string(),
        PatientKey::Unidentified(number) => number.to_string(),
    }
}

/// What titles of an organisation begin with.
pub(crate) fn prefix(of: &str) -> &'static str {
    if of == OWN { "NATHOS" } else { "KRKL" }
}

/// Until when a patient agrees.
pub(crate) fn consented_until() -> Moment {
    now().checked_add_days(Days::new(30)).unwrap()
}

/// The number of a patient who never was.
pub(crate) fn no_patient() -> String {
    PatientNumber::from_serial(987_654_321).unwrap().to_string()
}

/// The ID of an examination that never was: of an organisation that is not there.
pub(crate) fn no_examination() -> String {
    let today = now().date_naive();
    let mut numbering = Numbering::new(code("011"), today);
    numbering.take(today).unwrap().to_string()
}

/// The UID of a study that never was.
pub(crate) const NO_STUDY: &str = "2.25.987654321";

/// The ID of a rejection, an erasure or a sending that never was.
pub(crate) const NO_ACT: &str = "0123456789abcdef0123456789ab";

fn reason() -> Reason {
    Reason::parse(WHY).unwrap()
}

fn system() -> Agent {
    Agent::system("test")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Country {
    pub(crate) async fn open() -> Self {
        let site = Site::open(CONFIG).await;
        let keeper = vec![Grant::new(Role::ArchiveAdmin, Reach::National)];
        let keeper = Shows::Session(site.sign_in("keeper", keeper, false).await);
        let rules = AccountRules {
            cost: HashCost {
                memory_kib: 64,
                passes: 1,
            },
            ..AccountRules::default()
        };
        let trail = site.registry.audit_trail();
        let accounts = Accounts::new(trail, rules, World::real()).unwrap();
        Self {
            site,
            keeper,
            accounts,
            count: AtomicU32::new(1),
            ready: Mutex::default(),
        }
    }

    pub(crate) fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// A family name that nobody else has, nor one that sounds like it.
    pub(crate) fn family(&self) -> String {
        const SYLLABLES: [&str; 10] = ["ба", "го", "ду", "зе", "ми", "ны", "ра", "со", "ту", "фе"];
        let digits = format!("{:04}", self.next());
        let digits = digits.bytes().map(|digit| usize::from(digit - b'0'));
        let name: String = digits.map(|digit| SYLLABLES[digit]).collect();
        format!("Аб{name}")
    }

    /// A patient, who is the nation's.
    pub(crate) async fn patient(&self) -> Stored<Patient> {
        let licence = system().national_licence().unwrap();
        let new = particulars(&self.family());
        let alike = Alike::IsAnother;
        let registered = self
            .site
            .registry
            .register_patient(&licence, new, alike, now());
        registered.await.unwrap().patient().clone()
    }

    /// What a patient agreed to; its ID.
    pub(crate) async fn consent(&self, patient: PatientKey) -> String {
        let licence = system().national_licence().unwrap();
        let new = NewConsent {
            to: code("001"),
            until: consented_until(),
            ground: Ground::Agreement,
            reference: "4711".to_owned(),
        };
        let registry = &self.site.registry;
        let given = registry.record_consent(&licence, patient, &new, now());
        given.await.unwrap().value.id.to_string()
    }

    /// A patient who went into another.
    pub(crate) async fn merged(&self) -> PatientKey {
        let (into, gone) = (self.patient().await, self.patient().await);
        let licence = system().national_licence().unwrap();
        let (into, gone) = (
            (into.value.key, into.revision),
            (gone.value.key, gone.revision),
        );
        let registry = &self.site.registry;
        let merged = registry.merge_patients(&licence, into, gone, reason(), now());
        merged.await.unwrap();
        gone.0
    }

    /// An order that waits for images, of a patient with no other.
    pub(crate) async fn scheduled(&self, of: &str) -> Made {
        let patient = self.patient().await.value.key;
        let id = self.site.order(patient, ("orderer", of), of).await;
        Made {
            id,
            study: format!("2.25.7{:06}", self.next()),
            patient,
        }
    }

    pub(crate) async fn examination(&self, id: ExaminationId) -> Stored<Examination> {
        let system = system();
        let reader = Reader::new(&system);
        self.site
            .registry
            .examination(&reader, id, now())
            .await
            .unwrap()
    }

    /// Sends an instance of a study from the scanner of an organisation.
    async fn send(&self, of: &str, study: &str, (number, accession): (u32, &str)) {
        let sender = format!("{}_CT1", prefix(of));
        let sent = Sent {
            modality: "CT",
            sender: &sender,
            study,
            number,
            accession,
            patient: ("", ""),
        };
        self.site.send(&sent).await;
    }

    /// One whose images come.
    pub(crate) async fn in_progress(&self, of: &str) -> Made {
        self.take(of, true).await
    }

    /// A study that came: of an examination, or one that says nothing of whose it is.
    async fn take(&self, of: &str, is_bound: bool) -> Made {
        loop {
            let ready = self
                .ready
                .lock()
                .unwrap()
                .iter_mut()
                .find_map(|(key, all)| {
                    let is_wanted = *key == (of, is_bound);
                    all.pop_if(|_| is_wanted)
                });
            match ready {
                Some(made) => return made,
                None => self.come(is_bound).await,
            }
        }
    }

    /// Has studies come.
    async fn come(&self, is_bound: bool) {
        let mut came = Vec::new();
        for _ in 0..BATCH {
            for of in [OWN, FOREIGN] {
                let made = self.scheduled(of).await;
                let id = made.id.to_string();
                let accession = if is_bound { id.as_str() } else { "" };
                self.send(of, &made.study, (1, accession)).await;
                came.push((of, made));
            }
        }
        for (of, made) in came {
            assert_eq!(self.site.matched(&made.study).await, is_bound);
            let mut ready = self.ready.lock().unwrap();
            ready.entry((of, is_bound)).or_default().push(made);
        }
    }

    /// One with images of two series.
    pub(crate) async fn of_two_series(&self, of: &str) -> Made {
        let made = self.scheduled(of).await;
        let id = made.id.to_string();
        self.send(of, &made.study, (1, &id)).await;
        self.send(of, &made.study, (100, &id)).await;
        assert!(self.site.matched(&made.study).await);
        made
    }

    /// One that waits to be read.
    pub(crate) async fn received(&self, of: &str) -> Made {
        let made = self.in_progress(of).await;
        let event = Event::Complete {
            by: Completion::Declared,
            images_kept: 1,
        };
        self.site.act(&system(), made.id, event).await;
        self.site.settle().await;
        made
    }

    /// One that waits for somebody to read it.
    pub(crate) async fn assigned(&self, of: &str, to: &str) -> Made {
        let made = self.received(of).await;
        let reads = Grants::new(grant(Role::Expert, of)).unwrap();
        let to = assignment::Person {
            name: to,
            grants: &reads,
        };
        let (registry, system) = (&self.site.registry, system());
        let assigned = registry.assign_examination(&system, (made.id, Some(to)), None, now());
        assigned.await.unwrap();
        made
    }

    /// One that somebody has in work.
    pub(crate) async fn held(&self, of: &str, by: &str) -> Made {
        let made = self.received(of).await;
        let event = Event::Claim {
            is_locked: false,
            may_read: true,
            images_online: 1,
        };
        self.site
            .act(&agent(by, Role::Radiologist, of), made.id, event)
            .await;
        made
    }

    /// One that was broken off.
    pub(crate) async fn discontinued(&self, of: &str) -> Made {
        let made = self.in_progress(of).await;
        let reason = reason();
        self.site
            .act(&system(), made.id, Event::Discontinue { reason })
            .await;
        made
    }

    /// One that waited too long for images.
    pub(crate) async fn expired(&self, of: &str) -> Made {
        let made = self.scheduled(of).await;
        self.site
            .act(&system(), made.id, Event::Expire { days: 31 })
            .await;
        made
    }

    /// One to which images came late.
    pub(crate) async fn late(&self, of: &str) -> Made {
        let made = self.received(of).await;
        self.site.act(&system(), made.id, Event::ImagesArrive).await;
        made
    }

    /// A study that says nothing of whose it is.
    pub(crate) async fn queued(&self, of: &str) -> String {
        self.take(of, false).await.study
    }

    pub(crate) async fn matched(&self, study: &str) -> Stored<StudyMatch> {
        let licence = system().national_licence().unwrap();
        let uid = StudyUid::parse(study).unwrap();
        self.site
            .registry
            .study_match(&licence, &uid)
            .await
            .unwrap()
    }

    /// Has the keeper do something; what was answered.
    pub(crate) async fn say(
        &self,
        method: &str,
        path: &str,
        revision: Option<Revision>,
        body: &Value,
    ) -> Value {
        let path = format!("/api/v1{path}");
        let mut fields = vec![("Idempotency-Key", format!("keeper-{:08}", self.next()))];
        fields.extend(revision.map(|of| ("If-Match", format!("\"{:x}\"", of.0))));
        let asking = self
            .keeper
            .send(&self.site, (method, path.as_str()), &fields, body);
        let reply: Reply = asking.await;
        assert!(
            reply.status < 300,
            "{method} {path}: {}",
            String::from_utf8_lossy(&reply.body)
        );
        reply.json()
    }

    /// A study that is out of sight, and the rejection that hides it.
    pub(crate) async fn rejected(&self, of: &str) -> (String, String) {
        let study = self.in_progress(of).await.study;
        let path = format!("/studies/{study}/rejections");
        let body = json!({"title": "quality", "reason": WHY});
        let rejection = self.say("POST", &path, None, &body).await;
        (study, text(&rejection["id"]))
    }

    /// A study of an organisation that is to be erased.
    pub(crate) async fn erasure(&self, of: &str) -> String {
        let (study, _) = self.rejected(of).await;
        let path = format!("/studies/{study}/erasure");
        let body = json!({ "reason": WHY });
        text(&self.say("POST", &path, None, &body).await["id"])
    }

    /// A study of an organisation that is held.
    pub(crate) async fn on_hold(&self, of: &str) -> String {
        let study = self.in_progress(of).await.study;
        let path = format!("/studies/{study}/hold");
        let body = json!({ "reason": WHY });
        self.say("POST", &path, None, &body).await;
        study
    }

    /// A study that is sent to a workstation, which is not there.
    pub(crate) async fn sending(&self, of: &str) -> String {
        let study = self.in_progress(of).await.study;
        let path = format!("/studies/{study}/sendings");
        let body = json!({"destination": format!("{}_WS", prefix(of))});
        text(&self.say("POST", &path, None, &body).await["id"])
    }

    /// A note in which a device of an organisation proposes to reject an image.
    pub(crate) async fn note(&self, of: &str) -> String {
        let study = self.in_progress(of).await.study;
        let instance = format!("{study}.9");
        let uid = |text: &str| SopInstanceUid::parse(text).unwrap();
        let note = ReceivedNote {
            instance: uid(&instance),
            study: StudyUid::parse(&study).unwrap(),
            sender: format!("{}_CT1", prefix(of)),
            organisation: Some(code(of)),
            received_at: now(),
            asked: Asked::Reject(Title::Quality),
            quality: None,
            rejected: vec![Rejected {
                study: StudyUid::parse(&study).unwrap(),
                series: SeriesUid::parse(&format!("{study}.1")).unwrap(),
                instances: vec![uid(&format!("{study}.1.1"))],
            }],
            left_out_count: 0,
            state: NoteState::Waiting,
        };
        assert!(self.site.registry.keep_note(&note).await.unwrap());
        instance
    }

    /// A device of an organisation, and its state.
    pub(crate) async fn device(&self, of: &str) -> (String, Revision) {
        let name = format!("{}_D{}", prefix(of), self.next());
        let licence = system().national_licence().unwrap();
        let new = device(&name, of);
        let saved = self.site.registry.save_device(&licence, &new, None, now());
        (name, saved.await.unwrap())
    }

    /// An account of an organisation, and its state.
    pub(crate) async fn user(&self, of: &str) -> (String, Revision) {
        let name = format!("user{of}.{}", self.next());
        let grants = grant(Role::Radiologist, of);
        self.site.sign_in(&name, grants, true).await;
        let kept = self.site.accounts().get::<User>(&name).await.unwrap();
        (name, kept.unwrap().revision)
    }

    /// The same of somebody whom a provider of identities knows by that name.
    pub(crate) async fn linked(&self, of: &str) -> (String, Revision) {
        let (name, _) = self.user(of).await;
        let accounts = self.site.accounts();
        let kept = accounts.get::<User>(&name).await.unwrap().unwrap();
        let mut next = kept.value.clone();
        next.external.push(ExternalIdentity {
            issuer: ISSUER.to_owned(),
            subject: name.clone(),
            linked_at: Utc::now(),
        });
        let key = ExternalIdentity::key(ISSUER, &name);
        let of = ExternalOf {
            user: next.name.clone(),
        };
        let changes = vec![put(&key, &of, None), kept.changed_to(&next)];
        accounts.commit(changes, &[]).await.unwrap();
        let kept = accounts.get::<User>(&name).await.unwrap();
        (name, kept.unwrap().revision)
    }

    /// A patient whom a doctor of an organisation opened.
    pub(crate) async fn emergency(&self, of: &str) -> String {
        let (user, _) = self.user(of).await;
        let opened_at = Utc::now();
        let emergency = Emergency {
            user: UserName::parse(&user).unwrap(),
            patient: self.patient().await.value.key,
            reason: BreakGlassReason::Unconscious,
            explanation: WHY.to_owned(),
            opened_at,
            closed_at: None,
            review: None,
        };
        let key = format!("{user}~{:020}~00", opened_at.timestamp_millis());
        let changes = vec![put(&key, &emergency, None)];
        let store = self.site.accounts();
        store.commit(changes, &[let_in()]).await.unwrap();
        key
    }

    /// Somebody new, who is signed in and knows their password.
    pub(crate) async fn fresh(&self, role: Option<Role>) -> Person {
        let name = UserName::parse(&format!("fresh{}", self.next())).unwrap();
        let grants = role.map(|role| grant(role, OWN)).unwrap_or_default();
        let new = NewUser {
            name: name.clone(),
            display_name: name.as_str().to_owned(),
            is_doctor: role.is_some_and(super::is_doctor),
            grants: Grants::new(grants).unwrap(),
        };
        let made = self.accounts.add_ready(new, Actor::system("test")).await;
        let store = self.site.accounts();
        let kept = store.get::<User>(name.as_str()).await.unwrap().unwrap();
        let secret = self.site.session_of(&kept.value).await;
        Person {
            name,
            password: made.unwrap().0,
            shows: Shows::Session(secret),
        }
    }

    /// Gives somebody a telephone that shows codes; the code of now.
    pub(crate) async fn factor(&self, of: &Person, is_confirmed: bool) -> String {
        let secret = TotpSecret::new([7; 20]);
        let store = self.site.accounts();
        let kept = store.get::<User>(of.name.as_str()).await.unwrap().unwrap();
        let user = User {
            second_factor: Some(SecondFactor {
                secret,
                is_confirmed,
                last_step: None,
            }),
            ..kept.value.clone()
        };
        let change = kept.changed_to(&user);
        store.commit(vec![change], &[let_in()]).await.unwrap();
        secret.shown_at(u64::try_from(Utc::now().timestamp()).unwrap())
    }

    /// Forgets that anybody was wrong.
    pub(crate) async fn forgive(&self) {
        let store = self.site.accounts();
        let wrong = store.list::<Throttled>("", None, 100).await.unwrap();
        let changes = wrong.iter().map(|kept| kept.deleted()).collect();
        store.commit(changes, &[let_in()]).await.unwrap();
    }
}

/// Somebody with a password.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) name: UserName,
    pub(crate) password: String,
    pub(crate) shows: Shows,
}
