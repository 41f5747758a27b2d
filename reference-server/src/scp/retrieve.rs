//! C-GET and C-MOVE from the archive (PS3.4 C.4.2 and C.4.3).

use super::Services;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::access::{Get, Move};
use pacs_core::limits::QueryLimits;
use pacs_core::{AeTitle, Query, QueryError, SopClassUid, TransferSyntaxUid};
use pacs_net::service::{
    DataSetSource, Destination, OutgoingInstance, Peer, RetrieveRequest, RetrieveScp, SourceError,
    SubOperations,
};
use pacs_net::status::RetrieveStatus;
use pacs_store::index::{IndexError, StoredInstance};
use pacs_store::{Archive, DataSetReader, RetrievePermit};
use std::collections::BTreeSet;

#[async_trait]
impl RetrieveScp for Services {
    async fn get(
        &self,
        peer: &Peer,
        request: RetrieveRequest,
    ) -> Result<Box<dyn SubOperations>, RetrieveStatus> {
        let permit = self
            .permit::<Get>(peer)
            .map_err(|_denied| RetrieveStatus::NOT_AUTHORIZED)?;
        Ok(Box::new(self.outgoing(permit, &request).await?))
    }

    async fn move_to(
        &self,
        peer: &Peer,
        request: RetrieveRequest,
        destination: &AeTitle,
    ) -> Result<(Destination, Box<dyn SubOperations>), RetrieveStatus> {
        let permit = self
            .permit::<Move>(peer)
            .map_err(|_denied| RetrieveStatus::NOT_AUTHORIZED)?;
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
        Ok((to, Box::new(self.outgoing(permit, &request).await?)))
    }
}

impl Services {
    async fn outgoing<P: RetrievePermit>(
        &self,
        permit: P,
        request: &RetrieveRequest,
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
        Ok(Outgoing {
            archive: self.archive.clone(),
            permit,
            rest: found.into_iter(),
        })
    }
}

/// The instances of one retrieval, read one after the other.
struct Outgoing<P> {
    archive: Archive,
    permit: P,
    rest: std::vec::IntoIter<StoredInstance>,
}

#[async_trait]
impl<P: RetrievePermit + Send> SubOperations for Outgoing<P> {
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

    async fn next(&mut self) -> Option<OutgoingInstance> {
        let stored = self.rest.next()?;
        let mut reader = self.archive.read(&self.permit, &stored);
        reader.prefetch();
        Some(OutgoingInstance {
            sop_class: stored.instance.sop_class,
            sop_instance: stored.instance.instance,
            transfer_syntax: stored.instance.transfer_syntax,
            length_bytes: stored.location.length_bytes,
            source: Box::new(Source(reader)),
        })
    }
}

struct Source(DataSetReader);

#[async_trait]
impl DataSetSource for Source {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.next().await.map_err(|error| {
            tracing::error!(%error, "a stored instance cannot be given back");
            SourceError(Box::new(error))
        })
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
        IndexError::Backend { .. } | IndexError::Damaged { .. } | IndexError::Premature => {
            tracing::error!(%error, "a selection failed");
            RetrieveStatus::UNABLE_TO_PROCESS
        }
    }
}
