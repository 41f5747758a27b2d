//! Command sets (PS3.7 6.3): group 0000 in Implicit VR Little Endian, in either direction.

use std::collections::BTreeMap;

/// A command set: element number to value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    elements: BTreeMap<u16, Vec<u8>>,
}

/// Command Field values (PS3.7 E.1). A response has bit 8000H set.
pub mod field {
    /// C-STORE-RQ.
    pub const STORE: u16 = 0x0001;
    /// C-GET-RQ.
    pub const GET: u16 = 0x0010;
    /// C-FIND-RQ.
    pub const FIND: u16 = 0x0020;
    /// C-MOVE-RQ.
    pub const MOVE: u16 = 0x0021;
    /// C-ECHO-RQ.
    pub const ECHO: u16 = 0x0030;
    /// N-EVENT-REPORT-RQ.
    pub const EVENT_REPORT: u16 = 0x0100;
    /// N-SET-RQ.
    pub const SET: u16 = 0x0120;
    /// N-ACTION-RQ.
    pub const ACTION: u16 = 0x0130;
    /// N-CREATE-RQ.
    pub const CREATE: u16 = 0x0140;
    /// C-CANCEL-RQ.
    pub const CANCEL: u16 = 0x0FFF;
}

/// Element numbers of group 0000 (PS3.7 E.1).
pub mod element {
    /// Affected SOP Class UID.
    pub const AFFECTED_CLASS: u16 = 0x0002;
    /// Requested SOP Class UID.
    pub const REQUESTED_CLASS: u16 = 0x0003;
    /// Command Field.
    pub const COMMAND_FIELD: u16 = 0x0100;
    /// Message ID.
    pub const MESSAGE_ID: u16 = 0x0110;
    /// Message ID Being Responded To.
    pub const RESPONDED_TO: u16 = 0x0120;
    /// Move Destination.
    pub const MOVE_DESTINATION: u16 = 0x0600;
    /// Priority.
    pub const PRIORITY: u16 = 0x0700;
    /// Command Data Set Type; 0101H means none.
    pub const DATA_SET_TYPE: u16 = 0x0800;
    /// Status.
    pub const STATUS: u16 = 0x0900;
    /// Error Comment.
    pub const ERROR_COMMENT: u16 = 0x0902;
    /// Affected SOP Instance UID.
    pub const AFFECTED_INSTANCE: u16 = 0x1000;
    /// Requested SOP Instance UID.
    pub const REQUESTED_INSTANCE: u16 = 0x1001;
    /// Event Type ID.
    pub const EVENT_TYPE: u16 = 0x1002;
    /// Action Type ID.
    pub const ACTION_TYPE: u16 = 0x1008;
    /// Number of Remaining Sub-operations.
    pub const REMAINING: u16 = 0x1020;
    /// Number of Completed Sub-operations.
    pub const COMPLETED: u16 = 0x1021;
    /// Number of Failed Sub-operations.
    pub const FAILED: u16 = 0x1022;
    /// Number of Warning Sub-operations.
    pub const WARNING: u16 = 0x1023;
}

impl Command {
    /// A request of `command` about `class`, with or without a data set to follow.
    #[must_use]
    pub fn request(command: u16, class: &str, message: u16, with_data: bool) -> Self {
        Self::default()
            .text(element::AFFECTED_CLASS, class, '\0')
            .number(element::COMMAND_FIELD, command)
            .number(element::MESSAGE_ID, message)
            .number(element::PRIORITY, 0)
            .number(element::DATA_SET_TYPE, if with_data { 1 } else { 0x0101 })
    }

    /// The response to `request` with `status` and no data set.
    #[must_use]
    pub fn response(request: &Self, status: u16) -> Self {
        let mut response = Self::default()
            .number(
                element::COMMAND_FIELD,
                request.get(element::COMMAND_FIELD) | 0x8000,
            )
            .number(element::RESPONDED_TO, request.get(element::MESSAGE_ID))
            .number(element::DATA_SET_TYPE, 0x0101)
            .number(element::STATUS, status);
        for copied in [element::AFFECTED_CLASS, element::AFFECTED_INSTANCE] {
            if let Some(value) = request.elements.get(&copied) {
                response.elements.insert(copied, value.clone());
            }
        }
        response
    }

    /// Sets a US element.
    #[must_use]
    pub fn number(self, number: u16, value: u16) -> Self {
        self.bytes(number, value.to_le_bytes().to_vec())
    }

    /// Sets a text element, padded to even length with `padding`.
    #[must_use]
    pub fn text(self, number: u16, value: &(impl AsRef<[u8]> + ?Sized), padding: char) -> Self {
        let mut bytes = value.as_ref().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(padding as u8);
        }
        self.bytes(number, bytes)
    }

    /// Sets an element to any bytes at all.
    #[must_use]
    pub fn bytes(mut self, number: u16, value: Vec<u8>) -> Self {
        self.elements.insert(number, value);
        self
    }

    /// The value of a US element; 0 when it is absent.
    #[must_use]
    pub fn get(&self, number: u16) -> u16 {
        match self.elements.get(&number).map(Vec::as_slice) {
            Some([low, high, ..]) => u16::from_le_bytes([*low, *high]),
            _ => 0,
        }
    }

    /// The value of a text element without its padding; empty when it is absent.
    #[must_use]
    pub fn get_text(&self, number: u16) -> String {
        self.elements
            .get(&number)
            .map_or_else(String::new, |value| {
                String::from_utf8_lossy(value)
                    .trim_end_matches(['\0', ' '])
                    .to_owned()
            })
    }

    /// Whether a data set follows.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.get(element::DATA_SET_TYPE) != 0x0101
    }

    /// The command set as it travels, group length included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (number, value) in self.elements.iter().filter(|(number, _)| **number != 0) {
            push(&mut body, *number, value);
        }
        let length = u32::try_from(body.len()).expect("a command set is short");
        let mut whole = Vec::with_capacity(body.len() + 12);
        push(&mut whole, 0, &length.to_le_bytes());
        whole.extend_from_slice(&body);
        whole
    }

    /// Reads a command set; `None` when it is not one.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut command = Self::default();
        while !bytes.is_empty() {
            let head = bytes.get(..8)?;
            if head[..2] != [0, 0] {
                return None;
            }
            let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
            let value = bytes.get(8..8usize.checked_add(length)?)?;
            command
                .elements
                .insert(u16::from_le_bytes([head[2], head[3]]), value.to_vec());
            bytes = &bytes[8 + length..];
        }
        Some(command)
    }
}

fn push(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&u32::try_from(value.len()).expect("short").to_le_bytes());
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_set_survives_its_own_encoding() {
        let request = Command::request(field::ECHO, "1.2.840.10008.1.1", 7, false);

        let read = Command::decode(&request.encode()).expect("a command set");

        assert_eq!(read.get(element::MESSAGE_ID), 7);
        assert_eq!(read.get_text(element::AFFECTED_CLASS), "1.2.840.10008.1.1");
        assert!(!read.has_data());
    }
}
