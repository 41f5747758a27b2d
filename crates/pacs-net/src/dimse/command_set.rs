//! Command sets (PS3.7 6.3, Annex E): group 0000, always Implicit VR Little Endian.
//!
//! Elements that PS3.7 does not define are skipped. Every length is held against the bytes that are
//! there.

use crate::error::Fault;
use pacs_core::Tag;

/// Command Data Set Type (0000,0800) of a message without a data set.
pub const NO_DATA_SET: u16 = 0x0101;

/// Length of a UID (PS3.5 9.1).
const UID_BYTES_MAX: usize = 64;

/// What we write where there is a data set: anything but [`NO_DATA_SET`].
const DATA_SET: u16 = 0x0001;

/// A command set. Texts are without padding and may be no valid UIDs or titles. `Debug` shows none
/// of them: an error comment may name a patient.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CommandSet {
    /// (0000,0002)
    pub affected_sop_class: Option<String>,
    /// (0000,0003)
    pub requested_sop_class: Option<String>,
    /// (0000,0100)
    pub command_field: u16,
    /// (0000,0110)
    pub message_id: Option<u16>,
    /// (0000,0120)
    pub message_id_responded: Option<u16>,
    /// (0000,0600)
    pub move_destination: Option<String>,
    /// (0000,0700)
    pub priority: Option<u16>,
    /// (0000,0800), as whether a data set follows.
    pub has_data_set: bool,
    /// (0000,0900)
    pub status: Option<u16>,
    /// (0000,0901)
    pub offending_elements: Vec<Tag>,
    /// (0000,0902)
    pub error_comment: Option<String>,
    /// (0000,0903)
    pub error_id: Option<u16>,
    /// (0000,1000)
    pub affected_sop_instance: Option<String>,
    /// (0000,1001)
    pub requested_sop_instance: Option<String>,
    /// (0000,1002)
    pub event_type: Option<u16>,
    /// (0000,1005)
    pub attribute_identifiers: Vec<Tag>,
    /// (0000,1008)
    pub action_type: Option<u16>,
    /// (0000,1020)
    pub remaining: Option<u16>,
    /// (0000,1021)
    pub completed: Option<u16>,
    /// (0000,1022)
    pub failed: Option<u16>,
    /// (0000,1023)
    pub warning: Option<u16>,
    /// (0000,1030)
    pub move_originator: Option<String>,
    /// (0000,1031)
    pub move_originator_message_id: Option<u16>,
}

const fn malformed(what: &'static str) -> Fault {
    Fault::CommandSet { what }
}

fn number(value: &[u8]) -> Result<u16, Fault> {
    value
        .first_chunk()
        .map(|bytes| u16::from_le_bytes(*bytes))
        .ok_or(malformed("number without a value"))
}

fn text(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let text = text.trim_matches(['\0', ' ']);
    (!text.is_empty()).then(|| text.to_owned())
}

fn tags(value: &[u8]) -> Vec<Tag> {
    let (tags, _) = value.as_chunks::<4>();
    tags.iter()
        .map(|[a, b, c, d]| Tag(u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d])))
        .collect()
}

