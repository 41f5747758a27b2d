//! How the rows of reports ask.

use super::country::{Country, Made, WHY, no_examination};
use super::{Asked, Case};
use crate::people::{agent, code};
use crate::site::now;
use pacs_core::report::{Language, ReportText};
use pacs_core::role::Role;
use pacs_store::registry::Revision;
use pacs_store::registry::reports::{Recipients, Signing};
use serde_json::json;
use std::collections::BTreeSet;

/// Keeps a draft of whoever has the examination in work.
async fn drafted(country: &Country, (made, of): (&Made, &'static str), by: &str) -> Revision {
    let text = ReportText {
        description: "normal".to_owned(),
        conclusion: "normal".to_owned(),
        ..ReportText::empty(Language::En)
    };
    let author = agent(by, Role::Radiologist, of);
    let registry = &country.site.registry;
    let saved = registry.save_report_draft(&author, made.id, (&text, None), now());
    saved.await.unwrap().revision
}

/// One whose report somebody signed.
async fn signed(country: &Country, of: &'static str, by: &str) -> Made {
    let made = country.held(of, by).await;
    let draft = drafted(country, (&made, of), by).await;
    let number = u8::try_from(country.next() % 256).unwrap();
    let signing = Signing {
        draft,
        author_name: "somebody",
        is_identity_confirmed: true,
        has_seen_late_images: true,
        is_proved: true,
        random: [[number; 16], [number.wrapping_add(1); 16]],
    };
    let author = agent(by, Role::Radiologist, of);
    let registry = &country.site.registry;
    let version = registry.sign_report(&author, made.id, &signing, now());
    version.await.unwrap();
    made
}

/// One whose report was sent to the organisation, which ordered it.
async fn sent(country: &Country, of: &'static str) -> Made {
    let made = signed(country, of, "reader").await;
    let recipients = Recipients {
        further: &BTreeSet::new(),
        reason: None,
        expected: None,
    };
    let author = agent("reader", Role::Radiologist, of);
    let registry = &country.site.registry;
    let sent = registry.send_report(&author, made.id, &recipients, now());
    sent.await.unwrap();
    made
}

/// How a route asks; `None` for routes of others.
pub(super) async fn asked((method, path): (&str, &str), case: Case<'_>) -> Option<Asked> {
    let Case {
        country,
        column,
        of,
    } = case;
    let at = |made: &Made| {
        let path = path.replace("{id}", "{}");
        Asked::of(&path, &made.id.to_string(), &no_examination())
    };
    // Whoever asks wrote it, where their role could.
    let reads = matches!(column.role, Some(Role::Expert | Role::Radiologist));
    let by = if reads { column.user() } else { "reader" };
    Some(match (method, path) {
        ("GET", "/reports") => {
            let made = sent(country, of).await;
            let path = format!("/reports?limit=200&organisation={of}");
            Asked::at(path).marked(made.id.to_string())
        }
        ("GET", "/examinations/{id}/report") => {
            let made = sent(country, of).await;
            at(&made).marked(made.id.to_string())
        }
        ("PUT", "/examinations/{id}/report/draft") => {
            let made = country.held(of, by).await;
            at(&made).alone().with(json!({"language": "ru"}))
        }
        ("POST", "/examinations/{id}/report/sign") => {
            let person = country.fresh(column.role).await;
            let by = if reads {
                person.name.as_str()
            } else {
                "reader"
            };
            let made = country.held(of, by).await;
            let draft = drafted(country, (&made, of), by).await;
            let signature = json!({"is_identity_confirmed": true, "proof": person.password});
            let asked = at(&made).with(signature).based(draft);
            match column.role {
                Some(_) => asked.by(person.shows),
                None => asked.alone(),
            }
        }
        ("POST", "/examinations/{id}/report/revise") => {
            let made = signed(country, of, by).await;
            let taken_up = json!({"revision": "amendment", "reason": WHY});
            at(&made).alone().with(taken_up)
        }
        ("POST", "/examinations/{id}/report/send") => {
            at(&signed(country, of, by).await).alone().with(json!({}))
        }
        ("POST", "/examinations/{id}/report/acknowledge") => {
            let made = sent(country, of).await;
            at(&made).with(json!({"organisation": code(of)}))
        }
        ("GET", "/notices") => Asked::at(path),
        ("DELETE", "/notices/{examination}/{told}") => {
            // The report is another's, and so is what is told of it.
            let made = signed(country, of, "reader").await;
            let at = "/notices/{}/author";
            let asked = Asked::of(at, &made.id.to_string(), &no_examination());
            asked.based(Revision(1))
        }
        _ => return None,
    })
}
