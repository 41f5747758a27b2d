//! `pacs audit`: the audit trail of an archive. A server that has it open reads it itself.

use super::backup::{ask, expect, unexpected};
use super::failure::{Failure, chain};
use super::maintain;
use super::output::Output;
use super::{AuditCommand, AuditListing, Local};
use crate::control::audit::{Asked, Told, answer};
use crate::control::{Reply, Request};
use crate::limits::AUDIT_PAGE_COUNT;
use crate::signing::PublicKeys;
use crate::tls::read_pem;
use pacs_core::Phi;
use pacs_core::audit::{Outcome, message};
use pacs_core::patient::PatientKey;
use pacs_store::registry::audit::{Anchor, AuditRecord};
use pacs_store::{Archive, OpenError};
use serde_json::json;
use std::path::Path;

/// Who reads the trail.
enum Reader<'a> {
    Here(Archive),
    Served(&'a Path),
}

pub(super) async fn audit(command: &AuditCommand, output: &Output) -> Result<(), Failure> {
    let local = match command {
        AuditCommand::List(AuditListing { local, .. }) | AuditCommand::Verify { local, .. } => {
            local
        }
    };
    let reader = reader(local).await?;
    let done = match command {
        AuditCommand::List(listing) => list(listing, &reader, output).await,
        AuditCommand::Verify {
            noted, signed_by, ..
        } => verify((noted.as_ref(), signed_by.as_deref()), &reader, output).await,
    };
    if let Reader::Here(archive) = reader {
        archive.close().await;
    }
    done
}

async fn reader(local: &Local) -> Result<Reader<'_>, Failure> {
    match maintain::open_here(local).await? {
        Ok(archive) => Ok(Reader::Here(archive)),
        Err(OpenError::Locked) => Ok(Reader::Served(&local.data)),
        Err(error) => Err(Failure::archive(&error)),
    }
}

impl Reader<'_> {
    async fn ask(&self, asked: Asked) -> Result<Told, Failure> {
        match self {
            Self::Here(archive) => {
                let told = answer(&archive.registry(), asked).await;
                told.map_err(|error| Failure::archive(&error))
            }
            Self::Served(data) => {
                let mut answered = ask(data, Request::Audit(asked)).await?;
                let reply = expect(&mut answered).await?;
                if let Reply::Audit(told) = reply {
                    return Ok(*told);
                }
                Err(unexpected(&reply))
            }
        }
    }
}

/// Reads a patient's number.
pub(super) fn parse_patient(text: &str) -> Result<Phi<PatientKey>, String> {
    PatientKey::parse(text)
        .map(Phi::new)
        .map_err(|error| error.to_string())
}

async fn list(listing: &AuditListing, reader: &Reader<'_>, output: &Output) -> Result<(), Failure> {
    let mut left = listing.count;
    let mut before = listing.before;
    let mut count = 0_u64;
    if !listing.message {
        output.note("NUMBER\tTIME\tWHO\tWHAT\tOUTCOME\tON\tWHY");
    }
    while left > 0 {
        let asked = Asked::Page {
            patient: listing.patient.map(Phi::into_inner),
            before,
            count_max: left.min(AUDIT_PAGE_COUNT),
        };
        let Told::Page(page) = reader.ask(asked).await? else {
            break;
        };
        let Some(last) = page.last() else {
            break;
        };
        before = Some(last.number);
        left = left.saturating_sub(page.len());
        for record in &page {
            count = count.saturating_add(1);
            show(record, listing.message, output);
        }
    }
    output.summary("", &json!({ "count": count }));
    Ok(())
}

fn show(record: &AuditRecord, is_message: bool, output: &Output) {
    if is_message {
        let text = message(&record.event, "PACS");
        output.result(&text, &json!({ "number": record.number, "message": text }));
        return;
    }
    let event = &record.event;
    let object = &event.object;
    let patient = event.patients().map(|key| key.to_string());
    let mut on: Vec<String> = patient.collect();
    on.extend(object.examination.map(|id| id.to_string()));
    on.extend(object.studies.iter().map(|study| study.study.to_string()));
    let named = [&object.user, &object.node, &object.report, &object.setting];
    on.extend(named.into_iter().flatten().cloned());
    let outcome = match event.outcome {
        Outcome::Success => "done",
        Outcome::MinorFailure => "refused",
        Outcome::SeriousFailure => "refused seriously",
        Outcome::MajorFailure => "failed",
    };
    let text = [
        record.number.to_string(),
        event.at.to_rfc3339(),
        event.actor.name.clone(),
        event.act.name(),
        outcome.to_owned(),
        on.join(" "),
        event.reason.clone().unwrap_or_default(),
    ];
    // What came from outside does not move the cursor of a terminal.
    let text = text
        .join("\t")
        .replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
    output.result(&text, record);
}

async fn verify(
    (noted, signed_by): (Option<&Anchor>, Option<&Path>),
    reader: &Reader<'_>,
    output: &Output,
) -> Result<(), Failure> {
    let noted = noted.map(Anchor::to_string);
    let keys = match signed_by {
        Some(path) => {
            let text = read_pem(path).map_err(|error| Failure::file(path, chain(&error)))?;
            PublicKeys::from_pem(&text).map_err(|error| Failure::file(path, error))?;
            Some(String::from_utf8_lossy(&text).into_owned())
        }
        None => None,
    };
    let Told::Verified {
        records,
        problem,
        anchor,
        signed,
    } = reader.ask(Asked::Verify { noted, keys }).await?
    else {
        return Err(Failure::Archive(
            "the server answered something else".to_owned(),
        ));
    };
    let mut value = json!({ "records": records, "problem": problem, "anchor": anchor });
    if let Some((count, last)) = signed {
        value["signatures"] = json!(count);
        value["last_signed"] = json!(last);
    }
    if let Some(problem) = problem {
        output.problem(&problem, &json!({ "problem": problem }));
        output.summary(&format!("{records} records are what they were"), &value);
        return Err(Failure::Damaged(format!("audit trail: {problem}")));
    }
    let anchor = anchor.map(|anchor| format!("; note elsewhere: {anchor}"));
    let signed = signed.map(|(count, last)| {
        let last = last.map_or_else(|| "-".to_owned(), |day| day.to_string());
        format!("; {count} signatures, the last of {last}")
    });
    let text = format!(
        "{records} records, all as they were{}{}",
        signed.unwrap_or_default(),
        anchor.unwrap_or_default()
    );
    output.summary(&text, &value);
    Ok(())
}
