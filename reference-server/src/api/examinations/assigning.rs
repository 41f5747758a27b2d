//! Who is to read an examination: said by whoever edits orders there, taken and given back by
//! readers.

use super::acts::of_seen;
use super::{Id, Seeing, Standing, examination_id};
use crate::api::conditional::{PerhapsBased, Tagged};
use crate::api::guard::{Body, Signed};
use crate::api::problem::codes;
use crate::api::{Api, Problem};
use axum::extract::State;
use axum::http::StatusCode;
use pacs_core::ExaminationId;
use pacs_core::account::UserName;
use pacs_core::examination::assignment::Person;
use pacs_core::role::Grants;
use pacs_store::registry::Revision;
use pacs_store::registry::accounts::{AccountStore, User};
use serde::Deserialize;

/// Who is to read it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct NamedReader {
    reader: String,
}

type Answer = Result<Tagged<Standing>, Problem>;

pub(super) async fn assign(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
    Body(named): Body<NamedReader>,
) -> Answer {
    let (seeing, id) = seen(&api, &signed, id).await?;
    let (name, grants) = reader(&api, &named.reader).await?;
    let to = Person {
        name: &name,
        grants: &grants,
    };
    change(&api, &seeing, (id, Some(to)), expected).await
}

pub(super) async fn unassign(
    State(api): State<Api>,
    signed: Signed,
    id: Id,
    PerhapsBased(expected): PerhapsBased,
) -> Answer {
    let (seeing, id) = seen(&api, &signed, id).await?;
    change(&api, &seeing, (id, None), expected).await
}

/// An examination that somebody sees: of others nobody learns who is there to read.
async fn seen(api: &Api, signed: &Signed, id: Id) -> Result<(Seeing, ExaminationId), Problem> {
    let id = examination_id(&id?.0)?;
    let seeing = Seeing::of(api, signed).await?;
    let pools = seeing.pools();
    let at = api.world.moment();
    let reader = seeing.reader(&pools);
    api.registry.examination(&reader, id, at).await?;
    drop(pools);
    Ok((seeing, id))
}

/// Somebody by the name of their account, with their roles. Of whom there is none that is in use is
/// answered as somebody without roles: nobody learns here which accounts there are.
async fn reader(api: &Api, name: &str) -> Result<(String, Grants), Problem> {
    let Ok(key) = UserName::parse(name) else {
        return Ok((name.to_owned(), Grants::default()));
    };
    let store = AccountStore::new(api.registry.audit_trail());
    let found = store.get::<User>(key.as_str()).await.map_err(|error| {
        let error = crate::tool::failure::chain(&error);
        tracing::error!(error, "an account could not be read");
        Problem::from(&codes::INTERNAL)
    })?;
    let found = found.map(|found| found.value);
    let grants = found.filter(|user| !user.is_disabled);
    let grants = grants.map_or_else(Grants::default, |user| user.grants);
    Ok((key.into(), grants))
}

async fn change(
    api: &Api,
    seeing: &Seeing,
    on: (ExaminationId, Option<Person<'_>>),
    expected: Option<Revision>,
) -> Answer {
    let at = api.world.moment();
    let assigned = api
        .registry
        .assign_examination(&seeing.agent, on, expected, at)
        .await
        .map_err(of_seen)?;
    let standing = (&assigned.value).into();
    Ok(Tagged(StatusCode::OK, assigned.revision, standing))
}
