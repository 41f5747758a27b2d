//! WADO-RS (PS3.18 10.4.1.1.1): stored instances, with the bytes they came with, uncompressed, or
//! compressed anew without loss.

use crate::accept::{Accept, Offer, describe};
use crate::access::Allowed;
use crate::convert::{self, Conversions, Way};
use crate::error::Failure;
use crate::frames::{EXPLICIT_LITTLE_ENDIAN, is_lossy};
use crate::multipart::PartWriter;
use crate::query_string;
use crate::recompress::{self, Refused};
use crate::record::Use;
use crate::resource::{Resource, path_of};
use crate::service::Web;
use crate::stream::{self, Gone, Pieces};
use crate::validator::{self, has_already, not_modified, tagged};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pacs_core::access::Get;
use pacs_core::convert::is_native;
use pacs_core::scan::file::file_meta;
use pacs_core::{Level, Permit, TransferSyntaxUid};
use pacs_store::index::{Results, StoredInstance};
use pacs_store::shares::Share;
use pacs_store::{DataSetReader, Digest, Digester};
use std::collections::{BTreeMap, HashMap};
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
    let conversions = web.conversions();
    let mut chosen = Choice::new(&found, resource.level(), accept, conversions)?;
    let anew = found.iter().filter_map(|stored| {
        let to = wanted(&chosen, stored);
        let is_encoded = to != stored.instance.transfer_syntax && !is_native(&to);
        is_encoded.then(|| (stored.clone(), to))
    });
    let anew = anew.collect();
    for refused in recompress::refused(&web, &permit, anew).await? {
        chosen.without(refused, accept, conversions)?;
    }
    let mut each = found.iter().filter_map(|stored| chosen.of(stored));
    let is_multipart = each.all(|chosen| chosen.is_multipart);
    let base = web.base_url_by(headers);
    let tag = entity_tag(&web, &found, &chosen, is_multipart.then_some(&base));
    if has_already(headers, &tag) {
        return not_modified(&tag);
    }
    if is_multipart {
        return tagged(multipart(web, permit, found, chosen, base).await?, &tag);
    }
    let mut found = found.into_iter();
    let Some(stored) = found.next() else {
        return Err(Failure::NotFound { what: "instance" });
    };
    let to = wanted(&chosen, &stored);
    tagged(single(&web, &permit, stored, to).await?, &tag)
}

/// What is known of instances in what the client gets them in, and of what they are to say: a weak
/// tag where they are in parts, below `base`, whose boundary is another one each time.
fn entity_tag(
    web: &Web,
    found: &[StoredInstance],
    choice: &Choice,
    base: Option<&String>,
) -> String {
    let mut digester = Digester::new();
    for stored in found {
        let head = &stored.instance;
        for text in [
            head.study.as_str(),
            head.series.as_str(),
            head.instance.as_str(),
        ] {
            digester.update(text.as_bytes());
            digester.update(b"\n");
        }
        digester.update(wanted(choice, stored).as_str().as_bytes());
        digester.update(b"\n");
        digester.update(&stored.digest.0);
    }
    let base_bytes = base.map_or(&[][..], |base| base.as_bytes());
    let parts = [&digester.finish().0[..], web.said(), base_bytes];
    match base {
        Some(_) => validator::weak("instances 1", &parts),
        None => validator::strong("instance 1", &parts),
    }
}

/// What the client gets of an instance.
#[derive(Debug, Clone)]
struct Chosen {
    is_multipart: bool,
    transfer_syntax: TransferSyntaxUid,
}

/// What the client gets of each instance.
#[derive(Debug, Clone)]
struct Choice {
    level: Level,
    /// By the transfer syntax that is stored: the same, unless the client names others and one of
    /// them can be had.
    all: BTreeMap<TransferSyntaxUid, Chosen>,
    /// Of those that cannot be had as the others of their transfer syntax, by their content.
    apart: HashMap<Digest, Chosen>,
}

