//! Accounts of people, their sessions, and what belongs to them.
//!
//! Here is what is kept; what may be done is for the rules of [`pacs_core::account`] and whoever
//! asks them. No secret can be read out of it but that of a second factor, which must be: of
//! passwords there is the Argon2id hash, of sessions, passcodes and set-up tokens BLAKE3, which is
//! enough for 140 random bits and more. `Debug` shows none of it.

use super::DocumentError;
use super::audit::{AuditError, AuditTrail};
use crate::records::{Change, Kind, Record, Revision};
use chrono::{DateTime, Utc};
use pacs_core::account::UserName;
use pacs_core::account::break_glass::{BreakGlassReason, Verdict};
use pacs_core::account::session::SessionTimes;
use pacs_core::account::throttle::Throttle;
use pacs_core::account::totp::TotpSecret;
use pacs_core::audit::AuditEvent;
use pacs_core::patient::PatientKey;
use pacs_core::role::Grants;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

const VERSION: u32 = 1;

/// A kind of document of this family.
pub trait AccountDocument: Serialize + DeserializeOwned + sealed::Sealed {
    /// Where it stands.
    const KIND: Kind;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! kinds {
    ($($name:ident = $kind:literal;)*) => {$(
        impl sealed::Sealed for $name {}
        impl AccountDocument for $name {
            const KIND: Kind = Kind::new($kind);
        }
    )*};
}

kinds! {
    Emergency = "account-emergency";
    ExternalOf = "account-external";
    Session = "account-session";
    SessionOf = "account-session-of-user";
    SetUp = "account-set-up";
    Throttled = "account-throttle";
    User = "account-user";
}

/// A person with an account. Its key is the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// How they sign in.
    pub name: UserName,
    /// What others call them.
    pub display_name: String,
    /// They are a doctor, which some roles are held without.
    pub is_doctor: bool,
    /// Their roles, and where.
    pub grants: Grants,
    /// What is kept of their password.
    pub password: PasswordHash,
    /// Somebody else gave them the password: it is good for choosing another one.
    pub must_change_password: bool,
    /// Their second factor, from when it is set up.
    pub second_factor: Option<SecondFactor>,
    /// They do not get in.
    pub is_disabled: bool,
    /// Sessions of another epoch are over: a new one begins with a new password, by disabling and
    /// by a reset.
    pub epoch: u64,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When the password was last changed.
    pub password_changed_at: DateTime<Utc>,
    /// Whom a provider of identities knows them as.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<ExternalIdentity>,
}

/// Somebody as a provider of identities knows them (OpenID Connect Core 1.0, 5.7: issuer and
/// subject together).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalIdentity {
    /// The provider.
    pub issuer: String,
    /// Whom it means.
    pub subject: String,
    /// When they were linked.
    pub linked_at: DateTime<Utc>,
}

impl ExternalIdentity {
    /// The key of the [`ExternalOf`] of an issuer and a subject.
    #[must_use]
    pub fn key(issuer: &str, subject: &str) -> String {
        // No issuer has the character between.
        let both = format!("{issuer}\n{subject}");
        blake3::hash(both.as_bytes()).to_hex().to_string()
    }
}

/// Whose identity it is. Its key is [`ExternalIdentity::key`], so that no two accounts have the
/// same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalOf {
    /// The account.
    pub user: UserName,
}

/// What is kept of a password. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordHash {
    /// `argon2id`, version 1.3.
    pub algorithm: String,
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Salt, in hexadecimal digits.
    pub salt: String,
    /// The hash, in hexadecimal digits.
    pub hash: String,
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[password hash]")
    }
}

/// A telephone that shows codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondFactor {
    /// What it shares with the archive.
    pub secret: TotpSecret,
    /// It has shown a right code once; before that it is not asked for.
    pub is_confirmed: bool,
    /// The step of the last code that was used: no code counts twice.
    pub last_step: Option<u64>,
}

/// Somebody who is signed in. Its key is BLAKE3 of the secret of the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Who.
    pub user: UserName,
    /// The epoch of the account when they signed in.
    pub epoch: u64,
    /// When they signed in.
    pub began_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub used_at: DateTime<Utc>,
    /// How they signed in.
    #[serde(default, skip_serializing_if = "SignedInBy::is_password")]
    pub by: SignedInBy,
    /// What is kept of the passcode by which they are known on associations, where they have one:
    /// it ends with the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passcode: Option<PasscodeHash>,
}

/// BLAKE3 of a passcode, in hexadecimal digits. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasscodeHash(pub String);

impl fmt::Debug for PasscodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[passcode hash]")
    }
}

/// How somebody signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedInBy {
    /// By a password of this archive.
    #[default]
    Password,
    /// By a provider of identities.
    Provider,
}

impl SignedInBy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    const fn is_password(&self) -> bool {
        matches!(self, Self::Password)
    }
}

