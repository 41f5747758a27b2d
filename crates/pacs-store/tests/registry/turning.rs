//! Many images that are taken out of sight, or brought back, some at a time: what others do and
//! count meanwhile, and what is left when it breaks off in the middle.

use crate::archived::{may, open, send};
use crate::examinations::{act, new_for, reason, save};
use crate::follower::matcher;
use crate::rejections::{keeper, rejections, study_of_images, wanted};
use crate::rig::{Rig, now, user};
use async_trait::async_trait;
use pacs_core::examination::progress::Completion;
use pacs_core::examination::{Event, Status};
use pacs_core::rejection::Title;
use pacs_core::role::{Agent, Role};
use pacs_core::uid::{SopInstanceUid, StudyUid};
use pacs_core::{ExaminationId, Level, Query};
use pacs_store::Archive;
use pacs_store::index::memory::MemoryIndex;
use pacs_store::index::{
    Change, ChangeNumber, Committed, Digest, Doomed, Index, IndexError, Location, LogPosition,
    LogRecord, Match, Notes, Page, PageOfMatches, Quota, Results, Staged, StoredInstance, Versions,
};
use pacs_store::registry::examinations::Reader;
use pacs_store::registry::rejections::RejectionState;
use pacs_store::rejections::Meant;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long something may take that waits for nobody, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets through what hides or brings back as often as it is told.
#[derive(Debug)]
struct Gate {
    /// So many go through.
    free: Semaphore,
    /// So many have come to it.
    come: Semaphore,
    is_broken: AtomicBool,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            free: Semaphore::new(0),
            come: Semaphore::new(0),
            is_broken: AtomicBool::new(false),
        })
    }

    async fn pass(&self) -> Result<(), IndexError> {
        self.come.add_permits(1);
        self.free.acquire().await.unwrap().forget();
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(IndexError::Backend {
                operation: "write",
                source: Box::new(std::io::Error::from_raw_os_error(5)),
            });
        }
        Ok(())
    }

    /// Lets some through and returns when the next one has come.
    async fn pass_until_next(&self, count: usize) {
        self.free.add_permits(count);
        let count = u32::try_from(count + 1).unwrap();
        let come = self.come.acquire_many(count);
        // In vain it waits where nothing more is turned.
        let come = tokio::time::timeout(PATIENCE, come).await;
        come.unwrap().unwrap().forget();
    }
}

/// An index with a gate before it.
#[derive(Debug)]
struct Gated {
    index: MemoryIndex,
    gate: Arc<Gate>,
}

#[async_trait]
impl Index for Gated {
    async fn stage(
        &self,
        records: Vec<LogRecord>,
        end: LogPosition,
    ) -> Result<Box<dyn Staged>, IndexError> {
        let turns = |record: &LogRecord| !matches!(record, LogRecord::Instance(_));
        if records.iter().any(turns) {
            self.gate.pass().await?;
        }
        self.index.stage(records, end).await
    }

    async fn knows(&self, instance: &SopInstanceUid, digest: &Digest) -> Result<bool, IndexError> {
        self.index.knows(instance, digest).await
    }

    async fn versions(
        &self,
        instance: &SopInstanceUid,
        limit_count: usize,
    ) -> Result<Versions, IndexError> {
        self.index.versions(instance, limit_count).await
    }

    async fn search(&self, query: &Query, quota: &Quota) -> Result<Results<Match>, IndexError> {
        self.index.search(query, quota).await
    }

    async fn search_page(
        &self,
        query: &Query,
        page: &Page,
        quota: &Quota,
    ) -> Result<Option<PageOfMatches>, IndexError> {
        self.index.search_page(query, page, quota).await
    }

    async fn select(
        &self,
        query: &Query,
        quota: &Quota,
    ) -> Result<Results<StoredInstance>, IndexError> {
        self.index.select(query, quota).await
    }

    async fn note(&self, notes: Notes) -> Result<(), IndexError> {
        self.index.note(notes).await
    }

