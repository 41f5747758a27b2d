//! What became of many files: counted, told, and reported.

use super::failure::{Failure, chain};
use super::journal::Journal;
use super::output::{Output, Work};
use pacs_media::content::Place;
use pacs_media::{Identity, Refused};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Counts, and tells what is refused. Many may do so at once.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) output: Output,
    pub(super) work: Work,
    begun: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    report: Option<BufWriter<File>>,
    journal: Option<Journal>,
    counts: Counts,
}

/// How many files became what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Kept now.
    pub(super) stored: u64,
    /// Of those, the ones that were known before.
    pub(super) same: u64,
    /// Of those, the ones kept beside other content.
    pub(super) conflicts: u64,
    /// Done in an earlier run.
    pub(super) already: u64,
    /// Refused, though they claim to be instances.
    pub(super) refused: u64,
    /// No instances.
    pub(super) skipped: u64,
    /// Bytes of data sets that were kept.
    pub(super) bytes: u64,
}

impl Tally {
    /// With a report of what is refused, if one is wanted.
    pub(super) fn new(
        output: &Output,
        work: Work,
        report: Option<&Path>,
        journal: Option<Journal>,
    ) -> Result<Self, Failure> {
        let report = match report {
            None => None,
            Some(path) => {
                let file = File::create(path).map_err(|error| Failure::file(path, error))?;
                Some(BufWriter::new(file))
            }
        };
        Ok(Self {
            output: output.clone(),
            work,
            begun: Instant::now(),
            inner: Mutex::new(Inner {
                report,
                journal,
                counts: Counts::default(),
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> Counts {
        self.inner().counts
    }

    pub(super) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Done in an earlier run.
    pub(super) fn already(&self, size_bytes: u64) {
        self.work.add(size_bytes);
        self.inner().counts.already += 1;
    }

    /// Kept, `data_set_bytes` long.
    pub(super) fn stored(&self, identity: Identity, size_bytes: u64, data_set_bytes: u64) {
        self.work.add(size_bytes);
        let mut inner = self.inner();
        inner.counts.stored += 1;
        inner.counts.bytes += data_set_bytes;
        let failed = inner.journal.as_mut().map(|journal| journal.add(identity));
        if let Some(Err(error)) = failed {
            inner.journal = None;
            drop(inner);
            let text = format!("journal: {error}; what follows will be done again next time");
            self.output
                .problem(&text, &serde_json::json!({ "message": text }));
        }
    }

    pub(super) fn same(&self) {
        self.inner().counts.same += 1;
    }

    /// Kept, with something to be told.
    pub(super) fn remark(&self, place: &Place, reason: &str, message: &str) {
        if reason == "conflict" {
            self.inner().counts.conflicts += 1;
        }
        self.tell(place, reason, message);
    }

    /// Found, and not taken. What was named itself is not passed over in silence.
    pub(super) fn refuse(&self, refused: &Refused, is_named: bool) {
        let is_skip = refused.why.is_skip() && !is_named;
        self.count_refusal(is_skip);
        self.tell(&refused.place, refused.why.word(), &chain(&refused.why));
    }

    /// Refused by where it was to go.
    pub(super) fn refuse_because(&self, place: &Place, reason: &str, message: &str) {
        self.count_refusal(false);
        self.tell(place, reason, message);
    }

    fn count_refusal(&self, is_skip: bool) {
        let counts = &mut self.inner().counts;
        if is_skip {
            counts.skipped += 1;
        } else {
            counts.refused += 1;
        }
    }

    fn tell(&self, place: &Place, reason: &str, message: &str) {
        let path = place.to_string();
        let value = serde_json::json!({ "path": path, "reason": reason, "message": message });
        let failed = self
            .inner()
            .report
            .as_mut()
            .map(|report| writeln!(report, "{value}"));
        if let Some(Err(error)) = failed {
            self.inner().report = None;
            let text = format!("report: {error}");
            self.output
                .problem(&text, &serde_json::json!({ "message": text }));
        }
        self.output.problem(&format!("{path}: {message}"), &value);
    }

    /// Ends report and journal. The journal stays while there is something to do again.
    pub(super) fn end(&self, is_done: bool) -> Result<(), Failure> {
        let mut inner = self.inner();
        if let Some(mut report) = inner.report.take() {
            report
                .flush()
                .map_err(|error| Failure::file(Path::new("report"), error))?;
        }
        if let Some(journal) = inner.journal.take()
            && is_done
        {
            journal.end().ok();
        }
        Ok(())
    }
}
