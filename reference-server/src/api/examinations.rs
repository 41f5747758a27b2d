//! `/examinations`: the form and its ID, lists, what happens to one, its images.

mod acts;
mod assigning;
mod form;
mod progress;
mod restricting;
mod schemas;
mod shown;
mod studies;
mod table;

use super::asked::Asked;
use super::conditional::{Based, Tagged};
use super::guard::{Body, Signed, agent, licence, organisations};
use super::page::{List, Page};
use super::patients::patient_key;
use super::problem::Code;
use super::problem::codes::{self, codes};
use super::repeat::{First, Once};
use super::{Api, PREFIX, Problem};
use crate::accounts::Who;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use form::Form;
use pacs_core::examination::progress::{Duplicate, Form as FormFacts};
use pacs_core::examination::{Event, ExaminationIdError, Status};
use pacs_core::role::duty::OrderCreate;
use pacs_core::role::visibility::{BreakGlass, pools_of};
use pacs_core::role::{Agent, Work};
use pacs_core::{ExaminationId, OrganisationCode};
use pacs_store::registry::Registry;
use pacs_store::registry::examinations::{
    Action, Listed, NewExamination, Reader, Scope, StatusCount,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
pub(super) use shown::Standing;
use shown::{ShownEvent, ShownExamination};
use std::net::IpAddr;

pub(super) use form::kind;
pub(super) use schemas::listed as listed_schema;
pub(super) use shown::ListedExamination;
pub(super) use table::{FAMILY, act};

codes! {
    EXAMINATION_ID = 422 "exam.id_invalid" "this is no examination ID";
    TOO_MANY_STREAMS = 429 "error.busy" "too many look at what happens at once";
}

/// The ID of an examination as it is typed, look-alikes and all.
pub(super) fn examination_id(text: &str) -> Result<ExaminationId, Problem> {
    ExaminationId::parse(text).map_err(|error| {
        let rule = match error {
            ExaminationIdError::CheckDigit => "CHECK_DIGIT",
            ExaminationIdError::NeverGiven => "NEVER_GIVEN",
            ExaminationIdError::Format | _ => "FORMAT",
        };
        EXAMINATION_ID.with("rule", rule)
    })
}

pub(super) type Id = Result<Path<String>, PathRejection>;

/// Somebody who sees examinations, and by what.
pub(super) struct Seeing {
    pub(super) agent: Agent,
    pools: Vec<String>,
    is_doctor: bool,
    pub(super) opened: Vec<BreakGlass>,
}

impl Seeing {
    pub(super) async fn of(api: &Api, signed: &Signed) -> Result<Self, Problem> {
        Self::of_user(api, &signed.who, signed.from).await
    }

    /// The same of somebody who was signed in when a stream began, and still is.
    async fn of_user(api: &Api, who: &Who, from: IpAddr) -> Result<Self, Problem> {
        let agent = agent(api, who, from);
        let all = api.registry.organisations().await?.into_iter();
        let pools = pools_of(&agent.grants, all.map(|one| one.value.code));
        let is_doctor = who.user.value.is_doctor;
        let mut opened = Vec::new();
        if is_doctor {
            let open = api.accounts.open_emergencies(who).await?;
            let open: Vec<BreakGlass> = open.into_iter().map(Into::into).collect();
            opened = api.registry.by_all_numbers(&open).await?;
        }
        Ok(Self {
            agent,
            pools,
            is_doctor,
            opened,
        })
    }

    pub(super) fn pools(&self) -> Vec<&str> {
        self.pools.iter().map(String::as_str).collect()
    }

    pub(super) const fn reader<'a>(&'a self, pools: &'a [&'a str]) -> Reader<'a> {
        Reader {
            agent: &self.agent,
            pools,
            is_doctor: self.is_doctor,
            break_glass: self.opened.as_slice(),
        }
    }
}

