//! Walks the candidates of a query down the levels, and gives what matches.

use super::budget::Budget;
use super::fault::Fault;
use super::group::missing;
use super::group::notes::decode;
use super::plan::{Candidates, Plan};
use super::rows::{
    InstanceRow, PatientHash, Place, SeriesRow, StudyRow, entity_key, from_entity_key,
};
use super::tables::{Kind, each_key, exact, study_of};
use super::view::View;
use crate::index::{Match, Quota, Results, StoredInstance, StudyNote, answer, note};
use pacs_core::examination::reconcile::Kind as ImageKind;
use pacs_core::instance::level_of;
use pacs_core::role::sight::{Sight, StudyFacts};
use pacs_core::tag::tags;
use pacs_core::{Attributes, Level, Tag};
use redb::ReadableTable;
use std::collections::{BTreeMap, BTreeSet};

mod back;

pub(super) use back::page;

/// What matched: its attributes as far as they were wanted, and where its instances are.
struct Found<'a> {
    attributes: Attributes,
    scope: Scope<'a>,
}

enum Scope<'a> {
    Instance(&'a StudyRow<'a>, &'a SeriesRow<'a>, &'a InstanceRow<'a>),
    Patient(PatientHash),
    Series(&'a StudyRow<'a>, &'a SeriesRow<'a>, (u64, u32)),
    Study(&'a StudyRow<'a>, u64),
}

/// A series to look at, and which of its instances where not at all.
type Only<'a> = (u32, Option<&'a [Place]>);

type Sink<'s> = dyn FnMut(Found<'_>) -> Result<(), Fault> + 's;

/// What matches `plan`.
pub(super) fn search(
    view: &View,
    plan: &Plan,
    quota: &Quota,
    budget: &Budget,
) -> Result<Results<Match>, Fault> {
    let mut matches = Results::new(quota);
    let search = Search::new(view, plan, quota, budget);
    search.run(&mut |found| {
        let attributes = found.attributes;
        Ok(matches.push(Match { attributes })?)
    })?;
    Ok(matches)
}

/// The visible instances of what matches `plan`.
pub(super) fn select(
    view: &View,
    plan: &Plan,
    quota: &Quota,
    budget: &Budget,
) -> Result<Results<StoredInstance>, Fault> {
    let mut selected = Results::new(quota);
    let search = Search::new(view, plan, quota, budget);
    search.run(&mut |found| {
        search.instances_of(&found.scope, &mut |study, series, row| {
            Ok(selected.push(row.stored(&study.uid()?, &series.uid()?, series)?)?)
        })
    })?;
    Ok(selected)
}

struct Search<'a> {
    view: &'a View,
    plan: &'a Plan,
    sight: &'a Sight,
    budget: &'a Budget,
}

impl<'a> Search<'a> {
    const fn new(view: &'a View, plan: &'a Plan, quota: &'a Quota, budget: &'a Budget) -> Self {
        Self {
            view,
            plan,
            sight: quota.sight(),
            budget,
        }
    }

    /// Whether whoever asks sees a study.
    fn sees(&self, study: u64) -> Result<bool, Fault> {
        if !self.sight.is_narrowed() {
            return Ok(true);
        }
        let facts = self.view.facts.get(study)?;
        let facts = facts.map(|facts| decode::<StudyFacts>(facts.value()));
        let facts = facts.transpose()?;
        let kinds = if self.sight.asks_for_kinds(facts.as_ref()) {
            self.kinds_of(study)?
        } else {
            BTreeSet::new()
        };
        if facts.is_some() {
            return Ok(note::is_seen(self.sight, facts.as_ref(), ("", &kinds)));
        }
        self.budget.spend(1)?;
        let first = self.view.entities.get(entity_key(study, 1).as_slice())?;
        let first = first.ok_or(missing("row of a series"))?;
        let sender = SeriesRow::decode(first.value())?.sender()?;
        Ok(note::is_seen(self.sight, None, (&sender, &kinds)))
    }

    /// The kinds of the images of a study that are in sight.
    fn kinds_of(&self, study: u64) -> Result<BTreeSet<ImageKind>, Fault> {
        let mut kinds = BTreeSet::new();
        self.each_series(study, |_, row| {
            if row.instances_count > 0 {
                kinds.extend(ImageKind::of_modality(&row.modality()?));
            }
            Ok(())
        })?;
        Ok(kinds)
    }

