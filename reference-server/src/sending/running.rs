//! One attempt to send what is left of a sending.

use super::feed::{Feed, Inbox};
use super::{Shared, of};
use pacs_core::{Level, SopClassUid, TransferSyntaxUid};
use pacs_net::service::SubOperations;
use pacs_net::{NetLimits, Requestor};
use pacs_store::registry::sendings::{Answers, Sending, SendingState};
use pacs_store::registry::{RegistryError, Stored};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// Presentation contexts that one association is asked for.
const CONTEXTS_MAX: usize = 120;

/// How an attempt ended that the registry could write down.
enum Attempted {
    /// All that there is was answered.
    Complete,
    /// It has to be tried again, and why.
    Again(String),
}

impl Shared {
    /// Sends what is left, and writes down how that ended.
    pub(super) async fn attempt(&self, sending: Stored<Sending>) {
        let id = sending.value.id.clone();
        match self.send(sending).await {
            Ok(()) => {}
            // Somebody broke it off.
            Err(RegistryError::Changed) => {
                tracing::info!(sending = %id, "a sending was broken off");
            }
            Err(error) => {
                let error = crate::tool::failure::chain(&error);
                tracing::error!(error, sending = %id, "how far a sending is cannot be kept");
                self.pause(&id, 3);
            }
        }
    }

    async fn send(&self, mut sending: Stored<Sending>) -> Result<(), RegistryError> {
        let (taken_before, refused_before) =
            (sending.value.taken_count, sending.value.refused_count);
        let inbox = Inbox::default();
        let attempted = self.associate(&mut sending, &inbox).await?;
        let answers = inbox.take();
        self.note(&mut sending, &answers, |_| {}).await?;
        let value = &sending.value;
        let has_moved = value.taken_count > taken_before || value.refused_count > refused_before;
        let why = match attempted {
            Attempted::Complete => None,
            Attempted::Again(why) => Some(why),
        };
        let age = self.parts.world.moment().signed_duration_since(value.at);
        let is_over = age
            .to_std()
            .is_ok_and(|age| age >= self.parts.bounds.tried_for);
        let attempts_count = match (&why, has_moved) {
            (None, _) => 0,
            (Some(_), true) => 1,
            (Some(_), false) => value.attempts_count.saturating_add(1),
        };
        let state = match &why {
            None => SendingState::Done,
            Some(_) if is_over => SendingState::GivenUp,
            Some(_) => SendingState::Open,
        };
        let change = |sending: &mut Sending| {
            sending.state = state;
            sending.attempts_count = attempts_count;
            sending.failure.clone_from(&why);
        };
        self.note(&mut sending, &Answers::default(), change).await?;
        let value = &sending.value;
        tracing::info!(
            sending = %value.id, called = %value.destination, state = ?value.state,
            taken = value.taken_count, refused = value.refused_count, why,
            "a study was sent, as far as it was"
        );
        if state == SendingState::Open {
            self.pause(&sending.value.id, attempts_count);
        }
        Ok(())
    }

    /// Sends over as many associations as it takes.
    async fn associate(
        &self,
        sending: &mut Stored<Sending>,
        inbox: &Inbox,
    ) -> Result<Attempted, RegistryError> {
        let Some(remote) = self.parts.access.remote_ae(&sending.value.destination) else {
            return Ok(Attempted::Again(
                "the AE has no address any more".to_owned(),
            ));
        };
        let address = remote.address.to_string();
        let value = &sending.value;
        let query = of(Level::Study, &value.study, None);
        let query = match &value.series {
            None => query,
            Some(series) => of(Level::Series, &value.study, Some(series)),
        };
        let mut passes_left = 2_u32;
        loop {
            let answered = self.registry.answered(&sending.value).await?;
            let services = &self.parts.services;
            let outgoing = services.outgoing_of(&self.moves, &query, &answered).await;
            let (outgoing, left) = match outgoing {
                Ok(outgoing) => outgoing,
                Err(error) => return Ok(Attempted::Again(error.to_string())),
            };
            let count = outgoing.count() as u64;
            if sending.value.instances_count != count {
                let change = |sending: &mut Sending| sending.instances_count = count;
                self.note(sending, &Answers::default(), change).await?;
            }
            if left == 0 {
                return Ok(Attempted::Complete);
            }
            if passes_left == 0 {
                return Ok(Attempted::Again(
                    "the peer had no room for all of it".to_owned(),
                ));
            }
            passes_left = passes_left.saturating_sub(1);
            let sent = self
                .over_one(sending, &address, outgoing, &answered, inbox)
                .await?;
            let answers = inbox.take();
            self.note(sending, &answers, |_| {}).await?;
            if let Err(why) = sent {
                return Ok(Attempted::Again(why));
            }
        }
    }

