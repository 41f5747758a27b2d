//! How the rows of accounts, administration and patients ask.

use super::country::{ISSUER, WHY, consented_until, no_patient, number, prefix};
use super::{Asked, Case, Column};
use crate::people::code;
use crate::policy::Shows;
use pacs_core::role::{Reach, Role};
use serde_json::{Value, json};

/// A PIN of nobody in particular.
const PIN: &str = "21502190099901";

/// How a route asks; `None` for routes of others.
pub(super) async fn asked((method, path): (&str, &str), case: Case<'_>) -> Option<Asked> {
    let Case { country, of, .. } = case;
    Some(match (method, path) {
        (
            "GET",
            "/openapi.json"
            | "/session"
            | "/session/break-glass"
            | "/session/oidc"
            | "/session/oidc/callback"
            | "/session/ways",
        ) => Asked::at(path),
        ("POST", "/session/oidc") => Asked::at(path).with(json!({"code": "000000"})),
        (
            _,
            "/set-up"
            | "/session"
            | "/session/password"
            | "/session/passcode"
            | "/session/second-factor",
        ) => own_account((method, path), case).await,
        (_, "/session/break-glass") => emergency(method, case).await,
        ("GET", "/break-glass") => Asked::at(path).marked(country.emergency(of).await),
        ("PUT", "/break-glass/{id}/review") => {
            let judged = json!({"verdict": "justified", "explanation": WHY});
            let id = country.emergency(of).await;
            Asked::of("/break-glass/{}/review", &id, "nobody~00").with(judged)
        }
        (_, "/devices" | "/devices/{ae_title}") => device((method, path), case).await,
        (_, "/organisations" | "/organisations/{code}") => organisation((method, path), case).await,
        (_, path) if path.starts_with("/users") => user((method, path), case).await,
        ("GET", "/audit") => {
            // Whatever is done is on record; of whom it was done for.
            let made = country.scheduled(of).await;
            Asked::at("/audit?limit=200").marked(made.id.to_string())
        }
        ("POST", "/audit/verification") => Asked::at(path).with(json!({})),
        ("GET", "/statistics" | "/register/mismatches") => {
            Asked::at(format!("{path}?organisation={of}"))
        }
        ("POST", "/register") => Asked::at(path).with(json!({"pin": PIN, "organisation": of})),
        (_, path) if path.starts_with("/patients") && !path.ends_with("/examinations") => {
            patient((method, path), case).await
        }
        _ => return None,
    })
}

/// With an account of their own for each cell: passwords and sessions change.
async fn own_account((method, path): (&str, &str), case: Case<'_>) -> Asked {
    let Case {
        country, column, ..
    } = case;
    let person = country.fresh(column.role).await;
    let password = &person.password;
    let asked = Asked::at(path);
    let asked = match (method, path) {
        ("POST", "/set-up") => {
            country.forgive().await;
            let first = json!({
                "token": "0".repeat(64), "user": "first", "display_name": "first",
                "password": "wooden bridge 71 goats",
            });
            return asked.with(first).alone();
        }
        ("POST", "/session") => {
            let credentials = json!({"user": person.name.as_str(), "password": password});
            asked.with(credentials)
        }
        ("PUT", "/session/password") => {
            asked.with(json!({"current": password, "new": "wooden bridge 71 goats"}))
        }
        ("POST", "/session/second-factor") => asked.with(json!({"password": password})),
        ("PUT", "/session/second-factor") => {
            let code = country.factor(&person, false).await;
            asked.with(json!({ "code": code }))
        }
        ("DELETE", "/session/second-factor") => {
            let code = country.factor(&person, true).await;
            asked.with(json!({"password": password, "code": code}))
        }
        _ => asked,
    };
    by_them(asked, column, person.shows)
}

/// Whoever has no session goes on having none.
fn by_them(asked: Asked, column: &Column, shows: Shows) -> Asked {
    match column.role {
        Some(_) => asked.by(shows),
        None => asked.alone(),
    }
}

async fn emergency(method: &str, case: Case<'_>) -> Asked {
    let Case {
        country, column, ..
    } = case;
    let asked = Asked::at("/session/break-glass");
    if method == "DELETE" {
        return asked;
    }
    let person = country.fresh(column.role).await;
    let opened = json!({
        "patient": number(country.patient().await.value.key), "reason": "unconscious",
        "explanation": WHY, "proof": person.password,
    });
    by_them(asked.with(opened), column, person.shows)
}

async fn device((method, path): (&str, &str), case: Case<'_>) -> Asked {
    let Case { country, of, .. } = case;
    let settings = json!({"organisation": of, "modality": "CT"});
    if method == "POST" {
        let mut new = settings;
        new["ae_title"] = json!(format!("{}_N{}", prefix(of), country.next()));
        return Asked::at(path).with(new);
    }
    let (name, revision) = country.device(of).await;
    let asked = match path {
        "/devices" => Asked::at("/devices?limit=200"),
        _ => Asked::of("/devices/{}", &name, "NATHOS_NEVER"),
    };
    match method {
        "PUT" => asked.based(revision).with(settings),
        "DELETE" => asked.based(revision),
        _ => asked.marked(name),
    }
}