impl Session {
    /// Where it stands among the sessions of its user, oldest first; `key` is its key.
    #[must_use]
    pub fn place(&self, key: &str) -> String {
        let unix_ms = self.began_at.timestamp_millis().max(0);
        format!("{}~{unix_ms:020}~{key}", self.user.as_str())
    }

    /// For the rules.
    #[must_use]
    pub const fn times(&self) -> SessionTimes {
        SessionTimes {
            began_at: self.began_at,
            used_at: self.used_at,
        }
    }
}

/// A session of somebody. Its key is [`Session::place`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionOf {
    /// The key of the session.
    pub session: String,
}

/// How often an account or a network was wrong. The key says which, as a digest where it could be
/// what somebody typed in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttled {
    /// For the rules.
    pub throttle: Throttle,
}

/// The token by which the first account is made. There is one at most.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetUp {
    /// BLAKE3 of the token, in hexadecimal digits.
    pub token_blake3: String,
    /// From when on it is of no use.
    pub ends_at: DateTime<Utc>,
}

impl fmt::Debug for SetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetUp").finish_non_exhaustive()
    }
}

/// One patient, opened by one doctor in an emergency. Its key begins with the name of the doctor.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    /// The doctor.
    pub user: UserName,
    /// The patient.
    pub patient: PatientKey,
    /// Why, from the list.
    pub reason: BreakGlassReason,
    /// Why, in words.
    pub explanation: String,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When it was closed, if that is over.
    pub closed_at: Option<DateTime<Utc>>,
    /// Who looked at it, and what they think.
    pub review: Option<Review>,
}

impl fmt::Debug for Emergency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emergency")
            .field("user", &self.user)
            .field("opened_at", &self.opened_at)
            .finish_non_exhaustive()
    }
}

/// What somebody thinks of an emergency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Who.
    pub by: UserName,
    /// When.
    pub at: DateTime<Utc>,
    /// What they think.
    pub verdict: Verdict,
    /// Why, in words.
    pub explanation: String,
}

/// A document, and the state by which a change says what it is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<T> {
    /// Its key.
    pub key: String,
    /// Its state.
    pub revision: Revision,
    /// What it says.
    pub value: T,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    version: u32,
    document: T,
}

/// Why accounts were not read or changed: as [`AuditError`] has it.
pub type AccountsError = AuditError;

/// The accounts of an archive. Clones are the same.
#[derive(Debug, Clone)]
pub struct AccountStore {
    trail: AuditTrail,
}

/// A document that becomes `value`, where it is at `expected`. One that cannot be written makes a
/// change that no backend makes.
#[must_use]
pub fn put<T: AccountDocument>(key: &str, value: &T, expected: Option<Revision>) -> Change {
    let document = Document {
        version: VERSION,
        document: value,
    };
    match super::write(T::KIND, &document) {
        Ok(value) => Change::put(T::KIND, key, value, expected),
        // A key of nothing is refused, and everything with it.
        Err(_) => Change::put(T::KIND, "", Vec::new(), expected),
    }
}

impl<T: AccountDocument> Kept<T> {
    /// It becomes `value`.
    #[must_use]
    pub fn changed_to(&self, value: &T) -> Change {
        put(&self.key, value, Some(self.revision))
    }

    /// It goes.
    #[must_use]
    pub fn deleted(&self) -> Change {
        Change::delete(T::KIND, self.key.clone(), self.revision)
    }
}

impl AccountStore {
    /// Those beside `trail`, to which whatever is done to them is appended.
    #[must_use]
    pub const fn new(trail: AuditTrail) -> Self {
        Self { trail }
    }

    /// The trail.
    #[must_use]
    pub const fn trail(&self) -> &AuditTrail {
        &self.trail
    }

    /// The document, if it is there.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn get<T: AccountDocument>(
        &self,
        key: &str,
    ) -> Result<Option<Kept<T>>, AccountsError> {
        let record = self.trail.records().get(T::KIND, key).await?;
        Ok(record.map(read).transpose()?)
    }

    /// Up to `count_max` documents whose keys begin with `prefix` and come after `after`.
    ///
    /// # Errors
    /// [`AccountsError`].
    pub async fn list<T: AccountDocument>(
        &self,
        prefix: &str,
        after: Option<&str>,
        count_max: usize,
    ) -> Result<Vec<Kept<T>>, AccountsError> {
        let records = self.trail.records();
        let found = records.list(T::KIND, prefix, after, count_max).await?;
        let read = found.into_iter().map(read);
        Ok(read.collect::<Result<_, _>>()?)
    }

    /// Makes changes together with the records that tell of them, or does nothing. Without an
    /// event: for what no event tells of, such as when a session was last used.
    ///
    /// # Errors
    /// As [`AuditTrail::commit_all`].
    pub async fn commit(
        &self,
        changes: Vec<Change>,
        events: &[AuditEvent],
    ) -> Result<(), AccountsError> {
        self.trail.commit_all(changes, events).await?;
        Ok(())
    }
}

