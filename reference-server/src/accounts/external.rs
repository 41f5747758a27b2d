//! Accounts that are linked with identities at a provider, and signing in by one.
//!
//! The provider says who somebody is. Whether they get in, and what they may do, is what their
//! account here says: nobody who is not linked gets in, and no account makes itself.

use super::administer::Known;
use super::sign_in::By;
use super::throttling::{Attempt, Tried};
use super::{Accounts, Refused, SignedIn};
use crate::limits::{EXTERNAL_IDENTITIES_MAX, ISSUER_CHARS_MAX};
use crate::oidc::{Identity, is_subject};
use pacs_core::account::UserName;
use pacs_core::audit::{Act, Actor, Outcome};
use pacs_store::registry::accounts::{ExternalIdentity, ExternalOf, Kept, User, put};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// An issuer and a subject that an account can be linked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    issuer: String,
    subject: String,
}

impl Named {
    /// Reads them; `None` where no provider could say so.
    #[must_use]
    pub fn parse(issuer: &str, subject: &str) -> Option<Self> {
        let is_url = issuer.starts_with("https://") || issuer.starts_with("http://");
        let is_plain = issuer.bytes().all(|byte| byte.is_ascii_graphic());
        let is_short = issuer.len() <= ISSUER_CHARS_MAX;
        (is_url && is_plain && is_short && is_subject(subject)).then(|| Self {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        })
    }

    /// Whose subject it is.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    fn key(&self) -> String {
        ExternalIdentity::key(&self.issuer, &self.subject)
    }

    fn is(&self, external: &ExternalIdentity) -> bool {
        external.issuer == self.issuer && external.subject == self.subject
    }
}

/// Somebody of a network who brings an answer of the provider, until it is dropped: more who come
/// at once are not more attempts than one by one.
pub struct Coming<'a>(Attempt<'a>);

impl fmt::Debug for Coming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coming").finish_non_exhaustive()
    }
}

