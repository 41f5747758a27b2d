//! What was injected in a day, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::plan::{Ending, Identity, Line, Plan};
use super::truth::Record;

/// A day.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it was made of.
    pub plan: Plan,
    /// What happened.
    pub records: Vec<Record>,
    /// What the server made of it: of what, how, and how often.
    pub seen: BTreeMap<(String, String), usize>,
    /// What is not as it must be.
    pub faults: Vec<String>,
    /// Lies, and what the oracle said of each.
    pub lies: Vec<(&'static str, Option<String>)>,
    /// Images that were asked for in the end.
    pub images: usize,
    /// Studies that operators put right.
    pub corrected: usize,
    /// Requests that restarts broke off.
    pub interrupted: usize,
    /// Whether the night passed, so that times of silence ended.
    pub is_morning: bool,
    /// How long everybody worked.
    pub day: Duration,
    /// How long all of it took.
    pub all: Duration,
}

/// Faults that are shown.
const SHOWN_MAX: usize = 40;

impl Report {
    /// Whether the day was as it must be, and every lie was noticed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let is_noticed = |(_, said): &(_, Option<String>)| said.is_some();
        self.faults.is_empty() && self.lies.iter().all(is_noticed)
    }

    /// How many cases something is true of.
    fn count(&self, is_so: impl Fn(&Record) -> bool) -> usize {
        self.records.iter().filter(|record| is_so(record)).count()
    }

    /// Faults that begin so.
    #[must_use]
    pub fn faults_of(&self, kind: &str) -> usize {
        let of_kind = self.faults.iter().filter(|fault| fault.starts_with(kind));
        of_kind.count()
    }

    /// What was injected: its name, how often, and what came of it.
    fn rows(&self) -> Vec<(String, usize, String)> {
        let came = |name: &str| {
            let of_it = self.seen.iter().filter(|((what, _), _)| what == name);
            let of_it = of_it.map(|((_, how), count)| format!("{count} {how}"));
            of_it.collect::<Vec<_>>().join("; ")
        };
        let mut rows = Vec::new();
        for identity in Identity::ALL {
            let count = self.count(|record| record.identity == identity);
            rows.push((identity.name().to_owned(), count, came(identity.name())));
        }
        let endings = [
            Ending::Step,
            Ending::StepThenLate,
            Ending::StepOnlyBegins,
            Ending::StepMisses,
            Ending::StepBrokenOff,
            Ending::Declared,
            Ending::DeclaredThenLate,
            Ending::Silence,
        ];
        for ending in endings {
            let count = self.count(|record| record.ending == ending && record.studies_bound());
            rows.push((ending.name().to_owned(), count, came(ending.name())));
        }
        for (line, name) in [
            (Line::Breaks, "line broken in the middle"),
            (Line::SentAgain, "sent again"),
        ] {
            let count = self.count(|record| record.line == line);
            rows.push((name.to_owned(), count, String::new()));
        }
        rows
    }

    /// The same for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let rows = self.rows().into_iter();
        let rows: Vec<Value> = rows
            .map(|(name, count, came)| json!({"what": name, "injected": count, "came": came}))
            .collect();
        json!({
            "seed": self.plan.seed,
            "examinations": self.plan.examinations,
            "orders": self.orders(),
            "typing_errors": self.count(|record| record.identity.is_typing_error()),
            "rows": rows,
            "images": self.images,
            "put_right": self.corrected,
            "interrupted": self.interrupted,
            "wrong_patient": self.faults_of("WRONG PATIENT"),
            "lost": self.faults_of("LOST"),
            "changed": self.faults_of("CHANGED"),
            "faults": self.faults,
            "lies_noticed": self.lies.iter().filter(|(_, said)| said.is_some()).count(),
            "lies": self.lies.len(),
            "night_passed": self.is_morning,
            "day_seconds": self.day.as_secs_f64(),
            "seconds": self.all.as_secs_f64(),
        })
    }

    fn orders(&self) -> usize {
        self.records.iter().map(|record| record.exams.len()).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "| what happened | injected | what came of it |")?;
        writeln!(out, "|---|---|---|")?;
        for (name, count, came) in self.rows() {
            writeln!(out, "| {name} | {count} | {came} |")?;
        }
        let errors = self.count(|record| record.identity.is_typing_error());
        writeln!(
            out,
            "\nseed {}, {} examinations ({} orders), {errors} of their IDs mistyped, {} images; \
             killed once and restarted once in the day, {} requests broken off and repeated; \
             {} studies put right by operators; the day took {:.0} s, all {:.0} s",
            self.plan.seed,
            self.plan.examinations,
            self.orders(),
            self.images,
            self.interrupted,
            self.corrected,
            self.day.as_secs_f64(),
            self.all.as_secs_f64(),
        )?;
        if !self.is_morning {
            writeln!(
                out,
                "SKIPPED: the night, for the clock cannot be moved here"
            )?;
        }
        for (lie, said) in &self.lies {
            let said = said.as_deref().unwrap_or("NOT NOTICED");
            writeln!(out, "lie: {lie}: {said}")?;
        }
        for fault in self.faults.iter().take(SHOWN_MAX) {
            writeln!(out, "FAULT {fault}")?;
        }
        write!(
            out,
            "on a wrong patient: {}; lost: {}; changed: {}; other faults: {}",
            self.faults_of("WRONG PATIENT"),
            self.faults_of("LOST"),
            self.faults_of("CHANGED"),
            self.faults.len()
                - self.faults_of("WRONG PATIENT")
                - self.faults_of("LOST")
                - self.faults_of("CHANGED"),
        )
    }
}
