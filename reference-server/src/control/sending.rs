//! What whoever looks after the machine asks about sending studies to AEs.

use crate::sending::{SendingError, Sendings};
use pacs_core::AeTitle;
use pacs_core::role::Agent;
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_store::registry::rejections::RejectionId;
use pacs_store::registry::sendings::Sending;
use serde::{Deserialize, Serialize};

/// What can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Send a study, or a series of it.
    Order {
        /// The study.
        study: StudyUid,
        /// The series.
        series: Option<SeriesUid>,
        /// Where to.
        to: AeTitle,
    },
    /// How far a sending is.
    Show {
        /// Which.
        id: RejectionId,
    },
}

/// Does it, and says how far it is.
///
/// # Errors
/// [`SendingError`].
pub(crate) async fn answer(sendings: &Sendings, asked: Asked) -> Result<Sending, SendingError> {
    let agent = Agent::system("pacs send");
    let found = match asked {
        Asked::Order { study, series, to } => sendings.order(&agent, (study, series), to).await?,
        Asked::Show { id } => sendings.sending(&agent, &id).await?,
    };
    Ok(found.value)
}
