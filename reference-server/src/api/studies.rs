//! The family of studies: what stands in the archive, what was taken out of sight of it, what
//! devices propose, and what is sent back to them.

mod erasing;
mod family;
mod holding;
mod rejecting;
mod sending;
mod shown;

pub(super) use family::FAMILY;

use super::asked::Asked;
use super::examinations::Seeing;
use super::guard::Signed;
use super::page::{List, Page};
use super::problem::Code;
use super::problem::codes::{self, codes};
use super::{Api, Problem};
use crate::limits::API_STUDIES_SCANNED_MAX;
use crate::rejecting::Keeping;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use pacs_core::access::SignedIn;
use pacs_core::examination::Reason;
use pacs_core::query::Matching;
use pacs_core::rejection::{may_restore, may_see};
use pacs_core::role::duty::Reconcile;
use pacs_core::role::sight::Sight;
use pacs_core::role::{Agent, Extent, Grant, Grants, Permission, Role};
use pacs_core::tag::{tags, vr_of};
use pacs_core::uid::StudyUid;
use pacs_core::{Attributes, Key, Level, OrganisationCode, Query, Tag};
use pacs_store::index;
use pacs_store::registry::rejections::{Belonging, RejectionId};
use pacs_store::registry::{Moment, RegistryError};
use pacs_store::rejections::RejectError;
use serde::Deserialize;
use shown::{SeriesShown, Study, StudyListed};

codes! {
    IN_SIGHT = 409 "study.in_sight" "the study is in sight, and its term is not over";
    NO_ADDRESS = 409 "study.no_address" "the AE has no address";
}

impl Api {
    fn keeping(&self) -> Result<&Keeping, Problem> {
        let keeping = self.keeping.as_ref();
        keeping.ok_or_else(|| (&codes::NOT_FOUND).into())
    }
}

/// Why something is proposed, given up, held or let go.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithReason {
    reason: String,
}

impl WithReason {
    fn reason(&self) -> Result<Reason, Problem> {
        Reason::parse(&self.reason).map_err(|_| (&codes::REASON_NEEDED).into())
    }
}

/// The ID in a path: of a rejection, an erasure or a sending.
fn id_of(path: Result<Path<String>, PathRejection>) -> Result<RejectionId, Problem> {
    let Path(text) = path?;
    Ok(RejectionId::parse(&text)?)
}

impl From<RejectError> for Problem {
    fn from(error: RejectError) -> Self {
        match error {
            RejectError::Index(error) => error.into(),
            RejectError::InSight => (&IN_SIGHT).into(),
            RejectError::NotFound => (&codes::NOT_FOUND).into(),
            RejectError::Registry(error) => error.into(),
            RejectError::NotDestroyed | _ => (&codes::INTERNAL).into(),
        }
    }
}

/// The study that a path names.
fn study_of(path: Result<Path<String>, PathRejection>) -> Result<StudyUid, Problem> {
    let Path(text) = path?;
    // What is no UID names nothing that could be here.
    StudyUid::parse_legacy(&text).map_err(|_| (&codes::NOT_FOUND).into())
}

