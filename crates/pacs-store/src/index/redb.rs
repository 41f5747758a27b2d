//! The embedded index: one redb file.
//!
//! Groups are committed without waiting for the disk, for the log gives them again;
//! [`Index::flush`] makes them durable together with the position in the log up to which they
//! reach. After a crash the file is as of the last flush, whole, and opens without being read
//! through. It can be deleted while nobody has it open: the packs fill a new one.
//!
//! Rows are small and few: three for an instance, and those of its study and series once for a
//! group. Names, IDs, dates and UIDs of studies are found by keys of [`pacs_core::fold`]; what they
//! find is matched by [`pacs_core::matching`], which alone decides. Format:
//! `docs/on-disk-format.md`.

mod budget;
mod codec;
mod fault;
mod gate;
mod group;
mod kept_rows;
mod plan;
mod rows;
mod search;
mod staged;
mod state;
mod tables;
mod view;

use super::{
    Applied, Change, ChangeNumber, Committed, Digest, Doomed, Index, IndexError, Location,
    LogPosition, LogRecord, Match, Notes, Page, PageOfMatches, Quota, Results, Staged,
    StoredInstance, Versions, page,
};
use crate::directory::DataDirectory;
use crate::limits::{
    LONG_SEARCH_WAIT_MAX, LONG_SEARCHES_MAX, LONG_SEARCHES_OF_CALLER_MAX, SEARCH_ROWS_MAX,
};
use crate::redb_file::{self, Held, Space, begin_durable};
use crate::shares::Shares;
use async_trait::async_trait;
use budget::Budget;
use fault::{Fault, attempt};
use gate::Gate;
use group::notes::NOTED;
use group::{Finished, Group};
use kept_rows::KeptRows;
use pacs_core::{Level, Matching, Query, SopInstanceUid, StudyUid};
use plan::Plan;
use redb::{Durability, ReadableDatabase, WriteTransaction};
use staged::{StagedGroup, StagedInRedb};
use state::{add_tables, create_tables, put_state, read_state};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tables::Counters;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use view::{View, has};

/// How a [`RedbIndex`] works.
#[derive(Debug, Clone)]
pub struct RedbOptions {
    /// Bytes of pages that are kept in memory. Beyond them pages are read from the system's cache,
    /// or the disk.
    pub cache_bytes: usize,
    /// Candidates that are gathered by a key for a page of a search. Where every key has more, so
    /// much is to be found that the page is likely full after a look at the newest studies.
    pub gathered_max: usize,
    /// Rows that one search may look at: what would need more is refused.
    pub rows_max: u64,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 16 << 20,
            gathered_max: 4_096,
            rows_max: SEARCH_ROWS_MAX,
        }
    }
}

/// Its name in the data directory.
const FILE: &str = "index.redb";

/// Bytes of rows of studies that are kept beside the pages.
const KEPT_ROWS_BYTES_MAX: usize = 16 << 20;

/// Rows that are read without leaving the thread: some two milliseconds. What needs more goes to a
/// thread that may wait.
const ROWS_INLINE: u64 = 2_000;

/// Records that are staged without leaving the thread.
const RECORDS_INLINE: usize = 64;

/// An [`Index`] in one redb file.
#[derive(Debug)]
pub struct RedbIndex {
    inner: Arc<Inner>,
    directory: DataDirectory,
    /// Whose turn it is to write.
    turn: Arc<Turn<()>>,
    /// Searches that go on for long take turns.
    long_searches: Shares,
    gathered_max: usize,
    rows_max: u64,
}

#[derive(Debug)]
struct Inner {
    database: Held,
    kept: Arc<KeptRows>,
    space: Arc<Space>,
    /// What is committed, and up to where that is durable.
    progress: Mutex<Progress>,
    /// Set after a failed commit: what the file then holds is known only to whoever opens it anew.
    has_failed: AtomicBool,
    /// Closed while a group is promised and not yet shown.
    gate: Gate,
    /// Set where a promised group could not be shown.
    is_broken: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    committed: Counters,
    durable: LogPosition,
    /// Whether something was committed since the last flush.
    is_ahead: bool,
}

