//! Organisations, people, devices and patients as the dice have them, and who may see what of it:
//! the rules written down once more, over plain data, without a look at how the server keeps them.

use super::callers::{Caller, DEPARTMENTS, Held, Kind, MAKES, MODALITIES, ORDERS, TREATS, Work};
use super::dice::Dice;
use crate::people::{agent, code, device, let_in};
use crate::policy::{Shows, token};
use crate::site::{Sent, Site, now};
use chrono::{Days, Utc};
use pacs_core::account::UserName;
use pacs_core::account::break_glass::BreakGlassReason;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::{Event, Reason};
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, Departments, Grant, Kinds, Reach, Role};
use pacs_core::{DepartmentCode, ExaminationId};
use pacs_store::registry::accounts::{Emergency, put};
use pacs_store::registry::consents::{Ground, NewConsent};
use pacs_store::registry::patients::{Alike, Particulars, PersonName};

/// Organisations, and what titles of their devices begin with.
pub(crate) const ORGANISATIONS: [(&str, &str); 4] = [
    ("001", "KRKL"),
    ("006", "NATHOS"),
    ("009", "OSHOB"),
    ("010", "TALAS"),
];

/// Names that several patients have.
const FAMILIES: [&str; 3] = ["Асанов", "Жээнбеков", "Өмүрбеков"];

const PATIENTS: usize = 7;
const EXAMINATIONS: usize = 14;
const UNBOUND: usize = 4;
const USERS: usize = 8;
const CONSENTS: usize = 4;

/// A patient. The given name is theirs alone, in both scripts.
#[derive(Debug)]
pub(crate) struct Patient {
    pub(crate) key: PatientKey,
    pub(crate) number: String,
    pub(crate) given: String,
    pub(crate) latin: String,
}

/// Where an examination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    Cancelled,
    Scheduled,
    /// Its images come.
    InProgress,
    /// It waits for readers, or one of them has it.
    Received,
}

#[derive(Debug)]
pub(crate) struct Examination {
    pub(crate) id: ExaminationId,
    pub(crate) patient: usize,
    pub(crate) ordering: &'static str,
    pub(crate) performing: &'static str,
    requester: String,
    pub(crate) modality: &'static str,
    /// Where it is made, and where it was ordered.
    departments: [Option<&'static str>; 2],
    pub(crate) stands: Stands,
}

impl Examination {
    /// Who makes it, and what.
    pub(crate) const fn work(&self) -> Work<'static> {
        (self.performing, self.modality, self.departments[0])
    }

    /// Who ordered it, and what.
    const fn ordered(&self) -> Work<'static> {
        (self.ordering, self.modality, self.departments[1])
    }

    /// Whether devices are told of it that are in a department, or in none.
    pub(crate) fn is_for(&self, department: Option<&str>) -> bool {
        department.is_none() || self.departments[0].is_none() || self.departments[0] == department
    }

    /// Whether devices are told of it: until all its images are there.
    pub(crate) const fn waits_for_images(&self) -> bool {
        matches!(self.stands, Stands::InProgress | Stands::Scheduled)
    }
}

#[derive(Debug)]
pub(crate) struct Study {
    pub(crate) uid: String,
    /// Of the device that sent it.
    pub(crate) organisation: &'static str,
    pub(crate) examination: Option<usize>,
    pub(crate) modality: &'static str,
    /// Where it was made.
    department: Option<&'static str>,
    /// What the device typed, where that is of another organisation.
    typed: Option<usize>,
    pub(crate) instances_count: usize,
}

