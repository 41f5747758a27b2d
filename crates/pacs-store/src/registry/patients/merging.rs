//! Two documents of one person.

use super::super::batch::Batch;
use super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::document::{HistoryEntry, Merge, Patient, What};
use super::key_of;
use super::register::{add_patient, patient_event};
use crate::limits::PATIENT_ALIASES_MAX;
use crate::records::Revision;
use chrono::TimeDelta;
use pacs_core::Phi;
use pacs_core::audit::Act;
use pacs_core::examination::Reason;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Licence, duty::PatientMerge};

/// How long a merge can be undone.
const UNDO_FOR: TimeDelta = TimeDelta::days(90);

impl Registry {
    /// Says that `loser` is `survivor`: from now on only the survivor is shown, whichever of the
    /// two is asked for. Neither document loses anything.
    ///
    /// # Errors
    /// [`Refusal::Merged`] where one of them went into another before,
    /// [`Refusal::Unfit`] for one and the same, and for a known patient who would go into one whose
    /// identity nobody knows; [`RegistryError`] otherwise.
    pub async fn merge_patients(
        &self,
        licence: &Licence<PatientMerge>,
        survivor: (PatientKey, Revision),
        loser: (PatientKey, Revision),
        reason: Reason,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        let into = self.unmerged(survivor).await?;
        let gone = self.unmerged(loser).await?;
        let is_backwards = matches!(into.value.key, PatientKey::Unidentified(_))
            && matches!(gone.value.key, PatientKey::Known(_));
        if into.value.key == gone.value.key || is_backwards {
            return Err(Refusal::Unfit { what: "merge" }.into());
        }
        let of_both = [
            self.keys_of(&into.value).await?,
            self.keys_of(&gone.value).await?,
        ];
        if of_both.concat().len() > PATIENT_ALIASES_MAX {
            return Err(Refusal::Unfit { what: "merge" }.into());
        }
        let by = licence.agent().name.clone();
        let entry = |what| HistoryEntry {
            at,
            by: by.clone(),
            what,
            reason: Some(reason.clone()),
            before: None,
        };
        let mut survivor = into.value.clone();
        survivor.aliases.push(gone.value.key);
        let mut loser = gone.value.clone();
        loser.merge = Some(Merge {
            into: survivor.key,
            at,
            by: by.clone(),
            reason: reason.clone(),
        });
        let entries = [
            entry(What::Absorbed(loser.key)),
            entry(What::Merged(survivor.key)),
        ];
        self.put_both(licence, [&into, &gone], [survivor, loser], &entries, at)
            .await
    }

    /// Undoes a merge, by the number that went into another.
    ///
    /// # Errors
    /// [`Refusal::NotMerged`], [`Refusal::TooLate`] after ninety days; [`RegistryError`] otherwise.
    pub async fn unmerge_patient(
        &self,
        licence: &Licence<PatientMerge>,
        loser: PatientKey,
        reason: Reason,
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        let gone = self.read::<Patient>(&key_of(loser)).await?;
        let Some(merge) = &gone.value.merge else {
            return Err(Refusal::NotMerged.into());
        };
        if at.signed_duration_since(merge.at) > UNDO_FOR {
            return Err(Refusal::TooLate.into());
        }
        let into = self.read::<Patient>(&key_of(merge.into)).await?;
        let own = gone.value.particulars.identifiers();
        let theirs = into.value.particulars.identifiers();
        if theirs.iter().any(|identifier| own.contains(identifier)) {
            // It was given to the survivor after the merge: two would have it.
            return Err(Refusal::Taken { what: "identifier" }.into());
        }
        let entry = |what| HistoryEntry {
            at,
            by: licence.agent().name.clone(),
            what,
            reason: Some(reason.clone()),
            before: None,
        };
        let mut survivor = into.value.clone();
        survivor.aliases.retain(|alias| *alias != loser);
        let mut back = gone.value.clone();
        back.merge = None;
        let entries = [
            entry(What::Released(back.key)),
            entry(What::Unmerged(survivor.key)),
        ];
        self.put_both(licence, [&into, &gone], [survivor, back], &entries, at)
            .await
    }

    async fn unmerged(
        &self,
        (patient, expected): (PatientKey, Revision),
    ) -> Result<Stored<Patient>, RegistryError> {
        let stored = self.read::<Patient>(&key_of(patient)).await?;
        if stored.revision != expected {
            return Err(RegistryError::Changed);
        }
        match &stored.value.merge {
            Some(merge) => Err(Refusal::Merged { into: merge.into }.into()),
            None => Ok(stored),
        }
    }

    /// Stores survivor and loser together; gives the survivor.
    async fn put_both(
        &self,
        licence: &Licence<PatientMerge>,
        before: [&Stored<Patient>; 2],
        after: [Patient; 2],
        entries: &[HistoryEntry; 2],
        at: Moment,
    ) -> Result<Stored<Patient>, RegistryError> {
        let mut event = patient_event(Act::PatientMerged, licence, &after[0], at);
        event.object.merged_patient = Some(Phi::new(after[1].key));
        let [into, gone] = before;
        let [survivor, loser] = after;
        let mut batch = Batch::default();
        let survivor = add_patient(&mut batch, Some(into), survivor, &entries[0])?;
        add_patient(&mut batch, Some(gone), loser, &entries[1])?;
        let revisions = self.commit(batch, event).await?;
        let revision = revisions.first().copied().ok_or(RegistryError::Changed)?;
        Stored::of(survivor, revision)
    }
}