impl Coming<'_> {
    /// What they brought was forged, as far as can be told: keeps that, and counts it for the
    /// network.
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::Internal`].
    pub async fn was_forged(self, reason: &str) -> Result<(), Refused> {
        let refused = self.0.failed(Act::SignedIn, None, reason).await;
        // What it would be called of a password.
        if refused == Refused::WrongCredentials {
            return Ok(());
        }
        Err(refused)
    }
}

/// What a browser shows that comes from the provider.
#[derive(Debug, Clone, Copy)]
pub struct Shows<'a> {
    /// Who it is, as the provider says.
    pub identity: &'a Identity,
    /// The provider has asked for as much as a second factor is.
    pub is_second_factor: bool,
    /// The code of the second factor of the account.
    pub code: Option<&'a str>,
    /// The secret of the session that the browser had, which ends.
    pub old: Option<&'a str>,
}

impl Accounts {
    /// Links an account, which must be as it was read, with an identity.
    ///
    /// # Errors
    /// [`Refused::Taken`] where an account has it, [`Refused::TooMany`], [`Refused::Busy`],
    /// [`Refused::Internal`].
    pub async fn link(
        &self,
        known: &Known,
        named: &Named,
        by: Actor,
        from: Option<IpAddr>,
    ) -> Result<(), Refused> {
        let key = named.key();
        if self.inner.store.get::<ExternalOf>(&key).await?.is_some() {
            return Err(Refused::Taken);
        }
        let mut next = known.value.clone();
        if next.external.len() >= EXTERNAL_IDENTITIES_MAX {
            return Err(Refused::TooMany);
        }
        next.external.push(ExternalIdentity {
            issuer: named.issuer.clone(),
            subject: named.subject.clone(),
            linked_at: self.inner.world.now(),
        });
        let of = ExternalOf {
            user: next.name.clone(),
        };
        let changes = vec![put(&key, &of, None), known.changed_to(&next)];
        let mut event = self.told_of_account(&next, by, &told("LINKED", named));
        event.from = from;
        Ok(self.inner.store.commit(changes, &[event]).await?)
    }

    /// Takes an identity from an account, which must be as it was read. Its sessions end.
    ///
    /// # Errors
    /// [`Refused::NotFound`] where the account does not have it, [`Refused::Busy`],
    /// [`Refused::Internal`].
    pub async fn unlink(
        &self,
        known: &Known,
        named: &Named,
        by: Actor,
        from: Option<IpAddr>,
    ) -> Result<(), Refused> {
        let mut next = known.value.clone();
        next.external.retain(|external| !named.is(external));
        if next.external.len() == known.value.external.len() {
            return Err(Refused::NotFound);
        }
        next.epoch = next.epoch.saturating_add(1);
        let mut changes = vec![known.changed_to(&next)];
        if let Some(of) = self.inner.store.get::<ExternalOf>(&named.key()).await? {
            changes.push(of.deleted());
        }
        let mut event = self.told_of_account(&next, by, &told("UNLINKED", named));
        event.from = from;
        Ok(self.inner.store.commit(changes, &[event]).await?)
    }

    /// As [`Accounts::link`] and [`Accounts::unlink`], of an account as it is.
    ///
    /// # Errors
    /// Theirs, and [`Refused::NotFound`].
    pub async fn set_linked(
        &self,
        name: &UserName,
        named: &Named,
        is_linked: bool,
        by: Actor,
    ) -> Result<(), Refused> {
        let known = self.known(name).await?;
        if is_linked {
            self.link(&known, named, by, None).await
        } else {
            self.unlink(&known, named, by, None).await
        }
    }

    /// Whether the network of `from` may bring an answer of a provider. What comes of it is held
    /// while the provider is asked.
    ///
    /// # Errors
    /// [`Refused::Wait`] where too many were forged, or are under way; [`Refused::Internal`].
    pub async fn may_come_from_provider(&self, from: IpAddr) -> Result<Coming<'_>, Refused> {
        let attempt = self.attempt(Tried::Provider, "", from).await?;
        Ok(Coming(attempt))
    }

    /// Tells that somebody whom the provider let in is not let in here, and why. It is no guess:
    /// nothing is counted.
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::Internal`].
    pub async fn came_in_vain(
        &self,
        identity: &Identity,
        user: Option<&UserName>,
        (why, from): (&str, IpAddr),
    ) -> Result<(), Refused> {
        let Identity {
            issuer,
            subject,
            shown,
        } = identity;
        let mut event = self.event(Act::SignedIn, Actor::nobody(), Some(from));
        event.outcome = Outcome::MinorFailure;
        event.reason = Some(if shown == subject {
            format!("{why} {subject}")
        } else {
            format!("{why} {subject} ({shown})")
        });
        event.object.user = user.map(|name| name.as_str().to_owned());
        event.object.node = Some(issuer.clone());
        Ok(self.inner.store.commit(Vec::new(), &[event]).await?)
    }

    /// Signs in whom a provider knows. A session is always a new one.
    ///
    /// # Errors
    /// [`Refused::NotLinked`], also of an account that is disabled; [`Refused::CodeNeeded`],
    /// [`Refused::WrongCredentials`] of a code, [`Refused::Wait`], [`Refused::Busy`],
    /// [`Refused::Internal`].
    pub async fn sign_in_by_provider(
        &self,
        shows: Shows<'_>,
        from: IpAddr,
    ) -> Result<SignedIn, Refused> {
        let Some(user) = self.of_identity(shows.identity).await? else {
            let why = ("UNKNOWN_SUBJECT", from);
            self.came_in_vain(shows.identity, None, why).await?;
            return Err(Refused::NotLinked);
        };
        let name = user.value.name.clone();
        if user.value.is_disabled {
            let why = ("DISABLED", from);
            self.came_in_vain(shows.identity, Some(&name), why).await?;
            return Err(Refused::NotLinked);
        }
        let mut next = user.value.clone();
        if !shows.is_second_factor {
            self.local_factor(&mut next, shows.code, from).await?;
        }
        if let Some(old) = shows.old {
            // Whoever it belonged to: the browser has another one now.
            self.end_session(old, from, "SIGNED_IN_AGAIN").await.ok();
        }
        let by = By::Provider(shows.identity);
        self.begin_session(&user, next, from, (by, None)).await
    }

    /// The second factor of the account itself, where it has one.
    async fn local_factor(
        &self,
        user: &mut User,
        code: Option<&str>,
        from: IpAddr,
    ) -> Result<(), Refused> {
        if let Some(code) = code {
            return self.prove_by_code(user, code, from).await;
        }
        match self.second_factor(user, None) {
            Err(Refused::CodeNeeded) => Err(self.code_needed(Some(&user.name), from).await),
            other => other,
        }
    }

    /// The account that is linked with an identity, by both of its documents.
    async fn of_identity(&self, identity: &Identity) -> Result<Option<Kept<User>>, Refused> {
        let Some(named) = Named::parse(&identity.issuer, &identity.subject) else {
            return Ok(None);
        };
        let of = self.inner.store.get::<ExternalOf>(&named.key()).await?;
        let Some(of) = of else {
            return Ok(None);
        };
        let user = self.user(Some(&of.value.user)).await?;
        Ok(user.filter(|user| user.value.external.iter().any(|it| named.is(it))))
    }
}

/// What is told of a link; the trail cuts what is longer than its texts.
fn told(what: &str, Named { issuer, subject }: &Named) -> String {
    format!("{what} {subject} {issuer}")
}
