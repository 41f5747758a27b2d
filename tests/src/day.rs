//! A day in eleven hospitals, against the real server: patients are registered and orders saved,
//! consoles ask for their worklists, tell of their steps and send images, IDs are mistyped, lines
//! break, the server is killed and started again. `cargo xtask simulate-day` runs it at full size,
//! `tests/day.rs` in short.
//!
//! What is to happen is made from a seed ([`plan`]). An oracle outside the server ([`truth`]) knows
//! for each image of whom and of which order it truly is, and asks for all of it at the end by the
//! API, C-FIND, C-GET and DICOMweb: no image is on a wrong patient, none is lost, whatever does not
//! fit waits in the queue for the right reason, and each examination stands where it must. At last
//! it is lied to, and has to notice.
//!
//! A patient who is taken from the worklist for another, which nobody ever notices, is not among
//! what goes wrong: nothing in such images tells.

pub mod centre;
pub mod clerk;
pub mod console;
pub mod egress;
pub mod hospital;
pub mod images;
pub mod oracle;
pub mod people;
pub mod plan;
pub mod report;
pub mod truth;
pub mod typing;

use std::time::{Instant, SystemTime};

use serde_json::json;

use crate::crash;
use crate::portal::Browser;
use crate::samples::Random;
use crate::server::Server;

use centre::{Centre, Hospital};
use clerk::Clerk;
use hospital::Work;
use oracle::{Asker, Findings, Time};
use plan::{Case, Ending, Identity, Plan};
use report::Report;
use truth::{Exam, Fate, Record, SCHEDULED};

/// The clock of the server is moved forward by this, so that a day ends: longer than anything is
/// waited for (twelve hours).
const NIGHT: &str = "+13h";

/// Whoever looks after the whole archive, and whoever reads the audit trail.
const NATIONAL: (&str, &str) = ("archive", "auditor");

/// Runs a day.
///
/// # Panics
/// When something is refused that must not be; what is not as it must be in the end is in the
/// report.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    let begun = Instant::now();
    let cases = plan.cases();
    let hospitals = centre::hospitals();
    let centre = Centre::start(&hospitals);
    let operators = centre.operators(&hospitals);
    let national = {
        let portal = centre.portal();
        let user = |name: &str, role: &str| portal.user(name, &[role]);
        let archive = user(NATIONAL.0, "archive_admin@national");
        (archive, user(NATIONAL.1, "auditor@national"))
    };
    let tokens = tokens(&centre, &hospitals);
    let day_begun = Instant::now();
    let mut records = work(&centre, &hospitals, &operators, (plan, &cases));
    let day = day_begun.elapsed();

    let findings = Findings::default();
    tell("the work", begun, &findings);
    let askers = askers(&centre, &hospitals, (&operators, &national.0), &tokens);
    each(&askers, &records, |asker, records| {
        asker.ask_for_states(records, Time::Evening, &findings);
    });
    askers[0].ask_for_strangers(&records.concat(), &findings);
    tell("the evening", begun, &findings);
    let corrected = put_all_right(&askers, &mut records, &findings);
    let is_morning = sleep(&centre);
    let (operators, national) = if is_morning {
        sign_in_again(&centre, &hospitals)
    } else {
        (operators, national)
    };
    let askers = self::askers(&centre, &hospitals, (&operators, &national.0), &tokens);
    let time = if is_morning {
        Time::Morning
    } else {
        Time::Evening
    };
    let images = std::sync::atomic::AtomicUsize::new(0);
    each(&askers, &records, |asker, records| {
        asker.ask_for_states(records, time, &findings);
        asker.ask_for_patients(records, &findings);
        let count = asker.ask_for_images(records, &findings);
        images.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    });
    tell("the morning", begun, &findings);
    if let Some(fault) = trail(&Clerk::new(&centre, &national.1, "trail")) {
        findings.fault(fault);
    }
    let lies = lies(&askers, &records);
    let report = Report {
        plan: *plan,
        records: records.concat(),
        seen: findings.seen(),
        faults: findings.faults(),
        lies,
        images: images.into_inner(),
        corrected,
        interrupted: centre.interrupted(),
        is_morning,
        day,
        all: begun.elapsed(),
    };
    let mut server = centre.into_portal().server;
    end(&mut server);
    report
}

/// Says how far the day is, for whoever waits for it.
fn tell(what: &str, begun: Instant, findings: &Findings) {
    let (seconds, count) = (begun.elapsed().as_secs_f64(), findings.faults().len());
    eprintln!("simulate-day: {what} is over after {seconds:.1} s, {count} faults");
}

