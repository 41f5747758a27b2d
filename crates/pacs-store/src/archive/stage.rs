//! The thread that stages a group in the index, while the one that asked syncs the log, and shows
//! it there, where the one that asked has been answered with it.
//!
//! The sync is what everybody waits for; so it stays on the thread that commits, and the waking of
//! another thread, which takes as long as a tenth of a sync, happens beside it.

use super::finish::Tools;
use crate::index::{IndexError, LogPosition, LogRecord, Promised, Staged};
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// What an index makes of a group.
type Result = std::result::Result<Box<dyn Staged>, IndexError>;

enum Step {
    Stage(Vec<LogRecord>, LogPosition),
    Show(Box<dyn Promised>),
}

/// Stages one group at a time.
#[derive(Debug)]
pub(super) struct Stager {
    /// Taken away to end the thread.
    steps: Option<mpsc::Sender<Step>>,
    results: mpsc::Receiver<Result>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Stager {
    /// Waits for the thread: it holds the index, and with it the lock of the data directory, which
    /// has to be free when the archive is closed.
    fn drop(&mut self) {
        self.steps = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, `wait` has told so.
            thread.join().ok();
        }
    }
}

impl Stager {
    pub(super) fn start(tools: Arc<Tools>) -> io::Result<Self> {
        let (steps, queue) = mpsc::channel();
        let (reply, results) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("pacs-stage".to_owned())
            .spawn(move || {
                while let Ok(step) = queue.recv() {
                    match step {
                        Step::Stage(records, end) => {
                            let staged = tools.index.stage(records, end);
                            let staged = tools.runtime.block_on(staged);
                            if reply.send(staged).is_err() {
                                break;
                            }
                        }
                        Step::Show(promised) => {
                            // If it fails, the archive has been told.
                            tools.show(promised).ok();
                        }
                    }
                }
            })?;
        Ok(Self {
            steps: Some(steps),
            results,
            thread: Some(thread),
        })
    }

    /// Begins to stage `records`, which end at `end`. [`Self::wait`] is to be called before the
    /// next.
    pub(super) fn begin(&self, records: Vec<LogRecord>, end: LogPosition) {
        // If the thread is gone, `wait` says so.
        if let Some(steps) = &self.steps {
            steps.send(Step::Stage(records, end)).ok();
        }
    }

    /// Shows a group beside what comes next.
    pub(super) fn show(&self, promised: Box<dyn Promised>) {
        // If the thread is gone, the promise is broken, and the index fails whoever asks it.
        if let Some(steps) = &self.steps {
            steps.send(Step::Show(promised)).ok();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail_point::FailPoints;
    use crate::index::memory::MemoryIndex;
    use tokio::sync::watch;

    /// A group that the index cannot show.
    struct Unkept;

    impl Promised for Unkept {
        fn show(self: Box<Self>) -> std::result::Result<(), IndexError> {
            Err(IndexError::Damaged { what: "test" })
        }
    }

    #[tokio::test]
    async fn a_group_that_cannot_be_shown_after_it_was_answered_ends_the_archive() {
        let (failed, mut failure) = watch::channel(false);
        let tools = Tools {
            index: Arc::new(MemoryIndex::new()),
            runtime: tokio::runtime::Handle::current(),
            fail_points: FailPoints::default(),
            visible: watch::channel(LogPosition::default()).0,
            failed,
        };
        let stager = Stager::start(Arc::new(tools)).unwrap();

        stager.show(Box::new(Unkept));

        assert!(*failure.wait_for(|failed| *failed).await.unwrap());
    }
}
