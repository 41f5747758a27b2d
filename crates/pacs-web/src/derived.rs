//! Derived data: what is made of stored instances and can be made again, such as the metadata of a
//! series, a thumbnail, or a frame in another transfer syntax.
//!
//! [`Derived`] makes each thing once for all who wait for it, and keeps it in a `folder` of
//! bounded size. A key holds all that the thing depends on, the digests of the instances first of
//! all: what changes has another key, so that nothing that is kept is ever out of date.
//!
//! **Invariant:** no request fails because something cannot be kept.
//! **Invariant:** whoever asks has a permit to get what it is made of, and has found the instances
//! with it.

mod folder;
#[cfg(test)]
mod tests;

use crate::error::Failure;
use bytes::Bytes;
use folder::Folder;
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_store::{Digest, Digester};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// Bounds of derived data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DerivedLimits {
    /// Bytes of the folder. What was used longest ago goes first.
    pub bytes_max: u64,
    /// Things in the folder: about 200 bytes of memory are held for each.
    pub entries_max: usize,
    /// Bytes of one thing that is kept. It is in memory while it is made and read.
    pub entry_bytes_max: u64,
    /// Bytes that stay free on the disk: instances need them more.
    pub free_bytes_min: u64,
    /// Things that are made or read at once, and that wait to be (503).
    pub flights_max: usize,
    /// Things of each kind that are made at once.
    pub makers_max: usize,
    /// Animations that are made at once: each takes long.
    pub animations_max: usize,
    /// How long who wants something waits for the turn to make it (503): longer than it takes to
    /// make the longest animation.
    pub turn_wait_max: Duration,
}

impl Default for DerivedLimits {
    fn default() -> Self {
        Self {
            bytes_max: 2 << 30,
            entries_max: 100_000,
            entry_bytes_max: 32 << 20,
            free_bytes_min: 1 << 30,
            flights_max: 1_024,
            makers_max: 4,
            animations_max: 1,
            turn_wait_max: Duration::from_secs(150),
        }
    }
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DerivedCounts {
    /// Things that were kept already.
    pub hits: u64,
    /// Things that were made because they were not kept.
    pub misses: u64,
    /// Requests that waited for what was being made or read for another one.
    pub shared: u64,
    /// Things that went to make room for others.
    pub evictions: u64,
    /// Files that were not as they had been written, and were removed.
    pub damaged: u64,
    /// Things that could not be kept: the disk is full, or refuses.
    pub not_kept: u64,
    /// Bytes of the folder now.
    pub bytes: u64,
    /// Things in the folder now.
    pub entries: u64,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    shared: AtomicU64,
}

/// What is made. Those of each kind take turns among themselves, so that none waits for the long
/// ones of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Pictures one after the other.
    Animation,
    /// A frame in another transfer syntax.
    Frame,
    /// The metadata of a series.
    Metadata,
    /// A picture or thumbnail.
    Picture,
}

impl Kind {
    /// Its name, with a number that changes with the form of what is written, so that nothing that
    /// an older version wrote is given.
    pub(crate) const fn form(self) -> &'static str {
        match self {
            Self::Animation => "animation 1",
            Self::Frame => "frame 1",
            Self::Metadata => "metadata 2",
            Self::Picture => "picture 2",
        }
    }
}

/// By what a thing is known: its kind and all that it depends on. Nothing that came over the wire
/// becomes a name; this is a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    digest: Digest32,
    kind: Kind,
}

type Digest32 = [u8; 32];

impl Key {
    /// Of the thing of this `kind` that is made of `parts` and of nothing else.
    pub(crate) fn of(kind: Kind, parts: &[&[u8]]) -> Self {
        let mut digester = Digester::new();
        for part in std::iter::once(&kind.form().as_bytes()).chain(parts) {
            // With their lengths, so that no two lists of parts are the same bytes.
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            digester.update(&length.to_le_bytes());
            digester.update(part);
        }
        let Digest(digest) = digester.finish();
        Self { digest, kind }
    }
}

/// Turns to make things, for each kind.
#[derive(Debug)]
struct Makers {
    animations: Arc<Semaphore>,
    frames: Arc<Semaphore>,
    metadata: Arc<Semaphore>,
    pictures: Arc<Semaphore>,
}

impl Makers {
    fn new(limits: &DerivedLimits) -> Self {
        let turns = |count: usize| Arc::new(Semaphore::new(count.max(1)));
        Self {
            animations: turns(limits.animations_max),
            frames: turns(limits.makers_max),
            metadata: turns(limits.makers_max),
            pictures: turns(limits.makers_max),
        }
    }

