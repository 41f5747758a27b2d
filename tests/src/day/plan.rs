//! What is to happen in a day, made from a seed alone: who comes where, what images are made, and
//! what goes wrong.

use super::people::{Person, below};
use crate::samples::Random;
use crate::wire::uid;

/// What a day is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Examinations.
    pub examinations: usize,
    /// Decides everything that is random.
    pub seed: u64,
}

/// A kind of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Computed tomography.
    Ct,
    /// Magnetic resonance.
    Mr,
    /// Digital X-ray pictures.
    Dx,
}

impl Kind {
    /// The word of the form.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ct => "ct",
            Self::Mr => "mr",
            Self::Dx => "xray",
        }
    }

    /// Modality (0008,0060).
    #[must_use]
    pub fn modality(self) -> &'static str {
        match self {
            Self::Ct => "CT",
            Self::Mr => "MR",
            Self::Dx => "DX",
        }
    }

    /// SOP Class UID.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Ct => uid::CT_IMAGE_STORAGE,
            Self::Mr => uid::MR_IMAGE_STORAGE,
            Self::Dx => uid::DX_IMAGE_STORAGE,
        }
    }

    /// Another kind.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Ct => Self::Mr,
            Self::Mr => Self::Dx,
            Self::Dx => Self::Ct,
        }
    }
}

/// What goes wrong with whose the images are, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// Nothing.
    Right,
    /// Typed in groups, with spaces.
    Grouped,
    /// One digit is wrong.
    DigitWrong,
    /// Two neighbours are swapped.
    DigitsSwapped,
    /// A digit is missing.
    DigitMissing,
    /// A digit stands there twice.
    DigitDoubled,
    /// Two digits are wrong so that it is an ID, of nobody.
    NobodysId,
    /// Letters that look like digits.
    LookAlikes,
    /// The ID stands in Patient ID.
    InPatientId,
    /// In Study ID.
    InStudyId,
    /// In Patient Comments.
    InComments,
    /// In Patient's Name.
    InName,
    /// In Requested Procedure ID.
    InProcedureId,
    /// There is no ID.
    NoId,
    /// There is none, and the patient has two orders.
    TwoOrders,
    /// Somebody who is brought in unconscious, without an order.
    Emergency,
    /// The ID of another patient is typed.
    OtherPatient,
    /// The ID of a brother or sister is typed, and no number of the patient.
    Sibling,
    /// Another patient is taken from the worklist, which is noticed (MPPS 110514).
    WrongEntry,
    /// The order is another hospital's.
    OtherHospital,
    /// The order is cancelled.
    Cancelled,
    /// The order is for another kind of images.
    OtherKind,
    /// The device is not registered.
    UnknownDevice,
    /// The images of the next patient go into the same study.
    Mixed,
    /// Another image comes under a UID that is taken.
    OtherContent,
}

