//! Erasing a study, in the tables: its rows stay without what they say, under a number that nothing
//! finds any more, for the change sequence tells of them; and what it held is doomed.

use super::super::rows::promoted;
use super::super::tables::{
    COPIES, DOOMED, ENTITIES, FACTS, INSTANCES, KEYS, RECEIVED, each_key, exact, study_of,
};
use super::{
    Applied, Fault, Group, InstanceRow, Kind, Location, Place, Reader, SeriesRow, StoredInstance,
    StudyRow, Writer, encode_move, entity_key, keys_of, missing, series_key, study_key,
    version_key, versions,
};
use crate::index::{ChangeKind, Doomed, IndexError};
use pacs_core::{Attributes, SopInstanceUid, StudyUid};
use redb::{ReadableTable, WriteTransaction};
use std::collections::{BTreeMap, BTreeSet};

/// A version of an instance that is erased.
struct Erased {
    place: Place,
    uid: String,
    location: Location,
    tombstone: Vec<u8>,
}

impl Group<'_> {
    /// Remembers that the content of the version at `place`, which stands at `known`, stands
    /// elsewhere too.
    pub(super) fn keep_copy(
        &self,
        place: Place,
        known: Location,
        stored: &StoredInstance,
    ) -> Result<(), Fault> {
        let other = stored.location;
        if (known.pack, known.offset) == (other.pack, other.offset) {
            return Ok(());
        }
        let key = [&place.key()[..], &place_key(other.pack, other.offset)].concat();
        let mut copies = self.transaction.open_table(COPIES)?;
        copies.insert(key.as_slice(), other.length_bytes)?;
        Ok(())
    }

    /// Ends what is known of a study.
    pub(super) fn erase(&mut self, study: &StudyUid) -> Result<Applied, Fault> {
        self.write_rows()?;
        let Some(number) = self.known_study(study.as_str())? else {
            return Ok(Applied::Moved { instances_count: 0 });
        };
        let erased = self.versions_of(number)?;
        self.forget_study(number)?;
        self.numbers.remove(study.as_str());
        let mut touched = BTreeSet::new();
        for version in &erased {
            let key = version.place.key();
            self.instances
                .insert(key.as_slice(), version.tombstone.as_slice())?;
            self.doom(version)?;
            self.moved(ChangeKind::Erased, version.place)?;
            touched.insert(version.uid.as_str());
        }
        let mut served = BTreeMap::new();
        for uid in touched {
            if let Some((place, row)) = self.serve_next(uid, number)? {
                served.insert(place.number, (place, row));
            }
        }
        let mut studies = BTreeSet::new();
        for (place, row) in served.into_values() {
            self.instances
                .insert(place.key().as_slice(), row.as_slice())?;
            self.moved(ChangeKind::Restored, place)?;
            studies.insert(place.study);
        }
        for study in studies {
            self.recount(study)?;
        }
        self.changed.insert(number);
        Ok(Applied::Moved {
            instances_count: erased.len() as u64,
        })
    }

    fn moved(&mut self, kind: ChangeKind, place: Place) -> Result<(), Fault> {
        self.counters.change = self.counters.change.saturating_add(1);
        let mut moves = self.transaction.open_table(super::MOVES)?;
        moves.insert(self.counters.change, encode_move(kind, place).as_slice())?;
        Ok(())
    }

    /// All versions of a study, in order of arrival.
    fn versions_of(&self, study: u64) -> Result<Vec<Erased>, Fault> {
        let mut found = Vec::new();
        let (first, last) = ends(study);
        for entry in self
            .instances
            .range::<&[u8]>(first.as_slice()..=last.as_slice())?
        {
            let (key, row) = entry?;
            let decoded = InstanceRow::decode(row.value())?;
            found.push(Erased {
                place: Place::from_key(key.value())?,
                uid: decoded.uid.to_owned(),
                location: decoded.location,
                tombstone: decoded.tombstone(row.value()),
            });
        }
        found.sort_unstable_by_key(|version| version.place.number);
        Ok(found)
    }

    /// Takes away all by which a study is found, and what its rows say.
    fn forget_study(&mut self, study: u64) -> Result<(), Fault> {
        let (uid, last_series, patient, attributes) = {
            let row = self.entities.get(entity_key(study, 0).as_slice())?;
            let row = row.ok_or(missing("row of a study"))?;
            let row = StudyRow::decode(row.value())?;
            let mut attributes = Attributes::new();
            row.attributes(&mut attributes, |_| true)?;
            let uid = row.uid.clone().into_owned();
            (uid, row.last_series, row.patient, attributes)
        };
        for key in keys_of(&attributes, &uid, study) {
            self.keys.remove(key.as_slice())?;
        }
        self.keys
            .remove(study_key(Kind::PATIENT, &patient, study).as_slice())?;
        for series in 1..=last_series {
            let key = entity_key(study, series);
            let row = {
                let row = self.entities.get(key.as_slice())?;
                let row = row.ok_or(missing("row of a series"))?;
                SeriesRow::decode(row.value())?.into_owned()
            };
            self.keys
                .remove(series_key(&row.uid, study, series).as_slice())?;
            let row = row.tombstone().encode();
            self.entities.insert(key.as_slice(), row.as_slice())?;
        }
        let row = StudyRow::tombstone(&uid).encode();
        self.entities
            .insert(entity_key(study, 0).as_slice(), row.as_slice())?;
        self.put_name(study, "")?;
        self.transaction.open_table(FACTS)?.remove(study)?;
        self.transaction.open_table(RECEIVED)?.remove(study)?;
        Ok(())
    }

    /// Dooms the content of a version, and the copies of it.
    fn doom(&self, version: &Erased) -> Result<(), Fault> {
        let mut copies = self.transaction.open_table(COPIES)?;
        let mut locations = vec![version.location];
        let mut keys = Vec::new();
        for entry in copies.range::<&[u8]>(version.place.key().as_slice()..)? {
            let (key, length) = entry?;
            let Some(place) = key.value().strip_prefix(&version.place.key()) else {
                break;
            };
            let (pack, offset) = read_place_key(place)?;
            locations.push(Location {
                pack,
                offset,
                length_bytes: length.value(),
            });
            keys.push(key.value().to_vec());
        }
        for key in keys {
            copies.remove(key.as_slice())?;
        }
        let mut doomed = self.transaction.open_table(DOOMED)?;
        for location in locations {
            let mut writer = Writer::with_capacity(32);
            writer.number(location.length_bytes);
            version.place.write(&mut writer);
            let key = place_key(location.pack, location.offset);
            doomed.insert(key.as_slice(), writer.into_bytes().as_slice())?;
        }
        Ok(())
    }

    /// Numbers the versions of `uid` that are not of `erased` anew. Of those, the place and row of
    /// the first, if it was not served before.
    fn serve_next(&mut self, uid: &str, erased: u64) -> Result<Option<(Place, Vec<u8>)>, Fault> {
        let first = self.sop(uid.as_bytes())?;
        let later = versions(&self.sops, uid)?;
        self.sops.remove(uid.as_bytes())?;
        for (version, _) in &later {
            self.sops.remove(version_key(uid, *version).as_slice())?;
        }
        let places = first
            .into_iter()
            .chain(later.into_iter().map(|(_, place)| place));
        let left: Vec<Place> = places.filter(|place| place.study != erased).collect();
        for (version, place) in (1_u32..).zip(&left) {
            let key = match version {
                1 => uid.as_bytes().to_vec(),
                _ => version_key(uid, version),
            };
            let mut writer = Writer::with_capacity(16);
            place.write(&mut writer);
            self.sops
                .insert(key.as_slice(), writer.into_bytes().as_slice())?;
        }
        let Some(place) = left.first() else {
            return Ok(None);
        };
        let row = self.instances.get(place.key().as_slice())?;
        let row = row.ok_or(missing("row of an instance"))?;
        let is_served = InstanceRow::decode(row.value())?.served();
        Ok((!is_served).then(|| (*place, promoted(row.value()))))
    }
}

