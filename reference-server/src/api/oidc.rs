//! The family of the OpenID provider: `/session/ways`, and signing in by it.
//!
//! A browser comes here by itself, so that what is refused is a page where it asks for one. The
//! cookie of a sign-in is `Lax`: the provider is another site, from which no `Strict` one comes.
//! The cookie of the session that comes of it is the same as any other.

mod page;

use super::asked::Asked;
use super::guard::{Body, From, cookie, cookie_named, is_of_other_site, secret};
use super::openapi::{flag, nothing_or, object, text};
use super::problem::{Code, codes};
use super::routes::{Family, Operation, Parameter, Route};
use super::session::{WithCode, begun, to_the_end};
use super::{Api, Problem};
use crate::accounts::external::{Coming, Shows};
use crate::accounts::{Accounts, Refused, SignedIn};
use crate::oidc::{Brought, Browser, Came, OidcError, Provider, ReturnTo, Waiting, sign_in_life_s};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use page::Refusal;
use serde::Serialize;
use serde_json::{Value, json};
use std::net::IpAddr;

pub(super) const FAMILY: Family = Family {
    routes: &[
        Route {
            path: "/session/ways",
            operations: &[WAYS],
        },
        Route {
            path: "/session/oidc",
            operations: &[BEGIN, SAY_CODE],
        },
        Route {
            path: "/session/oidc/callback",
            operations: &[FINISH],
        },
    ],
    schemas,
};

const WAYS: Operation = Operation::get("waysToSignIn", "How people can sign in", || get(ways))
    .unsigned()
    .gives(200, "Ways");

const BEGIN: Operation = Operation::get(
    "beginProviderSignIn",
    "Send the browser to the OpenID provider",
    || get(begin),
)
.unsigned()
.asks(&[Parameter {
    name: "return_to",
    summary: "the page to go to once signed in: a path of this server; without it /",
    schema: r#"{"type": "string", "maxLength": 1024}"#,
}])
.gives_nothing(303)
.refuses(&[403, 404, 503]);

const SAY_CODE: Operation = Operation::post(
    "sayCodeAfterProvider",
    "Say the code of the second factor, where the provider asked for none",
    || post(say_code),
)
.unsigned()
.takes("WithCode")
.gives(201, "Session")
.refuses(&[401, 404, 429, 503]);

const FINISH: Operation = Operation::get(
    "finishProviderSignIn",
    "Where the OpenID provider sends the browser back to",
    || get(finish),
)
.unsigned()
.asks(&[
    Parameter {
        name: "code",
        summary: "what the provider gives tokens for",
        schema: r#"{"type": "string", "maxLength": 2048}"#,
    },
    Parameter {
        name: "state",
        summary: "which sign-in it is",
        schema: r#"{"type": "string", "maxLength": 2048}"#,
    },
    Parameter {
        name: "iss",
        summary: "the issuer (RFC 9207)",
        schema: r#"{"type": "string", "maxLength": 2048}"#,
    },
    Parameter {
        name: "error",
        summary: "why there is no code",
        schema: r#"{"type": "string", "maxLength": 2048}"#,
    },
])
.gives_nothing(303)
.refuses(&[403, 404, 429, 502, 503]);

super::problem::codes::codes! {
    PROVIDER_REFUSED = 403 "auth.provider_refused" "the provider did not let them in";
    PROVIDER_UNAVAILABLE = 503 "auth.provider_unavailable" "the provider cannot be asked";
    PROVIDER_UNTRUSTED = 502 "auth.provider_untrusted" "what the provider says cannot be right";
    PROVIDER_WEAK = 403 "auth.provider_weak" "the provider did not ask for a second factor";
    SIGN_IN_GONE = 403 "auth.sign_in_gone" "no such sign-in is under way in this browser";
}

/// The cookie of a browser that is at the provider.
const COOKIE: &str = "__Host-pacs_sign_in";

/// How people can sign in.
#[derive(Serialize)]
struct Ways {
    password: bool,
    /// What the provider is called; `null`: there is none.
    provider: Option<String>,
}

