//! What examinations become when studies, or series of them, come to them or leave them.

use super::super::super::announcements::announce_examination;
use super::super::super::batch::Batch;
use super::super::super::{Moment, Refusal, Registry, RegistryError, Stored};
use super::super::actions::{Happening, as_system, happen};
use super::super::{Examination, ExaminationEvent, Random, study_of};
use super::{KeptImages, StudyMatch};
use crate::limits::EXAMINATION_STUDIES_MAX;
use pacs_core::ExaminationId;
use pacs_core::examination::progress::ReportFate;
use pacs_core::examination::{Effect, Event, Reason, TransitionError};
use pacs_core::role::Agent;
use pacs_core::uid::{SeriesUid, StudyUid};
use std::collections::{BTreeMap, BTreeSet};

/// What is decided of a study: what it was, where it was known, and what it becomes.
pub(super) type Turn<'a> = (Option<&'a StudyMatch>, &'a StudyMatch);

/// By whom and when something happens; `random` is for a new planned Study Instance UID, where one
/// is owed.
#[derive(Clone, Copy)]
pub(in super::super::super) struct By<'a> {
    pub(in super::super::super) agent: &'a Agent,
    pub(in super::super::super) random: Random,
    pub(in super::super::super) at: Moment,
}

/// How and why studies are given to other examinations.
#[derive(Clone, Copy)]
pub(in super::super::super) struct Moving<'a> {
    pub(in super::super::super) by: By<'a>,
    pub(in super::super::super) kept: &'a KeptImages,
    pub(in super::super::super) reason: &'a Reason,
}

/// Whether an examination loses images, and whether it gets some.
#[derive(Default, Clone, Copy)]
struct Moves {
    loses: bool,
    gets: bool,
}

