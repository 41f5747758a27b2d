//! The vocabulary of the archive: what an instance, a query, an examination and a caller are.
//!
//! Everything here is pure: no I/O, no async, no clock, no global state. Bytes from outside enter
//! through [`scan`] alone, with the bounds of [`limits::ScanLimits`], and XML through [`xml`];
//! identifiers enter through their `parse` functions. [`matching`] is the meaning of a query: every
//! index must agree with it.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod access;
pub mod account;
pub mod ae_title;
pub mod attributes;
pub mod audit;
pub mod availability;
pub mod charset;
mod check_digit;
pub mod coerce;
pub mod commitment;
pub mod convert;
pub mod decode;
pub mod device;
pub mod encode;
pub mod examination;
pub mod fold;
pub mod instance;
pub mod limits;
pub mod matching;
pub mod mpps;
pub mod organisation;
pub mod patient;
pub mod phi;
pub mod pin;
pub mod query;
pub mod register;
pub mod rejection;
pub mod report;
pub mod retention;
pub mod role;
pub mod scan;
pub mod sender;
pub mod tag;
pub mod uid;
pub mod workitem;
pub mod worklist;
pub mod xml;

pub use access::{Action, Caller, ClaimedUser, Denied, Permit, Policy};
pub use ae_title::AeTitle;
pub use attributes::{Attributes, Value};
pub use examination::ExaminationId;
pub use instance::Instance;
pub use organisation::{DepartmentCode, OrganisationCode};
pub use phi::Phi;
pub use pin::Pin;
pub use query::{Key, Level, Matching, Query, QueryError};
pub use role::Role;
pub use tag::{Tag, Vr};
pub use uid::{
    SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransactionUid, TransferSyntaxUid, Uid,
};
