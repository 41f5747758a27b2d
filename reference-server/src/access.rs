//! Who may do what: the AE table of the configuration, as the one policy under every protocol.
//!
//! A configured title is bound to its addresses, and to its certificate where it has one; such a
//! certificate is worth nothing under another title. On a loopback listener an unknown title may
//! echo, store, ask for commitment, query, retrieve and move to any configured AE; on any other
//! listener only configured AEs exist.
//!
//! The table can be replaced while the server runs ([`crate::reload`]). Who is associated stays so,
//! and each operation is judged by the table as it is when the operation begins.

mod passcodes;

use crate::clients::Clients;
use crate::config::{AeSight, Config, Forward, RemoteAe};
use crate::directory::Directory;
use crate::guessing::Guesses;
use crate::metrics::Metrics;
use crate::recorder::alerts::Alerts;
use crate::tokens::{TokenSight, Tokens};
use pacs_core::access::SignedIn;
use pacs_core::audit::StateDigest;
use pacs_core::role::Permission;
use pacs_core::role::sight::Sight;
use pacs_core::{Action, AeTitle, Caller, Policy};
use pacs_net::security::{Channel, Fingerprint, PeerCertificate};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use std::time::Instant;

/// What a peer on an open loopback listener may do without being configured.
const LOOPBACK_ACTIONS: [Action; 8] = [
    Action::Commit,
    Action::Echo,
    Action::Find,
    Action::Get,
    Action::Move,
    Action::Mpps,
    Action::Store,
    Action::Worklist,
];

/// What a client of DICOMweb may do on a loopback listener that is open to all. What it hides can
/// be brought back.
const OPEN_WEB_ACTIONS: [Action; 5] = [
    Action::Commit,
    Action::Find,
    Action::Get,
    Action::Hide,
    Action::Store,
];

/// The policy of the reference server.
#[derive(Debug)]
pub struct Access {
    our_title: AeTitle,
    /// Whether the plain listener is open to unknown titles.
    open_plain: bool,
    /// Whether the listener with TLS is.
    open_tls: bool,
    /// Whether DICOMweb is.
    open_web: bool,
    table: RwLock<Arc<Table>>,
    guesses: Guesses,
    /// At passcodes, by those whose titles are right.
    passcode_guesses: Guesses,
    tokens: Arc<Tokens>,
    metrics: Option<Arc<Metrics>>,
    alerts: Option<Alerts>,
    directory: Directory,
    /// Where all that comes is sent on to.
    forwards: Vec<Forward>,
}

/// The AEs that are configured.
#[derive(Debug)]
struct Table {
    remote_aes: BTreeMap<AeTitle, RemoteAe>,
    /// Certificates that some AE is bound to by their fingerprint.
    pinned: BTreeSet<Fingerprint>,
}

/// A peer at the door.
#[derive(Debug, Clone, Copy)]
pub struct Knock<'a> {
    /// The title it calls.
    pub called: &'a AeTitle,
    /// The title it calls itself by.
    pub calling: &'a AeTitle,
    /// Where its connection comes from.
    pub address: IpAddr,
    /// What its connection runs over.
    pub channel: &'a Channel,
}

/// Why a peer gets no association. What it is told does not tell these apart, so that it learns
/// nothing about the table; the log does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its title is bound to other addresses.
    #[error("the calling AE title is bound to other addresses")]
    Address,
    /// Its certificate is bound to another title.
    #[error("the certificate is bound to another AE title")]
    Borrowed,
    /// It calls a title that is not ours.
    #[error("the called AE title is not ours")]
    CalledTitle,
    /// Its title is unknown.
    #[error("the calling AE title is unknown")]
    CallingTitle,
    /// Its title is bound to a certificate that it has not shown.
    #[error("the calling AE title is bound to another certificate")]
    Certificate,
    /// Too many requests from its address were wrong; this one was not looked at.
    #[error("too many wrong requests from this address")]
    Guessing,
    /// The name and passcode that it shows are nobody's, or not any more.
    #[error("the user name and passcode are nobody's, or not any more")]
    Passcode,
    /// Its title must come over TLS.
    #[error("the calling AE title must come over TLS")]
    Plain,
}

impl Refusal {
    /// A short name, for labels.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Borrowed => "borrowed_certificate",
            Self::CalledTitle => "called_title",
            Self::CallingTitle => "calling_title",
            Self::Certificate => "certificate",
            Self::Guessing => "guessing",
            Self::Passcode => "passcode",
            Self::Plain => "plain",
        }
    }
}

