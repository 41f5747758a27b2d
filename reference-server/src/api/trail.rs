//! The family of the audit trail: who did what, who has looked at a patient's data, and whether the
//! trail is what it was. That it was read is a record itself.
//!
//! Auditors read all of it; administrators of an organisation what was done for theirs.

use super::asked::Asked;
use super::guard::{Body, Signed, organisations};
use super::openapi::{list, nothing_or, object, text};
use super::page::{CURSOR, LIMIT, List, Page};
use super::problem::codes;
use super::routes::{Family, Operation, Parameter, Route};
use super::{Api, Problem};
use crate::limits::{API_AUDIT_SCANNED_MAX, API_PAGE_COUNT_MAX};
use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use pacs_core::OrganisationCode;
use pacs_core::Phi;
use pacs_core::audit::{Act, AuditEvent, Purpose};
use pacs_core::patient::PatientKey;
use pacs_core::role::duty::AuditRead;
use pacs_core::role::{Agent, Permission};
use pacs_store::registry::audit::{Anchor, AuditError};
use pacs_store::registry::witnesses::About;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/audit",
            operations: &[LIST],
        },
        Route {
            path: "/audit/verification",
            operations: &[VERIFY],
        },
    ],
    schemas,
};

const LIST: Operation = Operation::get("audit", "Records of the audit trail, newest first", || {
    get(all)
})
.asks(&[
    Parameter {
        name: "patient",
        summary: "only those about the patient of this number, and of those that went into it or \
                  it into: who has looked at their data",
        schema: r#"{"type": "string", "pattern": "^[PT][0-9]{10}$"}"#,
    },
    CURSOR,
    LIMIT,
])
.gives(200, "AuditRecords")
.needs(&[Permission::AuditRead]);

const VERIFY: Operation = Operation::post(
    "verifyAudit",
    "Read the whole trail, and name the first record that is not what it was",
    || post(verify),
)
.takes("AuditNoted")
.gives(200, "AuditVerified")
.needs(&[Permission::AuditRead]);

/// Whose records somebody reads.
enum Reach {
    All,
    Of(Vec<OrganisationCode>),
}

impl Reach {
    fn of(agent: &Agent) -> Result<Self, Problem> {
        if agent.national_licence::<AuditRead>().is_ok() {
            return Ok(Self::All);
        }
        let mut of = organisations(agent);
        of.retain(|code| {
            let mut extents = agent.grants.extents(Permission::AuditRead, *code);
            extents.next().is_some()
        });
        if of.is_empty() {
            return Err((&codes::NOT_PERMITTED).into());
        }
        Ok(Self::Of(of))
    }

    fn shows(&self, event: &AuditEvent) -> bool {
        match self {
            Self::All => true,
            Self::Of(own) => {
                let organisation = event.actor.organisation;
                organisation.is_some_and(|organisation| own.contains(&organisation))
            }
        }
    }
}

/// A record, as it is shown.
#[derive(Serialize)]
struct Shown {
    number: u64,
    event: AuditEvent,
    previous: String,
    digest: String,
    /// The number that the patient had gone into then, by a merge that was undone since.
    while_merged_into: Option<String>,
}

impl From<About> for Shown {
    fn from(about: About) -> Self {
        let About {
            record,
            while_merged_into,
        } = about;
        Self {
            while_merged_into: while_merged_into.map(|number| number.to_string()),
            number: record.number,
            event: record.event,
            previous: record.previous.to_string(),
            digest: record.digest.to_string(),
        }
    }
}

fn patient_of(text: &str) -> Option<PatientKey> {
    PatientKey::parse(text).ok()
}

async fn all(
    State(api): State<Api>,
    signed: Signed,
    mut asked: Asked,
) -> Result<Json<List<Shown>>, Problem> {
    let agent = signed.agent(&api);
    let reach = Reach::of(&agent)?;
    let text = asked.take::<String>("patient")?;
    let patient = text
        .as_deref()
        .map(|text| patient_of(text).ok_or(Problem::Malformed));
    let patient = patient.transpose()?;
    let name = format!("audit {}", text.unwrap_or_default());
    let page = Page::take(&mut asked, (&api, &signed), &name)?;
    asked.done()?;
    let before = page.after.as_deref().map(str::parse::<u64>);
    let before = before.transpose().map_err(|_| &codes::BAD_CURSOR)?;
    // First it is told that it is read: what is told then stands in what is read.
    tell(&api, &signed, patient).await?;
    let (records, next) = read(&api, &reach, patient, before, page.limit).await?;
    let items = records.into_iter().map(Shown::from).collect();
    let next = next.map(|number| number.to_string());
    Ok(Json(page.of(items, next.as_deref())))
}