    fn of(&self, kind: Kind) -> Arc<Semaphore> {
        Arc::clone(match kind {
            Kind::Animation => &self.animations,
            Kind::Frame => &self.frames,
            Kind::Metadata => &self.metadata,
            Kind::Picture => &self.pictures,
        })
    }
}

/// Makes a thing, or gives what was made before. A clone uses the same folder.
#[derive(Debug, Clone)]
pub struct Derived {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None`: nothing is kept.
    folder: Option<Arc<Folder>>,
    flights: Mutex<BTreeMap<Key, Arc<Outcome>>>,
    flights_max: usize,
    makers: Makers,
    turn_wait_max: Duration,
    counters: Counters,
}

/// What came of a flight, once something has.
type Outcome = watch::Sender<Option<Result<Bytes, Failure>>>;

type Making = Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>>;

type Make = Box<dyn FnOnce(Turn) -> Making + Send>;

/// The turn to make something. A thread that cannot be stopped has it until its work is done,
/// whether or not anybody still waits for that.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    _held: Arc<OwnedSemaphorePermit>,
}

impl Derived {
    /// Keeps things in `directory`, which is made if it is not there, and in which nothing else
    /// should be. What an earlier run kept is used at once, and counted in the background.
    ///
    /// # Errors
    /// The directory cannot be made, or not be written to.
    pub fn in_folder(directory: PathBuf, limits: &DerivedLimits) -> io::Result<Self> {
        let folder = Arc::new(Folder::open(directory, limits)?);
        let counted = Arc::clone(&folder);
        std::thread::Builder::new()
            .name("derived-data".to_owned())
            .spawn(move || counted.count())?;
        Ok(Self::new(Some(folder), limits))
    }

    /// Keeps nothing: things are made once for those who wait for them, and again for the next.
    #[must_use]
    pub fn not_kept(limits: &DerivedLimits) -> Self {
        Self::new(None, limits)
    }

    fn new(folder: Option<Arc<Folder>>, limits: &DerivedLimits) -> Self {
        let inner = Inner {
            folder,
            flights: Mutex::default(),
            flights_max: limits.flights_max,
            makers: Makers::new(limits),
            turn_wait_max: limits.turn_wait_max,
            counters: Counters::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> DerivedCounts {
        let counters = &self.inner.counters;
        let folder = self.inner.folder.as_ref();
        DerivedCounts {
            hits: counters.hits.load(Ordering::Relaxed),
            misses: counters.misses.load(Ordering::Relaxed),
            shared: counters.shared.load(Ordering::Relaxed),
            ..folder.map(|folder| folder.counts()).unwrap_or_default()
        }
    }

    /// Where the disk has less free than [`DerivedLimits::free_bytes_min`], removes what was used
    /// longest ago. To be called once in a while: nothing else is removed while nothing is kept.
    pub async fn give_way(&self) {
        let Some(folder) = self.inner.folder.clone() else {
            return;
        };
        let given = tokio::task::spawn_blocking(move || folder.give_way()).await;
        if let Ok(Err(error)) = given {
            tracing::warn!(kind = ?error.kind(), "room for derived data cannot be looked at");
        }
    }

    /// Removes all that is kept: to be called when something was erased for good, since nothing
    /// says of which instances a thing was made. What is being made meanwhile may be kept after
    /// that.
    ///
    /// # Errors
    /// Something could not be removed.
    pub async fn clear(&self) -> io::Result<()> {
        let Some(folder) = self.inner.folder.clone() else {
            return Ok(());
        };
        let cleared = tokio::task::spawn_blocking(move || folder.clear()).await;
        cleared.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// The thing of this key, where it is kept; blocks. For work that holds what others wait for,
    /// and so waits for no turn itself.
    pub(crate) fn kept_now(&self, _permit: &Permit<Get>, key: &Key) -> Option<Bytes> {
        let kept = self.inner.folder.as_ref()?.read(key)?;
        self.inner.counters.hits.fetch_add(1, Ordering::Relaxed);
        Some(kept)
    }

    /// Keeps the thing of this key, which such work has made; blocks.
    pub(crate) fn keep_now(&self, key: &Key, body: &Bytes) {
        self.inner.counters.misses.fetch_add(1, Ordering::Relaxed);
        if let Some(folder) = &self.inner.folder {
            folder.keep(key, body);
        }
    }

    /// Takes all turns to make frames.
    #[cfg(test)]
    pub(crate) async fn all_turns_to_make_frames(&self) -> OwnedSemaphorePermit {
        let turns = self.inner.makers.of(Kind::Frame);
        let count = u32::try_from(turns.available_permits()).unwrap();
        turns.acquire_many_owned(count).await.unwrap()
    }

    /// Whether nothing is kept.
    pub(crate) fn keeps_nothing(&self) -> bool {
        self.inner.folder.is_none()
    }

    /// The thing of this key: as it is kept, or as `make` makes it.
    ///
    /// Of all who want it at the same time one has it made. Who goes away does not end that for the
    /// others; if nobody is left, it is not begun, or ends.
    ///
    /// # Errors
    /// Those of `make`, for all who wait; [`Failure::Unavailable`] where too much is under way.
    pub(crate) async fn get_or_make<M, F>(
        &self,
        _permit: &Permit<Get>,
        key: Key,
        make: M,
    ) -> Result<Bytes, Failure>
    where
        M: FnOnce(Turn) -> F + Send + 'static,
        F: Future<Output = Result<Bytes, Failure>> + Send + 'static,
    {
        let make: Make = Box::new(|turn| Box::pin(make(turn)));
        let mut outcome = self.board(key, make)?;
        // An outcome that never comes is that of a task that panicked.
        let outcome = outcome.wait_for(Option::is_some).await;
        let outcome = outcome.map_err(|_gone| Failure::Internal)?;
        outcome.clone().unwrap_or(Err(Failure::Internal))
    }

    /// Joins the flight of `key`, or begins it.
    fn board(
        &self,
        key: Key,
        make: Make,
    ) -> Result<watch::Receiver<Option<Result<Bytes, Failure>>>, Failure> {
        let mut flights = self.inner.flights();
        if let Some(outcome) = flights.get(&key) {
            self.inner.counters.shared.fetch_add(1, Ordering::Relaxed);
            return Ok(outcome.subscribe());
        }
        if flights.len() >= self.inner.flights_max {
            let detail = "too much is being made at the moment";
            return Err(Failure::Unavailable { detail });
        }
        let (outcome, waiting) = watch::channel(None);
        let outcome = Arc::new(outcome);
        flights.insert(key, Arc::clone(&outcome));
        drop(flights);
        let flight = Flight {
            inner: Arc::clone(&self.inner),
            key,
            outcome,
        };
        tokio::spawn(flight.run(make));
        Ok(waiting)
    }
}

impl Inner {
    fn flights(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Outcome>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thing on its way to all who wait for it; joined as long as it is in the list.
struct Flight {
    inner: Arc<Inner>,
    key: Key,
    outcome: Arc<Outcome>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.inner.flights();
        let listed = flights.get(&self.key);
        if listed.is_some_and(|listed| Arc::ptr_eq(listed, &self.outcome)) {
            flights.remove(&self.key);
        }
    }
}

impl Flight {
    async fn run(self, make: Make) {
        let counters = &self.inner.counters;
        if let Some(kept) = self.kept().await {
            counters.hits.fetch_add(1, Ordering::Relaxed);
            self.outcome.send_replace(Some(Ok(kept)));
            return;
        }
        let turn = match timeout(self.inner.turn_wait_max, self.turn()).await {
            Ok(Some(turn)) => turn,
            Ok(None) => return,
            Err(_elapsed) => {
                let detail = "too much is being made at the moment";
                let busy = Failure::Unavailable { detail };
                self.outcome.send_replace(Some(Err(busy)));
                return;
            }
        };
        counters.misses.fetch_add(1, Ordering::Relaxed);
        let made = tokio::select! {
            biased;
            made = make(turn.clone()) => made,
            () = self.unwanted() => return,
        };
        // Before it is kept: nobody has to wait for the disk.
        self.outcome.send_replace(Some(made.clone()));
        if let (Ok(body), Some(folder)) = (made, self.inner.folder.clone()) {
            let key = self.key;
            let keeping = tokio::task::spawn_blocking(move || folder.keep(&key, &body));
            // The folder has counted what failed.
            keeping.await.ok();
        }
    }

    async fn kept(&self) -> Option<Bytes> {
        let (folder, key) = (self.inner.folder.clone()?, self.key);
        let reading = tokio::task::spawn_blocking(move || folder.read(&key));
        reading.await.ok().flatten()
    }

    /// A turn to make it; `None` where nobody waits for it any more.
    async fn turn(&self) -> Option<Turn> {
        let turn = self.inner.makers.of(self.key.kind).acquire_owned();
        let turn = tokio::select! {
            biased;
            turn = turn => turn,
            () = self.unwanted() => return None,
        };
        // It is never closed.
        let held = Arc::new(turn.ok()?);
        Some(Turn { _held: held })
    }

    /// Waits until nobody waits for it any more; nobody joins it then.
    async fn unwanted(&self) {
        loop {
            self.outcome.closed().await;
            let mut flights = self.inner.flights();
            // Somebody may have joined since; under the lock nobody can.
            if self.outcome.receiver_count() == 0 {
                flights.remove(&self.key);
                return;
            }
        }
    }
}