impl RedbIndex {
    /// Opens the index of `directory`, or begins it. One at a time: the directory is locked against
    /// other processes, not against this one.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] where the file is none of this version or cannot be read: delete it
    /// and open the archive again. [`IndexError::Backend`] where the disk fails.
    pub fn open(directory: &DataDirectory, options: &RedbOptions) -> Result<Self, IndexError> {
        attempt("open", || {
            let fill = |transaction: &WriteTransaction| create_tables(transaction);
            let (database, space) = redb_file::open(directory, FILE, options.cache_bytes, fill)?;
            add_tables(&database)?;
            let committed = read_state(&database)?;
            let progress = Progress {
                committed,
                durable: committed.position,
                is_ahead: false,
            };
            let inner = Inner {
                database: Held::new(database),
                kept: Arc::new(KeptRows::new(KEPT_ROWS_BYTES_MAX)),
                space,
                progress: Mutex::new(progress),
                has_failed: AtomicBool::new(false),
                gate: Gate::default(),
                is_broken: AtomicBool::new(false),
            };
            Ok(Self {
                inner: Arc::new(inner),
                directory: directory.clone(),
                turn: Arc::default(),
                long_searches: Shares::new(
                    LONG_SEARCHES_MAX,
                    LONG_SEARCHES_OF_CALLER_MAX,
                    LONG_SEARCH_WAIT_MAX,
                ),
                gathered_max: options.gathered_max,
                rows_max: options.rows_max,
            })
        })
    }

    async fn turn(&self) -> Result<OwnedMutexGuard<()>, IndexError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if self.inner.has_failed.load(Ordering::Acquire) {
            return Err(IndexError::Backend {
                operation: "write after a failed commit",
                source: "the index must be opened anew".into(),
            });
        }
        Ok(turn)
    }

    /// Answers `query`: at once where that is little work, else on a thread that may wait. A scan
    /// is tried at once where it `ends_early`.
    async fn answer<T: Send + 'static>(
        &self,
        operation: &'static str,
        query: &Query,
        answer: impl Fn(&View, &Plan, &Quota, &Budget) -> Result<T, Fault> + Send + 'static,
        (quota, ends_early): (&Quota, bool),
    ) -> Result<T, IndexError> {
        let plan = Plan::new(query);
        let is_long = plan.is_scan() && self.inner.progress().committed.study > ROWS_INLINE;
        if !is_long || ends_early {
            let budget = Budget::at_once(ROWS_INLINE.min(self.rows_max));
            let mut is_enough = true;
            let answered = attempt(operation, || {
                let view = self.inner.view()?;
                match answer(&view, &plan, quota, &budget) {
                    Err(Fault::OutOfBudget) => {
                        is_enough = false;
                        Ok(None)
                    }
                    other => other.map(Some),
                }
            })?;
            if let Some(answered) = answered {
                return Ok(answered);
            }
        }
        let (inner, quota) = (Arc::clone(&self.inner), quota.clone());
        let turn = self.long_searches.take(quota.holder(), 1).await;
        let turn = turn.map_err(|_busy| IndexError::Busy)?;
        let (waiting, budget) = Budget::while_waited_for(self.rows_max);
        let answered = blocking(operation, move || {
            // Until the thread is done with it: it soon is where nobody waits any more.
            let _turn = turn;
            let view = inner.view()?;
            answer(&view, &plan, &quota, &budget)
        })
        .await;
        drop(waiting);
        answered
    }

    /// Compares the checksums of the file as it is now.
    async fn look(&self) -> Result<(), IndexError> {
        let directory = self.directory.clone();
        blocking("check", move || Ok(redb_file::check(&directory, FILE)?)).await
    }
}

impl Inner {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Only whole values are written under the lock.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what is promised is shown.
    fn wait(&self) -> Result<(), IndexError> {
        self.gate.wait();
        if self.is_broken.load(Ordering::Acquire) {
            return Err(IndexError::Backend {
                operation: "read after a failed commit",
                source: "the index must be opened anew".into(),
            });
        }
        Ok(())
    }

    /// The tables as they are now, with all that is promised.
    fn view(&self) -> Result<View, Fault> {
        self.wait()?;
        View::new(self.database.get()?, &self.kept)
    }

    fn stage(
        &self,
        records: Vec<LogRecord>,
        end: LogPosition,
    ) -> Result<(WriteTransaction, Finished, Vec<Applied>), IndexError> {
        attempt("stage", || {
            let mut transaction = self.database.get()?.begin_write()?;
            transaction.set_durability(Durability::None)?;
            let mut group = Group::open(&transaction, self.progress().committed)?;
            let mut applied = Vec::with_capacity(records.len());
            for record in records {
                applied.push(group.apply(record)?);
            }
            let finished = group.finish(end)?;
            Ok((transaction, finished, applied))
        })
    }

    fn note(&self, notes: &Notes) -> Result<(), IndexError> {
        let committed = self.progress().committed;
        let (transaction, finished) = attempt("note", || {
            let mut transaction = self.database.get()?.begin_write()?;
            transaction.set_durability(Durability::None)?;
            let mut group = Group::open(&transaction, committed)?;
            group.note(notes)?;
            let finished = group.finish(committed.position)?;
            Ok((transaction, finished))
        })?;
        self.commit("note", transaction, Some(finished.changed))?;
        self.progress().is_ahead = true;
        Ok(())
    }

