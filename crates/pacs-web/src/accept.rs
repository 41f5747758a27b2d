//! Which of the possible representations a client gets (PS3.18 8.7.5 to 8.7.8, RFC 9110 12.5.1).
//!
//! A client says what it takes in the `Accept` header, or in the query parameter `accept`, which
//! counts alone where it is given: it is for links, whose header is the browser's own. What the
//! server can give is a list of [`Offer`]s, its favourite first.

use crate::limits::{ACCEPT_BYTES_MAX, ACCEPT_RANGES_MAX};
use crate::media_type::{MediaType, MediaTypeError};

/// Something that a server can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What a part holds, as in `application/dicom`; in lower case.
    pub media_type: &'static str,
    /// Whether it comes as `multipart/related`.
    pub is_multipart: bool,
    /// The transfer syntax of what it holds, where it has one.
    pub transfer_syntax: Option<String>,
    /// Whether it is also for clients that name no transfer syntax: the default of its media type
    /// (PS3.18 8.7.3).
    pub is_default: bool,
}

impl Offer {
    /// A single part that has no transfer syntax.
    #[must_use]
    pub const fn single(media_type: &'static str) -> Self {
        Self {
            media_type,
            is_multipart: false,
            transfer_syntax: None,
            is_default: true,
        }
    }

    /// `multipart/related` of parts that have no transfer syntax.
    #[must_use]
    pub const fn multipart(media_type: &'static str) -> Self {
        Self {
            media_type,
            is_multipart: true,
            transfer_syntax: None,
            is_default: true,
        }
    }

    /// The same, in `transfer_syntax`; whether that is the default of the media type.
    #[must_use]
    pub fn in_syntax(mut self, transfer_syntax: impl Into<String>, is_default: bool) -> Self {
        self.transfer_syntax = Some(transfer_syntax.into());
        self.is_default = is_default;
        self
    }
}

impl std::fmt::Display for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_multipart {
            write!(f, "multipart/related; type=\"{}\"", self.media_type)?;
        } else {
            f.write_str(self.media_type)?;
        }
        match &self.transfer_syntax {
            Some(syntax) => write!(f, "; transfer-syntax={syntax}"),
            None => Ok(()),
        }
    }
}

/// What a client takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept(Vec<Range>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    media: MediaType,
    /// In thousandths.
    quality: u16,
}

/// Why it cannot be told what a client takes (400).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// One of the ranges is no media range.
    #[error("Accept: {0}")]
    Range(#[from] MediaTypeError),
    /// A weight is not a number from 0 to 1 with up to three decimals.
    #[error("Accept: a weight is not between 0 and 1")]
    Quality,
    /// Longer than [`ACCEPT_BYTES_MAX`], or more than [`ACCEPT_RANGES_MAX`] ranges.
    #[error("Accept: too much")]
    TooLong,
}

impl Accept {
    /// Reads the lines of the `Accept` header, or else the decoded values of the query parameter,
    /// if there is any. Who says nothing takes everything.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn parse<'a>(
        header: impl IntoIterator<Item = &'a str>,
        query: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, AcceptError> {
        let mut ranges = Vec::new();
        for value in query {
            // In a query a plus sign stands for a space, and many forget that.
            let value = value.trim_matches(' ').replace("dicom xml", "dicom+xml");
            read_list(&value.replace("dicom json", "dicom+json"), &mut ranges)?;
        }
        if ranges.is_empty() {
            for line in header {
                read_list(line, &mut ranges)?;
            }
        }
        Ok(Self(ranges))
    }

