//! A moment of the index, for reading: single rows, changes, entries.

use super::fault::Fault;
use super::group::{decode_move, missing, read_place, versions};
use super::kept_rows::{KeptRows, Moment};
use super::rows::{InstanceRow, Place, SeriesRow, StudyRow, entity_key, from_entity_key};
use super::tables::{ARRIVALS, Bytes, ENTITIES, FACTS, INSTANCES, KEYS, MOVES, NAMES, NOTES, SOPS};
use crate::index::{
    Change, ChangeKind, ChangeNumber, Digest, IndexError, StoredInstance, Versions,
};
use pacs_core::{SeriesUid, SopInstanceUid, StudyUid};
use redb::{Database, ReadOnlyTable, ReadableDatabase};
use std::sync::Arc;

/// Whether some version of `instance` is there: by one table, where a [`View`] opens all.
pub(super) fn has(database: &Database, instance: &SopInstanceUid) -> Result<bool, Fault> {
    let sops = database.begin_read()?.open_table(SOPS)?;
    Ok(sops.get(instance.as_str().as_bytes())?.is_some())
}

/// The tables as they were when this was made.
pub(super) struct View {
    pub(super) entities: ReadOnlyTable<Bytes, Bytes>,
    pub(super) instances: ReadOnlyTable<Bytes, Bytes>,
    pub(super) sops: ReadOnlyTable<Bytes, Bytes>,
    pub(super) keys: ReadOnlyTable<Bytes, ()>,
    pub(super) names: ReadOnlyTable<u64, Bytes>,
    pub(super) notes: ReadOnlyTable<Bytes, Bytes>,
    pub(super) facts: ReadOnlyTable<u64, Bytes>,
    arrivals: ReadOnlyTable<u64, Bytes>,
    moves: ReadOnlyTable<u64, Bytes>,
    kept: Arc<KeptRows>,
    /// `None`: something was committed while this was made.
    moment: Option<Moment>,
}

impl View {
    pub(super) fn new(database: &Database, kept: &Arc<KeptRows>) -> Result<Self, Fault> {
        let moment = kept.moment();
        let transaction = database.begin_read()?;
        let moment = moment.filter(|moment| kept.moment() == Some(*moment));
        Ok(Self {
            entities: transaction.open_table(ENTITIES)?,
            instances: transaction.open_table(INSTANCES)?,
            sops: transaction.open_table(SOPS)?,
            keys: transaction.open_table(KEYS)?,
            names: transaction.open_table(NAMES)?,
            notes: transaction.open_table(NOTES)?,
            facts: transaction.open_table(FACTS)?,
            arrivals: transaction.open_table(ARRIVALS)?,
            moves: transaction.open_table(MOVES)?,
            kept: Arc::clone(kept),
            moment,
        })
    }