    fn destroyed(&self, places: &[(u64, u64)]) -> Result<(), IndexError> {
        let transaction = attempt("note what is destroyed", || {
            let mut transaction = self.database.get()?.begin_write()?;
            transaction.set_durability(Durability::None)?;
            group::undoom(&transaction, places)?;
            Ok(transaction)
        })?;
        self.commit("note what is destroyed", transaction, Some(BTreeSet::new()))?;
        self.progress().is_ahead = true;
        Ok(())
    }

    fn noted(&self) -> Result<u64, IndexError> {
        attempt("read what is noted", || {
            let meta = self
                .database
                .get()?
                .begin_read()?
                .open_table(tables::META)?;
            let Some(noted) = meta.get(NOTED)? else {
                return Ok(0);
            };
            let damaged = IndexError::Damaged {
                what: "number of notes",
            };
            let noted = <[u8; 8]>::try_from(noted.value()).map_err(|_| damaged)?;
            Ok(u64::from_be_bytes(noted))
        })
    }

    /// Commits, and remembers it if that fails. The rows of these studies are others then; `None`:
    /// all rows.
    fn commit(
        &self,
        operation: &'static str,
        transaction: WriteTransaction,
        changed: Option<BTreeSet<u64>>,
    ) -> Result<(), IndexError> {
        self.kept.changing();
        let outcome = attempt(operation, || Ok(transaction.commit()?));
        match changed.filter(|_| outcome.is_ok()) {
            Some(studies) => self.kept.changed(studies),
            None => self.kept.changed_all(),
        }
        if outcome.is_err() {
            self.has_failed.store(true, Ordering::Release);
        }
        outcome
    }

    fn flush(&self) -> Result<(), IndexError> {
        let committed = self.progress().committed;
        let transaction = attempt("flush", || {
            let transaction = begin_durable(self.database.get()?)?;
            // A commit that changes nothing could be taken for nothing to do.
            put_state(&transaction, committed)?;
            Ok(transaction)
        })?;
        self.commit("flush", transaction, Some(BTreeSet::new()))?;
        let mut progress = self.progress();
        progress.durable = committed.position;
        progress.is_ahead = false;
        Ok(())
    }

    fn clear(&self) -> Result<(), IndexError> {
        let transaction = attempt("clear", || {
            let transaction = begin_durable(self.database.get()?)?;
            for table in transaction.list_tables()?.collect::<Vec<_>>() {
                transaction.delete_table(table)?;
            }
            create_tables(&transaction)?;
            Ok(transaction)
        })?;
        self.commit("clear", transaction, None)?;
        *self.progress() = Progress {
            committed: Counters::default(),
            durable: LogPosition::default(),
            is_ahead: false,
        };
        Ok(())
    }
}

/// Runs `work` on a thread that may wait.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, IndexError> {
    match tokio::task::spawn_blocking(move || attempt(operation, work)).await {
        Ok(outcome) => outcome,
        Err(source) => Err(IndexError::Backend {
            operation,
            source: Box::new(source),
        }),
    }
}

#[async_trait]
impl Index for RedbIndex {
    async fn stage(
        &self,
        records: Vec<LogRecord>,
        end: LogPosition,
    ) -> Result<Box<dyn Staged>, IndexError> {
        let turn = self.turn().await?;
        let inner = Arc::clone(&self.inner);
        let (transaction, finished, applied) = if records.len() <= RECORDS_INLINE {
            inner.stage(records, end)?
        } else {
            let inner = Arc::clone(&inner);
            blocking("stage", move || Ok(inner.stage(records, end)?)).await?
        };
        Ok(Box::new(StagedInRedb {
            applied,
            group: StagedGroup {
                inner,
                transaction,
                finished,
                turn,
            },
        }))
    }

    fn has_room(&self) -> bool {
        self.inner.space.is_ample()
    }

    async fn knows(&self, instance: &SopInstanceUid, digest: &Digest) -> Result<bool, IndexError> {
        attempt("look up an instance", || {
            // Asked for every instance that comes, of which nearly all are new.
            self.inner.wait()?;
            let is_new = !has(self.inner.database.get()?, instance)?;
            Ok(!is_new && self.inner.view()?.knows(instance, digest)?)
        })
    }

    async fn versions(
        &self,
        instance: &SopInstanceUid,
        limit_count: usize,
    ) -> Result<Versions, IndexError> {
        let (inner, instance) = (Arc::clone(&self.inner), instance.clone());
        blocking("look up versions", move || {
            inner.view()?.versions(&instance, limit_count)
        })
        .await
    }