    /// What was noted of a study, where that says something of the series that is wanted.
    fn note_of(&self, row: &StudyRow<'_>) -> Result<Option<StudyNote>, Fault> {
        let of_series = [tags::INSTITUTION_NAME, tags::REQUEST_ATTRIBUTES_SEQUENCE];
        if !of_series.into_iter().any(|tag| self.plan.wants(tag)) {
            return Ok(None);
        }
        let note = self.view.notes.get(row.uid.as_bytes())?;
        Ok(note.map(|note| decode(note.value())).transpose()?)
    }

    fn run(&self, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if self.plan.is_hopeless {
            return Ok(());
        }
        let gathered_max = usize::MAX;
        let candidates = self.plan.candidates(self.view, gathered_max, self.budget)?;
        if self.plan.level == Level::Patient {
            return self.patients(&candidates, sink);
        }
        match candidates {
            Candidates::All | Candidates::Many => self.each_study(|study, row| {
                if self.plan.rules_out(row)? {
                    return Ok(());
                }
                self.study(study, row, None, sink)
            }),
            Candidates::Named => self.each_named(|study| {
                self.one_study(study, |row| self.study(study, row, None, sink))
            }),
            Candidates::Studies(studies) => {
                for study in studies {
                    self.one_study(study, |row| self.study(study, row, None, sink))?;
                }
                Ok(())
            }
            Candidates::Series(series) => {
                for of_study in series.chunk_by(|a, b| a.0 == b.0) {
                    self.these_series(of_study, u64::MAX, sink)?;
                }
                Ok(())
            }
            Candidates::Instances(places) => {
                for of_study in places.chunk_by(|a, b| a.study == b.study) {
                    self.these_instances(of_study, u64::MAX, sink)?;
                }
                Ok(())
            }
        }
    }

    fn each_named(&self, mut each: impl FnMut(u64) -> Result<(), Fault>) -> Result<(), Fault> {
        let named = self.plan.named();
        for entry in self.view.names.iter()? {
            self.budget.spend(1)?;
            let (at, row) = entry?;
            named
                .of_row(at.value(), row.value())?
                .into_iter()
                .try_for_each(&mut each)?;
        }
        Ok(())
    }

    /// Goes on with these series, which are of one study, unless that is behind `last`.
    fn these_series(
        &self,
        of_study: &[(u64, u32)],
        last: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        let study = of_study.first().map_or(0, |first| first.0);
        if study > last {
            return Ok(());
        }
        let only: Vec<Only<'_>> = of_study.iter().map(|(_, series)| (*series, None)).collect();
        self.one_study(study, |row| self.study(study, row, Some(&only), sink))
    }

    /// As [`Self::these_series`], with these instances.
    fn these_instances(
        &self,
        of_study: &[Place],
        last: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        let study = of_study.first().map_or(0, |first| first.study);
        if study > last {
            return Ok(());
        }
        let only: Vec<Only<'_>> = of_study
            .chunk_by(|a, b| a.series == b.series)
            .filter_map(|places| Some((places.first()?.series, Some(places))))
            .collect();
        self.one_study(study, |row| self.study(study, row, Some(&only), sink))
    }

