//! The family of statistics: figures of examinations and of rejected images without persons, of one
//! organisation or, for the ministry, of all; for an expert of what they read, signed and rejected,
//! and for whoever looks after the archive of rejections alone.

use super::asked::Asked;
use super::guard::{Signed, organisations};
use super::openapi::{day, nothing_or, object, reference, several, text};
use super::problem::codes;
use super::routes::{Family, Operation, Parameter, Route};
use super::{Api, Problem};
use crate::limits::API_STATISTICS_DAYS_MAX;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use chrono::NaiveDate;
use pacs_core::OrganisationCode;
use pacs_core::examination::Status;
use pacs_core::examination::reconcile::Kind;
use pacs_core::rejection::{Quality, Title};
use pacs_core::role::{Agent, Permission, Work};
use pacs_store::registry::examinations::{ExaminationCount, Period};
use pacs_store::registry::rejections::RejectionCount;
use serde::Serialize;
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[Route {
        path: "/statistics",
        operations: &[STATISTICS],
    }],
    schemas,
};

const STATISTICS: Operation = Operation::get(
    "statistics",
    "Examinations by organisation, day, kind of images and where they stand, and what was rejected",
    || get(statistics),
)
.asks(&[
    Parameter {
        name: "from",
        summary: "the first day; else six days before the last",
        schema: r#"{"type": "string", "format": "date"}"#,
    },
    Parameter {
        name: "until",
        summary: "the last day; else today",
        schema: r#"{"type": "string", "format": "date"}"#,
    },
    Parameter {
        name: "organisation",
        summary: "which one; else all whose figures I may see",
        schema: r#"{"type": "string", "pattern": "^[0-9]{3}$"}"#,
    },
])
.gives(200, "Statistics")
.needs(&[Permission::Statistics]);

/// Figures of a period.
#[derive(Serialize)]
struct Shown {
    from: NaiveDate,
    until: NaiveDate,
    total: u64,
    counts: Vec<Count>,
    rejections: Vec<Rejected>,
}

/// Rejections that stand, as far as they are alike.
#[derive(Serialize)]
struct Rejected {
    organisation: OrganisationCode,
    day: NaiveDate,
    title: Title,
    quality: Option<Quality>,
    count: u64,
    instances_count: u64,
}

#[derive(Serialize)]
struct Count {
    organisation: OrganisationCode,
    day: NaiveDate,
    modality: String,
    status: Status,
    count: u64,
}

async fn statistics(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<Shown>, Problem> {
    let agent = signed.agent(&api);
    let today = api.world.moment().date_naive();
    let until = asked.take::<NaiveDate>("until")?.unwrap_or(today);
    let week = until.checked_sub_days(chrono::Days::new(6));
    let from = asked.take::<NaiveDate>("from")?.or(week).unwrap_or(until);
    let organisation = asked.take_by("organisation", |text| OrganisationCode::parse(text).ok())?;
    asked.done()?;
    let days = until.signed_duration_since(from).num_days();
    if !(0..API_STATISTICS_DAYS_MAX).contains(&days) {
        return Err(codes::MALFORMED.with("what", "period"));
    }
    let of = match organisation {
        Some(organisation) => vec![organisation],
        None => permitted(&api, &agent).await?,
    };
    let at = api.world.moment();
    let period = Period { from, until };
    let (mut counts, mut rejections) = (Vec::new(), Vec::new());
    for organisation in of {
        let found = api
            .registry
            .examination_figures(&agent, organisation, period, at);
        let found = found.await?.into_iter();
        counts.extend(found.map(|count| shown(organisation, count)));
        let found = api
            .registry
            .rejection_figures(&agent, organisation, period, at);
        let found = found.await?.into_iter();
        rejections.extend(found.map(|count| rejected(organisation, &count)));
    }
    Ok(Json(Shown {
        from,
        until,
        total: counts.iter().map(|count| count.count).sum(),
        counts,
        rejections,
    }))
}

/// The organisations whose figures `agent` may see.
async fn permitted(api: &Api, agent: &Agent) -> Result<Vec<OrganisationCode>, Problem> {
    let is_permitted = |code: &OrganisationCode| {
        let mut extents = agent
            .grants
            .extents_over(Permission::Statistics, *code, Work::Any);
        extents.next().is_some()
    };
    let mut of: Vec<OrganisationCode> = organisations(agent);
    for stored in api.registry.organisations().await? {
        if !of.contains(&stored.value.code) {
            of.push(stored.value.code);
        }
    }
    of.retain(is_permitted);
    of.sort_unstable();
    if of.is_empty() {
        return Err((&codes::NOT_PERMITTED).into());
    }
    Ok(of)
}

fn shown(organisation: OrganisationCode, count: ExaminationCount) -> Count {
    let modality = match count.kind {
        Kind::Ct => "CT".to_owned(),
        Kind::Mr => "MR".to_owned(),
        Kind::XRay => "DX".to_owned(),
        Kind::Other(modality) => modality.into(),
        _ => "OT".to_owned(),
    };
    Count {
        organisation,
        day: count.day,
        modality,
        status: count.status,
        count: count.count,
    }
}

fn rejected(organisation: OrganisationCode, count: &RejectionCount) -> Rejected {
    Rejected {
        organisation,
        day: count.day,
        title: count.title,
        quality: count.quality,
        count: count.count,
        instances_count: count.instances_count,
    }
}

fn schemas() -> Vec<(&'static str, Value)> {
    let number = || json!({"type": "integer", "minimum": 0});
    let count = [
        (
            "organisation",
            json!({"type": "string", "pattern": "^[0-9]{3}$"}),
        ),
        ("day", day()),
        ("modality", text()),
        ("status", text()),
        ("count", number()),
    ];
    let rejected = [
        (
            "organisation",
            json!({"type": "string", "pattern": "^[0-9]{3}$"}),
        ),
        ("day", day()),
        ("title", text()),
        ("quality", nothing_or(text())),
        ("count", number()),
        ("instances_count", number()),
    ];
    let statistics = [
        ("from", day()),
        ("until", day()),
        ("total", number()),
        ("counts", several(reference("StatisticsCount"))),
        ("rejections", several(reference("StatisticsRejections"))),
    ];
    vec![
        ("StatisticsCount", object(&count, &[])),
        ("StatisticsRejections", object(&rejected, &[])),
        ("Statistics", object(&statistics, &[])),
    ]
}
