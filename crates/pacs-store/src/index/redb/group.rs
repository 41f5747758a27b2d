//! A group of records on its way into the tables.
//!
//! Rows of studies and series that the group touches are kept aside and written once, at the end.

mod erasing;
pub(super) mod notes;

pub(super) use erasing::{content_of, read_doomed, undoom};

use super::codec::{Reader, Writer};
use super::fault::Fault;
use super::rows::{InstanceRow, Place, SeriesRow, StudyRow, entity_key, of_destroyed, turned};
use super::tables::{
    ARRIVALS, Bytes, Counters, ENTITIES, INSTANCES, KEYS, Kind, META, MOVES, NAMES, NAMES_PER_ROW,
    SOPS, each_key, exact, keys_of, series_key, series_of, study_key, study_of,
};
use crate::index::{
    Applied, ChangeKind, ChangeNumber, IndexError, Location, LogRecord, StoredInstance, Target,
    answer,
};
use pacs_core::tag::{tags, vr_of};
use pacs_core::{Attributes, Instance, SeriesUid, StudyUid, fold};
use redb::{ReadableTable, Table, WriteTransaction};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The tables, open for writing, and what is to be written at the end.
pub(super) struct Group<'t> {
    entities: Table<'t, Bytes, Bytes>,
    instances: Table<'t, Bytes, Bytes>,
    sops: Table<'t, Bytes, Bytes>,
    arrivals: Table<'t, u64, Bytes>,
    keys: Table<'t, Bytes, ()>,
    transaction: &'t WriteTransaction,
    counters: Counters,
    /// The studies that the group has met, by their UIDs.
    numbers: HashMap<String, u64>,
    studies: BTreeMap<u64, StudyRow<'static>>,
    series: BTreeMap<(u64, u32), SeriesRow<'static>>,
    changed: BTreeSet<u64>,
}

/// What a group leaves in its transaction.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) counters: Counters,
    /// The studies whose rows it wrote.
    pub(super) changed: BTreeSet<u64>,
}