fn read<T: AccountDocument>(record: Record) -> Result<Kept<T>, DocumentError> {
    let document: Document<T> = super::read(T::KIND, &record.value)?;
    if document.version != VERSION {
        return Err(DocumentError {
            kind: T::KIND.name(),
        });
    }
    Ok(Kept {
        key: record.key,
        revision: record.revision,
        value: document.document,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::memory::MemoryRecords;
    use crate::records::{Records, RecordsError};
    use pacs_core::audit::{Act, Actor};
    use std::sync::Arc;

    fn user() -> User {
        let at = "2026-11-26T08:00:00Z".parse().unwrap();
        User {
            name: UserName::parse("b.osmonova").unwrap(),
            display_name: "Б. Осмонова".to_owned(),
            is_doctor: true,
            grants: Grants::default(),
            password: PasswordHash {
                algorithm: "argon2id".to_owned(),
                memory_kib: 8,
                passes: 1,
                lanes: 1,
                salt: "CANARY-SALT".to_owned(),
                hash: "CANARY-HASH".to_owned(),
            },
            must_change_password: false,
            second_factor: Some(SecondFactor {
                secret: TotpSecret::new([7; 20]),
                is_confirmed: true,
                last_step: Some(5),
            }),
            is_disabled: false,
            epoch: 1,
            created_at: at,
            password_changed_at: at,
            external: Vec::new(),
        }
    }

    fn event() -> AuditEvent {
        let at = "2026-11-26T14:00:00+06:00".parse().unwrap();
        AuditEvent::new(Act::UserChanged, at, Actor::system("test"))
    }

    #[tokio::test]
    async fn a_user_is_kept_with_the_record_that_tells_of_it_or_not_at_all() {
        let records: Arc<dyn Records> = Arc::new(MemoryRecords::new());
        let store = AccountStore::new(AuditTrail::new(Arc::clone(&records)));
        let user = user();
        let key = user.name.as_str();

        let first = store.commit(vec![put(key, &user, None)], &[event()]).await;
        let again = store.commit(vec![put(key, &user, None)], &[event()]).await;

        assert!(first.is_ok());
        let refused = matches!(
            again,
            Err(AuditError::Records(RecordsError::Changed { .. }))
        );
        assert!(refused, "{again:?}");
        let kept = store.get::<User>(key).await.unwrap().unwrap();
        assert_eq!(kept.value, user);
        let listed = store.list::<User>("", None, 9).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&kept));
        assert_eq!(store.trail().page(None, 9).await.unwrap().len(), 1);
        store
            .commit(vec![kept.deleted()], &[event()])
            .await
            .unwrap();
        assert_eq!(store.get::<User>(key).await.unwrap(), None);
        assert_eq!(store.get::<Session>(key).await.unwrap(), None);
    }

    #[test]
    fn documents_of_before_there_were_providers_are_read_and_written_as_they_were() {
        let text = serde_json::to_string(&user()).unwrap();
        assert!(!text.contains("external"), "{text}");
        assert_eq!(serde_json::from_str::<User>(&text).unwrap(), user());
        let at = user().created_at;
        let session = Session {
            user: user().name,
            epoch: 1,
            began_at: at,
            used_at: at,
            by: SignedInBy::Password,
            passcode: None,
        };
        let text = serde_json::to_string(&session).unwrap();
        assert!(
            !text.contains("\"by\"") && !text.contains("passcode"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), session);
        let by_provider = Session {
            by: SignedInBy::Provider,
            passcode: Some(PasscodeHash("CANARY-CODE".to_owned())),
            ..session
        };
        assert!(!format!("{by_provider:?}").contains("CANARY"));
        let text = serde_json::to_string(&by_provider).unwrap();
        assert_eq!(serde_json::from_str::<Session>(&text).unwrap(), by_provider);
        let (one, other) = ("https://a.example/", "https://b.example/");
        let key = ExternalIdentity::key;
        assert_ne!(key(one, "s"), key(other, "s"));
        assert_ne!(key(one, "s"), key(one, "t"));
    }

    #[tokio::test]
    async fn a_document_of_another_version_is_refused_and_no_secret_is_shown() {
        let records: Arc<dyn Records> = Arc::new(MemoryRecords::new());
        let store = AccountStore::new(AuditTrail::new(Arc::clone(&records)));
        let newer = serde_json::json!({"version": 2, "document": user()});
        let value = newer.to_string().into_bytes();
        records.put(User::KIND, "a", value, None).await.unwrap();
        let read = store.get::<User>("a").await;
        assert!(matches!(read, Err(AuditError::Damaged(_))), "{read:?}");

        let shown = format!("{:?}", user());
        assert!(
            !shown.contains("CANARY") && !shown.contains("A4DQO"),
            "{shown}"
        );
    }
}
