//! `pacs export`: what a query names, as a file-set with a DICOMDIR (PS3.10, PS3.11 general
//! purpose), in a folder or in a ZIP archive; from an archive of this machine whose server is
//! stopped, or from a peer by C-GET.
//!
//! Data sets say who the registry knows the patient to be and what was ordered, or are written as
//! they are stored where that is asked for. Nothing that is there already is replaced, and the
//! DICOMDIR (or the name of the ZIP archive) comes last, so that half an export does not look like
//! a whole one.

mod medium;

use super::failure::{Failure, chain};
use super::maintain::open_archive;
use super::output::{Output, Unit};
use super::retrieve::get_found;
use super::{Connection, Exporting, Search};
use crate::access::SystemMay;
use crate::limits::RECORDED_AT_ONCE_MAX;
use crate::overlays::RegistryOverlays;
use crate::place;
use crate::recorder::count;
use async_trait::async_trait;
use bytes::Bytes;
use medium::{Incoming, Medium};
use pacs_core::access::{Get, permit};
use pacs_core::audit::{Act, Actor, AuditEvent, StudyTouched};
use pacs_core::coerce::{Coercer, Overlay};
use pacs_core::convert::Progress;
use pacs_core::limits::CoerceLimits;
use pacs_core::patient::PatientKey;
use pacs_core::role::{Agent, duty::Reconcile};
use pacs_core::{Action, Caller, Phi};
use pacs_net::service::{Peer, StorageScp, StoreRequest, StoreSink};
use pacs_net::status::StoreStatus;
use pacs_store::egress::{AsStored, Begun, EgressError, NoOverlays, Overlays, begin};
use pacs_store::index::StoredInstance;
use pacs_store::{Archive, DataSetReader};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const TASK: &str = "pacs export";

/// Bytes of a data set that are rewritten and written at once.
const PIECE_BYTES: usize = 512 << 10;

/// A medium that several parts of the work write to, one at a time.
type Shared = Arc<Mutex<Medium>>;

fn locked(medium: &Mutex<Medium>) -> MutexGuard<'_, Medium> {
    medium.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn export(exporting: &Exporting, output: &Output) -> Result<(), Failure> {
    let out = exporting.out.as_path();
    let medium = Medium::begin(out, exporting.zip);
    let medium = medium.map_err(|error| Failure::file(out, error))?;
    let medium = Arc::new(Mutex::new(medium));
    let refused_count = match &exporting.peer {
        Some(peer) => {
            let search = Search {
                connection: Connection {
                    peer: peer.clone(),
                    ae_title: exporting.ae_title.clone(),
                    timeout: exporting.timeout,
                    person: exporting.person.clone(),
                    tls: exporting.tls.clone(),
                },
                wanted: exporting.wanted.clone(),
            };
            from_peer(&search, &medium, output).await
        }
        None => from_archive(exporting, &medium, output).await,
    };
    let refused_count = match refused_count {
        Ok(count) => count,
        Err(failure) => {
            locked(&medium).give_up();
            return Err(failure);
        }
    };
    let label = exporting.label.as_deref().unwrap_or("");
    let written = locked(&medium).end(label);
    let written = written.map_err(|error| Failure::file(out, error))?;
    let text = format!(
        "{} instances exported to {}, {refused_count} refused",
        written.count,
        out.display()
    );
    let value = serde_json::json!({
        "exported": written.count,
        "bytes": written.bytes,
        "refused": refused_count,
        "path": out,
    });
    output.summary(&text, &value);
    if refused_count == 0 {
        return Ok(());
    }
    Err(Failure::Partly(format!(
        "{refused_count} instances were not exported"
    )))
}

