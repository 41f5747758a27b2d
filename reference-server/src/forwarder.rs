//! Sends the audit trail to a repository elsewhere: syslog over TLS (RFC 5425; PS3.15 A.6, IHE
//! ITI-20).
//!
//! It follows the trail with a durable position, in order, and no act waits for it. Syslog has no
//! answers: that bytes were written says nothing of who has read them. So what a repository has
//! taken counts only once a connection has ended in order, that is once it ended its side after we
//! said that nothing more comes; whatever was sent over a connection that ends otherwise is sent
//! again. Nothing is lost so, and what is sent twice has the same number twice.

mod connection;
mod standing;

use crate::accounts::Accounts;
use crate::config::audit::SyslogConfig;
use crate::limits::{
    FORWARD_LAST_DURATION_MAX, FORWARD_RETRY_FIRST, FORWARD_RETRY_LONGEST, FORWARDED_AT_ONCE_MAX,
    FORWARDED_CONFIRMED_EVERY, FORWARDED_PAGE_COUNT, NOTES_LOOK_EVERY,
};
use crate::metrics::Metrics;
use crate::place;
use crate::tls::{TlsFileError, outgoing};
use connection::{Connection, ForwardError};
use pacs_core::audit::syslog::{SyslogName, SyslogSender};
use pacs_core::audit::{Act, Actor, AuditEvent, Outcome};
use pacs_store::registry::audit::{Anchor, AuditRecord, AuditTrail, Forwarded};
use serde_json::Value;
use standing::Standing;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until, timeout};

/// Why there is no forwarder, though the settings want one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwarderError {
    /// Its gauges cannot be shown: a fault of this crate.
    #[error("metrics of the forwarder")]
    Metrics(#[from] prometheus::Error),
    /// Its certificates are of no use.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
}

/// Sends the trail of one archive to one repository. Clones are the same.
#[derive(Debug, Clone)]
pub struct Forwarder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    trail: AuditTrail,
    config: SyslogConfig,
    sender: SyslogSender,
    standing: Standing,
}

impl Forwarder {
    /// The one of `config`, if there is to be one, for the trail beside `accounts`. Nothing is sent
    /// before [`Forwarder::follow`].
    ///
    /// # Errors
    /// [`ForwarderError`]
    pub fn open(
        config: Option<&SyslogConfig>,
        accounts: &Accounts,
        metrics: &Metrics,
    ) -> Result<Option<Self>, ForwarderError> {
        let Some(config) = config else {
            return Ok(None);
        };
        // What is wrong with the files is told at the start, and not to a log that nobody reads.
        outgoing("audit.syslog", &config.tls)?;
        let trail = accounts.trail().clone();
        let standing = Standing::new(metrics.registry(), &trail, config.alarm_after)?;
        Ok(Some(Self {
            inner: Arc::new(Inner {
                sender: sender(config),
                config: config.clone(),
                standing,
                trail,
            }),
        }))
    }

    /// Forwards until the task is dropped.
    pub async fn follow(self) {
        let mut appended = self.inner.trail.appended();
        let mut pause = FORWARD_RETRY_FIRST;
        loop {
            appended.mark_unchanged();
            match self.deliver(false).await {
                Ok(is_more) => {
                    pause = FORWARD_RETRY_FIRST;
                    if !is_more {
                        // Another process may append, too.
                        timeout(NOTES_LOOK_EVERY, appended.changed()).await.ok();
                    }
                }
                Err(error) => {
                    self.failed(&error).await;
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(FORWARD_RETRY_LONGEST);
                }
            }
        }
    }