async fn ways(State(api): State<Api>) -> Json<Ways> {
    let provider = api.provider.as_ref();
    Json(Ways {
        password: true,
        provider: provider.map(|provider| provider.name().to_owned()),
    })
}

async fn begin(
    State(api): State<Api>,
    From(from): From,
    headers: HeaderMap,
    asked: Result<Asked, Problem>,
) -> Result<Response, Refusal> {
    let begun = async {
        let provider = provider(&api)?;
        // Nobody is signed in as somebody else by a page of another place.
        if is_of_other_site(&headers) {
            return Err(Problem::CrossSite);
        }
        let mut asked = asked?;
        let return_to = asked.take_by("return_to", ReturnTo::parse)?;
        asked.done()?;
        let return_to = return_to.unwrap_or_default();
        let browser = Browser {
            sign_in: cookie_named(COOKIE, &headers),
            session: secret(&headers),
        };
        let begun = provider.begin(return_to, browser, from).await;
        begun.map_err(|error| problem(&error))
    };
    let begun = begun.await.map_err(|problem| shown(problem, &headers))?;
    let cookies = AppendHeaders([sign_in_cookie(&begun.secret)]);
    Ok(to(&begun.location, cookies))
}

async fn finish(
    State(api): State<Api>,
    From(from): From,
    headers: HeaderMap,
    asked: Result<Asked, Problem>,
) -> Result<Response, Refusal> {
    let browser = cookie_named(COOKIE, &headers).unwrap_or_default();
    let finished = async {
        let provider = provider(&api)?.clone();
        let brought = brought(asked?)?;
        let accounts = api.accounts.clone();
        let browser = browser.clone();
        let task = finished(accounts, provider, (brought, browser), from);
        tokio::spawn(task).await.map_err(|_| Refused::Internal)?
    };
    let finished: Result<Finished, Problem> = finished.await;
    match finished.map_err(|problem| shown(problem, &headers))? {
        Finished::SignedIn(signed_in, return_to) => {
            let cookies = AppendHeaders([cookie(&signed_in.secret), sign_in_cookie("")]);
            Ok(to(return_to.as_str(), cookies))
        }
        // The cookie says which sign-in the code is for.
        Finished::CodeNeeded(return_to) => {
            let cookies = AppendHeaders([sign_in_cookie(&browser)]);
            Ok(to(&return_to.with_code_needed(), cookies))
        }
    }
}

/// What becomes of somebody who comes from the provider.
enum Finished {
    CodeNeeded(ReturnTo),
    SignedIn(Box<SignedIn>, ReturnTo),
}

/// Does it to the end, also where the browser hangs up: what was wrong is counted all the same.
async fn finished(
    accounts: Accounts,
    provider: Provider,
    (brought, browser): (Brought, String),
    from: IpAddr,
) -> Result<Finished, Problem> {
    let coming = accounts.may_come_from_provider(from).await?;
    let Came {
        identity,
        return_to,
        old,
    } = match provider.finish(&brought, &browser).await {
        Ok(came) => came,
        Err(error) => {
            tell(&accounts, coming, &error, from).await?;
            return Err(problem(&error));
        }
    };
    drop(coming);
    let shows = Shows {
        identity: &identity,
        is_second_factor: provider.is_second_factor(),
        code: None,
        old: old.as_deref(),
    };
    match accounts.sign_in_by_provider(shows, from).await {
        Ok(signed_in) => Ok(Finished::SignedIn(Box::new(signed_in), return_to)),
        Err(Refused::CodeNeeded) => {
            let waiting = Waiting { identity, old };
            provider.wait_for_code(waiting, &browser, from);
            Ok(Finished::CodeNeeded(return_to))
        }
        // An administrator needs it to link them: it is of whoever reads it.
        Err(Refused::NotLinked) => Err(codes::NOT_LINKED.with("subject", identity.subject)),
        Err(refused) => Err(refused.into()),
    }
}