impl Identity {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::Right,
        Self::Grouped,
        Self::DigitWrong,
        Self::DigitsSwapped,
        Self::DigitMissing,
        Self::DigitDoubled,
        Self::NobodysId,
        Self::LookAlikes,
        Self::InPatientId,
        Self::InStudyId,
        Self::InComments,
        Self::InName,
        Self::InProcedureId,
        Self::NoId,
        Self::TwoOrders,
        Self::Emergency,
        Self::OtherPatient,
        Self::Sibling,
        Self::WrongEntry,
        Self::OtherHospital,
        Self::Cancelled,
        Self::OtherKind,
        Self::UnknownDevice,
        Self::Mixed,
        Self::OtherContent,
    ];

    /// How many of 10,000 examinations; of all but [`Self::Right`].
    fn share(self) -> usize {
        match self {
            Self::Right => 0,
            Self::DigitWrong => 230,
            Self::DigitsSwapped => 160,
            Self::DigitMissing => 70,
            Self::DigitDoubled => 40,
            Self::NobodysId => 50,
            Self::LookAlikes => 90,
            Self::Grouped | Self::NoId => 150,
            Self::InPatientId | Self::InStudyId | Self::InComments => 100,
            Self::InName
            | Self::InProcedureId
            | Self::Emergency
            | Self::Sibling
            | Self::Cancelled
            | Self::UnknownDevice
            | Self::Mixed
            | Self::OtherContent => 60,
            Self::TwoOrders => 40,
            Self::OtherPatient | Self::WrongEntry | Self::OtherHospital | Self::OtherKind => 100,
        }
    }

    /// Whether it is an error of typing: together 6.4 of 100.
    #[must_use]
    pub fn is_typing_error(self) -> bool {
        matches!(
            self,
            Self::DigitWrong
                | Self::DigitsSwapped
                | Self::DigitMissing
                | Self::DigitDoubled
                | Self::NobodysId
                | Self::LookAlikes
        )
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "ID right, in its field",
            Self::Grouped => "ID typed in groups",
            Self::DigitWrong => "typing: one digit wrong",
            Self::DigitsSwapped => "typing: two digits swapped",
            Self::DigitMissing => "typing: a digit missing",
            Self::DigitDoubled => "typing: a digit doubled",
            Self::NobodysId => "typing: an ID of nobody",
            Self::LookAlikes => "typing: letters like digits",
            Self::InPatientId => "ID in Patient ID",
            Self::InStudyId => "ID in Study ID",
            Self::InComments => "ID in Patient Comments",
            Self::InName => "ID in Patient's Name",
            Self::InProcedureId => "ID in Requested Procedure ID",
            Self::NoId => "no ID",
            Self::TwoOrders => "no ID, two orders",
            Self::Emergency => "unknown patient, no order",
            Self::OtherPatient => "ID of another patient",
            Self::Sibling => "ID of a brother or sister",
            Self::WrongEntry => "wrong worklist entry, noticed",
            Self::OtherHospital => "order of another hospital",
            Self::Cancelled => "order cancelled",
            Self::OtherKind => "order of another kind",
            Self::UnknownDevice => "device not registered",
            Self::Mixed => "two patients in one study",
            Self::OtherContent => "other image, same UID",
        }
    }

    /// Whether the ID is typed, not taken from the worklist.
    fn is_typed(self, random: &mut Random) -> bool {
        match self {
            Self::Right => random.below(100) < 35,
            Self::WrongEntry => false,
            Self::Mixed | Self::OtherContent => random.below(2) == 0,
            _ => true,
        }
    }

    /// Whether another patient is needed.
    fn has_partner(self) -> bool {
        matches!(
            self,
            Self::OtherPatient | Self::Sibling | Self::WrongEntry | Self::Mixed
        )
    }
}

/// What the line between device and archive does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// Nothing.
    Holds,
    /// It breaks in the middle, and the device goes on with what was not acknowledged.
    Breaks,
    /// The device sends all of it again later.
    SentAgain,
}

/// How an examination ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// The device tells that it has ended, and what it made.
    Step,
    /// The same, and images come afterwards.
    StepThenLate,
    /// The device tells that it begins, and nothing else.
    StepOnlyBegins,
    /// It names an image that never comes.
    StepMisses,
    /// It tells that it was broken off.
    StepBrokenOff,
    /// An operator says that it is complete.
    Declared,
    /// The same, and images come afterwards.
    DeclaredThenLate,
    /// Nobody says anything.
    Silence,
}

impl Ending {
    /// Whether images come after the end.
    #[must_use]
    pub fn has_late_images(self) -> bool {
        matches!(self, Self::StepThenLate | Self::DeclaredThenLate)
    }

    /// Whether the device tells of its steps.
    #[must_use]
    pub fn has_step(self) -> bool {
        !matches!(
            self,
            Self::Declared | Self::DeclaredThenLate | Self::Silence
        )
    }

    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "MPPS completed",
            Self::StepThenLate => "MPPS completed, then late images",
            Self::StepOnlyBegins => "MPPS that only starts",
            Self::StepMisses => "MPPS that names a lost image",
            Self::StepBrokenOff => "MPPS discontinued",
            Self::Declared => "complete by operator",
            Self::DeclaredThenLate => "complete by operator, then late images",
            Self::Silence => "no word (quiet time)",
        }
    }
}

/// How a console writes who the patient is, where that is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Patient ID: the number of the slip.
    Number,
    /// The PIN or the document, where there is one, else nothing.
    Papers,
    /// A number of the console's own.
    Own,
    /// Nothing.
    Nothing,
}

/// One examination, and what goes wrong.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which hospital, of eleven.
    pub hospital: usize,
    /// What is ordered.
    pub kind: Kind,
    /// For whom.
    pub person: Person,
    /// Somebody else who is taken for them, or is there too.
    pub partner: Option<Person>,
    /// What goes wrong with whose the images are.
    pub identity: Identity,
    /// What goes wrong on the way.
    pub line: Line,
    /// How it ends.
    pub ending: Ending,
    /// The ID is typed at the console.
    pub is_typed: bool,
    /// What is typed as Patient ID.
    pub typed: Typed,
    /// Names are typed in Cyrillic.
    pub is_cyrillic: bool,
    /// Images of each series.
    pub series: Vec<usize>,
    /// What of the queue is put right in the evening.
    pub is_put_right: bool,
    /// Decides the rest.
    pub seed: u64,
}

