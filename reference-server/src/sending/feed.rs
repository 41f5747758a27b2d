//! What one association sends: the instances that are not answered yet, in a form that the peer
//! takes, and what it answered.

use async_trait::async_trait;
use pacs_core::{SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_net::requestor::{RequestorError, StoreResponse};
use pacs_net::service::{OutgoingInstance, SubOperations};
use pacs_store::registry::sendings::{Answers, NotTaken, Sending};
use pacs_store::registry::{RegistryError, Stored};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

use super::Shared;

/// Status of a peer that has no room now (PS3.4 B.2.3, `A7xxH`).
const OUT_OF_RESOURCES: std::ops::RangeInclusive<u16> = 0xA700..=0xA7FF;

/// What came since it was written down last.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Answers>);

impl Inbox {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came of one instance. What may be taken another time is no answer.
    pub(super) fn put(
        &self,
        instance: &SopInstanceUid,
        response: &Result<StoreResponse, RequestorError>,
    ) {
        match response {
            Ok(response) => {
                let taken = (instance.clone(), response.is_warning());
                self.answers().taken.push(taken);
            }
            Err(RequestorError::Status { code, comment }) => {
                if !OUT_OF_RESOURCES.contains(code) {
                    let why = comment.clone().unwrap_or_default();
                    self.refuse(instance, Some(*code), why);
                }
            }
            Err(
                error @ (RequestorError::NoPresentationContext { .. } | RequestorError::Source(_)),
            ) => {
                self.refuse(instance, None, crate::tool::failure::chain(error));
            }
            Err(_) => {}
        }
    }

    pub(super) fn refuse(&self, instance: &SopInstanceUid, status: Option<u16>, why: String) {
        self.answers().refused.push(NotTaken {
            instance: instance.clone(),
            status,
            why,
        });
    }

    pub(super) fn take(&self) -> Answers {
        std::mem::take(&mut self.answers())
    }

    fn len(&self) -> usize {
        self.answers().len()
    }
}

/// In which form a peer takes an instance.
enum Form {
    AsItIs,
    In(TransferSyntaxUid),
    None,
}

/// The instances of one association.
pub(super) struct Feed<'a> {
    pub(super) shared: &'a Shared,
    pub(super) inner: Box<dyn SubOperations>,
    /// Those that were answered before.
    pub(super) answered: &'a BTreeSet<SopInstanceUid>,
    /// What was agreed.
    pub(super) contexts: HashSet<(SopClassUid, TransferSyntaxUid)>,
    pub(super) inbox: &'a Inbox,
    pub(super) sending: &'a mut Stored<Sending>,
    pub(super) noted_at: Instant,
    /// Why it goes no further.
    pub(super) ended: Option<RegistryError>,
}

impl Feed<'_> {
    /// Writes down what came, where that is much, or was long ago.
    async fn note(&mut self) {
        let bounds = self.shared.parts.bounds;
        let is_due = self.inbox.len() >= bounds.noted_count
            || (self.inbox.len() > 0 && self.noted_at.elapsed() >= bounds.noted_every);
        if !is_due {
            return;
        }
        self.noted_at = Instant::now();
        if let Err(error) = self
            .shared
            .note(self.sending, &self.inbox.take(), |_| {})
            .await
        {
            self.ended = Some(error);
        }
    }

    /// In which form the peer takes an instance.
    fn form_of(&self, instance: &OutgoingInstance) -> Form {
        let is_agreed = |syntax: &TransferSyntaxUid| {
            let kind = (instance.sop_class.clone(), syntax.clone());
            self.contexts.contains(&kind)
        };
        if is_agreed(&instance.transfer_syntax) {
            return Form::AsItIs;
        }
        let others = self.inner.conversions(&instance.transfer_syntax);
        others
            .into_iter()
            .find(is_agreed)
            .map_or(Form::None, Form::In)
    }

    /// The instance as the peer takes it; `None` where it does not, which is noted.
    async fn fitting(&mut self, instance: OutgoingInstance) -> Option<OutgoingInstance> {
        let to = match self.form_of(&instance) {
            Form::AsItIs => return Some(instance),
            Form::In(to) => Some(to),
            Form::None => None,
        };
        let inbox = self.inbox;
        let uid = instance.sop_instance.clone();
        let Some(to) = to else {
            let why = "the peer takes neither the SOP class nor a transfer syntax of it";
            inbox.refuse(&uid, None, why.to_owned());
            return None;
        };
        let OutgoingInstance {
            sop_class,
            sop_instance,
            length_bytes,
            source,
            ..
        } = instance;
        match source.convert(&to).await {
            Ok(source) => Some(OutgoingInstance {
                sop_class,
                sop_instance,
                transfer_syntax: to,
                length_bytes,
                source,
            }),
            Err(error) => {
                let why = crate::tool::failure::chain(&error);
                inbox.refuse(&uid, None, why);
                None
            }
        }
    }
}

#[async_trait]
impl SubOperations for Feed<'_> {
    fn count(&self) -> usize {
        self.inner.count()
    }

    fn kinds(&self) -> Vec<(SopClassUid, TransferSyntaxUid)> {
        self.inner.kinds()
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        loop {
            self.note().await;
            if self.ended.is_some() {
                return None;
            }
            let instance = self.inner.next().await?;
            if self.answered.contains(&instance.sop_instance) {
                continue;
            }
            if let Some(instance) = self.fitting(instance).await {
                return Some(instance);
            }
        }
    }
}
