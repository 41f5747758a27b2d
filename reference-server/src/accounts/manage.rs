//! Accounts as whoever looks after the machine makes and ends them, and the first one of all.

use super::throttling::Tried;
use super::{Accounts, Refused, hash_of, hex};
use crate::limits::{DISPLAY_NAME_CHARS_MAX, FIRST_PASSWORD_LIFE_DAYS, SET_UP_TOKEN_LIFE_MINUTES};
use chrono::{DateTime, TimeDelta, Utc};
use pacs_core::account::UserName;
use pacs_core::account::password::Password;
use pacs_core::audit::{Act, Actor, AuditEvent};
use pacs_core::limits::AUDIT_TEXT_CHARS_MAX;
use pacs_core::role::{Departments, Grant, Grants, Kinds, Reach, Role};
use pacs_store::registry::accounts::{ExternalIdentity, Kept, SetUp, User, put};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// There is one at most.
const SET_UP_KEY: &str = "token";

/// Of 32, without those that look like others: five bits each.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Somebody who is to have an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// How they sign in.
    pub name: UserName,
    /// What others call them.
    pub display_name: String,
    /// They are a doctor.
    pub is_doctor: bool,
    /// Their roles.
    pub grants: Grants,
}

/// An account, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// How they sign in.
    pub name: UserName,
    /// What others call them.
    pub display_name: String,
    /// They are a doctor.
    pub is_doctor: bool,
    /// Their roles.
    pub grants: Grants,
    /// They do not get in.
    pub is_disabled: bool,
    /// They have to choose another password.
    pub must_change_password: bool,
    /// Until when the one that they have is good for that.
    pub first_password_until: Option<DateTime<Utc>>,
    /// They have a second factor.
    pub has_second_factor: bool,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// Whom a provider of identities knows them as.
    pub external: Vec<ExternalIdentity>,
}

impl From<&User> for Listed {
    fn from(user: &User) -> Self {
        let factor = user.second_factor.as_ref();
        Self {
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            is_doctor: user.is_doctor,
            grants: user.grants.clone(),
            is_disabled: user.is_disabled,
            must_change_password: user.must_change_password,
            first_password_until: first_password_until(user),
            has_second_factor: factor.is_some_and(|factor| factor.is_confirmed),
            created_at: user.created_at,
            external: user.external.clone(),
        }
    }
}

/// Until when the password of a user is good for choosing another one; `None`: they chose it.
pub(super) fn first_password_until(user: &User) -> Option<DateTime<Utc>> {
    let given_at = user.password_changed_at;
    let life = TimeDelta::days(FIRST_PASSWORD_LIFE_DAYS);
    let until = given_at.checked_add_signed(life).unwrap_or(given_at);
    user.must_change_password.then_some(until)
}

/// A password that is shown once.
#[derive(Clone, Serialize, Deserialize)]
pub struct FirstPassword(pub String);

impl std::fmt::Debug for FirstPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[password]")
    }
}

/// What makes the first account.
#[derive(Clone)]
pub struct FirstUser {
    /// The token that was printed.
    pub token: String,
    /// How they sign in.
    pub name: UserName,
    /// What others call them.
    pub display_name: String,
    /// Their password.
    pub password: String,
}

