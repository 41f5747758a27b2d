//! Signing in: a name, a password, and a code where there is a second factor.

use super::manage::first_password_until;
use super::throttling::Tried;
use super::{Accounts, Refused, actor_of, hash_of, hex};
use crate::oidc::Identity;
use pacs_core::account::UserName;
use pacs_core::account::password::Password;
use pacs_core::audit::{Act, Actor, AuditEvent, Outcome};
use pacs_store::registry::accounts::{Kept, Session, SessionOf, SignedInBy, User, put};
use std::fmt;
use std::net::IpAddr;

/// What somebody typed. `Debug` shows nothing of it.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
    /// The code of the second factor.
    pub code: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[credentials]")
    }
}

/// Somebody who is signed in now.
#[derive(Clone)]
pub struct SignedIn {
    /// The secret of the session, for the cookie alone.
    pub secret: String,
    /// Who.
    pub user: User,
    /// The session.
    pub session: Session,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn")
            .field("user", &self.user.name)
            .finish_non_exhaustive()
    }
}

/// By what somebody is signed in.
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    Password,
    Provider(&'a Identity),
}

impl Accounts {
    /// Signs in. A session is always a new one; `old` is the secret of one that ends by it.
    ///
    /// # Errors
    /// [`Refused::WrongCredentials`], [`Refused::CodeNeeded`], [`Refused::Wait`],
    /// [`Refused::Busy`], [`Refused::Internal`].
    pub async fn sign_in(
        &self,
        typed: &Credentials,
        old: Option<&str>,
        from: IpAddr,
    ) -> Result<SignedIn, Refused> {
        let attempt = self.attempt(Tried::SignIn, &typed.user, from).await?;
        let name = UserName::parse(&typed.user).ok();
        let found = self.user(name.as_ref()).await?;
        let known = found.as_ref().map(|user| user.value.name.clone());
        let enabled = found.filter(|user| !user.value.is_disabled);
        let password = Password::typed(&typed.password).ok();
        let kept = enabled.as_ref().map(|user| &user.value.password);
        let hashing = &self.inner.hashing;
        let is_right = hashing.is_right(password.as_ref(), kept, &typed.user);
        let is_right = is_right.await?;
        let (Some(user), Some(password), true) = (enabled, password, is_right) else {
            let wrong = attempt.failed(Act::SignedIn, known.as_ref(), "WRONG_CREDENTIALS");
            return Err(wrong.await);
        };
        if self.is_over(&user.value) {
            let over = attempt.failed(Act::SignedIn, known.as_ref(), "FIRST_PASSWORD_OVER");
            return Err(over.await);
        }
        let mut next = user.value.clone();
        // Whoever tries codes knows the password: that is counted apart.
        let attempt = match typed.code {
            Some(_) => {
                self.attempt(Tried::Code, user.value.name.as_str(), from)
                    .await?
            }
            None => attempt,
        };
        match self.second_factor(&mut next, typed.code.as_deref()) {
            Ok(()) => {}
            Err(Refused::WrongCredentials) => {
                let wrong = attempt.failed(Act::SignedIn, known.as_ref(), "WRONG_CODE");
                return Err(wrong.await);
            }
            Err(Refused::CodeNeeded) => {
                // Somebody knows the password: that is told, before it is confirmed to them.
                return Err(self.code_needed(known.as_ref(), from).await);
            }
            Err(refused) => return Err(refused),
        }
        if self.inner.hashing.is_outdated(&next.password) {
            let world = &self.inner.world;
            next.password = self.inner.hashing.hash(&password, world).await?;
        }
        if let Some(old) = old {
            // Whoever it belonged to: the browser has another one now.
            self.end_session(old, from, "SIGNED_IN_AGAIN").await.ok();
        }
        let by = By::Password;
        self.begin_session(&user, next, from, (by, None)).await
    }

    /// Whether the password of a user is one that somebody else gave them, too long ago.
    pub(super) fn is_over(&self, user: &User) -> bool {
        let now = self.inner.world.now();
        first_password_until(user).is_some_and(|until| now >= until)
    }

    /// Tells that somebody has come as far as the code of their second factor.
    pub(super) async fn code_needed(&self, user: Option<&UserName>, from: IpAddr) -> Refused {
        let mut event = self.event(Act::SignedIn, Actor::nobody(), Some(from));
        event.outcome = Outcome::MinorFailure;
        event.reason = Some("CODE_NEEDED".to_owned());
        event.object.user = user.map(|name| name.as_str().to_owned());
        match self.inner.store.commit(Vec::new(), &[event]).await {
            Ok(()) => Refused::CodeNeeded,
            Err(error) => error.into(),
        }
    }

    /// The account of a name, if there is one.
    pub(super) async fn user(
        &self,
        name: Option<&UserName>,
    ) -> Result<Option<Kept<User>>, Refused> {
        match name {
            Some(name) => Ok(self.inner.store.get(name.as_str()).await?),
            None => Ok(None),
        }
    }

    /// Compares the code of `user`, where they have a second factor, and marks it as used.
    pub(super) fn second_factor(&self, user: &mut User, code: Option<&str>) -> Result<(), Refused> {
        let confirmed = user.second_factor.as_mut();
        let Some(factor) = confirmed.filter(|factor| factor.is_confirmed) else {
            return Ok(());
        };
        let code = code.ok_or(Refused::CodeNeeded)?;
        let now = u64::try_from(self.inner.world.now().timestamp()).unwrap_or_default();
        let step = factor.secret.check(code, now, factor.last_step);
        factor.last_step = Some(step.ok_or(Refused::WrongCredentials)?);
        Ok(())
    }

    /// A new session of `user`, who becomes `next` by it; `told` is what else is told of that
    /// change, all at once.
    pub(super) async fn begin_session(
        &self,
        user: &Kept<User>,
        next: User,
        from: IpAddr,
        (by, told): (By<'_>, Option<AuditEvent>),
    ) -> Result<SignedIn, Refused> {
        let now = self.inner.world.now();
        let secret = hex(&self.inner.world.random::<32>()?);
        let key = hash_of(&secret);
        let session = Session {
            user: next.name.clone(),
            epoch: next.epoch,
            began_at: now,
            used_at: now,
            by: match by {
                By::Password => SignedInBy::Password,
                By::Provider(_) => SignedInBy::Provider,
            },
            passcode: None,
        };
        let mut event = self.event(Act::SignedIn, actor_of(&next, Some(&key)), Some(from));
        event.object.user = Some(next.name.as_str().to_owned());
        if let By::Provider(Identity {
            issuer, subject, ..
        }) = by
        {
            event.reason = Some(format!("BY_PROVIDER {subject}"));
            event.object.node = Some(issuer.clone());
        }
        let (mut changes, mut events) = self.make_place(&next, from).await?;
        changes.push(put(&key, &session, None));
        let place = SessionOf {
            session: key.clone(),
        };
        changes.push(put(&session.place(&key), &place, None));
        if next != user.value {
            changes.push(user.changed_to(&next));
        }
        events.extend(told.into_iter().chain([event]));
        self.inner.store.commit(changes, &events).await?;
        Ok(SignedIn {
            secret,
            user: next,
            session,
        })
    }
}
