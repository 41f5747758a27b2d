//! `pacs verify` and `pacs rebuild`: an archive of this machine whose server is stopped.

use super::failure::Failure;
use super::{Local, out, warn};
use crate::access::MaintenanceOnly;
use pacs_core::access::{Maintain, permit};
use pacs_core::{Caller, Permit};
use pacs_store::{Archive, OpenError};
use std::error::Error;

pub(super) async fn verify(local: &Local) -> Result<(), Failure> {
    let archive = open(local).await?;
    let report = archive.verify(&allowed("pacs verify")?, |_| {}).await;
    let report = report.map_err(|error| Failure::Archive(chain(&error)))?;
    archive.close().await;
    for problem in &report.problems {
        warn(&format!("{problem:?}"));
    }
    out(&format!(
        "{} instances read, {} bytes, {} log entries, {} problems",
        report.versions_count, report.bytes, report.entries_count, report.problems_count
    ));
    if report.is_clean() {
        Ok(())
    } else {
        Err(Failure::Archive(format!(
            "{} problems were found",
            report.problems_count
        )))
    }
}

pub(super) async fn rebuild(local: &Local) -> Result<(), Failure> {
    let archive = open(local).await?;
    let progress = archive.rebuild(&allowed("pacs rebuild")?, |_| {}).await;
    let progress = progress.map_err(|error| Failure::Archive(chain(&error)))?;
    archive.close().await;
    out(&format!(
        "{} log entries replayed, {} damaged",
        progress.entries_count, progress.damaged_count
    ));
    if progress.damaged_count == 0 {
        Ok(())
    } else {
        Err(Failure::Archive(format!(
            "{} entries are damaged",
            progress.damaged_count
        )))
    }
}

fn allowed(task: &'static str) -> Result<Permit<Maintain>, Failure> {
    permit(&MaintenanceOnly, Caller::System { task })
        .map_err(|denied| Failure::Archive(denied.to_string()))
}

/// A folder that is no archive is not made one.
async fn open(local: &Local) -> Result<Archive, Failure> {
    if !local.data.join("FORMAT").is_file() {
        return Err(Failure::file(&local.data, "no archive is here"));
    }
    crate::local::open(&local.data).await.map_err(|error| {
        let is_running = matches!(error, OpenError::Locked);
        let advice = if is_running {
            "; stop the server first"
        } else {
            ""
        };
        Failure::Archive(format!("{}{advice}", chain(&error)))
    })
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
