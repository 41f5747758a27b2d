//! Tells by e-mail whoever has to look at it that a doctor opened a patient in an emergency.
//!
//! It follows the audit trail with a durable position, so that nobody who opens a patient waits for
//! a mail server, and nothing is left out over a restart. What a server has taken is told once; of
//! what it may have taken is told again, under the same Message-ID.

mod message;
mod submission;

use crate::accounts::Accounts;
use crate::config::mail::MailConfig;
use crate::limits::{
    FORWARD_RETRY_FIRST, FORWARD_RETRY_LONGEST, FORWARD_TOLD_EVERY, FORWARDED_PAGE_COUNT,
    NOTES_LOOK_EVERY,
};
use crate::metrics::Metrics;
use crate::secret_file::{self, Secret, SecretFileError};
use crate::tls::{TlsFileError, outgoing};
use crate::tool::failure::chain;
use message::Told;
use pacs_core::account::UserName;
use pacs_core::audit::{Act, Outcome};
use pacs_store::records::{Kind, Records, RecordsError, Revision};
use pacs_store::registry::audit::{AuditError, AuditRecord};
use prometheus::IntGauge;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use submission::{SubmitError, Taken, submit};
use tokio::time::timeout;

/// The document of this kind says how far the trail was told of.
const KIND: Kind = Kind::new("mail");

/// Its key.
const KEY: &str = "position";

/// Records that nobody is told of, and that are looked at again after a restart: to keep the
/// position costs a sync.
const LOOKED_AT_AGAIN_MAX: u64 = 1_000;

