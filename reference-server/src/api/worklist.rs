//! `/worklist`: what the devices of an organisation see.

use super::asked::Asked;
use super::examinations::{ListedExamination, kind, listed_schema};
use super::guard::{Signed, licence};
use super::looking::{looked, recorded};
use super::openapi::{list, nothing_or, object, text};
use super::page::{CURSOR, LIMIT, List, Page};
use super::patients::ORGANISATION;
use super::problem::codes;
use super::routes::{Family, Operation, Parameter, Route};
use super::{Api, Problem};
use crate::limits::WORKLIST_PARTS_MAX;
use crate::scp::worklist::listing;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use pacs_core::device::KeepUntil;
use pacs_core::examination::reconcile::Kind;
use pacs_core::role::Permission;
use pacs_core::role::duty::WorklistQuery;
use pacs_core::{AeTitle, Phi};
use pacs_store::registry::RegistryError;
use pacs_store::registry::devices::Device;
use pacs_store::registry::examinations::Scheduled;
use serde::Serialize;
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[Route {
        path: "/worklist",
        operations: &[WORKLIST],
    }],
    schemas,
};

const STATION: Parameter = Parameter {
    name: "station",
    summary: "what the device of this AE title sees",
    schema: r#"{"type": "string", "minLength": 1, "maxLength": 16}"#,
};

const KIND_OF_IMAGES: Parameter = Parameter {
    name: "kind",
    summary: "of this kind of images alone: ct, mr, xray, or another Modality",
    schema: r#"{"type": "string", "minLength": 1}"#,
};

const FROM: Parameter = Parameter {
    name: "from",
    summary: "planned from this day on; else today",
    schema: r#"{"type": "string", "format": "date"}"#,
};

const TO: Parameter = Parameter {
    name: "to",
    summary: "planned until this day; else that day alone",
    schema: r#"{"type": "string", "format": "date"}"#,
};

const WORKLIST: Operation = Operation::get(
    "worklist",
    "Scheduled steps as the devices of an organisation see them, in the order of their times",
    || get(read),
)
.asks(&[
    ORGANISATION,
    STATION,
    KIND_OF_IMAGES,
    FROM,
    TO,
    LIMIT,
    CURSOR,
])
.gives(200, "Worklist")
.needs(&[Permission::WorklistQuery]);

fn schemas() -> Vec<(&'static str, Value)> {
    let mut members = listed_schema();
    members.extend([
        ("step_id", text()),
        ("planned_study", text()),
        ("station", nothing_or(text())),
        ("weight_kg", nothing_or(json!({"type": "number"}))),
    ]);
    vec![
        ("WorklistStep", object(&members, &[])),
        ("Worklist", list("WorklistStep")),
    ]
}

/// A scheduled step.
#[derive(Serialize)]
struct Step {
    #[serde(flatten)]
    examination: ListedExamination,
    step_id: String,
    planned_study: String,
    station: Option<String>,
    weight_kg: Option<f64>,
}

impl From<&Scheduled> for Step {
    fn from(of: &Scheduled) -> Self {
        let examination = &of.examination.value;
        let order = &examination.order;
        Self {
            examination: ListedExamination::new(&of.examination, &of.patient.value),
            step_id: examination.step().to_string(),
            planned_study: examination.planned_study.as_str().to_owned(),
            station: order
                .station
                .as_ref()
                .map(|title| title.as_str().to_owned()),
            weight_kg: order
                .weight_tenths_kg
                .map(|tenths| f64::from(tenths) / 10.0),
        }
    }
}

/// Which steps are wanted.
struct Wanted {
    kind: Option<Kind>,
    device: Option<Device>,
    now: NaiveDateTime,
}

impl Wanted {
    fn has(&self, scheduled: &Scheduled) -> bool {
        let examination = &scheduled.examination.value;
        let order = &examination.order;
        let keep_until = match &self.device {
            None => KeepUntil::default(),
            Some(device) => {
                let makes = Kind::of_modality(&device.modality);
                let is_made = makes.is_none_or(|kind| kind == order.kind);
                let station = order.station.as_ref();
                let is_made = is_made && device.serves(order.performing_department.as_ref());
                if !is_made || station.is_some_and(|title| *title != device.ae_title) {
                    return false;
                }
                device.profile.keep_until
            }
        };
        self.kind.as_ref().is_none_or(|kind| *kind == order.kind)
            && keep_until.lists(&listing(examination), self.now)
    }
}

async fn read(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<Step>>, Problem> {
    let agent = signed.agent(&api);
    let licence = licence::<WorklistQuery>(&agent, asked.take_named("organisation")?)?;
    let organisation = licence.organisation().ok_or(&codes::ORGANISATION_NEEDED)?;
    let now = api.world.moment().naive_local();
    let from = asked
        .take::<NaiveDate>("from")?
        .unwrap_or_else(|| now.date());
    let to = asked.take::<NaiveDate>("to")?.unwrap_or(from);
    let station = asked.take_by("station", |text| AeTitle::parse(text).ok())?;
    let kind = asked.take_by("kind", kind)?;
    let name = format!("worklist {organisation} {from} {to} {station:?} {kind:?}");
    let page = Page::take(&mut asked, (&api, &signed), &name)?;
    asked.done()?;
    let device = match station {
        None => None,
        Some(title) => match api.registry.device(&title).await {
            Ok(device) if device.value.organisation == organisation => Some(device.value),
            // Of another organisation's nobody learns.
            Ok(_) | Err(RegistryError::NotFound { .. }) => return Err((&codes::MALFORMED).into()),
            Err(error) => return Err(error.into()),
        },
    };
    let mut event = looked(&agent, Some(organisation), api.world.moment());
    event.object.query = Some(Phi::new(name));
    recorded(&api, &event).await?;
    let wanted = Wanted { kind, device, now };
    let first = from.and_time(NaiveTime::MIN);
    let last = to.and_hms_opt(23, 59, 59).unwrap_or(first);
    let mut items = Vec::new();
    let mut next = page.after.clone();
    // A part of the list may have few that are wanted.
    for _ in 0..WORKLIST_PARTS_MAX {
        let left = page.limit.saturating_sub(items.len());
        let found = api
            .registry
            .scheduled_examinations(&licence, organisation, (first, last), next.as_deref(), left)
            .await?;
        let wanted = found.examinations.iter().filter(|one| wanted.has(one));
        items.extend(wanted.map(Step::from));
        next = found.next;
        if next.is_none() || items.len() >= page.limit {
            break;
        }
    }
    Ok(Json(page.of(items, next.as_deref())))
}