impl RemoteAe {
    fn is_bound(&self) -> bool {
        !self.certificate_sha256.is_empty() || self.certificate_subject.is_some()
    }
}

impl Table {
    fn new(remote_aes: BTreeMap<AeTitle, RemoteAe>) -> Self {
        let pinned = remote_aes.values().flat_map(|ae| &ae.certificate_sha256);
        Self {
            pinned: pinned.copied().collect(),
            remote_aes,
        }
    }

    fn get(&self, title: &AeTitle) -> Option<&RemoteAe> {
        self.remote_aes.get(title)
    }

    /// Whether `shown` is a certificate that `ae` is bound to.
    fn belongs(&self, shown: &PeerCertificate, ae: &RemoteAe) -> bool {
        let is_subject = ae.certificate_subject.as_ref() == Some(&shown.subject);
        if self.pinned.contains(&shown.sha256) {
            // It may be self-made, so that its subject alone says nothing.
            let is_subject = is_subject || ae.certificate_subject.is_none();
            return ae.certificate_sha256.contains(&shown.sha256) && is_subject;
        }
        ae.certificate_sha256.is_empty() && is_subject
    }

    fn is_proved(&self, knock: Knock<'_>) -> bool {
        let known = self.get(knock.calling);
        let shown = knock.channel.certificate();
        known
            .zip(shown)
            .is_some_and(|(ae, shown)| self.belongs(shown, ae))
    }

    /// A certificate that belongs to an AE of the table is of no use under a title that it does
    /// not belong to.
    fn check_not_borrowed(&self, knock: Knock<'_>) -> Result<(), Refusal> {
        let Some(shown) = knock.channel.certificate() else {
            return Ok(());
        };
        if self.remote_aes.values().any(|ae| self.belongs(shown, ae)) {
            return Err(Refusal::Borrowed);
        }
        Ok(())
    }
}