impl Choice {
    fn new(
        found: &[StoredInstance],
        level: Level,
        accept: &Accept,
        conversions: &Conversions,
    ) -> Result<Self, Failure> {
        let mut all = BTreeMap::new();
        for stored in found {
            let syntax = &stored.instance.transfer_syntax;
            if !all.contains_key(syntax) {
                let offers = offers(syntax, level, conversions);
                let chosen = Chosen::of(accept, &offers).ok_or_else(|| {
                    let available = describe(&offers);
                    Failure::NotAcceptable { available }
                })??;
                all.insert(syntax.clone(), chosen);
            }
        }
        Ok(Self {
            level,
            all,
            apart: HashMap::new(),
        })
    }

    /// Chooses again for an instance that cannot be had as it was to be, of what else the client
    /// takes.
    ///
    /// # Errors
    /// [`Failure::NotAcceptable`] says what is possible, and what stands in the way.
    fn without(
        &mut self,
        refused: Refused,
        accept: &Accept,
        conversions: &Conversions,
    ) -> Result<(), Failure> {
        let Refused {
            stored,
            to,
            why,
            impossible,
        } = refused;
        let mut offers = offers(&stored.instance.transfer_syntax, self.level, conversions);
        offers.retain(|offer| {
            let name = offer.transfer_syntax.as_deref();
            !impossible.iter().any(|to| Some(to.as_str()) == name)
        });
        let chosen = Chosen::of(accept, &offers).ok_or_else(|| {
            let (offers, instance) = (describe(&offers), stored.instance.instance.as_str());
            let available = format!("{offers}; instance {instance} not in {to}, since {why}");
            Failure::NotAcceptable { available }
        })??;
        self.apart.insert(stored.digest, chosen);
        Ok(())
    }

    /// What the client gets of `stored`.
    fn of(&self, stored: &StoredInstance) -> Option<&Chosen> {
        let apart = self.apart.get(&stored.digest);
        apart.or_else(|| self.all.get(&stored.instance.transfer_syntax))
    }
}

impl Chosen {
    /// What the client likes best; `None` where it takes none of them.
    fn of(accept: &Accept, offers: &[Offer]) -> Option<Result<Self, Failure>> {
        let offer = accept.choose(offers)?;
        let target = offer.transfer_syntax.as_deref().unwrap_or_default();
        let target = TransferSyntaxUid::parse_legacy(target);
        let target = target.map_err(|_| Failure::Internal);
        Some(target.map(|transfer_syntax| Self {
            is_multipart: offer.is_multipart,
            transfer_syntax,
        }))
    }
}

/// What an instance in `syntax` can be had in, as far as that tells.
fn offers(syntax: &TransferSyntaxUid, level: Level, conversions: &Conversions) -> Vec<Offer> {
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
    offers
}

