//! `pacs backup`, `pacs restore` and `pacs repair`.
//!
//! The packs are read and written here, beside the server where one is running: it is only asked up
//! to where they do not change any more ([`crate::control`]).

use super::Local;
use super::failure::Failure;
use super::maintain::{self, allowed};
use super::output::{Output, Unit, Work};
use super::owner;
use crate::control::{Asked, Reply, Request};
use crate::upkeep::now_unix_ms;
use pacs_store::backup::{self, Backup, CopyProgress, Document, Made};
use pacs_store::disk::{Disk, OsDisk};
use pacs_store::index::{Committed, LogPosition};
use pacs_store::repair;
use pacs_store::{Archive, BackupError, OpenError};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

/// What a data directory may hold before a backup is restored to it.
const EMPTY: [&str; 2] = ["lost+found", "LOCK"];

/// Documents that wait to be written.
const WAITING_COUNT: usize = 64;

/// The archive that is backed up or repaired.
enum Source {
    /// Its server is stopped, and it is open here.
    Here(Archive),
    /// Its server has it open.
    Served(PathBuf),
}

impl Source {
    async fn open(local: &Local) -> Result<Self, Failure> {
        if !local.data.join("FORMAT").is_file() {
            return Err(Failure::file(&local.data, "no archive is here"));
        }
        match crate::local::open(&local.data).await {
            Ok(archive) => Ok(Self::Here(archive)),
            Err(OpenError::Locked) => Ok(Self::Served(local.data.clone())),
            Err(error) => Err(Failure::archive(&error)),
        }
    }

    /// The documents, then up to where the packs can be copied.
    async fn point(
        &self,
        document: impl Fn(Document) + Send + 'static,
    ) -> Result<Committed, Failure> {
        let archive = match self {
            Self::Here(archive) => archive,
            Self::Served(data) => return asked_point(data, document).await,
        };
        let permit = allowed("pacs backup")?;
        let take = move |kind: &str, record| {
            document(Document::new(kind, record));
            true
        };
        let taken = archive.documents(&permit, Box::new(take)).await;
        taken.map_err(|error| Failure::archive(&error))?;
        let committed = archive.committed(&permit).await;
        committed.map_err(|error| Failure::archive(&error))
    }

    /// Tells whoever has the archive open, and closes it where that is here.
    async fn end(self, made: Option<Made>) -> Result<(), Failure> {
        match self {
            Self::Here(archive) => {
                let permit = allowed("pacs backup")?;
                if let Some(made) = made {
                    let noted = archive.note_backup(&permit, made).await;
                    noted.map_err(|error| Failure::archive(&error))?;
                }
                archive.close().await;
            }
            Self::Served(data) => {
                let request = made.map_or(Request::Repaired, Request::Made);
                let mut asked = ask(&data, request).await?;
                expect(&mut asked).await?;
            }
        }
        Ok(())
    }
}

/// Asks the server that has `data` open.
pub(super) async fn ask(data: &Path, request: Request) -> Result<Asked, Failure> {
    Asked::new(data, request).await.map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::PermissionDenied {
            "in use by a process of another user: run this as that user, or as root"
        } else {
            "in use by another process that does not answer"
        };
        Failure::Archive(format!("data directory is {why}: {error}"))
    })
}

/// The next part of an answer, which is no failure.
pub(super) async fn expect(asked: &mut Asked) -> Result<Reply, Failure> {
    match asked.next().await {
        Ok(Some(Reply::Failed { why })) => Err(Failure::Archive(why)),
        Ok(Some(reply)) => Ok(reply),
        Ok(None) => Err(Failure::Archive("the server ended".to_owned())),
        Err(error) => Err(Failure::Archive(format!(
            "the server did not answer: {error}"
        ))),
    }
}

async fn asked_point(data: &Path, document: impl Fn(Document)) -> Result<Committed, Failure> {
    let mut asked = ask(data, Request::Point).await?;
    loop {
        match expect(&mut asked).await? {
            Reply::Document(found) => document(found),
            Reply::Point(committed) => return Ok(committed),
            other @ (Reply::Accounts(_)
            | Reply::Audit(_)
            | Reply::Done
            | Reply::Failed { .. }
            | Reply::Imported(_)
            | Reply::Problem(_)
            | Reply::Progress { .. }
            | Reply::Sending(_)
            | Reply::Verified { .. }) => return Err(unexpected(&other)),
        }
    }
}

pub(super) fn unexpected(reply: &Reply) -> Failure {
    Failure::Archive(format!("the server answered something else: {reply:?}"))
}

fn failed(error: BackupError) -> Failure {
    Failure::archive(&error)
}

fn disk(directory: &Path) -> Result<Arc<dyn Disk>, Failure> {
    match OsDisk::open(directory) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(error) => Err(Failure::file(directory, error)),
    }
}