impl Study {
    /// Who made it, and what.
    pub(crate) const fn work(&self) -> Work<'static> {
        (self.organisation, self.modality, self.department)
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Land {
    pub(crate) organisations: Vec<&'static str>,
    pub(crate) patients: Vec<Patient>,
    /// In the order in which they were made.
    pub(crate) examinations: Vec<Examination>,
    pub(crate) studies: Vec<Study>,
    /// Patients who agreed that those who treat at an organisation see what is there of them.
    agreed: Vec<(usize, &'static str)>,
    pub(crate) callers: Vec<Caller>,
}

fn prefix(of: &str) -> &'static str {
    let mut all = ORGANISATIONS.iter();
    all.find(|(code, _)| *code == of).unwrap().1
}

/// The title of the scanner of an organisation that is in no department.
pub(crate) fn scanner(of: &str) -> String {
    scanner_in(of, None)
}

/// The title of the one that is in a department.
pub(crate) fn scanner_in(of: &str, department: Option<&str>) -> String {
    format!("{}_{}1", prefix(of), department.unwrap_or("CT"))
}

/// A department, or none.
fn department(dice: &mut Dice) -> Option<&'static str> {
    dice.chance(65).then(|| *dice.pick(&DEPARTMENTS))
}

/// A given name of a number, as it is written and as devices show it.
fn given(number: usize) -> (String, String) {
    const SYLLABLES: [(&str, &str); 8] = [
        ("ба", "BA"),
        ("го", "GO"),
        ("ду", "DU"),
        ("ми", "MI"),
        ("ра", "RA"),
        ("со", "SO"),
        ("ту", "TU"),
        ("на", "NA"),
    ];
    let digits = [number / 8 % 8, number % 8, number / 8 % 8, (number + 3) % 8];
    let syllables = digits.map(|digit| SYLLABLES[digit]);
    let of = |text: fn(&(&'static str, &'static str)) -> &'static str| -> String {
        syllables.iter().map(text).collect()
    };
    let own = of(|one| one.0);
    let mut letters = own.chars();
    let first = letters.next().unwrap().to_uppercase();
    (first.chain(letters).collect(), of(|one| one.1))
}

impl Land {
    /// Makes it in a site that has the organisations.
    pub(crate) async fn make(
        site: &Site,
        organisations: Vec<&'static str>,
        dice: &mut Dice,
    ) -> Self {
        let mut land = Self {
            organisations,
            ..Self::default()
        };
        for of in land.organisations.clone() {
            furnish(site, of).await;
        }
        site.settle().await;
        for number in 0..PATIENTS {
            land.patient(site, number, dice).await;
        }
        let names: Vec<String> = (0..USERS).map(|number| format!("user{number}")).collect();
        for _ in 0..EXAMINATIONS {
            land.examination(site, &names, dice).await;
        }
        for _ in 0..UNBOUND {
            land.unbound(site, dice).await;
        }
        land.settled(site, dice).await;
        for _ in 0..CONSENTS {
            land.consent(site, dice).await;
        }
        for name in names {
            land.user(site, name, dice).await;
        }
        for of in land.organisations.clone() {
            land.callers.push(Caller {
                kind: Kind::Device(of),
                shows: Shows::Nothing,
            });
            let name = format!("program{of}");
            let secret = token(site, &name, &["--organisation", of]);
            land.callers.push(Caller {
                kind: Kind::Program(of),
                shows: Shows::Token(secret),
            });
        }
        site.settle().await;
        land
    }

    async fn patient(&mut self, site: &Site, number: usize, dice: &mut Dice) {
        let (given, latin) = given(number);
        let new = Particulars {
            name: PersonName {
                family: (*dice.pick(&FAMILIES)).to_owned(),
                given: given.clone(),
                patronymic: String::new(),
            },
            birth_date: "1990-01-31".parse().ok(),
            ..Particulars::default()
        };
        let licence = Agent::system("test").national_licence().unwrap();
        let registered = site
            .registry
            .register_patient(&licence, new, Alike::IsAnother, now());
        let key = registered.await.unwrap().patient().value.key;
        let number = match key {
            PatientKey::Known(number) => number.to_string(),
            PatientKey::Unidentified(number) => number.to_string(),
        };
        self.patients.push(Patient {
            key,
            number,
            given,
            latin,
        });
    }

