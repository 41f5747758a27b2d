//! Sessions: who one belongs to, its end, and taking away what is over.

use super::{Accounts, HashCost, Refused, actor_of, hash_of};
use crate::limits::{ACCOUNTS_PAGE_COUNT, SESSION_USE_KEPT_EVERY_S, SESSIONS_OF_USER_MAX};
use pacs_core::AeTitle;
use pacs_core::access::SignedIn as Person;
use pacs_core::account::session::SessionTimes;
use pacs_core::audit::{Act, Actor, AuditEvent};
use pacs_core::role::visibility::BreakGlass;
use pacs_store::records::Change;
use pacs_store::registry::Registry;
use pacs_store::registry::accounts::{
    AccountDocument, Emergency, Kept, Session, SessionOf, SignedInBy, Throttled, User,
};
use std::net::IpAddr;

/// Bytes of the secret of a session, in digits.
const SECRET_CHARS: usize = 64;

/// Whether this can be the secret of a session.
pub(crate) fn is_secret(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == SECRET_CHARS && text.bytes().all(is_digit)
}

/// Somebody who is signed in, as of one request.
#[derive(Debug, Clone)]
pub struct Who {
    /// The account.
    pub user: Kept<User>,
    /// The session.
    pub session: Kept<Session>,
}

impl Who {
    /// Whether another password comes before anything else: where somebody signed in with one that
    /// another gave them. A provider that knows them has nothing to do with it.
    #[must_use]
    pub fn must_change_password(&self) -> bool {
        must_change_password(&self.user.value, &self.session.value)
    }
}

/// The same of an account and its session.
pub(crate) fn must_change_password(user: &User, session: &Session) -> bool {
    user.must_change_password && session.by == SignedInBy::Password
}

impl Accounts {
    /// Whose session this is.
    ///
    /// # Errors
    /// [`Refused::NotSignedIn`] where there is none, or it is over; [`Refused::Internal`].
    pub async fn who(&self, secret: &str) -> Result<Who, Refused> {
        let who = self.look(secret).await?;
        Ok(self.used(who).await)
    }

    /// Takes note that a session is used, once in a while.
    pub(super) async fn used(&self, who: Who) -> Who {
        let Who { user, mut session } = who;
        let now = self.inner.world.now();
        let unused = now
            .signed_duration_since(session.value.used_at)
            .num_seconds();
        // Of a short time much sooner: who is busy would be signed out else.
        let idle_s = self.session_rules().idle_max.num_seconds();
        if unused.abs() >= SESSION_USE_KEPT_EVERY_S.min(idle_s / 4) {
            session.value.used_at = now;
            let change = session.changed_to(&session.value);
            // Another request of the session may have kept the same.
            self.inner.store.commit(vec![change], &[]).await.ok();
        }
        Who { user, session }
    }

    /// The same for what goes on by itself: it is no use of the session, which ends as if nothing
    /// was asked.
    ///
    /// # Errors
    /// As [`Accounts::who`].
    pub async fn look(&self, secret: &str) -> Result<Who, Refused> {
        if !is_secret(secret) {
            return Err(Refused::NotSignedIn);
        }
        let store = &self.inner.store;
        let session = store.get::<Session>(&hash_of(secret)).await?;
        self.live(session.ok_or(Refused::NotSignedIn)?).await
    }

    /// Whose session it is, unless it is over.
    pub(super) async fn live(&self, session: Kept<Session>) -> Result<Who, Refused> {
        let store = &self.inner.store;
        let now = self.inner.world.now();
        if !session.value.times().is_live(self.session_rules(), now) {
            return Err(Refused::NotSignedIn);
        }
        let user = store.get::<User>(session.value.user.as_str()).await?;
        let is_current =
            |user: &Kept<User>| !user.value.is_disabled && user.value.epoch == session.value.epoch;
        let user = user.filter(is_current).ok_or(Refused::NotSignedIn)?;
        Ok(Who { user, session })
    }