    /// Sends over one association; an error text where it failed.
    async fn over_one(
        &self,
        sending: &mut Stored<Sending>,
        address: &str,
        outgoing: Box<dyn SubOperations>,
        answered: &BTreeSet<pacs_core::SopInstanceUid>,
        inbox: &Inbox,
    ) -> Result<Result<(), String>, RegistryError> {
        let destination = sending.value.destination.clone();
        let mut builder = Requestor::builder(self.parts.our_title.clone(), destination)
            .connector(std::sync::Arc::clone(&self.parts.connector))
            .limits(NetLimits::default());
        for (class, syntaxes) in proposals(&*outgoing) {
            let syntaxes: Vec<&str> = syntaxes.iter().map(|syntax| syntax.as_str()).collect();
            builder = builder.context(class.as_str(), &syntaxes);
        }
        let mut association = match builder.connect(address).await {
            Ok(association) => association,
            Err(error) => return Ok(Err(crate::tool::failure::chain(&error))),
        };
        let contexts = association.negotiated().contexts().iter();
        let contexts = contexts.map(|of| (of.abstract_syntax.clone(), of.transfer_syntax.clone()));
        let mut feed = Feed {
            shared: self,
            inner: outgoing,
            answered,
            contexts: contexts.collect(),
            inbox,
            sending,
            noted_at: Instant::now(),
            ended: None,
        };
        let report = |instance: &_, response: &_| inbox.put(instance, response);
        let sent = association.store_all(&mut feed, report).await;
        if let Some(error) = feed.ended.take() {
            association.abort().await;
            return Err(error);
        }
        Ok(match sent {
            Ok(()) => {
                if let Err(error) = association.release().await {
                    tracing::debug!(%error, "release failed");
                }
                Ok(())
            }
            Err(error) => Err(crate::tool::failure::chain(&error)),
        })
    }

    /// Writes down what came of a sending.
    pub(super) async fn note(
        &self,
        sending: &mut Stored<Sending>,
        answers: &Answers,
        change: impl FnOnce(&mut Sending) + Send,
    ) -> Result<(), RegistryError> {
        let at = self.parts.world.moment();
        *sending = self
            .registry
            .note_sending(sending, answers, change, at)
            .await?;
        Ok(())
    }

    /// It is tried again after a while: the more often it failed, the longer.
    fn pause(&self, id: &pacs_store::registry::rejections::RejectionId, attempts_count: u32) {
        let bounds = self.parts.bounds;
        let doublings = attempts_count.saturating_sub(1).min(16);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let pause: Duration = bounds
            .retry_first
            .saturating_mul(factor)
            .min(bounds.retry_longest);
        self.pauses().insert(id.clone(), Instant::now() + pause);
    }
}

/// A presentation context for each kind as it is kept, and one for each class with what its
/// instances can be converted to.
fn proposals(outgoing: &dyn SubOperations) -> Vec<(SopClassUid, Vec<TransferSyntaxUid>)> {
    let kinds: BTreeSet<_> = outgoing.kinds().into_iter().collect();
    let mut contexts: Vec<(SopClassUid, Vec<TransferSyntaxUid>)> = Vec::new();
    for (class, kept) in &kinds {
        contexts.push((class.clone(), vec![kept.clone()]));
    }
    let classes: BTreeSet<_> = kinds.iter().map(|(class, _)| class).collect();
    for class in classes {
        let mut others: Vec<TransferSyntaxUid> = Vec::new();
        for (_, kept) in kinds.iter().filter(|(of, _)| of == class) {
            for other in outgoing.conversions(kept) {
                if !others.contains(&other) {
                    others.push(other);
                }
            }
        }
        if !others.is_empty() {
            contexts.push((class.clone(), others));
        }
    }
    contexts.truncate(CONTEXTS_MAX);
    contexts
}
