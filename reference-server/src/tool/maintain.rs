//! `pacs verify` and `pacs rebuild`: an archive of this machine. A server that has it open verifies
//! it itself.

use super::Local;
use super::backup;
use super::failure::{Failure, chain};
use super::output::{Output, Unit};
use crate::access::MaintenanceOnly;
use pacs_core::access::{Maintain, permit};
use pacs_core::{Caller, Permit};
use pacs_store::{Archive, OpenError, Progress, VerifyReport};
use std::path::Path;

pub(super) async fn verify(local: &Local, output: &Output) -> Result<(), Failure> {
    let archive = match open_here(local).await? {
        Ok(archive) => archive,
        Err(OpenError::Locked) => return backup::verify_served(local, output).await,
        Err(error) => return Err(Failure::archive(&error)),
    };
    let report = verify_open(&archive, local, output).await?;
    archive.close().await;
    let counts = [
        report.versions_count,
        report.bytes,
        report.entries_count,
        report.problems_count,
    ];
    verified(output, counts)
}

/// Verifies an archive that is open here, and tells each problem.
pub(super) async fn verify_open(
    archive: &Archive,
    local: &Local,
    output: &Output,
) -> Result<VerifyReport, Failure> {
    let work = output.work("verifying", Unit::Bytes, packs_bytes(local));
    let shown = work.clone();
    let progress = move |progress: Progress| shown.set(progress.bytes);
    let report = archive.verify(&allowed("pacs verify")?, progress).await;
    let report = report.map_err(|error| Failure::archive(&error))?;
    work.end();
    for problem in &report.problems {
        let text = format!("{problem:?}");
        output.problem(&text, &serde_json::json!({ "problem": text }));
    }
    Ok(report)
}

/// Tells what a verification came to.
pub(super) fn verified(
    output: &Output,
    [instances, bytes, log_entries, problems]: [u64; 4],
) -> Result<(), Failure> {
    let text = format!(
        "{instances} instances read, {bytes} bytes, {log_entries} log entries, {problems} problems"
    );
    let value = serde_json::json!({
        "instances": instances,
        "bytes": bytes,
        "log_entries": log_entries,
        "problems": problems,
    });
    output.summary(&text, &value);
    if problems == 0 {
        return Ok(());
    }
    Err(Failure::Damaged(format!("{problems} problems were found")))
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
pub(super) fn packs_bytes(local: &Local) -> Option<u64> {
    let packs = std::fs::read_dir(local.data.join("packs")).ok()?;
    let sizes = packs.map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
    sizes.sum()
}

pub(super) fn allowed(task: &'static str) -> Result<Permit<Maintain>, Failure> {
    permit(&MaintenanceOnly, Caller::System { task })
        .map_err(|denied| Failure::Archive(denied.to_string()))
}

/// A folder that is no archive is not made one.
pub(super) async fn open_here(local: &Local) -> Result<Result<Archive, OpenError>, Failure> {
    if !local.data.join("FORMAT").is_file() {
        return Err(Failure::file(&local.data, "no archive is here"));
    }
    Ok(crate::local::open(&local.data).await)
}

pub(super) async fn open(local: &Local) -> Result<Archive, Failure> {
    open_here(local).await?.map_err(|error| not_open(&error))
}

/// Opens the archive in `directory`, or makes one there.
pub(super) async fn open_archive(directory: &Path) -> Result<Archive, Failure> {
    let opened = crate::local::open(directory).await;
    opened.map_err(|error| not_open(&error))
}

fn not_open(error: &OpenError) -> Failure {
    let is_running = matches!(error, OpenError::Locked);
    let advice = if is_running {
        "; stop the server first"
    } else {
        ""
    };
    Failure::Archive(format!("{}{advice}", chain(error)))
}