    async fn noted(&self) -> Result<u64, IndexError> {
        self.index.noted().await
    }

    async fn changes(
        &self,
        after: ChangeNumber,
        count_max: usize,
    ) -> Result<Vec<Change>, IndexError> {
        self.index.changes(after, count_max).await
    }

    async fn entries(
        &self,
        after: u64,
        count_max: usize,
    ) -> Result<Vec<(u64, StoredInstance)>, IndexError> {
        self.index.entries(after, count_max).await
    }

    async fn committed(&self) -> Result<Committed, IndexError> {
        self.index.committed().await
    }

    async fn durable_position(&self) -> Result<LogPosition, IndexError> {
        self.index.durable_position().await
    }

    async fn flush(&self) -> Result<(), IndexError> {
        self.index.flush().await
    }

    async fn clear(&self) -> Result<(), IndexError> {
        self.index.clear().await
    }

    async fn content_of(&self, study: &StudyUid) -> Result<Vec<Location>, IndexError> {
        self.index.content_of(study).await
    }

    async fn doomed(
        &self,
        after: Option<(u64, u64)>,
        count_max: usize,
    ) -> Result<Vec<Doomed>, IndexError> {
        self.index.doomed(after, count_max).await
    }

    async fn destroyed(&self, places: &[(u64, u64)]) -> Result<(), IndexError> {
        self.index.destroyed(places).await
    }
}

/// An archive behind a gate, with an examination that is complete with so many images.
async fn gated(
    rig: &Rig,
    gate: &Arc<Gate>,
    count: u32,
) -> (Archive, tempfile::TempDir, ExaminationId) {
    let new = new_for(rig).await;
    let id = save(&rig.registry, &new, 1).await.unwrap().value.id;
    let folder = tempfile::tempdir().unwrap();
    let index = Gated {
        index: MemoryIndex::new(),
        gate: Arc::clone(gate),
    };
    let archive = open(rig, &folder, Arc::new(index)).await;
    let mut sending = JoinSet::new();
    for number in 1..=count {
        let (archive, study) = (archive.clone(), study_of_images());
        sending.spawn(async move {
            let digits = id.to_string();
            send(&archive, "NATHOS_CT1", study.as_str(), number, &digits, "").await;
        });
    }
    sending.join_all().await;
    judge_all(&archive).await;
    let event = Event::Complete {
        by: Completion::Declared,
        images_kept: u64::from(count),
    };
    let radiographer = user("rg", Role::Radiographer, "006");
    act(&rig.registry, &radiographer, id, event).await.unwrap();
    (archive, folder, id)
}

/// Judges all that came, be it once more.
async fn judge_all(archive: &Archive) {
    let matcher = matcher(archive);
    let mut cursor = matcher.cursor(ChangeNumber(0)).await.unwrap();
    cursor.advance(ChangeNumber(0)).await.unwrap();
    while matcher.step(&mut cursor).await.unwrap().changes_count > 0 {}
}

/// The instances that a search finds; and how many there are for whoever judges, and whether any.
async fn counted(archive: &Archive) -> (usize, u64, bool) {
    let study = study_of_images();
    let query = Query::new(Level::Study).with(crate::rejections::of_study(study.as_str()));
    let permit = may::<pacs_core::access::Get>();
    let found = archive.select(&permit, &query).await.unwrap();
    let find = may();
    let kept = archive.kept_images(&find, [study.clone()]).await.unwrap();
    let is_in_sight = archive.is_in_sight(&find, &study).await.unwrap();
    let kept = kept.count_of(&study).unwrap_or(0);
    (found.into_iter().count(), kept, is_in_sight)
}

async fn status(rig: &Rig, id: ExaminationId) -> Status {
    let system = Agent::system("test");
    let reader = Reader::new(&system);
    let found = rig.registry.examination(&reader, id, now()).await.unwrap();
    found.value.status()
}

