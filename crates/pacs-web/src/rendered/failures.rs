//! What the client is told where there is no picture.

use crate::error::Failure;
use pacs_core::convert::PixelError;
use pacs_image::render::RenderError;
use pacs_image::{FrameMapError, HeadError};
use pacs_store::ReadError;

fn conflict(error: &dyn std::error::Error) -> Failure {
    Failure::Conflict {
        detail: error.to_string(),
    }
}

/// What cannot be shown can still be had as it is stored.
fn as_stored() -> Failure {
    Failure::NotAcceptable {
        available: "application/dicom".to_owned(),
    }
}

impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::OutsideImage => Self::bad_request(error.to_string()),
            RenderError::TooLarge { .. } => Self::TooLarge {
                detail: error.to_string(),
            },
            RenderError::Unsupported { .. } => as_stored(),
            RenderError::Encode => Self::Internal,
            RenderError::Damaged { .. } | RenderError::Head(_) | _ => conflict(&error),
        }
    }
}

impl From<HeadError> for Failure {
    fn from(error: HeadError) -> Self {
        conflict(&error)
    }
}

impl From<PixelError> for Failure {
    fn from(error: PixelError) -> Self {
        match error {
            PixelError::Unsupported { .. } => as_stored(),
            PixelError::TooLarge { .. } => Self::TooLarge {
                detail: error.to_string(),
            },
            PixelError::Worker { .. } => {
                tracing::warn!(%error, "a frame could not be decoded to be rendered");
                Self::Unavailable {
                    detail: "the frame could not be decoded now",
                }
            }
            PixelError::Damaged { .. } | _ => conflict(&error),
        }
    }
}

impl From<FrameMapError<ReadError>> for Failure {
    fn from(error: FrameMapError<ReadError>) -> Self {
        match error {
            FrameMapError::Read(error) => error.into(),
            FrameMapError::NoFragments => Self::NotFound { what: "pixel data" },
            FrameMapError::NoSuchFrame => Self::NotFound { what: "frame" },
            FrameMapError::TooLarge { .. } => Self::TooLarge {
                detail: error.to_string(),
            },
            FrameMapError::Damaged { .. }
            | FrameMapError::Deflated
            | FrameMapError::Scan(_)
            | _ => conflict(&error),
        }
    }
}

impl From<FrameMapError<std::convert::Infallible>> for Failure {
    fn from(error: FrameMapError<std::convert::Infallible>) -> Self {
        conflict(&error)
    }
}
