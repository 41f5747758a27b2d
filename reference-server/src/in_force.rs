//! Which AE table and which settings of TLS were in force last, so that what is changed while the
//! server is stopped is on record like what SIGHUP changes.
//!
//! Kept is what tells them from others, and no more. An archive that has none yet learns them at
//! its next start, without a word.

use crate::local::own_records;
use crate::place;
use pacs_core::Denied;
use pacs_core::audit::{Act, Actor, AuditEvent, ChangeDigests, StateDigest};
use pacs_store::Archive;
use pacs_store::records::{Change, Kind, Record, Records};
use pacs_store::registry::audit::{AuditError, AuditTrail};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Documents of this kind say what was in force last, by the name of the setting.
const KIND: Kind = Kind::new("in-force");

/// The version of the documents.
const VERSION: u32 = 1;

/// Who tells of it at the start.
pub(crate) const SERVER: &str = "pacs-server";

/// Who tells of it on SIGHUP.
pub(crate) const RELOAD: &str = "pacs-server reload";

/// Why a start finds settings changed: they were, while the server was stopped.
const WHILE_STOPPED: &str = "WHILE_STOPPED";

/// Why a start finds settings changed: they were, or another version of the server reads them
/// differently.
const UPGRADED: &str = "UPGRADED";

/// What tells settings from others; there is no secret in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// The AE table.
    pub(crate) network: StateDigest,
    /// TLS, and its certificates.
    pub(crate) security: StateDigest,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    digest: StateDigest,
    /// The version of the server that read the settings.
    server: String,
}

/// What was in force last. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    records: Arc<dyn Records>,
    trail: AuditTrail,
}

impl InForce {
    /// That of an archive.
    ///
    /// # Errors
    /// [`Denied`] never, as the policy is ours.
    pub(crate) fn of(archive: &Archive) -> Result<Self, Denied> {
        Ok(Self {
            records: own_records(archive, "settings")?,
            trail: archive.registry().audit_trail(),
        })
    }

    /// Records what of `settings`, which are about to count, is not as it was; before that, at the
    /// start, that the server `started`.
    ///
    /// # Errors
    /// [`AuditError`]; nothing was recorded then.
    pub(crate) async fn put(
        &self,
        settings: Settings,
        started: Option<AuditEvent>,
    ) -> Result<(), AuditError> {
        let all = [
            (Act::NetworkConfigured, "dicom.ae", settings.network),
            (Act::SecurityConfigured, "dicom.tls", settings.security),
        ];
        let is_start = started.is_some();
        let mut events = Vec::from_iter(started);
        let mut changes = Vec::new();
        for (act, setting, digest) in all {
            let kept = self.records.get(KIND, setting).await?;
            let before = kept.as_ref().and_then(read);
            let now = Document {
                version: VERSION,
                digest,
                server: env!("CARGO_PKG_VERSION").to_owned(),
            };
            if before.as_ref() == Some(&now) {
                continue;
            }
            let digest_before = before.as_ref().map(|before| before.digest);
            if kept.is_some() && digest_before != Some(digest) {
                let is_same_server = before.is_some_and(|before| before.server == now.server);
                let mut event = event_of(act, setting, if is_start { SERVER } else { RELOAD });
                event.change = Some(ChangeDigests {
                    before: digest_before,
                    after: Some(digest),
                });
                event.reason = is_start.then(|| {
                    let why = if is_same_server {
                        WHILE_STOPPED
                    } else {
                        UPGRADED
                    };
                    why.to_owned()
                });
                events.push(event);
            }
            let expected = kept.map(|record| record.revision);
            changes.push(Change::put(KIND, setting, now.to_value(), expected));
        }
        if !changes.is_empty() || !events.is_empty() {
            self.trail.commit_all(changes, &events).await?;
        }
        Ok(())
    }
}

impl Document {
    fn to_value(&self) -> Vec<u8> {
        let Self {
            version,
            digest,
            server,
        } = self;
        let json = json!({"version": version, "digest": digest, "server": server});
        json.to_string().into_bytes()
    }
}

/// What a record says; `None`: it is of another version, or damaged.
fn read(record: &Record) -> Option<Document> {
    let document: Document = serde_json::from_slice(&record.value).ok()?;
    (document.version == VERSION).then_some(document)
}

/// Something that `actor`, a part of ours, does with a setting.
pub(crate) fn event_of(act: Act, setting: &str, actor: &str) -> AuditEvent {
    let mut event = AuditEvent::new(act, place::now(), Actor::system(actor));
    event.object.setting = Some(setting.to_owned());
    event
}
