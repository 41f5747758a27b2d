//! STOW-RS (PS3.18 10.5): instances that clients send.
//!
//! Each part of a request becomes the same deposit that C-STORE makes, while it arrives: its bytes
//! go on as they are, and while one part is still read, earlier ones share the sync of a commit
//! group. Every instance has its own verdict. Where a transfer is cut, what was complete is kept.
//!
//! What comes as metadata with bulk data is composed to files first ([`described`]).
//!
//! Nothing that a client names is ever fetched.

mod answer;
pub(crate) mod body;
pub(crate) mod described;
mod incoming;
mod spool;

use crate::access::Allowed;
use crate::error::Failure;
use crate::media_type::MediaType;
use crate::multipart::{MultipartError, Next, PartReader};
use crate::observe::Tally;
use crate::service::Web;
use crate::single::Form;
use answer::{Answer, Verdict};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use body::{Arriving, Stopped};
use described::Notation;
use incoming::{Deposits, Incoming};
use pacs_core::access::Store;
use pacs_core::{Permit, StudyUid};
use std::collections::VecDeque;
use tokio::task::JoinHandle;

/// `POST /studies`
pub(crate) async fn store(
    Allowed(permit): Allowed<Store>,
    State(web): State<Web>,
    request: Request,
) -> Result<Response, Failure> {
    receive(&web, permit, None, request).await
}

/// `POST /studies/{study}`
pub(crate) async fn store_to_study(
    Allowed(permit): Allowed<Store>,
    State(web): State<Web>,
    Path(study): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let study = StudyUid::parse_legacy(&study)
        .map_err(|_| Failure::bad_request("the path names no study: that is no UID"))?;
    receive(&web, permit, Some(study), request).await
}

/// What a request holds.
enum Payload {
    /// Metadata, and bulk data in parts behind it.
    Described(Box<PartReader>, Notation),
    /// Metadata that needs no bulk data.
    DescribedAlone(Notation),
    /// DICOM files, one a part.
    Parts(Box<PartReader>),
    /// One DICOM file.
    Single,
}

async fn receive(
    web: &Web,
    permit: Permit<Store>,
    study: Option<StudyUid>,
    request: Request,
) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let form = Form::choose(web, &head.headers, head.uri.query())?;
    let limits = *web.limits();
    let declared = text(&head.headers, header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limits.request_bytes_max) {
        return Err(Failure::TooLarge {
            detail: format!("at most {} bytes in one request", limits.request_bytes_max),
        });
    }
    let payload = payload(web, &head.headers)?;
    let _place = web.place_to_store(permit.caller())?;
    let deposits = Deposits {
        web: web.clone(),
        permit,
        study: study.clone(),
        limits,
    };
    let mut receiving = Receiving {
        body: Arriving::new(body, &limits),
        deposits,
        part_bytes: 0,
        sealing: VecDeque::new(),
        sealing_bytes: 0,
        verdicts: Vec::new(),
    };
    let ended = match payload {
        Payload::Described(reader, notation) => receiving.described(web, *reader, notation).await,
        Payload::DescribedAlone(notation) => receiving.described_alone(web, notation).await,
        Payload::Parts(reader) => Ok(receiving.parts(*reader).await),
        Payload::Single => Ok(receiving.single().await),
    };
    receiving.settle(0).await;
    web.observe(receiving.tally());
    let ended = ended?;
    receiving.tell(ended);
    let answer = Answer {
        verdicts: receiving.verdicts,
        ended,
        study,
        base_url: web.base_url(&head),
    };
    answer.respond(form)
}