/// Whether somebody sees a study: by its examination, as the rule of visibility has it, or where it
/// is of none, as somebody who says whose images are whose, or judges or looks after them.
async fn sees(
    api: &Api,
    seeing: &Seeing,
    (study, belonging): (&StudyUid, &Belonging),
    at: Moment,
) -> Result<bool, Problem> {
    let agent = &seeing.agent;
    if looks_after(agent, belonging.organisation) {
        return Ok(true);
    }
    let Some((id, _)) = &belonging.examination else {
        let Some(code) = belonging.organisation else {
            return Ok(false);
        };
        let Ok(licence) = agent.licence::<Reconcile>(code) else {
            return Ok(false);
        };
        if !licence.is_limited_at(code) {
            return Ok(true);
        }
        let kinds = api.desk.kinds(study).await?;
        let made = (&kinds, belonging.department.as_ref());
        return Ok(licence.check_over_each(code, made).is_ok());
    };
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    match api.registry.examination(&reader, *id, at).await {
        Ok(_) => Ok(true),
        Err(RegistryError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whose a study is, for somebody who sees it; for others it is not there.
async fn seen(
    api: &Api,
    seeing: &Seeing,
    study: &StudyUid,
    at: Moment,
) -> Result<Belonging, Problem> {
    let belonging = api.registry.belonging(study).await?;
    if sees(api, seeing, (study, &belonging), at).await? {
        Ok(belonging)
    } else {
        Err((&codes::NOT_FOUND).into())
    }
}

/// Whether somebody may bring images of an organisation back: they see that they are there.
fn looks_after(agent: &Agent, organisation: Option<OrganisationCode>) -> bool {
    may_restore(agent, organisation)
}

/// Within what the index looks for what somebody sees; [`sees`] decides.
fn sight(keeping: &Keeping, signed: &Signed, seeing: &Seeing) -> Sight {
    if looks_after(&seeing.agent, None) {
        return Sight::Everything;
    }
    let mut grants: Vec<Grant> = seeing.agent.grants.clone().into();
    // Whoever says whose studies of an organisation are, or looks after them, knows of what its
    // devices see.
    let keepers = grants.clone().into_iter();
    let keepers =
        keepers.filter(|grant| grant.role.extent(Permission::Reconcile) == Some(Extent::Whole));
    grants.extend(keepers.map(|grant| Grant {
        role: Role::Device,
        ..grant
    }));
    let grants = Grants::new(grants).unwrap_or_else(|_| seeing.agent.grants.clone());
    keeping.sight(&SignedIn {
        name: seeing.agent.name.clone(),
        grants,
        is_doctor: signed.who.user.value.is_doctor,
        break_glass: seeing.opened.clone(),
        session: seeing.agent.session.clone(),
        address: signed.from,
        device: None,
    })
}

fn key(tag: Tag, matching: Matching) -> Key {
    Key {
        tag,
        vr: vr_of(tag),
        matching,
    }
}

/// What of a study is shown.
const OF_STUDY: [Tag; 6] = [
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::STUDY_DESCRIPTION,
    tags::MODALITIES_IN_STUDY,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];

/// What of a series is shown.
const OF_SERIES: [Tag; 5] = [
    tags::SERIES_INSTANCE_UID,
    tags::MODALITY,
    tags::SERIES_NUMBER,
    tags::SERIES_DESCRIPTION,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
];

fn query(level: Level, study: Option<&StudyUid>, wanted: &[Tag]) -> Query {
    let of_study = study.map_or(Matching::Universal, |study| {
        Matching::SingleValue(study.as_str().to_owned())
    });
    let query = Query::new(level).with(key(tags::STUDY_INSTANCE_UID, of_study));
    let wanted = wanted
        .iter()
        .filter(|tag| **tag != tags::STUDY_INSTANCE_UID);
    wanted.fold(query, |query, tag| {
        query.with(key(*tag, Matching::Universal))
    })
}

/// `GET /studies`: those in sight, newest first, of an organisation or of all whose studies one
/// sees.
async fn list(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<StudyListed>>, Problem> {
    let organisation = asked.take_by("organisation", |text| OrganisationCode::parse(text).ok())?;
    let scope = organisation.map_or_else(|| "all".to_owned(), |code| code.to_string());
    let name = format!("studies of {scope}");
    let page = Page::take(&mut asked, (&api, &signed), &name)?;
    asked.done()?;
    let seeing = Seeing::of(&api, &signed).await?;
    let at = api.world.moment();
    let looked = api
        .registry
        .note_look(&seeing.agent, (organisation, name), at);
    looked.await?;
    let sight = sight(api.keeping()?, &signed, &seeing);
    let wanted = query(Level::Study, None, &OF_STUDY);
    let (mut items, mut after) = (Vec::new(), page.after.clone());
    let mut scanned = 0_usize;
    loop {
        let part = index::Page {
            after: after.clone().map(|uid| vec![uid]),
            offset: 0,
            count_max: page.limit,
        };
        let found = api.images.search_page(&sight, &wanted, &part).await?;
        // What the cursor stands behind has gone out of sight meanwhile: it begins anew.
        let found = found.ok_or(&codes::BAD_CURSOR)?;
        let has_more = found.has_more;
        for found in found.matches {
            scanned = scanned.saturating_add(1);
            let uid = found.attributes.text(tags::STUDY_INSTANCE_UID);
            let uid = uid.unwrap_or_default().to_owned();
            let study = StudyUid::parse_legacy(&uid).map_err(|_| &codes::INTERNAL)?;
            after = Some(uid);
            let belonging = api.registry.belonging(&study).await?;
            let is_asked = organisation.is_none() || belonging.organisation == organisation;
            if is_asked && sees(&api, &seeing, (&study, &belonging), at).await? {
                items.push(StudyListed::new(&study, &belonging, &found.attributes));
            }
            if items.len() == page.limit || scanned == API_STUDIES_SCANNED_MAX {
                return Ok(Json(page.of(items, after.as_deref())));
            }
        }
        if !has_more {
            return Ok(Json(page.of(items, None)));
        }
    }
}

/// `GET /studies/{study}`
async fn read(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<String>, PathRejection>,
    asked: Asked,
) -> Result<Json<Study>, Problem> {
    asked.done()?;
    let study = study_of(path)?;
    let seeing = Seeing::of(&api, &signed).await?;
    let agent = &seeing.agent;
    let at = api.world.moment();
    let belonging = seen(&api, &seeing, &study, at).await?;
    let mut rejections = Vec::new();
    for found in api.registry.rejections_of_study(&study).await? {
        if may_see(agent, found.value.images(), found.value.title) {
            rejections.push((&found).into());
        }
    }
    let wanted = query(Level::Study, Some(&study), &OF_STUDY);
    let found = api.images.search(&wanted).await?;
    let of_study = found.into_iter().next().map(|found| found.attributes);
    let of_study = match of_study {
        Some(of_study) => of_study,
        // All of it is out of sight: for those who see that.
        None if !rejections.is_empty() => Attributes::default(),
        None => return Err((&codes::NOT_FOUND).into()),
    };
    let looked = api
        .registry
        .note_look_at_study(agent, (&study, &belonging), at);
    looked.await?;
    let wanted = query(Level::Series, Some(&study), &OF_SERIES);
    let series = api.images.search(&wanted).await?;
    let series = series
        .into_iter()
        .map(|found| SeriesShown::new(&found.attributes));
    let sendings = api.registry.sendings_of_study(agent, &study).await?;
    let flags = api.registry.flags_of_study(&study).await?;
    Ok(Json(Study {
        study: StudyListed::new(&study, &belonging, &of_study),
        series: series.collect(),
        flags,
        rejections,
        sendings: sendings.iter().map(Into::into).collect(),
    }))
}
