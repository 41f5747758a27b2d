//! What data sets say on their way out: whoever gives some of a study asks [`Overlays`] what is
//! known of it, and sends what [`begin`] gives. What is stored stays as it came.
//!
//! Where a data set says already what it is to say, its bytes are those that are stored, and
//! compared with their digest as ever. Where it does not, all of it is read through a [`Coercer`]:
//! the digest of what was read is compared before the end of it is given.

use crate::error::ReadError;
use crate::retrieve::DataSetReader;
use async_trait::async_trait;
use bytes::Bytes;
use pacs_core::coerce::{Coercer, Overlay};
use pacs_core::convert::ConvertError;
use pacs_core::tag::keyword_of;
use pacs_core::uid::{SeriesUid, StudyUid};
use pacs_core::{Key, Matching, Phi, Query};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Says what the data sets of studies are to say on their way out.
#[async_trait]
pub trait Overlays: std::fmt::Debug + Send + Sync + 'static {
    /// Of `study`, as it is known now.
    ///
    /// # Errors
    /// [`OverlaysError`]: nothing of the study is to be given then, for it may say who somebody
    /// else is.
    async fn overlays(&self, study: &StudyUid) -> Result<StudyOverlays, OverlaysError>;
}

/// What the data sets of a study are to say: series that are of another examination than the rest
/// say something else.
#[derive(Debug, Clone, Default)]
pub struct StudyOverlays {
    rest: Option<Arc<Overlay>>,
    of_series: BTreeMap<SeriesUid, Option<Arc<Overlay>>>,
}

impl StudyOverlays {
    /// All of them say this; `None`: whatever stands there.
    #[must_use]
    pub const fn of_all(overlay: Option<Arc<Overlay>>) -> Self {
        Self {
            rest: overlay,
            of_series: BTreeMap::new(),
        }
    }

    /// The same, but for these series.
    #[must_use]
    pub fn but(
        mut self,
        series: impl IntoIterator<Item = SeriesUid>,
        overlay: Option<&Arc<Overlay>>,
    ) -> Self {
        let parts = series.into_iter().map(|one| (one, overlay.cloned()));
        self.of_series.extend(parts);
        self
    }

    /// What a series is to say; `None`: whatever stands there.
    #[must_use]
    pub fn of(&self, series: &SeriesUid) -> Option<&Arc<Overlay>> {
        let part = self.of_series.get(series).map(Option::as_ref);
        part.unwrap_or(self.rest.as_ref())
    }

    /// Bytes by which it is told from all others, to make a digest of: they hold patient data.
    /// Empty where everything is given as it came.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |series: &str, overlay: Option<&Arc<Overlay>>| {
            let identity = overlay.map(|overlay| overlay.identity());
            for part in [series.as_bytes(), &identity.unwrap_or_default()] {
                out.extend_from_slice(&(part.len() as u64).to_be_bytes());
                out.extend_from_slice(part);
            }
        };
        if self.rest.is_some() {
            put("", self.rest.as_ref());
        }
        for (series, overlay) in &self.of_series {
            put(series.as_str(), overlay.as_ref());
        }
        out
    }
}

/// It is not known what data sets are to say.
#[derive(Debug, thiserror::Error)]
#[error("what is known of a study cannot be read")]
pub struct OverlaysError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What a query asks, for the audit record: its level, and keywords with what they must match.
#[must_use]
pub fn described(query: &Query) -> Phi<String> {
    described_as(query.level.name(), &query.keys)
}

/// The same of a search for something that is of no level.
#[must_use]
pub fn described_as(what: &str, keys: &[Key]) -> Phi<String> {
    let mut asked = vec![what.to_owned()];
    describe(keys, &mut asked);
    Phi::new(asked.join("; "))
}

/// Adds what keys ask for that have a condition. A query is no deeper than its limits allow.
fn describe(keys: &[Key], asked: &mut Vec<String>) {
    for key in keys {
        if let Matching::Sequence(inner) = &key.matching {
            describe(inner, asked);
        } else if key.matching != Matching::Universal {
            let keyword = keyword_of(key.tag).unwrap_or_default();
            asked.push(format!("{keyword}={}", key.matching.to_text()));
        }
    }
}

/// For archives that know no patients and no orders: every data set is given as it came.
#[derive(Debug, Clone, Copy)]
pub struct NoOverlays;

#[async_trait]
impl Overlays for NoOverlays {
    async fn overlays(&self, _study: &StudyUid) -> Result<StudyOverlays, OverlaysError> {
        Ok(StudyOverlays::default())
    }
}

/// Why nothing can be given. No value is shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// The data set cannot be given other attributes.
    #[error("data set cannot say what it is to say")]
    Convert(#[from] ConvertError),
    /// It cannot be read.
    #[error("stored instance cannot be read")]
    Read(#[from] ReadError),
}

/// A data set on its way out, as far as it is known what becomes of it.
#[derive(Debug)]
pub enum Begun {
    /// It is given as it is stored.
    AsStored(AsStored),
    /// It goes through this, which has taken what was read; the rest is to be pushed.
    Rewritten(Box<Coercer>, DataSetReader),
}

/// The bytes that are stored, of which the first were read already.
#[derive(Debug)]
pub struct AsStored {
    read: VecDeque<Bytes>,
    reader: DataSetReader,
}

impl AsStored {
    /// The next chunk; `None` after the last.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        match self.read.pop_front() {
            Some(chunk) => Ok(Some(chunk)),
            None => self.reader.next().await,
        }
    }

    /// Bytes that it gives altogether, from the beginning.
    #[must_use]
    pub const fn length_bytes(&self) -> u64 {
        self.reader.length_bytes()
    }
}

impl From<DataSetReader> for AsStored {
    fn from(reader: DataSetReader) -> Self {
        Self {
            read: VecDeque::new(),
            reader,
        }
    }
}

/// Reads as much as it takes to know whether `coercer` changes anything: the beginning alone.
///
/// # Errors
/// [`EgressError`].
pub async fn begin(mut reader: DataSetReader, coercer: Coercer) -> Result<Begun, EgressError> {
    let mut coercer = coercer.with_length(reader.length_bytes());
    let mut read = VecDeque::new();
    loop {
        match coercer.passes()? {
            Some(true) => return Ok(Begun::AsStored(AsStored { read, reader })),
            Some(false) => return Ok(Begun::Rewritten(Box::new(coercer), reader)),
            None => match reader.next().await? {
                Some(chunk) => {
                    coercer.push(chunk.to_vec());
                    read.push_back(chunk);
                }
                None => coercer.end(),
            },
        }
    }
}
