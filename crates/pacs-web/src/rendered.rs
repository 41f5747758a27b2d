//! Rendered resources (PS3.18 10.4.1.1.3) and thumbnails (10.4.1.1.5): pictures of what is stored,
//! in media types that browsers know.
//!
//! A study or series is shown by one of its images, the middle one of its first series; with
//! `multipart/related` by all of them. An instance of several frames is shown by its first, as GIF
//! by all one after the other. [`picture::render`] makes the pictures.

mod budget;
mod document;
mod failures;
mod frames;
mod parameters;
mod parts;
pub(crate) mod picture;
mod presentation;
mod report;
pub(crate) mod uri;

pub(crate) use budget::Rendering;
pub(crate) use parameters::Wanted;

use crate::accept::{Accept, Offer, describe};
use crate::access::Allowed;
use crate::derived::{Key, Kind as Thing};
use crate::error::Failure;
use crate::frames::read_list;
use crate::query_string;
use crate::resource::{Resource, Tail};
use crate::retrieve::{accept, guarded, part_writer};
use crate::service::Web;
use crate::stream;
use crate::validator::{self, has_already, not_modified, tagged};
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use document::Document;
use frames::Kind;
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_image::render::{PictureFormat, Viewport};
use pacs_store::Digester;
use pacs_store::index::StoredInstance;
use parts::Parts;
use picture::Subject;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Changes with the form of what is rendered, so that no client keeps what an older version gave.
const FORM: &[u8] = b"rendered 5";

/// Pixels of an edge of a thumbnail, where the client does not say.
const THUMBNAIL_EDGE: u32 = 128;

/// `GET /studies/{study}/rendered`, and of what is below it
pub(crate) async fn get(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    resource: Resource,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let asked = (&method, &headers, query.as_deref());
    let request = Request::read(&web, &permit, asked, false)?;
    request.answer(&resource, None).await
}

/// `GET /studies/{study}/thumbnail`, and of what is below it
pub(crate) async fn thumbnail(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    resource: Resource,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let asked = (&method, &headers, query.as_deref());
    let request = Request::read(&web, &permit, asked, true)?;
    request.answer(&resource, None).await
}

/// `GET /studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered`
pub(crate) async fn of_frames(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    resource: Resource,
    Tail(list): Tail,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let asked = (&method, &headers, query.as_deref());
    let request = Request::read(&web, &permit, asked, false)?;
    request.answer(&resource, Some(&list)).await
}

/// `GET /studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail`
pub(crate) async fn frames_thumbnail(
    Allowed(permit): Allowed<Get>,
    State(web): State<Web>,
    resource: Resource,
    Tail(list): Tail,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let asked = (&method, &headers, query.as_deref());
    let request = Request::read(&web, &permit, asked, true)?;
    request.answer(&resource, Some(&list)).await
}

