//! Audit messages as syslog carries them to a repository elsewhere: RFC 5424, framed for a stream
//! as RFC 5425 4.3 has it (PS3.15 A.6; IHE ITI-20).
//!
//! Each message says the number of its record in `meta sequenceId`, and to those who have a private
//! enterprise number also its digest: whoever keeps the messages sees gaps and what came twice.

use super::message::message_of;
use super::{AuditEvent, Outcome, StateDigest};
use chrono::SecondsFormat;
use std::borrow::Cow;
use std::fmt;

/// What messages of PS3.15 A.5 are called (PS3.15 A.6).
pub const MESSAGE_ID: &str = "DICOM+RFC3881";

/// The facility of security and authorization messages (RFC 5424 6.2.1), which PS3.15 A.6 wants.
pub const FACILITY: u8 = 10;

/// The largest facility (RFC 5424 6.2.1).
const FACILITY_LAST: u8 = 23;

/// `sequenceId` begins anew after it (RFC 5424 7.3.1).
const SEQUENCE_LAST: u64 = 2_147_483_647;

/// A byte order mark says that what follows is UTF-8 (RFC 5424 6.4).
const BOM: &str = "\u{feff}";

/// A text that cannot stand in the head of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {chars_max} printable ASCII characters without spaces")]
pub struct SyslogNameError {
    /// How long it may be.
    pub chars_max: usize,
}

/// A name in the head of a message (RFC 5424 6): printable ASCII without spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogName(String);

impl SyslogName {
    /// What stands where nothing is known (RFC 5424 6, `NILVALUE`).
    #[must_use]
    pub fn unknown() -> Self {
        Self("-".to_owned())
    }

    /// `HOSTNAME` (RFC 5424 6.2.4).
    ///
    /// # Errors
    /// [`SyslogNameError`]
    pub fn host(text: &str) -> Result<Self, SyslogNameError> {
        Self::parse(text, 255)
    }

    /// `APP-NAME` (RFC 5424 6.2.5).
    ///
    /// # Errors
    /// [`SyslogNameError`]
    pub fn app(text: &str) -> Result<Self, SyslogNameError> {
        Self::parse(text, 48)
    }

    /// `MSGID` (RFC 5424 6.2.7).
    ///
    /// # Errors
    /// [`SyslogNameError`]
    pub fn message_id(text: &str) -> Result<Self, SyslogNameError> {
        Self::parse(text, 32)
    }

    fn parse(text: &str, chars_max: usize) -> Result<Self, SyslogNameError> {
        let is_printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_printable && (1..=chars_max).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SyslogNameError { chars_max })
        }
    }
}

impl fmt::Display for SyslogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A facility that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a facility is a number from 0 to 23")]
pub struct FacilityError;

/// A facility (RFC 5424 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// The one of this number.
    ///
    /// # Errors
    /// [`FacilityError`]
    pub const fn new(number: u8) -> Result<Self, FacilityError> {
        if number <= FACILITY_LAST {
            Ok(Self(number))
        } else {
            Err(FacilityError)
        }
    }
}

impl Default for Facility {
    fn default() -> Self {
        Self(FACILITY)
    }
}

/// Who sends messages, as each of them says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogSender {
    /// What kind of messages they are.
    pub facility: Facility,
    /// The machine.
    pub host_name: SyslogName,
    /// The program.
    pub app_name: SyslogName,
    /// Its process.
    pub process_id: u32,
    /// What messages of this kind are called; by default [`MESSAGE_ID`].
    pub message_id: SyslogName,
    /// The private enterprise number of whoever runs the archive (RFC 5424 7.2.2): only under one
    /// can number and digest of a record stand in a message.
    pub enterprise_number: Option<u32>,
    /// The archive in its enterprise (`AuditSourceID`).
    pub source: String,
    /// The enterprise, or the part of it (`AuditEnterpriseSiteID`).
    pub enterprise_site: Option<String>,
    /// Bytes of a message; one that is longer lists fewer instances, then fewer studies, and says
    /// how many there are.
    pub message_bytes_max: usize,
}

impl SyslogSender {
    /// The message of a record of the trail, framed: its length, a space, and the message.
    #[must_use]
    pub fn framed(&self, number: u64, digest: StateDigest, event: &AuditEvent) -> Vec<u8> {
        let message = self.message(number, digest, event);
        let mut frame = format!("{} ", message.len()).into_bytes();
        frame.extend_from_slice(message.as_bytes());
        frame
    }

    /// The message of a record of the trail.
    #[must_use]
    pub fn message(&self, number: u64, digest: StateDigest, event: &AuditEvent) -> String {
        let head = self.head(number, digest, event);
        let mut event = Cow::Borrowed(event);
        loop {
            let xml = message_of(&event, &self.source, self.enterprise_site.as_deref());
            let bytes = head.len().saturating_add(xml.len());
            let shorter = (bytes > self.message_bytes_max)
                .then(|| shortened(&event))
                .flatten();
            match shorter {
                Some(shorter) => event = Cow::Owned(shorter),
                // What has no lists is sent as it is, however long.
                None => return head + &xml,
            }
        }
    }

