//! The thread that stages a group in the index, while the one that asked syncs the log.
//!
//! The sync is what everybody waits for; so it stays on the thread that commits, and the waking of
//! another thread, which takes as long as a tenth of a sync, happens beside it.

use crate::index::{Index, IndexError, LogPosition, LogRecord, Staged};
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::runtime::Handle;

/// What an index makes of a group.
type Result = std::result::Result<Box<dyn Staged>, IndexError>;

/// Stages one group at a time.
#[derive(Debug)]
pub(super) struct Stager {
    /// Taken away to end the thread.
    groups: Option<mpsc::Sender<(Vec<LogRecord>, LogPosition)>>,
    results: mpsc::Receiver<Result>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Stager {
    /// Waits for the thread: it holds the index, and with it the lock of the data directory, which
    /// has to be free when the archive is closed.
    fn drop(&mut self) {
        self.groups = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, `wait` has told so.
            thread.join().ok();
        }
    }
}

impl Stager {
    pub(super) fn start(index: Arc<dyn Index>, runtime: Handle) -> io::Result<Self> {
        let (groups, queue) = mpsc::channel::<(Vec<LogRecord>, LogPosition)>();
        let (reply, results) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("pacs-stage".to_owned())
            .spawn(move || {
                while let Ok((records, end)) = queue.recv() {
                    if reply
                        .send(runtime.block_on(index.stage(records, end)))
                        .is_err()
                    {
                        break;
                    }
                }
            })?;
        Ok(Self {
            groups: Some(groups),
            results,
            thread: Some(thread),
        })
    }

    /// Begins to stage `records`, which end at `end`. [`Self::wait`] is to be called before the
    /// next.
    pub(super) fn begin(&self, records: Vec<LogRecord>, end: LogPosition) {
        // If the thread is gone, `wait` says so.
        if let Some(groups) = &self.groups {
            groups.send((records, end)).ok();
        }
    }

    /// What became of what was begun.
    pub(super) fn wait(&self) -> Result {
        self.results.recv().unwrap_or_else(|_| {
            Err(IndexError::Backend {
                operation: "stage",
                source: Box::new(io::Error::other("the thread that stages is gone")),
            })
        })
    }
}
