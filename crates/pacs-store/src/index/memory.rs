//! The model of an index: everything in one vector, every answer computed from it anew.
//!
//! It is what the contract of [`super::Index`] says, in the plainest code that says it; other
//! backends are held against it. It keeps nothing across a restart and is slow with more than some
//! thousand instances: for tests and for archives that live as long as their process.

mod erasing;

use super::{
    Applied, Change, ChangeKind, ChangeNumber, Committed, Digest, Doomed, DurableContent, Index,
    IndexError, Location, LogPosition, LogRecord, Match, Notes, Promised, Quota, Results, Staged,
    StoredInstance, StudyNote, Target, Versions, answer, note,
};
use async_trait::async_trait;
use pacs_core::examination::reconcile::Kind;
use pacs_core::instance::level_of;
use pacs_core::matching::Matcher;
use pacs_core::role::sight::Sight;
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Query, SeriesUid, SopInstanceUid, StudyUid, Vr};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An [`Index`] in memory. Clones share their content.
#[derive(Debug, Default, Clone)]
pub struct MemoryIndex {
    state: Arc<Mutex<State>>,
}

impl MemoryIndex {
    /// An index of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is made on a copy, so that a panic elsewhere cannot have left half of one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default, Clone)]
struct State {
    versions: Vec<Version>,
    changes: Vec<Change>,
    position: LogPosition,
    notes: BTreeMap<StudyUid, StudyNote>,
    noted: u64,
    /// What is erased and not known to be destroyed, by its place.
    doomed: BTreeMap<(u64, u64), Doomed>,
}

#[derive(Debug, Clone)]
struct Version {
    stored: StoredInstance,
    /// Whether it is the first under its UID.
    served: bool,
    hidden: bool,
    /// Whether its bytes were destroyed before the log told of it.
    destroyed: bool,
    /// Whether its study was erased: then it only keeps its number.
    erased: bool,
    /// Where else the log has the same content: it was sent again when this was damaged.
    copies: Vec<Location>,
}

impl Version {
    fn visible(&self) -> bool {
        self.served && !self.hidden && !self.destroyed && !self.erased
    }

    fn is_of(&self, instance: &SopInstanceUid) -> bool {
        !self.erased && self.stored.instance.instance == *instance
    }

    /// Whether it has this content, or had it until that was destroyed.
    fn has(&self, digest: &Digest, or_had: bool) -> bool {
        self.stored.digest == *digest && (or_had || !self.destroyed)
    }

    fn names(&self, target: &Target) -> bool {
        let instance = &self.stored.instance;
        if self.erased {
            return false;
        }
        match target {
            Target::Instance(uid) => instance.instance == *uid,
            Target::Series(uid) => instance.series == *uid,
            Target::Study(uid) => instance.study == *uid,
            Target::InstanceIn {
                study,
                series,
                instance: uid,
            } => {
                instance.study == *study && instance.series == *series && instance.instance == *uid
            }
            Target::InstancesIn { study, instances } => {
                instance.study == *study && instances.contains(&instance.instance)
            }
            Target::SeriesIn { study, series } => {
                instance.study == *study && instance.series == *series
            }
        }
    }
}

impl State {
    fn apply(&mut self, record: LogRecord) -> Applied {
        match record {
            LogRecord::Destroyed(stored) => self.receive(*stored, true),
            LogRecord::Erase { study } => self.erase(&study),
            LogRecord::Instance(stored) => self.receive(*stored, false),
            LogRecord::Hide { target, .. } => self.turn(&target, true),
            LogRecord::Restore { target } => self.turn(&target, false),
        }
    }

