//! Who alone sees an examination.

use super::acts::Why;
use super::{Id, Seeing, Standing, examination_id};
use crate::api::conditional::{PerhapsBased, Tagged};
use crate::api::guard::{Body, Signed};
use crate::api::problem::codes;
use crate::api::{Api, Problem};
use axum::extract::State;
use axum::http::StatusCode;
use pacs_core::account::UserName;
use pacs_core::examination::Reason;
use pacs_store::registry::Revision;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Who is named for it, beside whoever says so, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Restriction {
    named: Vec<String>,
    reason: String,
}

type Answer = Result<Tagged<Standing>, Problem>;

pub(super) async fn restrict(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(body): Body<Restriction>,
) -> Answer {
    // Whether a name is an account's is told to nobody.
    let named = body.named.iter().map(|name| UserName::parse(name));
    let named: Result<BTreeSet<_>, _> = named.collect();
    let named = named.map_err(|_| codes::MALFORMED.with("what", "named"))?;
    let reason = Reason::parse(&body.reason).map_err(|_| &codes::REASON_NEEDED)?;
    change(&api, &signed, (id, Some(&named)), (&reason, expected)).await
}

pub(super) async fn unrestrict(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(why): Body<Why>,
) -> Answer {
    let reason = why.read()?;
    change(&api, &signed, (id, None), (&reason, expected)).await
}

async fn change(
    api: &Api,
    signed: &Signed,
    (id, named): (Id, Option<&BTreeSet<UserName>>),
    why: (&Reason, Option<Revision>),
) -> Answer {
    let id = examination_id(&id?.0)?;
    let seeing = Seeing::of(api, signed).await?;
    let pools = seeing.pools();
    let reader = seeing.reader(&pools);
    let at = api.world.moment();
    let changed = api
        .registry
        .restrict_examination(&reader, (id, named), why, at)
        .await?;
    let standing = (&changed.value).into();
    Ok(Tagged(StatusCode::OK, changed.revision, standing))
}