    async fn search(&self, query: &Query, quota: &Quota) -> Result<Results<Match>, IndexError> {
        let search = search::search;
        self.answer("search", query, search, (quota, false)).await
    }

    async fn search_page(
        &self,
        query: &Query,
        page: &Page,
        quota: &Quota,
    ) -> Result<Option<PageOfMatches>, IndexError> {
        if query.level == Level::Patient {
            let found = self.search(query, quota).await?;
            return page::of_all(found, query.level, page, quota);
        }
        let (page, gathered_max) = (page.clone(), self.gathered_max);
        let answer = move |view: &View, plan: &Plan, quota: &Quota, budget: &Budget| {
            search::page(view, plan, (&page, gathered_max), quota, budget)
        };
        // Where everything matches, a page is full after as many rows as it has results.
        let mut keys = query.keys.iter();
        let ends_early = keys.all(|key| key.matching == Matching::Universal);
        let answered = self.answer("search", query, answer, (quota, ends_early));
        answered.await
    }

    async fn select(
        &self,
        query: &Query,
        quota: &Quota,
    ) -> Result<Results<StoredInstance>, IndexError> {
        let select = search::select;
        self.answer("select", query, select, (quota, false)).await
    }

    async fn note(&self, notes: Notes) -> Result<(), IndexError> {
        let _turn = self.turn().await?;
        let inner = Arc::clone(&self.inner);
        blocking("note", move || Ok(inner.note(&notes)?)).await
    }

    async fn noted(&self) -> Result<u64, IndexError> {
        self.inner.noted()
    }

    async fn changes(
        &self,
        after: ChangeNumber,
        count_max: usize,
    ) -> Result<Vec<Change>, IndexError> {
        let inner = Arc::clone(&self.inner);
        blocking("read changes", move || {
            inner.view()?.changes(after, count_max)
        })
        .await
    }

    async fn entries(
        &self,
        after: u64,
        count_max: usize,
    ) -> Result<Vec<(u64, StoredInstance)>, IndexError> {
        let inner = Arc::clone(&self.inner);
        blocking("read entries", move || {
            inner.view()?.entries(after, count_max)
        })
        .await
    }

    async fn committed(&self) -> Result<Committed, IndexError> {
        self.inner.wait()?;
        let counters = self.inner.progress().committed;
        Ok(Committed {
            position: counters.position,
            change: ChangeNumber(counters.change),
        })
    }

    /// Looks at what the last flush left in the file, beside the database that is open. What is
    /// flushed meanwhile can make a sound file look damaged; so the verdict is spoken only where
    /// nobody writes.
    async fn check(&self) -> Result<(), IndexError> {
        self.flush().await?;
        let looked = self.look().await;
        if !matches!(looked, Err(IndexError::Damaged { .. })) {
            return looked;
        }
        let _turn = self.turn().await?;
        self.look().await
    }

    async fn durable_position(&self) -> Result<LogPosition, IndexError> {
        Ok(self.inner.progress().durable)
    }

    async fn flush(&self) -> Result<(), IndexError> {
        let _turn = self.turn().await?;
        if !self.inner.progress().is_ahead {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        blocking("flush", move || Ok(inner.flush()?)).await
    }

    async fn clear(&self) -> Result<(), IndexError> {
        let _turn = self.turn().await?;
        let inner = Arc::clone(&self.inner);
        blocking("clear", move || Ok(inner.clear()?)).await
    }

    async fn content_of(&self, study: &StudyUid) -> Result<Vec<Location>, IndexError> {
        let (inner, study) = (Arc::clone(&self.inner), study.clone());
        blocking("look up the content of a study", move || {
            inner.wait()?;
            state::reading(inner.database.get()?, |reading| {
                group::content_of(reading, &study)
            })
        })
        .await
    }

    async fn doomed(
        &self,
        after: Option<(u64, u64)>,
        count_max: usize,
    ) -> Result<Vec<Doomed>, IndexError> {
        let inner = Arc::clone(&self.inner);
        blocking("look up what is erased", move || {
            inner.wait()?;
            state::reading(inner.database.get()?, |reading| {
                group::read_doomed(reading, after, count_max)
            })
        })
        .await
    }

    async fn destroyed(&self, places: &[(u64, u64)]) -> Result<(), IndexError> {
        let _turn = self.turn().await?;
        let (inner, places) = (Arc::clone(&self.inner), places.to_vec());
        blocking("note what is destroyed", move || {
            Ok(inner.destroyed(&places)?)
        })
        .await
    }
}
