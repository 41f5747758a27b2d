//! One study, judged.

use super::heads::{Seen, Witness};
use super::{Matcher, MatcherError, News};
use crate::limits::REGISTRY_ATTEMPTS_MAX;
use crate::registry::examinations::{MatchState, ReceivedStudy, StudyMatch};
use crate::registry::{Refusal, RegistryError, Stored};
use chrono::NaiveDateTime;
use pacs_core::examination::reconcile::{
    Binding, Candidate, Origin, QueueReason, Received, StudyHeader, Verdict, verdict,
};
use pacs_core::uid::StudyUid;
use pacs_core::{DepartmentCode, ExaminationId, OrganisationCode};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Matcher {
    /// Judges one study, and again where a person decided something of it meanwhile.
    pub(super) async fn judge_anew(
        &self,
        study: &StudyUid,
        news: &News,
    ) -> Result<Option<Stored<StudyMatch>>, MatcherError> {
        let mut judged = self.judge(study, news).await;
        for _ in 0..REGISTRY_ATTEMPTS_MAX {
            if !matches!(judged, Err(MatcherError::Registry(RegistryError::Changed))) {
                break;
            }
            judged = self.judge(study, news).await;
        }
        judged
    }

    /// Judges one study; `None` where nothing of it is in sight any more.
    async fn judge(
        &self,
        study: &StudyUid,
        news: &News,
    ) -> Result<Option<Stored<StudyMatch>>, MatcherError> {
        let known = match self.registry.study_match(&self.licence, study).await {
            Ok(known) => Some(known),
            Err(RegistryError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let judged = known.as_ref().map(|known| known.revision);
        let known = known.map(|known| known.value);
        let seen = self.see(study, news, known.as_ref()).await?;
        let Some((first_instance, received_unix_ms)) = seen.first.clone() else {
            return Ok(None);
        };
        let received_at = match &known {
            Some(known) => known.received_at,
            None => self.moment(received_unix_ms),
        };
        let organisation = self.owner(study, &seen, known.as_ref()).await?;
        let mut received = ReceivedStudy {
            study: study.clone(),
            organisation,
            department: self.department(organisation, &seen, known.as_ref()).await?,
            is_import: known
                .as_ref()
                .map_or(seen.is_import, |known| known.is_import),
            received_at,
            first_instance,
            witnesses: seen
                .witnesses
                .iter()
                .map(|one| one.instance.clone())
                .collect(),
            has_more_headers: seen.has_more,
            has_other_version: news.has_other_version,
            senders: seen.senders.clone(),
            news: seen.news.clone(),
            judged,
        };
        let found = self.verdict_of(&received, &seen, known.as_ref()).await?;
        let at = self.now();
        let turn = self.registry.turn().await;
        let is_by_versions = seen.is_by_versions;
        if !is_by_versions && !self.is_still_there(&mut received, known.as_ref()).await? {
            return Ok(None);
        }
        let stored = self
            .registry
            .store_verdict(&turn, &self.licence, (&received, &found), at)
            .await;
        // Between the question and the answer the order was cancelled, or its device said that it
        // was a wrong one, or it takes no more studies: the study waits for a person, and the
        // others go on.
        let reason = match stored {
            Err(RegistryError::Refused(Refusal::Disowned)) => QueueReason::Unbound,
            Err(RegistryError::Refused(_)) => QueueReason::IdCancelled,
            other => return Ok(Some(other?)),
        };
        let found = Verdict::Queued {
            reason,
            suggestions: Vec::new(),
        };
        let stored = self
            .registry
            .store_verdict(&turn, &self.licence, (&received, &found), at)
            .await?;
        Ok(Some(stored))
    }

    /// Whether something of a study that was seen is in sight in the turn that is held, and stays:
    /// images are rejected in such turns. Series of which all was hidden since are no news.
    async fn is_still_there(
        &self,
        received: &mut ReceivedStudy,
        known: Option<&StudyMatch>,
    ) -> Result<bool, MatcherError> {
        let (find, study) = (&self.permits.find, &received.study);
        if known.is_none_or(|known| known.parts.is_empty()) {
            return Ok(self.archive.is_in_sight(find, study).await?);
        }
        // Its series are of several examinations.
        let kept = self.archive.kept_images(find, [study.clone()]).await?;
        let all = kept.series_of(study);
        received.news.retain(|series, _| {
            let count = all.and_then(|all| all.get(series));
            count.is_some_and(|count| *count > 0)
        });
        Ok(kept.count_of(study) > Some(0))
    }

    /// Whose a study is: what was decided stays; else it is of the organisation that planned it, if
    /// a device of it sent anything; else of the one whose device sent the first.
    async fn owner(
        &self,
        study: &StudyUid,
        seen: &Seen,
        known: Option<&StudyMatch>,
    ) -> Result<Option<OrganisationCode>, MatcherError> {
        if let Some(known) = known
            && (known.correction.is_some() || !known.examinations().is_empty())
        {
            return Ok(known.organisation);
        }
        let planned = self
            .registry
            .examination_planned_as(&self.licence, study)
            .await?;
        let planned = planned.map(|found| found.value.performing);
        if let Some(planned) = planned
            && seen.owners.contains(&Some(planned))
        {
            return Ok(Some(planned));
        }
        let known = seen.owners.iter().find(|owner| owner.is_some());
        Ok(known.copied().flatten())
    }

    /// The department of whoever sent it: of one, where there are several devices.
    async fn department(
        &self,
        organisation: Option<OrganisationCode>,
        seen: &Seen,
        known: Option<&StudyMatch>,
    ) -> Result<Option<DepartmentCode>, MatcherError> {
        if let Some(known) = known
            && known.senders == seen.senders
            && known.organisation == organisation
        {
            return Ok(known.department.clone());
        }
        let mut departments = BTreeSet::new();
        for sender in &seen.senders {
            departments.insert(
                self.registry
                    .department_of_sender(sender, organisation)
                    .await?,
            );
        }
        let one = departments.pop_first().flatten();
        Ok(one.filter(|_| departments.is_empty()))
    }

    async fn verdict_of(
        &self,
        study: &ReceivedStudy,
        seen: &Seen,
        known: Option<&StudyMatch>,
    ) -> Result<Verdict, MatcherError> {
        let Some(organisation) = study.organisation else {
            let reason = if study.is_import {
                QueueReason::OutsideImport
            } else {
                QueueReason::UnknownSender
            };
            let suggestions = Vec::new();
            return Ok(Verdict::Queued {
                reason,
                suggestions,
            });
        };
        let headers = headers(seen, known);
        let binding = match known.and_then(StudyMatch::examination) {
            Some(id) => Some(self.binding(id, seen, (known, &headers)).await?),
            None => None,
        };
        let received_at = study.received_at.naive_local();
        let is_rejected = known.is_some_and(|known| known.state == MatchState::Rejected);
        let is_settled = is_rejected && !study.has_new_header(known);
        let not_of = self.not_of(organisation, study, known).await?;
        let origin = if study.is_import {
            Origin::Import(organisation)
        } else {
            Origin::Device(organisation)
        };
        let received = Received {
            headers: &headers,
            origin,
            received_at,
            binding: binding.as_ref(),
            not_of: &not_of,
            has_other_version: study.has_other_version,
            has_other_senders: seen.owners.len() > 1 && !was_seen(known, seen),
            has_more_headers: seen.has_more,
        };
        if binding.is_some() || is_settled {
            return Ok(verdict(&received, &[], self.policy));
        }
        // What it names decides whether it is bound. What else is open is there to choose from.
        let named = self
            .registry
            .candidates_among(&headers, &[], received_at)
            .await?;
        let found = verdict(&received, &named, self.policy);
        if matches!(found, Verdict::Bound { .. }) {
            return Ok(found);
        }
        let open = self
            .open_orders(organisation, &headers, received_at)
            .await?;
        let all = self
            .registry
            .candidates_among(&headers, &open, received_at)
            .await?;
        Ok(verdict(&received, &all, self.policy))
    }

    /// What a study is bound to, and what of it is known to belong there.
    async fn binding(
        &self,
        id: ExaminationId,
        seen: &Seen,
        (known, headers): (Option<&StudyMatch>, &[StudyHeader]),
    ) -> Result<Binding, MatcherError> {
        let examination = self.registry.examination_of_id(id).await?;
        let order = self.registry.candidate(&examination.value).await?;
        let person = known.filter(|known| is_by_person(known));
        let rest = seen.witnesses.iter().filter(|one| !is_split(one, known));
        let by_person = rest.filter(|witness| {
            person.is_some_and(|known| known.witnesses.contains(&witness.instance))
        });
        let first = headers.first().into_iter();
        let seen = first.chain(by_person.map(|witness| &witness.header));
        Ok(Binding {
            order,
            seen: seen.cloned().collect(),
        })
    }

    /// The open orders of an organisation, read once where much is judged at once.
    async fn open_orders(
        &self,
        organisation: OrganisationCode,
        headers: &[StudyHeader],
        received_at: NaiveDateTime,
    ) -> Result<Arc<[Candidate]>, MatcherError> {
        let mut known = self.open.lock().await;
        let Some(known) = known.as_mut() else {
            let made_at = headers.iter().find_map(|header| header.made_at);
            let near = Some(made_at.unwrap_or(received_at));
            let open = self.registry.open_orders(&self.licence, organisation, near);
            return Ok(open.await?.into());
        };
        if let Some(open) = known.get(&organisation) {
            return Ok(Arc::clone(open));
        }
        let open = self.registry.open_orders(&self.licence, organisation, None);
        let open: Arc<[Candidate]> = open.await?.into();
        known.insert(organisation, Arc::clone(&open));
        Ok(open)
    }

    /// The examinations that a person, or the device, said the study is not of.
    async fn not_of(
        &self,
        organisation: OrganisationCode,
        study: &ReceivedStudy,
        known: Option<&StudyMatch>,
    ) -> Result<Vec<ExaminationId>, MatcherError> {
        let mut not_of = known.map_or_else(Vec::new, |known| known.not_of.clone());
        not_of.extend(
            self.registry
                .disowned_by(organisation, &study.study)
                .await?,
        );
        Ok(not_of)
    }
}

/// The headers that are judged: not those of series that a person split off, and of a study that a
/// person bound none that the person had seen, but the first.
fn headers(seen: &Seen, known: Option<&StudyMatch>) -> Vec<StudyHeader> {
    let rest = seen.witnesses.iter().filter(|one| !is_split(one, known));
    let judged = rest.enumerate().filter(|(at, witness)| {
        let is_seen =
            |known: &StudyMatch| is_by_person(known) && known.witnesses.contains(&witness.instance);
        *at == 0 || !known.is_some_and(is_seen)
    });
    let headers: Vec<StudyHeader> = judged.map(|(_, one)| one.header.clone()).collect();
    if headers.is_empty() {
        // The rest has the same header as what was split off: each is remembered once.
        let first = seen.witnesses.first();
        return first.map(|one| one.header.clone()).into_iter().collect();
    }
    headers
}

/// Whether a person said that a header is of another examination than the rest of its study.
fn is_split(witness: &Witness, known: Option<&StudyMatch>) -> bool {
    known.is_some_and(|known| {
        let mut parts = known.parts.iter();
        parts.any(|part| part.series.contains(&witness.series))
    })
}

/// Whether a person bound the study, who saw all of its senders.
fn was_seen(known: Option<&StudyMatch>, seen: &Seen) -> bool {
    known.is_some_and(|known| is_by_person(known) && known.senders == seen.senders)
}

const fn is_by_person(known: &StudyMatch) -> bool {
    matches!(known.state, MatchState::Bound { rule: None, .. })
}