    fn receive(&mut self, stored: StoredInstance, destroyed: bool) -> Applied {
        let uid = &stored.instance.instance;
        let known: Vec<usize> = (0..)
            .zip(&self.versions)
            .filter_map(|(at, version)| version.is_of(uid).then_some(at))
            .collect();
        for at in &known {
            if let Some(version) = self.versions.get_mut(*at)
                && version.has(&stored.digest, destroyed)
            {
                let place = |of: &Location| (of.pack, of.offset);
                if place(&version.stored.location) != place(&stored.location) {
                    version.copies.push(stored.location);
                }
                return Applied::Same;
            }
        }
        let served = known.is_empty();
        let version = u32::try_from(known.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let kind = if served {
            ChangeKind::Received
        } else {
            ChangeKind::Conflicted
        };
        let change = self.note(kind, &stored);
        self.versions.push(Version {
            stored,
            served,
            hidden: false,
            destroyed,
            erased: false,
            copies: Vec::new(),
        });
        if served {
            Applied::New { change }
        } else {
            Applied::Conflict { change, version }
        }
    }

    fn turn(&mut self, target: &Target, hidden: bool) -> Applied {
        let kind = if hidden {
            ChangeKind::Hidden
        } else {
            ChangeKind::Restored
        };
        let mut moved = Vec::new();
        for version in &mut self.versions {
            if version.served && version.hidden != hidden && version.names(target) {
                version.hidden = hidden;
                moved.push(version.stored.clone());
            }
        }
        for stored in &moved {
            self.note(kind, stored);
        }
        Applied::Moved {
            instances_count: moved.len() as u64,
        }
    }

    fn note(&mut self, kind: ChangeKind, stored: &StoredInstance) -> ChangeNumber {
        let number = ChangeNumber(self.changes.len() as u64 + 1);
        self.changes.push(Change {
            number,
            kind,
            instance: stored.instance.instance.clone(),
            series: stored.instance.series.clone(),
            study: stored.instance.study.clone(),
        });
        number
    }

    fn studies(&self) -> Vec<StudyView<'_>> {
        let mut studies: Vec<StudyView<'_>> = Vec::new();
        for version in self.versions.iter().filter(|version| !version.erased) {
            let instance = &version.stored.instance;
            let known = studies.iter().position(|s| s.uid() == &instance.study);
            let at = known.unwrap_or_else(|| {
                studies.push(StudyView {
                    first: version,
                    note: self.notes.get(&instance.study),
                    series: Vec::new(),
                });
                studies.len() - 1
            });
            if let Some(study) = studies.get_mut(at) {
                study.add(version);
            }
        }
        studies
    }

    /// What matches, in order: its attributes and its visible instances.
    fn found(&self, query: &Query, sight: &Sight) -> Vec<(Attributes, Vec<&Version>)> {
        let matcher = Matcher::new(query);
        let mut found = self.entities(query.level, sight);
        found.retain(|(attributes, visible)| !visible.is_empty() && matcher.matches(attributes));
        found
    }

    fn entities(&self, level: Level, sight: &Sight) -> Vec<(Attributes, Vec<&Version>)> {
        let mut studies = self.studies();
        studies.retain(|study| study.is_seen(sight));
        let mut entities = Vec::new();
        let mut patients = BTreeSet::new();
        for study in &studies {
            let key = study.patient();
            let of_patient: Vec<&StudyView<'_>> =
                studies.iter().filter(|s| s.patient() == key).collect();
            let related = related_to_patient(&of_patient);
            if level == Level::Patient {
                if patients.insert(key) {
                    let mut attributes = study.attributes_of(Level::Patient);
                    attributes.extend(&related);
                    let visible = of_patient.iter().flat_map(|s| s.visible()).collect();
                    entities.push((attributes, visible));
                }
                continue;
            }
            let mut of_study = study.attributes();
            of_study.extend(&related);
            if level == Level::Study {
                entities.push((of_study, study.visible().collect()));
                continue;
            }
            for series in &study.series {
                let mut of_series = of_study.clone();
                of_series.extend(&series.attributes(study.note));
                if level == Level::Series {
                    entities.push((of_series, series.visible().collect()));
                    continue;
                }
                for version in series.visible() {
                    let mut of_instance = of_series.clone();
                    of_instance.extend(&answer::instance_attributes(&version.stored.instance));
                    entities.push((of_instance, vec![version]));
                }
            }
        }
        entities
    }
}

/// A study as its instances show it.
#[derive(Debug)]
struct StudyView<'a> {
    first: &'a Version,
    note: Option<&'a StudyNote>,
    series: Vec<SeriesView<'a>>,
}

/// A series of a study as its instances show it.
#[derive(Debug)]
struct SeriesView<'a> {
    first: &'a Version,
    versions: Vec<&'a Version>,
}