    /// What `read` makes of the row of a study.
    pub(super) fn study<T>(
        &self,
        study: u64,
        read: impl FnOnce(&StudyRow<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let kept = self.moment.and_then(|moment| self.kept.get(study, moment));
        if let Some(row) = kept {
            return read(&StudyRow::decode(&row)?);
        }
        let row = self.entities.get(entity_key(study, 0).as_slice())?;
        let row = row.ok_or(missing("row of a study"))?;
        if let Some(moment) = self.moment {
            self.kept.keep(study, row.value(), moment);
        }
        read(&StudyRow::decode(row.value())?)
    }

    pub(super) fn sop(&self, uid: &str) -> Result<Option<Place>, Fault> {
        match self.sops.get(uid.as_bytes())? {
            Some(row) => Ok(Some(read_place(row.value())?)),
            None => Ok(None),
        }
    }

    pub(super) fn knows(&self, uid: &SopInstanceUid, digest: &Digest) -> Result<bool, Fault> {
        let uid = uid.as_str();
        let Some(first) = self.sop(uid)? else {
            return Ok(false);
        };
        let later = versions(&self.sops, uid)?;
        for place in std::iter::once(first).chain(later.into_iter().map(|(_, place)| place)) {
            let row = self.instances.get(place.key().as_slice())?;
            let row = row.ok_or(missing("row of an instance"))?;
            let row = InstanceRow::decode(row.value())?;
            if row.digest == *digest && !row.destroyed() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn versions(
        &self,
        uid: &SopInstanceUid,
        limit_count: usize,
    ) -> Result<Versions, Fault> {
        let uid = uid.as_str();
        let mut found = Versions::default();
        let Some(first) = self.sop(uid)? else {
            return Ok(found);
        };
        let later = versions(&self.sops, uid)?;
        if later.len() >= limit_count {
            return Err(IndexError::TooMany { limit_count }.into());
        }
        let mut known = Known::default();
        for place in std::iter::once(first).chain(later.into_iter().map(|(_, place)| place)) {
            let row = self.instances.get(place.key().as_slice())?;
            let row = row.ok_or(missing("row of an instance"))?;
            let row = InstanceRow::decode(row.value())?;
            if row.destroyed() {
                continue;
            }
            found.is_hidden |= row.served() && row.hidden();
            let owner = known.owner(self, place)?;
            found
                .stored
                .push(row.stored(&owner.study_uid, &owner.series_uid, &owner.series)?);
        }
        Ok(found)
    }

    pub(super) fn changes(
        &self,
        after: ChangeNumber,
        count_max: usize,
    ) -> Result<Vec<Change>, Fault> {
        let Some(next) = after.0.checked_add(1) else {
            return Ok(Vec::new());
        };
        let mut arrivals = self.arrivals.range(next..)?.peekable();
        let mut moves = self.moves.range(next..)?.peekable();
        let mut known = Known::default();
        let mut changes = Vec::new();
        while changes.len() < count_max {
            let number = |entry: Option<&Result<(redb::AccessGuard<'_, u64>, _), _>>| {
                entry.map_or(u64::MAX, |entry| match entry {
                    Ok((key, _)) => key.value(),
                    Err(_) => 0,
                })
            };
            let arrived = number(arrivals.peek()) < number(moves.peek());
            let Some(entry) = (if arrived { &mut arrivals } else { &mut moves }).next() else {
                break;
            };
            let (number, row) = entry?;
            let number = number.value();
            let (kind, place) = if arrived {
                (None, arrival(number, row.value())?)
            } else {
                let (kind, place) = decode_move(row.value())?;
                (Some(kind), place)
            };
            changes.push(self.change(ChangeNumber(number), kind, place, &mut known)?);
        }
        Ok(changes)
    }

    fn change(
        &self,
        number: ChangeNumber,
        kind: Option<ChangeKind>,
        place: Place,
        known: &mut Known,
    ) -> Result<Change, Fault> {
        let row = self.instances.get(place.key().as_slice())?;
        let row = row.ok_or(missing("row of an instance"))?;
        let row = InstanceRow::decode(row.value())?;
        let of_arrival = if row.came_first() {
            ChangeKind::Received
        } else {
            ChangeKind::Conflicted
        };
        let owner = known.owner(self, place)?;
        Ok(Change {
            number,
            kind: kind.unwrap_or(of_arrival),
            instance: SopInstanceUid::parse_legacy(row.uid)
                .map_err(|_| missing("UID of an instance"))?,
            series: owner.series_uid.clone(),
            study: owner.study_uid.clone(),
        })
    }

    pub(super) fn entries(
        &self,
        after: u64,
        count_max: usize,
    ) -> Result<Vec<(u64, StoredInstance)>, Fault> {
        let Some(next) = after.checked_add(1) else {
            return Ok(Vec::new());
        };
        let mut known = Known::default();
        let mut entries = Vec::new();
        for entry in self.arrivals.range(next..)? {
            if entries.len() >= count_max {
                break;
            }
            let (number, row) = entry?;
            let place = arrival(number.value(), row.value())?;
            let row = self.instances.get(place.key().as_slice())?;
            let row = row.ok_or(missing("row of an instance"))?;
            let row = InstanceRow::decode(row.value())?;
            if row.erased() || row.destroyed() {
                continue;
            }
            let owner = known.owner(self, place)?;
            let stored = row.stored(&owner.study_uid, &owner.series_uid, &owner.series)?;
            entries.push((place.number, stored));
        }
        Ok(entries)
    }
}

fn arrival(number: u64, row: &[u8]) -> Result<Place, Fault> {
    let (study, series) = from_entity_key(row)?;
    Ok(Place {
        study,
        series,
        number,
    })
}

/// The series that was read last: what comes next is mostly of the same.
#[derive(Default)]
struct Known(Option<Owner>);

struct Owner {
    at: (u64, u32),
    study_uid: StudyUid,
    series_uid: SeriesUid,
    series: SeriesRow<'static>,
}

impl Known {
    fn owner(&mut self, view: &View, place: Place) -> Result<&Owner, Fault> {
        let at = (place.study, place.series);
        let owner = match self.0.take().filter(|owner| owner.at == at) {
            Some(owner) => owner,
            None => Owner::read(view, at)?,
        };
        Ok(self.0.insert(owner))
    }
}

impl Owner {
    fn read(view: &View, at: (u64, u32)) -> Result<Self, Fault> {
        let study = view.entities.get(entity_key(at.0, 0).as_slice())?;
        let study = study.ok_or(missing("row of a study"))?;
        let study = StudyRow::decode(study.value())?;
        let series = view.entities.get(entity_key(at.0, at.1).as_slice())?;
        let series = series.ok_or(missing("row of a series"))?;
        let series = SeriesRow::decode(series.value())?.into_owned();
        Ok(Self {
            at,
            study_uid: study.uid()?,
            series_uid: series.uid()?,
            series,
        })
    }
}