impl Access {
    /// The policy that `config` describes.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let is_loopback = |address: std::net::SocketAddr| address.ip().is_loopback();
        Self {
            our_title: config.ae_title.clone(),
            open_plain: is_loopback(config.dicom),
            open_tls: config.tls.address.is_some_and(is_loopback),
            open_web: config.web.open_loopback && is_loopback(config.http),
            table: RwLock::new(Arc::new(Table::new(config.remote_aes.clone()))),
            guesses: Guesses::default(),
            passcode_guesses: Guesses::default(),
            tokens: Arc::new(Tokens::of(&config.data)),
            metrics: None,
            alerts: None,
            directory: Directory::default(),
            forwards: config.forwards.clone(),
        }
    }

    /// Counts refusals in `metrics`.
    #[must_use]
    pub fn counting(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Has refusals recorded by `alerts`.
    #[must_use]
    pub fn telling(mut self, alerts: Alerts) -> Self {
        self.alerts = Some(alerts);
        self
    }

    /// Whose devices and programs are told apart by. As long as it has learnt of no organisation,
    /// everybody sees everything that they may do.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// Those who are known by a token.
    #[must_use]
    pub fn clients(&self) -> Clients {
        Clients::new(
            Arc::clone(&self.tokens),
            self.metrics.clone(),
            self.alerts.clone(),
        )
    }

    /// What tells the table from another; there is no secret in it.
    pub(crate) fn digest(&self) -> StateDigest {
        self.digest_with(&self.table().remote_aes)
    }

    /// The same with another table. What is sent on where tells it apart, too, where anything is.
    pub(crate) fn digest_with(&self, remote_aes: &BTreeMap<AeTitle, RemoteAe>) -> StateDigest {
        if self.forwards.is_empty() {
            return digest_of(remote_aes);
        }
        let text = format!("{remote_aes:?}{:?}", self.forwards);
        StateDigest(blake3::hash(text.as_bytes()).into())
    }

    /// Whether `title` is asked to confirm what is sent on to it, and so may bring reports.
    pub(crate) fn confirms(&self, title: &AeTitle) -> bool {
        let mut forwards = self.forwards.iter();
        forwards.any(|forward| forward.confirm && forward.to == *title)
            && self.table().get(title).is_some()
    }

    /// Puts another table in place of the present one.
    pub fn replace(&self, remote_aes: BTreeMap<AeTitle, RemoteAe>) {
        let table = Arc::new(Table::new(remote_aes));
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    fn table(&self) -> Arc<Table> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&table)
    }

    /// How long associations of `title` may be idle, where that is said of it alone.
    #[must_use]
    pub fn idle_duration_max(&self, title: &AeTitle) -> Option<Duration> {
        self.table().get(title)?.idle_duration_max
    }

    /// Whether a peer gets an association at all. A source that is wrong too often is not looked
    /// at; refusals are counted and logged.
    ///
    /// # Errors
    /// [`Refusal`], which PS3.8 9.3.4 has reasons for.
    pub fn admit(&self, knock: Knock<'_>) -> Result<(), Refusal> {
        // Who holds the key of the right certificate does not guess, and is not kept out by those
        // who do.
        let table = self.table();
        let admitted = if table.is_proved(knock) {
            self.judge(&table, knock)
        } else {
            let judge = || self.judge(&table, knock);
            match self.guesses.evaluate(knock.address, Instant::now(), judge) {
                Ok(judged) => judged,
                Err(turned_away) => {
                    self.alarm(knock.address, turned_away.alarm);
                    Err(Refusal::Guessing)
                }
            }
        };
        if let Err(refusal) = admitted {
            self.tell(knock, refusal);
        }
        admitted
    }

    fn judge(&self, table: &Table, knock: Knock<'_>) -> Result<(), Refusal> {
        let is_open = match knock.channel {
            Channel::Plain => self.open_plain,
            Channel::Tls { .. } => self.open_tls,
        };
        if !is_open && *knock.called != self.our_title {
            return Err(Refusal::CalledTitle);
        }
        let Some(ae) = table.get(knock.calling) else {
            if !is_open {
                return Err(Refusal::CallingTitle);
            }
            return table.check_not_borrowed(knock);
        };
        if !ae.comes_from(knock.address) {
            return Err(Refusal::Address);
        }
        if ae.tls && *knock.channel == Channel::Plain {
            return Err(Refusal::Plain);
        }
        if !ae.is_bound() {
            return table.check_not_borrowed(knock);
        }
        match knock.channel.certificate() {
            Some(shown) if table.belongs(shown, ae) => Ok(()),
            Some(_) => table
                .check_not_borrowed(knock)
                .and(Err(Refusal::Certificate)),
            None => Err(Refusal::Certificate),
        }
    }

    fn tell(&self, knock: Knock<'_>, refusal: Refusal) {
        if let Some(metrics) = &self.metrics {
            metrics.refused(refusal.name());
        }
        if let Some(alerts) = &self.alerts {
            alerts.node_refused(knock.address, Some(knock.calling.as_str()), refusal.name());
        }
        if refusal == Refusal::Guessing {
            // The alarm speaks for all of these.
            return;
        }
        let shown = knock.channel.certificate();
        tracing::warn!(
            address = %knock.address,
            calling = %knock.calling,
            called = %knock.called,
            certificate_sha256 = shown.map(|shown| shown.sha256.to_string()),
            certificate_subject = shown.map(|shown| shown.subject.as_str()),
            reason = %refusal,
            "association refused"
        );
    }

    fn alarm(&self, address: IpAddr, turned_away_count: Option<u64>) {
        let Some(turned_away) = turned_away_count else {
            return;
        };
        if let Some(metrics) = &self.metrics {
            metrics.guessing_alarm();
        }
        tracing::error!(
            alarm = "title_guessing",
            %address,
            turned_away,
            "an address tries out AE titles or certificates; its requests are not looked at"
        );
    }

    /// What is configured of `title`.
    #[must_use]
    pub fn remote_ae(&self, title: &AeTitle) -> Option<RemoteAe> {
        self.table().get(title).cloned()
    }

    /// The AEs that are to be told which instances are to be had.
    pub(crate) fn notified(&self) -> Vec<RemoteAe> {
        let table = self.table();
        let all = table.remote_aes.values();
        all.filter(|ae| ae.notify).cloned().collect()
    }

    /// What the AE of that title sees.
    pub(crate) fn sight_of(&self, title: &AeTitle) -> Sight {
        match self.table().get(title) {
            Some(ae) if ae.sees == AeSight::Everything => Sight::Everything,
            _ => self.directory.device(title.as_str()),
        }
    }

    /// The AE that `caller` names as C-MOVE destination: `None` if there is no such AE, or not for
    /// this caller.
    #[must_use]
    pub fn move_destination(&self, caller: &AeTitle, destination: &AeTitle) -> Option<RemoteAe> {
        let table = self.table();
        let known = table.get(destination)?;
        let is_allowed = match table.get(caller) {
            Some(ae) => ae.move_to.contains(destination),
            None => self.is_open_somewhere(),
        };
        is_allowed.then(|| known.clone())
    }
}

