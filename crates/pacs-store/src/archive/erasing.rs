//! Erasing a study for good: the log says so, then the index, and then its bytes are destroyed.
//!
//! docs/decisions/0031 has the order of things, and what each crash leaves.

use super::Archive;
use super::commit::Work;
use crate::error::EraseError;
use crate::fail_point::FailPoints;
use crate::index::{Doomed, Index, IndexError};
use crate::limits::DOOMED_AT_ONCE_MAX;
use crate::pack::destroy::{DestroyError, Destroyed, destroy};
use crate::pack::name::PackName;
use crate::pack::read::PackFiles;
use pacs_core::Permit;
use pacs_core::access::Hide;
use pacs_core::uid::StudyUid;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErasedStudy {
    /// Versions of instances that nobody gets any more; none where the study was not known.
    pub versions_count: u64,
    /// What of them, and of what earlier calls left, was destroyed.
    pub destroyed: Destruction,
}

/// Content that was destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destruction {
    /// How many pieces.
    pub count: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Pieces that are damaged, so that nothing proves what stands in their places: they are left.
    pub left_count: u64,
}

impl Archive {
    /// Erases a study for good: all versions of all its instances, none of which is in sight. It is
    /// for whoever sees all studies. What comes of the study later is new.
    ///
    /// # Errors
    /// [`EraseError`]; of [`EraseError::Bytes`] the study is erased, and its bytes are destroyed by
    /// another call, of [`Self::destroy_erased`] too, or at the next opening.
    pub async fn erase(
        &self,
        permit: &Permit<Hide>,
        study: &StudyUid,
    ) -> Result<ErasedStudy, EraseError> {
        if permit.sight().is_narrowed() {
            return Err(EraseError::Narrowed);
        }
        let (reply, result) = oneshot::channel();
        let work = Work::Erase {
            study: study.clone(),
            provenance: self.provenance(permit.caller()),
            reply,
        };
        let submitted = self.shared.submit(work).await;
        submitted.map_err(|_| EraseError::Closed)?;
        let versions_count = result.await.unwrap_or(Err(EraseError::Closed))?;
        Ok(ErasedStudy {
            versions_count,
            destroyed: self.destroy_erased(permit).await?,
        })
    }

    /// Destroys what is erased and not known to be destroyed.
    ///
    /// # Errors
    /// [`EraseError`]; what could be destroyed is.
    pub async fn destroy_erased(&self, permit: &Permit<Hide>) -> Result<Destruction, EraseError> {
        if permit.sight().is_narrowed() {
            return Err(EraseError::Narrowed);
        }
        self.destroy_doomed().await
    }

    /// At opening: destroys what a crash left of it. What cannot be done now is no reason to stay
    /// closed: nobody gets anything of it.
    pub(super) async fn finish_erasing(&self) {
        match self.destroy_doomed().await {
            Ok(Destruction { count: 0, .. }) => {}
            Ok(done) => tracing::info!(?done, "what was erased before is destroyed"),
            Err(error) => tracing::error!(%error, "what is erased could not be destroyed"),
        }
    }

    /// Destroys what is doomed; one at a time.
    async fn destroy_doomed(&self) -> Result<Destruction, EraseError> {
        let shared = &self.shared;
        let _turn = shared.turns.erasing.lock().await;
        let (mut sum, mut after) = (Destruction::default(), None);
        loop {
            let doomed = shared.index.doomed(after, DOOMED_AT_ONCE_MAX).await;
            let doomed = shared.noted(doomed)?;
            let Some(last) = doomed.last() else {
                return Ok(sum);
            };
            after = Some(last.place());
            let files = Arc::clone(&shared.files);
            let fail_points = shared.fail_points.clone();
            let work = move || destroy_some(&files, doomed, &fail_points);
            let (destruction, outcome) = tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| EraseError::Bytes(io::Error::other(error)))?;
            if !destruction.places.is_empty() {
                let told = shared.index.destroyed(&destruction.places).await;
                shared.noted(told)?;
                shared.fail_points.reach("erase-told");
            }
            sum.count = sum.count.saturating_add(destruction.places.len() as u64);
            sum.bytes = sum.bytes.saturating_add(destruction.bytes);
            sum.left_count = sum.left_count.saturating_add(destruction.left.len() as u64);
            match outcome {
                Ok(()) => {}
                Err(DestroyError::Disk(error)) => return Err(EraseError::Bytes(error)),
                Err(DestroyError::Sync(error)) => {
                    tracing::error!(%error, "a sync failed: what is durable is not known");
                    shared.fail();
                    return Err(EraseError::Bytes(error));
                }
            }
        }
    }
}

/// Destroys these, pack by pack, up to the first error.
fn destroy_some(
    files: &PackFiles,
    doomed: Vec<Doomed>,
    fail_points: &FailPoints,
) -> (Destroyed, Result<(), DestroyError>) {
    let mut of_packs = BTreeMap::<u64, Vec<Doomed>>::new();
    for one in doomed {
        of_packs.entry(one.location.pack).or_default().push(one);
    }
    let mut sum = Destroyed::default();
    for (pack, doomed) in of_packs {
        let name = PackName::of_location(pack);
        match destroy(files.disk(), name, &doomed, fail_points) {
            Ok(destroyed) => {
                sum.places.extend(destroyed.places);
                sum.bytes = sum.bytes.saturating_add(destroyed.bytes);
                for (pack, offset) in &destroyed.left {
                    tracing::error!(
                        pack,
                        offset,
                        "what is erased is damaged and cannot be proved"
                    );
                }
                sum.left.extend(destroyed.left);
            }
            Err(error) => return (sum, Err(error)),
        }
    }
    (sum, Ok(()))
}

/// Whether what is at this place of a pack is erased, and perhaps not destroyed yet: asked where
/// the index does not know what a pack holds.
pub(crate) async fn is_doomed(
    index: &dyn Index,
    (pack, offset): (u64, u64),
) -> Result<bool, IndexError> {
    let before = offset.checked_sub(1).map(|before| (pack, before));
    let before = before.or_else(|| pack.checked_sub(1).map(|pack| (pack, u64::MAX)));
    let doomed = index.doomed(before, 1).await?;
    Ok(doomed
        .first()
        .is_some_and(|one| one.place() == (pack, offset)))
}
