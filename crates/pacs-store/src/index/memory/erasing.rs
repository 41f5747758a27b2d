//! Erasing, in the model.

use super::{State, Version};
use crate::index::{Applied, ChangeKind, Doomed, Location, StoredInstance};
use pacs_core::{Attributes, SopInstanceUid, StudyUid};
use std::collections::BTreeSet;

impl State {
    /// Where all content of a study stands.
    pub(super) fn content_of(&self, study: &StudyUid) -> Vec<Location> {
        let of_study = self.versions.iter().filter(|version| is_in(version, study));
        of_study
            .flat_map(|version| {
                std::iter::once(version.stored.location).chain(version.copies.iter().copied())
            })
            .collect()
    }

    /// Ends what is known of a study.
    pub(super) fn erase(&mut self, study: &StudyUid) -> Applied {
        let mut erased = Vec::new();
        for version in &mut self.versions {
            if is_in(version, study) {
                version.erased = true;
                version.stored.instance.attributes = Attributes::new();
                erased.push((version.stored.clone(), std::mem::take(&mut version.copies)));
            }
        }
        let mut touched = BTreeSet::new();
        for (stored, copies) in &erased {
            self.note(ChangeKind::Erased, stored);
            touched.insert(stored.instance.instance.clone());
            for location in std::iter::once(&stored.location).chain(copies) {
                let doomed = doomed_of(stored, *location);
                self.doomed.insert(doomed.place(), doomed);
            }
        }
        for stored in self.serve_next(&touched) {
            self.note(ChangeKind::Restored, &stored);
        }
        Applied::Moved {
            instances_count: erased.len() as u64,
        }
    }

    /// Serves the first version that is left of each of these instances; those that were not served
    /// before, in order of arrival.
    fn serve_next(&mut self, touched: &BTreeSet<SopInstanceUid>) -> Vec<StoredInstance> {
        let mut seen = BTreeSet::new();
        let mut served = Vec::new();
        for version in self.versions.iter_mut().filter(|version| !version.erased) {
            let uid = &version.stored.instance.instance;
            if touched.contains(uid) && seen.insert(uid.clone()) && !version.served {
                version.served = true;
                served.push(version.stored.clone());
            }
        }
        served
    }
}

fn is_in(version: &Version, study: &StudyUid) -> bool {
    !version.erased && version.stored.instance.study == *study
}

fn doomed_of(stored: &StoredInstance, location: Location) -> Doomed {
    let instance = &stored.instance;
    Doomed {
        location,
        digest: stored.digest,
        study: instance.study.clone(),
        series: instance.series.clone(),
        instance: instance.instance.clone(),
    }
}
