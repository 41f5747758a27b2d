//! `pacs verify` and `pacs rebuild`: an archive of this machine whose server is stopped.

use super::Local;
use super::failure::{Failure, chain};
use super::output::{Output, Unit};
use crate::access::MaintenanceOnly;
use pacs_core::access::{Maintain, permit};
use pacs_core::{Caller, Permit};
use pacs_store::{Archive, OpenError, Progress};

pub(super) async fn verify(local: &Local, output: &Output) -> Result<(), Failure> {
    let archive = open(local).await?;
    let work = output.work("verifying", Unit::Bytes, packs_bytes(local));
    let shown = work.clone();
    let progress = move |progress: Progress| shown.set(progress.bytes);
    let report = archive.verify(&allowed("pacs verify")?, progress).await;
    let report = report.map_err(|error| Failure::archive(&error))?;
    archive.close().await;
    work.end();
    for problem in &report.problems {
        let text = format!("{problem:?}");
        output.problem(&text, &serde_json::json!({ "problem": text }));
    }
    let text = format!(
        "{} instances read, {} bytes, {} log entries, {} problems",
        report.versions_count, report.bytes, report.entries_count, report.problems_count
    );
    let value = serde_json::json!({
        "instances": report.versions_count,
        "bytes": report.bytes,
        "log_entries": report.entries_count,
        "problems": report.problems_count,
    });
    output.summary(&text, &value);
    if report.is_clean() {
        return Ok(());
    }
    let count = report.problems_count;
    Err(Failure::Damaged(format!("{count} problems were found")))
}

pub(super) async fn rebuild(local: &Local, output: &Output) -> Result<(), Failure> {
    let archive = open(local).await?;
    let work = output.work("rebuilding", Unit::Bytes, packs_bytes(local));
    let shown = work.clone();
    let told = move |progress: Progress| shown.set(progress.bytes);
    let progress = archive.rebuild(&allowed("pacs rebuild")?, told).await;
    let progress = progress.map_err(|error| Failure::archive(&error))?;
    archive.close().await;
    work.end();
    let (entries, damaged) = (progress.entries_count, progress.damaged_count);
    let value = serde_json::json!({ "log_entries": entries, "damaged": damaged });
    let text = format!("{entries} log entries replayed, {damaged} damaged");
    output.summary(&text, &value);
    if damaged == 0 {
        return Ok(());
    }
    Err(Failure::Damaged(format!("{damaged} entries are damaged")))
}

/// How much there is to read, where that can be told.
fn packs_bytes(local: &Local) -> Option<u64> {
    let packs = std::fs::read_dir(local.data.join("packs")).ok()?;
    let sizes = packs.map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    sizes.sum()
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
