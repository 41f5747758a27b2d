//! `pacs import`: files, folders, ZIP archives, file-sets and the storage of an Orthanc, straight
//! into an archive of this machine whose server is stopped.
//!
//! Many deposits run at once, so that many share one sync; each is the same deposit that C-STORE
//! makes, with the same rules for what is refused. The journal lies in the data directory: it can
//! not outlive what it tells of.

use super::Importing;
use super::failure::{Failure, chain};
use super::gather::gather;
use super::journal::Journal;
use super::maintain::open_archive;
use super::output::{Output, Unit};
use super::tally::Tally;
use crate::access::SystemMay;
use crate::directory::Directory;
use crate::recorder::alerts::{Alerts, Told};
use crate::recorder::arrivals::{Arrivals, IMPORT as TASK};
use crate::recorder::programs;
use pacs_core::access::{Store, permit};
use pacs_core::audit::Actor;
use pacs_core::scan::preamble::SuspectPreamble;
use pacs_core::{Action, Caller, Permit};
use pacs_media::{Found, Inspected, MediaLimits, Refused, inspect};
use pacs_store::registry::audit::AuditTrail;
use pacs_store::{Announced, Archive, Cursor, DepositError, Outcome, Receipt};
use pacs_web::record::ProgramSent;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// The file in the data directory that tells what was imported.
const JOURNAL: &str = "import.journal";

/// How often an instance is tried for which the archive has no turn.
const BUSY_COUNT_MAX: u32 = 30;

/// What the depositors share.
struct Shared {
    archive: Archive,
    trail: AuditTrail,
    alerts: Alerts,
    permit: Permit<Store>,
    tally: Arc<Tally>,
    limits: MediaLimits,
    files: AsyncMutex<mpsc::Receiver<Found>>,
    /// Why nothing more can be deposited.
    failed: Mutex<Option<String>>,
    stops: AtomicBool,
}

pub(super) async fn import(importing: &Importing, output: &Output) -> Result<(), Failure> {
    let data = &importing.local.data;
    let archive = open_archive(data).await?;
    let permit = permit::<Store>(&SystemMay(&[Action::Store]), Caller::System { task: TASK });
    let permit = permit.map_err(|denied| Failure::archive(&denied))?;
    let arrivals = arrivals(&archive).await?;
    let cursor = arrivals.cursor().await;
    let cursor = cursor.map_err(|error| Failure::archive(&error))?;
    let path = data.join(JOURNAL);
    let mut journal = Journal::open(&path, "import", importing.restart)
        .map_err(|error| Failure::file(&path, error))?;
    if journal.count() > 0 {
        let text = format!(
            "going on after {} files that were imported before; --restart reads all again",
            journal.count()
        );
        let value = serde_json::json!({ "reason": "resumed", "message": text });
        output.problem(&text, &value);
    }
    let known = journal.take_known();
    let work = output.work("importing", Unit::Bytes, None);
    let report = importing.report.as_deref();
    let tally = Arc::new(Tally::new(output, work, report, Some(journal))?);
    let limits = MediaLimits::default();
    let paths = importing.paths.clone();
    let files = gather(paths, limits, known, &tally, |found, _| Some(found));
    let shared = Arc::new(Shared {
        archive: archive.clone(),
        alerts: Alerts::new(archive.registry().audit_trail()),
        trail: archive.registry().audit_trail(),
        permit,
        tally: Arc::clone(&tally),
        limits,
        files: AsyncMutex::new(files),
        failed: Mutex::default(),
        stops: AtomicBool::new(false),
    });
    deposit_all(&shared, importing.deposits).await;
    let recorded = record(&shared, &arrivals, cursor).await;
    archive.close().await;
    recorded?;
    let failed = shared.failed.lock();
    let failed = failed.unwrap_or_else(PoisonError::into_inner).take();
    finish(&tally, failed, output)
}

/// What records who brought what, from before anything comes.
async fn arrivals(archive: &Archive) -> Result<Arrivals, Failure> {
    let directory = Directory::default();
    let learnt = directory.learn(&archive.registry()).await;
    learnt.map_err(|error| Failure::archive(&error))?;
    Arrivals::new(archive, directory).map_err(|error| Failure::archive(&error))
}

/// Records what came; where that cannot be done, the server does it when it starts.
async fn record(shared: &Shared, arrivals: &Arrivals, mut cursor: Cursor) -> Result<(), Failure> {
    let alerts = shared.alerts.finish().await;
    alerts.map_err(|error| Failure::archive(&error))?;
    let recorded = arrivals.step(&mut cursor).await;
    recorded.map_err(|error| Failure::archive(&error))?;
    Ok(())
}

fn finish(tally: &Tally, failed: Option<String>, output: &Output) -> Result<(), Failure> {
    let counts = tally.counts();
    tally.end(failed.is_none() && counts.refused == 0)?;
    let text = format!(
        "{} imported ({} of them known, {} in conflict), {} refused, {} skipped, {} before",
        counts.stored,
        counts.same,
        counts.conflicts,
        counts.refused,
        counts.skipped,
        counts.already
    );
    let value = serde_json::json!({
        "imported": counts.stored,
        "same": counts.same,
        "conflicts": counts.conflicts,
        "refused": counts.refused,
        "skipped": counts.skipped,
        "already": counts.already,
        "bytes": counts.bytes,
        "seconds": tally.seconds(),
    });
    output.summary(&text, &value);
    if let Some(why) = failed {
        return Err(Failure::Archive(why));
    }
    if counts.refused == 0 {
        return Ok(());
    }
    let count = counts.refused;
    Err(Failure::Partly(format!("{count} files were not imported")))
}