/// Takes which list is asked for: whose, at which organisation.
fn scope(asked: &mut Asked, agent: &Agent) -> Result<Scope, Problem> {
    let scope = asked.take::<String>("scope")?;
    let organisation = asked.take_named::<OrganisationCode>("organisation")?;
    let scope = scope.as_deref().unwrap_or("performing");
    if scope == "assigned" {
        return Ok(Scope::Assigned(agent.name.clone()));
    }
    let organisation = match (organisation, organisations(agent).as_slice()) {
        (Some(asked), _) => asked,
        (None, [only]) => *only,
        (None, _) => return Err((&codes::ORGANISATION_NEEDED).into()),
    };
    if agent.actors_at(organisation, Work::Any).is_empty() {
        return Err((&codes::NOT_PERMITTED).into());
    }
    match scope {
        "ordering" => Ok(Scope::Ordering(organisation)),
        "performing" => Ok(Scope::Performing(organisation)),
        "queue" => Ok(Scope::Pool(organisation.to_string())),
        _ => Err(Problem::Malformed),
    }
}

fn listed(asked: &mut Asked, agent: &Agent) -> Result<Listed, Problem> {
    let scope = scope(asked, agent)?;
    let status = asked.take_named::<Status>("status")?;
    let order = asked.take_by("sort", |text| match text {
        "newest" => Some(pacs_store::registry::examinations::ListOrder::Newest),
        "urgent" => Some(pacs_store::registry::examinations::ListOrder::Urgent),
        _ => None,
    })?;
    let is_mine = asked.take::<bool>("mine")?.unwrap_or(false);
    Ok(Listed {
        order: order.unwrap_or_default(),
        kind: asked.take_by("kind", kind)?,
        priority: asked.take_named("priority")?,
        from: asked.take("from")?,
        to: asked.take("to")?,
        held_by: is_mine.then(|| agent.name.clone()),
        is_flagged: asked.take::<bool>("flagged")?.unwrap_or(false),
        ..Listed::all(scope, status)
    })
}

async fn list(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<ListedExamination>>, Problem> {
    let seeing = Seeing::of(&api, &signed).await?;
    let listed = listed(&mut asked, &seeing.agent)?;
    let page = Page::take(
        &mut asked,
        (&api, &signed),
        &format!("examinations {listed:?}"),
    )?;
    asked.done()?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let found = api
        .registry
        .listed_examinations(&reader, &listed, page.after.as_deref(), page.limit, at)
        .await?;
    let mut items = Vec::with_capacity(found.examinations.len());
    for examination in &found.examinations {
        let patient = api
            .registry
            .patient_in_list(&reader, &examination.value, at)
            .await?;
        items.push(ListedExamination::new(examination, &patient.value));
    }
    Ok(Json(page.of(items, found.next.as_deref())))
}

/// How many examinations of a status there are.
#[derive(Serialize)]
struct ShownCount {
    status: Status,
    status_key: &'static str,
    count: usize,
    /// There are more.
    has_more: bool,
}

async fn counts(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<ShownCount>>, Problem> {
    let seeing = Seeing::of(&api, &signed).await?;
    let scope = scope(&mut asked, &seeing.agent)?;
    asked.done()?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let counts = api.registry.count_examinations(&reader, &scope, at).await?;
    let shown = |of: StatusCount| ShownCount {
        status: of.status,
        status_key: of.status.message_key(),
        count: of.count,
        has_more: of.has_more,
    };
    Ok(Json(List::whole(counts.into_iter().map(shown).collect())))
}

async fn of_patient(
    State(api): State<Api>,
    signed: Signed,
    number: Id,
) -> Result<Json<List<ListedExamination>>, Problem> {
    let key = patient_key(&number?.0)?;
    let seeing = Seeing::of(&api, &signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let registry = &api.registry;
    let found = registry.examinations_of_patient(&reader, key, at).await?;
    let mut items = Vec::with_capacity(found.len());
    for examination in &found {
        let value = &examination.value;
        let patient = registry.patient_in_list(&reader, value, at).await?;
        items.push(ListedExamination::new(examination, &patient.value));
    }
    Ok(Json(List::whole(items)))
}

/// An examination that is to be made, as it is typed.
struct NewForm {
    patient: String,
    ordering: Option<OrganisationCode>,
    performing: Option<OrganisationCode>,
    form: Form,
}

impl<'de> Deserialize<'de> for NewForm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            patient: String,
            #[serde(default)]
            ordering: Option<OrganisationCode>,
            #[serde(default)]
            performing: Option<OrganisationCode>,
        }
        use serde::de::Error as _;
        // What was wrong is not told: it would quote the form.
        let wrong = |_| D::Error::custom("not the form of an examination");
        let mut rest = Map::<String, Value>::deserialize(deserializer)?;
        let head = ["patient", "ordering", "performing"];
        let head = head.into_iter().filter_map(|name| rest.remove_entry(name));
        let head: Head = serde_json::from_value(head.collect()).map_err(wrong)?;
        Ok(Self {
            patient: head.patient,
            ordering: head.ordering,
            performing: head.performing,
            form: serde_json::from_value(Value::Object(rest)).map_err(wrong)?,
        })
    }
}

