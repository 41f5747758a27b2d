//! Sends an instance: for the requestor of C-STORE, and the acceptor of C-GET.
//!
//! The first pieces of an instance are read before its command is sent, so that an instance that
//! cannot be read fails alone. A source that fails later costs the association: nothing may look
//! like the end of an instance that is not.

use crate::dimse::{CommandSet, Priority, command_field};
use crate::link::{ByteStream, Ending, Link};
use crate::service::{OutgoingInstance, SourceError, SubOperations};
use bytes::Bytes;
use pacs_core::AeTitle;

/// An instance whose first pieces are at hand. It has no `Debug`: there are patients in them.
pub(crate) struct Prepared {
    pub(crate) instance: OutgoingInstance,
    pieces: Result<(Bytes, Option<Bytes>), SourceError>,
}

/// Reads the first two pieces of `instance`: the second tells whether the first is the last.
pub(crate) async fn prepare(mut instance: OutgoingInstance) -> Prepared {
    let pieces = async {
        let first = instance.source.next().await?.unwrap_or_default();
        Ok((first, instance.source.next().await?))
    };
    let pieces = pieces.await;
    Prepared { instance, pieces }
}

/// The next instance of `sub_operations`, prepared.
pub(crate) async fn prepare_next(sub_operations: &mut dyn SubOperations) -> Option<Prepared> {
    Some(prepare(sub_operations.next().await?).await)
}

/// Why an instance was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The association ended.
    Ended(Ending),
    /// Its data set could not be read. If nothing of it was sent, the association stands.
    Unreadable(SourceError),
}

impl From<Ending> for SendError {
    fn from(ending: Ending) -> Self {
        Self::Ended(ending)
    }
}

/// The C-STORE-RQ of an instance.
pub(crate) fn store_command(
    instance: &OutgoingInstance,
    message_id: u16,
    priority: Priority,
    move_originator: Option<(&AeTitle, u16)>,
) -> CommandSet {
    CommandSet {
        command_field: command_field::C_STORE_RQ,
        message_id: Some(message_id),
        affected_sop_class: Some(instance.sop_class.as_str().to_owned()),
        affected_sop_instance: Some(instance.sop_instance.as_str().to_owned()),
        priority: Some(priority.code()),
        has_data_set: true,
        move_originator: move_originator.map(|(title, _)| title.as_str().to_owned()),
        move_originator_message_id: move_originator.map(|(_, message_id)| message_id),
        ..CommandSet::default()
    }
}

/// Sends a command and the data set of an instance.
pub(crate) async fn send<S: ByteStream>(
    link: &mut Link<S>,
    context_id: u8,
    command: &CommandSet,
    prepared: Prepared,
) -> Result<(), SendError> {
    let Prepared {
        mut instance,
        pieces,
    } = prepared;
    let (mut piece, mut next) = pieces.map_err(SendError::Unreadable)?;
    link.queue_command(context_id, command)?;
    loop {
        link.queue_data(context_id, piece, next.is_none())?;
        let Some(after) = next else {
            return Ok(link.flush().await?);
        };
        let (flushed, read) = tokio::join!(link.flush(), instance.source.next());
        flushed?;
        piece = after;
        next = match read {
            Ok(next) => next,
            Err(error) => {
                // The association is of no more use, and the peer must know before the data set
                // ends.
                let _ending = link.give_up(Ending::GivenUp);
                link.finish().await;
                return Err(SendError::Unreadable(error));
            }
        };
    }
}
