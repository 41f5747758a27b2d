//! What whoever looks after the machine asks of the audit trail. That it was read is told in it.

use crate::limits::AUDIT_PAGE_BYTES_MAX;
use crate::place;
use crate::signing::{self, PublicKeys};
use chrono::NaiveDate;
use pacs_core::Phi;
use pacs_core::audit::{Act, Actor, AuditEvent};
use pacs_core::patient::PatientKey;
use pacs_store::registry::audit::{Anchor, AuditRecord};
use pacs_store::registry::{Registry, RegistryError};
use serde::{Deserialize, Serialize};

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Records, newest first.
    Page {
        /// About whom; `None`: all.
        patient: Option<PatientKey>,
        /// Before which; `None`: the newest, and that they are read is told.
        before: Option<u64>,
        /// How many at most.
        count_max: usize,
    },
    /// A token is about to be made or taken away: it is recorded.
    Token {
        /// Which of the two.
        act: TokenAct,
        /// Its name.
        name: String,
    },
    /// Read all, and say what is wrong.
    Verify {
        /// What was noted elsewhere.
        noted: Option<String>,
        /// Public keys (PEM) that its signatures are to be of.
        #[serde(default)]
        keys: Option<String>,
    },
}

/// What is done to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenAct {
    /// It is made.
    Created,
    /// It is of no use any more.
    Revoked,
}

/// What comes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Records; none after the last page.
    Page(Vec<AuditRecord>),
    /// It is on record.
    Recorded,
    /// All was read.
    Verified {
        /// Records that are what they were.
        records: u64,
        /// The first thing that is wrong.
        problem: Option<String>,
        /// The last record, to be noted elsewhere.
        anchor: Option<String>,
        /// Signatures that are right, and the day of the last, where keys were given.
        #[serde(default)]
        signed: Option<(u64, Option<NaiveDate>)>,
    },
}

/// Does it.
///
/// # Errors
/// [`RegistryError`].
pub async fn answer(registry: &Registry, asked: Asked) -> Result<Told, RegistryError> {
    let trail = registry.audit_trail();
    match asked {
        Asked::Page {
            patient,
            mut before,
            count_max,
        } => {
            let actor = Actor::system("pacs audit");
            let mut event = AuditEvent::new(Act::AuditRead, place::now(), actor);
            event.object.patient = patient.map(Phi::new);
            trail.commit(Vec::new(), &event).await?;
            loop {
                let page = registry.audit_page(patient, (before, count_max)).await?;
                before = page.next;
                // None is only after the last.
                if !page.records.is_empty() || before.is_none() {
                    let records = page.records.into_iter().map(|about| about.record);
                    return Ok(Told::Page(bounded(records.collect())));
                }
            }
        }
        Asked::Token { act, name } => {
            let actor = Actor::system("pacs token");
            let mut event = AuditEvent::new(Act::UserChanged, place::now(), actor);
            event.object.user = Some(name);
            let code = match act {
                TokenAct::Created => "TOKEN_CREATED",
                TokenAct::Revoked => "TOKEN_REVOKED",
            };
            event.reason = Some(code.to_owned());
            trail.commit(Vec::new(), &event).await?;
            Ok(Told::Recorded)
        }
        Asked::Verify { noted, keys } => {
            let noted = noted.and_then(|noted| noted.parse::<Anchor>().ok());
            let found = trail.verify(noted, |_| {}).await?;
            let mut problem = found.problem.map(|problem| problem.to_string());
            let mut signed = None;
            let keys = keys.map(|keys| PublicKeys::from_pem(keys.as_bytes()));
            match keys {
                // Signatures are of digests, which are to be right first.
                Some(Ok(keys)) if problem.is_none() => {
                    let found = signing::verify(&trail, &keys).await?;
                    problem = found.problem;
                    signed = Some((found.count, found.last));
                }
                Some(Err(error)) => problem = problem.or(Some(error.to_string())),
                Some(Ok(_)) | None => {}
            }
            Ok(Told::Verified {
                signed,
                records: found.records_count,
                problem,
                anchor: found.anchor.map(|anchor| anchor.to_string()),
            })
        }
    }
}

/// As many as fit into a part of an answer; the first one always does.
fn bounded(page: Vec<AuditRecord>) -> Vec<AuditRecord> {
    let mut bytes = 0;
    let mut kept = Vec::new();
    for record in page {
        bytes += serde_json::to_vec(&record).map_or(0, |json| json.len());
        if bytes > AUDIT_PAGE_BYTES_MAX && !kept.is_empty() {
            break;
        }
        kept.push(record);
    }
    kept
}