    /// Up to where the message of PS3.15 A.5 begins.
    fn head(&self, number: u64, digest: StateDigest, event: &AuditEvent) -> String {
        // Notice, or where it was no success, warning (PS3.15 A.6).
        let severity: u16 = if event.outcome == Outcome::Success {
            5
        } else {
            4
        };
        let priority = u16::from(self.facility.0)
            .saturating_mul(8)
            .saturating_add(severity);
        let Self {
            host_name,
            app_name,
            process_id,
            message_id,
            ..
        } = self;
        let at = event.at.to_rfc3339_opts(SecondsFormat::Millis, false);
        // From 1 on, as the numbers of records are.
        let sequence = number
            .saturating_sub(1)
            .checked_rem(SEQUENCE_LAST)
            .unwrap_or_default()
            .saturating_add(1);
        let record = self
            .enterprise_number
            .map(|of| format!("[record@{of} number=\"{number}\" digest=\"{digest}\"]"))
            .unwrap_or_default();
        format!(
            "<{priority}>1 {at} {host_name} {app_name} {process_id} {message_id} \
             [meta sequenceId=\"{sequence}\"]{record} {BOM}"
        )
    }
}

/// The same event with shorter lists; `None` where it has none. How many instances and studies
/// there are stays told.
fn shortened(event: &AuditEvent) -> Option<AuditEvent> {
    let studies = &event.object.studies;
    let mut shorter = event.clone();
    if studies.iter().any(|study| !study.instances.is_empty()) {
        for study in &mut shorter.object.studies {
            study.instances.clear();
        }
        return Some(shorter);
    }
    let kept = studies.len().checked_div(2).filter(|kept| *kept > 0)?;
    let left_out = studies.len().saturating_sub(kept);
    shorter.object.studies.truncate(kept);
    let left_out = u64::try_from(left_out).unwrap_or(u64::MAX);
    shorter.object.studies_left_out = shorter.object.studies_left_out.saturating_add(left_out);
    Some(shorter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Act, Actor, ActorKind, StudyTouched};
    use crate::{SopInstanceUid, StudyUid};

    fn sender() -> SyslogSender {
        SyslogSender {
            facility: Facility::default(),
            host_name: SyslogName::host("pacs.example").unwrap(),
            app_name: SyslogName::app("pacs-server").unwrap(),
            process_id: 4711,
            message_id: SyslogName::message_id(MESSAGE_ID).unwrap(),
            enterprise_number: None,
            source: "PACS".to_owned(),
            enterprise_site: Some("KG".to_owned()),
            message_bytes_max: 32_768,
        }
    }

    fn event() -> AuditEvent {
        let at = chrono::DateTime::parse_from_rfc3339("2026-11-26T09:30:00.250+06:00").unwrap();
        AuditEvent::new(Act::SignedIn, at, Actor::new(ActorKind::User, "b.osmonova"))
    }

    #[test]
    fn a_message_has_the_head_of_rfc_5424_and_that_of_no_success_is_a_warning() {
        let digest = StateDigest([0xA5; 32]);

        let text = sender().message(7, digest, &event());

        let head = "<85>1 2026-11-26T09:30:00.250+06:00 pacs.example pacs-server 4711 \
                    DICOM+RFC3881 [meta sequenceId=\"7\"] \u{feff}<?xml";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains("AuditEnterpriseSiteID=\"KG\" AuditSourceID=\"PACS\""));
        let failed = AuditEvent {
            outcome: Outcome::MinorFailure,
            ..event()
        };
        assert!(sender().message(7, digest, &failed).starts_with("<84>1 "));
        let numbered = SyslogSender {
            enterprise_number: Some(32_473),
            facility: Facility::new(4).unwrap(),
            ..sender()
        };
        let text = numbered.message(SEQUENCE_LAST + 2, digest, &event());
        let record = "[meta sequenceId=\"2\"][record@32473 number=\"2147483649\" digest=\"a5a5";
        assert!(
            text.starts_with("<37>1 ") && text.contains(record),
            "{text}"
        );
    }

    #[test]
    fn a_frame_says_how_many_bytes_come() {
        let frame = sender().framed(1, StateDigest([0; 32]), &event());
        let space = frame.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&frame[..space])
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(length, frame.len() - space - 1);
    }

    #[test]
    fn what_is_too_long_lists_less_and_counts_the_same() {
        let mut event = event();
        let study = StudyTouched {
            study: StudyUid::parse("2.25.7").unwrap(),
            sop_class: None,
            instances_count: 40,
            instances: vec![SopInstanceUid::parse("2.25.71").unwrap(); 40],
        };
        event.object.studies = vec![study; 60];

        let all = SyslogSender {
            message_bytes_max: 1 << 20,
            ..sender()
        };
        let all = all.message(1, StateDigest([0; 32]), &event);
        assert_eq!(all.matches("<Instance ").count(), 2_400);
        let bounded = sender().message(1, StateDigest([0; 32]), &event);
        assert!(bounded.len() <= 32_768, "{}", bounded.len());
        assert_eq!(bounded.matches("NumberOfInstances=\"40\"").count(), 60);
        let short = SyslogSender {
            message_bytes_max: 8_192,
            ..sender()
        };
        let short = short.message(1, StateDigest([0; 32]), &event);
        assert!(short.len() <= 8_192);
        let listed = short.matches("NumberOfInstances=\"40\"").count();
        assert_eq!(listed, 15);
        // 45 in base64.
        assert!(
            short.contains("type=\"studies_left_out\" value=\"NDU=\""),
            "{short}"
        );
    }

    #[test]
    fn names_have_no_spaces_and_facilities_end_at_23() {
        for wrong in ["", "a b", "ә", "a\n", &"a".repeat(49)] {
            assert!(SyslogName::app(wrong).is_err(), "{wrong:?}");
        }
        assert!(SyslogName::host(&"a".repeat(255)).is_ok());
        assert!(SyslogName::message_id(&"a".repeat(33)).is_err());
        assert_eq!(Facility::new(24), Err(FacilityError));
    }
}