/// Everybody works; the server is killed after a third of the day and ends in order after two.
fn work(
    centre: &Centre,
    hospitals: &[Hospital],
    operators: &[Browser],
    (plan, cases): (&Plan, &[Case]),
) -> Vec<Vec<Record>> {
    std::thread::scope(|scope| {
        let working: Vec<_> = (0..hospitals.len())
            .map(|here| {
                let own = (here, plan.seed);
                let work = Work::new(centre, hospitals, operators, own);
                let cases = cases.iter().filter(move |case| case.hospital == here);
                scope.spawn(move || work.work(cases))
            })
            .collect();
        centre.wait_for(cases.len() / 3);
        centre.restart(true);
        centre.wait_for(cases.len() * 2 / 3);
        centre.restart(false);
        let records = working.into_iter().map(|one| one.join().expect("a day"));
        records.collect()
    })
}

/// A token of each hospital, and one for everything.
fn tokens(centre: &Centre, hospitals: &[Hospital]) -> Vec<String> {
    let portal = centre.portal();
    let token = |name: &str, sees: &[&str]| {
        let words = ["token", "create", name, "--scope", "find,get"];
        let said = portal.pacs(&[&words, sees].concat());
        let secret = said.lines().find(|line| line.starts_with("pacs_"));
        secret.expect("a secret").to_owned()
    };
    let own = hospitals.iter();
    let own = own.map(|hospital| token(&hospital.prefix, &["--organisation", &hospital.code]));
    own.chain([token("everything", &["--everything"])])
        .collect()
}

fn askers<'c>(
    centre: &'c Centre,
    hospitals: &'c [Hospital],
    (operators, national): (&'c [Browser], &Browser),
    tokens: &[String],
) -> Vec<Asker<'c>> {
    let everything = tokens.last().expect("tokens");
    let askers = operators.iter().enumerate().map(|(here, operator)| {
        let keys = format!("asker-{here}");
        Asker {
            centre,
            here,
            hospitals,
            clerk: Clerk::new(centre, operator, &keys),
            operators,
            national: Clerk::new(centre, national, &keys),
            token: tokens[here].clone(),
            everything: everything.clone(),
        }
    });
    askers.collect()
}

fn each(askers: &[Asker<'_>], records: &[Vec<Record>], ask: impl Fn(&Asker<'_>, &[Record]) + Sync) {
    std::thread::scope(|scope| {
        for (asker, records) in askers.iter().zip(records) {
            let ask = &ask;
            scope.spawn(move || ask(asker, records));
        }
    });
}

