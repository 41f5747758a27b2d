//! `multipart/related` (RFC 2046 5.1, RFC 2387): read while it arrives, and written.
//!
//! [`PartReader`] has no sockets: it is given the chunks of a body, however they are cut, and gives
//! heads and bytes of parts. The bytes are slices of the chunks and never copied. Everything that a
//! client can make long is bounded ([`MultipartLimits`]); a body that ends before its last boundary
//! is told from one that is whole.
//!
//! It is strict where leniency lets two readers see different parts: one boundary, of the letters
//! that RFC 2046 allows, CRLF alone ends lines, and what follows a boundary on its line is blank.

use crate::limits::MultipartLimits;
use crate::media_type::{MediaType, MediaTypeError};
use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem::Finder;

/// Longest boundary (RFC 2046 5.1.1).
const BOUNDARY_BYTES: usize = 70;

/// Why a body is not read any further (400). What was given before remains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MultipartError {
    /// `Content-Type` names no boundary, two of them, or one with forbidden letters.
    #[error("multipart/related needs one boundary of 1 to 70 letters that RFC 2046 allows")]
    Boundary,
    /// The body ends before its last boundary.
    #[error("body ends before its last boundary")]
    Cut,
    /// The lines of a part's head are no header fields.
    #[error("head of a part cannot be read")]
    Head,
    /// A part's head passes [`MultipartLimits::head_bytes_max`] or
    /// [`MultipartLimits::head_fields_max`].
    #[error("head of a part is too long")]
    HeadTooLong,
    /// `Content-Type` is no media type.
    #[error("Content-Type: {0}")]
    MediaType(#[from] MediaTypeError),
    /// Something else than blanks follows a boundary on its line.
    #[error("a boundary stands within a line")]
    Padding,
    /// More before the first boundary than [`MultipartLimits::preamble_bytes_max`].
    #[error("too much before the first boundary")]
    Preamble,
    /// More parts than [`MultipartLimits::parts_max`].
    #[error("too many parts")]
    TooManyParts,
}

/// The head of a part: its fields, with names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartHead(Vec<(String, String)>);

impl PartHead {
    /// The first field of that name, which is in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        fields
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// What the part holds, where it says so.
    ///
    /// # Errors
    /// [`MediaTypeError`] where that is no media type.
    pub fn content_type(&self) -> Result<Option<MediaType>, MediaTypeError> {
        self.field("content-type").map(MediaType::parse).transpose()
    }
}

/// What comes next of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Bytes of the part that was begun last.
    Data(Bytes),
    /// The last boundary has come; what follows it is of no account.
    End,
    /// A part begins.
    Part(PartHead),
    /// The part that was begun last is whole.
    PartEnd,
    /// Nothing, before there is another chunk.
    NeedsChunk,
}

/// Reads a body.
#[derive(Debug)]
pub struct PartReader {
    limits: MultipartLimits,
    /// CRLF, two hyphens, and the boundary.
    delimiter: Bytes,
    finder: Finder<'static>,
    chunk: Bytes,
    state: State,
    parts_count: usize,
    skipped_bytes: u64,
}

#[derive(Debug)]
enum State {
    /// Behind a boundary, on its line, of which this much has come. Before that has been seen to be
    /// a boundary's line, nobody is told that a part is whole.
    AfterBoundary {
        place: Place,
        line: Vec<u8>,
    },
    /// In bytes of a part or before the first one; it is in the middle of a possible delimiter.
    Between {
        place: Place,
        seen: Seen,
    },
    End,
    Failed(MultipartError),
    /// In the head of a part, of which this much has come.
    Head(BytesMut),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Part,
    Preamble,
}

/// How much of a delimiter has been seen, and how much of that is not for the part: the end of the
/// line before may be that of its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    count: usize,
    not_data: usize,
}

impl Seen {
    const NOTHING: Self = Self {
        count: 0,
        not_data: 0,
    };
    /// At the beginning of a line whose predecessor's end belongs to nothing.
    const LINE_BEGINS: Self = Self {
        count: 2,
        not_data: 2,
    };
}

/// The boundary that `content_type` names.
///
/// # Errors
/// [`MultipartError::Boundary`].
pub fn boundary_of(content_type: &MediaType) -> Result<&str, MultipartError> {
    let boundary = content_type.parameter("boundary").unwrap_or_default();
    let is_fit = (1..=BOUNDARY_BYTES).contains(&boundary.len())
        && !boundary.ends_with(' ')
        && boundary
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "'()+_,-./:=? ".contains(c));
    is_fit.then_some(boundary).ok_or(MultipartError::Boundary)
}

impl PartReader {
    /// Of a body with this `Content-Type`.
    ///
    /// # Errors
    /// [`MultipartError::Boundary`].
    pub fn new(content_type: &MediaType, limits: MultipartLimits) -> Result<Self, MultipartError> {
        let delimiter = [b"\r\n--", boundary_of(content_type)?.as_bytes()].concat();
        Ok(Self {
            limits,
            finder: Finder::new(&delimiter).into_owned(),
            delimiter: delimiter.into(),
            chunk: Bytes::new(),
            state: State::Between {
                place: Place::Preamble,
                seen: Seen::LINE_BEGINS,
            },
            parts_count: 0,
            skipped_bytes: 0,
        })
    }

