//! Examinations: one order, one ID, any number of studies.
//!
//! [`id`] numbers them; [`progress`] is what may happen to one, from the form to the report that
//! reached the organisation.

pub mod id;
pub mod progress;

pub use id::{ExaminationId, ExaminationIdError, Numbering, StepId};
pub use progress::{Actor, Effect, Event, Progress, Reason, Status, TransitionError};