/// Hospitals.
pub const HOSPITALS: usize = 11;

impl Plan {
    /// What happens, in the order in which it is begun.
    #[must_use]
    pub fn cases(&self) -> Vec<Case> {
        let mut random = Random::new(self.seed);
        let mut identities = Vec::with_capacity(self.examinations);
        for identity in Identity::ALL {
            let share = (identity.share() * self.examinations + 5_000) / 10_000;
            let least = usize::from(identity.share() > 0 && self.examinations >= 60);
            let count = share.max(least).min(self.examinations - identities.len());
            identities.extend(std::iter::repeat_n(identity, count));
        }
        identities.resize(self.examinations, Identity::Right);
        shuffle(&mut random, &mut identities);
        let mut people = 0;
        let cases = identities.into_iter().enumerate();
        cases
            .map(|(at, identity)| case(&mut random, (at, identity), &mut people))
            .collect()
    }
}

fn shuffle<T>(random: &mut Random, list: &mut [T]) {
    for last in (1..list.len()).rev() {
        list.swap(last, below(random, last + 1));
    }
}

fn case(random: &mut Random, (at, identity): (usize, Identity), people: &mut u32) -> Case {
    let mut somebody = |random: &mut Random| {
        *people += 1;
        Person::new(random, *people)
    };
    let mut person = somebody(random);
    // Of whom nobody knows who they are, a wrong patient cannot be told from the right one.
    let is_without = matches!(
        identity,
        Identity::NoId | Identity::DigitMissing | Identity::DigitDoubled
    );
    let needs_name = identity.has_partner() || is_without;
    while needs_name && !person.is_known() {
        person = somebody(random);
    }
    let mut partner = identity.has_partner().then(|| somebody(random));
    if identity == Identity::Sibling {
        *people += 1;
        partner = Some(person.sibling(random, *people));
    }
    while let Some(other) = &partner
        && identity != Identity::Sibling
        && !(other.is_known() && other.is_stranger_to(&person))
    {
        *people += 1;
        partner = Some(Person::new(random, *people));
    }
    let is_typed = identity.is_typed(random);
    let ending = ending(random, identity, is_typed);
    let typed = match (identity, random.below(10)) {
        (Identity::TwoOrders | Identity::InName, _) | (_, 0..4) => Typed::Number,
        (Identity::Sibling, 4..8) | (_, 8..) => Typed::Nothing,
        (_, 4..6) => Typed::Papers,
        _ => Typed::Own,
    };
    let typed = match (identity, typed) {
        (Identity::Sibling, Typed::Number | Typed::Papers) => Typed::Nothing,
        // Nothing but the number says who they are.
        _ if !person.is_known() => Typed::Number,
        (_, typed) => typed,
    };
    let series: Vec<usize> = (0..1 + random.below(3))
        .map(|_| 1 + below(random, 4))
        .collect();
    Case {
        hospital: at % HOSPITALS,
        kind: [Kind::Ct, Kind::Mr, Kind::Dx][below(random, 3)],
        person,
        partner,
        identity,
        line: line(random, identity),
        ending,
        is_typed,
        typed,
        is_cyrillic: random.below(4) == 0,
        series,
        is_put_right: random.below(2) == 0,
        seed: random.number(),
    }
}

fn line(random: &mut Random, identity: Identity) -> Line {
    match (identity, random.below(100)) {
        (Identity::Mixed | Identity::OtherContent, _) | (_, 12..) => Line::Holds,
        (_, 0..6) => Line::Breaks,
        _ => Line::SentAgain,
    }
}

fn ending(random: &mut Random, identity: Identity, is_typed: bool) -> Ending {
    let is_plain = matches!(identity, Identity::Right | Identity::Grouped);
    match random.below(100) {
        _ if matches!(identity, Identity::Mixed | Identity::OtherContent) => Ending::Silence,
        _ if identity == Identity::WrongEntry => Ending::Step,
        0..45 if is_typed => Ending::Declared,
        45..52 if is_typed && is_plain => Ending::DeclaredThenLate,
        _ if is_typed => Ending::Silence,
        0..45 => Ending::Step,
        45..52 => Ending::StepThenLate,
        52..62 => Ending::StepOnlyBegins,
        62..65 => Ending::StepMisses,
        65..69 => Ending::StepBrokenOff,
        69..83 => Ending::Declared,
        83..88 => Ending::DeclaredThenLate,
        _ => Ending::Silence,
    }
}