/// Records that are shown, and the last that was looked at, where there may be more.
async fn read(
    api: &Api,
    reach: &Reach,
    patient: Option<PatientKey>,
    mut before: Option<u64>,
    count_max: usize,
) -> Result<(Vec<About>, Option<u64>), Problem> {
    // Of what is not all shown much is looked at at once: a patient has many numbers.
    let part = match reach {
        Reach::All => count_max,
        Reach::Of(_) => API_PAGE_COUNT_MAX,
    };
    let mut shown = Vec::new();
    let mut scanned_count = 0;
    while scanned_count < API_AUDIT_SCANNED_MAX {
        let page = api.registry.audit_page(patient, (before, part)).await?;
        scanned_count += part;
        for about in page.records {
            before = Some(about.record.number);
            if reach.shows(&about.record.event) {
                shown.push(about);
            }
            if shown.len() == count_max {
                return Ok((shown, before));
            }
        }
        before = page.next;
        if before.is_none() {
            return Ok((shown, None));
        }
    }
    Ok((shown, before))
}

fn of_trail(error: AuditError) -> Problem {
    crate::accounts::Refused::from(error).into()
}

/// Puts on record who reads.
async fn tell(api: &Api, signed: &Signed, patient: Option<PatientKey>) -> Result<(), Problem> {
    let actor = api.accounts.actor(&signed.who);
    let mut event = AuditEvent::new(Act::AuditRead, api.world.moment(), actor);
    event.from = Some(signed.from);
    event.correlation = api.world.correlation();
    event.object.patient = patient.map(Phi::new);
    event.purpose = Some(Purpose::Administration);
    let told = api.accounts.trail().commit(Vec::new(), &event).await;
    told.map(drop).map_err(of_trail)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    noted: Option<String>,
}

/// What a verification found.
#[derive(Serialize)]
struct Verified {
    is_whole: bool,
    records_count: u64,
    problem: Option<String>,
    anchor: Option<String>,
}

async fn verify(
    State(api): State<Api>,
    signed: Signed,
    Body(body): Body<Noted>,
) -> Result<Json<Verified>, Problem> {
    signed.agent(&api).national_licence::<AuditRead>()?;
    let noted = body.noted.as_deref().map(str::parse::<Anchor>);
    let noted = noted
        .transpose()
        .map_err(|_| codes::MALFORMED.with("what", "noted"))?;
    // It reads everything: one at a time.
    let Ok(_turn) = api.verifying.try_acquire() else {
        return Err((&codes::BUSY).into());
    };
    tell(&api, &signed, None).await?;
    let verified = api.accounts.trail().verify(noted, |_| {}).await;
    let verified = verified.map_err(of_trail)?;
    if let Some(problem) = verified.problem {
        tracing::error!(%problem, "the audit trail is not what it was");
    }
    Ok(Json(Verified {
        is_whole: verified.problem.is_none(),
        records_count: verified.records_count,
        problem: verified.problem.map(|problem| problem.to_string()),
        anchor: verified.anchor.map(|anchor| anchor.to_string()),
    }))
}

fn schemas() -> Vec<(&'static str, Value)> {
    let number = || json!({"type": "integer", "minimum": 0});
    let digest = || json!({"type": "string", "pattern": "^[0-9a-f]{64}$"});
    let record = [
        ("number", number()),
        (
            "event",
            json!({
                "type": "object",
                "description": "who did what with what (PS3.15 A.5)",
                "required": ["act", "outcome", "at", "actor"],
            }),
        ),
        ("previous", digest()),
        ("digest", digest()),
        ("while_merged_into", nothing_or(text())),
    ];
    let noted = [("noted", nothing_or(text()))];
    let verified = [
        ("is_whole", json!({"type": "boolean"})),
        ("records_count", number()),
        ("problem", nothing_or(text())),
        ("anchor", nothing_or(text())),
    ];
    vec![
        ("AuditRecord", object(&record, &[])),
        ("AuditRecords", list("AuditRecord")),
        ("AuditNoted", object(&noted, &["noted"])),
        ("AuditVerified", object(&verified, &[])),
    ]
}
