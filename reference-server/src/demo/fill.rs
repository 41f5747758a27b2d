//! Fills the archive of a demonstration, by the ways that everybody goes: the registry with its
//! audit records, deposits of devices, the matcher, and the events of examinations.

use super::images::{Image, Label, Phantom, SYNTAX};
use super::people::{self, ACCOUNTS, STAFFED};
use super::reporting::{People, Until, report};
use crate::access::SystemMay;
use crate::accounts::Refused;
use crate::accounts::manage::NewUser;
use crate::clock::{NoRandomness, World};
use crate::place;
use crate::server::Server;
use bytes::Bytes;
use chrono::TimeDelta;
use pacs_core::access::{Store, permit};
use pacs_core::account::UserName;
use pacs_core::audit::Actor;
use pacs_core::encode::EncodeError;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::reconcile::Kind;
use pacs_core::examination::{BodyPart, Event, Reason};
use pacs_core::patient::PatientKey;
use pacs_core::rejection::{Quality, Title};
use pacs_core::role::sight::Sight;
use pacs_core::role::{Agent, AgentKind, Grant, Grants, Reach, Role};
use pacs_core::{
    Action as Asked, AeTitle, Caller, ExaminationId, OrganisationCode, Policy, SopClassUid,
    SopInstanceUid, StudyUid, TransferSyntaxUid,
};
use pacs_store::registry::examinations::{Action, BodyRegion, NewExamination, Order, Priority};
use pacs_store::registry::patients::Alike;
use pacs_store::registry::{Moment, Registry, RegistryError};
use pacs_store::rejections::{Meant, Rejections, Wanted};
use pacs_store::{Announced, Archive};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