    /// Gives it the next chunk, once it has asked for one.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else if !chunk.is_empty() {
            // It was not asked for; it is kept nevertheless.
            let mut both = BytesMut::from(self.chunk.as_ref());
            both.extend_from_slice(&chunk);
            self.chunk = both.freeze();
        }
    }

    /// What comes next.
    ///
    /// # Errors
    /// [`MultipartError`], and the same ever after.
    pub fn advance(&mut self) -> Result<Next, MultipartError> {
        loop {
            match std::mem::replace(&mut self.state, State::End) {
                State::Failed(error) => return self.fail(error),
                State::End => return Ok(Next::End),
                state if self.chunk.is_empty() => {
                    self.state = state;
                    return Ok(Next::NeedsChunk);
                }
                State::AfterBoundary { place, line } => match self.after_boundary(place, line) {
                    Ok(true) if place == Place::Part => return Ok(Next::PartEnd),
                    Ok(_) => {}
                    Err(error) => return self.fail(error),
                },
                State::Head(head) => match self.head(head) {
                    Ok(Some(head)) => return Ok(Next::Part(head)),
                    Ok(None) => {}
                    Err(error) => return self.fail(error),
                },
                State::Between { place, seen } => {
                    let bytes = self.between(place, seen);
                    if place == Place::Part && !bytes.is_empty() {
                        return Ok(Next::Data(bytes));
                    }
                    let skipped = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    self.skipped_bytes = self.skipped_bytes.saturating_add(skipped);
                    if self.skipped_bytes > self.limits.preamble_bytes_max {
                        return self.fail(MultipartError::Preamble);
                    }
                }
            }
        }
    }

    /// Says that there are no more chunks.
    ///
    /// # Errors
    /// [`MultipartError::Cut`] where the last boundary has not come; or what was wrong before.
    pub const fn finish(&self) -> Result<(), MultipartError> {
        match &self.state {
            State::End => Ok(()),
            State::Failed(error) => Err(*error),
            State::AfterBoundary { .. } | State::Between { .. } | State::Head(_) => {
                Err(MultipartError::Cut)
            }
        }
    }

    fn fail(&mut self, error: MultipartError) -> Result<Next, MultipartError> {
        self.chunk = Bytes::new();
        self.state = State::Failed(error);
        Err(error)
    }

    /// Bytes up to the next possible delimiter. None does not mean that the chunk is used up.
    fn between(&mut self, place: Place, seen: Seen) -> Bytes {
        if seen.count > 0 {
            return self.go_on(place, seen);
        }
        if let Some(at) = self.finder.find(&self.chunk) {
            let bytes = self.chunk.split_to(at);
            self.chunk.advance(self.delimiter.len());
            self.boundary_found(place);
            return bytes;
        }
        // The end of the chunk may be the beginning of a delimiter: only there can a CR matter.
        let tail = self.chunk.len().saturating_sub(self.delimiter.len());
        let begins = |at: &usize| {
            let end = self.chunk.get(*at..).unwrap_or_default();
            self.delimiter.starts_with(end)
        };
        let end = (tail..self.chunk.len()).find(begins);
        let end = end.unwrap_or(self.chunk.len());
        let bytes = self.chunk.split_to(end);
        let seen = Seen {
            count: self.chunk.len(),
            not_data: 0,
        };
        self.chunk = Bytes::new();
        self.state = State::Between { place, seen };
        bytes
    }

    /// Goes on in the middle of a possible delimiter. Where it is none, what was taken for its
    /// beginning is data; since CR stands at the beginning alone, no other can begin within it.
    fn go_on(&mut self, place: Place, seen: Seen) -> Bytes {
        let wanted = self.delimiter.get(seen.count..).unwrap_or_default();
        let same = wanted.iter().zip(&self.chunk);
        let same = same.take_while(|(wanted, came)| wanted == came).count();
        let count = seen.count.saturating_add(same);
        let is_mismatch = count < self.delimiter.len() && same < self.chunk.len();
        if is_mismatch {
            self.state = State::Between {
                place,
                seen: Seen::NOTHING,
            };
            if seen.count == seen.not_data {
                // Nothing of it came before this chunk, which is looked at from its beginning.
                return Bytes::new();
            }
            let before = seen.not_data.min(seen.count)..seen.count;
            return self.delimiter.slice(before);
        }
        self.chunk.advance(same);
        if count == self.delimiter.len() {
            self.boundary_found(place);
        } else {
            let seen = Seen { count, ..seen };
            self.state = State::Between { place, seen };
        }
        Bytes::new()
    }

    fn boundary_found(&mut self, place: Place) {
        self.state = State::AfterBoundary {
            place,
            line: Vec::new(),
        };
    }

    /// Reads the rest of a boundary's line: two hyphens at the last one, else blanks. Whether that
    /// has come to the end.
    fn after_boundary(&mut self, place: Place, mut line: Vec<u8>) -> Result<bool, MultipartError> {
        while !self.chunk.is_empty() {
            let byte = self.chunk.get_u8();
            match (line.as_slice(), byte) {
                ([.., b'\r'], b'\n') => {
                    self.state = State::Head(BytesMut::new());
                    return Ok(true);
                }
                ([b'-'], b'-') => {
                    self.chunk = Bytes::new();
                    self.state = State::End;
                    return Ok(true);
                }
                ([], b'-') => line.push(byte),
                ([.., b'\r'] | [b'-', ..], _) => return Err(MultipartError::Padding),
                (_, b' ' | b'\t' | b'\r') if line.len() < BOUNDARY_BYTES => line.push(byte),
                _ => return Err(MultipartError::Padding),
            }
        }
        self.state = State::AfterBoundary { place, line };
        Ok(false)
    }

    /// Reads on in the head of a part; whole at an empty line.
    fn head(&mut self, mut head: BytesMut) -> Result<Option<PartHead>, MultipartError> {
        // The empty line may be the first one, and it may begin in what came before.
        let from = head.len().saturating_sub(3);
        let room = self.limits.head_bytes_max.saturating_add(1);
        let taken = room.saturating_sub(head.len()).min(self.chunk.len());
        head.extend_from_slice(self.chunk.get(..taken).unwrap_or_default());
        let end = if head.starts_with(b"\r\n") {
            Some((0, 2))
        } else {
            let found = memchr::memmem::find(head.get(from..).unwrap_or_default(), b"\r\n\r\n");
            found.map(|at| {
                let at = at.saturating_add(from);
                (at, at.saturating_add(4))
            })
        };
        let Some((fields_end, end)) = end else {
            if head.len() > self.limits.head_bytes_max {
                return Err(MultipartError::HeadTooLong);
            }
            self.chunk.advance(taken);
            self.state = State::Head(head);
            return Ok(None);
        };
        if end > self.limits.head_bytes_max {
            return Err(MultipartError::HeadTooLong);
        }
        let not_of_chunk = head.len().saturating_sub(taken);
        self.chunk.advance(end.saturating_sub(not_of_chunk));
        self.parts_count = self.parts_count.saturating_add(1);
        if self.parts_count > self.limits.parts_max {
            return Err(MultipartError::TooManyParts);
        }
        let fields = head.get(..fields_end).unwrap_or_default();
        let read = read_head(fields, self.limits.head_fields_max)?;
        self.state = State::Between {
            place: Place::Part,
            // The end of the empty line may be that before a boundary: a part without bytes.
            seen: Seen::LINE_BEGINS,
        };
        Ok(Some(read))
    }
}

