//! `/unmatched`: studies of which nobody knows yet whose they are, and what people put right.
//!
//! Whoever reconciles for one organisation sees its studies alone; those whose sender nobody knows
//! are for who does so for all. Each correction names the state that it is based on.

mod family;
mod shown;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use family::ALL;
pub(super) use family::FAMILY;

use super::asked::Asked;
use super::conditional::{Based, Tagged};
use super::guard::{self, Body, Signed};
use super::looking::{looked, recorded};
use super::page::{List, Page};
use super::problem::codes;
use super::{Api, Problem};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, FixedOffset};
use family::RETYPE_NEEDED;
use pacs_core::audit::StudyTouched;
use pacs_core::examination::Reason;
use pacs_core::examination::reconcile::{Difference, Kind};
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, Licence, duty::Reconcile};
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{ExaminationId, OrganisationCode, Phi};
use pacs_store::matcher::MatcherError;
use pacs_store::registry::examinations::{
    BodyRegion, Correcting, KeptImages, NewExamination, Order, Priority, StudyMatch,
};
use pacs_store::registry::{Moment, RegistryError, Revision, Stored};
use serde::Deserialize;
use shown::{Entry, Whole};
use std::collections::BTreeSet;

type Named = Result<Path<String>, PathRejection>;
type Shown = Result<Tagged<Whole>, Problem>;

impl From<MatcherError> for Problem {
    fn from(error: MatcherError) -> Self {
        match error {
            MatcherError::Registry(error) => error.into(),
            error @ (MatcherError::Index(_)
            | MatcherError::Read(_)
            | MatcherError::Records(_)
            | _) => {
                let error = crate::tool::failure::chain(&error);
                tracing::error!(error, "a study could not be looked at");
                (&codes::INTERNAL).into()
            }
        }
    }
}

