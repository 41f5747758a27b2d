//! How the rows of examinations, worklists and studies that wait for one ask.

use super::country::{Made, NO_STUDY, WHY, no_examination, no_patient, number};
use super::{Asked, Case};
use pacs_core::role::Role;
use serde_json::{Value, json};

/// The form of a CT of the head.
fn form() -> Value {
    json!({
        "kind": "ct", "regions": [{"part": "69536005"}], "weight_kg": "70,5",
        "complaints": "боль", "is_meant_twice": true,
    })
}

/// How a route asks; `None` for routes of others.
pub(super) async fn asked((method, path): (&str, &str), case: Case<'_>) -> Option<Asked> {
    let Case { country, of, .. } = case;
    Some(match (method, path) {
        ("GET", "/examinations/counts" | "/examinations/progress") => {
            Asked::at(format!("{path}?organisation={of}"))
        }
        ("GET", "/examinations" | "/worklist") => {
            // Whatever clock the device has.
            let days = if path == "/worklist" {
                "&from=2026-01-01&to=2199-12-31"
            } else {
                ""
            };
            let made = country.scheduled(of).await;
            let query = format!("{path}?limit=200&organisation={of}{days}");
            Asked::at(query).marked(made.id.to_string())
        }
        ("POST", "/examinations") => {
            let mut new = form();
            new["patient"] = json!(number(country.patient().await.value.key));
            new["ordering"] = json!(of);
            new["performing"] = json!(of);
            Asked::at(path).with(new)
        }
        ("GET", "/patients/{number}/examinations") => {
            let made = country.scheduled(of).await;
            let path = "/patients/{}/examinations";
            Asked::of(path, &number(made.patient), &no_patient()).marked(made.id.to_string())
        }
        ("GET", "/unmatched") => {
            let study = country.queued(of).await;
            Asked::at(format!("{path}?limit=200&organisation={of}")).marked(study)
        }
        (_, path) if path.starts_with("/unmatched/") => correction((method, path), case).await,
        (_, path) if path.starts_with("/examinations/{id}") => one((method, path), case).await,
        _ => return None,
    })
}

async fn one((method, path): (&str, &str), case: Case<'_>) -> Asked {
    let Case {
        country,
        column,
        of,
    } = case;
    let why = json!({ "reason": WHY });
    let at = |made: &Made| {
        let path = path.replace("{id}", "{}");
        Asked::of(&path, &made.id.to_string(), &no_examination())
    };
    let act = path.rsplit('/').next().unwrap();
    match (method, act) {
        ("GET", "studies") => {
            let made = country.in_progress(of).await;
            at(&made).marked(made.study.as_str())
        }
        ("GET", _) => {
            let made = country.scheduled(of).await;
            at(&made).marked(made.id.to_string())
        }
        ("PUT", _) => {
            let made = country.scheduled(of).await;
            let revision = country.examination(made.id).await.revision;
            at(&made).based(revision).with(form())
        }
        (_, "assign" | "unassign") => {
            // Whoever reads takes it and gives it back; to others it is for the expert.
            let reads = column.role == Some(Role::Expert);
            let reader = if reads { column.user() } else { "ex" };
            if act == "assign" {
                at(&country.received(of).await).with(json!({ "reader": reader }))
            } else {
                at(&country.assigned(of, reader).await)
            }
        }
        (_, "restrict") => {
            at(&country.scheduled(of).await).with(json!({"named": ["somebody"], "reason": WHY}))
        }
        (_, "unrestrict") => at(&country.scheduled(of).await).with(why),
        (_, "claim") => at(&country.received(of).await),
        (_, "release" | "return") => {
            // Whoever asks has it in work, where their role could.
            let reads = matches!(column.role, Some(Role::Expert | Role::Radiologist));
            let by = if reads { column.user() } else { "reader" };
            let asked = at(&country.held(of, by).await).alone();
            if act == "return" {
                asked.with(why)
            } else {
                asked
            }
        }
        (_, "cancel") => at(&country.scheduled(of).await).with(why),
        (_, "complete") => at(&country.in_progress(of).await),
        (_, "discontinue") => at(&country.in_progress(of).await).with(why),
        (_, "reschedule") => at(&country.discontinued(of).await),
        (_, "reopen") => at(&country.expired(of).await),
        (_, "dismiss-late-images") => at(&country.late(of).await).with(why),
        _ => panic!("nobody knows how to ask for {method} {path}"),
    }
}

async fn correction((method, path): (&str, &str), case: Case<'_>) -> Asked {
    let Case { country, of, .. } = case;
    let act = path.rsplit('/').next().unwrap();
    let why = json!({ "reason": WHY });
    let study = match act {
        "unbind" => country.in_progress(of).await.study,
        "split" => country.of_two_series(of).await.study,
        _ => country.queued(of).await,
    };
    if act == "undo" {
        let until = json!({"until": "2199-01-01T00:00:00Z", "reason": WHY});
        let revision = country.matched(&study).await.revision;
        let path = format!("/unmatched/{study}/postpone");
        country.say("POST", &path, Some(revision), &until).await;
    }
    let path = path.replace("{study}", "{}");
    let asked = Asked::of(&path, &study, NO_STUDY);
    if method == "GET" {
        return asked.marked(study);
    }
    let asked = asked.based(country.matched(&study).await.revision);
    let to = async || country.scheduled(of).await.id.to_string();
    asked.with(match act {
        "bind" => {
            let id = to().await;
            json!({"examination": id, "retyped": id, "reason": WHY})
        }
        "split" => {
            let id = to().await;
            let series = [format!("{study}.2")];
            json!({"series": series, "examination": id, "retyped": id, "reason": WHY})
        }
        "merge" => {
            let (id, other) = (to().await, country.queued(of).await);
            json!({"studies": [other], "examination": id, "retyped": id, "reason": WHY})
        }
        "create" => {
            let patient = number(country.patient().await.value.key);
            json!({
                "patient": patient, "regions": [{"part": "69536005"}],
                "weight_tenths_kg": 705, "reason": WHY,
            })
        }
        "postpone" => json!({"until": "2199-01-01T00:00:00Z", "reason": WHY}),
        "unbind" | "reject" | "undo" => why,
        _ => panic!("nobody knows how to ask for {method} {path}"),
    })
}