/// Why there is no mailer, though the settings want one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailerError {
    /// Its gauge cannot be shown: a fault of this crate.
    #[error("metrics of e-mail")]
    Metrics(#[from] prometheus::Error),
    /// The file of the password has none.
    #[error(transparent)]
    Password(#[from] SecretFileError),
    /// The certificates by which the server is known are of no use.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
}

/// Why something was not told.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the audit trail could not be followed")]
    Audit(#[from] AuditError),
    #[error("the message could not be made")]
    Message(#[from] io::Error),
    #[error("the position could not be read or kept")]
    Position(#[from] RecordsError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error("whose people they are could not be looked up")]
    Whose,
}

/// Tells of the trail of one archive.
#[derive(Debug)]
pub struct Mailer {
    config: MailConfig,
    password: Option<Secret>,
    accounts: Accounts,
    records: Arc<dyn Records>,
    failing: IntGauge,
}

/// How far it is.
struct Position {
    /// The last record that was looked at.
    number: u64,
    /// The one that is kept, and the state of the document.
    kept: (u64, Option<Revision>),
    /// To whom the next one was told already.
    taken: BTreeSet<String>,
}

impl Mailer {
    /// The one of `config`, for the trail beside `accounts`. Nothing is sent before
    /// [`Mailer::follow`].
    ///
    /// # Errors
    /// [`MailerError`]
    pub fn open(
        config: &MailConfig,
        accounts: &Accounts,
        records: Arc<dyn Records>,
        metrics: &Metrics,
    ) -> Result<Self, MailerError> {
        let password = config.credentials.as_ref();
        let password = password.map(|(_, file)| secret_file::read("mail.password_file", file));
        let password = password.transpose()?;
        if let Some(tls) = &config.tls {
            // What is wrong with the files is told at the start, not to a log that nobody reads.
            outgoing("mail", tls)?;
        }
        let failing = IntGauge::new(
            "pacs_mail_failing",
            "Whether the last attempt to send e-mail failed",
        )?;
        metrics.registry().register(Box::new(failing.clone()))?;
        Ok(Self {
            config: config.clone(),
            password,
            accounts: accounts.clone(),
            records,
            failing,
        })
    }

    /// Tells of what the trail tells, until the task is dropped.
    pub async fn follow(self) {
        let mut appended = self.accounts.trail().appended();
        let mut pause = FORWARD_RETRY_FIRST;
        let mut told_at: Option<Instant> = None;
        let mut position = None;
        loop {
            appended.mark_unchanged();
            match self.tell(&mut position).await {
                Ok(is_more) => {
                    self.failing.set(0);
                    pause = FORWARD_RETRY_FIRST;
                    told_at = None;
                    if !is_more {
                        timeout(NOTES_LOOK_EVERY, appended.changed()).await.ok();
                    }
                }
                Err(error) => {
                    self.failing.set(1);
                    if told_at.is_none_or(|at| at.elapsed() >= FORWARD_TOLD_EVERY) {
                        told_at = Some(Instant::now());
                        let server = &self.config.server;
                        tracing::error!(
                            alarm = "mail_not_sent",
                            error = chain(&error),
                            server,
                            "e-mail cannot be sent now; it is tried again"
                        );
                    }
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(FORWARD_RETRY_LONGEST);
                }
            }
        }
    }

    /// Tells of the next record of which somebody is told, and keeps that; whether there is more.
    async fn tell(&self, position: &mut Option<Position>) -> Result<bool, Failure> {
        let position = match position {
            Some(position) => position,
            None => position.insert(self.position().await?),
        };
        let trail = self.accounts.trail();
        let page = trail.after(position.number, FORWARDED_PAGE_COUNT).await?;
        let next = page.iter().find(|record| is_told(record));
        if let Some(record) = next {
            self.tell_of(record, &mut position.taken).await?;
        }
        let Some(last) = next.or(page.last()) else {
            return Ok(false);
        };
        position.number = last.number;
        position.taken.clear();
        let (kept, _) = position.kept;
        if next.is_some() || last.number.saturating_sub(kept) >= LOOKED_AT_AGAIN_MAX {
            self.keep(position).await?;
        }
        Ok(true)
    }

    /// Where it goes on. What was there before anybody was to be told, is told to nobody; nor what
    /// was told of in a trail that was restored from an older backup.
    async fn position(&self) -> Result<Position, Failure> {
        let end = self.accounts.trail().anchor().await?;
        let end = end.map_or(0, |end| end.number);
        let kept = self.records.get(KIND, KEY).await?;
        let revision = kept.as_ref().map(|kept| kept.revision);
        let number = kept.and_then(|kept| std::str::from_utf8(&kept.value).ok()?.parse().ok());
        let number = number.unwrap_or(end).min(end);
        let mut position = Position {
            number,
            kept: (number, revision),
            taken: BTreeSet::new(),
        };
        if revision.is_none() {
            self.keep(&mut position).await?;
        }
        Ok(position)
    }

    async fn keep(&self, position: &mut Position) -> Result<(), Failure> {
        let (_, before) = position.kept;
        let value = position.number.to_string().into_bytes();
        let now = self.records.put(KIND, KEY, value, before).await?;
        position.kept = (position.number, Some(now));
        Ok(())
    }

    async fn tell_of(
        &self,
        record: &AuditRecord,
        taken: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        let told = Told::of(record);
        for address in self.addresses(record).await? {
            if taken.contains(address) {
                continue;
            }
            let message = told.to(&self.config.from, address)?;
            match submit(&self.config, self.password.as_ref(), &message).await? {
                Taken::Yes => {}
                Taken::Never(answer) => tracing::error!(
                    alarm = "mail_refused",
                    address,
                    answer,
                    record = record.number,
                    "the mail server does not take a message to this address"
                ),
            }
            taken.insert(address.to_owned());
        }
        Ok(())
    }

    /// Whom to tell, each once: auditors, and those of the organisations that the doctor is of.
    async fn addresses(&self, record: &AuditRecord) -> Result<BTreeSet<&str>, Failure> {
        let doctor = UserName::parse(&record.event.actor.name);
        let of = match doctor {
            Ok(doctor) => self.accounts.organisations_of(&doctor).await,
            Err(_) => Ok(BTreeSet::new()),
        };
        let of = of.map_err(|_told| Failure::Whose)?;
        let of_organisations = &self.config.organisations;
        let of = of.iter().filter_map(|code| of_organisations.get(code));
        let all = of.flatten().chain(&self.config.auditors);
        Ok(all.map(String::as_str).collect())
    }
}

/// Whether somebody is told of a record.
fn is_told(record: &AuditRecord) -> bool {
    let event = &record.event;
    event.act == Act::BreakGlassStarted && event.outcome == Outcome::Success
}