impl std::fmt::Debug for CommandSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandSet")
            .field("command_field", &self.command_field)
            .field("message_id", &self.message_id)
            .field("message_id_responded", &self.message_id_responded)
            .field("has_data_set", &self.has_data_set)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl CommandSet {
    /// Reads a command set.
    ///
    /// # Errors
    /// [`Fault::CommandSet`] where it breaks the grammar or has no command field or data set type.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, Fault> {
        let mut set = Self::default();
        let (mut command_field, mut data_set_type) = (None, None);
        while let Some((&[g, h, e, f, a, b, c, d], rest)) = bytes.split_first_chunk::<8>() {
            let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let (value, rest) = rest
                .split_at_checked(length)
                .ok_or(malformed("element is longer than the command set"))?;
            bytes = rest;
            if u16::from_le_bytes([g, h]) != 0 {
                return Err(malformed("element outside group 0000"));
            }
            match u16::from_le_bytes([e, f]) {
                0x0100 => command_field = Some(number(value)?),
                0x0800 => data_set_type = Some(number(value)?),
                element => set.read(element, value)?,
            }
        }
        if !bytes.is_empty() {
            return Err(malformed("element is cut"));
        }
        set.command_field = command_field.ok_or(malformed("no command field"))?;
        set.has_data_set =
            data_set_type.ok_or(malformed("no command data set type"))? != NO_DATA_SET;
        Ok(set)
    }

    fn read(&mut self, element: u16, value: &[u8]) -> Result<(), Fault> {
        match element {
            0x0002 => self.affected_sop_class = text(value),
            0x0003 => self.requested_sop_class = text(value),
            0x0110 => self.message_id = Some(number(value)?),
            0x0120 => self.message_id_responded = Some(number(value)?),
            0x0600 => self.move_destination = text(value),
            0x0700 => self.priority = Some(number(value)?),
            0x0900 => self.status = Some(number(value)?),
            0x0901 => self.offending_elements = tags(value),
            0x0902 => self.error_comment = text(value),
            // A detail of a status, which some peers send empty.
            0x0903 => self.error_id = number(value).ok(),
            0x1000 => self.affected_sop_instance = text(value),
            0x1001 => self.requested_sop_instance = text(value),
            0x1002 => self.event_type = Some(number(value)?),
            0x1005 => self.attribute_identifiers = tags(value),
            0x1008 => self.action_type = Some(number(value)?),
            // Counters are optional, and some peers send them empty.
            0x1020 => self.remaining = number(value).ok(),
            0x1021 => self.completed = number(value).ok(),
            0x1022 => self.failed = number(value).ok(),
            0x1023 => self.warning = number(value).ok(),
            0x1030 => self.move_originator = text(value),
            0x1031 => self.move_originator_message_id = number(value).ok(),
            _ => {}
        }
        Ok(())
    }

    /// Whether it answers a request.
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.command_field & super::command_field::RESPONSE != 0
    }

    /// The beginning of a response to this request: command, message id, SOP class and instance,
    /// where they can be such.
    #[must_use]
    pub fn response(&self, status: u16) -> Self {
        let echoed = |affected: &Option<String>, requested: &Option<String>| {
            let named = affected.as_ref().or(requested.as_ref());
            named.filter(|uid| uid.len() <= UID_BYTES_MAX).cloned()
        };
        Self {
            command_field: self.command_field | super::command_field::RESPONSE,
            message_id_responded: self.message_id,
            affected_sop_class: echoed(&self.affected_sop_class, &self.requested_sop_class),
            affected_sop_instance: echoed(
                &self.affected_sop_instance,
                &self.requested_sop_instance,
            ),
            status: Some(status),
            ..Self::default()
        }
    }

    /// Writes the command set, with its group length.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let data_set_type = if self.has_data_set {
            DATA_SET
        } else {
            NO_DATA_SET
        };
        let mut out = Vec::with_capacity(256);
        put(&mut out, 0x0000, &[0; 4]);
        put_text(&mut out, 0x0002, self.affected_sop_class.as_deref(), 0);
        put_text(&mut out, 0x0003, self.requested_sop_class.as_deref(), 0);
        put_number(&mut out, 0x0100, Some(self.command_field));
        put_number(&mut out, 0x0110, self.message_id);
        put_number(&mut out, 0x0120, self.message_id_responded);
        put_text(&mut out, 0x0600, self.move_destination.as_deref(), b' ');
        put_number(&mut out, 0x0700, self.priority);
        put_number(&mut out, 0x0800, Some(data_set_type));
        put_number(&mut out, 0x0900, self.status);
        put_tags(&mut out, 0x0901, &self.offending_elements);
        put_text(&mut out, 0x0902, self.error_comment.as_deref(), b' ');
        put_number(&mut out, 0x0903, self.error_id);
        put_text(&mut out, 0x1000, self.affected_sop_instance.as_deref(), 0);
        put_text(&mut out, 0x1001, self.requested_sop_instance.as_deref(), 0);
        put_number(&mut out, 0x1002, self.event_type);
        put_tags(&mut out, 0x1005, &self.attribute_identifiers);
        put_number(&mut out, 0x1008, self.action_type);
        put_number(&mut out, 0x1020, self.remaining);
        put_number(&mut out, 0x1021, self.completed);
        put_number(&mut out, 0x1022, self.failed);
        put_number(&mut out, 0x1023, self.warning);
        put_text(&mut out, 0x1030, self.move_originator.as_deref(), b' ');
        put_number(&mut out, 0x1031, self.move_originator_message_id);
        let length = u32::try_from(out.len().saturating_sub(12)).unwrap_or(u32::MAX);
        if let Some(field) = out.get_mut(8..12) {
            field.copy_from_slice(&length.to_le_bytes());
        }
        out
    }
}