    fn each_study(
        &self,
        mut each: impl FnMut(u64, &StudyRow<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for entry in self.view.entities.iter()? {
            self.budget.spend(1)?;
            let (key, row) = entry?;
            let (study, series) = from_entity_key(key.value())?;
            if series == 0 {
                each(study, &StudyRow::decode(row.value())?)?;
            }
        }
        Ok(())
    }

    fn one_study<T>(
        &self,
        study: u64,
        read: impl FnOnce(&StudyRow<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.budget.spend(1)?;
        self.view.study(study, read)
    }

    /// Patients in the order of their first studies.
    fn patients(&self, candidates: &Candidates, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let mut patients = BTreeMap::new();
        let mut add = |row: &StudyRow<'_>| {
            if let Some(first) = self.first_study(&row.patient)? {
                patients.insert(first, row.patient);
            }
            Ok(())
        };
        match candidates {
            Candidates::Studies(studies) => {
                for study in studies {
                    self.one_study(*study, &mut add)?;
                }
            }
            Candidates::Named => self.each_named(|study| self.one_study(study, &mut add))?,
            Candidates::All
            | Candidates::Instances(_)
            | Candidates::Many
            | Candidates::Series(_) => self.each_study(|_, row| add(row))?,
        }
        for (first, patient) in patients {
            let related = Related::count(self, &patient)?;
            if related.instances_count == 0 {
                continue;
            }
            let mut attributes = Attributes::new();
            self.one_study(first, |row| {
                row.attributes(&mut attributes, |tag| {
                    self.plan.wants(tag) && level_of(tag) == Some(Level::Patient)
                })?;
                Ok(())
            })?;
            related.put(self.plan, &mut attributes);
            if self.plan.study.matches(&attributes) {
                let scope = Scope::Patient(patient);
                sink(Found { attributes, scope })?;
            }
        }
        Ok(())
    }

    /// The first study of a patient that whoever asks sees.
    fn first_study(&self, patient: &PatientHash) -> Result<Option<u64>, Fault> {
        let range = exact(Kind::PATIENT, patient);
        let keys = self
            .view
            .keys
            .range::<&[u8]>(range.start.as_slice()..range.end.as_slice())?;
        for entry in keys {
            self.budget.spend(1)?;
            let study = study_of(entry?.0.value())?;
            if self.sees(study)? {
                return Ok(Some(study));
            }
        }
        Ok(None)
    }

    /// Goes on with one study, or with `only` these series of it and these instances of those.
    fn study(
        &self,
        study: u64,
        row: &StudyRow<'_>,
        only: Option<&[Only<'_>]>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        if row.instances_count == 0 {
            return Ok(());
        }
        let plan = self.plan;
        // One more than that is what an answer over the web adds.
        let room = plan.wanted_count().saturating_add(1);
        let mut attributes = Attributes::with_capacity(room);
        row.attributes(&mut attributes, |tag| plan.wants(tag))?;
        for (tag, set) in [
            (tags::MODALITIES_IN_STUDY, &row.modalities),
            (tags::SOP_CLASSES_IN_STUDY, &row.sop_classes),
        ] {
            if plan.wants(tag) {
                answer::put_set(&mut attributes, tag, set);
            }
        }
        let counts = [
            (tags::NUMBER_OF_STUDY_RELATED_SERIES, row.series_count),
            (tags::NUMBER_OF_STUDY_RELATED_INSTANCES, row.instances_count),
        ];
        put_counts(plan, &mut attributes, counts);
        if plan.wants(tags::INSTANCE_AVAILABILITY) {
            answer::put_availability(&mut attributes);
        }
        if RELATED.into_iter().any(|tag| plan.wants(tag)) {
            Related::count(self, &row.patient)?.put(plan, &mut attributes);
        }
        if !plan.study.matches(&attributes) || !self.sees(study)? {
            return Ok(());
        }
        if plan.level == Level::Study {
            let scope = Scope::Study(row, study);
            return sink(Found { attributes, scope });
        }
        let note = self.note_of(row)?;
        let mut visit = |number, series: &SeriesRow<'_>, places| {
            let above = (&attributes, note.as_ref());
            self.series((study, number), row, series, above, places, sink)
        };
        match only {
            None => self.each_series(study, |number, series| visit(number, series, None)),
            Some(only) => {
                for (number, places) in only {
                    self.budget.spend(1)?;
                    let key = entity_key(study, *number);
                    let series = self.view.entities.get(key.as_slice())?;
                    let series = series.ok_or(missing("row of a series"))?;
                    visit(*number, &SeriesRow::decode(series.value())?, *places)?;
                }
                Ok(())
            }
        }
    }

