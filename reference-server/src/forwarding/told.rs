//! What the audit trail is told of what is sent on: of each study that it begins, and once in a
//! while how much of it went.

use super::Trouble;
use crate::limits::ForwardingBounds;
use crate::recorder::{Recorder, count};
use pacs_core::AeTitle;
use pacs_core::audit::{Act, StudyTouched};
use pacs_store::index::StoredInstance;
use tokio::time::Instant;

/// What was sent and not told yet.
#[derive(Debug)]
pub(super) struct Told {
    studies: Vec<StudyTouched>,
    since: Instant,
}

impl Told {
    pub(super) fn new() -> Self {
        Self {
            studies: Vec::new(),
            since: Instant::now(),
        }
    }

    /// Tells that these are about to go: otherwise they do not.
    pub(super) async fn begin(
        &mut self,
        recorder: &Recorder,
        node: &AeTitle,
        instances: &[StoredInstance],
    ) -> Result<(), Trouble> {
        let mut begun = Vec::new();
        for stored in instances {
            let study = &stored.instance.study;
            if !self.studies.iter().any(|known| known.study == *study) {
                count(&mut begun, stored, false);
            }
        }
        if begun.is_empty() {
            return Ok(());
        }
        let told = recorder.passed_on(Act::TransferBegun, begun.clone(), node);
        told.await.map_err(|_not_recorded| Trouble::Unrecorded)?;
        for study in begun {
            self.studies.push(StudyTouched {
                instances_count: 0,
                ..study
            });
        }
        Ok(())
    }

    /// One of them was taken.
    pub(super) fn sent(&mut self, stored: &StoredInstance) {
        count(&mut self.studies, stored, false);
    }

    /// Tells how much went, where that is due.
    pub(super) async fn finish(
        &mut self,
        recorder: &Recorder,
        node: &AeTitle,
        bounds: &ForwardingBounds,
    ) {
        let is_due = self.since.elapsed() >= bounds.told_every;
        if is_due || self.studies.len() >= bounds.told_max {
            self.finish_now(recorder, node).await;
        }
    }

    /// Tells how much went.
    pub(super) async fn finish_now(&mut self, recorder: &Recorder, node: &AeTitle) {
        self.since = Instant::now();
        let mut studies = std::mem::take(&mut self.studies);
        studies.retain(|study| study.instances_count > 0);
        if !studies.is_empty() {
            let told = recorder.passed_on(Act::ImagesSent, studies, node);
            // That it began is on record; the log has why the rest is not.
            told.await.ok();
        }
    }
}
