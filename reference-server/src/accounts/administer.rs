//! Accounts as an administrator changes them, based on what they have read.

use super::manage::{FirstPassword, NewUser};
use super::{Accounts, Refused, Who, actor_of};
use crate::limits::DISPLAY_NAME_CHARS_MAX;
use pacs_core::account::UserName;
use pacs_core::audit::{Actor, AuditEvent};
use pacs_core::role::Grants;
use pacs_store::registry::accounts::{Kept, User};
use std::net::IpAddr;

/// An account as it was read.
pub type Known = Kept<User>;

/// What is to be changed of an account.
#[derive(Debug, Clone)]
pub enum Change {
    /// They get in no more, or again. Their sessions end.
    Disabled(bool),
    /// What is said of them, and their roles.
    Particulars {
        /// What others call them.
        display_name: String,
        /// They are a doctor.
        is_doctor: bool,
        /// Their roles.
        grants: Grants,
    },
}

impl Accounts {
    /// The account of this name.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Internal`].
    pub async fn known_user(&self, name: &UserName) -> Result<Known, Refused> {
        self.user(Some(name)).await?.ok_or(Refused::NotFound)
    }

    /// Up to `count_max` accounts whose names come after `after`.
    ///
    /// # Errors
    /// [`Refused::Internal`].
    pub async fn known_users(
        &self,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Known>, Refused> {
        Ok(self.inner.store.list::<User>("", after, count_max).await?)
    }

    /// Whoever is signed in, as they stand in the audit trail.
    #[must_use]
    pub fn actor(&self, who: &Who) -> Actor {
        actor_of(&who.user.value, Some(&who.session.key))
    }

    /// Makes a change to an account, which must be as it was read.
    ///
    /// # Errors
    /// [`Refused::Busy`] where it is not, [`Refused::Internal`].
    pub async fn administer(
        &self,
        known: &Known,
        change: Change,
        by: Actor,
        from: IpAddr,
    ) -> Result<(), Refused> {
        let mut next = known.value.clone();
        let mut events: Vec<AuditEvent> = Vec::new();
        match change {
            Change::Disabled(is_disabled) => {
                next.is_disabled = is_disabled;
                next.epoch = next.epoch.saturating_add(1);
                let reason = if is_disabled { "DISABLED" } else { "ENABLED" };
                events.push(self.told_of_account(&next, by, reason));
            }
            Change::Particulars {
                display_name,
                is_doctor,
                grants,
            } => {
                let display_name = display_name.trim().chars();
                next.display_name = display_name.take(DISPLAY_NAME_CHARS_MAX).collect();
                next.is_doctor = is_doctor;
                if next.grants != grants {
                    next.grants = grants;
                    events.extend(self.told_of_roles(&next, &by));
                }
                events.push(self.told_of_account(&next, by, "CHANGED"));
            }
        }
        for event in &mut events {
            event.from = Some(from);
        }
        let change = known.changed_to(&next);
        Ok(self.inner.store.commit(vec![change], &events).await?)
    }

    /// As [`Accounts::add`], asked for over the network.
    ///
    /// # Errors
    /// [`Refused::Taken`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn add_from(
        &self,
        new: NewUser,
        by: Actor,
        from: Option<IpAddr>,
    ) -> Result<FirstPassword, Refused> {
        self.made_and_told(new, by, from).await
    }

    /// Makes an account with a password that need not be changed: for demonstrations.
    ///
    /// # Errors
    /// [`Refused::Taken`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn add_ready(&self, new: NewUser, by: Actor) -> Result<FirstPassword, Refused> {
        let name = new.name.clone();
        let first = self.add(new, by).await?;
        let known = self.known_user(&name).await?;
        let ready = User {
            must_change_password: false,
            ..known.value.clone()
        };
        let change = known.changed_to(&ready);
        self.inner.store.commit(vec![change], &[]).await?;
        Ok(first)
    }

    /// As [`Accounts::reset`], of an account that must be as it was read.
    ///
    /// # Errors
    /// [`Refused::Busy`] where it is not, [`Refused::Internal`].
    pub async fn reset_known(
        &self,
        known: &Known,
        by: Actor,
        from: IpAddr,
    ) -> Result<FirstPassword, Refused> {
        self.reset_kept(known, by, Some(from)).await
    }
}