impl<'a> StudyView<'a> {
    fn uid(&self) -> &'a StudyUid {
        &self.first.stored.instance.study
    }

    fn add(&mut self, version: &'a Version) {
        let uid = &version.stored.instance.series;
        match self.series.iter_mut().find(|s| s.uid() == uid) {
            Some(series) => series.versions.push(version),
            None => self.series.push(SeriesView {
                first: version,
                versions: vec![version],
            }),
        }
    }

    fn visible(&self) -> impl Iterator<Item = &'a Version> {
        self.series.iter().flat_map(SeriesView::visible)
    }

    fn visible_series(&self) -> impl Iterator<Item = &SeriesView<'a>> {
        self.series.iter().filter(|s| s.visible().next().is_some())
    }

    fn is_seen(&self, sight: &Sight) -> bool {
        let facts = self.note.and_then(|note| note.facts.as_ref());
        let modalities = self.visible_series().map(|series| {
            let attributes = &series.first.stored.instance.attributes;
            attributes.text(tags::MODALITY).unwrap_or_default()
        });
        let kinds = modalities.filter_map(Kind::of_modality).collect();
        let sender = &self.first.stored.provenance.calling;
        note::is_seen(sight, facts, (sender, &kinds))
    }

    fn attributes_of(&self, level: Level) -> Attributes {
        let instance = &self.first.stored.instance;
        let mut attributes = instance.attributes_of(Level::Patient);
        attributes.extend(&instance.attributes_of(Level::Study));
        if let Some(note) = self.note {
            note.correct_study(&mut attributes);
        }
        attributes.retain(|attribute| level_of(attribute.tag) == Some(level));
        attributes
    }

    fn patient(&self) -> answer::PatientKey {
        answer::PatientKey::of(&self.attributes_of(Level::Patient))
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = self.attributes_of(Level::Patient);
        attributes.extend(&self.attributes_of(Level::Study));
        attributes.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, self.uid().as_str());
        let modalities = self
            .visible_series()
            .filter_map(|s| s.first.stored.instance.attributes.text(tags::MODALITY));
        let classes = self.visible().map(|v| v.stored.instance.sop_class.as_str());
        let (modalities, classes) = (answer::set_of(modalities), answer::set_of(classes));
        answer::put_set(&mut attributes, tags::MODALITIES_IN_STUDY, &modalities);
        answer::put_set(&mut attributes, tags::SOP_CLASSES_IN_STUDY, &classes);
        let series_count = self.visible_series().count() as u64;
        let instances_count = self.visible().count() as u64;
        answer::put_count(
            &mut attributes,
            tags::NUMBER_OF_STUDY_RELATED_SERIES,
            series_count,
        );
        answer::put_count(
            &mut attributes,
            tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
            instances_count,
        );
        answer::put_availability(&mut attributes);
        attributes
    }
}

impl<'a> SeriesView<'a> {
    fn uid(&self) -> &'a SeriesUid {
        &self.first.stored.instance.series
    }

    fn visible(&self) -> impl Iterator<Item = &'a Version> {
        self.versions.iter().copied().filter(|v| v.visible())
    }

    fn attributes(&self, note: Option<&StudyNote>) -> Attributes {
        let mut attributes = self.first.stored.instance.attributes_of(Level::Series);
        if let Some(note) = note {
            note.correct_series(&mut attributes, |_| true);
        }
        attributes.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, self.uid().as_str());
        answer::put_count(
            &mut attributes,
            tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
            self.visible().count() as u64,
        );
        attributes
    }
}