#[tokio::test]
async fn while_many_images_are_turned_others_act_and_count_as_if_all_were() {
    let (rig, gate) = (Rig::new().await, Gate::new());
    let (archive, _folder, id) = gated(&rig, &gate, 600).await;
    let rejections = rejections(&archive);
    let registry = &rig.registry;
    let ordered = async |number: u32| {
        let new = new_for(&rig).await;
        let saved = save(registry, &new, number);
        // Nobody waits for the archive.
        let saved = tokio::time::timeout(PATIENCE, saved).await;
        saved.unwrap().unwrap();
    };

    let all = wanted(Meant::Study, Title::Quality);
    let (keeper, at) = (keeper(), now());
    let rejecting = rejections.reject(&keeper, all, at);
    let meanwhile = async {
        gate.pass_until_next(1).await;
        assert_eq!(counted(&archive).await, (100, 0, false));
        assert_eq!(status(&rig, id).await, Status::Rejected);
        ordered(2).await;
        // What is about to go is no news.
        judge_all(&archive).await;
        assert_eq!(status(&rig, id).await, Status::Rejected);
        let study = study_of_images();
        let of_study = registry.rejections_of_study(&study).await.unwrap();
        assert_eq!(of_study[0].value.state, RejectionState::Ordered);
        gate.free.add_permits(1);
    };
    let (rejected, ()) = tokio::join!(rejecting, meanwhile);
    let rejected = rejected.unwrap();
    assert_eq!(rejected.value.state, RejectionState::Applied);
    assert_eq!(counted(&archive).await, (0, 0, false));

    let why = reason();
    let which = (&rejected.value.id, None);
    let restoring = rejections.restore(&keeper, which, &why, at);
    let meanwhile = async {
        gate.pass_until_next(1).await;
        assert_eq!(counted(&archive).await, (500, 600, true));
        ordered(3).await;
        assert_eq!(status(&rig, id).await, Status::ImagesReceived);
        gate.free.add_permits(1);
    };
    let (restored, ()) = tokio::join!(restoring, meanwhile);
    let restored = restored.unwrap().value.state;
    assert!(matches!(restored, RejectionState::Restored(_)));
    assert_eq!(counted(&archive).await, (600, 600, true));
}

#[tokio::test]
async fn what_broke_off_between_two_steps_is_counted_as_done_and_done_when_it_is_opened_again() {
    let (rig, gate) = (Rig::new().await, Gate::new());
    let (archive, folder, id) = gated(&rig, &gate, 1_100).await;
    let rejecting = async {
        let all = wanted(Meant::Study, Title::PatientSafety);
        rejections(&archive).reject(&keeper(), all, now()).await
    };
    let breaking = async {
        gate.pass_until_next(1).await;
        gate.is_broken.store(true, Ordering::SeqCst);
        gate.free.add_permits(1);
    };
    let (rejected, ()) = tokio::join!(rejecting, breaking);
    let rejected = rejected.unwrap().value;
    assert_eq!(rejected.state, RejectionState::Ordered);
    archive.close().await;
    drop(archive);

    let archive = open(&rig, &folder, Arc::new(MemoryIndex::new())).await;
    let (in_sight, kept, is_in_sight) = counted(&archive).await;
    assert!((1..1_100).contains(&in_sight), "{in_sight}");
    assert_eq!((kept, is_in_sight), (0, false));
    assert_eq!(status(&rig, id).await, Status::Rejected);
    // Nor is it rejected twice.
    let rejections = rejections(&archive);
    let again = wanted(Meant::Study, Title::Quality);
    let again = rejections.reject(&keeper(), again, now()).await;
    assert!(again.is_err(), "{again:?}");
    assert_eq!(rejections.finish().await.unwrap(), 1);
    assert_eq!(counted(&archive).await, (0, 0, false));
    let done = rig.registry.rejection(&keeper(), &rejected.id).await;
    let done = done.unwrap().value;
    assert_eq!(done.state, RejectionState::Applied);
    assert_eq!(done.instances_count, 1_100);
    assert_eq!(rejections.finish().await.unwrap(), 0);
}
