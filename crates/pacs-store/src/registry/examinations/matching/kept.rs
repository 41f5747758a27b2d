//! How many images of which series are in sight: what the registry does not know by itself.

use pacs_core::uid::{SeriesUid, StudyUid};
use std::collections::BTreeMap;

/// Images in sight, by study and series. A study that was not looked at is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptImages(BTreeMap<StudyUid, BTreeMap<SeriesUid, u64>>);

impl KeptImages {
    /// Nothing that was looked at.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what there is of a study.
    pub fn insert(&mut self, study: StudyUid, series: BTreeMap<SeriesUid, u64>) {
        self.0.insert(study, series);
    }

    /// Sets that one image of a series is in sight no longer.
    pub fn remove_one(&mut self, study: &StudyUid, series: &SeriesUid) {
        let count = self.0.get_mut(study).and_then(|of| of.get_mut(series));
        if let Some(count) = count {
            *count = count.saturating_sub(1);
        }
    }

    /// The series of a study, each with the count of its images; `None`: it was not looked at.
    #[must_use]
    pub fn series_of(&self, study: &StudyUid) -> Option<&BTreeMap<SeriesUid, u64>> {
        self.0.get(study)
    }

    /// The images of a study.
    #[must_use]
    pub fn count_of(&self, study: &StudyUid) -> Option<u64> {
        let series = self.series_of(study)?;
        Some(
            series
                .values()
                .fold(0, |sum, count| sum.saturating_add(*count)),
        )
    }
}
