//! Storage commitment over the web (PS3.18 13, annex J): what the host program answers with, in
//! whose hands the safekeeping is. It keeps requests and checks instances as it does for devices;
//! here they are read and written.

mod payload;
pub(crate) mod transactions;

use async_trait::async_trait;
use pacs_core::Permit;
use pacs_core::access::Commit;
use pacs_core::commitment::{FailureReason, Place, Reference};
use pacs_core::uid::TransactionUid;
use std::time::Duration;

/// An instance that a client asks about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    /// Which.
    pub reference: Reference,
    /// Where it has to be, if the request says so.
    pub place: Option<Place>,
}

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not all is checked yet.
    Working {
        /// When it is worth to ask again.
        again_in: Duration,
    },
    /// Each instance once, with why it is not committed, if it is not.
    Done(Vec<(Wanted, Option<FailureReason>)>),
}

/// Why a request is not taken or known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is too much of it, of this client or of all.
    #[error("too many requests for storage commitment are kept")]
    Busy,
    /// The transaction UID is in use for another request of this client.
    #[error("the transaction UID is in use for another request")]
    Duplicate,
    /// It failed, and whoever looks after the server was told.
    #[error("the request could not be kept or read")]
    Failed,
    /// The disk is full: nothing was done.
    #[error("the disk is full")]
    Full,
    /// It is more than can be kept.
    #[error("the request is too large")]
    TooLarge,
    /// There is no such request of this client, or not any more.
    #[error("there is no such request")]
    Unknown,
}

/// Keeps requests for storage commitment, and answers them.
///
/// Clients are told apart by the caller of the permit: none learns anything of the requests of
/// another.
#[async_trait]
pub trait Commitment: std::fmt::Debug + Send + Sync + 'static {
    /// Takes a request, durably, and waits for its outcome up to `patience`. One that is there
    /// already is the same one.
    ///
    /// # Errors
    /// [`Refusal`].
    async fn request(
        &self,
        permit: &Permit<Commit>,
        transaction: TransactionUid,
        wanted: Vec<Wanted>,
        patience: Duration,
    ) -> Result<Standing, Refusal>;

    /// What came of a request, or comes of it within `patience`.
    ///
    /// # Errors
    /// [`Refusal`].
    async fn result(
        &self,
        permit: &Permit<Commit>,
        transaction: &TransactionUid,
        patience: Duration,
    ) -> Result<Standing, Refusal>;
}
