//! What people do to their own account: another password, a second factor.

use super::sign_in::By;
use super::throttling::Tried;
use super::{Accounts, Refused, SignedIn, Who, actor_of};
use pacs_core::account::password::{Password, PasswordError};
use pacs_core::account::totp::TotpSecret;
use pacs_core::audit::{Act, AuditEvent};
use pacs_store::registry::accounts::{SecondFactor, User};
use std::net::IpAddr;

/// What a password is asked for once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proves {
    /// To change how somebody gets in.
    Account,
    /// That it is whoever is signed in who opens a patient, or signs a report.
    Person,
}

impl Accounts {
    /// Sees that it is really them: the password once more, counted as guesses are. One whose time
    /// is over makes no way in any more, but who is in already may show with it who they are.
    pub(super) async fn prove(
        &self,
        who: &Who,
        password: &str,
        (proves, from): (Proves, IpAddr),
    ) -> Result<(), Refused> {
        let name = &who.user.value.name;
        let attempt = self.attempt(Tried::Proof, name.as_str(), from).await?;
        let typed = Password::typed(password).ok();
        let kept = Some(&who.user.value.password);
        let hashing = &self.inner.hashing;
        let is_right = hashing.is_right(typed.as_ref(), kept, name.as_str());
        let is_over = proves == Proves::Account && self.is_over(&who.user.value);
        let reason = match (is_right.await?, is_over) {
            (true, false) => return Ok(()),
            (true, true) => "FIRST_PASSWORD_OVER",
            (false, _) => "WRONG_PASSWORD",
        };
        let failed = attempt.failed(Act::SignedIn, Some(name), reason);
        Err(failed.await)
    }

