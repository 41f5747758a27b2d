//! Records who searches, sees, gets and hides what, where the host program keeps a record.

use crate::error::Failure;
use crate::service::Web;
use async_trait::async_trait;
use pacs_core::access::Right;
use pacs_core::scan::preamble::SuspectPreamble;
use pacs_core::{Caller, Permit, Phi, Query, SopClassUid, SopInstanceUid, StudyUid};
use pacs_store::Digest;
use pacs_store::egress::described;
use pacs_store::index::StoredInstance;

/// What somebody does with instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// They hide them.
    Hide,
    /// They look at them, or at a part of what they say.
    Look,
    /// They take them away, whole.
    Take,
}

/// A file that came with a preamble which may make it a program (PS3.10 7.5), and what is known of
/// the instance in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramSent<'a> {
    /// What zeros take the place of.
    pub preamble: &'a SuspectPreamble,
    /// Its study.
    pub study: Option<&'a StudyUid>,
    /// Its SOP class.
    pub sop_class: Option<&'a SopClassUid>,
    /// Which it is.
    pub sop_instance: Option<&'a SopInstanceUid>,
}

/// Keeps a record. Nobody gets anything before it is written.
#[async_trait]
pub trait Record: std::fmt::Debug + Send + Sync + 'static {
    /// `caller` searches.
    ///
    /// # Errors
    /// [`Unrecorded`]: nothing is answered.
    async fn searched(&self, caller: &Caller, query: &Phi<String>) -> Result<(), Unrecorded>;

    /// `caller` uses these instances, which are all of their studies or a part of one.
    ///
    /// # Errors
    /// [`Unrecorded`]: nothing is given or done.
    async fn used(
        &self,
        caller: &Caller,
        what: Use,
        (instances, is_part): (&[StoredInstance], bool),
    ) -> Result<(), Unrecorded>;

    /// `caller` sends a file that may be a program.
    ///
    /// # Errors
    /// [`Unrecorded`]: nothing of it is kept.
    async fn program_sent(&self, caller: &Caller, sent: ProgramSent<'_>) -> Result<(), Unrecorded>;
}

/// The record could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it could not be recorded, and is not done")]
pub struct Unrecorded;

impl From<Unrecorded> for Failure {
    fn from(_: Unrecorded) -> Self {
        Self::Unavailable {
            detail: "it could not be recorded, and is not done",
        }
    }
}

/// Records a search, before it is made.
pub(crate) async fn searched<R: Right>(
    web: &Web,
    permit: &Permit<R>,
    query: &Query,
) -> Result<(), Failure> {
    searched_for(web, permit, &described(query)).await
}

/// Records a search for what is of no level, before it is made.
pub(crate) async fn searched_for<R: Right>(
    web: &Web,
    permit: &Permit<R>,
    described: &Phi<String>,
) -> Result<(), Failure> {
    match web.record() {
        Some(record) => Ok(record.searched(permit.caller(), described).await?),
        None => Ok(()),
    }
}

/// Records that instances are used, before they are.
pub(crate) async fn used<R: Right>(
    web: &Web,
    permit: &Permit<R>,
    what: Use,
    of: (&[StoredInstance], bool),
) -> Result<(), Failure> {
    match web.record() {
        Some(record) => Ok(record.used(permit.caller(), what, of).await?),
        None => Ok(()),
    }
}

/// Records that a file came which may be a program, before anything of it is kept. The log tells of
/// it too, without the bytes: they may be anything.
pub(crate) async fn program_sent<R: Right>(
    web: &Web,
    permit: &Permit<R>,
    sent: ProgramSent<'_>,
) -> Result<(), Unrecorded> {
    tracing::error!(
        alarm = "preamble",
        kind = sent.preamble.kind(),
        preamble_digest = ?Digest::of(sent.preamble.bytes()),
        caller = ?permit.caller(),
        "a file came with something else than zeros or TIFF in its preamble; zeros are kept"
    );
    match web.record() {
        Some(record) => record.program_sent(permit.caller(), sent).await,
        None => Ok(()),
    }
}