fn related_to_patient(studies: &[&StudyView<'_>]) -> Attributes {
    let visible = |s: &&&StudyView<'_>| s.visible().next().is_some();
    let studies_count = studies.iter().filter(visible).count() as u64;
    let series_count = studies.iter().flat_map(|s| s.visible_series()).count() as u64;
    let instances_count = studies.iter().flat_map(|s| s.visible()).count() as u64;
    let mut related = Attributes::new();
    for (tag, count) in [
        (tags::NUMBER_OF_PATIENT_RELATED_STUDIES, studies_count),
        (tags::NUMBER_OF_PATIENT_RELATED_SERIES, series_count),
        (tags::NUMBER_OF_PATIENT_RELATED_INSTANCES, instances_count),
    ] {
        answer::put_count(&mut related, tag, count);
    }
    related
}

#[derive(Debug)]
struct StagedInMemory {
    index: MemoryIndex,
    next: State,
    /// What was doomed before.
    doomed: BTreeSet<(u64, u64)>,
    applied: Vec<Applied>,
}

/// Shows itself when it is promised.
struct Shown;

impl Promised for Shown {
    fn show(self: Box<Self>) -> Result<(), IndexError> {
        Ok(())
    }
}

impl Staged for StagedInMemory {
    fn promise(
        self: Box<Self>,
        content: DurableContent,
    ) -> Result<(Vec<Applied>, Box<dyn Promised>), IndexError> {
        content.covers(self.next.position)?;
        let mut state = self.index.state();
        let (notes, noted) = (std::mem::take(&mut state.notes), state.noted);
        let mut doomed = self.next.doomed;
        // Some of it may have been destroyed meanwhile.
        doomed.retain(|place, _| !self.doomed.contains(place) || state.doomed.contains_key(place));
        *state = State {
            notes,
            noted,
            doomed,
            ..self.next
        };
        Ok((self.applied, Box::new(Shown)))
    }
}

#[async_trait]
impl Index for MemoryIndex {
    async fn stage(
        &self,
        records: Vec<LogRecord>,
        end: LogPosition,
    ) -> Result<Box<dyn Staged>, IndexError> {
        let mut next = self.state().clone();
        let doomed = next.doomed.keys().copied().collect();
        let applied = records.into_iter().map(|r| next.apply(r)).collect();
        next.position = end;
        Ok(Box::new(StagedInMemory {
            index: self.clone(),
            next,
            doomed,
            applied,
        }))
    }

    async fn knows(&self, instance: &SopInstanceUid, digest: &Digest) -> Result<bool, IndexError> {
        Ok(self
            .state()
            .versions
            .iter()
            .any(|version| version.is_of(instance) && version.has(digest, false)))
    }

    async fn versions(
        &self,
        instance: &SopInstanceUid,
        limit_count: usize,
    ) -> Result<Versions, IndexError> {
        let state = self.state();
        let of_it = |version: &&Version| version.is_of(instance) && !version.destroyed;
        let found: Vec<&Version> = state.versions.iter().filter(of_it).collect();
        if found.len() > limit_count {
            return Err(IndexError::TooMany { limit_count });
        }
        Ok(Versions {
            is_hidden: found.first().is_some_and(|v| v.hidden),
            stored: found
                .into_iter()
                .map(|v| answer::without_levels_above(&v.stored))
                .collect(),
        })
    }

    async fn search(&self, query: &Query, quota: &Quota) -> Result<Results<Match>, IndexError> {
        let state = self.state();
        let asked = answer::asked(query);
        let found = state.found(query, quota.sight()).into_iter();
        Results::new(quota).with(found.map(|(mut attributes, _)| {
            attributes.retain(|a| asked.contains(&a.tag));
            Match { attributes }
        }))
    }

    async fn select(
        &self,
        query: &Query,
        quota: &Quota,
    ) -> Result<Results<StoredInstance>, IndexError> {
        let state = self.state();
        let found = state.found(query, quota.sight()).into_iter();
        let visible = found.flat_map(|(_, visible)| visible);
        Results::new(quota).with(visible.map(|v| answer::without_levels_above(&v.stored)))
    }

    async fn note(&self, notes: Notes) -> Result<(), IndexError> {
        let mut state = self.state();
        for (study, note) in notes.of_studies {
            if note.is_empty() {
                state.notes.remove(&study);
            } else {
                state.notes.insert(study, note);
            }
        }
        state.noted = notes.through;
        Ok(())
    }

    async fn noted(&self) -> Result<u64, IndexError> {
        Ok(self.state().noted)
    }

    async fn changes(
        &self,
        after: ChangeNumber,
        count_max: usize,
    ) -> Result<Vec<Change>, IndexError> {
        Ok(self
            .state()
            .changes
            .iter()
            .filter(|c| c.number > after)
            .take(count_max)
            .cloned()
            .collect())
    }

    async fn entries(
        &self,
        after: u64,
        count_max: usize,
    ) -> Result<Vec<(u64, StoredInstance)>, IndexError> {
        Ok((1..)
            .zip(&self.state().versions)
            .filter(|(number, version)| *number > after && !version.erased && !version.destroyed)
            .take(count_max)
            .map(|(number, v)| (number, answer::without_levels_above(&v.stored)))
            .collect())
    }

    async fn committed(&self) -> Result<Committed, IndexError> {
        let state = self.state();
        let change = state.changes.last().map_or(ChangeNumber(0), |c| c.number);
        Ok(Committed {
            position: state.position,
            change,
        })
    }

    async fn durable_position(&self) -> Result<LogPosition, IndexError> {
        // Nothing outlives the process, and within it nothing committed is ever lost.
        Ok(self.state().position)
    }

    async fn flush(&self) -> Result<(), IndexError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), IndexError> {
        *self.state() = State::default();
        Ok(())
    }

    async fn content_of(&self, study: &StudyUid) -> Result<Vec<Location>, IndexError> {
        Ok(self.state().content_of(study))
    }

    async fn doomed(
        &self,
        after: Option<(u64, u64)>,
        count_max: usize,
    ) -> Result<Vec<Doomed>, IndexError> {
        let state = self.state();
        let doomed = state.doomed.iter();
        let doomed = doomed.filter(|(place, _)| after.is_none_or(|after| **place > after));
        let doomed = doomed.map(|(_, doomed)| doomed.clone());
        Ok(doomed.take(count_max).collect())
    }

    async fn destroyed(&self, places: &[(u64, u64)]) -> Result<(), IndexError> {
        let mut state = self.state();
        state.doomed.retain(|place, _| !places.contains(place));
        Ok(())
    }
}
