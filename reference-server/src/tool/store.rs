//! `pacs store`: files, all files below folders, ZIP archives and file-sets, to a peer, over
//! several associations.
//!
//! One task finds the files; each association takes the next one when it is free. It proposes the
//! kinds of files that are known when it begins; a file of another kind ends it, and the next one
//! proposes that kind too. A file whose association was lost is sent again on another.

mod feed;

use super::failure::Failure;
use super::gather::gather;
use super::journal::{self, Journal};
use super::output::{Output, Unit};
use super::tally::Tally;
use super::{Connection, Sending};
use feed::{Feed, Sendable, Shared};
use pacs_media::{Found, MediaLimits, Refused, inspect};
use pacs_net::requestor::{RequestorError, StoreResponse};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;

/// Associations that are lost one after the other without anything being sent, until it is given
/// up.
const LOST_COUNT_MAX: u32 = 3;

/// How long is waited before a lost association is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn store(sending: &Sending, output: &Output) -> Result<(), Failure> {
    let mut journal = open_journal(sending, output)?;
    let known = journal.as_mut().map(Journal::take_known);
    let work = output.work("sending", Unit::Bytes, None);
    let tally = Tally::new(output, work, sending.report.as_deref(), journal)?;
    let tally = Arc::new(tally);
    let limits = MediaLimits::default();
    let look = move |found: Found, tally: &Tally| look(found, &limits, tally);
    let files = gather(
        sending.paths.clone(),
        limits,
        known.unwrap_or_default(),
        &tally,
        look,
    );
    let shared = Arc::new(Shared::new(files, Arc::clone(&tally), limits));
    let mut sent = send_all(sending, &shared).await;
    if sent.is_ok() && shared.has_left_over() {
        // Given back by an association that was refused, after the others had ended.
        sent = worker(sending.connection.clone(), Arc::clone(&shared)).await;
    }
    shared.close().await;
    let counts = tally.counts();
    tally.end(sent.is_ok() && counts.refused == 0)?;
    let seconds = tally.seconds();
    let text = format!(
        "{} stored, {} refused, {} skipped, {} stored before",
        counts.stored, counts.refused, counts.skipped, counts.already
    );
    let value = serde_json::json!({
        "stored": counts.stored,
        "refused": counts.refused,
        "skipped": counts.skipped,
        "already": counts.already,
        "bytes": counts.bytes,
        "seconds": seconds,
    });
    output.summary(&text, &value);
    sent?;
    if counts.refused == 0 {
        return Ok(());
    }
    let count = counts.refused;
    Err(Failure::Partly(format!("{count} files were not stored")))
}

async fn send_all(sending: &Sending, shared: &Arc<Shared>) -> Result<(), Failure> {
    let mut workers = JoinSet::new();
    for _ in 0..sending.associations.max(1) {
        workers.spawn(worker(sending.connection.clone(), Arc::clone(shared)));
    }
    let mut result = Ok(());
    while let Some(ended) = workers.join_next().await {
        let ended = ended.unwrap_or_else(|error| Err(Failure::Partly(error.to_string())));
        if ended.is_err() && result.is_ok() {
            result = ended;
            // The others finish the file they are at.
            shared.stops.store(true, Ordering::Release);
        }
    }
    result
}

/// Where the journal of this work is, if anywhere.
fn open_journal(sending: &Sending, output: &Output) -> Result<Option<Journal>, Failure> {
    let peer = &sending.connection.peer;
    let work = format!("store {} {}", peer.title, peer.address);
    let path = match (&sending.journal, journal::folder()) {
        (Some(path), _) => path.clone(),
        (None, Some(folder)) => folder.join(journal_name(&work, &sending.paths)),
        (None, None) => return Ok(None),
    };
    let journal = match Journal::open(&path, &work, sending.restart) {
        Ok(journal) => journal,
        // Only who asked for a journal has to have one.
        Err(_) if sending.journal.is_none() => return Ok(None),
        Err(error) => return Err(Failure::file(&path, error)),
    };
    if journal.count() > 0 {
        let text = format!(
            "going on after {} files that were stored before; --restart sends all",
            journal.count()
        );
        let value = serde_json::json!({ "reason": "resumed", "message": text });
        output.problem(&text, &value);
    }
    Ok(Some(journal))
}

/// One journal for each peer and each set of paths.
fn journal_name(work: &str, paths: &[PathBuf]) -> String {
    let mut hasher = DefaultHasher::new();
    work.hash(&mut hasher);
    for path in paths {
        path.canonicalize()
            .unwrap_or_else(|_| path.clone())
            .hash(&mut hasher);
    }
    format!("store-{:016x}.journal", hasher.finish())
}

/// Looks at a file, so that an association knows what kind to propose.
fn look(found: Found, limits: &MediaLimits, tally: &Tally) -> Option<Sendable> {
    match inspect(&found, limits) {
        Ok(inspected) => Some(Sendable {
            place: found.place,
            identity: found.identity,
            size_bytes: found.size_bytes,
            content: found.content,
            kind: (inspected.sop_class, inspected.transfer_syntax),
            sop_instance: inspected.sop_instance,
            data_set_offset: inspected.data_set_offset,
            data_set_bytes: inspected.data_set_bytes,
        }),
        Err(why) => {
            let place = found.place;
            tally.work.add(found.size_bytes);
            tally.refuse(&Refused { place, why }, found.is_named);
            None
        }
    }
}

/// Sends files over one association after the other until there are no more.
async fn worker(connection: Connection, shared: Arc<Shared>) -> Result<(), Failure> {
    let mut lost_count = 0;
    while let Some(file) = shared.take().await {
        let kinds = shared.kinds(&file.kind);
        let mut builder = connection.builder();
        for (class, transfer_syntax) in &kinds {
            builder = builder.context(class.as_str(), &[transfer_syntax.as_str()]);
        }
        let mut association = match connection.connect(&builder).await {
            Ok(association) => association,
            Err(failure) => {
                shared.give_back(file);
                // A peer may allow fewer associations than we ask for.
                if shared.open_count.load(Ordering::Acquire) > 0 {
                    return Ok(());
                }
                return Err(failure);
            }
        };
        shared.open_count.fetch_add(1, Ordering::AcqRel);
        let mut feed = Feed::new(Arc::clone(&shared), kinds, file);
        let acknowledged = feed.outstanding();
        let mut sent_count = 0_u64;
        let report = |_: &_, response: &Result<StoreResponse, RequestorError>| {
            if acknowledged.answered(response) {
                sent_count += 1;
            }
        };
        let sent = association.store_all(&mut feed, report).await;
        shared.open_count.fetch_sub(1, Ordering::AcqRel);
        feed.give_back();
        match sent {
            Ok(()) => association.release().await?,
            // The file is told already; the association went with it.
            Err(RequestorError::Source(_)) => {}
            Err(error) => {
                lost_count = if sent_count > 0 { 1 } else { lost_count + 1 };
                if lost_count >= LOST_COUNT_MAX {
                    return Err(error.into());
                }
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
        }
        lost_count = 0;
    }
    Ok(())
}
