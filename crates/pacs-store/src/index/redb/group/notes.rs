//! What is noted of studies, in the tables: a study's row says what it is to say, and what was
//! received is kept beside it.

use super::super::tables::{FACTS, META, NOTES, RECEIVED};
use super::{
    Fault, Group, Kind, NAMES, NAMES_PER_ROW, Reader, StudyRow, Writer, keys_of, missing, study_key,
};
use crate::index::{IndexError, Notes, StudyNote};
use pacs_core::tag::{tags, vr_of};
use pacs_core::{Attributes, fold};
use redb::ReadableTable;

/// How far whoever writes notes has come, in `meta`. Another name than that of programs whose notes
/// do not say of which kinds images are, or of which departments: after these everything is noted
/// again.
pub(in crate::index::redb) const NOTED: &str = "noted-with-departments";

/// What they called it.
const NOTED_WITH_LESS: [&str; 2] = ["noted", "noted-with-kinds"];

impl Group<'_> {
    /// Notes what is known of studies.
    pub(in crate::index::redb) fn note(&mut self, notes: &Notes) -> Result<(), Fault> {
        for (study, note) in &notes.of_studies {
            let uid = study.as_str();
            {
                let mut kept = self.transaction.open_table(NOTES)?;
                if note.is_empty() {
                    kept.remove(uid.as_bytes())?;
                } else {
                    kept.insert(uid.as_bytes(), encode(note)?.as_slice())?;
                }
            }
            let Some(number) = self.known_study(uid)? else {
                continue;
            };
            self.set_aside(number)?;
            let mut row = self.studies.remove(&number).ok_or(missing("study"))?;
            self.say(number, &mut row, note)?;
            self.studies.insert(number, row);
            self.write_rows()?;
        }
        let mut meta = self.transaction.open_table(META)?;
        meta.insert(NOTED, notes.through.to_be_bytes().as_slice())?;
        for former in NOTED_WITH_LESS {
            meta.remove(former)?;
        }
        Ok(())
    }

    /// What was noted of a study that comes only now: its row says so from the beginning.
    pub(super) fn say_noted(
        &mut self,
        number: u64,
        row: &mut StudyRow<'static>,
    ) -> Result<(), Fault> {
        let note = {
            let kept = self.transaction.open_table(NOTES)?;
            let note = kept.get(row.uid.as_bytes())?;
            note.map(|note| decode(note.value())).transpose()?
        };
        let Some(note) = note else {
            return Ok(());
        };
        let mut attributes = Attributes::new();
        row.attributes(&mut attributes, |_| true)?;
        self.keep_received(number, row, &note)?;
        note.correct_study(&mut attributes);
        row.set_attributes(attributes)?;
        self.put_facts(number, &note)
    }

    /// Makes a study that is here say what `note` says.
    fn say(
        &mut self,
        number: u64,
        row: &mut StudyRow<'static>,
        note: &StudyNote,
    ) -> Result<(), Fault> {
        let mut before = Attributes::new();
        row.attributes(&mut before, |_| true)?;
        let mut after = self.received(number, row)?;
        self.keep_received(number, row, note)?;
        note.correct_study(&mut after);
        let patient = row.patient;
        row.set_attributes(after)?;
        let mut after = Attributes::new();
        row.attributes(&mut after, |_| true)?;

        let (had, has) = (
            keys_of(&before, &row.uid, number),
            keys_of(&after, &row.uid, number),
        );
        for key in had.difference(&has) {
            self.keys.remove(key.as_slice())?;
        }
        for key in has.difference(&had) {
            self.keys.insert(key.as_slice(), ())?;
        }
        if patient != row.patient {
            self.keys
                .remove(study_key(Kind::PATIENT, &patient, number).as_slice())?;
            self.keys.insert(
                study_key(Kind::PATIENT, &row.patient, number).as_slice(),
                (),
            )?;
        }
        let name = |of: &Attributes| {
            let name = of.text(tags::PATIENT_NAME).unwrap_or_default();
            fold::matching_key(vr_of(tags::PATIENT_NAME), name).into_owned()
        };
        if name(&before) != name(&after) {
            self.put_name(number, &name(&after))?;
        }
        self.put_facts(number, note)
    }

    /// The attributes of a study as they were received.
    fn received(&self, number: u64, row: &StudyRow<'_>) -> Result<Attributes, Fault> {
        let received = self.transaction.open_table(RECEIVED)?;
        let mut attributes = Attributes::new();
        match received.get(number)? {
            Some(block) => {
                let reader = Reader::new(block.value(), "received attributes of a study");
                reader.attributes(&mut attributes, |_| true)?;
            }
            None => row.attributes(&mut attributes, |_| true)?,
        }
        Ok(attributes)
    }

    /// Keeps them as long as the row says something else.
    fn keep_received(
        &self,
        number: u64,
        row: &StudyRow<'_>,
        note: &StudyNote,
    ) -> Result<(), Fault> {
        let mut received = self.transaction.open_table(RECEIVED)?;
        if note.correction.is_empty() {
            received.remove(number)?;
        } else if received.get(number)?.is_none() {
            received.insert(number, row.block())?;
        }
        Ok(())
    }

    fn put_facts(&self, number: u64, note: &StudyNote) -> Result<(), Fault> {
        let mut facts = self.transaction.open_table(FACTS)?;
        match &note.facts {
            None => facts.remove(number)?,
            Some(known) => facts.insert(number, encode(known)?.as_slice())?,
        };
        Ok(())
    }

    /// Puts another name in its place among those of its row.
    pub(super) fn put_name(&self, number: u64, name: &str) -> Result<(), Fault> {
        let mut names = self.transaction.open_table(NAMES)?;
        let at = number.saturating_sub(1) / NAMES_PER_ROW;
        let first = at.saturating_mul(NAMES_PER_ROW).saturating_add(1);
        let mut writer = Writer::default();
        {
            let row = names.get(at)?.ok_or(missing("row of names"))?;
            let mut reader = Reader::new(row.value(), "row of names");
            let mut study = first;
            while !reader.rest().is_empty() {
                let known = reader.text()?;
                writer.text(if study == number { name } else { known });
                study = study.saturating_add(1);
            }
        }
        names.insert(at, writer.into_bytes().as_slice())?;
        Ok(())
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, IndexError> {
    postcard::to_allocvec(value).map_err(|_| IndexError::Damaged {
        what: "note of a study",
    })
}

/// Counts that what is noted got at its end, one after the other.
const COUNTS_ADDED: usize = 4;

/// Reads what was noted. What was noted before studies had further examinations, people who are
/// named for them, kinds of images, or departments, ends before the counts of these, which are the
/// last of it.
pub(in crate::index::redb) fn decode<T: serde::de::DeserializeOwned>(
    row: &[u8],
) -> Result<T, IndexError> {
    let mut read = postcard::from_bytes(row);
    let mut longer = row.to_vec();
    for _ in 0..COUNTS_ADDED {
        if !matches!(read, Err(postcard::Error::DeserializeUnexpectedEnd)) {
            break;
        }
        longer.push(0);
        read = postcard::from_bytes(&longer);
    }
    read.map_err(|_| IndexError::Damaged {
        what: "note of a study",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataDirectory;
    use crate::disk::OsDisk;
    use crate::index::redb::{RedbIndex, RedbOptions};
    use pacs_core::coerce::Correction;
    use pacs_core::examination::reconcile::Kind;
    use pacs_core::patient::{PatientKey, PatientNumber};
    use pacs_core::role::sight::{Examined, StudyFacts};
    use pacs_core::{DepartmentCode, OrganisationCode};
    use std::sync::Arc;

    fn department(code: &str) -> DepartmentCode {
        DepartmentCode::parse(code).unwrap()
    }

    fn note() -> StudyNote {
        let code = OrganisationCode::parse("006").unwrap();
        StudyNote {
            correction: Correction::default(),
            facts: Some(StudyFacts {
                organisation: code,
                department: Some(department("RAD")),
                examined: Some(Examined {
                    patient: PatientKey::Known(PatientNumber::from_serial(1).unwrap()),
                    performing: code,
                    ordering: code,
                    requester: "operator".to_owned(),
                    is_delivered: false,
                    assigned_to: None,
                    pool: None,
                    kind: Some(Kind::Ct),
                    performing_department: Some(department("ER")),
                    ordering_department: None,
                    is_restricted: false,
                    tied_until: Vec::new(),
                }),
                others: Vec::new(),
                named: Vec::new(),
            }),
        }
    }

    #[test]
    fn notes_of_earlier_programs_are_read_and_say_no_department_and_no_kind() {
        let row = encode(&note()).unwrap();
        assert_eq!(decode::<StudyNote>(&row).unwrap(), note());
        let mut old = note();
        let facts = old.facts.as_mut().unwrap();
        facts.department = None;
        let examined = facts.examined.as_mut().unwrap();
        examined.performing_department = None;
        // Three departments: that there are three, RAD and ER with their lengths and that each is
        // known, and that the third is not.
        let row = row.get(..row.len() - 11).unwrap();
        assert_eq!(decode::<StudyNote>(row).unwrap(), old);
        let facts = old.facts.as_mut().unwrap();
        facts.examined.as_mut().unwrap().kind = None;
        // One kind: that there is one, that it is known, and which; before it two counts of none.
        for cut in [3, 4, 5] {
            let row = row.get(..row.len() - cut).unwrap();
            assert_eq!(decode::<StudyNote>(row).unwrap(), old, "{cut}");
        }
        let row = row.get(..row.len() - 6).unwrap();
        assert!(
            decode::<StudyNote>(row).is_err(),
            "less than there ever was"
        );
    }

    #[test]
    fn behind_an_earlier_program_everything_is_noted_again() {
        for former in NOTED_WITH_LESS {
            is_noted_again_behind(former);
        }
    }

    fn is_noted_again_behind(former: &str) {
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let directory = DataDirectory::open(Arc::new(disk)).unwrap();
        let index = RedbIndex::open(&directory, &RedbOptions::default()).unwrap();
        let database = index.inner.database.get().unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut meta = transaction.open_table(META).unwrap();
            let through = 7_u64.to_be_bytes();
            meta.insert(former, through.as_slice()).unwrap();
        }
        transaction.commit().unwrap();

        assert_eq!(index.inner.noted().unwrap(), 0);
        let notes = Notes {
            of_studies: Vec::new(),
            through: 9,
        };
        index.inner.note(&notes).unwrap();
        assert_eq!(index.inner.noted().unwrap(), 9);
    }
}