    async fn examination(&mut self, site: &Site, names: &[String], dice: &mut Dice) {
        let performing = *dice.pick(&self.organisations);
        let is_elsewhere = dice.chance(30);
        let ordering = if is_elsewhere {
            *dice.pick(&self.organisations)
        } else {
            performing
        };
        let patient = dice.below(self.patients.len());
        let requester = dice.pick(names).clone();
        let key = self.patients[patient].key;
        let (modality, kind) = *dice.pick(&MODALITIES);
        let by = (requester.as_str(), ordering);
        let departments = [department(dice), department(dice)];
        let how = (kind, departments);
        let id = site.order_kind(key, by, performing, how).await;
        let stands = *dice.pick(&[
            Stands::Cancelled,
            Stands::Scheduled,
            Stands::Scheduled,
            Stands::InProgress,
            Stands::Received,
            Stands::Received,
        ]);
        self.examinations.push(Examination {
            id,
            patient,
            ordering,
            performing,
            requester,
            modality,
            departments,
            stands,
        });
        let own = self.examinations.len() - 1;
        if stands == Stands::Cancelled {
            let event = Event::Cancel {
                images: 0,
                reason: Reason::parse("not wanted").unwrap(),
            };
            let operator = agent("operator", Role::Operator, performing);
            site.act(&operator, id, event).await;
        }
        if matches!(stands, Stands::InProgress | Stands::Received) {
            // Whichever device sends it: the order says where it is made.
            let made = (performing, modality, department(dice));
            self.send(site, made, &id.to_string(), dice).await;
            let study = self.studies.last_mut().unwrap();
            (study.examination, study.department) = (Some(own), departments[0]);
        }
    }

    /// Waits until it is known whose the studies are, and goes on with their examinations.
    async fn settled(&self, site: &Site, dice: &mut Dice) {
        for study in &self.studies {
            let is_bound = site.matched(&study.uid).await;
            assert_eq!(
                is_bound,
                study.examination.is_some(),
                "nobody else's ID binds"
            );
        }
        let all = self.examinations.iter();
        for one in all.filter(|one| one.stands == Stands::Received) {
            let event = Event::Complete {
                by: Completion::Declared,
                images_kept: 1,
            };
            site.act(&Agent::system("test"), one.id, event).await;
            if dice.chance(30) {
                let event = Event::Claim {
                    is_locked: false,
                    may_read: true,
                    images_online: 1,
                };
                let reader = agent("reader", Role::Radiologist, one.performing);
                site.act(&reader, one.id, event).await;
            }
        }
    }

    /// A study that waits: with nothing typed, or with the ID of somebody of another organisation.
    async fn unbound(&mut self, site: &Site, dice: &mut Dice) {
        let of = *dice.pick(&self.organisations);
        let typed = dice.below(self.examinations.len());
        let is_foreign = self.examinations[typed].performing != of;
        let typed = Some(typed).filter(|_| is_foreign && dice.chance(60));
        let accession = typed.map(|at| self.examinations[at].id.to_string());
        let accession = accession.unwrap_or_default();
        let (modality, _) = *dice.pick(&MODALITIES);
        let made = (of, modality, department(dice));
        self.send(site, made, &accession, dice).await;
        self.studies.last_mut().unwrap().typed = typed;
    }