    /// The offer that the client likes best; among equals the earliest. `None`: it takes none of
    /// them (406).
    #[must_use]
    pub fn choose<'o>(&self, offers: &'o [Offer]) -> Option<&'o Offer> {
        let mut best: Option<(u16, &Offer)> = None;
        for offer in offers {
            let quality = self.quality(offer);
            if quality > 0 && best.is_none_or(|(known, _)| quality > known) {
                best = Some((quality, offer));
            }
        }
        best.map(|(_, offer)| offer)
    }

    /// How much the client likes `offer`, in thousandths: as the most precise range that fits says.
    fn quality(&self, offer: &Offer) -> u16 {
        if self.0.is_empty() {
            return if offer.is_default { 1000 } else { 0 };
        }
        let fitting = self.0.iter().filter_map(|range| {
            let precision = precision(&range.media, offer)?;
            Some((precision, range.quality))
        });
        fitting.max().map_or(0, |(_, quality)| quality)
    }
}

/// What can be had, for whoever asked for something else.
#[must_use]
pub fn describe(offers: &[Offer]) -> String {
    let shown: Vec<String> = offers.iter().map(Offer::to_string).collect();
    shown.join(", ")
}

/// How precisely `range` names `offer`; `None` where it does not.
fn precision(range: &MediaType, offer: &Offer) -> Option<u8> {
    let syntax: u8 = match (range.parameter("transfer-syntax"), &offer.transfer_syntax) {
        (Some("*"), _) => 1,
        (Some(wanted), Some(offered)) => (wanted == offered).then_some(2)?,
        (Some(_), None) => return None,
        (None, _) => offer.is_default.then_some(0)?,
    };
    let (kind, subtype) = if offer.is_multipart {
        ("multipart", "related")
    } else {
        offer.media_type.split_once('/')?
    };
    let named = match (range.kind(), range.subtype()) {
        ("*", "*") => 0,
        (wanted, "*") => (wanted == kind).then_some(10)?,
        (wanted, exactly) => (wanted == kind && exactly == subtype).then_some(20)?,
    };
    let part = match range.parameter("type") {
        Some(wanted) if offer.is_multipart => part_precision(wanted, offer.media_type)?,
        // Of a single part it says nothing that is known.
        Some(_) | None => 0,
    };
    Some(syntax.saturating_add(part).saturating_add(named))
}

/// How precisely the parameter `type` of a multipart range names what its parts are.
fn part_precision(wanted: &str, offered: &str) -> Option<u8> {
    let wanted = wanted.to_ascii_lowercase();
    if wanted == offered {
        return Some(8);
    }
    if wanted == "*/*" {
        return Some(3);
    }
    let kind = wanted.strip_suffix("/*")?;
    (offered.split_once('/')?.0 == kind).then_some(5)
}

fn read_list(text: &str, ranges: &mut Vec<Range>) -> Result<(), AcceptError> {
    if text.len() > ACCEPT_BYTES_MAX {
        return Err(AcceptError::TooLong);
    }
    let separates = [' ', '\t', ','];
    let mut rest = text.trim_start_matches(separates);
    while !rest.is_empty() {
        if ranges.len() >= ACCEPT_RANGES_MAX {
            return Err(AcceptError::TooLong);
        }
        let (media, after) = MediaType::parse_start(rest, true)?;
        if !after.is_empty() && !after.starts_with(',') {
            return Err(MediaTypeError::Syntax.into());
        }
        let quality = media.parameter("q").map_or(Ok(1000), quality)?;
        ranges.push(Range { media, quality });
        rest = after.trim_start_matches(separates);
    }
    Ok(())
}