/// Deposits until there are no more files. Depositors block, each on a thread of its own.
async fn deposit_all(shared: &Arc<Shared>, count: u16) {
    let threads: Vec<_> = (0..count.max(1))
        .map(|_| {
            let shared = Arc::clone(shared);
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || depositor(&shared, &runtime))
        })
        .collect();
    for thread in threads {
        if let Err(error) = thread.await {
            shared.fail(error.to_string());
        }
    }
    shared.files.lock().await.close();
}

fn depositor(shared: &Shared, runtime: &Handle) {
    while !shared.stops.load(Ordering::Acquire) {
        let next = runtime.block_on(async { shared.files.lock().await.recv().await });
        let Some(found) = next else {
            return;
        };
        let (mut busy_count, mut is_told) = (0, false);
        while let Err(DepositError::Busy) = deposit(shared, runtime, &found, &mut is_told) {
            busy_count += 1;
            if busy_count >= BUSY_COUNT_MAX {
                return shared.fail(chain(&DepositError::Busy));
            }
        }
    }
}

/// Deposits one file, and tells what became of it. What its preamble may make of it is told before,
/// once: `is_told` then.
///
/// # Errors
/// [`DepositError::Busy`] alone: the archive has no turn now.
fn deposit(
    shared: &Shared,
    runtime: &Handle,
    found: &Found,
    is_told: &mut bool,
) -> Result<(), DepositError> {
    let tally = &shared.tally;
    let mut inspected = match inspect(found, &shared.limits) {
        Ok(inspected) => inspected,
        Err(why) => {
            let place = found.place.clone();
            tally.work.add(found.size_bytes);
            tally.refuse(&Refused { place, why }, found.is_named);
            return Ok(());
        }
    };
    if let Some(preamble) = inspected.preamble.filter(|_| !*is_told) {
        if let Err(why) = shared.tell_of_preamble(runtime, found, (&inspected, &preamble)) {
            shared.fail(why);
            return Ok(());
        }
        *is_told = true;
    }
    let announced = Announced {
        sop_class: inspected.sop_class.clone(),
        sop_instance: inspected.sop_instance.clone(),
        transfer_syntax: inspected.transfer_syntax.clone(),
    };
    let provenance = shared.archive.provenance(shared.permit.caller());
    let begun = shared
        .archive
        .deposit(&shared.permit, announced, provenance);
    let mut unreadable = None;
    let sealed = begun.and_then(|mut deposit| {
        loop {
            match inspected.next_piece(&shared.limits) {
                Ok(Some(piece)) => runtime.block_on(deposit.write(piece))?,
                Ok(None) => {
                    let bytes = deposit.length_bytes();
                    let receipt = runtime.block_on(deposit.seal())?;
                    return Ok(Some((receipt, bytes)));
                }
                Err(why) => {
                    unreadable = Some(why);
                    return Ok(None);
                }
            }
        }
    });
    match sealed {
        Ok(Some((receipt, bytes))) => shared.kept(found, receipt, bytes),
        Ok(None) => {
            if let Some(why) = unreadable {
                let place = found.place.clone();
                tally.refuse(&Refused { place, why }, true);
            }
        }
        Err(DepositError::Busy) => return Err(DepositError::Busy),
        Err(error) => shared.refused(found, &error),
    }
    Ok(())
}

impl Shared {
    fn fail(&self, why: String) {
        self.stops.store(true, Ordering::Release);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(why);
    }

    /// Records that a file has something else than zeros or TIFF in its preamble, and tells it.
    fn tell_of_preamble(
        &self,
        runtime: &Handle,
        found: &Found,
        (inspected, preamble): (&Inspected, &SuspectPreamble),
    ) -> Result<(), String> {
        let sent = ProgramSent {
            preamble,
            study: Some(&inspected.study),
            sop_class: Some(&inspected.sop_class),
            sop_instance: Some(&inspected.sop_instance),
        };
        let event = programs::event(Actor::system(TASK), sent);
        let (key, event) = match self.alerts.judge(event, preamble.kind()) {
            Told::Alone(event) => (None, Some(event)),
            Told::Opening(key, event) => (Some(key), Some(event)),
            Told::Counted => (None, None),
        };
        if let Some(event) = event {
            let told = runtime.block_on(self.trail.commit(Vec::new(), &event));
            told.map_err(|error| chain(&error))?;
        }
        if let Some(key) = key {
            self.alerts.opened(key);
        }
        let text = format!(
            "its preamble may make it a program ({}); zeros are kept in its place",
            preamble.kind()
        );
        self.tally.remark(&found.place, "preamble", &text);
        Ok(())
    }

    fn kept(&self, found: &Found, receipt: Receipt, bytes: u64) {
        match receipt.outcome {
            Outcome::New => {}
            Outcome::Same => self.tally.same(),
            Outcome::Conflict { version } => {
                let text = format!(
                    "its SOP Instance UID is known with other content; kept as version {version}"
                );
                self.tally.remark(&found.place, "conflict", &text);
            }
        }
        self.tally.stored(found.identity, found.size_bytes, bytes);
    }

    /// What is wrong with one instance is told; what is wrong with the archive ends it all.
    fn refused(&self, found: &Found, error: &DepositError) {
        let reason = match error {
            DepositError::NotAnInstance(_) => "not-an-instance",
            DepositError::Rejected => "rejected",
            DepositError::TooLong { .. } => "too-long",
            DepositError::UidMismatch { .. } => "uid-mismatch",
            DepositError::Backend { .. }
            | DepositError::Busy
            | DepositError::Closed
            | DepositError::Full => return self.fail(chain(error)),
        };
        self.tally.work.add(found.size_bytes);
        self.tally
            .refuse_because(&found.place, reason, &chain(error));
    }
}