/// First and last key of what a study has.
fn ends(study: u64) -> ([u8; 20], [u8; 20]) {
    let key = |series, number| {
        Place {
            study,
            series,
            number,
        }
        .key()
    };
    (key(0, 0), key(u32::MAX, u64::MAX))
}

fn place_key(pack: u64, offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    let (first, second) = key.split_at_mut(8);
    first.copy_from_slice(&pack.to_be_bytes());
    second.copy_from_slice(&offset.to_be_bytes());
    key
}

fn read_place_key(key: &[u8]) -> Result<(u64, u64), IndexError> {
    let mut reader = Reader::new(key, "place of content");
    let pack = u64::from_be_bytes(reader.array()?);
    Ok((pack, u64::from_be_bytes(reader.array()?)))
}

/// Where all content of a study stands.
pub(in crate::index::redb) fn content_of(
    transaction: &redb::ReadTransaction,
    study: &StudyUid,
) -> Result<Vec<Location>, Fault> {
    let keys = transaction.open_table(KEYS)?;
    let mut numbers = Vec::new();
    let known = exact(Kind::STUDY_UID, study.as_str().as_bytes());
    each_key(&keys, &known, |key| {
        numbers.push(study_of(key)?);
        Ok(())
    })?;
    let instances = transaction.open_table(INSTANCES)?;
    let copies = transaction.open_table(COPIES)?;
    let mut locations = Vec::new();
    for study in numbers {
        let (first, last) = ends(study);
        for entry in instances.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
            let (_, row) = entry?;
            locations.push(InstanceRow::decode(row.value())?.location);
        }
        for entry in copies.range::<&[u8]>(first.as_slice()..)? {
            let (key, length) = entry?;
            let (place, at) = key.value().split_at_checked(20).unwrap_or_default();
            if Place::from_key(place)?.study != study {
                break;
            }
            let (pack, offset) = read_place_key(at)?;
            locations.push(Location {
                pack,
                offset,
                length_bytes: length.value(),
            });
        }
    }
    Ok(locations)
}