impl<'t> Group<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        counters: Counters,
    ) -> Result<Self, Fault> {
        Ok(Self {
            entities: transaction.open_table(ENTITIES)?,
            instances: transaction.open_table(INSTANCES)?,
            sops: transaction.open_table(SOPS)?,
            arrivals: transaction.open_table(ARRIVALS)?,
            keys: transaction.open_table(KEYS)?,
            transaction,
            counters,
            numbers: HashMap::new(),
            studies: BTreeMap::new(),
            series: BTreeMap::new(),
            changed: BTreeSet::new(),
        })
    }

    pub(super) fn apply(&mut self, record: LogRecord) -> Result<Applied, Fault> {
        match record {
            LogRecord::Destroyed(stored) => self.receive(&stored, true),
            LogRecord::Erase { study } => self.erase(&study),
            LogRecord::Instance(stored) => self.receive(&stored, false),
            LogRecord::Hide { target, .. } => self.turn(&target, true),
            LogRecord::Restore { target } => self.turn(&target, false),
        }
    }

    /// Writes what was kept aside, and how far the log has come.
    pub(super) fn finish(mut self, end: crate::index::LogPosition) -> Result<Finished, Fault> {
        self.write_rows()?;
        self.counters.position = end;
        let mut meta = self.transaction.open_table(META)?;
        meta.insert("state", self.counters.encode().as_slice())?;
        Ok(Finished {
            counters: self.counters,
            changed: self.changed,
        })
    }

    fn receive(&mut self, stored: &StoredInstance, destroyed: bool) -> Result<Applied, Fault> {
        let uid = stored.instance.instance.as_str();
        let Some(first) = self.sop(uid.as_bytes())? else {
            let number = self.place(stored, uid.as_bytes(), (true, destroyed))?;
            return Ok(Applied::New {
                change: ChangeNumber(number),
            });
        };
        let mut version = 1;
        let mut places = vec![first];
        for (number, place) in versions(&self.sops, uid)? {
            version = number;
            places.push(place);
        }
        for place in places {
            if let Some(known) = self.same(place, stored, destroyed)? {
                self.keep_copy(place, known, stored)?;
                return Ok(Applied::Same);
            }
        }
        let version = version.saturating_add(1);
        let key = version_key(uid, version);
        let number = self.place(stored, &key, (false, destroyed))?;
        Ok(Applied::Conflict {
            change: ChangeNumber(number),
            version,
        })
    }

    fn sop(&self, key: &[u8]) -> Result<Option<Place>, Fault> {
        match self.sops.get(key)? {
            Some(row) => Ok(Some(read_place(row.value())?)),
            None => Ok(None),
        }
    }

    /// Where the version at `place` stands, if it has this content, or `or_had` it until that was
    /// destroyed.
    fn same(
        &self,
        place: Place,
        stored: &StoredInstance,
        or_had: bool,
    ) -> Result<Option<Location>, Fault> {
        let row = self.instances.get(place.key().as_slice())?;
        let row = row.ok_or(missing("row of an instance"))?;
        let row = InstanceRow::decode(row.value())?;
        let is_same = row.digest == stored.digest && (or_had || !row.destroyed());
        Ok(is_same.then_some(row.location))
    }

    /// Puts an instance where it belongs, and gives its number.
    fn place(
        &mut self,
        stored: &StoredInstance,
        sop_key: &[u8],
        (served, destroyed): (bool, bool),
    ) -> Result<u64, Fault> {
        let study = self.study(&stored.instance)?;
        let series = self.series(study, stored)?;
        self.counters.change = self.counters.change.saturating_add(1);
        let place = Place {
            study,
            series,
            number: self.counters.change,
        };
        let series_row = self
            .series
            .get_mut(&(study, series))
            .ok_or(missing("series"))?;
        let mut row = InstanceRow::encode(stored, served, series_row)?;
        if destroyed {
            row = of_destroyed(&row);
        }
        self.instances
            .insert(place.key().as_slice(), row.as_slice())?;
        let mut writer = Writer::with_capacity(16);
        place.write(&mut writer);
        self.sops.insert(sop_key, writer.into_bytes().as_slice())?;
        self.arrivals
            .insert(place.number, entity_key(study, series).as_slice())?;
        if served && !destroyed {
            let study_row = self.studies.get_mut(&study).ok_or(missing("study"))?;
            series_row.instances_count = series_row.instances_count.saturating_add(1);
            let is_first = series_row.instances_count == 1;
            let modality = is_first.then(|| series_row.modality()).transpose()?;
            study_row.count(stored.instance.sop_class.as_str(), modality.as_deref());
        }
        Ok(place.number)
    }

    /// The number of the instance's study, whose row is then kept aside.
    fn study(&mut self, instance: &Instance) -> Result<u64, Fault> {
        let uid = instance.study.as_str();
        let known = match self.numbers.get(uid) {
            Some(study) => Some(*study),
            None => self.known_study(uid)?,
        };
        if let Some(study) = known {
            if !self.studies.contains_key(&study) {
                self.set_aside(study)?;
                self.numbers.insert(uid.to_owned(), study);
            }
            return Ok(study);
        }
        self.counters.study = self.counters.study.saturating_add(1);
        let study = self.counters.study;
        let mut row = StudyRow::new(instance)?;
        self.say_noted(study, &mut row)?;
        let mut attributes = Attributes::new();
        row.attributes(&mut attributes, |_| true)?;
        for key in keys_of(&attributes, uid, study) {
            self.keys.insert(key.as_slice(), ())?;
        }
        let patient = study_key(Kind::PATIENT, &row.patient, study);
        self.keys.insert(patient.as_slice(), ())?;
        self.add_name(&attributes, study)?;
        self.studies.insert(study, row);
        self.numbers.insert(uid.to_owned(), study);
        Ok(study)
    }

    fn known_study(&self, uid: &str) -> Result<Option<u64>, Fault> {
        let mut found = None;
        each_key(&self.keys, &exact(Kind::STUDY_UID, uid.as_bytes()), |key| {
            found = Some(study_of(key)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The numbers of a series and its study.
    fn series_in(&self, study: &StudyUid, series: &SeriesUid) -> Result<Option<(u64, u32)>, Fault> {
        let Some(study) = self.known_study(study.as_str())? else {
            return Ok(None);
        };
        let mut found = None;
        let known = exact(Kind::SERIES_UID, series.as_str().as_bytes());
        each_key(&self.keys, &known, |key| {
            let place = series_of(key)?;
            if place.0 == study {
                found = Some(place);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn add_name(&self, attributes: &Attributes, study: u64) -> Result<(), Fault> {
        let mut names = self.transaction.open_table(NAMES)?;
        let at = study.saturating_sub(1) / NAMES_PER_ROW;
        let mut row = match names.get(at)? {
            Some(row) => row.value().to_vec(),
            None => Vec::new(),
        };
        let name = attributes.text(tags::PATIENT_NAME).unwrap_or_default();
        let mut writer = Writer::default();
        writer.text(&fold::matching_key(vr_of(tags::PATIENT_NAME), name));
        row.extend_from_slice(&writer.into_bytes());
        names.insert(at, row.as_slice())?;
        Ok(())
    }

    /// The number of the instance's series within `study`, whose row is then kept aside.
    fn series(&mut self, study: u64, stored: &StoredInstance) -> Result<u32, Fault> {
        let uid = stored.instance.series.as_str();
        let mut of_study = self.series.range((study, 0)..=(study, u32::MAX));
        if let Some(((_, series), _)) = of_study.find(|(_, row)| row.uid == uid) {
            return Ok(*series);
        }
        let mut key = exact(Kind::SERIES_UID, uid.as_bytes()).start;
        key.extend_from_slice(&study.to_be_bytes());
        let mut known = None;
        each_key(&self.keys, &super::tables::prefix(key), |key| {
            known = Some(series_of(key)?.1);
            Ok(())
        })?;
        if let Some(series) = known {
            let row = self.entities.get(entity_key(study, series).as_slice())?;
            let row = row.ok_or(missing("row of a series"))?;
            let row = SeriesRow::decode(row.value())?.into_owned();
            self.series.insert((study, series), row);
            return Ok(series);
        }
        let study_row = self.studies.get_mut(&study).ok_or(missing("study"))?;
        study_row.last_series = study_row.last_series.saturating_add(1);
        let series = study_row.last_series;
        self.keys
            .insert(series_key(uid, study, series).as_slice(), ())?;
        self.series.insert((study, series), SeriesRow::new(stored)?);
        Ok(series)
    }

    fn set_aside(&mut self, study: u64) -> Result<(), Fault> {
        let row = self.entities.get(entity_key(study, 0).as_slice())?;
        let row = row.ok_or(missing("row of a study"))?;
        let row = StudyRow::decode(row.value())?.into_owned();
        self.studies.insert(study, row);
        Ok(())
    }

    fn write_rows(&mut self) -> Result<(), Fault> {
        for (study, row) in std::mem::take(&mut self.studies) {
            let key = entity_key(study, 0);
            self.entities
                .insert(key.as_slice(), row.encode().as_slice())?;
            self.changed.insert(study);
        }
        for ((study, series), row) in std::mem::take(&mut self.series) {
            let key = entity_key(study, series);
            self.entities
                .insert(key.as_slice(), row.encode().as_slice())?;
        }
        Ok(())
    }

    /// Hides or restores.
    fn turn(&mut self, target: &Target, hidden: bool) -> Result<Applied, Fault> {
        self.write_rows()?;
        let mut turning = Vec::new();
        for range in self.ranges_of(target)? {
            for entry in self
                .instances
                .range::<&[u8]>(range.0.as_slice()..=range.1.as_slice())?
            {
                let (key, row) = entry?;
                let instance = InstanceRow::decode(row.value())?;
                if instance.served() && instance.hidden() != hidden {
                    turning.push((Place::from_key(key.value())?, turned(row.value(), hidden)));
                }
            }
        }
        turning.sort_unstable_by_key(|(place, _)| place.number);
        let mut moves = self.transaction.open_table(MOVES)?;
        let kind = if hidden {
            ChangeKind::Hidden
        } else {
            ChangeKind::Restored
        };
        let mut studies = BTreeSet::new();
        for (place, row) in &turning {
            self.instances
                .insert(place.key().as_slice(), row.as_slice())?;
            self.counters.change = self.counters.change.saturating_add(1);
            let row = encode_move(kind, *place);
            moves.insert(self.counters.change, row.as_slice())?;
            studies.insert(place.study);
        }
        for study in studies {
            self.recount(study)?;
        }
        Ok(Applied::Moved {
            instances_count: turning.len() as u64,
        })
    }

    /// First and last key of the instances that `target` may mean.
    fn ranges_of(&self, target: &Target) -> Result<Vec<FirstAndLast>, Fault> {
        let range = |study, first, last, from, to| {
            let key = |series, number| {
                Place {
                    study,
                    series,
                    number,
                }
                .key()
            };
            (key(first, from), key(last, to))
        };
        let mut ranges = Vec::new();
        match target {
            Target::Instance(uid) => {
                if let Some(place) = self.sop(uid.as_str().as_bytes())? {
                    ranges.push((place.key(), place.key()));
                }
            }
            Target::Series(uid) => {
                let known = exact(Kind::SERIES_UID, uid.as_str().as_bytes());
                each_key(&self.keys, &known, |key| {
                    let (study, series) = series_of(key)?;
                    ranges.push(range(study, series, series, 0, u64::MAX));
                    Ok(())
                })?;
            }
            Target::Study(uid) => {
                if let Some(study) = self.known_study(uid.as_str())? {
                    ranges.push(range(study, 0, u32::MAX, 0, u64::MAX));
                }
            }
            Target::InstanceIn {
                study,
                series,
                instance,
            } => {
                let place = self.sop(instance.as_str().as_bytes())?;
                let known = self.series_in(study, series)?;
                if let Some(place) = place.filter(|at| known == Some((at.study, at.series))) {
                    ranges.push((place.key(), place.key()));
                }
            }
            Target::InstancesIn { study, instances } => {
                let study = self.known_study(study.as_str())?;
                let named: BTreeSet<_> = instances.iter().collect();
                for uid in named {
                    let place = self.sop(uid.as_str().as_bytes())?;
                    if let Some(place) = place.filter(|place| study == Some(place.study)) {
                        ranges.push((place.key(), place.key()));
                    }
                }
            }
            Target::SeriesIn { study, series } => {
                if let Some((study, series)) = self.series_in(study, series)? {
                    ranges.push(range(study, series, series, 0, u64::MAX));
                }
            }
        }
        Ok(ranges)
    }

    /// Counts anew what is visible of a study.
    fn recount(&mut self, study: u64) -> Result<(), Fault> {
        self.set_aside(study)?;
        let study_row = self.studies.get_mut(&study).ok_or(missing("study"))?;
        study_row.instances_count = 0;
        study_row.series_count = 0;
        let (mut modalities, mut classes) = (BTreeSet::new(), BTreeSet::new());
        for series in 1..=study_row.last_series {
            let row = self.entities.get(entity_key(study, series).as_slice())?;
            let row = row.ok_or(missing("row of a series"))?;
            let mut row = SeriesRow::decode(row.value())?.into_owned();
            row.instances_count = 0;
            let key = |number| {
                Place {
                    study,
                    series,
                    number,
                }
                .key()
            };
            let (first, last) = (key(0), key(u64::MAX));
            for entry in self
                .instances
                .range::<&[u8]>(first.as_slice()..=last.as_slice())?
            {
                let (_, instance) = entry?;
                let instance = InstanceRow::decode(instance.value())?;
                if instance.visible() {
                    row.instances_count = row.instances_count.saturating_add(1);
                    let class = instance.sop_class(&row);
                    if !classes.contains(class) {
                        classes.insert(class.to_owned());
                    }
                }
            }
            if row.instances_count > 0 {
                study_row.instances_count = study_row
                    .instances_count
                    .saturating_add(row.instances_count);
                study_row.series_count = study_row.series_count.saturating_add(1);
                modalities.insert(row.modality()?);
            }
            self.series.insert((study, series), row);
        }
        let set = |texts: &BTreeSet<String>| answer::set_of(texts.iter().map(String::as_str));
        study_row.modalities = set(&modalities).into();
        study_row.sop_classes = set(&classes).into();
        self.write_rows()
    }
}

/// Keys of instances.
type FirstAndLast = ([u8; 20], [u8; 20]);

/// The numbers and places of the versions of `uid` that are not served.
pub(super) fn versions(
    sops: &impl ReadableTable<Bytes, Bytes>,
    uid: &str,
) -> Result<Vec<(u32, Place)>, Fault> {
    let (first, last) = (version_key(uid, 0), version_key(uid, u32::MAX));
    let mut found = Vec::new();
    for entry in sops.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
        let (key, row) = entry?;
        let number = key.value().split_last_chunk().map(|(_, number)| *number);
        let number = number.ok_or(missing("key of a version"))?;
        found.push((u32::from_be_bytes(number), read_place(row.value())?));
    }
    Ok(found)
}

fn version_key(uid: &str, version: u32) -> Vec<u8> {
    let mut key = uid.as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&version.to_be_bytes());
    key
}

pub(super) fn read_place(row: &[u8]) -> Result<Place, IndexError> {
    Place::read(&mut Reader::new(row, "place of an instance"))
}

/// What moved, as the first byte of a row says it.
const MOVED: [(u8, ChangeKind); 3] = [
    (0, ChangeKind::Restored),
    (1, ChangeKind::Hidden),
    (2, ChangeKind::Erased),
];

fn encode_move(kind: ChangeKind, place: Place) -> Vec<u8> {
    let mut writer = Writer::with_capacity(16);
    let known = MOVED.iter().find(|(_, known)| *known == kind);
    writer.byte(known.map_or(u8::MAX, |(byte, _)| *byte));
    place.write(&mut writer);
    writer.into_bytes()
}

pub(super) fn decode_move(row: &[u8]) -> Result<(ChangeKind, Place), IndexError> {
    let mut reader = Reader::new(row, "change");
    let byte = reader.byte()?;
    let known = MOVED.iter().find(|(known, _)| *known == byte);
    let (_, kind) = known.ok_or_else(|| reader.damaged())?;
    Ok((*kind, Place::read(&mut reader)?))
}

pub(super) const fn missing(what: &'static str) -> IndexError {
    IndexError::Damaged { what }
}