async fn save(
    State(api): State<Api>,
    signed: Signed,
    once: Once<NewForm>,
) -> Result<Response, Problem> {
    let agent = signed.agent(&api);
    let licence = licence::<OrderCreate>(&agent, once.body.ordering)?;
    let ordering = licence.organisation().ok_or(&codes::ORGANISATION_NEEDED)?;
    let performing = once.body.performing.unwrap_or(ordering);
    let new = NewExamination {
        patient: patient_key(&once.body.patient)?,
        ordering,
        performing,
        order: once.body.form.read(&api, performing, None).await?,
        is_meant_twice: once.body.form.is_meant_twice,
    };
    let random = api.world.random().map_err(crate::accounts::Refused::from)?;
    let at = api.world.moment();
    let work = |registry: Registry| {
        let (licence, new) = (&licence, &new);
        async move { registry.order_examination(licence, new, random, at).await }
    };
    let id = match once.first(&api, &signed, work).await? {
        First::Before(id) => examination_id(&id)?,
        First::Done(examination) => examination.value.id,
    };
    let location = format!("{PREFIX}/examinations/{id}");
    // Whoever orders from another organisation need not see what is made there.
    let (revision, standing) = acts::standing(&api, &agent, id).await?;
    let tagged = Tagged(StatusCode::CREATED, revision, standing);
    Ok(([(header::LOCATION, location)], tagged).into_response())
}

async fn read(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
) -> Result<Tagged<ShownExamination>, Problem> {
    let id = examination_id(&id?.0)?;
    let seeing = Seeing::of(&api, &signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let opened = api.registry.open_examination(&reader, id, at).await?;
    let shown = ShownExamination::new(&opened);
    Ok(Tagged(StatusCode::OK, opened.examination.revision, shown))
}

async fn change(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    Based(expected): Based,
    Body(body): Body<Form>,
) -> Result<Tagged<ShownExamination>, Problem> {
    let id = examination_id(&id?.0)?;
    let seeing = Seeing::of(&api, &signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let before = api.registry.examination(&reader, id, at).await?;
    let planned = Some(before.value.order.scheduled_at);
    let order = body.read(&api, before.value.performing, planned).await?;
    let duplicate = if body.is_meant_twice {
        Duplicate::Confirmed
    } else {
        Duplicate::No
    };
    // The registry knows the rest of the facts.
    let facts = FormFacts {
        has_patient: true,
        has_body_part_and_kind: true,
        has_weight_if_needed: true,
        duplicate,
    };
    let action = Action {
        event: Event::Edit {
            form: facts,
            images: 0,
        },
        order: Some(order),
        expected: Some(expected),
        random: [0; 16],
    };
    let registry = &api.registry;
    let acted = registry.act_on_examination(&seeing.agent, id, &action, at);
    acted.await.map_err(acts::of_seen)?;
    let opened = registry.open_examination(&reader, id, at).await?;
    let shown = ShownExamination::new(&opened);
    Ok(Tagged(StatusCode::OK, opened.examination.revision, shown))
}

async fn events(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    mut asked: Asked,
) -> Result<Json<List<ShownEvent>>, Problem> {
    let id = examination_id(&id?.0)?;
    let page = Page::take(&mut asked, (&api, &signed), &format!("events of {id}"))?;
    asked.done()?;
    let seeing = Seeing::of(&api, &signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let events = api.registry.examination_events(&reader, id, at).await?;
    let (events, next) = page.part(events)?;
    let items = events.into_iter().map(ShownEvent::from).collect();
    Ok(Json(page.of(items, next.as_deref())))
}