/// The transfer syntax in which the client gets `stored`.
fn wanted(choice: &Choice, stored: &StoredInstance) -> TransferSyntaxUid {
    let syntax = &stored.instance.transfer_syntax;
    let chosen = choice.of(stored);
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
    let reader = reader.begins_with(FIRST_BYTES);
    let way = Way::of(web, permit, reader, &stored, &to).await?;
    let needed = way.bytes_needed(&stored);
    let mut memory = convert::memory(web, permit.caller(), needed, None).await?;
    // What is rewritten has another length, which nobody knows.
    let length = match &way {
        Way::AsStored(bytes) => {
            let meta = u64::try_from(meta.len()).unwrap_or(u64::MAX);
            Some(bytes.length_bytes().saturating_add(meta))
        }
        Way::Encoded(..) | Way::Through { .. } => None,
    };
    let kind = type_in(&to);
    let name = stored.instance.instance.as_str().to_owned();
    let sending = web.clone();
    let body = stream::body(web.limits(), length, |pieces| async move {
        pieces.put_with_next(&meta);
        way.send(&sending, &pieces, &mut memory).await
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

/// All instances, each in a part, one after the other; the next is read while one is sent. What is
/// wrong with the first one still has a status of its own.
async fn multipart(
    web: Web,
    permit: Permit<Get>,
    found: Results<StoredInstance>,
    choice: Choice,
    base: String,
) -> Result<Response, Failure> {
    let mut writer = part_writer();
    let kind = [(header::CONTENT_TYPE, writer.content_type(DICOM))];
    let limits = *web.limits();
    let mut found = found.into_iter();
    let first = found.next().ok_or(Failure::NotFound { what: "instance" })?;
    let reader = web.archive().read(&permit, &first);
    let (stored, mut reader) = (first, reader.begins_with(FIRST_BYTES));
    reader.prefetch();
    let to = wanted(&choice, &stored);
    let way = Way::of(&web, &permit, reader, &stored, &to).await?;
    let needed = way.bytes_needed(&stored);
    let mut memory = convert::memory(&web, permit.caller(), needed, None).await?;
    let mut now = Some((stored, way));
    let body = stream::body(&limits, None, |pieces| async move {
        while let Some((stored, way)) = now.take() {
            let next = found.next().map(|stored| open(&web, &permit, stored));
            let location = format!("{base}{}", path_of(&stored));
            let to = wanted(&choice, &stored);
            let kind = type_in(&to);
            let part = writer.part(&[("Content-Type", &kind), ("Content-Location", &location)]);
            pieces.put_with_next(&part);
            pieces.put_with_next(&meta_of(&stored, &to));
            way.send(&web, &pieces, &mut memory).await?;
            if let Some((stored, reader)) = next {
                let to = wanted(&choice, &stored);
                let opened = way_of(&web, &permit, reader, (&stored, &to), memory.take());
                let (way, held) = Box::pin(opened).await?;
                (now, memory) = (Some((stored, way)), held);
            }
        }
        pieces.put(writer.end()).await
    });
    Ok(guarded((kind, body).into_response()))
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

/// Bytes that are sent while the rest of an instance is still read, where somebody waits for them.
const FIRST_BYTES: usize = 128 << 10;

/// Sends what `reader` gives; after [`Gone`] nothing more is to be sent.
pub(crate) async fn send(pieces: &Pieces, reader: DataSetReader) -> Result<(), Gone> {
    let mut reader = reader.begins_with(FIRST_BYTES);
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

/// The way of a later instance and the memory for it, of what is `held` from the one before.
async fn way_of(
    web: &Web,
    permit: &Permit<Get>,
    reader: DataSetReader,
    (stored, to): (&StoredInstance, &TransferSyntaxUid),
    held: Option<Share>,
) -> Result<(Way, Option<Share>), Gone> {
    let way = match Way::of(web, permit, reader, stored, to).await {
        Ok(way) => way,
        Err(error) => return convert::cut(&error),
    };
    let needed = way.bytes_needed(stored);
    match convert::memory(web, permit.caller(), needed, held).await {
        Ok(memory) => Ok((way, memory)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WebLimits;
    use crate::testing::{Service, may};
    use axum::body::to_bytes;
    use pacs_core::Caller;
    use pacs_image::{Decoders, ImageLimits};
    use std::time::Duration;

    #[tokio::test]
    async fn where_there_is_no_memory_nothing_is_begun_and_it_is_told() {
        let limits = WebLimits {
            conversion_queue_duration_max: Duration::ZERO,
            ..WebLimits::default()
        };
        let decoders = Decoders::in_process(ImageLimits::default());
        let service = Service::with(|options| {
            options.limits = limits;
            options.decoders = Some(decoders);
        });
        let service = service.await;
        service.store(1, 1, "Asanov^Bakyt").await;
        service.store(1, 2, "Asanov^Bakyt").await;
        let web = service.web.clone();
        let given = async |series: Option<&str>, instance: Option<&str>, kind: &str| {
            let resource = Resource::new("2.25.1", series, instance).unwrap();
            let accept = Accept::parse([kind], []).unwrap();
            retrieve(web.clone(), may(), &resource, &HeaderMap::new(), &accept).await
        };
        let one = "application/dicom; transfer-syntax=1.2.840.10008.1.2.5";
        let all = format!(
            "multipart/related; type=\"application/dicom\"; {}",
            &one[19..]
        );
        let (series, instance) = (Some("2.25.1.1"), Some("2.25.1.1.2"));
        let everybody = Caller::System { task: "others" };
        let memory = web.conversions().share(&everybody, u64::MAX).await.unwrap();

        for refused in [
            given(series, instance, one).await,
            given(None, None, &all).await,
        ] {
            assert!(matches!(refused, Err(Failure::Unavailable { .. })));
        }
        drop(memory);
        for given in [
            given(series, instance, one).await,
            given(None, None, &all).await,
        ] {
            let body = given.unwrap().into_body();
            assert!(!to_bytes(body, usize::MAX).await.unwrap().is_empty());
        }
    }
}
