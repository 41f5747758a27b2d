//! Metadata that is written while it is sent and not kept: each instance a document of its own.

use super::unreadable;
use crate::content::{self, Content};
use crate::error::Failure;
use crate::listing::Listing;
use crate::model::{Model, ModelOptions};
use crate::resource::path_of;
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use crate::walk::WalkError;
use crate::{json, xml};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_store::index::{IntoResults, Results, StoredInstance};
use std::io::Write as _;

/// An answer on its way: one data set after the other, in pieces.
pub(super) struct Writing {
    web: Web,
    permit: Permit<Get>,
    base: String,
    rest: IntoResults<StoredInstance>,
    open: Option<Model<Content>>,
    /// Until all is written.
    listing: Option<Listing>,
    out: Vec<u8>,
    zip: Option<GzEncoder<Vec<u8>>>,
}

impl Writing {
    /// Of what was `found`, as `listing` has it.
    pub(super) fn new(
        web: Web,
        permit: Permit<Get>,
        base: String,
        found: Results<StoredInstance>,
        listing: Listing,
    ) -> Self {
        Self {
            web,
            permit,
            base,
            rest: found.into_iter(),
            open: None,
            listing: Some(listing),
            out: Vec::new(),
            zip: None,
        }
    }

    /// The response, without its media type and encoding.
    pub(super) fn respond(mut self, is_zipped: bool) -> Response {
        self.zip = is_zipped.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
        let limits = *self.web.limits();
        stream::body(&limits, None, |pieces| self.run(pieces)).into_response()
    }

    async fn run(mut self, pieces: Pieces) -> Result<(), Gone> {
        loop {
            // Reading and writing block, waiting for the client must not.
            let worked = tokio::task::spawn_blocking(move || {
                let piece = self.piece();
                (self, piece)
            });
            let (writing, piece) = worked.await.map_err(|error| {
                tracing::error!(%error, "metadata cannot be written");
                Gone
            })?;
            self = writing;
            // What was wrong is logged already.
            let piece = piece.map_err(|_failure| Gone)?;
            if !piece.is_empty() {
                pieces.put(piece).await?;
            }
            if self.listing.is_none() {
                return Ok(());
            }
        }
    }

    /// The next bytes to send. Want of memory ends the answer.
    fn piece(&mut self) -> Result<Bytes, Failure> {
        let piece_bytes = self.web.limits().piece_bytes;
        while self.listing.is_some() && self.out.len() < piece_bytes {
            self.go_on(piece_bytes)?;
        }
        let plain = std::mem::take(&mut self.out);
        let Some(zip) = &mut self.zip else {
            return Ok(plain.into());
        };
        zip.write_all(&plain).map_err(|_| Failure::Internal)?;
        if self.listing.is_none() {
            zip.try_finish().map_err(|_| Failure::Internal)?;
        }
        Ok(std::mem::take(zip.get_mut()).into())
    }

    fn go_on(&mut self, piece_bytes: usize) -> Result<(), Failure> {
        if let Some(model) = &mut self.open {
            if model.write(&mut self.out, piece_bytes) {
                self.open = None;
            }
            return Ok(());
        }
        if let Some(stored) = self.rest.next() {
            let model = self.model(&stored);
            let is_xml = self.listing.as_ref().is_some_and(Listing::is_xml);
            if let Some(listing) = &mut self.listing {
                listing.next(&mut self.out);
            }
            match model {
                Ok(model) => self.open = Some(model),
                Err(error) if unreadable::is_lasting(&error) => {
                    unreadable::tell(&stored, &error);
                    let known = unreadable::known_of(&stored);
                    if is_xml {
                        xml::write_attributes(&mut self.out, &known);
                    } else {
                        json::write_attributes(&mut self.out, &known);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        } else if let Some(listing) = self.listing.take() {
            listing.end(&mut self.out);
        }
        Ok(())
    }

    fn model(&self, stored: &StoredInstance) -> Result<Model<Content>, WalkError> {
        let limits = self.web.limits();
        let options = ModelOptions {
            bulk_url: format!("{}{}/bulkdata", self.base, path_of(stored)),
            inline_bytes_max: limits.inline_bytes_max,
            value_bytes_max: limits.value_bytes_max,
            fragments_max: limits.fragments_max,
        };
        let walk = content::walk_corrected(&self.web, &self.permit, stored)?;
        let is_xml = self.listing.as_ref().is_some_and(Listing::is_xml);
        Ok(if is_xml {
            Model::in_xml(walk, options)
        } else {
            Model::new(walk, options)
        })
    }
}