/// The operators of all hospitals put right what was planned to be; how many.
fn put_all_right(askers: &[Asker<'_>], records: &mut [Vec<Record>], findings: &Findings) -> usize {
    std::thread::scope(|scope| {
        let correcting: Vec<_> = askers
            .iter()
            .zip(records)
            .map(|(asker, records)| scope.spawn(|| put_right(asker, records, findings)))
            .collect();
        let corrected = correcting.into_iter();
        corrected.map(|one| one.join().expect("done")).sum()
    })
}

/// The operator of a hospital puts right what was planned to be; how many.
fn put_right(asker: &Asker<'_>, records: &mut [Record], findings: &Findings) -> usize {
    let mut count = 0;
    let mut clerk = asker.clerk.clone();
    for record in records.iter_mut().filter(|one| one.will_be_put_right) {
        match correct(&mut clerk, record) {
            Ok(true) => {
                record.studies[0].is_put_right = true;
                count += 1;
            }
            Ok(false) => {}
            Err(fault) => findings.fault(format!("{fault}, {}", record.identity.name())),
        }
    }
    count
}

/// Puts right what is wrong with a record; `false`: nothing that an operator could.
fn correct(clerk: &mut Clerk<'_>, record: &mut Record) -> Result<bool, String> {
    let study = &record.studies[0];
    let own = study.exam.map(|at| record.exams[at].id.clone());
    match (record.identity, own) {
        (Identity::Emergency, _) => {
            let patient = clerk.make("/patients/unidentified", &json!({"sex": "M"}));
            let patient = patient.json()["number"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let made = json!({"patient": patient, "regions": [{"part": "816094009"}]});
            let seen = clerk.correct(&study.uid, "create", &made)?;
            let exam = Exam {
                id: seen["examination"].as_str().unwrap_or_default().to_owned(),
                hospital: study.hospital,
                patient,
                evening: truth::QUIET,
                morning: truth::RECEIVED,
                is_late: None,
                is_incomplete: false,
            };
            record.studies[0].exam = Some(record.exams.len());
            record.exams.push(exam);
            Ok(true)
        }
        (Identity::OtherHospital | Identity::Cancelled | Identity::UnknownDevice, _) => Ok(false),
        (Identity::Mixed, Some(_)) => {
            let last = study.images.last().expect("images").series.clone();
            let other = &record.exams[1].id;
            let split = json!({"series": [last], "examination": other});
            let seen = clerk.correct(&study.uid, "split", &split)?;
            if seen["examination"].is_null() {
                // Both patients were seen before it was bound: what is left waits as well.
                let own = study.exam.map(|at| record.exams[at].id.clone());
                clerk.correct(&study.uid, "bind", &json!({ "examination": own }))?;
            }
            record.exams[1].ends(Ending::Silence);
            Ok(true)
        }
        (_, Some(own)) if study.fate != Fate::Bound => {
            clerk.correct(&study.uid, "bind", &json!({ "examination": own }))?;
            let exam = study.exam.expect("its own");
            record.exams[exam].ends(Ending::Silence);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Lets the night pass, where the clock of a server can be moved.
fn sleep(centre: &Centre) -> bool {
    let library = crate::edges::library(crate::edges::clock::LIBRARY);
    let library = library.display().to_string();
    if !crate::edges::has(&library, "faketime") {
        return false;
    }
    centre.restart_with(&[
        ("LD_PRELOAD", &library),
        ("FAKETIME", NIGHT),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
    true
}

/// The sessions are over in the morning.
fn sign_in_again(centre: &Centre, hospitals: &[Hospital]) -> (Vec<Browser>, (Browser, Browser)) {
    let portal = centre.portal();
    let operators = hospitals.iter().map(|one| portal.again(&one.operator()));
    let national = (portal.again(NATIONAL.0), portal.again(NATIONAL.1));
    (operators.collect(), national)
}

/// What is wrong with the audit trail of the day.
fn trail(auditor: &Clerk<'_>) -> Option<String> {
    let verified = auditor.send("POST", "/audit/verification", &[], &json!({}));
    let said = verified.json();
    let is_whole = verified.status == 200 && said["is_whole"] == true;
    (!is_whole).then(|| format!("TRAIL: {} {said}", verified.status))
}

/// The oracle is lied to; each lie, and what it said of it.
fn lies(askers: &[Asker<'_>], records: &[Vec<Record>]) -> Vec<(&'static str, Option<String>)> {
    let all = || {
        let numbered = askers.iter().zip(records);
        numbered.flat_map(|(asker, records)| records.iter().map(move |record| (asker, record)))
    };
    let mut lies = Vec::new();
    // An image that never came, and one of other pixels.
    let (asker, record) = all()
        .find(|(_, record)| record.identity == Identity::Right)
        .expect("a good one");
    let mut told = record.clone();
    let mut never = told.studies[0].images[0].clone();
    never.instance = images::new_uid(&mut Random::new(0));
    told.studies[0].images.push(never);
    let said = asker.images(&told, &told.studies[0], false);
    lies.push(("an image that was never sent", said.into_iter().next()));
    let mut told = record.clone();
    if let Some(last) = told.studies[0].images[0].data_set.last_mut() {
        *last ^= 1;
    }
    let said = asker.images(&told, &told.studies[0], false);
    lies.push(("one bit of an image", said.into_iter().next()));
    // Somebody binds images to another patient on purpose, and somebody makes a study go away.
    let waiting = || {
        all().filter(|(_, record)| {
            let waits =
                |study: &truth::Study| matches!(study.fate, Fate::Waits(_)) && !study.is_put_right;
            record.studies.iter().any(waits) && record.identity != Identity::OtherHospital
        })
    };
    let another = |own: &Record, here: usize| {
        let others = all().filter(|(asker, _)| asker.here == here);
        let exams = others
            .filter(|(_, record)| !std::ptr::eq(*record, own))
            .flat_map(|(_, record)| &record.exams);
        let mut free = exams.filter(|exam| exam.hospital == here && exam.evening == SCHEDULED);
        free.next().cloned()
    };
    let mut bindable = waiting().filter_map(|(asker, record)| {
        another(record, asker.here).map(|exam| (asker, record, exam))
    });
    if let Some((asker, record, exam)) = bindable.next() {
        let study = &record.studies[0];
        let bound = json!({ "examination": exam.id });
        asker.clerk.correct(&study.uid, "bind", &bound).ok();
        let said = asker.decided(record, study).err();
        lies.push(("images that are bound to another patient", said));
    }
    if let Some((asker, record)) = waiting().next_back() {
        let study = &record.studies[0];
        asker.clerk.correct(&study.uid, "reject", &json!({})).ok();
        let said = asker.decided(record, study).err();
        lies.push(("a study that was taken out of the queue", said));
    }
    lies
}

/// The server ends in order, and what it leaves is whole.
fn end(server: &mut Server) {
    assert!(server.stop().success(), "it does not end in order");
    crash::verify(&server.data());
    crash::no_temporary_files(&server.data());
}

/// Reads the command line of the campaign and runs it.
///
/// # Panics
/// When the command line is wrong, or anything is not as it must be.
pub fn main() {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut plan = Plan {
        examinations: 3_000,
        seed: clock.map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs()),
    };
    let mut is_json = false;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().unwrap_or_default();
            value.parse::<u64>().expect("a number")
        };
        match argument.as_str() {
            "--seed" => plan.seed = number(),
            "--examinations" => {
                plan.examinations = usize::try_from(number()).expect("a number");
            }
            "--json" => is_json = true,
            other => panic!("unknown option {other}"),
        }
    }
    eprintln!("simulate-day: seed {}", plan.seed);
    let report = run(&plan);
    if is_json {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    assert!(report.is_good(), "the day was not as it must be");
}