/// Tells why somebody was not signed in. On record is what looks forged, which counts, and whom the
/// provider let in; all else anybody could fill the trail with.
async fn tell(
    accounts: &Accounts,
    coming: Coming<'_>,
    error: &OidcError,
    from: IpAddr,
) -> Result<(), Refused> {
    if *error == OidcError::Gone {
        // Any page can have a browser ask for it.
        tracing::debug!(%error, "somebody was not signed in by the OpenID provider");
        return Ok(());
    }
    tracing::warn!(%error, "somebody was not signed in by the OpenID provider");
    if let OidcError::Weak(identity) = error {
        let why = (error.code(), from);
        return accounts.came_in_vain(identity, None, why).await;
    }
    if error.is_forgery() {
        return coming.was_forged(error.code()).await;
    }
    Ok(())
}

async fn say_code(
    State(api): State<Api>,
    From(from): From,
    headers: HeaderMap,
    Body(said): Body<WithCode>,
) -> Result<Response, Problem> {
    let provider = provider(&api)?.clone();
    let browser = cookie_named(COOKIE, &headers).unwrap_or_default();
    let waiting = provider.waiting_for_code(&browser);
    let Waiting { identity, old } = waiting.ok_or(Refused::NotSignedIn)?;
    let accounts = api.accounts.clone();
    let signed_in = to_the_end(async move {
        let shows = Shows {
            identity: &identity,
            is_second_factor: false,
            code: Some(&said.code),
            old: old.as_deref(),
        };
        accounts.sign_in_by_provider(shows, from).await
    });
    let signed_in = signed_in.await?;
    provider.said_code(&browser);
    let mut response = begun(&api, StatusCode::CREATED, &signed_in);
    let (name, value) = sign_in_cookie("");
    if let Ok(value) = value.parse() {
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

fn provider(api: &Api) -> Result<&Provider, Problem> {
    let provider = api.provider.as_ref();
    provider.ok_or_else(|| codes::NOT_FOUND.problem())
}

/// What the provider has the browser bring. It may have it bring more, which is nothing to us.
fn brought(mut asked: Asked) -> Result<Brought, Problem> {
    Ok(Brought {
        code: asked.take("code")?,
        state: asked.take("state")?,
        issuer: asked.take("iss")?,
        error: asked.take("error")?,
    })
}

fn problem(error: &OidcError) -> Problem {
    let code: &'static Code = match error {
        OidcError::Busy => &codes::BUSY,
        OidcError::Gone => &SIGN_IN_GONE,
        OidcError::Internal => &codes::INTERNAL,
        OidcError::Empty | OidcError::MixedUp | OidcError::Untrusted(_) => &PROVIDER_UNTRUSTED,
        OidcError::BadCode | OidcError::Refused(_) => &PROVIDER_REFUSED,
        OidcError::Unavailable => &PROVIDER_UNAVAILABLE,
        OidcError::Weak(_) => &PROVIDER_WEAK,
    };
    code.into()
}

/// The cookie of a browser that is at the provider; an empty secret takes it away.
fn sign_in_cookie(secret: &str) -> (HeaderName, String) {
    let seconds = if secret.is_empty() {
        0
    } else {
        sign_in_life_s()
    };
    let value =
        format!("{COOKIE}={secret}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    (header::SET_COOKIE, value)
}

fn to<const N: usize>(
    location: &str,
    cookies: AppendHeaders<[(HeaderName, String); N]>,
) -> Response {
    let location = [(header::LOCATION, location.to_owned())];
    (StatusCode::SEE_OTHER, cookies, location).into_response()
}

/// A problem as whoever asks wants to see it.
fn shown(problem: Problem, headers: &HeaderMap) -> Refusal {
    Refusal::new(problem, headers)
}

fn schemas() -> Vec<(&'static str, Value)> {
    let ways = [("password", flag()), ("provider", nothing_or(text()))];
    let mut ways = object(&ways, &[]);
    ways["description"] = json!("how people can sign in: by a password, by an OpenID provider");
    vec![("Ways", ways)]
}
