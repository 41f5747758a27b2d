//! A hospital at work: its operator registers patients and orders, its consoles make images, and
//! things go wrong as they were planned.

use std::time::Duration;

use super::centre::{Centre, Hospital};
use super::clerk::{Clerk, Registered};
use super::console::Console;
use super::images::{Header, Image, image, new_uid, tag, with_uid};
use super::plan::{Case, Ending, Identity, Kind, Line};
use super::truth::{ANY, CANCELLED, Exam, Fate, Record, SCHEDULED, Study};
use super::typing::{header_of, now, typed_header};
use crate::edges::until;
use crate::portal::Browser;
use crate::samples::Random;

/// How long the server may take to see what happened.
const PATIENCE: Duration = Duration::from_secs(120);

/// Cases between an examination and what people do about it later.
const LATER: usize = 12;

/// What is done later.
#[derive(Debug)]
enum Later<'c> {
    /// The operator says that an examination is complete.
    Declare(String),
    /// Images come after the end of an examination.
    Late(String, Console<'c>, Vec<Image>),
    /// A console sends again what it sent.
    Again(Console<'c>, Vec<Image>),
}

/// A hospital.
#[derive(Debug)]
pub struct Work<'c> {
    centre: &'c Centre,
    all: &'c [Hospital],
    here: usize,
    /// The operators of all hospitals.
    clerks: Vec<Clerk<'c>>,
    later: Vec<(usize, Later<'c>)>,
    records: Vec<Record>,
}

/// A patient with an order.
#[derive(Clone, Debug)]
struct Ordered {
    patient: Registered,
    id: String,
}

/// Where the images of a case are made, and what they say.
struct Shoot<'c> {
    console: Console<'c>,
    kind: Kind,
    header: Header,
    study: String,
}

impl<'c> Work<'c> {
    /// The hospital number `here` of `all`.
    #[must_use]
    pub fn new(
        centre: &'c Centre,
        all: &'c [Hospital],
        operators: &[Browser],
        (here, seed): (usize, u64),
    ) -> Self {
        let clerks = operators.iter().enumerate().map(|(at, browser)| {
            let keys = format!("day-{seed}-{here}-{at}");
            Clerk::new(centre, browser, &keys)
        });
        Self {
            centre,
            all,
            here,
            clerks: clerks.collect(),
            later: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Works off `cases`, one after the other; what is true of them.
    #[must_use]
    pub fn work<'p>(mut self, cases: impl Iterator<Item = &'p Case>) -> Vec<Record> {
        for case in cases {
            let record = self.case(case);
            self.records.push(record);
            self.centre.count();
            self.catch_up(LATER);
        }
        self.catch_up(0);
        self.records
    }

    /// Does what was to be done later, where so many cases came since.
    fn catch_up(&mut self, cases: usize) {
        let now = self.records.len();
        while self.later.first().is_some_and(|(at, _)| at + cases <= now) {
            let (_, later) = self.later.remove(0);
            match later {
                Later::Declare(id) => {
                    self.wait(&id, &["in_progress", "images_received"]);
                    self.clerk().declare(&id);
                }
                Later::Late(id, console, images) => {
                    self.wait(&id, &["images_received"]);
                    console.send(&images);
                }
                Later::Again(console, images) => console.send(&images),
            }
        }
    }

    fn wait(&mut self, id: &str, statuses: &[&str]) {
        let clerk = self.clerk();
        until(PATIENCE, &format!("{id} as {statuses:?}"), || {
            statuses.contains(&&*clerk.status(id)).then_some(())
        });
    }

    fn clerk(&mut self) -> &mut Clerk<'c> {
        &mut self.clerks[self.here]
    }