/// The part of the queue that is asked for.
pub(super) async fn list(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<Entry>>, Problem> {
    let agent = signed.agent(&api);
    let whose = asked.take::<String>("organisation")?;
    let with_postponed = asked.take::<bool>("postponed")?.unwrap_or(false);
    let (licence, organisation) = whose_queue(&agent, whose.as_deref())?;
    let name = organisation.map_or_else(|| "nobody".to_owned(), |code| code.to_string());
    let page = Page::take(
        &mut asked,
        (&api, &signed),
        &format!("unmatched {name} {with_postponed}"),
    )?;
    asked.done()?;
    let now = api.world.moment();
    let mut event = looked(&agent, organisation, now);
    event.object.query = Some(Phi::new(format!("unmatched {name}")));
    recorded(&api, &event).await?;
    let found = api
        .registry
        .unmatched_studies(&licence, organisation, page.after.as_deref(), page.limit)
        .await?;
    let is_postponed = |one: &StudyMatch| one.postponed_until.is_some_and(|until| until > now);
    let mut items = Vec::new();
    for one in found.studies {
        let is_wanted = with_postponed || !is_postponed(&one.value);
        if is_wanted && api.desk.reaches(&licence, &one.value).await? {
            let seen = api.desk.seen(&licence, &one.value.study).await?;
            items.push(Entry::of(&one, &seen));
        }
    }
    Ok(Json(page.of(items, found.next.as_deref())))
}

/// The queue that is meant: of an organisation, or of those that nobody knows.
fn whose_queue(
    agent: &Agent,
    whose: Option<&str>,
) -> Result<(Licence<Reconcile>, Option<OrganisationCode>), Problem> {
    if whose == Some("none") {
        return Ok((agent.national_licence()?, None));
    }
    let code = whose.map(OrganisationCode::parse).transpose();
    let code = code.map_err(|_| Problem::Malformed)?;
    let licence = guard::licence::<Reconcile>(agent, code)?;
    match code.or(licence.organisation()) {
        Some(code) => Ok((licence, Some(code))),
        None => Err((&codes::ORGANISATION_NEEDED).into()),
    }
}

/// One study, with those that it could be of.
pub(super) async fn read(State(api): State<Api>, signed: Signed, study: Named) -> Shown {
    let asking = Asking::of(&api, &signed, study).await?;
    let mut event = looked(&asking.agent, asking.found.value.organisation, asking.now);
    event.object.studies = vec![StudyTouched {
        study: asking.study.clone(),
        sop_class: None,
        instances_count: 0,
        instances: Vec::new(),
    }];
    recorded(&api, &event).await?;
    let found = asking.found.clone();
    shown(&api, &asking.licence, found).await
}

/// Whoever asks for one study, and the study as it is.
struct Asking {
    agent: Agent,
    licence: Licence<Reconcile>,
    study: StudyUid,
    found: Stored<StudyMatch>,
    now: Moment,
}

impl Asking {
    async fn of(api: &Api, signed: &Signed, study: Named) -> Result<Self, Problem> {
        let Path(text) = study?;
        let study = StudyUid::parse_legacy(&text).map_err(|_| Problem::Malformed)?;
        let agent = signed.agent(api);
        let mut licences: Vec<Licence<Reconcile>> = agent.national_licence().into_iter().collect();
        for code in guard::organisations(&agent) {
            licences.extend(agent.licence(code).ok());
        }
        if licences.is_empty() {
            return Err((&codes::NOT_PERMITTED).into());
        }
        for licence in licences {
            match api.registry.study_match(&licence, &study).await {
                // Somebody else's kind of images.
                Ok(found) if !api.desk.reaches(&licence, &found.value).await? => {}
                Ok(found) => {
                    let now = api.world.moment();
                    return Ok(Self {
                        agent,
                        licence,
                        study,
                        found,
                        now,
                    });
                }
                Err(RegistryError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err((&codes::NOT_FOUND).into())
    }

    /// The same, of whoever saw the state that it is in.
    async fn based(
        api: &Api,
        signed: &Signed,
        study: Named,
        Based(expected): &Based,
    ) -> Result<Self, Problem> {
        let asking = Self::of(api, signed, study).await?;
        if asking.found.revision == *expected {
            Ok(asking)
        } else {
            Err((&codes::STALE).into())
        }
    }

    /// Counts what has to be known of images before something is put right.
    async fn counted(
        &self,
        api: &Api,
        others: &[StudyUid],
        examination: Option<ExaminationId>,
    ) -> Result<KeptImages, Problem> {
        let mut studies = vec![self.study.clone()];
        studies.extend_from_slice(others);
        let examinations: Vec<_> = examination.into_iter().collect();
        let counted = api.desk.counted(&self.licence, &studies, &examinations);
        Ok(counted.await?)
    }

    /// The correction, by what is known.
    fn how<'a>(
        &'a self,
        api: &Api,
        kept: &'a KeptImages,
        reason: &'a Reason,
        Based(expected): &Based,
    ) -> Result<Correcting<'a>, Problem> {
        Ok(Correcting {
            licence: &self.licence,
            kept,
            expected: Some(*expected),
            reason,
            random: random(api)?,
            at: self.now,
        })
    }
}

fn random(api: &Api) -> Result<[u8; 16], Problem> {
    let random = api.world.random::<16>();
    random.map_err(|_| (&codes::INTERNAL).into())
}

async fn shown(api: &Api, licence: &Licence<Reconcile>, found: Stored<StudyMatch>) -> Shown {
    let revision: Revision = found.revision;
    let seen = api.desk.seen(licence, &found.value.study).await?;
    let mut candidates = Vec::new();
    for (id, why) in shown::named(&found.value) {
        match api
            .desk
            .compared(licence, &found.value, &BTreeSet::new(), id)
            .await
        {
            Ok(compared) => candidates.push((compared, why)),
            // It went to another organisation, or is damaged: there is nothing to show of it.
            Err(MatcherError::Registry(
                RegistryError::NotFound { .. } | RegistryError::Damaged { .. },
            )) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let study = &found.value.study;
    let corrections = api.registry.corrections_of(licence, study).await?;
    let whole = Whole::of(&found, &seen, candidates, corrections);
    Ok(Tagged(StatusCode::OK, revision, whole))
}

fn reason(text: &str) -> Result<Reason, Problem> {
    Reason::parse(text).map_err(|_| (&codes::REASON_NEEDED).into())
}

fn examination(text: &str) -> Result<ExaminationId, Problem> {
    ExaminationId::parse(text).map_err(|_| codes::MALFORMED.with("what", "examination"))
}

fn study(text: &str) -> Result<StudyUid, Problem> {
    StudyUid::parse_legacy(text).map_err(|_| codes::MALFORMED.with("what", "study"))
}

fn series(texts: &[String]) -> Result<BTreeSet<SeriesUid>, Problem> {
    let read = texts.iter().map(|text| SeriesUid::parse_legacy(text));
    let read: Result<BTreeSet<_>, _> = read.collect();
    read.map_err(|_| codes::MALFORMED.with("what", "series"))
}

/// Which examination a person means, and that they typed its ID once more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meant {
    examination: String,
    retyped: Option<String>,
    reason: String,
}

/// Where the headers speak of somebody else, whoever binds types the ID once more.
async fn confirmed(
    api: &Api,
    asking: &Asking,
    found: &StudyMatch,
    series: &BTreeSet<SeriesUid>,
    (id, retyped): (ExaminationId, Option<&str>),
) -> Result<(), Problem> {
    let compared = api
        .desk
        .compared(&asking.licence, found, series, id)
        .await?;
    let of_person = [Difference::BirthDate, Difference::Name, Difference::Sex];
    let is_other = of_person
        .iter()
        .any(|one| compared.differences.contains(one));
    let is_retyped = retyped.is_some_and(|text| ExaminationId::parse(text) == Ok(id));
    if (is_other || compared.objection.is_some()) && !is_retyped {
        let differences: Vec<_> = compared.differences.into_iter().collect();
        return Err(RETYPE_NEEDED.with("differences", serde_json::json!(differences)));
    }
    Ok(())
}

pub(super) async fn bind(
    State(api): State<Api>,
    signed: Signed,
    named: Named,
    based: Based,
    Body(body): Body<Meant>,
) -> Shown {
    let asking = Asking::based(&api, &signed, named, &based).await?;
    let (id, why) = (examination(&body.examination)?, reason(&body.reason)?);
    let typed = (id, body.retyped.as_deref());
    let found = &asking.found.value;
    confirmed(&api, &asking, found, &BTreeSet::new(), typed).await?;
    let kept = asking.counted(&api, &[], Some(id)).await?;
    let how = asking.how(&api, &kept, &why, &based)?;
    let bound = api.registry.bind_study(&how, &asking.study, id).await?;
    shown(&api, &asking.licence, bound).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    reason: String,
}

pub(super) async fn unbind(
    State(api): State<Api>,
    signed: Signed,
    named: Named,
    based: Based,
    Body(body): Body<Why>,
) -> Shown {
    let asking = Asking::based(&api, &signed, named, &based).await?;
    let why = reason(&body.reason)?;
    let kept = asking.counted(&api, &[], None).await?;
    let how = asking.how(&api, &kept, &why, &based)?;
    let unbound = api.registry.unbind_study(&how, &asking.study).await?;
    shown(&api, &asking.licence, unbound).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parted {
    series: Vec<String>,
    examination: String,
    retyped: Option<String>,
    reason: String,
}

pub(super) async fn split(
    State(api): State<Api>,
    signed: Signed,
    named: Named,
    based: Based,
    Body(body): Body<Parted>,
) -> Shown {
    let asking = Asking::based(&api, &signed, named, &based).await?;
    let (id, why) = (examination(&body.examination)?, reason(&body.reason)?);
    let series = series(&body.series)?;
    let typed = (id, body.retyped.as_deref());
    confirmed(&api, &asking, &asking.found.value, &series, typed).await?;
    let kept = asking.counted(&api, &[], Some(id)).await?;
    let how = asking.how(&api, &kept, &why, &based)?;
    let split = api.registry.split_study(&how, &asking.study, &series, id);
    shown(&api, &asking.licence, split.await?).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Merged {
    /// The others.
    studies: Vec<String>,
    examination: String,
    retyped: Option<String>,
    reason: String,
}

pub(super) async fn merge(
    State(api): State<Api>,
    signed: Signed,
    named: Named,
    based: Based,
    Body(body): Body<Merged>,
) -> Shown {
    let asking = Asking::based(&api, &signed, named, &based).await?;
    let (id, why) = (examination(&body.examination)?, reason(&body.reason)?);
    if body.studies.len() >= pacs_store::limits::STUDIES_CORRECTED_MAX {
        return Err(codes::MALFORMED.with("what", "studies"));
    }
    let others: Result<Vec<_>, _> = body.studies.iter().map(|text| study(text)).collect();
    let others = others?;
    let typed = (id, body.retyped.as_deref());
    let none = BTreeSet::new();
    confirmed(&api, &asking, &asking.found.value, &none, typed).await?;
    for other in &others {
        let found = api.registry.study_match(&asking.licence, other).await?;
        if !api.desk.reaches(&asking.licence, &found.value).await? {
            return Err((&codes::NOT_FOUND).into());
        }
        confirmed(&api, &asking, &found.value, &none, typed).await?;
    }
    let kept = asking.counted(&api, &others, Some(id)).await?;
    let how = asking.how(&api, &kept, &why, &based)?;
    let mut all = vec![asking.study.clone()];
    all.extend(others);
    let merged = api.registry.merge_studies(&how, &all, id).await?;
    shown(&api, &asking.licence, merged).await
}

/// The order that an examination gets that is made from images.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    patient: String,
    /// Where it is made; needed where nobody knows the sender.
    organisation: Option<String>,
    /// A Modality; where it is not said, that of the images.
    modality: Option<String>,
    regions: Vec<BodyRegion>,
    priority: Option<Priority>,
    complaints: Option<String>,
    anamnesis: Option<String>,
    weight_tenths_kg: Option<u16>,
    reason: String,
}

pub(super) async fn create(
    State(api): State<Api>,
    signed: Signed,
    named: Named,
    based: Based,
    Body(body): Body<Made>,
) -> Shown {
    let asking = Asking::based(&api, &signed, named, &based).await?;
    let why = reason(&body.reason)?;
    let found = &asking.found.value;
    let organisation = body.organisation.as_deref().map(OrganisationCode::parse);
    let organisation = organisation.transpose().map_err(|_| Problem::Malformed)?;
    let Some(organisation) = organisation.or(found.organisation) else {
        return Err((&codes::ORGANISATION_NEEDED).into());
    };
    let seen = api.desk.seen(&asking.licence, &asking.study).await?;
    let kind = match &body.modality {
        Some(modality) => Kind::of_modality(modality),
        None => seen.modalities().into_iter().find_map(Kind::of_modality),
    };
    let kind = kind.ok_or_else(|| codes::MALFORMED.with("what", "modality"))?;
    let is_own = found.organisation == Some(organisation);
    let order = Order {
        kind,
        regions: body.regions,
        scheduled_at: found.received_at.naive_local(),
        priority: body.priority.unwrap_or(Priority::Stat),
        station: None,
        weight_tenths_kg: body.weight_tenths_kg,
        size_cm: None,
        complaints: body.complaints.unwrap_or_default(),
        anamnesis: body.anamnesis.unwrap_or_default(),
        contrast: String::new(),
        allergies: String::new(),
        pregnancy: None,
        referring_physician: None,
        department: String::new(),
        // Its images were made where the device is that sent them.
        performing_department: found.department.clone().filter(|_| is_own),
        ordering_department: None,
        ward: String::new(),
        card_number: String::new(),
        placer_number: String::new(),
    };
    let new = NewExamination {
        patient: patient(&body.patient)?,
        ordering: organisation,
        performing: organisation,
        order,
        is_meant_twice: true,
    };
    let kept = asking.counted(&api, &[], None).await?;
    let how = asking.how(&api, &kept, &why, &based)?;
    let made = api.registry.create_from_study(&how, &asking.study, &new);
    shown(&api, &asking.licence, made.await?).await
}

fn patient(text: &str) -> Result<PatientKey, Problem> {
    PatientKey::parse(text).map_err(|_| codes::MALFORMED.with("what", "patient"))
}

pub(super) async fn reject(
    State(api): State<Api>,
    signed: Signed,
    named: Named,
    based: Based,
    Body(body): Body<Why>,
) -> Shown {
    let asking = Asking::based(&api, &signed, named, &based).await?;
    let why = reason(&body.reason)?;
    let kept = asking.counted(&api, &[], None).await?;
    let how = asking.how(&api, &kept, &why, &based)?;
    let rejected = api.registry.reject_study(&how, &asking.study).await?;
    shown(&api, &asking.licence, rejected).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Postponed {
    until: DateTime<FixedOffset>,
    reason: String,
}

pub(super) async fn postpone(
    State(api): State<Api>,
    signed: Signed,
    named: Named,
    based: Based,
    Body(body): Body<Postponed>,
) -> Shown {
    let asking = Asking::based(&api, &signed, named, &based).await?;
    let why = reason(&body.reason)?;
    let kept = asking.counted(&api, &[], None).await?;
    let how = asking.how(&api, &kept, &why, &based)?;
    let until = body.until.with_timezone(&asking.now.timezone());
    let postponed = api.registry.postpone_study(&how, &asking.study, until);
    shown(&api, &asking.licence, postponed.await?).await
}

pub(super) async fn undo(
    State(api): State<Api>,
    signed: Signed,
    named: Named,
    based: Based,
    Body(body): Body<Why>,
) -> Shown {
    let asking = Asking::based(&api, &signed, named, &based).await?;
    let why = reason(&body.reason)?;
    let kept = asking.counted(&api, &[], None).await?;
    let how = asking.how(&api, &kept, &why, &based)?;
    let undone = api.registry.undo_correction(&how, &asking.study).await?;
    shown(&api, &asking.licence, undone).await
}
