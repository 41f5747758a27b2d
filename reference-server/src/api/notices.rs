//! `/notices`: what whoever asks is told of examinations that are theirs.

use super::conditional::{Based, etag};
use super::examinations::examination_id;
use super::guard::Signed;
use super::openapi::{list, object, text, time};
use super::page::List;
use super::routes::{Basis, Family, Operation, Route};
use super::{Api, Problem};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use chrono::{DateTime, FixedOffset};
use pacs_store::registry::Stored;
use pacs_store::registry::notices::{Notice, Told};
use serde::Serialize;
use serde_json::{Value, json};

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/notices",
            operations: &[NOTICES],
        },
        Route {
            path: "/notices/{examination}/{told}",
            operations: &[TAKE_AWAY],
        },
    ],
    schemas,
};

const NOTICES: Operation = Operation::get(
    "listNotices",
    "What I am told of examinations that I reported or ordered, newest first",
    || get(notices),
)
.gives(200, "Notices");

const TAKE_AWAY: Operation = Operation::delete(
    "takeNoticeAway",
    "I have seen it; nobody else is told by it",
    || delete(take_away),
)
.based(Basis::Needed)
.refuses(&[404]);

fn schemas() -> Vec<(&'static str, Value)> {
    let notice = [
        ("etag", text()),
        ("examination", text()),
        ("examination_grouped", text()),
        ("told", json!({"enum": ["author", "operator"]})),
        ("event", text()),
        ("at", time()),
    ];
    vec![
        ("Notice", object(&notice, &[])),
        ("Notices", list("Notice")),
    ]
}

/// A notice: nothing of the patient.
#[derive(Serialize)]
struct ShownNotice {
    etag: String,
    examination: String,
    examination_grouped: String,
    told: Told,
    event: String,
    at: DateTime<FixedOffset>,
}

impl From<Stored<Notice>> for ShownNotice {
    fn from(stored: Stored<Notice>) -> Self {
        let notice = stored.value;
        Self {
            etag: etag(stored.revision),
            examination: notice.examination.to_string(),
            examination_grouped: notice.examination.grouped(),
            told: notice.told,
            event: notice.event,
            at: notice.at,
        }
    }
}

async fn notices(
    State(api): State<Api>,
    signed: Signed,
) -> Result<Json<List<ShownNotice>>, Problem> {
    let found = api
        .registry
        .notices(signed.who.user.value.name.as_str())
        .await?;
    let items = found.into_iter().map(Into::into).collect();
    Ok(Json(List::whole(items)))
}

async fn take_away(
    State(api): State<Api>,
    signed: Signed,
    path: Result<Path<(String, String)>, PathRejection>,
    Based(seen): Based,
) -> Result<StatusCode, Problem> {
    let Path((id, told)) = path?;
    let id = examination_id(&id)?;
    let told = serde_json::from_value::<Told>(json!(told)).map_err(|_| Problem::Malformed)?;
    let user = signed.who.user.value.name.as_str();
    api.registry
        .take_notice_away(user, (id, told), seen)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