    fn each_series(
        &self,
        study: u64,
        mut each: impl FnMut(u32, &SeriesRow<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (first, last) = (entity_key(study, 1), entity_key(study, u32::MAX));
        let range = first.as_slice()..=last.as_slice();
        for entry in self.view.entities.range::<&[u8]>(range)? {
            self.budget.spend(1)?;
            let (key, row) = entry?;
            let (_, series) = from_entity_key(key.value())?;
            each(series, &SeriesRow::decode(row.value())?)?;
        }
        Ok(())
    }

    fn series(
        &self,
        at: (u64, u32),
        study: &StudyRow<'_>,
        row: &SeriesRow<'_>,
        (above, note): (&Attributes, Option<&StudyNote>),
        only: Option<&[Place]>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        if row.instances_count == 0 {
            return Ok(());
        }
        let plan = self.plan;
        let mut attributes = Attributes::new();
        row.attributes(&mut attributes, |tag| plan.wants(tag))?;
        if let Some(note) = note {
            note.correct_series(&mut attributes, |tag| plan.wants(tag));
        }
        let tag = tags::NUMBER_OF_SERIES_RELATED_INSTANCES;
        put_counts(plan, &mut attributes, [(tag, row.instances_count)]);
        if !plan.series.matches(&attributes) {
            return Ok(());
        }
        let mut above = above.clone();
        above.extend(&attributes);
        if plan.level == Level::Series {
            let scope = Scope::Series(study, row, at);
            return sink(Found {
                attributes: above,
                scope,
            });
        }
        let mut visit = |instance: &InstanceRow<'_>| {
            let mut attributes = Attributes::new();
            instance.attributes(row, &mut attributes, |tag| plan.wants(tag))?;
            if !plan.instance.matches(&attributes) {
                return Ok(());
            }
            let mut all = above.clone();
            all.extend(&attributes);
            let scope = Scope::Instance(study, row, instance);
            sink(Found {
                attributes: all,
                scope,
            })
        };
        match only {
            None => self.each_instance(at, visit),
            Some(places) => {
                for place in places {
                    self.budget.spend(1)?;
                    let instance = self.view.instances.get(place.key().as_slice())?;
                    let instance = instance.ok_or(missing("row of an instance"))?;
                    let instance = InstanceRow::decode(instance.value())?;
                    if instance.visible() {
                        visit(&instance)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Visible ones.
    fn each_instance(
        &self,
        (study, series): (u64, u32),
        mut each: impl FnMut(&InstanceRow<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let key = |number| {
            let place = Place {
                study,
                series,
                number,
            };
            place.key()
        };
        let (first, last) = (key(0), key(u64::MAX));
        let range = first.as_slice()..=last.as_slice();
        for entry in self.view.instances.range::<&[u8]>(range)? {
            self.budget.spend(1)?;
            let (_, row) = entry?;
            let instance = InstanceRow::decode(row.value())?;
            if instance.visible() {
                each(&instance)?;
            }
        }
        Ok(())
    }

    fn instances_of(
        &self,
        scope: &Scope<'_>,
        each: &mut dyn FnMut(&StudyRow<'_>, &SeriesRow<'_>, &InstanceRow<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match scope {
            Scope::Instance(study, series, instance) => each(study, series, instance),
            Scope::Series(study, series, at) => {
                self.each_instance(*at, |instance| each(study, series, instance))
            }
            Scope::Study(row, study) => self.each_series(*study, |number, series| {
                if series.instances_count == 0 {
                    return Ok(());
                }
                self.each_instance((*study, number), |instance| each(row, series, instance))
            }),
            Scope::Patient(patient) => {
                each_key(&self.view.keys, &exact(Kind::PATIENT, patient), |key| {
                    let study = study_of(key)?;
                    if !self.sees(study)? {
                        return Ok(());
                    }
                    self.one_study(study, |row| {
                        if row.instances_count == 0 {
                            return Ok(());
                        }
                        self.instances_of(&Scope::Study(row, study), each)
                    })
                })
            }
        }
    }
}

const RELATED: [Tag; 3] = [
    tags::NUMBER_OF_PATIENT_RELATED_STUDIES,
    tags::NUMBER_OF_PATIENT_RELATED_SERIES,
    tags::NUMBER_OF_PATIENT_RELATED_INSTANCES,
];

/// What is visible of a patient.
#[derive(Default)]
struct Related {
    studies_count: u64,
    series_count: u64,
    instances_count: u64,
}

impl Related {
    fn count(search: &Search<'_>, patient: &PatientHash) -> Result<Self, Fault> {
        let mut related = Self::default();
        each_key(&search.view.keys, &exact(Kind::PATIENT, patient), |key| {
            let study = study_of(key)?;
            if !search.sees(study)? {
                return Ok(());
            }
            search.one_study(study, |row| {
                related.studies_count += u64::from(row.instances_count > 0);
                related.series_count += row.series_count;
                related.instances_count += row.instances_count;
                Ok(())
            })
        })?;
        Ok(related)
    }

    fn put(&self, plan: &Plan, attributes: &mut Attributes) {
        let counts = [self.studies_count, self.series_count, self.instances_count];
        put_counts(plan, attributes, RELATED.into_iter().zip(counts));
    }
}

fn put_counts(
    plan: &Plan,
    attributes: &mut Attributes,
    counts: impl IntoIterator<Item = (Tag, u64)>,
) {
    for (tag, count) in counts {
        if plan.wants(tag) {
            answer::put_count(attributes, tag, count);
        }
    }
}
