//! The acceptance tests of the workflow, one for each number of its list, against the real server
//! and with foreign peers as the modality: DCMTK asks for worklists, sends images and gets them
//! back, pynetdicom tells of steps and asks for commitment; people are signed in to the API.
//!
//! Beside them `trail` does all that the audit trail tells of (section 13).
//!
//! What of a number is not built, and so not tested, stands in docs/decisions/0029.

#[path = "acceptance/hospital.rs"]
mod hospital;
#[path = "acceptance/keeping.rs"]
mod keeping;
#[path = "acceptance/mail.rs"]
mod mail;
#[path = "acceptance/matching.rs"]
mod matching;
#[path = "acceptance/people.rs"]
mod people;
#[path = "acceptance/reporting.rs"]
mod reporting;
#[path = "acceptance/reports.rs"]
mod reports;
#[path = "acceptance/rows.rs"]
mod rows;
#[path = "acceptance/steps.rs"]
mod steps;
#[path = "acceptance/trail.rs"]
mod trail;
#[path = "acceptance/uplink.rs"]
mod uplink;
#[path = "acceptance/worklist.rs"]
mod worklist;
#[path = "acceptance/workstation.rs"]
mod workstation;
