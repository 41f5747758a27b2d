//! Examinations: one order, one ID, any number of studies.
//!
//! [`id`] numbers them; [`progress`] is what may happen to one, from the form to the report that
//! reached the organisation; [`assignment`] is who is to read it; [`reconcile`] decides whose
//! images are whose.

pub mod assignment;
mod body_part;
pub mod id;
pub mod progress;
pub mod reconcile;

pub use body_part::{BodyPart, BodyPartError, Side};
pub use id::{ExaminationId, ExaminationIdError, Numbering, NumberingError, StepId};
pub use progress::{Actor, Effect, Event, Progress, Reason, Status, TransitionError};
