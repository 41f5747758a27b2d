//! C-GET and C-MOVE from the archive (PS3.4 C.4.2 and C.4.3).

use super::Services;
use super::convert::{Conversions, conversions, convert, said};
use crate::recorder::{Access, Recorder, count};
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::access::{Get, Move};
use pacs_core::audit::{Act, StudyTouched};
use pacs_core::coerce::Overlay;
use pacs_core::limits::QueryLimits;
use pacs_core::uid::StudyUid;
use pacs_core::{
    AeTitle, Caller, Instance, Level, Permit, Query, QueryError, SopClassUid, SopInstanceUid,
    TransferSyntaxUid,
};
use pacs_net::service::{
    ConversionError, DataSetSource, Destination, OutgoingInstance, Peer, RetrieveRequest,
    RetrieveScp, SourceError, SubOperations,
};
use pacs_net::status::RetrieveStatus;
use pacs_store::egress::{Overlays, OverlaysError, StudyOverlays};
use pacs_store::index::{IndexError, IntoResults, StoredInstance};
use pacs_store::{Archive, DataSetReader, RetrievePermit};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Mutex;

#[async_trait]
impl RetrieveScp for Services {
    async fn get(
        &self,
        peer: &Peer,
        request: RetrieveRequest,
    ) -> Result<Box<dyn SubOperations>, RetrieveStatus> {
        let permit = self.permit::<Get>(peer).await?;
        Ok(Box::new(self.outgoing(permit, &request, None).await?))
    }

    async fn move_to(
        &self,
        peer: &Peer,
        request: RetrieveRequest,
        destination: &AeTitle,
    ) -> Result<(Destination, Box<dyn SubOperations>), RetrieveStatus> {
        let permit = self.permit::<Move>(peer).await?;
        let Some(to) = self
            .access
            .move_destination(&peer.calling_ae_title, destination)
        else {
            return Err(RetrieveStatus::MOVE_DESTINATION_UNKNOWN);
        };
        let to = Destination {
            ae_title: to.title.clone(),
            address: to.address.to_string(),
        };
        let outgoing = self.outgoing(permit, &request, Some(destination));
        Ok((to, Box::new(outgoing.await?)))
    }
}

impl Services {
    async fn outgoing<P: RetrievePermit>(
        &self,
        permit: P,
        request: &RetrieveRequest,
        destination: Option<&AeTitle>,
    ) -> Result<Outgoing<P>, RetrieveStatus> {
        let query = Query::for_retrieve(
            &request.identifier,
            &request.transfer_syntax,
            request.model,
            request.relational,
            &QueryLimits::default(),
        )
        .map_err(|error| not_a_query(&error))?;
        let found = self
            .archive
            .select(&permit, &query)
            .await
            .map_err(|e| failed(&e))?;
        let record = self
            .begin(&permit, (&*found, query.level), destination)
            .await?;
        Ok(Outgoing {
            record: Some(record),
            archive: self.archive.clone(),
            permit: Arc::new(permit),
            rest: found.into_iter(),
            conversions: self.conversions.clone(),
            said: Arc::new(Said {
                overlays: Arc::clone(&self.overlays),
                last: Mutex::default(),
            }),
        })
    }
}

impl Services {
    /// Records that instances begin to be sent: otherwise they are not.
    async fn begin<P: RetrievePermit>(
        &self,
        permit: &P,
        (found, level): (&[StoredInstance], Level),
        destination: Option<&AeTitle>,
    ) -> Result<Sending, RetrieveStatus> {
        let access = Access {
            act: Act::TransferBegun,
            instances: found,
            is_part: level > Level::Study,
            node: destination.map(AeTitle::as_str),
        };
        let begun = self.recorder.access(permit.asked_by(), access).await;
        begun.map_err(|error| RetrieveStatus::UNABLE_TO_PROCESS.with_comment(error.to_string()))?;
        Ok(Sending {
            recorder: self.recorder.clone(),
            caller: permit.asked_by().clone(),
            node: destination.map(|title| title.as_str().to_owned()),
            is_part: level > Level::Study,
            given: Vec::new(),
        })
    }

    /// An instance as it is kept, whatever the registry knows of it: for the archive's own sending
    /// on, which records it.
    pub(crate) fn as_kept(
        &self,
        permit: &Permit<Move>,
        instance: StoredInstance,
    ) -> OutgoingInstance {
        OutgoingInstance {
            sop_class: instance.instance.sop_class.clone(),
            sop_instance: instance.instance.instance.clone(),
            transfer_syntax: instance.instance.transfer_syntax.clone(),
            length_bytes: instance.location.length_bytes,
            source: Box::new(Source {
                begun: None,
                stored: Arc::new(AsKept {
                    archive: self.archive.clone(),
                    permit: permit.clone(),
                    instance,
                }),
                conversions: self.conversions.clone(),
            }),
        }
    }

