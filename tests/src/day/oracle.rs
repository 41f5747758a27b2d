//! Asks the server for everything, by its public interfaces, and holds it against what is true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::centre::{Centre, Hospital};
use super::clerk::Clerk;
use super::images::tag;
use super::plan::Identity;
use super::truth::{Exam, Fate, Record, Study};
use crate::portal::Browser;
use crate::wire::Tree;

/// How long the server may take to see what it has been told.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long something may take once it was seen that something never comes.
const LITTLE_PATIENCE: Duration = Duration::from_secs(2);

/// Whoever asks for one hospital.
#[derive(Debug)]
pub struct Asker<'c> {
    /// The server.
    pub centre: &'c Centre,
    /// Which hospital it is.
    pub here: usize,
    /// All of them.
    pub hospitals: &'c [Hospital],
    /// Its operator.
    pub clerk: Clerk<'c>,
    /// The operators of all hospitals.
    pub operators: &'c [Browser],
    /// The administrator of the archive.
    pub national: Clerk<'c>,
    /// The token of a program of the hospital.
    pub token: String,
    /// The token of a program that sees everything.
    pub everything: String,
}

/// What is not as it must be, and what was seen.
#[derive(Debug, Default)]
pub struct Findings {
    faults: Mutex<Vec<String>>,
    seen: Mutex<BTreeMap<(String, String), usize>>,
    is_impatient: AtomicBool,
}

impl Findings {
    /// Notes a fault.
    ///
    /// # Panics
    /// When somebody panicked who noted one.
    pub fn fault(&self, what: String) {
        eprintln!("FAULT {what}");
        self.faults.lock().expect("nobody panics").push(what);
    }

    /// Notes that something of a kind came out so.
    ///
    /// # Panics
    /// When somebody panicked who noted something.
    pub fn see(&self, what: &str, how: &str) {
        let mut seen = self.seen.lock().expect("nobody panics");
        *seen.entry((what.to_owned(), how.to_owned())).or_default() += 1;
    }

