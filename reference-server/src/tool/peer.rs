//! What is typed on the command line of the tool, parsed.

use dicom_core::dictionary::DataDictionary;
use dicom_dictionary_std::StandardDataDictionary;
use pacs_core::{AeTitle, Level, Tag};
use std::time::Duration;

/// A peer, as `[AE@]HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The title to call.
    pub title: AeTitle,
    /// Host and port, to be resolved.
    pub address: String,
}

impl Peer {
    /// Reads `[AE@]HOST:PORT`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (title, address) = text.rsplit_once('@').unwrap_or(("ANY-SCP", text));
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {}
            _ => return Err(format!("{address:?} is not HOST:PORT")),
        }
        Ok(Self {
            title: parse_title(title)?,
            address: address.to_owned(),
        })
    }
}

/// Reads an AE title.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_title(text: &str) -> Result<AeTitle, String> {
    AeTitle::parse(text).map_err(|e| e.to_string())
}

/// Reads a number of seconds.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds between 0 and 86400".to_owned()),
    }
}

/// A query/retrieve level, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LevelName {
    /// Patients
    Patient,
    /// Studies
    Study,
    /// Series
    Series,
    /// Instances; IMAGE on the wire
    #[value(alias = "instance")]
    Image,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Patient => Self::Patient,
            LevelName::Study => Self::Study,
            LevelName::Series => Self::Series,
            LevelName::Image => Self::Instance,
        }
    }
}

/// One key of a query, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryKey {
    /// Which attribute.
    pub tag: Tag,
    /// What it must match; empty for a return key.
    pub value: String,
}

impl QueryKey {
    /// Reads `KEYWORD[=VALUE]` or `GGGG,EEEE[=VALUE]`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let tag = StandardDataDictionary
            .parse_tag(name)
            .ok_or_else(|| format!("{name:?} is neither a keyword of PS3.6 nor GGGG,EEEE"))?;
        Ok(Self {
            tag,
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::tag::tags;

    #[test]
    fn a_peer_has_a_title_or_the_customary_one() {
        let peer = Peer::parse("PACS@host.example:104").unwrap();
        assert_eq!(
            (peer.title.as_str(), peer.address.as_str()),
            ("PACS", "host.example:104")
        );
        assert_eq!(Peer::parse("[::1]:104").unwrap().title.as_str(), "ANY-SCP");
        for wrong in [
            "",
            "PACS@",
            "host",
            "host:",
            ":104",
            "host:70000",
            "@host:1",
        ] {
            assert!(Peer::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_a_keyword_or_a_tag() {
        let by_word = QueryKey::parse("PatientID=P=1").unwrap();
        let by_tag = QueryKey::parse("0010,0020=P=1").unwrap();

        assert_eq!(
            by_word,
            QueryKey {
                tag: tags::PATIENT_ID,
                value: "P=1".into()
            }
        );
        assert_eq!(by_word, by_tag);
        assert_eq!(QueryKey::parse("StudyDate").unwrap().value, "");
        assert!(QueryKey::parse("PatientIdd=1").is_err());
    }
}