    /// In what an instance that is kept in `stored` can be given besides, the best first.
    pub(crate) fn others(stored: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
        conversions(stored)
    }

    /// The instances of a study or a series, and how many of them are not among `answered`: for the
    /// archive's own sending, which the registry records.
    ///
    /// # Errors
    /// [`IndexError`].
    pub(crate) async fn outgoing_of(
        &self,
        permit: &Permit<Move>,
        query: &Query,
        answered: &BTreeSet<SopInstanceUid>,
    ) -> Result<(Box<dyn SubOperations>, usize), IndexError> {
        let found = self.archive.select(permit, query).await?;
        let left = found.iter().map(|stored| &stored.instance.instance);
        let left_count = left.filter(|uid| !answered.contains(*uid)).count();
        let outgoing = Outgoing {
            record: None,
            archive: self.archive.clone(),
            permit: Arc::new(permit.clone()),
            rest: found.into_iter(),
            conversions: self.conversions.clone(),
            said: Arc::new(Said {
                overlays: Arc::clone(&self.overlays),
                last: Mutex::default(),
            }),
        };
        Ok((Box::new(outgoing), left_count))
    }
}

/// A retrieval under way; when it ends, what was given is recorded.
struct Sending {
    recorder: Recorder,
    caller: Caller,
    node: Option<String>,
    is_part: bool,
    given: Vec<StudyTouched>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let (recorder, caller) = (self.recorder.clone(), self.caller.clone());
        let (given, node) = (std::mem::take(&mut self.given), self.node.take());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            recorder.sent(&caller, given, node.as_deref()).await;
        });
    }
}

/// What the studies of one retrieval are to say, asked once for each.
struct Said {
    overlays: Arc<dyn Overlays>,
    last: Mutex<Option<(StudyUid, StudyOverlays)>>,
}

impl Said {
    async fn of(&self, instance: &Instance) -> Result<Option<Arc<Overlay>>, OverlaysError> {
        let (study, series) = (&instance.study, &instance.series);
        let mut last = self.last.lock().await;
        if let Some((of, overlays)) = &*last
            && of == study
        {
            return Ok(overlays.of(series).cloned());
        }
        let overlays = self.overlays.overlays(study).await?;
        let overlay = overlays.of(series).cloned();
        *last = Some((study.clone(), overlays));
        Ok(overlay)
    }
}

/// The instances of one retrieval, read one after the other.
struct Outgoing<P> {
    /// `None`: somebody else records it.
    record: Option<Sending>,
    archive: Archive,
    permit: Arc<P>,
    rest: IntoResults<StoredInstance>,
    conversions: Conversions,
    said: Arc<Said>,
}

#[async_trait]
impl<P: RetrievePermit + Send + 'static> SubOperations for Outgoing<P> {
    fn count(&self) -> usize {
        self.rest.len()
    }

    fn kinds(&self) -> Vec<(SopClassUid, TransferSyntaxUid)> {
        let kinds: BTreeSet<_> = self
            .rest
            .as_slice()
            .iter()
            .map(|s| {
                (
                    s.instance.sop_class.clone(),
                    s.instance.transfer_syntax.clone(),
                )
            })
            .collect();
        kinds.into_iter().collect()
    }

    fn conversions(&self, stored: &TransferSyntaxUid) -> Vec<TransferSyntaxUid> {
        conversions(stored)
    }

    async fn next(&mut self) -> Option<OutgoingInstance> {
        let instance = self.rest.next()?;
        if let Some(record) = &mut self.record {
            count(&mut record.given, &instance, record.is_part);
        }
        let (sop_class, sop_instance) = (&instance.instance.sop_class, &instance.instance.instance);
        let (sop_class, sop_instance) = (sop_class.clone(), sop_instance.clone());
        let transfer_syntax = instance.instance.transfer_syntax.clone();
        let length_bytes = instance.location.length_bytes;
        let archived = Archived {
            archive: self.archive.clone(),
            permit: Arc::clone(&self.permit),
            instance,
            said: Arc::clone(&self.said),
        };
        Some(OutgoingInstance {
            sop_class,
            sop_instance,
            transfer_syntax,
            length_bytes,
            source: Box::new(Source {
                begun: None,
                stored: Arc::new(archived),
                conversions: self.conversions.clone(),
            }),
        })
    }
}