/// The fields of a head (RFC 5322 2.2), with folded lines put together.
fn read_head(text: &[u8], fields_max: usize) -> Result<PartHead, MultipartError> {
    let text = std::str::from_utf8(text).map_err(|_| MultipartError::Head)?;
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(MultipartError::Head);
        }
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut().ok_or(MultipartError::Head)?;
            value.push(' ');
            value.push_str(line.trim());
            continue;
        }
        if fields.len() >= fields_max {
            return Err(MultipartError::HeadTooLong);
        }
        let (name, value) = line.split_once(':').ok_or(MultipartError::Head)?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        if !is_name {
            return Err(MultipartError::Head);
        }
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(PartHead(fields))
}

/// Writes what stands between the parts of a body.
#[derive(Debug, Clone)]
pub struct PartWriter {
    boundary: String,
    is_begun: bool,
}

impl PartWriter {
    /// With a boundary made of `random`, which nobody may be able to foretell: who could, might
    /// send us content that ends a part.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        let boundary = format!("pacs-{:032x}", u128::from_be_bytes(random));
        Self {
            boundary,
            is_begun: false,
        }
    }

    /// The `Content-Type` of a body whose parts are `part_type`, as in `application/dicom`.
    #[must_use]
    pub fn content_type(&self, part_type: &str) -> String {
        let boundary = &self.boundary;
        format!("multipart/related; type=\"{part_type}\"; boundary={boundary}")
    }

    /// What comes before the bytes of the next part: boundary and head. `fields` are names and
    /// values; what would end a line within them is left out.
    pub fn part(&mut self, fields: &[(&str, &str)]) -> Bytes {
        let mut out = String::with_capacity(256);
        if self.is_begun {
            out.push_str("\r\n");
        }
        self.is_begun = true;
        out.push_str("--");
        out.push_str(&self.boundary);
        out.push_str("\r\n");
        for (name, value) in fields {
            out.push_str(name);
            out.push_str(": ");
            out.extend(value.chars().filter(|c| !c.is_control()));
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        out.into()
    }

    /// What comes behind the last part.
    #[must_use]
    pub fn end(self) -> Bytes {
        let line = if self.is_begun { "\r\n" } else { "" };
        format!("{line}--{}--\r\n", self.boundary).into()
    }
}

#[cfg(test)]
mod tests;