async fn from_archive(
    exporting: &Exporting,
    medium: &Shared,
    output: &Output,
) -> Result<u64, Failure> {
    let query = exporting.wanted.query()?;
    let data = &exporting.local.data;
    if !data.join("FORMAT").is_file() {
        return Err(Failure::file(data, "no archive is here"));
    }
    let archive = open_archive(data).await?;
    let permit = permit::<Get>(&SystemMay(&[Action::Get]), Caller::System { task: TASK });
    let permit = permit.map_err(|denied| Failure::archive(&denied))?;
    let instances = archive.select(&permit, &query).await;
    let instances = instances.map_err(|error| Failure::archive(&error))?;
    record(&archive, &instances, exporting.zip).await?;
    let total = instances.iter().map(|i| i.location.length_bytes).sum();
    let work = output.work("exporting", Unit::Bytes, Some(total));
    let overlays: Box<dyn Overlays> = if exporting.as_stored {
        Box::new(NoOverlays)
    } else {
        let overlays = RegistryOverlays::new(archive.registry());
        Box::new(overlays.map_err(|error| Failure::archive(&error))?)
    };
    let mut refused_count = 0;
    for instance in &instances {
        let said = overlays.overlays(&instance.instance.study).await;
        let said = said.map_err(|error| Failure::archive(&error))?;
        let overlay = said.of(&instance.instance.series).cloned();
        let reader = archive.read(&permit, instance);
        let copied = match outgoing(reader, instance, overlay).await {
            Ok(outgoing) => copy(outgoing, instance, medium, output).await,
            Err(error) => Ok(Err(error)),
        };
        work.add(instance.location.length_bytes);
        if let Err(error) = copied? {
            refused_count += 1;
            let uid = instance.instance.instance.as_str();
            let text = format!("instance {uid}: {}", chain(&error));
            let value = serde_json::json!({ "sop_instance": uid, "message": chain(&error) });
            output.problem(&text, &value);
        }
    }
    archive.close().await;
    Ok(refused_count)
}

/// Records what goes out, for each patient, before anything does. The data of more than one patient
/// at once are few people's to take.
async fn record(
    archive: &Archive,
    instances: &[StoredInstance],
    is_zip: bool,
) -> Result<(), Failure> {
    let registry = archive.registry();
    let licence = Agent::system(TASK).national_licence::<Reconcile>();
    let licence = licence.map_err(|error| Failure::archive(&error))?;
    let mut studies = Vec::new();
    for instance in instances {
        count(&mut studies, instance, false);
    }
    let mut of_patients: BTreeMap<Option<PatientKey>, Vec<StudyTouched>> = BTreeMap::new();
    for study in studies {
        let known = registry.known_study(&licence, &study.study).await;
        let known = known.map_err(|error| Failure::archive(&error))?;
        let patient = known.and_then(|known| Some(known.bound?.patient.key));
        of_patients.entry(patient).or_default().push(study);
    }
    let event_of = |act| AuditEvent::new(act, place::now(), Actor::system(TASK));
    let mut events = Vec::new();
    if of_patients.len() > 1 {
        let mut event = event_of(Act::RestrictedFunctionUsed);
        event.object.setting = Some("bulk_export".to_owned());
        event.object.studies = of_patients.values().flatten().cloned().collect();
        events.push(event);
    }
    for (patient, studies) in of_patients {
        let mut event = event_of(Act::Exported);
        event.object.patient = patient.map(Phi::new);
        event.object.studies = studies;
        event.object.node = Some(if is_zip { "zip" } else { "folder" }.to_owned());
        events.push(event);
    }
    for part in events.chunks(RECORDED_AT_ONCE_MAX) {
        let recorded = registry.audit_trail().commit_all(Vec::new(), part).await;
        recorded.map_err(|error| Failure::archive(&error))?;
    }
    Ok(())
}

/// A data set on its way to a medium.
enum Outgoing {
    AsStored(AsStored),
    Rewritten(Box<Coercer>, DataSetReader),
}

/// What is written of `stored`: it says what `overlay` has it say.
async fn outgoing(
    reader: DataSetReader,
    stored: &StoredInstance,
    overlay: Option<Arc<Overlay>>,
) -> Result<Outgoing, EgressError> {
    let Some(overlay) = overlay else {
        return Ok(Outgoing::AsStored(reader.into()));
    };
    let syntax = &stored.instance.transfer_syntax;
    let coercer = Coercer::new(syntax, syntax, None, overlay, &CoerceLimits::default())?;
    Ok(match begin(reader, coercer).await? {
        Begun::AsStored(bytes) => Outgoing::AsStored(bytes),
        Begun::Rewritten(coercer, reader) => Outgoing::Rewritten(coercer, reader),
    })
}

impl Outgoing {
    const fn length_bytes(&self) -> Option<u64> {
        match self {
            Self::AsStored(bytes) => Some(bytes.length_bytes()),
            Self::Rewritten(..) => None,
        }
    }