/// Has the thumbnail of a series ready before anybody asks; that of its study is mostly the same.
/// Where the series has no picture there is nothing to be made.
pub(crate) async fn prepare(
    web: &Web,
    permit: &Permit<Get>,
    resource: &Resource,
) -> Result<(), Failure> {
    if web.derived().keeps_nothing() {
        return Ok(());
    }
    let mut wanted = Wanted::default();
    wanted.render.viewport = Some(thumbnail_viewport());
    let accept = Accept::parse(["image/jpeg"], []).map_err(|_| Failure::Internal)?;
    let request = Request {
        web,
        permit,
        headers: &HeaderMap::new(),
        accept,
        wanted,
        is_thumbnail: true,
        is_head: false,
    };
    match request.answer(resource, None).await {
        Ok(_) | Err(Failure::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A thumbnail of the first frame of an image, as JPEG: for a host program that lets somebody look
/// at an instance that searches need not find, and that decides itself who may.
///
/// # Errors
/// [`Failure::NotFound`] for what is no image; [`Failure`].
pub async fn preview(
    web: &Web,
    permit: &Permit<Get>,
    stored: &StoredInstance,
) -> Result<Bytes, Failure> {
    if Kind::of(stored) != Kind::Image {
        let what = "instance that can be rendered";
        return Err(Failure::NotFound { what });
    }
    let mut wanted = Wanted::default();
    wanted.render.viewport = Some(thumbnail_viewport());
    let subject = Subject {
        stored: Arc::new(stored.clone()),
        frames: vec![1],
        presentation: None,
    };
    let format = wanted.format("image/jpeg");
    picture(web, permit, subject, &wanted, format).await
}

/// How large a thumbnail is, where the client does not say.
fn thumbnail_viewport() -> Viewport {
    Viewport {
        width: THUMBNAIL_EDGE,
        height: THUMBNAIL_EDGE,
        region: Default::default(),
    }
}

/// What is asked for.
struct Request<'r> {
    web: &'r Web,
    permit: &'r Permit<Get>,
    headers: &'r HeaderMap,
    accept: Accept,
    wanted: Wanted,
    is_thumbnail: bool,
    /// Whether only the head of the answer is wanted: nothing is made for it.
    is_head: bool,
}

impl<'r> Request<'r> {
    fn read(
        web: &'r Web,
        permit: &'r Permit<Get>,
        (method, headers, query): (&Method, &'r HeaderMap, Option<&str>),
        is_thumbnail: bool,
    ) -> Result<Self, Failure> {
        let parameters = query_string::parameters(query, web.limits())?;
        let mut wanted = Wanted::read(&parameters)?;
        if is_thumbnail && wanted.render.viewport.is_none() {
            wanted.render.viewport = Some(thumbnail_viewport());
        }
        Ok(Self {
            web,
            permit,
            headers,
            accept: accept(web, headers, query)?,
            wanted,
            is_thumbnail,
            is_head: *method == Method::HEAD,
        })
    }

    async fn answer(&self, resource: &Resource, list: Option<&str>) -> Result<Response, Failure> {
        let (web, found) = resource.instances(self.web, self.permit).await?;
        let numbers = list
            .map(|list| read_list(list, self.web.limits()))
            .transpose()?;
        let request = Request {
            web: &web,
            permit: self.permit,
            headers: self.headers,
            accept: self.accept.clone(),
            wanted: self.wanted.clone(),
            is_thumbnail: self.is_thumbnail,
            is_head: self.is_head,
        };
        request.answer_with(&found, numbers).await
    }

    /// Of what was found, by a service that knows what that is to say.
    async fn answer_with(
        &self,
        found: &[StoredInstance],
        numbers: Option<Vec<u64>>,
    ) -> Result<Response, Failure> {
        let shown = frames::representative(found).ok_or(Failure::NotFound {
            what: "instance that can be rendered",
        })?;
        let frames = frames::numbers(numbers, shown)?;
        let kind = Kind::of(shown);
        let (web, permit) = (self.web, self.permit);
        if kind == Kind::Image {
            let named = self.wanted.presentation.as_ref();
            let state = presentation::named(web, permit, shown, named).await?;
            return self.pictures(found, shown, frames, state).await;
        }
        if kind == Kind::Presentation {
            let state = shown.clone();
            let (image, frame) = presentation::image(web, permit, &state).await?;
            let found = std::slice::from_ref(&image);
            return self
                .pictures(found, &image, Some(vec![frame]), Some(state))
                .await;
        }
        if self.is_thumbnail {
            let what = "thumbnail";
            return Err(Failure::NotFound { what });
        }
        self.document(shown, kind).await
    }

    /// Something that is no image.
    async fn document(&self, shown: &StoredInstance, kind: Kind) -> Result<Response, Failure> {
        let kinds: &[&'static str] = match kind {
            Kind::Pdf => &["application/pdf"],
            Kind::Report => &["text/html", "text/plain"],
            Kind::Video => &["video/mp4"],
            Kind::Image | Kind::Presentation | Kind::Other => &[],
        };
        let offers: Vec<Offer> = kinds.iter().map(|kind| Offer::single(kind)).collect();
        let as_stored = Failure::NotAcceptable {
            available: "application/dicom".to_owned(),
        };
        let (web, permit, headers) = (self.web, self.permit, self.headers);
        if matches!(kind, Kind::Pdf | Kind::Video) {
            let tag = Document::tag(shown);
            // Whoever knows it was given it before.
            if validator::knows(headers, &tag) && self.accept.choose(&offers).is_some() {
                return not_modified(&tag);
            }
        }
        let document = match kind {
            Kind::Image | Kind::Presentation | Kind::Other => return Err(as_stored),
            Kind::Pdf => Some(Document::pdf(web, permit, shown).await?),
            Kind::Video => Some(Document::mp4(web, permit, shown).await?),
            Kind::Report => None,
        };
        let chosen = choose(&self.accept, &offers)?;
        match document {
            Some(document) => document.answer(web, permit, shown, headers),
            None => self.report(shown, chosen.media_type).await,
        }
    }

    /// A report as text of this media type, or nothing where the client has it already.
    async fn report(
        &self,
        shown: &StoredInstance,
        media_type: &'static str,
    ) -> Result<Response, Failure> {
        let (web, permit) = (self.web, self.permit);
        let parts = [&shown.digest.0[..], web.said(), media_type.as_bytes()];
        let tag = validator::strong("report 1", &parts);
        if validator::knows(self.headers, &tag) {
            return not_modified(&tag);
        }
        let response = if self.is_head {
            self.head_of(media_type)
        } else {
            report::answer(web, permit, shown, media_type == "text/html").await?
        };
        tagged(response, &tag)
    }

    /// What can be had of images; a thumbnail is one picture.
    fn offers(&self, frames: &[u32]) -> Vec<Offer> {
        const KINDS: [&str; 3] = ["image/jpeg", "image/png", "image/gif"];
        let mut offers: Vec<Offer> = KINDS.into_iter().map(Offer::single).collect();
        if !self.is_thumbnail {
            let parts: Vec<Offer> = KINDS.into_iter().map(Offer::multipart).collect();
            if frames.len() > 1 {
                // Several frames are asked for by number: no single still shows them.
                offers.retain(|offer| offer.media_type == "image/gif");
                return parts.into_iter().chain(offers).collect();
            }
            offers.extend(parts);
        }
        offers
    }

    async fn pictures(
        &self,
        found: &[StoredInstance],
        shown: &StoredInstance,
        frames: Option<Vec<u32>>,
        state: Option<StoredInstance>,
    ) -> Result<Response, Failure> {
        let shown = Arc::new(shown.clone());
        let state = state.map(Arc::new);
        let one = |stored: &Arc<StoredInstance>, frame| Subject {
            stored: Arc::clone(stored),
            frames: vec![frame],
            presentation: state.clone(),
        };
        let offers = self.offers(frames.as_deref().unwrap_or_default());
        let chosen = choose(&self.accept, &offers)?;
        let format = self.wanted.format(chosen.media_type);
        let limits = self.web.limits();
        if chosen.is_multipart {
            let images = found.iter().filter(|it| Kind::of(it) == Kind::Image);
            let is_all = frames.is_none();
            let subjects = match frames {
                Some(frames) => frames.into_iter().map(|frame| one(&shown, frame)).collect(),
                None => images
                    .flat_map(|stored| {
                        let stored = Arc::new(stored.clone());
                        frames::all(&stored).map(move |frame| one(&stored, frame))
                    })
                    .take(limits.frames_max.saturating_add(1))
                    .collect(),
            };
            return self.multipart(subjects, format, is_all).await;
        }
        let moves = format == PictureFormat::Gif && !self.is_thumbnail && found.len() == 1;
        let mut frames = match frames {
            Some(frames) => frames,
            None if moves => {
                let most = limits.rendering.render.animation_frames_max;
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                frames::all(&shown).take(most.saturating_add(1)).collect()
            }
            None => vec![1],
        };
        if !moves {
            frames.truncate(1);
        }
        let subject = Subject {
            stored: shown,
            frames,
            presentation: state,
        };
        self.single(subject, format).await
    }

    /// One picture, or none where the client has it already.
    async fn single(&self, subject: Subject, format: PictureFormat) -> Result<Response, Failure> {
        let tag = entity_tag(self.web, &subject, &self.wanted, format);
        let response = if has_already(self.headers, &tag) {
            return not_modified(&tag);
        } else if self.is_head {
            self.head_of(format.media_type())
        } else {
            let bytes = picture(self.web, self.permit, subject, &self.wanted, format).await?;
            let kind = [(header::CONTENT_TYPE, format.media_type())];
            guarded((kind, bytes).into_response())
        };
        tagged(response, &tag)
    }

    /// The head of an answer of this media type.
    fn head_of(&self, media_type: &str) -> Response {
        let kind = [(header::CONTENT_TYPE, media_type.to_owned())];
        guarded((kind, Body::new(Unmade)).into_response())
    }

    /// Pictures in parts, each made while the one before it is sent. Where all that there are
    /// are wanted (`is_all`), those that cannot be shown are left out; not if none is left.
    async fn multipart(
        &self,
        subjects: VecDeque<Subject>,
        format: PictureFormat,
        is_all: bool,
    ) -> Result<Response, Failure> {
        let frames_max = self.web.limits().frames_max;
        if subjects.len() > frames_max {
            let detail = format!("more than {frames_max} pictures: ask for fewer at once");
            return Err(Failure::TooLarge { detail });
        }
        let writer = part_writer();
        let kind = writer.content_type(format.media_type());
        if self.is_head {
            return Ok(self.head_of(&kind));
        }
        let mut parts = Parts {
            web: self.web.clone(),
            permit: self.permit.clone(),
            base: self.web.base_url_by(self.headers),
            wanted: self.wanted.clone(),
            subjects,
            format,
            is_all,
        };
        let first = parts.first().await?;
        let body = stream::body(self.web.limits(), None, |pieces| async move {
            parts.send(first, writer, &pieces).await
        });
        Ok(guarded(
            ([(header::CONTENT_TYPE, kind)], body).into_response(),
        ))
    }
}

/// The body of an answer of which only the head is given: nobody knows its length.
struct Unmade;

impl http_body::Body for Unmade {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }
}

/// A picture, made once for all who want it, and kept: a list of studies is opened again and again.
async fn picture(
    web: &Web,
    permit: &Permit<Get>,
    subject: Subject,
    wanted: &Wanted,
    format: PictureFormat,
) -> Result<Bytes, Failure> {
    let tag = entity_tag(web, &subject, wanted, format);
    let syntax = &subject.stored.instance.transfer_syntax;
    let is_animation = subject.frames.len() > 1;
    let kind = if is_animation {
        Thing::Animation
    } else {
        Thing::Picture
    };
    let key = Key::of(kind, &[tag.as_bytes(), syntax.as_str().as_bytes()]);
    let (own, may, wanted) = (web.clone(), permit.clone(), wanted.clone());
    let _place = if is_animation {
        Some(web.place_to_animate(permit.caller())?)
    } else {
        None
    };
    let make = move |turn| async move {
        let made = picture::render(&own, (&may, turn), subject, &wanted, format).await;
        made.map(Bytes::from)
    };
    web.derived().get_or_make(permit, key, make).await
}

fn choose<'o>(accept: &Accept, offers: &'o [Offer]) -> Result<&'o Offer, Failure> {
    accept.choose(offers).ok_or_else(|| {
        let available = describe(offers);
        Failure::NotAcceptable { available }
    })
}

/// Changes with the instance, with what it is to say, and with what is wanted of it.
fn entity_tag(web: &Web, subject: &Subject, wanted: &Wanted, format: PictureFormat) -> String {
    let mut digester = Digester::new();
    digester.update(FORM);
    digester.update(web.said());
    digester.update(&subject.stored.digest.0);
    if let Some(state) = &subject.presentation {
        digester.update(&state.digest.0);
    }
    digester.update(format!("{:?}{wanted:?}{format:?}", subject.frames).as_bytes());
    let digest = format!("{:?}", digester.finish());
    format!("\"{}\"", digest.get(..32).unwrap_or(&digest))
}
