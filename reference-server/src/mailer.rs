//! Tells by e-mail whoever has to look at it that a doctor opened a patient in an emergency.
//!
//! It follows the audit trail with a durable position, so that nobody who opens a patient waits for
//! a mail server, and nothing is left out over a restart. What a server has taken is told once; of
//! what it may have taken is told again, under the same Message-ID.

mod message;

use crate::accounts::Accounts;
use crate::config::mail::MailConfig;
use crate::limits::{
    FORWARD_RETRY_FIRST, FORWARD_RETRY_LONGEST, FORWARD_TOLD_EVERY, FORWARDED_PAGE_COUNT,
    MAIL_DURATION_MAX, NOTES_LOOK_EVERY,
};
use crate::metrics::Metrics;
use crate::secret_file::{self, Secret, SecretFileError};
use crate::tls::{TlsFileError, outgoing};
use crate::tool::failure::chain;
use mail_send::smtp::message::Message;
use mail_send::{Credentials, SmtpClient};
use message::Told;
use pacs_core::account::UserName;
use pacs_core::audit::{Act, Outcome};
use pacs_net::ByteStream;
use pacs_store::records::{Kind, Records, RecordsError};
use pacs_store::registry::audit::{AuditError, AuditRecord};
use prometheus::IntGauge;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The document of this kind says how far the trail was told of.
const KIND: Kind = Kind::new("mail");

/// Its key.
const KEY: &str = "position";

/// What we call ourselves to a mail server.
const OWN_NAME: &str = "pacs-server";

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
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Files(#[from] TlsFileError),
    #[error("the position could not be read or kept")]
    Position(#[from] RecordsError),
    #[error("{0}")]
    Server(String),
    #[error("it took too long")]
    Slow,
    #[error("whose people they are could not be looked up")]
    Whose,
}

/// How the mail server took a message.
enum Taken {
    Yes,
    /// It never takes it.
    Never(String),
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
        let mut taken = BTreeSet::new();
        loop {
            appended.mark_unchanged();
            match self.tell(&mut taken).await {
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
    /// `taken`: to which addresses a former attempt told of it.
    async fn tell(&self, taken: &mut BTreeSet<String>) -> Result<bool, Failure> {
        let trail = self.accounts.trail();
        let end = trail.anchor().await?.map_or(0, |anchor| anchor.number);
        let kept = self.records.get(KIND, KEY).await?;
        let revision = kept.as_ref().map(|kept| kept.revision);
        // What was there before anybody was to be told, is told to nobody; nor what is told of in a
        // trail that was restored from an older backup.
        let position = kept.and_then(|kept| std::str::from_utf8(&kept.value).ok()?.parse().ok());
        let position = position.unwrap_or(end).min(end);
        let page = trail.after(position, FORWARDED_PAGE_COUNT).await?;
        let next = page.iter().find(|record| is_told(record));
        if let Some(record) = next {
            self.tell_of(record, taken).await?;
        }
        let last = next.or(page.last()).map_or(position, |last| last.number);
        if last != position || revision.is_none() {
            let position = last.to_string().into_bytes();
            self.records.put(KIND, KEY, position, revision).await?;
        }
        taken.clear();
        Ok(last < end)
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
            let Some(message) = told.to(&self.config, address) else {
                continue;
            };
            let sent = timeout(MAIL_DURATION_MAX, self.send(message)).await;
            match sent.map_err(|_elapsed| Failure::Slow)?? {
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

    async fn send(&self, message: Message<'_>) -> Result<Taken, Failure> {
        let mut client = SmtpClient {
            stream: self.connect().await?,
            timeout: MAIL_DURATION_MAX,
        };
        let greeting = client.read().await.map_err(of_server)?;
        if !greeting.is_positive_completion() {
            return Err(Failure::Server(greeting.to_string()));
        }
        let offered = client.ehlo(OWN_NAME).await.map_err(of_server)?;
        if let (Some((user, _)), Some(Secret(password))) =
            (&self.config.credentials, &self.password)
        {
            let credentials = Credentials::new(user.as_str(), password.as_str());
            let signed_in = client.authenticate(&credentials, &offered).await;
            signed_in.map(drop).map_err(of_server)?;
        }
        let sent = client.send(message).await;
        client.cmd("QUIT\r\n").await.ok();
        match sent {
            Ok(_) => Ok(Taken::Yes),
            Err(mail_send::Error::UnexpectedReply(answer)) if answer.code() >= 500 => {
                Ok(Taken::Never(answer.to_string()))
            }
            Err(error) => Err(of_server(error)),
        }
    }

    async fn connect(&self) -> Result<Box<dyn ByteStream>, Failure> {
        let server = &self.config.server;
        match &self.config.tls {
            Some(tls) => {
                let opened = outgoing("mail", tls)?.open(server).await;
                opened.map_err(Failure::Connect)
            }
            None => {
                let opened = TcpStream::connect(server).await;
                Ok(Box::new(opened.map_err(Failure::Connect)?))
            }
        }
    }
}

/// Whether somebody is told of a record.
fn is_told(record: &AuditRecord) -> bool {
    let event = &record.event;
    event.act == Act::BreakGlassStarted && event.outcome == Outcome::Success
}

fn of_server(error: mail_send::Error) -> Failure {
    Failure::Server(error.to_string())
}
