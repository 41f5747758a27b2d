//! The citizen register: whoever can be asked who somebody is, and how it is asked without harm.
//!
//! A [`CitizenRegister`] carries one question to where it is answered: `tunduk_soap` and
//! `tunduk_rest` to a security server of X-Road, `file` to a table that a hospital loads. The
//! [`Register`] stands before it: who asks is on record before anything goes out, a register that
//! is down is left in peace, few questions are under way at once, and nothing here waits longer
//! than it is told. What it says of patients who were typed in while it was down is brought in by
//! `recheck`. Nothing of it is in the way of an image that arrives.

mod cache;
mod csv;
mod desk;
mod file;
mod open;
mod recheck;
#[cfg(test)]
mod tests;
mod throttle;
mod tunduk_rest;
mod tunduk_soap;

pub use crate::carrier::{CarrierError, Endpoint};
pub use csv::CsvError;
pub use desk::{AskError, Purpose, Register, RegisterRules, Told};
pub use file::{FileRegister, RegisterFileError};
pub use open::open;
pub use recheck::recheck;
pub use tunduk_rest::{RestPath, RestPathError, TundukRest};
pub use tunduk_soap::TundukSoap;

use crate::carrier::AnswerBounds;
use crate::limits::REGISTER_HEAD_BYTES_MAX;
use async_trait::async_trait;
use pacs_core::limits::REGISTER_ANSWER_BYTES_MAX;
use pacs_core::register::xroad::Circumstances;
use pacs_core::register::{Outcome, Question};
use std::fmt::Debug;

/// How long an answer of a register may be.
const ANSWER_BOUNDS: AnswerBounds = AnswerBounds {
    head_bytes_max: REGISTER_HEAD_BYTES_MAX,
    body_bytes_max: REGISTER_ANSWER_BYTES_MAX,
};

/// Whoever can be asked who somebody is.
#[async_trait]
pub trait CitizenRegister: Debug + Send + Sync + 'static {
    /// Asks. It may take as long as the register lets it: whoever calls bounds the wait, and may
    /// drop the question at any time. What is wrong with the answer is an [`Outcome`] too.
    async fn ask(&self, question: &Question, circumstances: &Circumstances) -> Outcome;
}