/// Why the archive is not filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// An account is not made.
    #[error("an account")]
    Account(#[from] Refused),
    /// The archive does not take an image.
    #[error("an image, or its matching")]
    Archive(#[source] Box<dyn Error + Send + Sync>),
    /// An image is not made.
    #[error("an image")]
    Image(#[from] EncodeError),
    /// The folder cannot be written.
    #[error("the folder")]
    Io(#[from] std::io::Error),
    /// A part of the demonstration itself is wrong.
    #[error("the demonstration has no {what}")]
    Part {
        /// Which.
        what: &'static str,
    },
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The registry does not take something.
    #[error("the registry: {what}")]
    Registry {
        /// What.
        what: &'static str,
        /// Why.
        source: RegistryError,
    },
}

fn registry(what: &'static str) -> impl FnOnce(RegistryError) -> FillError {
    move |source| FillError::Registry { what, source }
}

fn archive<E: Error + Send + Sync + 'static>(error: E) -> FillError {
    FillError::Archive(Box::new(error))
}

/// An account that was made.
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
    /// What it is.
    pub what: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How far an examination has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Scheduled,
    Cancelled,
    Discontinued,
    InProgress,
    Rejected,
    Received,
    UnderReview,
    Reported,
    Sent,
    Delivered,
}

/// Patient, organisation, what is imaged, how far it has come, and how many hours ago it began.
const EXAMINATIONS: [(usize, &str, Phantom, Stage, i64); 16] = [
    (0, "001", Phantom::Chest, Stage::Delivered, 140),
    (1, "001", Phantom::Radiograph, Stage::Sent, 98),
    (2, "001", Phantom::Head, Stage::Reported, 51),
    (3, "001", Phantom::Chest, Stage::UnderReview, 30),
    (4, "006", Phantom::Head, Stage::UnderReview, 29),
    (5, "006", Phantom::Chest, Stage::Received, 27),
    (6, "006", Phantom::Radiograph, Stage::Received, 26),
    (7, "001", Phantom::Radiograph, Stage::Rejected, 25),
    (8, "001", Phantom::Chest, Stage::Discontinued, 5),
    (9, "001", Phantom::Head, Stage::Cancelled, 4),
    (0, "001", Phantom::Head, Stage::InProgress, 1),
    (6, "006", Phantom::Chest, Stage::InProgress, 1),
    (1, "001", Phantom::Chest, Stage::Scheduled, 0),
    (2, "001", Phantom::Radiograph, Stage::Scheduled, 0),
    (5, "006", Phantom::Head, Stage::Scheduled, 0),
    (9, "006", Phantom::Radiograph, Stage::Delivered, 75),
];

/// Devices of the demonstration may store, without an association.
#[derive(Debug)]
struct DevicesStore;

impl Policy for DevicesStore {
    fn permits(&self, caller: &Caller, action: Asked) -> bool {
        matches!(caller, Caller::Device { .. }) && action == Asked::Store
    }

    fn sight(&self, _caller: &Caller, _action: Asked) -> Sight {
        Sight::Everything
    }
}

struct Filling {
    archive: Archive,
    registry: Registry,
    world: World,
    now: Moment,
}

/// Fills the archive of `server`; gives the accounts.
pub(super) async fn fill(server: &Server) -> Result<Vec<Account>, FillError> {
    let filling = Filling {
        archive: server.archive(),
        registry: server.archive().registry(),
        world: World::real(),
        now: place::now(),
    };
    filling.places().await?;
    let learnt = server.directory().learn(&filling.registry).await;
    learnt.map_err(registry("the devices"))?;
    let accounts = accounts(server).await?;
    let patients = filling.patients().await?;
    filling.examinations(&patients).await?;
    Ok(accounts)
}

async fn accounts(server: &Server) -> Result<Vec<Account>, FillError> {
    let mut made = Vec::new();
    for (name, role, is_national, display_name) in ACCOUNTS {
        let what = "account";
        let user = NewUser {
            name: UserName::parse(name).map_err(|_| FillError::Part { what })?,
            display_name: display_name.to_owned(),
            is_doctor: matches!(role, Role::Expert | Role::Radiologist | Role::Referrer),
            grants: grants(role, is_national),
        };
        let place = if is_national { "national" } else { "001, 006" };
        let by = Actor::system("pacs-server --demo");
        let password = server.accounts().add_ready(user, by).await?;
        made.push(Account {
            name: name.to_owned(),
            password: password.0,
            what: format!("{display_name} ({place})"),
        });
    }
    Ok(made)
}

/// One role: of the country, or of each organisation that has people here.
fn grants(role: Role, is_national: bool) -> Grants {
    let grant = |reach| Grant::new(role, reach);
    let grants = if is_national {
        vec![grant(Reach::National)]
    } else {
        let codes = STAFFED.iter().filter_map(|code| people::code(code));
        codes.map(|code| grant(Reach::Organisation(code))).collect()
    };
    // One role contradicts no other.
    Grants::new(grants).unwrap_or_default()
}

fn agent(name: &str, role: Role) -> Agent {
    Agent::new(AgentKind::User, name, grants(role, false))
}

impl Filling {
    /// Organisations and devices.
    async fn places(&self) -> Result<(), FillError> {
        let system = Agent::system("pacs-server --demo");
        let licence = system.national_licence();
        let licence = licence.map_err(|error| registry("licence")(error.into()))?;
        for organisation in people::organisations() {
            let imported = self
                .registry
                .import_organisation(&licence, &organisation, self.now);
            imported.await.map_err(registry("an organisation"))?;
        }
        let licence = system.national_licence();
        let licence = licence.map_err(|error| registry("licence")(error.into()))?;
        for device in people::devices() {
            let saved = self.registry.save_device(&licence, &device, None, self.now);
            saved.await.map_err(registry("a device"))?;
        }
        Ok(())
    }

    async fn patients(&self) -> Result<Vec<(PatientKey, Label)>, FillError> {
        let what = "organisation";
        let code = people::code("001").ok_or(FillError::Part { what })?;
        let licence = agent("operator", Role::Operator).licence(code);
        let licence = licence.map_err(|error| registry("licence")(error.into()))?;
        let mut patients = Vec::new();
        for (particulars, birth_date, sex) in people::patients() {
            let name = particulars.name.person_name();
            let at = self.before(160)?;
            let registered =
                self.registry
                    .register_patient(&licence, particulars, Alike::IsAnother, at);
            let registered = registered.await.map_err(registry("a patient"))?;
            let key = registered.patient().value.key;
            let label = Label {
                study: self.study()?,
                accession: String::new(),
                patient_id: key.to_string(),
                patient_name: name,
                birth_date,
                sex,
                station: String::new(),
                institution: String::new(),
                at,
            };
            patients.push((key, label));
        }
        Ok(patients)
    }

    async fn examinations(&self, patients: &[(PatientKey, Label)]) -> Result<(), FillError> {
        let matcher = crate::matcher::matcher(&self.archive).map_err(FillError::Archive)?;
        let from = matcher.last_change().await.map_err(archive)?;
        let mut cursor = matcher.cursor(from).await.map_err(archive)?;
        let mut made = Vec::new();
        for (patient, code, phantom, stage, hours) in EXAMINATIONS {
            let what = "patient";
            let (key, label) = patients.get(patient).ok_or(FillError::Part { what })?;
            let what = "organisation";
            let code = people::code(code).ok_or(FillError::Part { what })?;
            let at = self.before(hours)?;
            let ordered = self.order(*key, code, phantom, at).await?;
            let label = self.label(label, code, phantom, at, &ordered).await?;
            if stage >= Stage::InProgress {
                self.send(phantom, &label).await?;
            }
            made.push((ordered.0, code, phantom, stage, at, label));
        }
        self.strangers(patients).await?;
        while matcher
            .step(&mut cursor)
            .await
            .map_err(archive)?
            .changes_count
            > 0
        {}
        for (id, code, phantom, stage, at, label) in made {
            self.advance(id, code, phantom, stage, at).await?;
            if stage == Stage::Rejected {
                self.reject(&label.study, at).await?;
            }
        }
        Ok(())
    }

    async fn order(
        &self,
        patient: PatientKey,
        code: OrganisationCode,
        phantom: Phantom,
        at: Moment,
    ) -> Result<(ExaminationId, StudyUid), FillError> {
        let licence = agent("operator", Role::Operator).licence(code);
        let licence = licence.map_err(|error| registry("licence")(error.into()))?;
        let (kind, part, complaints) = match phantom {
            Phantom::Chest => (Kind::Ct, "816094009", "Кашель, одышка"),
            Phantom::Head => (Kind::Mr, "69536005", "Головная боль"),
            Phantom::Radiograph => (Kind::XRay, "816094009", "Профилактический осмотр"),
        };
        let what = "body part";
        let part = BodyPart::try_from(part.to_owned()).map_err(|_| FillError::Part { what })?;
        let new = NewExamination {
            patient,
            ordering: code,
            performing: code,
            order: Order {
                kind,
                regions: vec![BodyRegion { part, side: None }],
                scheduled_at: at.naive_local(),
                priority: Priority::default(),
                station: None,
                weight_tenths_kg: Some(702),
                size_cm: Some(170),
                complaints: complaints.to_owned(),
                anamnesis: String::new(),
                contrast: String::new(),
                allergies: String::new(),
                pregnancy: None,
                referring_physician: None,
                department: "Терапия".to_owned(),
                performing_department: None,
                ordering_department: None,
                ward: String::new(),
                card_number: String::new(),
                placer_number: String::new(),
            },
            is_meant_twice: false,
        };
        let random = self.world.random::<16>()?;
        let ordered = self.registry.order_examination(&licence, &new, random, at);
        let ordered = ordered.await.map_err(registry("an order"))?.value;
        Ok((ordered.id, ordered.planned_study))
    }

    /// What stands in the head of the images of an examination.
    async fn label(
        &self,
        of_patient: &Label,
        code: OrganisationCode,
        phantom: Phantom,
        at: Moment,
        (id, study): &(ExaminationId, StudyUid),
    ) -> Result<Label, FillError> {
        let organisation = self.registry.organisation(code).await;
        let organisation = organisation.map_err(registry("an organisation"))?.value;
        let end = match phantom {
            Phantom::Chest => "CT1",
            Phantom::Head => "MR1",
            Phantom::Radiograph => "DX1",
        };
        Ok(Label {
            study: study.clone(),
            accession: id.to_string(),
            station: format!("{}_{end}", organisation.ae_prefix),
            institution: organisation.dicom_institution_name,
            at,
            ..of_patient.clone()
        })
    }

    /// Images that nobody knows: an ID typed wrong, and none at all.
    async fn strangers(&self, patients: &[(PatientKey, Label)]) -> Result<(), FillError> {
        for (of_patient, accession, station) in
            [(3, "250010000014", "KRKL_DX1"), (5, "", "NATHOS_DX1")]
        {
            let what = "patient";
            let (_, label) = patients.get(of_patient).ok_or(FillError::Part { what })?;
            let label = Label {
                study: self.study()?,
                accession: accession.to_owned(),
                patient_id: String::new(),
                station: station.to_owned(),
                at: self.before(2)?,
                ..label.clone()
            };
            self.send(Phantom::Radiograph, &label).await?;
        }
        Ok(())
    }

    /// Has the device of `label` send its images.
    async fn send(&self, phantom: Phantom, label: &Label) -> Result<(), FillError> {
        let series = self.uid()?;
        for number in 0..phantom.size().0 {
            let image = phantom.image(label, number, (&series, self.uid()?))?;
            self.deposit(&label.station, image).await?;
        }
        Ok(())
    }

    async fn deposit(&self, station: &str, image: Image) -> Result<(), FillError> {
        let what = "device";
        let caller = Caller::Device {
            ae_title: AeTitle::parse(station).map_err(|_| FillError::Part { what })?,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user: None,
        };
        let permit = permit::<Store>(&DevicesStore, caller).map_err(archive)?;
        let provenance = self.archive.provenance(permit.caller());
        let announced = Announced {
            sop_class: SopClassUid::parse(image.sop_class).map_err(archive)?,
            sop_instance: SopInstanceUid::parse(&image.sop_instance).map_err(archive)?,
            transfer_syntax: TransferSyntaxUid::parse(SYNTAX).map_err(archive)?,
        };
        let deposit = self.archive.deposit(&permit, announced, provenance);
        let mut deposit = deposit.map_err(archive)?;
        let written = deposit.write(Bytes::from(image.data_set)).await;
        written.map_err(archive)?;
        deposit.seal().await.map_err(archive)?;
        Ok(())
    }

    /// Lets happen to an examination what brings it to its stage.
    async fn advance(
        &self,
        id: ExaminationId,
        code: OrganisationCode,
        phantom: Phantom,
        stage: Stage,
        at: Moment,
    ) -> Result<(), FillError> {
        let images = u64::from(phantom.size().0);
        let mut at = at;
        for (who, event) in events(stage, images)? {
            at = at.checked_add_signed(TimeDelta::minutes(7)).unwrap_or(at);
            if matches!((stage, &event), (Stage::UnderReview, Event::Claim { .. })) {
                // Who has it in work took it just now: an hour later it would be free again.
                at = self.now;
            }
            let agent = match who {
                Who::Device => Agent::device(&device_of(phantom)?, code),
                Who::Operator => agent("operator", Role::Operator),
                Who::Radiographer => agent("radiographer", Role::Radiographer),
                Who::Radiologist => agent("radiologist", Role::Radiologist),
            };
            let action = Action {
                event,
                order: None,
                expected: None,
                random: self.world.random::<16>()?,
            };
            let acted = self
                .registry
                .act_on_examination(&agent, id, &action, at.min(self.now));
            acted.await.map_err(registry("an event"))?;
        }
        let until = match stage {
            Stage::Reported => Until::Signed,
            Stage::Sent => Until::Sent,
            Stage::Delivered => Until::Opened,
            Stage::Scheduled
            | Stage::Cancelled
            | Stage::Discontinued
            | Stage::InProgress
            | Stage::Rejected
            | Stage::Received
            | Stage::UnderReview => return Ok(()),
        };
        let people = People {
            author: agent("radiologist", Role::Radiologist),
            author_name: "Врач-рентгенолог",
            reader: agent("expert", Role::Expert),
            organisation: code,
        };
        let at = at.checked_add_signed(TimeDelta::minutes(7)).unwrap_or(at);
        let at = at.min(self.now);
        report(&self.registry, &self.world, id, (&people, until), at).await
    }

    /// Takes the images of a study out of sight, as somebody does who made them.
    async fn reject(&self, study: &StudyUid, at: Moment) -> Result<(), FillError> {
        let what = "reason";
        let policy = SystemMay(&[Asked::Find, Asked::Get, Asked::Hide]);
        let caller = || Caller::System {
            task: "pacs-server --demo",
        };
        let permits = (
            permit(&policy, caller()).map_err(archive)?,
            permit(&policy, caller()).map_err(archive)?,
            permit(&policy, caller()).map_err(archive)?,
        );
        let wanted = Wanted {
            study: study.clone(),
            meant: Meant::Study,
            title: Title::Quality,
            quality: Some(Quality::MotionBlur),
            reason: Reason::parse("Снимок смазан").map_err(|_| FillError::Part { what })?,
            note: None,
            random: self.world.random::<8>()?,
        };
        let radiographer = agent("radiographer", Role::Radiographer);
        let at = at.checked_add_signed(TimeDelta::minutes(7)).unwrap_or(at);
        let rejections = Rejections::new(&self.archive, permits);
        let rejected = rejections.reject(&radiographer, wanted, at.min(self.now));
        rejected.await.map(drop).map_err(archive)
    }

    fn before(&self, hours: i64) -> Result<Moment, FillError> {
        let what = "time";
        let hours = TimeDelta::try_hours(hours).ok_or(FillError::Part { what })?;
        let at = self.now.checked_sub_signed(hours);
        at.ok_or(FillError::Part { what })
    }

    fn uid(&self) -> Result<String, FillError> {
        let random = self.world.random::<16>()?;
        Ok(format!("2.25.{}", u128::from_be_bytes(random)))
    }

    fn study(&self) -> Result<StudyUid, FillError> {
        StudyUid::parse(&self.uid()?).map_err(archive)
    }
}

fn device_of(phantom: Phantom) -> Result<AeTitle, FillError> {
    let title = match phantom {
        Phantom::Chest => "KRKL_CT1",
        Phantom::Head => "KRKL_MR1",
        Phantom::Radiograph => "KRKL_DX1",
    };
    let what = "device";
    AeTitle::parse(title).map_err(|_| FillError::Part { what })
}

/// Who lets something happen.
#[derive(Debug, Clone, Copy)]
enum Who {
    Device,
    Operator,
    Radiographer,
    Radiologist,
}

/// What happens on the way to a stage once the images are there, and by whom.
fn events(stage: Stage, images: u64) -> Result<Vec<(Who, Event)>, FillError> {
    let what = "reason";
    let reason = |text: &str| Reason::parse(text).map_err(|_| FillError::Part { what });
    let complete = Event::Complete {
        by: Completion::Declared,
        images_kept: images,
    };
    let claim = Event::Claim {
        is_locked: false,
        may_read: true,
        images_online: images,
    };
    let way = [
        (Stage::Received, Who::Operator, complete),
        (Stage::UnderReview, Who::Radiologist, claim),
    ];
    Ok(match stage {
        Stage::Scheduled | Stage::InProgress => Vec::new(),
        Stage::Cancelled => vec![(
            Who::Operator,
            Event::Cancel {
                images: 0,
                reason: reason("Пациент не явился")?,
            },
        )],
        Stage::Discontinued => vec![
            (Who::Device, Event::Start),
            (
                Who::Radiographer,
                Event::Discontinue {
                    reason: reason("Пациенту стало плохо")?,
                },
            ),
        ],
        // What is done to its images does the rest.
        Stage::Rejected => Vec::new(),
        Stage::Received | Stage::UnderReview | Stage::Reported | Stage::Sent | Stage::Delivered => {
            let way = way.into_iter().filter(|(until, _, _)| *until <= stage);
            way.map(|(_, who, event)| (who, event)).collect()
        }
    })
}