    fn console(&self, kind: Kind) -> Console<'c> {
        Console::new(self.centre, &self.all[self.here].device(kind), kind)
    }

    fn order(&mut self, at: usize, case: &Case, random: &mut Random) -> Ordered {
        let patient = self.clerks[at].register(&case.person);
        let id = self.clerks[at].order(&patient.number, case.kind.word(), random);
        Ordered { patient, id }
    }

    fn exam(&self, hospital: usize, ordered: &Ordered) -> Exam {
        Exam {
            id: ordered.id.clone(),
            hospital,
            patient: ordered.patient.number.clone(),
            evening: SCHEDULED,
            morning: SCHEDULED,
            is_late: Some(false),
            is_incomplete: false,
        }
    }

    /// One case: orders, images, and what goes wrong.
    fn case(&mut self, case: &Case) -> Record {
        let mut random = Random::new(case.seed);
        let mut record = Record {
            identity: case.identity,
            line: case.line,
            ending: case.ending,
            exams: Vec::new(),
            studies: Vec::new(),
            will_be_put_right: case.is_put_right,
        };
        match case.identity {
            Identity::Emergency => self.emergency(case, &mut random, &mut record),
            Identity::WrongEntry => self.wrong_entry(case, &mut random, &mut record),
            Identity::Mixed => self.mixed(case, &mut random, &mut record),
            _ if case.is_typed => self.typed(case, &mut random, &mut record),
            _ => self.picked(case, &mut random, &mut record),
        }
        record
    }

    /// Somebody whom nobody knows is brought in, and images are made at once.
    fn emergency(&mut self, case: &Case, random: &mut Random, record: &mut Record) {
        let header = Header {
            name: "UNKNOWN^MAN".to_owned(),
            study_id: "1".to_owned(),
            made_at: now(),
            ..Header::default()
        };
        let shoot = self.shoot(case.kind, header, random);
        let images = self.images(&shoot, case, random);
        self.send(&shoot.console, &images, case, random);
        let fate = Fate::Waits("EMERGENCY_UNREGISTERED");
        record.studies.push(self.study(shoot, images, fate, None));
    }

    /// An ID that is typed at the console, or should be.
    fn typed(&mut self, case: &Case, random: &mut Random, record: &mut Record) {
        let performing = match case.identity {
            Identity::OtherHospital => (self.here + 1) % self.all.len(),
            _ => self.here,
        };
        let ordered = self.order(performing, case, random);
        record.exams.push(self.exam(performing, &ordered));
        let mut id = ordered.id.clone();
        if let Some(partner) = &case.partner {
            let patient = self.clerk().register(partner);
            let other = self
                .clerk()
                .order(&patient.number, case.kind.word(), random);
            id.clone_from(&other);
            let other = Ordered { patient, id: other };
            record.exams.push(self.exam(self.here, &other));
        }
        if case.identity == Identity::TwoOrders {
            let second = self
                .clerk()
                .order(&ordered.patient.number, case.kind.word(), random);
            let second = Ordered {
                id: second,
                ..ordered.clone()
            };
            record.exams.push(self.exam(self.here, &second));
        }
        if case.identity == Identity::Cancelled {
            self.clerk().cancel(&ordered.id);
            (record.exams[0].evening, record.exams[0].morning) = (CANCELLED, CANCELLED);
        }
        let header = typed_header(case, &ordered.patient, &id, random);
        let kind = match case.identity {
            Identity::OtherKind => case.kind.other(),
            _ => case.kind,
        };
        let mut shoot = self.shoot(kind, header, random);
        if case.identity == Identity::UnknownDevice {
            let title = format!("NEW{}", self.here);
            shoot.console = Console::new(self.centre, &title, kind);
        }
        self.make(case, shoot, random, record);
    }

    /// Images that are made and sent, and the end of it.
    fn make(&mut self, case: &Case, shoot: Shoot<'c>, random: &mut Random, record: &mut Record) {
        let mut images = self.images(&shoot, case, random);
        let late = match case.ending.has_late_images() {
            true => vec![self.one_more(&shoot, &images, random)],
            false => Vec::new(),
        };
        self.send(&shoot.console, &images, case, random);
        if case.identity == Identity::OtherContent {
            let first = &images[0];
            let place = (&*shoot.study, &*first.series, 1);
            let uid = first.instance.clone();
            let other = with_uid(random, shoot.kind, &shoot.header, place, uid);
            shoot.console.send(&[other]);
        }
        let fate = fate(case.identity);
        let exam = &mut record.exams[0];
        match fate {
            Fate::Bound => exam.ends(case.ending),
            Fate::Flagged(_) => {
                (exam.evening, exam.morning) = (ANY, ANY);
                exam.is_late = None;
            }
            Fate::Waits(_) | Fate::WaitsElsewhere(_) => {}
        }
        let now = self.records.len();
        let id = exam.id.clone();
        if fate == Fate::Bound {
            if matches!(case.ending, Ending::Declared | Ending::DeclaredThenLate) {
                self.later.push((now, Later::Declare(id.clone())));
            }
            if !late.is_empty() {
                let later = Later::Late(id, shoot.console.clone(), late.clone());
                self.later.push((now, later));
                images.extend(late);
            }
        }
        record
            .studies
            .push(self.study(shoot, images, fate, Some(0)));
    }

    /// The console takes the entry of the patient.
    fn picked(&mut self, case: &Case, random: &mut Random, record: &mut Record) {
        let ordered = self.order(self.here, case, random);
        record.exams.push(self.exam(self.here, &ordered));
        let console = self.console(case.kind);
        let entry = console.entry(&ordered.id);
        let header = header_of(&entry);
        let made_at = header.made_at.clone();
        let shoot = Shoot {
            console: console.clone(),
            kind: case.kind,
            study: entry.answer.text_of(tag::STUDY),
            header,
        };
        let step = new_uid(random);
        if case.ending.has_step() {
            console.begin(&step, &entry, &made_at);
        }
        self.make(case, shoot, random, record);
        let sent = &record.studies[0].images;
        let told = sent.len() - usize::from(case.ending.has_late_images());
        let sent = sent[..told].iter();
        let mut made: Vec<(&str, &str, &str)> = sent
            .map(|image| (image.class, &*image.series, &*image.instance))
            .collect();
        let lost = new_uid(random);
        match case.ending {
            Ending::StepMisses => {
                made.push((case.kind.class(), made[0].1, &lost));
                console.end(&step, &made, &made_at, None);
            }
            Ending::Step | Ending::StepThenLate => console.end(&step, &made, &made_at, None),
            // Equipment failure.
            Ending::StepBrokenOff => console.end(&step, &made, &made_at, Some("110501")),
            Ending::StepOnlyBegins
            | Ending::Declared
            | Ending::DeclaredThenLate
            | Ending::Silence => {}
        }
    }

    /// The console takes the entry of another patient, and says so afterwards.
    fn wrong_entry(&mut self, case: &Case, random: &mut Random, record: &mut Record) {
        let ordered = self.order(self.here, case, random);
        let partner = case.partner.as_ref().expect("another patient");
        let patient = self.clerk().register(partner);
        let id = self
            .clerk()
            .order(&patient.number, case.kind.word(), random);
        let other = Ordered { patient, id };
        record.exams.push(self.exam(self.here, &ordered));
        record.exams.push(self.exam(self.here, &other));
        let console = self.console(case.kind);
        let entry = console.entry(&other.id);
        let header = header_of(&entry);
        let made_at = header.made_at.clone();
        let shoot = Shoot {
            console: console.clone(),
            kind: case.kind,
            study: entry.answer.text_of(tag::STUDY),
            header,
        };
        let step = new_uid(random);
        console.begin(&step, &entry, &made_at);
        let images = self.images(&shoot, case, random);
        let told: Vec<_> = images
            .iter()
            .map(|image| (image.class, &*image.series, &*image.instance))
            .collect();
        let is_told_first = random.below(2) == 0;
        if is_told_first {
            console.end(&step, &told, &made_at, Some("110514"));
        }
        self.send(&console, &images, case, random);
        if !is_told_first {
            if random.below(2) == 0 {
                // They were taken for the other patient's before it was noticed.
                self.wait(&other.id, &["in_progress"]);
                let clerk = self.clerk();
                let path = format!("/unmatched/{}", shoot.study);
                until(PATIENCE, "the study of a wrong entry", || {
                    (clerk.get(&path).status == 200).then_some(())
                });
            }
            console.end(&step, &told, &made_at, Some("110514"));
        }
        record
            .studies
            .push(self.study(shoot, images, Fate::Waits("UNBOUND"), Some(0)));
    }

    /// The console is not told that the next patient has come.
    fn mixed(&mut self, case: &Case, random: &mut Random, record: &mut Record) {
        let ordered = self.order(self.here, case, random);
        let partner = case.partner.as_ref().expect("another patient");
        let patient = self.clerk().register(partner);
        let id = self
            .clerk()
            .order(&patient.number, case.kind.word(), random);
        let other = Ordered { patient, id };
        record.exams.push(self.exam(self.here, &ordered));
        record.exams.push(self.exam(self.here, &other));
        let header = typed_header(case, &ordered.patient, &ordered.id, random);
        let mut shoot = self.shoot(case.kind, header, random);
        let mut images = self.images(&shoot, case, random);
        shoot.header = typed_header(case, &other.patient, &other.id, random);
        images.push(self.one_more(&shoot, &images, random));
        self.send(&shoot.console, &images, case, random);
        for exam in &mut record.exams[..1] {
            (exam.evening, exam.morning) = (ANY, ANY);
            exam.is_late = None;
        }
        record
            .studies
            .push(self.study(shoot, images, fate(Identity::Mixed), Some(0)));
    }

    fn shoot(&self, kind: Kind, header: Header, random: &mut Random) -> Shoot<'c> {
        Shoot {
            console: self.console(kind),
            kind,
            header,
            study: new_uid(random),
        }
    }

    fn images(&self, shoot: &Shoot<'c>, case: &Case, random: &mut Random) -> Vec<Image> {
        let mut images = Vec::new();
        for count in &case.series {
            let series = new_uid(random);
            for number in 1..=*count {
                let place = (&*shoot.study, &*series, number);
                images.push(image(random, shoot.kind, &shoot.header, place));
            }
        }
        images
    }

    /// An image of a series of its own.
    fn one_more(&self, shoot: &Shoot<'c>, images: &[Image], random: &mut Random) -> Image {
        let series = new_uid(random);
        let place = (&*shoot.study, &*series, images.len() + 1);
        image(random, shoot.kind, &shoot.header, place)
    }

    fn send(&mut self, console: &Console<'c>, images: &[Image], case: &Case, random: &mut Random) {
        match case.line {
            Line::Holds => console.send(images),
            Line::Breaks => {
                console.send_over_a_line_that_breaks(images, random);
            }
            Line::SentAgain => {
                console.send(images);
                let again = Later::Again(console.clone(), images.to_vec());
                self.later.push((self.records.len(), again));
            }
        }
    }

    fn study(
        &self,
        shoot: Shoot<'c>,
        images: Vec<Image>,
        fate: Fate,
        exam: Option<usize>,
    ) -> Study {
        Study {
            uid: shoot.study,
            hospital: self.here,
            images,
            fate,
            exam,
            is_put_right: false,
        }
    }
}

