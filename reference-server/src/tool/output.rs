//! What a command says, and how: lines for people, or one JSON object a line (`--json`), and a bar
//! while long work goes on.
//!
//! Results go to standard output, problems to standard error; with `--json` both are lines of
//! standard output whose `kind` tells them apart: `result`, `problem`, `summary`, `error`. The bar
//! is on standard error, and only where that is a terminal.

use super::failure::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the bar moves where nothing else happens.
const TICK: Duration = Duration::from_millis(200);

/// Where a command speaks. Clones speak in the same place.
#[derive(Debug, Clone)]
pub struct Output {
    is_json: bool,
    /// The bar that is shown now; lines go around it.
    bar: Arc<Mutex<ProgressBar>>,
}

/// What is counted while work goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Files.
    Files,
    /// Instances.
    Instances,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'static str,
    #[serde(flatten)]
    value: &'a T,
}

impl Output {
    /// For people, or as JSON.
    #[must_use]
    pub fn new(is_json: bool) -> Self {
        Self {
            is_json,
            bar: Arc::new(Mutex::new(ProgressBar::hidden())),
        }
    }

    /// Whether JSON is wanted.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.is_json
    }

    /// One result: `text` for people, `value` (a map) as JSON. Empty texts are not shown.
    pub fn result(&self, text: &str, value: &impl Serialize) {
        self.say("result", text, value);
    }

    /// What all of it came to: the last line of a command, unless it fails.
    pub fn summary(&self, text: &str, value: &impl Serialize) {
        self.take_bar_away();
        self.say("summary", text, value);
    }

    /// Something that did not go as asked, while the work goes on.
    pub fn problem(&self, text: &str, value: &impl Serialize) {
        if self.is_json {
            self.say("problem", "", value);
        } else {
            self.around_bar(|| {
                writeln!(std::io::stderr(), "pacs: {text}").ok();
            });
        }
    }

    /// A line for people that is no result, such as the head of a table.
    pub fn note(&self, text: &str) {
        if !self.is_json {
            self.say("note", text, &());
        }
    }

    /// Why the command failed: on standard error, and as JSON on standard output too.
    pub fn failure(&self, failure: &Failure) {
        self.take_bar_away();
        if self.is_json {
            let value = serde_json::json!({
                "exit_code": failure.exit().code(),
                "layer": failure.layer(),
                "message": failure.to_string(),
            });
            self.say("error", "", &value);
        }
        self.around_bar(|| {
            writeln!(std::io::stderr(), "pacs: {failure}").ok();
        });
    }

    /// Shows a bar for `total` units of work, or for work without a known end.
    #[must_use]
    pub fn work(&self, what: &str, unit: Unit, total: Option<u64>) -> Work {
        let target = ProgressDrawTarget::stderr_with_hz(5);
        let bar = ProgressBar::with_draw_target(total, target);
        bar.set_style(style(unit, total.is_some()));
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = bar.clone();
        Work { bar, unit }
    }

    fn say(&self, kind: &'static str, text: &str, value: &impl Serialize) {
        let line = if self.is_json {
            match serde_json::to_string(&Line { kind, value }) {
                Ok(line) => line,
                Err(error) => format!("{{\"kind\":\"error\",\"message\":\"{error}\"}}"),
            }
        } else if text.is_empty() {
            return;
        } else {
            text.to_owned()
        };
        self.around_bar(|| {
            // A reader that went away is no failure of ours.
            writeln!(std::io::stdout(), "{line}").ok();
        });
    }

    fn take_bar_away(&self) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        bar.finish_and_clear();
    }

    fn around_bar(&self, speak: impl FnOnce()) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        bar.suspend(speak);
    }
}

/// Long work that is going on: tell it how far it has come. Clones are the same work. The bar goes
/// with [`Work::end`], or with the summary or failure of the command.
#[derive(Debug, Clone)]
pub struct Work {
    bar: ProgressBar,
    unit: Unit,
}

impl Work {
    /// So much more is done.
    pub fn add(&self, count: u64) {
        self.bar.inc(count);
    }

    /// So much is done in all.
    pub fn set(&self, count: u64) {
        self.bar.set_position(count);
    }

    /// So much is to be done in all, as is known now.
    pub fn set_total(&self, total: u64) {
        if self.bar.length().is_none() {
            self.bar.set_style(style(self.unit, true));
        }
        self.bar.set_length(total);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(unit: Unit, has_total: bool) -> ProgressStyle {
    let template = match (unit, has_total) {
        (Unit::Bytes, true) => "{msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
        (Unit::Bytes, false) => "{msg} {spinner} {bytes} {bytes_per_sec}, {elapsed}",
        (Unit::Files, true) => "{msg} [{bar:24}] {pos}/{len} files {per_sec}, {eta} left",
        (Unit::Files, false) => "{msg} {spinner} {pos} files {per_sec}, {elapsed}",
        (Unit::Instances, true) => "{msg} [{bar:24}] {pos}/{len} instances {per_sec}, {eta} left",
        (Unit::Instances, false) => "{msg} {spinner} {pos} instances {per_sec}, {elapsed}",
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_a_bar_that_can_be_drawn() {
        for unit in [Unit::Bytes, Unit::Files, Unit::Instances] {
            for total in [None, Some(10)] {
                let work = Output::new(false).work("working", unit, total);
                work.add(5);
                work.set_total(20);
                work.set(7);
                assert_eq!((work.bar.position(), work.bar.length()), (7, Some(20)));
                work.end();
                assert!(work.bar.is_finished());
            }
        }
    }

    #[test]
    fn a_line_of_json_tells_its_kind_first() {
        let value = serde_json::json!({ "count": 1 });
        let kind = "summary";

        let line = serde_json::to_string(&Line {
            kind,
            value: &value,
        });

        assert_eq!(line.unwrap(), r#"{"kind":"summary","count":1}"#);
    }
}
