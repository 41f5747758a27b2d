//! WADO-RS (PS3.18 10.4.1.1.1): stored instances, with the bytes they came with, uncompressed, or
//! compressed anew without loss.

use crate::accept::{Accept, Offer, describe};
use crate::access::Allowed;
use crate::convert::{self, Conversions, Way};
use crate::error::Failure;
use crate::frames::{EXPLICIT_LITTLE_ENDIAN, is_lossy};
use crate::multipart::PartWriter;
use crate::query_string;
use crate::recompress;
use crate::record::Use;
use crate::resource::{Resource, path_of};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pacs_core::access::Get;
use pacs_core::convert::is_native;
use pacs_core::scan::file::file_meta;
use pacs_core::{Level, Permit, TransferSyntaxUid};
use pacs_store::DataSetReader;
use pacs_store::index::{Results, StoredInstance};
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::iter::once;

const DICOM: &str = "application/dicom";

/// `GET /studies/{study}` and what is below it
pub(crate) async fn get(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    resource: Resource,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let accept = accept(&web, &headers, query.as_deref())?;
    retrieve(web, permit, &resource, &headers, &accept).await
}

/// What the client takes: as its query says, or else its header.
pub(crate) fn accept(
    web: &Web,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Accept, Failure> {
    let parameters = query_string::parameters(query, web.limits())?;
    let named = parameters.iter().filter(|(name, _)| name == "accept");
    let lines = headers.get_all(header::ACCEPT).iter();
    Accept::parse(
        lines.filter_map(|line| line.to_str().ok()),
        named.map(|(_, value)| value.as_str()),
    )
    .map_err(|error| Failure::bad_request(error.to_string()))
}

/// A boundary that nobody can foretell.
pub(crate) fn part_writer() -> PartWriter {
    // Keyed with randomness of the system.
    let random = || RandomState::new().build_hasher().finish();
    let number = (u128::from(random()) << 64) | u128::from(random());
    PartWriter::new(number.to_be_bytes())
}

pub(crate) async fn retrieve(
    web: Web,
    permit: Permit<Get>,
    resource: &Resource,
    headers: &HeaderMap,
    accept: &Accept,
) -> Result<Response, Failure> {
    let (web, found) = resource.instances_for(&web, &permit, Use::Take).await?;
    let chosen = choose(&found, resource.level(), accept, web.conversions())?;
    let anew = found.iter().filter_map(|stored| {
        let to = wanted(&chosen, stored);
        let is_encoded = to != stored.instance.transfer_syntax && !is_native(&to);
        is_encoded.then(|| (stored.clone(), to))
    });
    recompress::check(&web, &permit, anew.collect()).await?;
    let is_multipart = chosen.values().all(|chosen| chosen.is_multipart);
    let base = web.base_url_by(headers);
    if is_multipart {
        return Ok(multipart(web, permit, found, chosen, base));
    }
    let mut found = found.into_iter();
    let Some(stored) = found.next() else {
        return Err(Failure::NotFound { what: "instance" });
    };
    let to = wanted(&chosen, &stored);
    single(&web, &permit, stored, to).await
}

/// What the client gets of the instances in one transfer syntax.
#[derive(Debug, Clone)]
struct Chosen {
    is_multipart: bool,
    transfer_syntax: TransferSyntaxUid,
}

type Choice = BTreeMap<TransferSyntaxUid, Chosen>;

/// For each transfer syntax that is stored, what the client gets: the same, unless it names others
/// and one of them can be had.
fn choose(
    found: &[StoredInstance],
    level: Level,
    accept: &Accept,
    conversions: &Conversions,
) -> Result<Choice, Failure> {
    let mut choice = Choice::new();
    for stored in found {
        let syntax = &stored.instance.transfer_syntax;
        if choice.contains_key(syntax) {
            continue;
        }
        let mut offers = Vec::new();
        let targets = conversions.targets(syntax);
        // Who names none gets explicit VR little endian where that can be had, unless a lossy
        // compression left nothing better (PS3.18 8.7.3.4).
        let is_native_default = !is_lossy(syntax.as_str())
            && targets
                .iter()
                .any(|target| target.as_str() == EXPLICIT_LITTLE_ENDIAN);
        // The others are not for web services (PS3.18 8.7.3).
        let targets = targets
            .into_iter()
            .filter(|target| target.as_str() == EXPLICIT_LITTLE_ENDIAN);
        let anew = conversions.encodings(syntax);
        for target in once(syntax.clone()).chain(targets).chain(anew) {
            let is_stored = target == *syntax;
            let is_native = target.as_str() == EXPLICIT_LITTLE_ENDIAN;
            let is_default = if is_native_default {
                is_native
            } else {
                is_stored
            };
            offers.push(Offer::multipart(DICOM).in_syntax(target.as_str(), is_default));
            if level == Level::Instance {
                offers.push(Offer::single(DICOM).in_syntax(target.as_str(), is_default));
            }
        }
        let Some(offer) = accept.choose(&offers) else {
            let available = describe(&offers);
            return Err(Failure::NotAcceptable { available });
        };
        let target = offer.transfer_syntax.as_deref().unwrap_or_default();
        let chosen = Chosen {
            is_multipart: offer.is_multipart,
            transfer_syntax: TransferSyntaxUid::parse_legacy(target)
                .map_err(|_| Failure::Internal)?,
        };
        choice.insert(syntax.clone(), chosen);
    }
    Ok(choice)
}

/// The transfer syntax in which the client gets `stored`.
fn wanted(choice: &Choice, stored: &StoredInstance) -> TransferSyntaxUid {
    let syntax = &stored.instance.transfer_syntax;
    let chosen = choice.get(syntax);
    chosen.map_or_else(|| syntax.clone(), |chosen| chosen.transfer_syntax.clone())
}

/// One instance as a DICOM file (PS3.10).
async fn single(
    web: &Web,
    permit: &Permit<Get>,
    stored: StoredInstance,
    to: TransferSyntaxUid,
) -> Result<Response, Failure> {
    let meta = meta_of(&stored, &to);
    let reader = web.archive().read(permit, &stored);
    let way = Way::of(web, permit, reader, &stored, &to).await?;
    // What is rewritten has another length, which nobody knows.
    let length = match &way {
        Way::AsStored(bytes) => {
            let meta = u64::try_from(meta.len()).unwrap_or(u64::MAX);
            Some(bytes.length_bytes().saturating_add(meta))
        }
        Way::Encoded(..) | Way::Through(..) => None,
    };
    let kind = type_in(&to);
    let name = stored.instance.instance.as_str().to_owned();
    let sending = web.clone();
    let body = stream::body(web.limits(), length, |pieces| async move {
        pieces.put(meta).await?;
        way.send(&sending, &pieces).await
    });
    let headers = [
        (header::CONTENT_TYPE, kind),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.dcm\""),
        ),
    ];
    Ok(guarded((headers, body).into_response()))
}