/// What must become of images of which this went wrong.
fn fate(identity: Identity) -> Fate {
    match identity {
        Identity::Right
        | Identity::Grouped
        | Identity::LookAlikes
        | Identity::InPatientId
        | Identity::InStudyId
        | Identity::InComments
        | Identity::InName
        | Identity::InProcedureId => Fate::Bound,
        Identity::DigitWrong | Identity::DigitsSwapped => Fate::Waits("BAD_CHECK_DIGIT"),
        // What is no ID at all is none.
        Identity::DigitMissing | Identity::DigitDoubled | Identity::NoId => Fate::Waits("NO_ID"),
        Identity::NobodysId => Fate::Waits("ID_NOT_FOUND"),
        Identity::TwoOrders => Fate::Waits("AMBIGUOUS"),
        Identity::Emergency => Fate::Waits("EMERGENCY_UNREGISTERED"),
        Identity::OtherPatient | Identity::Sibling => Fate::Waits("CONFLICT"),
        Identity::WrongEntry => Fate::Waits("UNBOUND"),
        Identity::OtherHospital => Fate::Waits("OTHER_ORG"),
        Identity::Cancelled => Fate::Waits("ID_CANCELLED"),
        Identity::OtherKind => Fate::Waits("MODALITY_MISMATCH"),
        Identity::UnknownDevice => Fate::WaitsElsewhere("UNKNOWN_SENDER"),
        Identity::Mixed => Fate::Flagged("MIXED_PATIENT"),
        Identity::OtherContent => Fate::Flagged("DUPLICATE_UID_DIFFERENT_CONTENT"),
    }
}