impl Access {
    fn is_open_somewhere(&self) -> bool {
        self.open_plain || self.open_tls
    }

    /// What the AE of that title may do from there.
    fn device_may(&self, title: &AeTitle, address: IpAddr, action: Action) -> bool {
        match self.table().get(title) {
            Some(ae) => ae.comes_from(address) && ae.allow.contains(&action),
            None => {
                self.is_open_somewhere()
                    && address.to_canonical().is_loopback()
                    && LOOPBACK_ACTIONS.contains(&action)
            }
        }
    }
}

impl Policy for Access {
    fn permits(&self, caller: &Caller, action: Action) -> bool {
        match caller {
            Caller::Client { address, name } => match name {
                Some(name) => self.tokens.permits(name, action),
                None => {
                    self.open_web
                        && address.to_canonical().is_loopback()
                        && OPEN_WEB_ACTIONS.contains(&action)
                }
            },
            Caller::Device {
                ae_title, address, ..
            } => self.device_may(ae_title, *address, action),
            // The server's own task, which checks what devices asked about.
            Caller::System { .. } => action == Action::Commit,
            Caller::User(user) => {
                let at_device = user.device.as_ref();
                let may_there = |title| self.device_may(title, user.address, action);
                user_may(user, action) && at_device.is_none_or(may_there)
            }
            _ => false,
        }
    }

    fn sight(&self, caller: &Caller, action: Action) -> Sight {
        match caller {
            Caller::Client { name, .. } => match name {
                Some(name) => match self.tokens.sight(name) {
                    Some(TokenSight::Everything) => Sight::Everything,
                    Some(TokenSight::Organisation(of)) => self.directory.program(Some(of)),
                    None => self.directory.program(None),
                },
                // Only where the configuration says that whoever is on this machine is let in.
                None => Sight::Everything,
            },
            Caller::Device { ae_title, .. } => self.sight_of(ae_title),
            Caller::System { .. } => Sight::Everything,
            Caller::User(user) => self.directory.user(user, action),
            _ => self.directory.program(None),
        }
    }
}

/// What tells one table from another; there is no secret in it.
fn digest_of(remote_aes: &BTreeMap<AeTitle, RemoteAe>) -> StateDigest {
    StateDigest(blake3::hash(format!("{remote_aes:?}").as_bytes()).into())
}

/// What somebody who is signed in may do over DICOMweb or at a device, by some role of theirs. Of
/// which studies is another question: see [`Policy::sight`].
fn user_may(user: &SignedIn, action: Action) -> bool {
    let permission = match action {
        // Where to, the AE table says of the device.
        Action::Move if user.device.is_some() => Permission::ImageView,
        Action::Find | Action::Get => Permission::ImageView,
        Action::Hide => Permission::ImageReject,
        Action::Store => Permission::ImageStore,
        Action::Claim => Permission::ReportWrite,
        Action::Commit
        | Action::Echo
        | Action::Maintain
        | Action::Move
        | Action::Mpps
        | Action::Worklist
        | _ => return false,
    };
    user.grants.has(permission)
}

/// The policy of whoever holds the data directory of a stopped server: look after it, and nothing
/// else.
#[derive(Debug, Clone, Copy)]
pub struct MaintenanceOnly;

impl Policy for MaintenanceOnly {
    fn permits(&self, caller: &Caller, action: Action) -> bool {
        matches!(caller, Caller::System { .. }) && action == Action::Maintain
    }

    fn sight(&self, _caller: &Caller, _action: Action) -> Sight {
        Sight::Everything
    }
}

/// The policy of whoever holds the data directory of a stopped server and works on it with one
/// command: what that command needs, and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct SystemMay(pub &'static [Action]);

impl Policy for SystemMay {
    fn permits(&self, caller: &Caller, action: Action) -> bool {
        matches!(caller, Caller::System { .. }) && self.0.contains(&action)
    }

    fn sight(&self, _caller: &Caller, _action: Action) -> Sight {
        Sight::Everything
    }
}

#[cfg(test)]
mod tests;