/// A folder that is there.
fn disk_of(folder: &Path) -> Result<Arc<dyn Disk>, Failure> {
    if !folder.is_dir() {
        return Err(Failure::file(folder, "no folder is here"));
    }
    disk(folder)
}

/// Runs what reads and writes for long.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(failed),
        Err(error) => Err(Failure::Archive(error.to_string())),
    }
}

fn shown(work: &Work) -> impl FnMut(CopyProgress) + Send + 'static {
    let work = work.clone();
    move |progress| {
        work.set_total(progress.total_bytes);
        work.set(progress.bytes);
    }
}

/// Refuses a folder in the archive, and an archive in the folder.
fn refuse_nested(data: &Path, to: &Path) -> Result<(), Failure> {
    let full = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (data, to) = (full(data), full(to));
    if data.starts_with(&to) || to.starts_with(&data) {
        let text = "the folder of the backup and the data directory may not be in one another";
        return Err(Failure::CommandLine(text.to_owned()));
    }
    Ok(())
}

pub(super) async fn backup(
    local: &Local,
    to: &Path,
    is_checked: bool,
    output: &Output,
) -> Result<(), Failure> {
    let source = Source::open(local).await?;
    let folder = disk(to)?;
    refuse_nested(&local.data, to)?;
    let opened = Arc::clone(&folder);
    let mut backup = blocking(move || Backup::open(opened)).await?;
    let (documents, waiting) = mpsc::sync_channel(WAITING_COUNT);
    let writing = tokio::task::spawn_blocking(move || {
        for document in waiting {
            backup.document(&document)?;
        }
        Ok(backup)
    });
    let committed = source.point(move |document| {
        // Where it is not taken, the writing has failed, and says so.
        documents.send(document).ok();
    });
    let committed = committed.await?;
    let written: Result<Backup, BackupError> = match writing.await {
        Ok(written) => written,
        Err(error) => return Err(Failure::Archive(error.to_string())),
    };
    let backup = written.map_err(failed)?;
    let work = output.work("copying", Unit::Bytes, Some(0));
    let progress = shown(&work);
    let archive = disk(&local.data)?;
    let unix_ms = now_unix_ms();
    let copy = move || backup.copy(&*archive, committed, unix_ms, progress);
    let report = blocking(copy).await?;
    work.end();
    let committed = report.committed;
    source.end(Some(Made { unix_ms, committed })).await?;
    for (pack, offset) in &report.damaged {
        let text = format!("pack {pack} is damaged at {offset}, in the archive");
        output.problem(&text, &json!({ "pack": pack, "offset": offset }));
    }
    let mut rotten = 0;
    if is_checked {
        rotten = check(&folder, output).await?;
    }
    let text = format!(
        "{} bytes copied up to change {}; the backup has {} files, {} bytes",
        report.copied_bytes, committed.change.0, report.files_count, report.total_bytes
    );
    let value = json!({
        "change": committed.change.0,
        "copied_bytes": report.copied_bytes,
        "files": report.files_count,
        "bytes": report.total_bytes,
        "damaged": report.damaged_count,
        "damaged_files": rotten,
    });
    output.summary(&text, &value);
    if rotten > 0 {
        return Err(Failure::Damaged(format!(
            "{rotten} files of the backup are damaged"
        )));
    }
    match report.damaged_count {
        0 => Ok(()),
        count => Err(Failure::Damaged(format!(
            "{count} places that were copied are damaged"
        ))),
    }
}

/// Reads all of a backup; how many files are damaged.
async fn check(folder: &Arc<dyn Disk>, output: &Output) -> Result<usize, Failure> {
    let work = output.work("checking", Unit::Bytes, Some(0));
    let progress = shown(&work);
    let folder = Arc::clone(folder);
    let damaged = blocking(move || backup::check(&*folder, progress)).await?;
    work.end();
    for file in &damaged {
        let text = format!("{file} of the backup is not as it was copied");
        output.problem(&text, &json!({ "file": file }));
    }
    Ok(damaged.len())
}

