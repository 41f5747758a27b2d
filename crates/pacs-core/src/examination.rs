//! Examinations: one order, one ID, any number of studies.

pub mod id;

pub use id::{ExaminationId, ExaminationIdError, Numbering, StepId};
