//! How the rows of studies ask: what is taken out of sight, comes back, is erased or sent.

use super::country::{NO_ACT, NO_STUDY, WHY, prefix};
use super::{Asked, Case};
use serde_json::json;

/// How a route asks.
pub(super) async fn asked((method, path): (&str, &str), case: Case<'_>) -> Asked {
    let Case { country, of, .. } = case;
    let why = json!({ "reason": WHY });
    let act = |id: &str| Asked::of(&path.replace("{id}", "{}"), id, NO_ACT);
    let of_study = |study: &str| Asked::of(&path.replace("{study}", "{}"), study, NO_STUDY);
    match (method, path) {
        ("GET", "/studies") => {
            let study = country.in_progress(of).await.study;
            Asked::at(format!("{path}?limit=200&organisation={of}")).marked(study)
        }
        ("GET", "/studies/{study}") => {
            let study = country.in_progress(of).await.study;
            of_study(&study).marked(study)
        }
        ("POST", "/studies/{study}/rejections") => {
            let body = json!({"title": "quality", "reason": WHY});
            of_study(&country.in_progress(of).await.study).with(body)
        }
        ("POST", "/studies/{study}/sendings") => {
            let body = json!({"destination": format!("{}_WS", prefix(of))});
            of_study(&country.in_progress(of).await.study).with(body)
        }
        ("POST", "/studies/{study}/erasure") => of_study(&country.rejected(of).await.0).with(why),
        (_, path) if path.contains("/hold") => hold(method, path, case).await,
        ("GET", "/rejections") => {
            let (_, id) = country.rejected(of).await;
            Asked::at(format!("{path}?limit=200&organisation={of}")).marked(id)
        }
        ("GET", "/rejections/{id}") => {
            let (_, id) = country.rejected(of).await;
            act(&id).marked(id)
        }
        ("GET", "/rejections/{id}/instances") => {
            let (study, id) = country.rejected(of).await;
            act(&id).marked(study)
        }
        ("GET", "/rejections/{id}/instances/{instance}/preview") => {
            let (study, id) = country.rejected(of).await;
            let path = format!("/rejections/{id}/instances/{{}}/preview");
            Asked::of(&path, &format!("{study}.1.1"), NO_STUDY)
        }
        ("POST", "/rejections/{id}/restoration") => act(&country.rejected(of).await.1).with(why),
        ("GET", "/rejection-notes") => {
            let note = country.note(of).await;
            Asked::at(format!("{path}?limit=200&organisation={of}")).marked(note)
        }
        (_, path) if path.starts_with("/rejection-notes/") => note(path, case).await,
        ("GET", "/erasures") => Asked::at(path).marked(country.erasure(of).await),
        ("GET", "/erasures/{id}") => {
            let id = country.erasure(of).await;
            act(&id).marked(id)
        }
        ("POST", "/erasures/{id}/agreement") => act(&country.erasure(of).await),
        ("POST", "/erasures/{id}/giving-up") => act(&country.erasure(of).await).with(why),
        ("GET", "/retention") => Asked::at(path),
        ("PUT", "/retention") => {
            let (policy, revision) = country.site.registry.retention().await.unwrap();
            let revision = revision.unwrap_or(pacs_store::registry::Revision(0));
            // There is one, for all: each sees it as it is then.
            Asked::at(path).based(revision).with(json!(policy)).alone()
        }
        ("GET", "/sendings/{id}") => {
            let id = country.sending(of).await;
            act(&id).marked(id)
        }
        ("DELETE", "/sendings/{id}") => act(&country.sending(of).await),
        _ => panic!("nobody knows how to ask for {method} {path}"),
    }
}

async fn note(path: &str, case: Case<'_>) -> Asked {
    let Case { country, of, .. } = case;
    let note = country.note(of).await;
    let why = json!({ "reason": WHY });
    let never = format!("{NO_STUDY}.9");
    let asked = Asked::of(&path.replace("{instance}", "{}"), &note, &never);
    match path.rsplit('/').next().unwrap() {
        "dismissal" | "rejection" => asked.with(why),
        "reopening" => {
            let path = format!("/rejection-notes/{note}/dismissal");
            country.say("POST", &path, None, &why).await;
            asked
        }
        _ => asked.marked(note),
    }
}

/// How a route of holds asks.
async fn hold(method: &str, path: &str, case: Case<'_>) -> Asked {
    let Case { country, of, .. } = case;
    let study = match (method, path) {
        ("POST", "/studies/{study}/hold") => country.in_progress(of).await.study,
        _ => country.on_hold(of).await,
    };
    let asked = Asked::of(&path.replace("{study}", "{}"), &study, NO_STUDY);
    match method {
        "GET" => asked.marked(study),
        _ => asked.with(json!({ "reason": WHY })),
    }
}