pub(super) async fn restore(from: &Path, to: &Path, output: &Output) -> Result<(), Failure> {
    let folder = disk_of(from)?;
    let target = disk(to)?;
    refuse_nested(to, from)?;
    refuse_used(to)?;
    owner::follow(from, to).map_err(|error| Failure::file(to, error))?;
    let work = output.work("copying", Unit::Bytes, Some(0));
    let progress = shown(&work);
    let restored = blocking(move || backup::restore(&*folder, target, progress)).await?;
    work.end();
    for file in &restored.damaged {
        let text = format!("{file} of the backup is not as it was copied");
        output.problem(&text, &json!({ "file": file }));
    }
    let local = Local {
        data: to.to_owned(),
    };
    let archive = maintain::open(&local).await?;
    let committed = archive.committed(&allowed("pacs restore")?).await;
    let committed = committed.map_err(|error| Failure::archive(&error))?;
    let report = maintain::verify_open(&archive, &local, output).await?;
    archive.close().await;
    let (expected, change) = (restored.committed.change.0, committed.change.0);
    let text = format!(
        "{} files, {} bytes restored up to change {change}; {} instances read, {} problems",
        restored.files_count, restored.bytes, report.versions_count, report.problems_count
    );
    let value = json!({
        "change": change,
        "made_unix_ms": restored.made_unix_ms,
        "files": restored.files_count,
        "bytes": restored.bytes,
        "instances": report.versions_count,
        "problems": report.problems_count,
        "damaged_files": restored.damaged.len(),
    });
    output.summary(&text, &value);
    if !report.is_clean() || !restored.damaged.is_empty() || change != expected {
        let text = format!("the archive that was backed up had come to change {expected}");
        return Err(Failure::Damaged(text));
    }
    Ok(())
}

/// A place with anything in it is not restored to, unless a restoration was interrupted there.
fn refuse_used(to: &Path) -> Result<(), Failure> {
    if to.join("RESTORING").is_file() {
        return Ok(());
    }
    let entries = std::fs::read_dir(to).map_err(|error| Failure::file(to, error))?;
    for entry in entries {
        let name = entry.map_err(|error| Failure::file(to, error))?.file_name();
        let is_nothing = name.to_str().is_some_and(|name| EMPTY.contains(&name));
        if !is_nothing && name != "RESTORING.new" {
            return Err(Failure::file(to, "is not empty"));
        }
    }
    Ok(())
}

pub(super) async fn repair(local: &Local, from: &Path, output: &Output) -> Result<(), Failure> {
    let copy = disk_of(from)?;
    refuse_nested(&local.data, from)?;
    if !local.data.join("FORMAT").is_file() {
        return Err(Failure::file(&local.data, "no archive is here"));
    }
    let (source, end) = match crate::local::open(&local.data).await {
        // The last pack has lost its end: what the index knows is looked for.
        Err(OpenError::IndexAhead { index }) => (None, Some(index)),
        Err(OpenError::Locked) => (Some(Source::Served(local.data.clone())), None),
        Ok(archive) => (Some(Source::Here(archive)), None),
        Err(error) => return Err(Failure::archive(&error)),
    };
    let end = match (end, &source) {
        (None, Some(source)) => source.point(|_| ()).await?.position,
        (end, _) => end.unwrap_or_default(),
    };
    let report = repair_packs(local, copy, end, output).await?;
    if let Some(source) = source {
        source.end(None).await?;
    }
    for (pack, offset) in &report.unrepaired {
        let text = format!("pack {pack} is still damaged at {offset}");
        output.problem(&text, &json!({ "pack": pack, "offset": offset }));
    }
    let (damaged, repaired) = (report.damaged_count, report.repaired_count);
    let text = format!("{damaged} places were damaged, {repaired} are as they were");
    let value = json!({
        "log_entries": report.entries_count,
        "damaged": damaged,
        "repaired": repaired,
    });
    output.summary(&text, &value);
    if report.is_clean() {
        return Ok(());
    }
    let count = damaged.saturating_sub(repaired);
    Err(Failure::Damaged(format!(
        "{count} places are still damaged"
    )))
}

async fn repair_packs(
    local: &Local,
    copy: Arc<dyn Disk>,
    end: LogPosition,
    output: &Output,
) -> Result<repair::RepairReport, Failure> {
    let work = output.work("repairing", Unit::Bytes, maintain::packs_bytes(local));
    let shown = work.clone();
    let archive = disk(&local.data)?;
    let report = blocking(move || {
        repair::repair(&*archive, end, &*copy, move |progress| {
            shown.set(progress.bytes)
        })
    });
    let report = report.await?;
    work.end();
    Ok(report)
}

/// Has the server that has the archive open verify it.
pub(super) async fn verify_served(local: &Local, output: &Output) -> Result<(), Failure> {
    let mut asked = ask(&local.data, Request::Verify).await?;
    let work = output.work("verifying", Unit::Bytes, maintain::packs_bytes(local));
    loop {
        match expect(&mut asked).await? {
            Reply::Progress { bytes } => work.set(bytes),
            Reply::Problem(text) => output.problem(&text, &json!({ "problem": text })),
            Reply::Verified {
                instances,
                bytes,
                log_entries,
                problems,
            } => {
                work.end();
                return maintain::verified(output, [instances, bytes, log_entries, problems]);
            }
            other @ (Reply::Accounts(_)
            | Reply::Audit(_)
            | Reply::Document(_)
            | Reply::Done
            | Reply::Failed { .. }
            | Reply::Imported(_)
            | Reply::Point(_)
            | Reply::Sending(_)) => {
                return Err(unexpected(&other));
            }
        }
    }
}