    /// Sees anew, for something that somebody answers for, that it is really them: by the code of
    /// their second factor, which is used up, or where they have none by their password.
    ///
    /// # Errors
    /// [`Refused::WrongCredentials`], [`Refused::Wait`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn prove_anew(&self, who: &Who, proof: &str, from: IpAddr) -> Result<(), Refused> {
        let user = &who.user.value;
        let factor = user.second_factor.as_ref();
        if !factor.is_some_and(|factor| factor.is_confirmed) {
            return self.prove(who, proof, (Proves::Person, from)).await;
        }
        let mut next = user.clone();
        self.prove_by_code(&mut next, proof, from).await?;
        let used_up = vec![who.user.changed_to(&next)];
        Ok(self.inner.store.commit(used_up, &[]).await?)
    }

    /// Chooses another password. All sessions end, and a new one begins.
    ///
    /// # Errors
    /// [`Refused::WrongCredentials`] for the present one, [`Refused::Password`] for the new one,
    /// [`Refused::Wait`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn change_password(
        &self,
        who: &Who,
        current: &str,
        new: &str,
        from: IpAddr,
    ) -> Result<SignedIn, Refused> {
        self.prove(who, current, (Proves::Account, from)).await?;
        let user = &who.user.value;
        let has_second = user
            .second_factor
            .as_ref()
            .is_some_and(|it| it.is_confirmed);
        let password = Password::choose(new, &user.name, has_second)?;
        if new == current {
            return Err(PasswordError::Guessable.into());
        }
        let next = User {
            password: self
                .inner
                .hashing
                .hash(&password, &self.inner.world)
                .await?,
            must_change_password: false,
            epoch: user.epoch.saturating_add(1),
            password_changed_at: self.inner.world.now(),
            ..user.clone()
        };
        let told = self.told_of_own(who, &next, "PASSWORD_CHANGED", from);
        // All at once: what an administrator changes meanwhile is not overwritten.
        let by = By::Password;
        self.begin_session(&who.user, next, from, (by, Some(told)))
            .await
    }

    /// Begins to set up a second factor: its secret, which counts once it was confirmed.
    ///
    /// # Errors
    /// [`Refused::NotPermitted`] where there is one; [`Refused::WrongCredentials`],
    /// [`Refused::Wait`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn offer_second_factor(
        &self,
        who: &Who,
        password: &str,
        from: IpAddr,
    ) -> Result<TotpSecret, Refused> {
        let user = &who.user.value;
        if user
            .second_factor
            .as_ref()
            .is_some_and(|it| it.is_confirmed)
        {
            return Err(Refused::NotPermitted);
        }
        self.prove(who, password, (Proves::Account, from)).await?;
        let secret = TotpSecret::new(self.inner.world.random()?);
        let next = User {
            second_factor: Some(SecondFactor {
                secret,
                is_confirmed: false,
                last_step: None,
            }),
            ..user.clone()
        };
        let reason = "SECOND_FACTOR_OFFERED";
        self.change_own(who, &next, reason, from).await?;
        Ok(secret)
    }

    /// Confirms a second factor by its first code.
    ///
    /// # Errors
    /// [`Refused::NotFound`] where none was offered; [`Refused::WrongCredentials`],
    /// [`Refused::Wait`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn confirm_second_factor(
        &self,
        who: &Who,
        code: &str,
        from: IpAddr,
    ) -> Result<(), Refused> {
        let mut next = who.user.value.clone();
        let offered = next.second_factor.as_mut().filter(|it| !it.is_confirmed);
        offered.ok_or(Refused::NotFound)?.is_confirmed = true;
        let attempt = self.attempt(Tried::Code, next.name.as_str(), from).await?;
        if let Err(refused) = self.second_factor(&mut next, Some(code)) {
            if refused != Refused::WrongCredentials {
                return Err(refused);
            }
            let failed = attempt.failed(Act::UserChanged, Some(&next.name), "WRONG_CODE");
            return Err(failed.await);
        }
        self.change_own(who, &next, "SECOND_FACTOR_CONFIRMED", from)
            .await
    }

    /// Takes the second factor away.
    ///
    /// # Errors
    /// [`Refused::NotFound`] where there is none; [`Refused::WrongCredentials`],
    /// [`Refused::Wait`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn remove_second_factor(
        &self,
        who: &Who,
        password: &str,
        code: &str,
        from: IpAddr,
    ) -> Result<(), Refused> {
        let mut next = who.user.value.clone();
        if next.second_factor.is_none() {
            return Err(Refused::NotFound);
        }
        self.prove(who, password, (Proves::Account, from)).await?;
        // From now on it stands alone.
        Password::choose(password, &next.name, false)?;
        self.prove_by_code(&mut next, code, from).await?;
        next.second_factor = None;
        self.change_own(who, &next, "SECOND_FACTOR_REMOVED", from)
            .await
    }

    /// Compares a code, counted as guesses are.
    pub(super) async fn prove_by_code(
        &self,
        user: &mut User,
        code: &str,
        from: IpAddr,
    ) -> Result<(), Refused> {
        let attempt = self.attempt(Tried::Code, user.name.as_str(), from).await?;
        match self.second_factor(user, Some(code)) {
            Err(Refused::WrongCredentials) => {
                let failed = attempt.failed(Act::SignedIn, Some(&user.name), "WRONG_CODE");
                Err(failed.await)
            }
            other => other,
        }
    }

    pub(super) async fn change_own(
        &self,
        who: &Who,
        next: &User,
        reason: &str,
        from: IpAddr,
    ) -> Result<(), Refused> {
        let event = self.told_of_own(who, next, reason, from);
        let change = who.user.changed_to(next);
        Ok(self.inner.store.commit(vec![change], &[event]).await?)
    }

    pub(super) fn told_of_own(
        &self,
        who: &Who,
        next: &User,
        reason: &str,
        from: IpAddr,
    ) -> AuditEvent {
        let actor = actor_of(&who.user.value, Some(&who.session.key));
        let mut event = self.event(Act::UserChanged, actor, Some(from));
        event.object.user = Some(next.name.as_str().to_owned());
        event.reason = Some(reason.to_owned());
        event
    }
}
