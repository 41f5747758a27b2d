//! C-FIND over the archive (PS3.4 C.4.1).

use super::Services;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pacs_core::access::Find;
use pacs_core::attributes::Attribute;
use pacs_core::encode::{EncodeError, write_data_set, write_data_set_into};
use pacs_core::limits::QueryLimits;
use pacs_core::tag::{Vr, tags};
use pacs_core::{AeTitle, Attributes, Query, QueryError, TransferSyntaxUid, Value};
use pacs_net::service::{FindRequest, Matches, Peer, QueryScp};
use pacs_net::status::FindStatus;
use pacs_store::egress::described;
use pacs_store::index::{IndexError, IntoResults, Match};

#[async_trait]
impl QueryScp for Services {
    async fn find(
        &self,
        peer: &Peer,
        request: FindRequest,
    ) -> Result<Box<dyn Matches>, FindStatus> {
        let permit = self.permit::<Find>(peer).await?;
        let query = Query::from_identifier(
            &request.identifier,
            &request.transfer_syntax,
            request.model,
            request.relational,
            &QueryLimits::default(),
        )
        .map_err(|error| not_a_query(&error))?;
        let asked = described(&query);
        let recorded = self.recorder.search(permit.caller(), &asked);
        if let Err(error) = recorded.await {
            return Err(FindStatus::UNABLE_TO_PROCESS.with_comment(error.to_string()));
        }
        let found = self
            .archive
            .search(&permit, &query)
            .await
            .map_err(|e| failed(&e))?;
        Ok(Box::new(Found {
            has_unsupported_keys: query.unsupported().next().is_some(),
            blank: blank(&query, &self.our_title),
            transfer_syntax: request.transfer_syntax,
            matches: found.into_iter(),
            buffer: Vec::new(),
        }))
    }
}

/// What every answer has: the level, where to retrieve from, and each key that was asked for,
/// empty.
fn blank(query: &Query, our_title: &AeTitle) -> Attributes {
    let mut blank = Attributes::new();
    let unsupported: Vec<_> = query.unsupported().collect();
    for key in &query.keys {
        if key.tag == tags::SPECIFIC_CHARACTER_SET || unsupported.contains(&key.tag) {
            continue;
        }
        let empty = if key.vr == Vr::SQ {
            Value::Items(Vec::new())
        } else {
            Value::Text("".into())
        };
        blank.insert(key.tag, key.vr, empty);
    }
    blank.insert_text(tags::QUERY_RETRIEVE_LEVEL, Vr::CS, query.level.name());
    blank.insert_text(tags::RETRIEVE_AE_TITLE, Vr::AE, our_title.as_str());
    blank
}

struct Found {
    has_unsupported_keys: bool,
    blank: Attributes,
    transfer_syntax: TransferSyntaxUid,
    matches: IntoResults<Match>,
    buffer: Vec<u8>,
}

impl Found {
    fn write(&mut self, answer: &Attributes) -> Result<(), EncodeError> {
        self.buffer.clear();
        write_data_set_into(&mut self.buffer, answer, &self.transfer_syntax)
    }
}

fn is_writable(attribute: &Attribute, transfer_syntax: &TransferSyntaxUid) -> bool {
    let mut alone = Attributes::new();
    alone.insert(attribute.tag, attribute.vr, attribute.value.clone());
    write_data_set(&alone, transfer_syntax).is_ok()
}

#[async_trait]
impl Matches for Found {
    async fn next(&mut self) -> Result<Option<Bytes>, FindStatus> {
        let Some(found) = self.matches.next() else {
            return Ok(None);
        };
        let mut answer = found.attributes;
        answer.fill_from(&self.blank);
        if let Err(error) = self.write(&answer) {
            // What one instance says must not hide all the others from whoever asks.
            tracing::warn!(%error, "an attribute of a match cannot be written and is left out");
            answer.retain(|attribute| is_writable(attribute, &self.transfer_syntax));
            self.write(&answer)
                .map_err(|_error| FindStatus::UNABLE_TO_PROCESS)?;
        }
        Ok(Some(BytesMut::from(self.buffer.as_slice()).freeze()))
    }

    fn has_unsupported_keys(&self) -> bool {
        self.has_unsupported_keys
    }
}

fn not_a_query(error: &QueryError) -> FindStatus {
    let status = match error {
        QueryError::Limit { .. } => FindStatus::OUT_OF_RESOURCES,
        QueryError::Level | QueryError::LowerLevel { .. } => FindStatus::IDENTIFIER_MISMATCH,
        QueryError::UniqueKey { tag } => {
            FindStatus::IDENTIFIER_MISMATCH.with_offending_elements(vec![*tag])
        }
        QueryError::Value { .. } | QueryError::Scan(_) | _ => FindStatus::UNABLE_TO_PROCESS,
    };
    status.with_comment(error.to_string())
}

fn failed(error: &IndexError) -> FindStatus {
    match error {
        IndexError::TooMany { .. } => {
            FindStatus::OUT_OF_RESOURCES.with_comment("too many results, narrow the query")
        }
        IndexError::TooLong { .. } => FindStatus::OUT_OF_RESOURCES
            .with_comment("the search would look at too much, narrow the query"),
        IndexError::Busy => {
            FindStatus::OUT_OF_RESOURCES.with_comment("too many long searches now, wait")
        }
        IndexError::NoMemory => {
            tracing::warn!("a search was refused: no memory for its results");
            FindStatus::OUT_OF_RESOURCES.with_comment("no memory now, narrow the query or wait")
        }
        IndexError::Backend { .. } | IndexError::Damaged { .. } | IndexError::Premature => {
            tracing::error!(%error, "a search failed");
            FindStatus::UNABLE_TO_PROCESS
        }
    }
}