/// All instances, each in a part, one after the other; the next is read while one is sent.
fn multipart(
    web: Web,
    permit: Permit<Get>,
    found: Results<StoredInstance>,
    choice: Choice,
    base: String,
) -> Response {
    let mut writer = part_writer();
    let kind = [(header::CONTENT_TYPE, writer.content_type(DICOM))];
    let limits = *web.limits();
    let body = stream::body(&limits, None, |pieces| async move {
        let mut found = found.into_iter();
        let mut next = found.next().map(|stored| open(&web, &permit, stored));
        while let Some((stored, reader)) = next.take() {
            next = found.next().map(|stored| open(&web, &permit, stored));
            let location = format!("{base}{}", path_of(&stored));
            let to = wanted(&choice, &stored);
            let kind = type_in(&to);
            let part = writer.part(&[("Content-Type", &kind), ("Content-Location", &location)]);
            // In one piece: each is a task woken and a packet sent.
            let begun = [part, meta_of(&stored, &to)].concat();
            pieces.put(begun.into()).await?;
            let sent = send_in(&web, &pieces, reader, (&permit, &stored), &to);
            Box::pin(sent).await?;
        }
        pieces.put(writer.end()).await
    });
    guarded((kind, body).into_response())
}

fn open(
    web: &Web,
    permit: &Permit<Get>,
    stored: StoredInstance,
) -> (StoredInstance, DataSetReader) {
    let mut reader = web.archive().read(permit, &stored);
    reader.prefetch();
    (stored, reader)
}

/// Sends what `reader` gives; after [`Gone`] nothing more is to be sent.
pub(crate) async fn send(pieces: &Pieces, mut reader: DataSetReader) -> Result<(), Gone> {
    loop {
        match reader.next().await {
            Ok(Some(piece)) => pieces.put(piece).await?,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::error!(%error, "a stored instance cannot be given back");
                return Err(Gone);
            }
        }
    }
}

/// As [`send`], in the transfer syntax `to` and as it is to be said.
async fn send_in(
    web: &Web,
    pieces: &Pieces,
    reader: DataSetReader,
    (permit, stored): (&Permit<Get>, &StoredInstance),
    to: &TransferSyntaxUid,
) -> Result<(), Gone> {
    match Way::of(web, permit, reader, stored, to).await {
        Ok(way) => way.send(web, pieces).await,
        Err(error) => convert::cut(&error),
    }
}

fn meta_of(stored: &StoredInstance, transfer_syntax: &TransferSyntaxUid) -> Bytes {
    let head = &stored.instance;
    file_meta(&head.sop_class, &head.instance, transfer_syntax).into()
}

fn type_in(transfer_syntax: &TransferSyntaxUid) -> String {
    format!("{DICOM}; transfer-syntax={}", transfer_syntax.as_str())
}

/// The headers of every answer that holds what somebody sent us: no browser shall guess what it is,
/// and nobody keep it for others.
pub(crate) fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let private = HeaderValue::from_static("private, no-cache");
    headers.insert(header::CACHE_CONTROL, private);
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
