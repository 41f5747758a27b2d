//! `/session`: who is signed in, and what they do to their own account.

use super::guard::{Beginning, Body, From, Signed, cookie, csrf_token, secret};
use super::{Api, Problem};
use crate::accounts::{Credentials, Refused, SignedIn, Who, must_change_password};
use crate::oidc::Leaving;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use pacs_core::role::Grants;
use pacs_store::registry::accounts::{ExternalIdentity, Session, SignedInBy, User};
use serde::{Deserialize, Serialize};

/// Does it to the end, also where whoever asked hangs up: what was wrong is counted all the same,
/// and nothing is left in the middle.
pub(super) async fn to_the_end<T: Send + 'static>(
    task: impl Future<Output = Result<T, Refused>> + Send + 'static,
) -> Result<T, Refused> {
    tokio::spawn(task).await.map_err(|_| Refused::Internal)?
}

/// What somebody types who signs in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Typed {
    user: String,
    password: String,
    code: Option<String>,
}

/// Somebody who is signed in, as pages see them.
#[derive(Serialize)]
pub(super) struct Shown {
    user: String,
    display_name: String,
    is_doctor: bool,
    grants: Grants,
    must_change_password: bool,
    has_second_factor: bool,
    signed_in_by: SignedInBy,
    external: Vec<ExternalIdentity>,
    csrf_token: String,
    /// When the session ends if nothing more is asked.
    ends_at: DateTime<Utc>,
}

fn shown(api: &Api, user: &User, session: &Session, secret: &str) -> Shown {
    let factor = user.second_factor.as_ref();
    Shown {
        user: user.name.as_str().to_owned(),
        display_name: user.display_name.clone(),
        is_doctor: user.is_doctor,
        grants: user.grants.clone(),
        must_change_password: must_change_password(user, session),
        has_second_factor: factor.is_some_and(|factor| factor.is_confirmed),
        signed_in_by: session.by,
        external: user.external.clone(),
        csrf_token: csrf_token(secret),
        ends_at: session.times().ends_at(api.accounts.session_rules()),
    }
}

pub(super) fn begun(api: &Api, status: StatusCode, signed_in: &SignedIn) -> Response {
    let SignedIn {
        secret,
        user,
        session,
    } = signed_in;
    let shown = shown(api, user, session, secret);
    (status, [cookie(secret)], Json(shown)).into_response()
}

pub(super) async fn read(State(api): State<Api>, Beginning(signed): Beginning) -> Json<Shown> {
    let Who { user, session } = &signed.who;
    Json(shown(&api, &user.value, &session.value, &signed.secret))
}

pub(super) async fn sign_in(
    State(api): State<Api>,
    From(from): From,
    headers: HeaderMap,
    Body(typed): Body<Typed>,
) -> Result<Response, Problem> {
    let credentials = Credentials {
        user: typed.user,
        password: typed.password,
        code: typed.code,
    };
    let old = secret(&headers);
    let accounts = api.accounts.clone();
    let task = async move { accounts.sign_in(&credentials, old.as_deref(), from).await };
    let signed_in = to_the_end(task).await?;
    Ok(begun(&api, StatusCode::CREATED, &signed_in))
}

/// Whoever is signed out here, and may be signed in at the provider.
#[derive(Serialize)]
struct SignedOut {
    /// Where the browser goes to be signed out there too.
    location: String,
    /// What it brings back from there, where it is sent back.
    state: Option<String>,
}

pub(super) async fn sign_out(
    State(api): State<Api>,
    Beginning(signed): Beginning,
) -> Result<Response, Problem> {
    api.accounts.sign_out(&signed.secret, signed.from).await?;
    let is_by_provider = signed.who.session.value.by == SignedInBy::Provider;
    let leaving = match api.provider.as_ref().filter(|_| is_by_provider) {
        Some(provider) => provider.leave().await,
        None => None,
    };
    let cookie = [cookie("")];
    Ok(match leaving {
        Some(Leaving { location, state }) => {
            let signed_out = SignedOut { location, state };
            (StatusCode::OK, cookie, Json(signed_out)).into_response()
        }
        None => (StatusCode::NO_CONTENT, cookie).into_response(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    current: String,
    new: String,
}

pub(super) async fn change_password(
    State(api): State<Api>,
    Beginning(signed): Beginning,
    Body(body): Body<NewPassword>,
) -> Result<Response, Problem> {
    let accounts = api.accounts.clone();
    let changed = to_the_end(async move {
        let NewPassword { current, new } = body;
        accounts
            .change_password(&signed.who, &current, &new, signed.from)
            .await
    })
    .await?;
    Ok(begun(&api, StatusCode::OK, &changed))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithPassword {
    password: String,
}

#[derive(Serialize)]
pub(super) struct Offered {
    secret: String,
    uri: String,
}

pub(super) async fn offer_second_factor(
    State(api): State<Api>,
    signed: Signed,
    Body(body): Body<WithPassword>,
) -> Result<(StatusCode, Json<Offered>), Problem> {
    let user = signed.who.user.value.name.clone();
    let accounts = api.accounts.clone();
    let secret = to_the_end(async move {
        accounts
            .offer_second_factor(&signed.who, &body.password, signed.from)
            .await
    })
    .await?;
    let offered = Offered {
        secret: secret.base32(),
        uri: secret.uri("PACS", &user),
    };
    Ok((StatusCode::CREATED, Json(offered)))
}

/// What a workstation shows of whoever is at it.
#[derive(Serialize)]
pub(super) struct Given {
    user: String,
    /// Shown this once.
    passcode: String,
}

pub(super) async fn give_passcode(
    State(api): State<Api>,
    signed: Signed,
) -> Result<(StatusCode, Json<Given>), Problem> {
    let user = signed.who.user.value.name.as_str().to_owned();
    let accounts = api.accounts.clone();
    let given = async move { accounts.give_passcode(&signed.who, signed.from).await };
    let passcode = to_the_end(given).await?.shown();
    Ok((StatusCode::CREATED, Json(Given { user, passcode })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithCode {
    pub(super) code: String,
}

pub(super) async fn confirm_second_factor(
    State(api): State<Api>,
    signed: Signed,
    Body(body): Body<WithCode>,
) -> Result<StatusCode, Problem> {
    let accounts = api.accounts.clone();
    to_the_end(async move {
        accounts
            .confirm_second_factor(&signed.who, &body.code, signed.from)
            .await
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WithBoth {
    password: String,
    code: String,
}

pub(super) async fn remove_second_factor(
    State(api): State<Api>,
    signed: Signed,
    Body(body): Body<WithBoth>,
) -> Result<StatusCode, Problem> {
    let accounts = api.accounts.clone();
    to_the_end(async move {
        let WithBoth { password, code } = body;
        accounts
            .remove_second_factor(&signed.who, &password, &code, signed.from)
            .await
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
