//! `/set-up`: the first account, by the token that the server printed.

use super::guard::{Body, From};
use super::session::to_the_end;
use super::{Api, Problem};
use crate::accounts::manage::FirstUser;
use axum::extract::State;
use axum::http::StatusCode;
use pacs_core::account::UserName;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct First {
    token: String,
    user: String,
    display_name: String,
    password: String,
}

pub(super) async fn set_up(
    State(api): State<Api>,
    From(from): From,
    Body(body): Body<First>,
) -> Result<StatusCode, Problem> {
    let first = FirstUser {
        token: body.token,
        name: UserName::parse(&body.user).map_err(|_| Problem::Malformed)?,
        display_name: body.display_name,
        password: body.password,
    };
    let accounts = api.accounts.clone();
    to_the_end(async move { accounts.set_up(&first, from).await }).await?;
    Ok(StatusCode::CREATED)
}
