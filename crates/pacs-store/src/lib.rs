//! Where everything lives: content in packs, what is known of it in an index.
//!
//! [`Archive`] is the only way in. Content is durable in a pack before it is visible in the
//! [`index`], and visible before a [`Deposit`] is answered; the packs are the log from which the
//! index can be made again.

mod archive;
pub mod backup;
mod deposit;
mod digest;
mod directory;
pub mod disk;
pub mod egress;
mod erased;
pub mod error;
mod fail_point;
pub mod index;
pub mod limits;
pub mod matcher;
mod pack;
mod rebuild;
pub mod records;
mod redb_file;
pub mod registry;
pub mod rejection_notes;
pub mod rejections;
pub mod repair;
mod retrieve;
pub mod scrub;
pub mod shares;
mod verify;

pub use archive::{
    Announced, Archive, ArchiveOptions, Clock, Cursor, Destruction, ErasedStudy, Opened,
    RetrievePermit, Safekeeping,
};
pub use deposit::{Deposit, Outcome, Receipt};
pub use digest::{Digest, Digester};
pub use directory::{DataDirectory, FORMAT_VERSION, INDEX_SUSPECT};
pub use error::{
    BackupError, DepositError, EraseError, HideError, MaintainError, OpenError, Place, ReadError,
};
pub use fail_point::FailPoints;
pub use limits::StoreLimits;
pub use rebuild::Progress;
pub use retrieve::DataSetReader;
pub use verify::{Problem, VerifyReport};
