//! What is true of a day, whatever the server says: whose each image is, and what it must have made
//! of it.

use super::images::Image;
use super::plan::{Ending, Identity, Line};

/// An order, and what must become of it.
#[derive(Clone, Debug)]
pub struct Exam {
    /// Its ID.
    pub id: String,
    /// The hospital that performs it.
    pub hospital: usize,
    /// Its patient's number.
    pub patient: String,
    /// Where it may stand in the evening.
    pub evening: &'static [&'static str],
    /// Where it must stand the next morning.
    pub morning: &'static [&'static str],
    /// Whether late images must be flagged; `None`: either.
    pub is_late: Option<bool>,
    /// Whether it must be flagged in the morning that images are missing.
    pub is_incomplete: bool,
}

/// What must become of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is of its examination.
    Bound,
    /// It waits for a person, for this reason.
    Waits(&'static str),
    /// The same, in the queue of those whose sender nobody knows.
    WaitsElsewhere(&'static str),
    /// It may be bound or not, and somebody has to look, for this reason.
    Flagged(&'static str),
}

impl Fate {
    /// The reason why somebody has to look.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Bound => None,
            Self::Waits(reason) | Self::WaitsElsewhere(reason) | Self::Flagged(reason) => {
                Some(reason)
            }
        }
    }
}

/// A study, as devices sent it.
#[derive(Clone, Debug)]
pub struct Study {
    /// Its UID.
    pub uid: String,
    /// The hospital whose device made it.
    pub hospital: usize,
    /// Its images, each of which was acknowledged.
    pub images: Vec<Image>,
    /// What must become of it.
    pub fate: Fate,
    /// The order that it is truly of, among those of its record.
    pub exam: Option<usize>,
    /// Whether an operator put it right.
    pub is_put_right: bool,
}

/// What happened in one case.
#[derive(Clone, Debug)]
pub struct Record {
    /// What went wrong with whose the images are.
    pub identity: Identity,
    /// What the line did.
    pub line: Line,
    /// How it ended.
    pub ending: Ending,
    /// Its orders.
    pub exams: Vec<Exam>,
    /// What was made.
    pub studies: Vec<Study>,
    /// Whether it is one of those that are put right in the evening.
    pub will_be_put_right: bool,
}

/// It waits for its images, or another case made them.
pub const SCHEDULED: &[&str] = &["scheduled"];
/// It has some.
pub const IN_PROGRESS: &[&str] = &["in_progress"];
/// It has all of them.
pub const RECEIVED: &[&str] = &["images_received"];
/// It has some, and after a while of silence all.
pub const QUIET: &[&str] = &["in_progress", "images_received"];
/// It was broken off.
pub const DISCONTINUED: &[&str] = &["discontinued"];
/// It was withdrawn.
pub const CANCELLED: &[&str] = &["cancelled"];
/// Whether its images are counted as its own depends on when they came.
pub const ANY: &[&str] = &["scheduled", "in_progress", "images_received"];

impl Record {
    /// Whether its images had to be bound.
    #[must_use]
    pub fn studies_bound(&self) -> bool {
        self.studies.iter().any(|study| study.fate == Fate::Bound)
    }
}

impl Exam {
    /// Says what must become of an order whose images are bound, by how it ended.
    pub fn ends(&mut self, ending: Ending) {
        self.is_late = Some(ending.has_late_images());
        (self.evening, self.morning) = match ending {
            Ending::Step | Ending::StepThenLate | Ending::Declared | Ending::DeclaredThenLate => {
                (RECEIVED, RECEIVED)
            }
            // Twelve hours later the device is taken to have forgotten its step.
            Ending::StepOnlyBegins => (IN_PROGRESS, RECEIVED),
            Ending::StepMisses => (IN_PROGRESS, IN_PROGRESS),
            Ending::StepBrokenOff => (DISCONTINUED, DISCONTINUED),
            Ending::Silence => (QUIET, RECEIVED),
        };
        self.is_incomplete = ending == Ending::StepMisses;
        if ending == Ending::StepBrokenOff {
            // Whether the images were looked at before it was broken off is a matter of a second.
            self.is_late = None;
        }
    }
}
