//! Requests that are done once, however often they come: whoever presses a button twice, or does
//! not know whether the first time arrived, gets what the first time made.
//!
//! The record of a request is in the batch of the change that it asks for, so that there are both
//! or neither. It is kept for as long as somebody may ask again.

use super::batch::Batch;
use super::document::{Document, decode};
use super::{Moment, Refusal, Registry, RegistryError};
use crate::limits::{REQUEST_TURNS_COUNT, REQUESTS_PAGE_COUNT};
use crate::records::{Change, Kind};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::MutexGuard;

/// A request, by who asks and what they call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where it is noted.
    at: String,
    /// What is asked for.
    content: String,
}

impl Request {
    /// The request that `user` calls `name`, for what the bytes of `content` say.
    #[must_use]
    pub fn new(user: &str, name: &str, content: &[&[u8]]) -> Self {
        let digest = |parts: &[&[u8]]| {
            let mut hasher = blake3::Hasher::new();
            for part in parts {
                let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
                hasher.update(&length.to_be_bytes()).update(part);
            }
            hasher.finalize().to_hex().to_string()
        };
        Self {
            at: digest(&[user.as_bytes(), name.as_bytes()]),
            content: digest(content),
        }
    }
}

/// That no other request of the same name is under way, as long as it is held.
#[derive(Debug)]
pub struct RequestTurn<'a> {
    _turn: Option<MutexGuard<'a, ()>>,
}

/// What a request made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The key of the document that it made.
    pub made: String,
    /// The same was asked for: else the name was used for something else.
    pub is_same: bool,
}

/// A request that was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Done {
    /// Digest of what was asked for.
    content: String,
    /// Key of the document that it made.
    made: String,
    /// When.
    at: Moment,
}

impl Document for Done {
    const KIND: Kind = Kind::new("request");
    const NAME: &'static str = "request";
}

impl Registry {
    /// The same registry, for one request: the change that it makes is made once. Whoever makes it
    /// asks [`Registry::outcome`] first.
    #[must_use]
    pub fn once(&self, request: Request) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            request: Some(Arc::new(request)),
        }
    }

    /// Waits until no other request of the same name is under way: whoever repeats one finds what
    /// it made, and not what it left, such as images that are out of sight by now.
    pub async fn turn_of(&self, request: &Request) -> RequestTurn<'_> {
        let bytes = request.at.bytes();
        let number = bytes.fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        let turn = self.inner.request_turns.get(number % REQUEST_TURNS_COUNT);
        RequestTurn {
            _turn: match turn {
                Some(turn) => Some(turn.lock().await),
                None => None,
            },
        }
    }

    /// What a request made; `None`: it was not done.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn outcome(&self, request: &Request) -> Result<Option<Outcome>, RegistryError> {
        let done = self.find::<Done>(&request.at).await?;
        Ok(done.map(|done| Outcome {
            is_same: done.value.content == request.content,
            made: done.value.made,
        }))
    }

    /// Forgets what was done before `before`; how many that were.
    ///
    /// # Errors
    /// [`RegistryError::Damaged`], [`RegistryError::Backend`].
    pub async fn forget_requests(&self, before: Moment) -> Result<u64, RegistryError> {
        let mut count = 0_u64;
        let mut after: Option<String> = None;
        loop {
            let page = self
                .records()
                .list(Done::KIND, "", after.as_deref(), REQUESTS_PAGE_COUNT)
                .await?;
            let Some(last) = page.last() else {
                return Ok(count);
            };
            after = Some(last.key.clone());
            let mut changes = Vec::new();
            for record in page {
                if decode::<Done>(&record)?.value.at < before {
                    changes.push(Change::delete(Done::KIND, record.key, record.revision));
                }
            }
            if !changes.is_empty() {
                count = count.saturating_add(u64::try_from(changes.len()).unwrap_or(u64::MAX));
                self.inner.trail.commit_all(changes, &[]).await?;
            }
        }
    }

    /// Adds to `batch` that the request is done; whether there is something to add.
    pub(super) fn note_request(
        &self,
        batch: &mut Batch,
        at: Moment,
    ) -> Result<bool, RegistryError> {
        let (Some(request), Some(made)) = (&self.request, &batch.subject) else {
            return Ok(false);
        };
        let done = Done {
            content: request.content.clone(),
            made: made.clone(),
            at,
        };
        batch.put(&request.at, &done, None)?;
        Ok(true)
    }

    /// Why a change of a request was not made, of which something was changed in between.
    pub(super) async fn repeated(&self) -> Result<RegistryError, RegistryError> {
        let outcome = match &self.request {
            Some(request) => self.outcome(request).await?,
            None => None,
        };
        Ok(match outcome {
            Some(outcome) => Refusal::Repeated(outcome).into(),
            None => RegistryError::Changed,
        })
    }
}