/// What `Content-Type` says that is coming.
fn payload(web: &Web, headers: &HeaderMap) -> Result<Payload, Failure> {
    let unsupported = |what: &str| Failure::UnsupportedMediaType {
        detail: format!(
            "{what}; taken are application/dicom, application/dicom+json and \
             application/dicom+xml, and multipart/related of one of these types"
        ),
    };
    let coding = headers.get(header::CONTENT_ENCODING);
    if coding.is_some_and(|coding| coding != "identity") {
        return Err(unsupported("no Content-Encoding is taken"));
    }
    let kind = text(headers, header::CONTENT_TYPE).ok_or_else(|| unsupported("no Content-Type"))?;
    let wrong = |error: MultipartError| Failure::bad_request(error.to_string());
    if headers.get_all(header::CONTENT_TYPE).iter().count() > 1 {
        // Whoever looked at the request before us may have believed the other one.
        return Err(wrong(MultipartError::Boundary));
    }
    let kind = MediaType::parse(kind).map_err(|error| wrong(error.into()))?;
    if kind.is("application/dicom") {
        return Ok(Payload::Single);
    }
    if let Some(notation) = Notation::of(&kind) {
        return Ok(Payload::DescribedAlone(notation));
    }
    if !kind.is("multipart/related") {
        return Err(unsupported("this is of another kind"));
    }
    let part = kind.parameter("type").map(MediaType::parse).transpose();
    let part = part.map_err(|error| wrong(error.into()))?;
    let notation = part.as_ref().and_then(Notation::of);
    if notation.is_none() && part.is_some_and(|part| !part.is("application/dicom")) {
        return Err(unsupported("these parts are of another kind"));
    }
    let reader = PartReader::new(&kind, web.limits().multipart);
    let reader = Box::new(reader.map_err(wrong)?);
    Ok(match notation {
        Some(notation) => Payload::Described(reader, notation),
        None => Payload::Parts(reader),
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How a request's body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It is not as it must be, or ended too early.
    Malformed(MultipartError),
    /// It came too slowly, was too long or broke off.
    Stopped(Stopped),
    Whole,
}

/// A request whose body arrives.
struct Receiving {
    body: Arriving,
    deposits: Deposits,
    /// Bytes of the instance that is read.
    part_bytes: u64,
    /// Instances that are made durable, in order, and their bytes. The tasks live on when the
    /// request is cancelled: what was complete is kept.
    sealing: VecDeque<(u64, JoinHandle<Verdict>)>,
    /// The bytes of them all.
    sealing_bytes: u64,
    verdicts: Vec<Verdict>,
}

/// What comes next of a body in parts; how it ended, where nothing does.
async fn next(body: &mut Arriving, reader: &mut PartReader) -> Result<Next, Ended> {
    loop {
        match reader.advance() {
            Ok(Next::End) => return Err(Ended::Whole),
            Ok(Next::NeedsChunk) => match body.next().await {
                Ok(Some(chunk)) => reader.push(chunk),
                Ok(None) => {
                    let finished = reader.finish();
                    return Err(finished.map_or_else(Ended::Malformed, |()| Ended::Whole));
                }
                Err(stopped) => return Err(Ended::Stopped(stopped)),
            },
            Ok(next) => return Ok(next),
            Err(error) => return Err(Ended::Malformed(error)),
        }
    }
}

impl Receiving {
    async fn parts(&mut self, mut reader: PartReader) -> Ended {
        let mut open: Option<Incoming> = None;
        let ended = loop {
            match next(&mut self.body, &mut reader).await {
                Ok(Next::Part(head)) => open = Some(self.deposits.begin(&head)),
                Ok(Next::Data(bytes)) => {
                    if let Some(incoming) = &mut open {
                        self.count(&bytes);
                        incoming.write(bytes).await;
                    }
                }
                Ok(Next::PartEnd) => {
                    if let Some(incoming) = open.take() {
                        self.seal(incoming).await;
                    }
                }
                Ok(Next::End | Next::NeedsChunk) => {}
                Err(ended) => break ended,
            }
        };
        if let Some(incoming) = open {
            let cut = tokio::spawn(incoming.cut());
            self.sealing.push_back((0, cut));
        }
        if ended == Ended::Whole {
            self.body.drain().await;
        }
        ended
    }

    async fn single(&mut self) -> Ended {
        let mut incoming = self.deposits.begin_single();
        loop {
            match self.body.next().await {
                Ok(Some(chunk)) => {
                    self.count(&chunk);
                    incoming.write(chunk).await;
                }
                Ok(None) => {
                    self.seal(incoming).await;
                    return Ended::Whole;
                }
                Err(stopped) => {
                    self.verdicts.push(incoming.cut().await);
                    return Ended::Stopped(stopped);
                }
            }
        }
    }

    fn tally(&self) -> Tally {
        let refused = self.verdicts.iter().filter(|verdict| verdict.is_failure());
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let refused = number(refused.count());
        Tally {
            stored: number(self.verdicts.len()).saturating_sub(refused),
            refused,
            bytes: self.body.received_bytes(),
        }
    }

    /// One line in the log for a request.
    fn tell(&self, ended: Ended) {
        let Tally { refused, bytes, .. } = self.tally();
        tracing::info!(
            caller = ?self.deposits.permit.caller(),
            instances = self.verdicts.len(),
            failed = refused,
            bytes,
            ?ended,
            "instances came by STOW-RS"
        );
    }

    /// Has an instance made durable. It is begun before anything is waited for, so that one that
    /// was complete is kept though the request is cancelled here.
    async fn seal(&mut self, incoming: Incoming) {
        let length = std::mem::take(&mut self.part_bytes);
        self.sealing_bytes = self.sealing_bytes.saturating_add(length);
        let task = tokio::spawn(incoming.end());
        self.sealing.push_back((length, task));
        let limits = self.deposits.limits;
        // While one is made durable, the next one is read, however long they are.
        while self.sealing_bytes > limits.sealing_bytes_max && self.sealing.len() > 1 {
            self.settle(self.sealing.len().saturating_sub(1)).await;
        }
        self.settle(limits.sealing_max).await;
    }

    fn count(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.part_bytes = self.part_bytes.saturating_add(length);
    }

    /// Waits until at most `left_max` instances are still made durable.
    async fn settle(&mut self, left_max: usize) {
        while self.sealing.len() > left_max {
            let Some((length, task)) = self.sealing.pop_front() else {
                return;
            };
            let verdict = task.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a deposit was not brought to its end");
                Verdict::broken()
            });
            self.sealing_bytes = self.sealing_bytes.saturating_sub(length);
            self.verdicts.push(verdict);
        }
    }
}

#[cfg(test)]
mod tests;