    /// Sends what is left, once nothing more is appended and [`Forwarder::follow`] has ended. It
    /// does not wait for a repository that cannot be reached: what is left then is sent by the next
    /// run.
    pub async fn finish(&self) {
        if self.inner.standing.is_in_trouble() {
            return;
        }
        let rest = async {
            while self.deliver(true).await? {}
            Ok::<_, ForwardError>(())
        };
        match timeout(FORWARD_LAST_DURATION_MAX, rest).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = crate::tool::failure::chain(&error);
                tracing::warn!(
                    error,
                    "the end of the audit trail is forwarded by the next run"
                );
            }
            Err(_elapsed) => {
                tracing::warn!("the end of the audit trail is forwarded by the next run");
            }
        }
    }

    /// For `/healthz`: numbers, and the kind of the trouble.
    #[must_use]
    pub fn shown(&self) -> Value {
        self.inner.standing.shown()
    }

    /// Sets the gauges to what is known now.
    pub fn measure(&self) {
        self.inner.standing.measure();
    }

    /// Sends what waits, over one connection, and keeps how far that was taken. With `is_last` it
    /// does not wait for more to come. Whether more waits.
    async fn deliver(&self, is_last: bool) -> Result<bool, ForwardError> {
        let trail = &self.inner.trail;
        let position = self.position().await?;
        let page = trail.after(position, FORWARDED_PAGE_COUNT).await?;
        self.inner.standing.waits(position, page.first());
        if page.is_empty() {
            return Ok(false);
        }
        let mut connection = Connection::open(&self.inner.config).await?;
        let Some(last) = self.send(&mut connection, page, is_last).await? else {
            return Ok(false);
        };
        connection.end().await?;
        trail.note_forwarded(last).await?;
        let next = trail.after(last.number, 1).await?;
        self.inner
            .standing
            .taken(position, last.number, next.first());
        Ok(!next.is_empty())
    }

    /// Sends `page` and what comes after it, until it is time to see whether that was taken; the
    /// last record of it.
    async fn send(
        &self,
        connection: &mut Connection,
        mut page: Vec<AuditRecord>,
        is_last: bool,
    ) -> Result<Option<Anchor>, ForwardError> {
        let trail = &self.inner.trail;
        let mut appended = trail.appended();
        let due = Instant::now() + FORWARDED_CONFIRMED_EVERY;
        let mut last = None;
        let mut count: u64 = 0;
        loop {
            for record in &page {
                let AuditRecord { number, digest, .. } = *record;
                let frame = self.inner.sender.framed(number, digest, &record.event);
                connection.send(&frame).await?;
                last = Some(Anchor { number, digest });
                count = count.saturating_add(1);
                if count >= FORWARDED_AT_ONCE_MAX || Instant::now() >= due {
                    return Ok(last);
                }
            }
            appended.mark_unchanged();
            let number = last.map_or(0, |last| last.number);
            page = trail.after(number, FORWARDED_PAGE_COUNT).await?;
            if page.is_empty() && is_last {
                return Ok(last);
            }
            if page.is_empty() {
                tokio::select! {
                    ended = connection.ended() => return Err(ended),
                    _appended = appended.changed() => {}
                    () = sleep_until(due) => return Ok(last),
                }
            }
        }
    }

    /// How far a repository has taken the trail.
    async fn position(&self) -> Result<u64, ForwardError> {
        Ok(match self.inner.trail.forwarded().await? {
            Forwarded::Nothing => 0,
            Forwarded::Through(anchor) => anchor.number,
            Forwarded::OtherTrail(anchor) => {
                tracing::error!(
                    alarm = "audit_trail_is_another",
                    record = anchor.number,
                    "what was forwarded is not this audit trail: all of it is forwarded again"
                );
                0
            }
        })
    }

    /// Tells of it: in metrics and health, in the log where it is new, and in the trail itself
    /// where the repository is not who it should be.
    async fn failed(&self, error: &ForwardError) {
        let Inner {
            standing, config, ..
        } = &*self.inner;
        let name = error.name();
        let trouble = standing.failed(name);
        let text = crate::tool::failure::chain(error);
        let address = &config.address;
        if trouble.is_news {
            tracing::warn!(
                error = text,
                address,
                "the audit trail cannot be forwarded now"
            );
        }
        if trouble.is_alarm {
            tracing::error!(
                alarm = "audit_not_forwarded",
                error = text,
                address,
                waiting = trouble.waiting,
                "the audit trail has not been forwarded for long"
            );
        }
        if error.is_of_identity() && standing.is_refusal_news() {
            let actor = Actor::system("audit forwarder");
            let mut event = AuditEvent::new(Act::NodeRefused, place::now(), actor);
            event.outcome = Outcome::SeriousFailure;
            event.object.node = Some(address.clone());
            event.reason = Some(name.to_owned());
            let told = self.inner.trail.commit(Vec::new(), &event).await;
            if let Err(error) = told {
                let error = crate::tool::failure::chain(&error);
                tracing::error!(error, "the audit trail could not be written");
            }
        }
    }
}

/// Who messages say that they are from.
fn sender(config: &SyslogConfig) -> SyslogSender {
    let host_name = config.host_name.clone().or_else(|| {
        let name = rustix::system::uname();
        SyslogName::host(name.nodename().to_str().ok()?).ok()
    });
    SyslogSender {
        facility: config.facility,
        host_name: host_name.unwrap_or_else(SyslogName::unknown),
        app_name: config.app_name.clone(),
        process_id: std::process::id(),
        message_id: config.message_id.clone(),
        enterprise_number: config.enterprise_number,
        source: config.source.clone(),
        enterprise_site: config.enterprise_site.clone(),
        message_bytes_max: config.message_bytes_max,
    }
}
