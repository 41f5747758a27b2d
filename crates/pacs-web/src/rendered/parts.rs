//! Pictures of many frames or instances, as parts of one answer.

use super::picture::Subject;
use super::{Wanted, picture};
use crate::error::Failure;
use crate::multipart::PartWriter;
use crate::resource::path_of;
use crate::service::Web;
use crate::stream::{Gone, Pieces};
use bytes::Bytes;
use pacs_core::Permit;
use pacs_core::access::Get;
use pacs_image::render::PictureFormat;
use std::collections::VecDeque;

/// How often a turn is waited for, where there are others who wait.
const TRIES_MAX: u32 = 4;

/// Pictures that are to be made.
pub(super) struct Parts {
    pub(super) web: Web,
    pub(super) permit: Permit<Get>,
    /// What URLs begin with.
    pub(super) base: String,
    pub(super) wanted: Wanted,
    pub(super) subjects: VecDeque<Subject>,
    pub(super) format: PictureFormat,
    /// Whether what cannot be shown is left out.
    pub(super) is_all: bool,
}

/// A picture, and where it is alone.
pub(super) struct Part {
    bytes: Bytes,
    location: String,
}

impl Parts {
    /// The first part.
    ///
    /// # Errors
    /// Why there is none, not even of those that come later where one can be left out.
    pub(super) async fn first(&mut self) -> Result<Part, Failure> {
        let what = "instance that can be rendered";
        let first = self.next().await?;
        first.ok_or(Failure::NotFound { what })
    }

    /// The next picture that can be made; `None` where all were.
    async fn next(&mut self) -> Result<Option<Part>, Failure> {
        let mut left_out = None;
        while let Some(subject) = self.subjects.pop_front() {
            let frame = subject.frames.first().copied().unwrap_or(1);
            let path = path_of(&subject.stored);
            let location = format!("{}{path}/frames/{frame}/rendered", self.base);
            match self.make(subject).await {
                Ok(bytes) => return Ok(Some(Part { bytes, location })),
                Err(error) if self.is_all && is_of_image(&error) => {
                    tracing::warn!(%error, "an image cannot be rendered among others");
                    left_out = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        left_out.map_or(Ok(None), Err)
    }

    async fn make(&self, subject: Subject) -> Result<Bytes, Failure> {
        let mut tries: u32 = 1;
        loop {
            let (web, permit, wanted) = (&self.web, &self.permit, &self.wanted);
            match picture(web, permit, subject.clone(), wanted, self.format).await {
                Err(Failure::Unavailable { .. }) if tries < TRIES_MAX => {
                    tries = tries.saturating_add(1);
                }
                made => return made,
            }
        }
    }

    /// Sends `first` and all others.
    pub(super) async fn send(
        mut self,
        first: Part,
        mut writer: PartWriter,
        pieces: &Pieces,
    ) -> Result<(), Gone> {
        let mut next = Some(first);
        while let Some(Part { bytes, location }) = next {
            let fields = [
                ("Content-Type", self.format.media_type()),
                ("Content-Location", &location),
            ];
            pieces.put_with_next(&writer.part(&fields));
            pieces.put(bytes).await?;
            next = match self.next().await {
                Ok(next) => next,
                // What is left are images that cannot be shown.
                Err(error) if self.is_all && is_of_image(&error) => None,
                Err(error) => {
                    tracing::warn!(%error, "an image cannot be rendered among others");
                    return Err(Gone);
                }
            };
        }
        pieces.put(writer.end()).await
    }
}

/// Whether it is the image that is to blame, and others can be shown.
const fn is_of_image(error: &Failure) -> bool {
    matches!(
        error,
        Failure::Conflict { .. }
            | Failure::NotAcceptable { .. }
            | Failure::NotFound { .. }
            | Failure::TooLarge { .. }
    )
}