/// What is doomed, after a place.
pub(in crate::index::redb) fn read_doomed(
    transaction: &redb::ReadTransaction,
    after: Option<(u64, u64)>,
    count_max: usize,
) -> Result<Vec<Doomed>, Fault> {
    let from = match after {
        None => Some((0, 0)),
        Some((pack, u64::MAX)) => pack.checked_add(1).map(|pack| (pack, 0)),
        Some((pack, offset)) => Some((pack, offset.saturating_add(1))),
    };
    let Some((pack, offset)) = from else {
        return Ok(Vec::new());
    };
    let doomed = transaction.open_table(DOOMED)?;
    let entities = transaction.open_table(ENTITIES)?;
    let instances = transaction.open_table(INSTANCES)?;
    let mut found = Vec::new();
    for entry in doomed
        .range::<&[u8]>(place_key(pack, offset).as_slice()..)?
        .take(count_max)
    {
        let (key, row) = entry?;
        let (pack, offset) = read_place_key(key.value())?;
        let mut reader = Reader::new(row.value(), "doomed content");
        let length_bytes = reader.number()?;
        let place = Place::read(&mut reader)?;
        let row = instances.get(place.key().as_slice())?;
        let row = row.ok_or(missing("row of an instance"))?;
        let row = InstanceRow::decode(row.value())?;
        let study = entities.get(entity_key(place.study, 0).as_slice())?;
        let study = study.ok_or(missing("row of a study"))?;
        let series = entities.get(entity_key(place.study, place.series).as_slice())?;
        let series = series.ok_or(missing("row of a series"))?;
        found.push(Doomed {
            location: Location {
                pack,
                offset,
                length_bytes,
            },
            digest: row.digest,
            study: StudyRow::decode(study.value())?.uid()?,
            series: SeriesRow::decode(series.value())?.uid()?,
            instance: SopInstanceUid::parse_legacy(row.uid)
                .map_err(|_| missing("UID of an instance"))?,
        });
    }
    Ok(found)
}

/// What stands at these places is doomed no more.
pub(in crate::index::redb) fn undoom(
    transaction: &WriteTransaction,
    places: &[(u64, u64)],
) -> Result<(), Fault> {
    let mut doomed = transaction.open_table(DOOMED)?;
    for (pack, offset) in places {
        doomed.remove(place_key(*pack, *offset).as_slice())?;
    }
    Ok(())
}
