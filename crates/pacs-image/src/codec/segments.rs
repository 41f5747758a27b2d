//! Marker segments of a code stream of the JPEG family (ITU-T T.81 B.1).

/// Markers that stand alone.
const fn is_alone(marker: u8) -> bool {
    matches!(marker, 0x01 | 0xD0..=0xD9)
}

/// Goes from marker to marker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A marker and what belongs to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    /// Its second byte.
    pub(super) marker: u8,
    /// Its parameters, without the length.
    pub(super) payload: &'a [u8],
}

impl<'a> Segments<'a> {
    /// After the start marker `FFD8`; `None` where that is not there.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes
            .starts_with(&[0xFF, 0xD8])
            .then_some(Self { bytes, at: 2 })
    }

    /// The next segment; `None` where there is none, or it is cut.
    pub(super) fn next(&mut self) -> Option<Segment<'a>> {
        loop {
            if *self.bytes.get(self.at)? != 0xFF {
                return None;
            }
            let marker = *self.bytes.get(self.at.checked_add(1)?)?;
            if marker == 0xFF {
                // Fill bytes may stand before any marker.
                self.at = self.at.checked_add(1)?;
                continue;
            }
            self.at = self.at.checked_add(2)?;
            if is_alone(marker) {
                return Some(Segment {
                    marker,
                    payload: &[],
                });
            }
            let rest = self.bytes.get(self.at..)?;
            let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
            let payload = rest.get(2..length)?;
            self.at = self.at.checked_add(length)?;
            return Some(Segment { marker, payload });
        }
    }

    /// What stands behind the segment that was read last.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Goes on `count` bytes further.
    pub(super) fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }
}