async fn organisation((method, path): (&str, &str), case: Case<'_>) -> Asked {
    let Case { country, of, .. } = case;
    let stored = country.site.registry.organisation(code(of)).await.unwrap();
    let said = country
        .say("GET", &format!("/organisations/{of}"), None, &Value::Null)
        .await;
    match (method, path) {
        ("POST", _) => {
            let number = 100 + country.next() % 800;
            let mut new = said;
            new["code"] = json!(format!("{number:03}"));
            new["key"] = json!(format!("hospital_{number}"));
            new["ae_prefix"] = json!(format!("ORG{number}"));
            Asked::at(path).with(new)
        }
        ("PUT", _) => {
            let asked = Asked::of("/organisations/{}", of, "099");
            let mut settings = said;
            settings.as_object_mut().unwrap().remove("code");
            asked.based(stored.revision).with(settings)
        }
        (_, "/organisations") => Asked::at(path).marked(stored.value.key),
        _ => Asked::of("/organisations/{}", of, "099").marked(stored.value.key),
    }
}

async fn user((method, path): (&str, &str), case: Case<'_>) -> Asked {
    let Case { country, of, .. } = case;
    let reach = Reach::Organisation(code(of));
    let mut settings = json!({
        "display_name": "somebody", "is_doctor": false,
        "grants": [{"role": Role::Operator, "reach": reach}],
    });
    if method == "POST" && path == "/users" {
        settings["name"] = json!(format!("new{of}.{}", country.next()));
        return Asked::at(path).with(settings);
    }
    let (name, revision) = country.user(of).await;
    match (method, path) {
        (_, "/users") => Asked::at("/users?limit=200").marked(name),
        ("GET", _) => Asked::of("/users/{}", &name, "never").marked(name.as_str()),
        (_, "/users/{name}") => Asked::of("/users/{}", &name, "never")
            .based(revision)
            .with(settings),
        (_, "/users/{name}/disabled") => Asked::of("/users/{}/disabled", &name, "never")
            .based(revision)
            .with(json!({"is_disabled": true})),
        (_, "/users/{name}/external") => {
            let (name, revision) = match method {
                "DELETE" => country.linked(of).await,
                _ => (name, revision),
            };
            let identity = json!({"issuer": ISSUER, "subject": name});
            Asked::of("/users/{}/external", &name, "never")
                .based(revision)
                .with(identity)
        }
        ("POST", "/users/{name}/reset") => {
            Asked::of("/users/{}/reset", &name, "never").based(revision)
        }
        _ => panic!("nobody knows how to ask for {method} {path}"),
    }
}

async fn patient((method, path): (&str, &str), case: Case<'_>) -> Asked {
    let Case { country, of, .. } = case;
    let (name, day) = (country.family(), "1990-01-31");
    let said = json!({"name": {"family": name}, "birth_date": day});
    let stored = country.patient().await;
    let own = number(stored.value.key);
    let named = |path: &str| Asked::of(path, &own, &no_patient());
    match (method, path) {
        ("POST", "/patients") => {
            let mut new = said;
            new["is_another"] = json!(true);
            new["organisation"] = json!(of);
            Asked::at(path).with(new)
        }
        ("POST", "/patients/search") => {
            let family = &stored.value.particulars.name.family;
            let search = json!({"text": family, "organisation": of});
            Asked::at(path).with(search).marked(own)
        }
        ("POST", "/patients/unidentified") => Asked::at(path).with(json!({"organisation": of})),
        ("GET", "/patients/{number}") => named("/patients/{}").marked(own.as_str()),
        ("PUT", "/patients/{number}") => named("/patients/{}").based(stored.revision).with(said),
        ("GET", "/patients/{number}/consents") => {
            let consent = country.consent(stored.value.key).await;
            named("/patients/{}/consents").marked(consent)
        }
        ("POST", "/patients/{number}/consents") => {
            let until = consented_until().date_naive().to_string();
            let new = json!({
                "to": "001", "until": until, "ground": "agreement", "reference": "4711",
            });
            named("/patients/{}/consents").with(new)
        }
        ("POST", "/patients/{number}/consents/{consent}/withdrawal") => {
            let consent = country.consent(stored.value.key).await;
            let path = format!("/patients/{own}/consents/{{}}/withdrawal");
            let never = format!("{own}.9");
            Asked::of(&path, &consent, &never).with(json!({ "reason": WHY }))
        }
        ("GET", "/patients/{number}/history") => named("/patients/{}/history"),
        ("POST", "/patients/{number}/merge") => {
            let other = country.patient().await;
            let merge = json!({
                "other": number(other.value.key), "reason": WHY,
                "other_etag": format!("\"{:x}\"", other.revision.0),
            });
            named("/patients/{}/merge")
                .based(stored.revision)
                .with(merge)
        }
        ("POST", "/patients/{number}/unmerge") => {
            let gone = number(country.merged().await);
            let body = json!({ "reason": WHY });
            Asked::of("/patients/{}/unmerge", &gone, &no_patient()).with(body)
        }
        _ => panic!("nobody knows how to ask for {method} {path}"),
    }
}