/// An instance that can be read, as often as that is needed.
#[async_trait]
pub(super) trait Stored: Send + Sync {
    /// The transfer syntax that it is kept in.
    fn transfer_syntax(&self) -> &TransferSyntaxUid;

    /// Its data set, from the beginning.
    fn open(&self) -> DataSetReader;

    /// What that is to say.
    async fn overlay(&self) -> Result<Option<Arc<Overlay>>, OverlaysError>;
}

struct Archived<P> {
    archive: Archive,
    permit: Arc<P>,
    instance: StoredInstance,
    said: Arc<Said>,
}

#[async_trait]
impl<P: RetrievePermit + Send> Stored for Archived<P> {
    fn transfer_syntax(&self) -> &TransferSyntaxUid {
        &self.instance.instance.transfer_syntax
    }

    fn open(&self) -> DataSetReader {
        self.archive.read(&*self.permit, &self.instance)
    }

    async fn overlay(&self) -> Result<Option<Arc<Overlay>>, OverlaysError> {
        self.said.of(&self.instance.instance).await
    }
}

/// An instance that says what it said when it came.
struct AsKept {
    archive: Archive,
    permit: Permit<Move>,
    instance: StoredInstance,
}

#[async_trait]
impl Stored for AsKept {
    fn transfer_syntax(&self) -> &TransferSyntaxUid {
        &self.instance.instance.transfer_syntax
    }

    fn open(&self) -> DataSetReader {
        self.archive.read(&self.permit, &self.instance)
    }

    async fn overlay(&self) -> Result<Option<Arc<Overlay>>, OverlaysError> {
        Ok(None)
    }
}

struct Source {
    /// Once something was asked of it.
    begun: Option<Box<dyn DataSetSource>>,
    stored: Arc<dyn Stored>,
    conversions: Conversions,
}

#[async_trait]
impl DataSetSource for Source {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let source = match &mut self.begun {
            Some(source) => source,
            begun => begun.insert(said(&*self.stored, &self.conversions).await?),
        };
        source.next().await
    }

    async fn convert(
        self: Box<Self>,
        to: &TransferSyntaxUid,
    ) -> Result<Box<dyn DataSetSource>, ConversionError> {
        convert(self.stored, to, &self.conversions).await
    }
}

fn not_a_query(error: &QueryError) -> RetrieveStatus {
    let status = match error {
        QueryError::Limit { .. } => RetrieveStatus::OUT_OF_RESOURCES_MATCHES,
        QueryError::Level | QueryError::LowerLevel { .. } => RetrieveStatus::IDENTIFIER_MISMATCH,
        QueryError::UniqueKey { tag } => {
            RetrieveStatus::IDENTIFIER_MISMATCH.with_offending_elements(vec![*tag])
        }
        QueryError::Value { .. } | QueryError::Scan(_) | _ => RetrieveStatus::UNABLE_TO_PROCESS,
    };
    status.with_comment(error.to_string())
}

fn failed(error: &IndexError) -> RetrieveStatus {
    match error {
        IndexError::TooMany { .. } => RetrieveStatus::OUT_OF_RESOURCES_MATCHES
            .with_comment("too many instances, retrieve less at once"),
        IndexError::TooLong { .. } => RetrieveStatus::OUT_OF_RESOURCES_MATCHES
            .with_comment("the selection would look at too much, name a study"),
        IndexError::Busy => RetrieveStatus::OUT_OF_RESOURCES_MATCHES
            .with_comment("too many long searches now, wait"),
        IndexError::NoMemory => {
            tracing::warn!("a retrieval was refused: no memory for the list of its instances");
            RetrieveStatus::OUT_OF_RESOURCES_MATCHES
                .with_comment("no memory now, retrieve less at once or wait")
        }
        IndexError::Backend { .. } | IndexError::Damaged { .. } | IndexError::Premature => {
            tracing::error!(%error, "a selection failed");
            RetrieveStatus::UNABLE_TO_PROCESS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PS3.4 Table C.4-2: unable to calculate the number of matches.
    #[test]
    fn more_sub_operations_than_can_be_counted_are_refused_before_the_first() {
        for error in [
            IndexError::TooMany { limit_count: 1 },
            IndexError::TooLong { rows_max: 1 },
            IndexError::NoMemory,
            IndexError::Busy,
        ] {
            assert_eq!(failed(&error).code(), 0xa701, "{error:?}");
            assert!(!failed(&error).comment().is_empty());
        }
        let long = QueryError::Limit { what: "UIDs" };
        assert_eq!(not_a_query(&long).code(), 0xa701);
        assert_eq!(not_a_query(&QueryError::Level).code(), 0xa900);
    }
}
