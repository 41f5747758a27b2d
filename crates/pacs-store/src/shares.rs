//! Shares of something of which there is so much for all together: turns, or memory in units of
//! some size. Each caller gets no more than their own part, so that one cannot keep others waiting.

use pacs_core::access::Holder;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// All there is.
#[derive(Debug)]
pub struct Shares {
    all: Arc<Semaphore>,
    all_max: u32,
    /// Of the callers that hold some of it, or wait for it.
    own: Mutex<HashMap<Holder, Weak<Semaphore>>>,
    of_caller_max: u32,
    wait_max: Duration,
}

/// A part of it, until it is dropped.
#[derive(Debug)]
pub struct Share {
    of_all: OwnedSemaphorePermit,
    own: Option<OwnedSemaphorePermit>,
    limits: (u32, u32),
}

/// There was none for as long as one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("others hold all of it at the moment")]
pub struct NoShare;

impl Shares {
    /// `all_max` units, of which one caller has `of_caller_max`. Who wants more of it waits for up
    /// to `wait_max`.
    #[must_use]
    pub fn new(all_max: u32, of_caller_max: u32, wait_max: Duration) -> Self {
        let permits = usize::try_from(all_max).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            all: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            all_max,
            own: Mutex::default(),
            of_caller_max,
            wait_max,
        }
    }

    /// A share of so many units for `holder`, once they are free; who wants more than there is
    /// waits for all of it. Nobody, and the system itself, has no part of their own: they wait for
    /// what is there for all.
    ///
    /// # Errors
    /// [`NoShare`].
    pub async fn take(&self, holder: Option<&Holder>, units: u32) -> Result<Share, NoShare> {
        let share = timeout(self.wait_max, self.wait(holder, units)).await;
        share.ok().flatten().ok_or(NoShare)
    }

    /// As [`Self::take`], without waiting for anything.
    ///
    /// # Errors
    /// [`NoShare`].
    pub fn take_now(&self, holder: Option<&Holder>, units: u32) -> Result<Share, NoShare> {
        let limits = (self.all_max, self.of_caller_max);
        let taken = |from: Arc<Semaphore>, most: u32| {
            let units = from.try_acquire_many_owned(units.min(most));
            units.map_err(|_none| NoShare)
        };
        let own = holder.filter(|holder| **holder != Holder::System);
        let own = own.map(|holder| taken(self.of(holder), limits.1));
        Ok(Share {
            own: own.transpose()?,
            of_all: taken(Arc::clone(&self.all), limits.0)?,
            limits,
        })
    }

    /// `None` where the units were closed, which they never are.
    async fn wait(&self, holder: Option<&Holder>, units: u32) -> Option<Share> {
        let limits = (self.all_max, self.of_caller_max);
        // Whoever waits for their own part keeps nobody else from theirs.
        let own = match holder {
            None | Some(Holder::System) => None,
            Some(holder) => {
                let own = self.of(holder).acquire_many_owned(units.min(limits.1));
                Some(own.await.ok()?)
            }
        };
        let of_all = Arc::clone(&self.all).acquire_many_owned(units.min(limits.0));
        Some(Share {
            of_all: of_all.await.ok()?,
            own,
            limits,
        })
    }

    fn of(&self, holder: &Holder) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        // As many as hold or wait: who does neither any more is forgotten.
        own.retain(|_, units| units.strong_count() > 0);
        if let Some(units) = own.get(holder).and_then(Weak::upgrade) {
            return units;
        }
        let permits = usize::try_from(self.of_caller_max).unwrap_or(Semaphore::MAX_PERMITS);
        let units = Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        own.insert(holder.clone(), Arc::downgrade(&units));
        units
    }
}