impl std::fmt::Debug for FirstUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstUser").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Makes an account, with a password that is good for choosing another one, for a week.
    ///
    /// # Errors
    /// [`Refused::Taken`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn add(&self, new: NewUser, by: Actor) -> Result<FirstPassword, Refused> {
        self.made_and_told(new, by, None).await
    }

    /// The same, asked for from somewhere.
    pub(super) async fn made_and_told(
        &self,
        new: NewUser,
        by: Actor,
        from: Option<IpAddr>,
    ) -> Result<FirstPassword, Refused> {
        if self.user(Some(&new.name)).await?.is_some() {
            return Err(Refused::Taken);
        }
        let (password, text) = self.first_password()?;
        let user = self.made(new, &password, true).await?;
        let mut events = self.told_of(&user, by, "CREATED");
        for event in &mut events {
            event.from = from;
        }
        let change = put(user.name.as_str(), &user, None);
        self.inner.store.commit(vec![change], &events).await?;
        Ok(FirstPassword(text))
    }

    /// Up to a page of accounts whose names come after `after`.
    ///
    /// # Errors
    /// [`Refused::Internal`].
    pub async fn page(
        &self,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Listed>, Refused> {
        let found = self.inner.store.list::<User>("", after, count_max).await?;
        Ok(found.iter().map(|kept| Listed::from(&kept.value)).collect())
    }

    /// Lets somebody in no more, or again. All of their sessions end.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn set_disabled(
        &self,
        name: &UserName,
        is_disabled: bool,
        by: Actor,
    ) -> Result<(), Refused> {
        let kept = self.known(name).await?;
        let next = User {
            is_disabled,
            epoch: kept.value.epoch.saturating_add(1),
            ..kept.value.clone()
        };
        let reason = if is_disabled { "DISABLED" } else { "ENABLED" };
        let event = self.told_of_account(&next, by, reason);
        let change = kept.changed_to(&next);
        Ok(self.inner.store.commit(vec![change], &[event]).await?)
    }

    /// Gives somebody a new password, good for choosing another one for a week, and takes their
    /// second factor away. All of their sessions end.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn reset(&self, name: &UserName, by: Actor) -> Result<FirstPassword, Refused> {
        let kept = self.known(name).await?;
        self.reset_kept(&kept, by, None).await
    }

    /// The same of an account that must be as it was read.
    pub(super) async fn reset_kept(
        &self,
        kept: &Kept<User>,
        by: Actor,
        from: Option<IpAddr>,
    ) -> Result<FirstPassword, Refused> {
        let (password, text) = self.first_password()?;
        let next = User {
            password: self
                .inner
                .hashing
                .hash(&password, &self.inner.world)
                .await?,
            must_change_password: true,
            second_factor: None,
            epoch: kept.value.epoch.saturating_add(1),
            password_changed_at: self.inner.world.now(),
            ..kept.value.clone()
        };
        let mut event = self.told_of_account(&next, by, "RESET");
        event.from = from;
        let change = kept.changed_to(&next);
        self.inner.store.commit(vec![change], &[event]).await?;
        Ok(FirstPassword(text))
    }

    /// Gives somebody other roles.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn set_grants(
        &self,
        name: &UserName,
        grants: Grants,
        by: Actor,
    ) -> Result<(), Refused> {
        let kept = self.known(name).await?;
        let next = User {
            grants,
            ..kept.value.clone()
        };
        let events = self.told_of_roles(&next, &by);
        let change = kept.changed_to(&next);
        Ok(self.inner.store.commit(vec![change], &events).await?)
    }

    /// While nobody has an account: a token by which the first one can be made, for a quarter of an
    /// hour. An earlier one is of no use any more.
    ///
    /// # Errors
    /// [`Refused::Busy`], [`Refused::Internal`].
    pub async fn set_up_token(&self) -> Result<Option<String>, Refused> {
        let store = &self.inner.store;
        let earlier = store.get::<SetUp>(SET_UP_KEY).await?;
        if !store.list::<User>("", None, 1).await?.is_empty() {
            return Ok(None);
        }
        let token = format!("set_up_{}", hex(&self.inner.world.random::<32>()?));
        let life = TimeDelta::minutes(SET_UP_TOKEN_LIFE_MINUTES);
        let now = self.inner.world.now();
        let set_up = SetUp {
            token_blake3: hash_of(&token),
            ends_at: now.checked_add_signed(life).unwrap_or(now),
        };
        let revision = earlier.map(|earlier| earlier.revision);
        let mut event = self.event(Act::UserChanged, Actor::system("pacs-server"), None);
        event.reason = Some("SET_UP_TOKEN".to_owned());
        let change = put(SET_UP_KEY, &set_up, revision);
        store.commit(vec![change], &[event]).await?;
        Ok(Some(token))
    }

    /// Makes the first account: an administrator of the ministry.
    ///
    /// # Errors
    /// [`Refused::SetUpOver`], also where the token is wrong; [`Refused::Password`],
    /// [`Refused::Wait`], [`Refused::Busy`], [`Refused::Internal`].
    pub async fn set_up(&self, first: &FirstUser, from: IpAddr) -> Result<(), Refused> {
        let attempt = self.attempt(Tried::SetUp, "", from).await?;
        let set_up = self.inner.store.get::<SetUp>(SET_UP_KEY).await?;
        let typed = blake3::hash(first.token.trim().as_bytes());
        let is_right = |kept: &Kept<SetUp>| {
            let known = blake3::Hash::from_hex(&kept.value.token_blake3);
            known.is_ok_and(|known| known == typed) && self.inner.world.now() < kept.value.ends_at
        };
        let Some(set_up) = set_up.filter(is_right) else {
            let failed = attempt.failed(Act::UserChanged, None, "WRONG_TOKEN").await;
            let is_wrong = failed == Refused::WrongCredentials;
            return Err(if is_wrong { Refused::SetUpOver } else { failed });
        };
        let password = Password::choose(&first.password, &first.name, false)?;
        if !self.inner.store.list::<User>("", None, 1).await?.is_empty() {
            return Err(Refused::SetUpOver);
        }
        let grant = Grant::new(Role::MohAdmin, Reach::National);
        let new = NewUser {
            name: first.name.clone(),
            display_name: first.display_name.clone(),
            is_doctor: false,
            // One role contradicts no other.
            grants: Grants::new(vec![grant]).unwrap_or_default(),
        };
        let user = self.made(new, &password, false).await?;
        let mut events = self.told_of(&user, Actor::system("set-up"), "SET_UP");
        for event in &mut events {
            event.from = Some(from);
        }
        // The token goes with it: of two who have it, one is too late.
        let changes = vec![put(user.name.as_str(), &user, None), set_up.deleted()];
        match self
            .inner
            .store
            .commit(changes, &events)
            .await
            .map_err(Refused::from)
        {
            Err(Refused::Busy) => Err(Refused::SetUpOver),
            other => other,
        }
    }

    pub(super) async fn known(&self, name: &UserName) -> Result<Kept<User>, Refused> {
        self.user(Some(name)).await?.ok_or(Refused::NotFound)
    }

    fn first_password(&self) -> Result<(Password, String), Refused> {
        let random = self.inner.world.random::<20>()?;
        let mut text = String::new();
        for (at, byte) in random.iter().enumerate() {
            if at > 0 && at % 5 == 0 {
                text.push('-');
            }
            let letter = LETTERS.get(usize::from(byte & 31));
            text.extend(letter.copied().map(char::from));
        }
        Ok((Password::typed(&text)?, text))
    }

    async fn made(
        &self,
        new: NewUser,
        password: &Password,
        must_change_password: bool,
    ) -> Result<User, Refused> {
        let now = self.inner.world.now();
        let display_name = new.display_name.trim().chars();
        Ok(User {
            name: new.name,
            display_name: display_name.take(DISPLAY_NAME_CHARS_MAX).collect(),
            is_doctor: new.is_doctor,
            grants: new.grants,
            password: self.inner.hashing.hash(password, &self.inner.world).await?,
            must_change_password,
            second_factor: None,
            is_disabled: false,
            epoch: 1,
            created_at: now,
            password_changed_at: now,
            external: Vec::new(),
        })
    }

    /// A new account, and its roles.
    fn told_of(&self, user: &User, by: Actor, reason: &str) -> Vec<AuditEvent> {
        let roles = self.told_of_roles(user, &by);
        let mut events = vec![self.told_of_account(user, by, reason)];
        events.extend(roles);
        events
    }

    pub(super) fn told_of_account(&self, user: &User, by: Actor, reason: &str) -> AuditEvent {
        let mut event = self.event(Act::UserChanged, by, None);
        event.object.user = Some(user.name.as_str().to_owned());
        event.reason = Some(reason.to_owned());
        event
    }

    /// The roles of a user, all of them: in as many records as their text takes.
    pub(super) fn told_of_roles(&self, user: &User, by: &Actor) -> Vec<AuditEvent> {
        let parts = parts(&told(&user.grants), AUDIT_TEXT_CHARS_MAX);
        let told = parts.into_iter().map(|part| {
            let mut event = self.event(Act::RolesChanged, by.clone(), None);
            event.object.user = Some(user.name.as_str().to_owned());
            event.reason = Some(part);
            event
        });
        told.collect()
    }
}