impl Registry {
    /// Adds to `batch` what the examinations become that `turns` take images from or give them to,
    /// but `made`, which is new; `cancelled` is withdrawn where nothing is left of it.
    pub(super) async fn reallocate(
        &self,
        batch: &mut Batch,
        moving: &Moving<'_>,
        turns: &[Turn<'_>],
        (made, cancelled): (Option<ExaminationId>, Option<ExaminationId>),
    ) -> Result<(), RegistryError> {
        for (id, moves) in moves(turns, moving.kept)? {
            if made == Some(id) {
                continue;
            }
            let before = self.examination_at(id).await?;
            let (studies, images_left) = self.left(&before.value, turns, moving.kept).await?;
            let mut events = Vec::new();
            if moves.loses {
                events.push(Event::MoveImagesAway {
                    images_left,
                    report: ReportFate::Nothing,
                    reason: moving.reason.clone(),
                });
            }
            if moves.gets {
                events.push(Event::ImagesArrive);
            }
            // A study of which all is hidden is still of it, and may be restored.
            if cancelled == Some(id) && studies.is_empty() {
                events.push(Event::Cancel {
                    images: 0,
                    reason: moving.reason.clone(),
                });
            }
            let mut after = before.value.clone();
            after.studies = studies;
            if cancelled == Some(id) {
                // The images' own UID brings them to it no more.
                after.planned_study = study_of(moving.by.random)?;
            }
            self.add_changed(batch, &moving.by, (&before, after), &events)
                .await?;
        }
        Ok(())
    }

    /// Adds to `batch` that events happen to an examination, which has `studies` from then on.
    pub(in super::super::super) async fn add_events(
        &self,
        batch: &mut Batch,
        by: &By<'_>,
        (before, studies): (&Stored<Examination>, Vec<StudyUid>),
        events: &[Event],
    ) -> Result<(), RegistryError> {
        let mut after = before.value.clone();
        after.studies = studies;
        self.add_changed(batch, by, (before, after), events).await
    }

    async fn add_changed(
        &self,
        batch: &mut Batch,
        by: &By<'_>,
        (before, mut after): (&Stored<Examination>, Examination),
        events: &[Event],
    ) -> Result<(), RegistryError> {
        let system = as_system(by.agent);
        let mut rows: Vec<ExaminationEvent> = Vec::new();
        let mut owed: Vec<Effect> = Vec::new();
        for event in events {
            // That images come is the archive's to say, whoever said whose they are.
            let is_arriving = *event == Event::ImagesArrive;
            let agent = if is_arriving { &system } else { by.agent };
            let happening = Happening {
                event,
                order: None,
                claim: None,
                random: by.random,
                at: by.at,
            };
            match happen(&mut after, agent, &happening) {
                Ok((row, effects)) => {
                    rows.push(row);
                    owed.extend(effects);
                }
                // Whoever moves images away may not withdraw the order that was made of them.
                Err(Refusal::Transition(TransitionError::Actor { .. }))
                    if matches!(event, Event::Cancel { .. }) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let had = &before.value.studies;
        let last = rows.last().map(|row| row.event.clone());
        let after = self
            .put_examination(batch, Some(before), after, rows)
            .await?;
        announce_examination(batch, had, &after, &owed)?;
        let event = last.unwrap_or_default();
        self.notify(batch, by.agent, &after, (&event, &owed)).await
    }

    /// The studies that an examination has after `turns`, and how many images in sight.
    pub(in super::super::super) async fn left(
        &self,
        examination: &Examination,
        turns: &[Turn<'_>],
        kept: &KeptImages,
    ) -> Result<(Vec<StudyUid>, u64), RegistryError> {
        let id = examination.id;
        let mut studies = examination.studies.clone();
        for (_, after) in turns {
            let is_of_it = after.examinations().contains(&id);
            if !is_of_it {
                studies.retain(|study| *study != after.study);
            } else if !studies.contains(&after.study) {
                studies.push(after.study.clone());
            }
        }
        if studies.len() > EXAMINATION_STUDIES_MAX {
            return Err(Refusal::Unfit { what: "study" }.into());
        }
        let mut images_left = 0_u64;
        for study in &studies {
            // What was not looked at came to the examination in the meantime.
            let series = kept.series_of(study).ok_or(RegistryError::Changed)?;
            let turn = turns.iter().find(|(_, after)| after.study == *study);
            let found = match turn {
                Some(_) => None,
                None => self.find::<StudyMatch>(study.as_str()).await?,
            };
            let after = turn.map(|(_, after)| *after);
            let after = after.or(found.as_ref().map(|found| &found.value));
            for (series, count) in series {
                let is_of_it = after.is_none_or(|after| after.examination_of(series) == Some(id));
                if is_of_it {
                    images_left = images_left.saturating_add(*count);
                }
            }
        }
        Ok((studies, images_left))
    }
}

/// The examinations that lose or get something.
fn moves(
    turns: &[Turn<'_>],
    kept: &KeptImages,
) -> Result<BTreeMap<ExaminationId, Moves>, RegistryError> {
    let mut all: BTreeMap<ExaminationId, Moves> = BTreeMap::new();
    for (before, after) in turns {
        let in_sight = kept.series_of(&after.study).ok_or(RegistryError::Changed)?;
        let parts = before.iter().flat_map(|before| &before.parts);
        let parts = parts.chain(&after.parts).flat_map(|part| &part.series);
        let series: BTreeSet<&SeriesUid> = in_sight.keys().chain(parts).collect();
        let of_series = series.into_iter().map(|series| {
            let was = before.and_then(|before| before.examination_of(series));
            (was, after.examination_of(series))
        });
        // The rest of the study, be there images of it in sight or not.
        let was = before.and_then(StudyMatch::examination);
        let rest = (was, after.examination());
        for (was, is) in of_series.chain([rest]).filter(|(was, is)| was != is) {
            if let Some(id) = was {
                all.entry(id).or_default().loses = true;
            }
            if let Some(id) = is {
                all.entry(id).or_default().gets = true;
            }
        }
    }
    Ok(all)
}