    /// The faults.
    ///
    /// # Panics
    /// When somebody panicked who noted one.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().expect("nobody panics").clone()
    }

    /// What came out how often.
    ///
    /// # Panics
    /// When somebody panicked who noted something.
    #[must_use]
    pub fn seen(&self) -> BTreeMap<(String, String), usize> {
        self.seen.lock().expect("nobody panics").clone()
    }

    /// Asks until the answer is right, for a while; the last answer otherwise.
    fn wait<T>(&self, mut question: impl FnMut() -> Result<T, String>) -> Result<T, String> {
        let patience = if self.is_impatient.load(Ordering::Relaxed) {
            LITTLE_PATIENCE
        } else {
            PATIENCE
        };
        let deadline = Instant::now() + patience;
        loop {
            let wrong = match question() {
                Ok(right) => return Ok(right),
                Err(wrong) => wrong,
            };
            if Instant::now() >= deadline {
                self.is_impatient.store(true, Ordering::Relaxed);
                return Err(wrong);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The time of day at which something is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// All images have come.
    Evening,
    /// The quiet times are over.
    Morning,
}

impl Asker<'_> {
    /// Looks where every order of its hospital stands, and what was decided of every study.
    pub fn ask_for_states(&self, records: &[Record], time: Time, findings: &Findings) {
        for record in records {
            for study in &record.studies {
                let asked = findings.wait(|| self.decided(record, study));
                match asked {
                    Ok(how) if time == Time::Evening => findings.see(record.identity.name(), &how),
                    Ok(_) => {}
                    Err(fault) => findings.fault(fault),
                }
            }
            for (at, exam) in record.exams.iter().enumerate() {
                let of_it = studies_of(record, at);
                let asked = findings.wait(|| self.stands(exam, &of_it, time));
                match asked {
                    Ok(status) if at == 0 && record.studies.iter().any(is_bound) => {
                        let when = match time {
                            Time::Evening => "evening",
                            Time::Morning => "morning",
                        };
                        findings.see(record.ending.name(), &format!("{status}, {when}"));
                    }
                    Ok(_) => {}
                    Err(fault) => findings.fault(fault),
                }
            }
        }
        self.ask_for_the_queue(records, findings);
    }

    /// What was decided of a study: how it is, or what is wrong with it.
    pub fn decided(&self, record: &Record, study: &Study) -> Result<String, String> {
        let path = format!("/unmatched/{}", study.uid);
        let is_elsewhere = matches!(study.fate, Fate::WaitsElsewhere(_));
        let clerk = if is_elsewhere {
            &self.national
        } else {
            &self.clerk
        };
        let about = format!("{}, study {}", record.identity.name(), study.uid);
        let answer = clerk.get(&path);
        let shown = answer.json();
        if answer.status != 200 {
            return Err(format!("QUEUE: {about}: {} {shown}", answer.status));
        }
        let reasons: Vec<&str> = shown["reasons"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let state = shown["state"].as_str().unwrap_or_default();
        let bound = shown["examination"].as_str();
        let own = study.exam.map(|at| &*record.exams[at].id);
        if bound.is_some() && bound != own {
            return Err(format!(
                "WRONG PATIENT: {about} is of {own:?}, and bound to {bound:?}"
            ));
        }
        let is_right = match study.fate {
            _ if study.is_put_right => state == "bound" && reasons.is_empty() && bound == own,
            Fate::Bound => state == "bound" && reasons.is_empty() && bound == own,
            Fate::Waits(reason) | Fate::WaitsElsewhere(reason) => {
                state == "queued" && reasons == [reason] && bound.is_none()
            }
            Fate::Flagged(reason) => reasons == [reason] && state != "rejected",
        };
        let rule = rule(record.identity);
        let is_by_rule = study.is_put_right
            || rule.is_none_or(|field| shown["rule"]["field"].as_str() == Some(field));
        let how = format!("{state} {}", reasons.join(" "));
        if is_right && is_by_rule {
            Ok(how.trim().to_owned())
        } else {
            Err(format!(
                "QUEUE: {about} must be {:?}, and is {how} by {}",
                study.fate, shown["rule"]
            ))
        }
    }

    /// Where an order stands, or what is wrong with it.
    fn stands(&self, exam: &Exam, studies: &[&Study], time: Time) -> Result<String, String> {
        let operator = &self.operators[exam.hospital];
        let clerk = Clerk::new(self.centre, operator, "");
        let shown = clerk.get(&format!("/examinations/{}", exam.id)).json();
        let about = format!("examination {}", exam.id);
        let status = shown["status"].as_str().unwrap_or_default().to_owned();
        let allowed = match time {
            Time::Evening => exam.evening,
            Time::Morning => exam.morning,
        };
        if !allowed.contains(&&*status) {
            return Err(format!("STATE: {about} is {status}, not {allowed:?}"));
        }
        if shown["patient"]["number"] != *exam.patient {
            return Err(format!("WRONG PATIENT: {about} is of another patient"));
        }
        let is_late = shown["has_late_images"] == true;
        if exam.is_late.is_some_and(|expected| expected != is_late) {
            return Err(format!("STATE: {about} has late images: {is_late}"));
        }
        let is_incomplete = shown["is_incomplete"] == true;
        if time == Time::Morning && is_incomplete != exam.is_incomplete {
            return Err(format!("STATE: {about} is incomplete: {is_incomplete}"));
        }
        let listed: BTreeSet<&str> = shown["studies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let needed = studies.iter().filter(|study| is_bound(study));
        let needed: BTreeSet<&str> = needed.map(|study| &*study.uid).collect();
        let allowed: BTreeSet<&str> = studies.iter().map(|study| &*study.uid).collect();
        if !needed.is_subset(&listed) {
            return Err(format!("LOST: {about} has {listed:?}, not {needed:?}"));
        }
        if !listed.is_subset(&allowed) {
            return Err(format!(
                "WRONG PATIENT: {about} has {listed:?}, not {allowed:?}"
            ));
        }
        Ok(status)
    }

    /// The queue holds what has to wait, and nothing else.
    fn ask_for_the_queue(&self, records: &[Record], findings: &Findings) {
        let code = &self.hospitals[self.here].code;
        let path = format!("/unmatched?organisation={code}&limit=200");
        let listed = listed(&self.clerk, &path);
        let studies = records.iter().flat_map(|record| &record.studies);
        let waiting = studies.filter(|study| {
            !study.is_put_right && matches!(study.fate, Fate::Waits(_) | Fate::Flagged(_))
        });
        let waiting: BTreeSet<String> = waiting.map(|study| study.uid.clone()).collect();
        for study in waiting.symmetric_difference(&listed) {
            let is_there = listed.contains(study);
            findings.fault(format!(
                "QUEUE: of {code}: study {study} is there: {is_there}"
            ));
        }
    }

    /// The studies that wait where nobody knows the sender are those that must.
    pub fn ask_for_strangers(&self, records: &[Record], findings: &Findings) {
        let listed = listed(&self.national, "/unmatched?organisation=none&limit=200");
        let studies = records.iter().flat_map(|record| &record.studies);
        let waiting = studies.filter(|study| matches!(study.fate, Fate::WaitsElsewhere(_)));
        let waiting: BTreeSet<String> = waiting.map(|study| study.uid.clone()).collect();
        for study in waiting.symmetric_difference(&listed) {
            findings.fault(format!("QUEUE: of unknown senders: study {study}"));
        }
    }
}

/// All studies of a list of the queue.
fn listed(clerk: &Clerk<'_>, path: &str) -> BTreeSet<String> {
    let mut listed = BTreeSet::new();
    let mut next = String::new();
    loop {
        let page = clerk.get(&format!("{path}{next}")).json();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        listed.extend(
            items
                .iter()
                .filter_map(|item| item["study"].as_str().map(str::to_owned)),
        );
        match page["next"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => return listed,
        }
    }
}

/// The studies that may be of the `at`th order of a record.
fn studies_of(record: &Record, at: usize) -> Vec<&Study> {
    let studies = record.studies.iter();
    let is_of = |study: &&Study| {
        // What is split off is of the second.
        let is_split = study.is_put_right && record.identity == Identity::Mixed && at == 1;
        study.exam == Some(at) || is_split
    };
    studies.filter(is_of).collect()
}

/// Whether a study must be of its examination, and nobody has to look.
pub fn is_bound(study: &Study) -> bool {
    study.fate == Fate::Bound || study.is_put_right
}

/// The Patient ID that the first image of a study came with.
pub fn patient_id_sent(study: &Study) -> String {
    let first = study.images.first().expect("an image");
    let sent = Tree::read(&first.data_set).expect("a data set");
    sent.text_of(tag::PATIENT_ID)
}

/// The field in which the ID must have been found.
fn rule(identity: Identity) -> Option<&'static str> {
    match identity {
        Identity::InPatientId => Some("PATIENT_ID"),
        Identity::InStudyId => Some("STUDY_ID"),
        Identity::InComments => Some("PATIENT_COMMENTS"),
        Identity::InName => Some("PATIENT_NAME"),
        Identity::InProcedureId => Some("REQUESTED_PROCEDURE_ID"),
        _ => None,
    }
}