/// Words in as many texts as they take, of so many characters each; one at least.
fn parts(words: &str, chars_max: usize) -> Vec<String> {
    let mut parts = vec![String::new()];
    for word in words.split_whitespace() {
        let is_full = parts.last().is_some_and(|last| {
            !last.is_empty() && last.chars().count() + 1 + word.chars().count() > chars_max
        });
        if is_full {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    parts
}

/// Roles as people type them: `operator@006 radiologist@011:ct,mr/RAD moh_admin@national`.
#[must_use]
pub fn shown(grants: &Grants) -> String {
    let grants: Vec<Grant> = grants.clone().into();
    grants.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The same with no word that is longer than a text of an audit record: a role for some departments
/// is one for each of them.
fn told(grants: &Grants) -> String {
    let grants: Vec<Grant> = grants.clone().into();
    let words = grants.iter().flat_map(|grant| {
        let whole = word(grant);
        if whole.chars().count() <= AUDIT_TEXT_CHARS_MAX {
            return vec![whole];
        }
        let each = grant.departments.each();
        each.map(|one| word(&grant.clone().within(one))).collect()
    });
    words.collect::<Vec<_>>().join(" ")
}

fn word(grant: &Grant) -> String {
    // It is text.
    let role = serde_json::to_value(grant.role).unwrap_or_default();
    let role = role.as_str().unwrap_or_default();
    let mut word = match grant.reach {
        Reach::National => format!("{role}@national"),
        Reach::Organisation(code) => format!("{role}@{code}"),
    };
    if !grant.kinds.is_empty() {
        word = format!("{word}:{}", grant.kinds);
    }
    if !grant.departments.is_empty() {
        word = format!("{word}/{}", grant.departments);
    }
    word
}

/// Reads `ROLE@ORGANISATION`, where the organisation is three digits or `national`, or
/// `ROLE@ORGANISATION:KIND,KIND` for a role that is held for these kinds of images alone, and
/// behind either `/DEPARTMENT,DEPARTMENT` for these departments alone.
///
/// # Errors
/// What is wrong with it.
pub fn parse_grant(text: &str) -> Result<Grant, String> {
    let (role, place) = text
        .split_once('@')
        .ok_or("a role is ROLE@ORGANISATION, as in operator@006 or auditor@national")?;
    let (place, departments) = match place.split_once('/') {
        Some((place, codes)) => (place, Departments::of_words(codes.split(','))),
        None => (place, Ok(Departments::default())),
    };
    let departments = departments.map_err(|error| error.to_string())?;
    let (place, kinds) = match place.split_once(':') {
        Some((place, words)) => (place, Kinds::of_words(words.split(','))),
        None => (place, Ok(Kinds::default())),
    };
    let read = serde_json::from_value(serde_json::Value::from(role));
    let role: Role = read.map_err(|_| format!("{role:?} is no role"))?;
    if matches!(role, Role::Device | Role::Service) {
        return Err(format!("{text:?}: no person is a device or a program"));
    }
    let reach = if place == "national" {
        Reach::National
    } else {
        let code = pacs_core::OrganisationCode::parse(place);
        Reach::Organisation(code.map_err(|error| error.to_string())?)
    };
    let kinds = kinds.map_err(|error| error.to_string())?;
    Ok(Grant::new(role, reach)
        .limited_to(kinds)
        .within(departments))
}