    async fn send(
        &mut self,
        site: &Site,
        (of, modality, department): (&'static str, &'static str, Option<&'static str>),
        accession: &str,
        dice: &mut Dice,
    ) {
        // All are as long: none is the beginning of another.
        // Below the arc for examples: those that the server makes (2.25) have random digits, with
        // which another could begin.
        let uid = format!("2.999.4{:04}", 1_000 + self.studies.len());
        let instances_count = 1 + dice.below(3);
        let sender = scanner_in(of, department);
        for number in 1..=instances_count {
            let sent = Sent {
                modality,
                sender: &sender,
                study: &uid,
                number: u32::try_from(number).unwrap(),
                accession,
                patient: ("", ""),
            };
            site.send(&sent).await;
        }
        self.studies.push(Study {
            uid,
            organisation: of,
            examination: None,
            modality,
            department,
            typed: None,
            instances_count,
        });
    }

    /// A role somewhere; a third of those that may be are for one modality alone, and a third for
    /// one department.
    fn held(&self, role: Role, dice: &mut Dice) -> Held {
        let limit = (role.takes_limits() && dice.chance(35)).then(|| dice.pick(&MODALITIES).0);
        let within = (role.takes_limits() && dice.chance(35)).then(|| *dice.pick(&DEPARTMENTS));
        (role, *dice.pick(&self.organisations), limit, within)
    }

    async fn user(&mut self, site: &Site, name: String, dice: &mut Dice) {
        let role = *dice.pick(&[
            Role::ArchiveAdmin,
            Role::Expert,
            Role::Operator,
            Role::OrgAdmin,
            Role::Radiographer,
            Role::Radiologist,
            Role::Radiologist,
            Role::Referrer,
        ]);
        let mut roles = vec![self.held(role, dice)];
        if dice.chance(30) {
            let second = [Role::Operator, Role::OrgAdmin, Role::Referrer];
            let second = *dice.pick(&second);
            roles.push(self.held(second, dice));
        }
        let grants = roles.iter().map(|(role, of, limit, within)| {
            let words = limit.map(str::to_lowercase);
            let kinds = Kinds::of_words(words.as_deref()).unwrap();
            let grant = Grant::new(*role, Reach::Organisation(code(of))).limited_to(kinds);
            grant.within(Departments::of_words(*within).unwrap())
        });
        let is_doctor = dice.chance(70);
        let secret = site.sign_in(&name, grants.collect(), is_doctor).await;
        let opens = [Role::Expert, Role::Radiologist, Role::Referrer];
        let may_open = is_doctor && roles.iter().any(|(role, ..)| opens.contains(role));
        let patient = dice.below(self.patients.len());
        let glass = Some(patient).filter(|_| dice.chance(50));
        if let Some(patient) = glass {
            // Also for whoever may not: it opens nothing then.
            open(site, &name, self.patients[patient].key).await;
        }
        let glass = glass.filter(|_| may_open);
        self.callers.push(Caller {
            kind: Kind::User { name, roles, glass },
            shows: Shows::Session(secret),
        });
    }

    /// A patient agrees; some no longer.
    async fn consent(&mut self, site: &Site, dice: &mut Dice) {
        let licence = Agent::system("test").national_licence().unwrap();
        let (patient, to) = (dice.below(PATIENTS), *dice.pick(&self.organisations));
        let key = self.patients[patient].key;
        let new = NewConsent {
            to: code(to),
            until: now().checked_add_days(Days::new(1)).unwrap(),
            ground: Ground::Agreement,
            reference: "4711".to_owned(),
        };
        let given = site.registry.record_consent(&licence, key, &new, now());
        let id = given.await.unwrap().value.id;
        if dice.chance(30) {
            let why = Reason::parse("asked to").unwrap();
            let withdrawn = site
                .registry
                .withdraw_consent(&licence, (key, id), why, now());
            withdrawn.await.unwrap();
        } else {
            self.agreed.push((patient, to));
        }
    }

    /// Organisations that have the patient of an older examination under their care: they ordered
    /// or make a newer one that was not withdrawn.
    fn treating(&self, at: usize) -> Vec<&'static str> {
        let patient = self.examinations[at].patient;
        let newer = self.examinations[at + 1..].iter();
        let newer = newer.filter(|one| one.patient == patient && one.stands != Stands::Cancelled);
        newer
            .flat_map(|one| [one.ordering, one.performing])
            .collect()
    }

    /// Whether somebody sees an examination; in lists without those who treat its patient, and
    /// those for whom the patient agreed.
    pub(crate) fn sees(&self, caller: &Caller, at: usize, is_list: bool) -> bool {
        let one = &self.examinations[at];
        let (name, glass) = match &caller.kind {
            Kind::Device(of) | Kind::Program(of) => return *of == one.performing,
            Kind::User { name, glass, .. } => (name, *glass),
        };
        let has = |wanted: &[Role], work: Work<'_>| caller.holds_for(wanted, work);
        let is_own_work = has(&MAKES, one.work());
        let is_own_order = *name == one.requester && has(&ORDERS, one.ordered());
        let is_in_pool = one.stands == Stands::Received && has(&[Role::Expert], one.work());
        // What ties a patient to an organisation is of none of its departments.
        let treats = |of: &str| caller.holds_for(&TREATS, (of, one.modality, None));
        let treating = self.treating(at);
        let is_treated = !is_list && treating.iter().any(|of| treats(of));
        let mut agreed = self.agreed.iter().filter(|(of, _)| *of == one.patient);
        let is_agreed = !is_list && agreed.any(|(_, to)| treats(to));
        let is_open = glass == Some(one.patient);
        is_own_work || is_own_order || is_in_pool || is_treated || is_agreed || is_open
    }