/// A weight in thousandths (RFC 9110 12.4.2); some write more decimals.
fn quality(text: &str) -> Result<u16, AcceptError> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(decimals) || !["0", "1", ""].contains(&whole) || text.is_empty() {
        return Err(AcceptError::Quality);
    }
    let mut thousandths: u16 = if whole == "1" { 1000 } else { 0 };
    let mut weight: u16 = 100;
    for digit in decimals.bytes().take(3) {
        let digit = u16::from(digit.saturating_sub(b'0'));
        thousandths = thousandths.saturating_add(digit.saturating_mul(weight));
        weight /= 10;
    }
    if thousandths > 1000 {
        return Err(AcceptError::Quality);
    }
    Ok(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &str = "1.2.840.10008.1.2.4.50";
    const EXPLICIT: &str = "1.2.840.10008.1.2.1";

    fn offers() -> Vec<Offer> {
        vec![
            Offer::multipart("application/dicom").in_syntax(EXPLICIT, true),
            Offer::multipart("application/dicom").in_syntax(JPEG, false),
            Offer::single("application/dicom+json"),
            Offer::multipart("application/dicom+xml"),
            Offer::single("image/jpeg").in_syntax(JPEG, true),
        ]
    }

    fn chosen(header: &str) -> Option<usize> {
        let offers = offers();
        let accept = Accept::parse([header], []).unwrap();
        let offer = accept.choose(&offers)?;
        offers.iter().position(|known| known == offer)
    }

    #[test]
    fn each_kind_of_range_picks_what_it_names() {
        let dicom = r#"multipart/related; type="application/dicom""#;
        for (header, index) in [
            ("", Some(0)),
            ("*/*", Some(0)),
            ("multipart/related", Some(0)),
            ("multipart/*;type=*/*", Some(0)),
            (dicom, Some(0)),
            (&format!("{dicom}; transfer-syntax={JPEG}"), Some(1)),
            (&format!("{dicom}; transfer-syntax=*"), Some(0)),
            (&format!("{dicom}; transfer-syntax=1.2.3"), None),
            ("application/dicom+json", Some(2)),
            ("Application/DICOM+JSON", Some(2)),
            ("multipart/related; type=application/dicom+xml", Some(3)),
            ("image/*", Some(4)),
            ("image/png, image/jpeg;q=0.1", Some(4)),
            ("image/png", None),
            ("application/dicom", None),
            ("application/json", None),
        ] {
            assert_eq!(chosen(header), index, "{header}");
        }
    }

    #[test]
    fn weights_decide_and_the_most_precise_range_has_the_say() {
        for (header, index) in [
            ("application/dicom+json;q=0.5, image/jpeg;q=0.8", Some(4)),
            ("*/*;q=0.1, application/dicom+json", Some(2)),
            (
                "*/*, multipart/related;q=0, application/dicom+json;q=0.5",
                Some(4),
            ),
            ("application/dicom+json;q=0", None),
            ("image/jpeg;q=1.000, application/dicom+json;q=1", Some(2)),
        ] {
            assert_eq!(chosen(header), index, "{header}");
        }
    }

    #[test]
    fn the_query_parameter_counts_alone() {
        let offers = offers();
        for query in ["application/dicom+json", "application/dicom json"] {
            let accept = Accept::parse(["text/html,*/*;q=0.8"], [query]).unwrap();
            assert_eq!(accept.choose(&offers), offers.get(2), "{query}");
        }
    }

    #[test]
    fn what_is_no_list_of_ranges_is_refused() {
        for header in [
            "a",
            "a/b c/d",
            "a/b;q=2",
            "a/b;q=",
            "a/b;q=1.1",
            "a/b;q=-1",
            "a/b;q=x",
        ] {
            assert!(Accept::parse([header], []).is_err(), "{header}");
        }
        let many = "a/b,".repeat(ACCEPT_RANGES_MAX + 1);
        assert_eq!(
            Accept::parse([many.as_str()], []),
            Err(AcceptError::TooLong)
        );
        let long = format!("a/b;c={}", "d".repeat(ACCEPT_BYTES_MAX));
        assert_eq!(
            Accept::parse([long.as_str()], []),
            Err(AcceptError::TooLong)
        );
    }

    #[test]
    fn what_is_possible_is_told_as_it_can_be_asked_for() {
        let offers = offers();
        let told = describe(&offers);
        let accept = Accept::parse([told.as_str()], []).unwrap();

        assert!(told.starts_with(
            "multipart/related; type=\"application/dicom\"; transfer-syntax=1.2.840.10008.1.2.1, "
        ));
        assert_eq!(accept.choose(&offers), offers.first());
    }
}
