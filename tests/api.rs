//! The API of the portal over HTTP: patients, examinations, worklists, what happens to them while
//! somebody looks, and many who do the same at once; each by roles of the organisation, and of
//! another one.

#[path = "api/assigned.rs"]
mod assigned;
#[path = "api/availability.rs"]
mod availability;
#[path = "api/consents.rs"]
mod consents;
#[path = "api/departments.rs"]
mod departments;
#[path = "api/described.rs"]
mod described;
#[path = "api/draining.rs"]
mod draining;
#[path = "api/examinations.rs"]
mod examinations;
#[path = "api/kinds.rs"]
mod kinds;
#[path = "api/once.rs"]
mod once;
#[path = "api/patients.rs"]
mod patients;
#[path = "api/progress.rs"]
mod progress;
#[path = "api/races.rs"]
mod races;
#[path = "api/rejected.rs"]
mod rejected;
#[path = "api/unmatched.rs"]
mod unmatched;
#[path = "api/unsaid.rs"]
mod unsaid;
#[path = "api/workitems.rs"]
mod workitems;