    /// The next piece; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, EgressError> {
        let (coercer, reader) = match self {
            Self::AsStored(bytes) => return Ok(bytes.next().await?),
            Self::Rewritten(coercer, reader) => (coercer, reader),
        };
        let mut piece = Vec::new();
        loop {
            match coercer.read(&mut piece, PIECE_BYTES)? {
                Progress::Full => return Ok(Some(piece.into())),
                Progress::NeedsInput => match reader.next().await? {
                    Some(chunk) => coercer.push(chunk.into()),
                    None => coercer.end(),
                },
                Progress::Done => {
                    // What stands behind the data set belongs to what the digest is of.
                    while reader.next().await?.is_some() {}
                    return Ok((!piece.is_empty()).then(|| piece.into()));
                }
            }
        }
    }
}

/// Copies one instance. What is damaged is left out; a medium that cannot be written ends it all.
async fn copy(
    mut outgoing: Outgoing,
    stored: &StoredInstance,
    medium: &Shared,
    output: &Output,
) -> Result<Result<(), EgressError>, Failure> {
    let instance = &stored.instance;
    let mut incoming = Incoming::new(
        &instance.sop_class,
        &instance.instance,
        &instance.transfer_syntax,
        outgoing.length_bytes(),
    );
    let on_medium = |error: io::Error| {
        let path = locked(medium).path().to_owned();
        Failure::file(&path, error)
    };
    loop {
        match outgoing.next().await {
            Ok(Some(piece)) => incoming
                .write(&mut locked(medium), piece)
                .map_err(on_medium)?,
            Ok(None) => break,
            Err(error) => {
                incoming.abandon(&mut locked(medium)).map_err(on_medium)?;
                return Ok(Err(error));
            }
        }
    }
    let file_id = incoming.end(&mut locked(medium)).map_err(on_medium)?;
    tell(instance.instance.as_str(), &file_id, output);
    Ok(Ok(()))
}

fn tell(sop_instance: &str, file_id: &str, output: &Output) {
    let value = serde_json::json!({ "sop_instance": sop_instance, "file": file_id });
    output.result("", &value);
}

async fn from_peer(search: &Search, medium: &Shared, output: &Output) -> Result<u64, Failure> {
    let storage = Arc::new(Receiver {
        medium: Arc::clone(medium),
        output: output.clone(),
    });
    get_found(search, storage, output).await
}

/// Receives what a peer sends.
#[derive(Debug)]
struct Receiver {
    medium: Shared,
    output: Output,
}

#[async_trait]
impl StorageScp for Receiver {
    async fn begin(
        &self,
        _peer: &Peer,
        request: &StoreRequest,
    ) -> Result<Box<dyn StoreSink>, StoreStatus> {
        let incoming = Incoming::new(
            &request.sop_class,
            &request.sop_instance,
            &request.transfer_syntax,
            None,
        );
        Ok(Box::new(Sink {
            incoming: Some(incoming),
            sop_instance: request.sop_instance.as_str().to_owned(),
            medium: Arc::clone(&self.medium),
            output: self.output.clone(),
        }))
    }
}

/// One instance that a peer sends.
struct Sink {
    incoming: Option<Incoming>,
    sop_instance: String,
    medium: Shared,
    output: Output,
}

impl Sink {
    fn failed(&self, error: &io::Error) -> StoreStatus {
        let path = locked(&self.medium).path().to_owned();
        let value = serde_json::json!({ "path": path, "message": error.to_string() });
        self.output
            .problem(&Failure::file(&path, error).to_string(), &value);
        StoreStatus::OUT_OF_RESOURCES
    }
}

#[async_trait]
impl StoreSink for Sink {
    async fn write(&mut self, fragment: Bytes) -> Result<(), StoreStatus> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(());
        };
        let written = incoming.write(&mut locked(&self.medium), fragment);
        written.map_err(|error| self.failed(&error))
    }

    async fn end(mut self: Box<Self>) -> StoreStatus {
        let Some(incoming) = self.incoming.take() else {
            return StoreStatus::OUT_OF_RESOURCES;
        };
        let ended = incoming.end(&mut locked(&self.medium));
        match ended {
            Ok(file_id) => {
                tell(&self.sop_instance, &file_id, &self.output);
                StoreStatus::SUCCESS
            }
            Err(error) => self.failed(&error),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            incoming.abandon(&mut locked(&self.medium)).ok();
        }
    }
}