    /// Whether somebody sees the images of a study.
    pub(crate) fn sees_study(&self, caller: &Caller, study: &Study) -> bool {
        match (study.examination, &caller.kind) {
            (Some(at), _) => self.sees(caller, at, false),
            (None, Kind::Device(of) | Kind::Program(of)) => *of == study.organisation,
            (None, Kind::User { .. }) => caller.holds_for(&MAKES, study.work()),
        }
    }

    /// Whether somebody knows of a study: they see it, look after the archive of its organisation,
    /// or say there whose studies are that wait.
    pub(crate) fn knows_study(&self, caller: &Caller, study: &Study) -> bool {
        let keeps = caller.holds(&[Role::ArchiveAdmin], study.organisation);
        let waits = study.examination.is_none() && caller.reconciles_for(study.work());
        keeps || waits || self.sees_study(caller, study)
    }

    /// Texts that no answer to somebody may have, and what they give away. Whoever says whose
    /// images are whose compares them with whatever their organisation makes.
    pub(crate) fn secrets(&self, caller: &Caller, compares: bool) -> Vec<(&str, String)> {
        let mut secrets = Vec::new();
        let is_seen = |at: usize| {
            let of_study = |study: &&Study| study.examination == Some(at);
            let mut studies = self.studies.iter().filter(of_study);
            self.sees(caller, at, false)
                || (compares && caller.reconciles_for(self.examinations[at].work()))
                || studies.any(|study| self.knows_study(caller, study))
        };
        // What their own device sent is no secret to them.
        let typed = |at: usize| {
            let mut studies = self.studies.iter();
            studies.any(|study| study.typed == Some(at) && self.knows_study(caller, study))
        };
        let mut patients: Vec<bool> = vec![false; self.patients.len()];
        for (at, one) in self.examinations.iter().enumerate() {
            if is_seen(at) {
                patients[one.patient] = true;
            } else if !typed(at) {
                secrets.push(("an examination", one.id.to_string()));
            }
        }
        for (patient, is_known) in self.patients.iter().zip(patients) {
            if !is_known {
                secrets.push(("the number of a patient", patient.number.clone()));
                secrets.push(("the name of a patient", patient.given.clone()));
                secrets.push(("the name of a patient", patient.latin.clone()));
            }
        }
        for study in &self.studies {
            if !self.knows_study(caller, study) {
                secrets.push(("a study", study.uid.clone()));
            }
        }
        secrets
    }
}

/// Registers a scanner of each department.
async fn furnish(site: &Site, of: &str) {
    let licence = Agent::system("test").national_licence().unwrap();
    for department in DEPARTMENTS {
        let mut new = device(&scanner_in(of, Some(department)), of);
        new.department = Some(DepartmentCode::parse(department).unwrap());
        let saved = site.registry.save_device(&licence, &new, None, now());
        saved.await.unwrap();
    }
}

/// Opens a patient in an emergency.
async fn open(site: &Site, name: &str, patient: PatientKey) {
    let emergency = Emergency {
        user: UserName::parse(name).unwrap(),
        patient,
        reason: BreakGlassReason::Unconscious,
        explanation: "nobody knows what happened".to_owned(),
        opened_at: Utc::now(),
        closed_at: None,
        review: None,
    };
    let opened = emergency.opened_at.timestamp_millis();
    let change = put(&format!("{name}~{opened:020}~00"), &emergency, None);
    let store = site.accounts();
    store.commit(vec![change], &[let_in()]).await.unwrap();
}