    /// Whoever it is, for the policy, with those whom they have open in an emergency: as of one
    /// request from `address`, or one operation of the AE `device`.
    ///
    /// # Errors
    /// [`Refused::Internal`].
    pub(crate) async fn person(
        &self,
        who: Who,
        registry: &Registry,
        (address, device): (IpAddr, Option<AeTitle>),
    ) -> Result<Person, Refused> {
        let open = self.open_emergencies(&who).await?;
        let open: Vec<BreakGlass> = open.into_iter().map(Into::into).collect();
        let open = registry.by_all_numbers(&open).await.map_err(|error| {
            let error = crate::tool::failure::chain(&error);
            tracing::error!(error, "whom somebody has open could not be read");
            Refused::Internal
        })?;
        let user = who.user.value;
        Ok(Person {
            name: user.name.as_str().to_owned(),
            grants: user.grants,
            is_doctor: user.is_doctor,
            break_glass: open,
            // A few digits of a hash: enough to tell sessions apart.
            session: who.session.key.get(..8).map(str::to_owned),
            address,
            device,
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`Refused::NotSignedIn`] where there is none; [`Refused::Busy`], [`Refused::Internal`].
    pub async fn sign_out(&self, secret: &str, from: IpAddr) -> Result<(), Refused> {
        self.end_session(secret, from, "SIGNED_OUT").await
    }

    pub(super) async fn end_session(
        &self,
        secret: &str,
        from: IpAddr,
        reason: &str,
    ) -> Result<(), Refused> {
        if !is_secret(secret) {
            return Err(Refused::NotSignedIn);
        }
        let store = &self.inner.store;
        // A request beside this one may note that the session was used.
        for _ in 0..4 {
            let session = store.get::<Session>(&hash_of(secret)).await?;
            let session = session.ok_or(Refused::NotSignedIn)?;
            match self.delete_session(&session, Some(from), reason).await {
                Err(Refused::Busy) => {}
                ended => return ended,
            }
        }
        Err(Refused::Busy)
    }

    async fn delete_session(
        &self,
        session: &Kept<Session>,
        from: Option<IpAddr>,
        reason: &str,
    ) -> Result<(), Refused> {
        let store = &self.inner.store;
        let user = store.get::<User>(session.value.user.as_str()).await?;
        let actor = user.map_or_else(Actor::nobody, |user| {
            actor_of(&user.value, Some(&session.key))
        });
        let mut event = self.event(Act::SignedOut, actor, from);
        event.object.user = Some(session.value.user.as_str().to_owned());
        event.reason = Some(reason.to_owned());
        let mut changes = vec![session.deleted()];
        let place = session.value.place(&session.key);
        if let Some(place) = store.get::<SessionOf>(&place).await? {
            changes.push(place.deleted());
        }
        Ok(store.commit(changes, &[event]).await?)
    }

    /// What ends so that `user` has a place for one more session: the oldest, where there are too
    /// many.
    pub(super) async fn make_place(
        &self,
        user: &User,
        from: IpAddr,
    ) -> Result<(Vec<Change>, Vec<AuditEvent>), Refused> {
        let store = &self.inner.store;
        let prefix = format!("{}~", user.name);
        let places = store.list::<SessionOf>(&prefix, None, SESSIONS_OF_USER_MAX);
        let places = places.await?;
        let (mut changes, mut events) = (Vec::new(), Vec::new());
        if let Some(oldest) = places.first()
            && places.len() >= SESSIONS_OF_USER_MAX
        {
            changes.push(oldest.deleted());
            let session = store.get::<Session>(&oldest.value.session).await?;
            if let Some(session) = session {
                changes.push(session.deleted());
                let actor = actor_of(user, Some(&session.key));
                let mut event = self.event(Act::SignedOut, actor, Some(from));
                event.object.user = Some(user.name.as_str().to_owned());
                event.reason = Some("TOO_MANY_SESSIONS".to_owned());
                events.push(event);
            }
        }
        Ok((changes, events))
    }

    /// Takes away sessions that are over and what is forgiven, and closes emergencies.
    pub(super) async fn sweep(&self) -> Result<(), Refused> {
        let now = self.inner.world.now();
        let rules = self.session_rules();
        let is_over = |times: SessionTimes| !times.is_live(rules, now);
        for session in self.all::<Session>().await? {
            if is_over(session.value.times()) {
                // One that is used at this moment is no longer over.
                self.delete_session(&session, None, "EXPIRED").await.ok();
            }
        }
        for throttled in self.all::<Throttled>().await? {
            if throttled.value.throttle.is_forgiven(now) {
                let change = vec![throttled.deleted()];
                self.inner.store.commit(change, &[]).await.ok();
            }
        }
        for emergency in self.all::<Emergency>().await? {
            self.close_if_over(&emergency).await?;
        }
        self.learn_costs().await
    }

    /// Takes note of what the passwords of all accounts cost.
    async fn learn_costs(&self) -> Result<(), Refused> {
        let mut costs = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let store = &self.inner.store;
            let page = store.list::<User>("", after.as_deref(), ACCOUNTS_PAGE_COUNT);
            let page = page.await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            costs.extend(page.iter().map(|user| HashCost {
                memory_kib: user.value.password.memory_kib,
                passes: user.value.password.passes,
            }));
        }
        self.inner.hashing.learn(costs);
        Ok(())
    }

    pub(super) async fn all<T: AccountDocument>(&self) -> Result<Vec<Kept<T>>, Refused> {
        self.all_below("").await
    }

    /// All documents of a kind whose keys begin so.
    pub(super) async fn all_below<T: AccountDocument>(
        &self,
        prefix: &str,
    ) -> Result<Vec<Kept<T>>, Refused> {
        let mut all: Vec<Kept<T>> = Vec::new();
        loop {
            let after = all.last().map(|last| last.key.as_str());
            let page = self
                .inner
                .store
                .list::<T>(prefix, after, ACCOUNTS_PAGE_COUNT);
            let page = page.await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}