impl Share {
    /// Sees to it that it is of `units`, or of all there are. Does not wait: two that wait for what
    /// the other one has would wait for ever.
    ///
    /// # Errors
    /// [`NoShare`]; it is as large as it was.
    pub fn need(&mut self, units: u32) -> Result<(), NoShare> {
        let own = self.own.as_ref();
        let own = own.map(|own| more(own, units.min(self.limits.1)));
        let own = own.transpose()?.flatten();
        let of_all = more(&self.of_all, units.min(self.limits.0))?;
        if let Some(of_all) = of_all {
            self.of_all.merge(of_all);
        }
        if let (Some(all), Some(more)) = (&mut self.own, own) {
            all.merge(more);
        }
        Ok(())
    }
}

/// What `held` lacks of `units`, where it lacks any.
fn more(held: &OwnedSemaphorePermit, units: u32) -> Result<Option<OwnedSemaphorePermit>, NoShare> {
    let here = u32::try_from(held.num_permits()).unwrap_or(u32::MAX);
    let missing = units.saturating_sub(here);
    if missing == 0 {
        return Ok(None);
    }
    let more = Arc::clone(held.semaphore()).try_acquire_many_owned(missing);
    more.map(Some).map_err(|_none| NoShare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    fn is_waiting<F: Future>(future: Pin<&mut F>) -> bool {
        let polled = future.poll(&mut Context::from_waker(Waker::noop()));
        matches!(polled, Poll::Pending)
    }

    fn client(name: &str) -> Holder {
        Holder::Client(name.to_owned())
    }

    #[tokio::test]
    async fn one_caller_has_its_share_and_leaves_the_rest_to_others() {
        let shares = Shares::new(4, 2, Duration::from_secs(60));
        let (one, other) = (client("one"), client("other"));
        let first = shares.take(Some(&one), 1).await.unwrap();
        let _second = shares.take(Some(&one), 1).await.unwrap();
        let mut third = pin!(shares.take(Some(&one), 1));
        assert!(is_waiting(third.as_mut()));

        let _others = shares.take(Some(&other), 1).await.unwrap();
        let _of_the_system = shares.take(Some(&Holder::System), 1).await.unwrap();

        drop(first);
        assert!(third.await.is_ok());
        drop(shares.take(Some(&other), 1).await.unwrap());
        assert!(shares.own.lock().unwrap().len() <= 2);
    }

    #[tokio::test]
    async fn who_waits_for_long_is_told_so_and_who_holds_nothing_is_forgotten() {
        let shares = Shares::new(1, 1, Duration::ZERO);
        let held = shares.take(None, 1).await.unwrap();
        let refused = shares.take(Some(&client("one")), 1).await;
        assert_eq!(refused.err(), Some(NoShare));
        drop(held);
        assert!(shares.take(Some(&client("one")), 1).await.is_ok());
        shares.of(&client("other"));
        assert_eq!(shares.own.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_share_grows_as_far_as_there_is_any_and_stays_as_it_was_where_not() {
        let shares = Shares::new(8, 6, Duration::ZERO);
        let (one, other) = (client("one"), client("other"));
        let mut first = shares.take(Some(&one), 1).await.unwrap();
        let mut second = shares.take(Some(&other), 3).await.unwrap();
        assert_eq!(first.need(6), Err(NoShare));
        assert_eq!(first.need(5), Ok(()));
        assert_eq!(second.need(4), Err(NoShare));
        drop(first);
        assert_eq!(second.need(4), Ok(()));
        assert!(shares.take(Some(&one), 5).await.is_err());
        assert!(shares.take(Some(&one), 4).await.is_ok());
        assert_eq!(shares.take_now(Some(&other), 3).err(), Some(NoShare));
        drop(shares.take_now(Some(&other), 2).unwrap());
        assert!(shares.take_now(Some(&one), 4).is_ok());
        drop(second);
        // More than there is gets all.
        let mut all = shares.take(Some(&one), u32::MAX).await.unwrap();
        assert_eq!(all.need(u32::MAX), Ok(()));
        assert!(shares.take(Some(&other), 1).await.is_err());
    }
}