fn put(out: &mut Vec<u8>, element: u16, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(value);
}

fn put_number(out: &mut Vec<u8>, element: u16, number: Option<u16>) {
    if let Some(number) = number {
        put(out, element, &number.to_le_bytes());
    }
}

fn put_tags(out: &mut Vec<u8>, element: u16, tags: &[Tag]) {
    if tags.is_empty() {
        return;
    }
    let halves = tags
        .iter()
        .flat_map(|tag| [tag.group().to_le_bytes(), tag.element().to_le_bytes()]);
    put(out, element, &halves.flatten().collect::<Vec<u8>>());
}

fn put_text(out: &mut Vec<u8>, element: u16, text: Option<&str>, padding: u8) {
    let Some(text) = text else { return };
    let odd = text.len() % 2;
    let length = u32::try_from(text.len().saturating_add(odd)).unwrap_or(u32::MAX);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&element.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    if odd == 1 {
        out.push(padding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> CommandSet {
        CommandSet {
            affected_sop_class: Some("1.2.840.10008.1.1".into()),
            requested_sop_class: Some("1.2".into()),
            command_field: 0x8021,
            message_id: Some(1),
            message_id_responded: Some(2),
            move_destination: Some("DEST".into()),
            priority: Some(0),
            has_data_set: true,
            status: Some(0xff00),
            offending_elements: vec![Tag(0x0010, 0x0020), Tag(0x0008, 0x0018)],
            error_comment: Some("odd".into()),
            error_id: Some(0xa710),
            affected_sop_instance: Some("1.2.3".into()),
            requested_sop_instance: Some("1.2.3.4".into()),
            event_type: Some(9),
            attribute_identifiers: vec![Tag(0x0040, 0x0252)],
            action_type: Some(10),
            remaining: Some(4),
            completed: Some(5),
            failed: Some(6),
            warning: Some(7),
            move_originator: Some("ORIGIN".into()),
            move_originator_message_id: Some(8),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = full().to_bytes();

        assert_eq!(CommandSet::parse(&bytes).unwrap(), full());
        assert_eq!(bytes.len() % 2, 0);
        assert_eq!(
            bytes[8..12],
            u32::try_from(bytes.len() - 12).unwrap().to_le_bytes()
        );
    }

    #[test]
    fn elements_come_in_the_order_of_their_tags() {
        let bytes = full().to_bytes();
        let mut rest = &bytes[..];
        let mut elements = Vec::new();
        while let Some((head, after)) = rest.split_first_chunk::<8>() {
            elements.push(u16::from_le_bytes([head[2], head[3]]));
            rest = &after[usize::from(u16::from_le_bytes([head[4], head[5]]))..];
        }

        assert!(elements.is_sorted());
        assert_eq!(elements.len(), 24);
    }

    #[test]
    fn an_element_that_claims_four_gigabytes_is_refused() {
        let mut bytes = full().to_bytes();
        bytes.extend([0, 0, 2, 9, 0xfe, 0xff, 0xff, 0xff]);

        assert_eq!(
            CommandSet::parse(&bytes),
            Err(malformed("element is longer than the command set"))
        );
    }

    #[test]
    fn what_every_command_needs_must_be_there() {
        assert_eq!(CommandSet::parse(&[]), Err(malformed("no command field")));
        let mut bytes = Vec::new();
        put_number(&mut bytes, 0x0100, Some(0x30));
        assert_eq!(
            CommandSet::parse(&bytes),
            Err(malformed("no command data set type"))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(set) = CommandSet::parse(&bytes) {
                let again = CommandSet::parse(&set.to_bytes());
                prop_assert!(again.is_ok());
            }
        }
    }
}
