//! Puts messages together from presentation data values (PS3.7 6.3.1, PS3.8 Annex E).
//!
//! Commands are gathered up to a limit; data sets are passed on as they come, fragment by fragment.

use super::CommandSet;
use crate::error::Fault;
use crate::pdu::Pdv;
use bytes::Bytes;
use std::collections::VecDeque;

/// What messages are made of. `Debug` shows of data their length alone.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// A command. If it has a data set, `Data` and `DataEnd` follow.
    Command {
        /// Presentation context id of the whole message.
        context_id: u8,
        /// The command.
        command: Box<CommandSet>,
    },
    /// A piece of a data set.
    Data(Bytes),
    /// The data set is complete.
    DataEnd,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command {
                context_id,
                command,
            } => f
                .debug_struct("Command")
                .field("context_id", context_id)
                .field("command", command)
                .finish(),
            Self::Data(data) => f.debug_struct("Data").field("bytes", &data.len()).finish(),
            Self::DataEnd => f.write_str("DataEnd"),
        }
    }
}

/// What is expected next.
#[derive(Debug)]
enum Expected {
    /// A command, or the rest of one.
    Command { begun: Option<(u8, Vec<u8>)> },
    /// A data set, or the rest of one.
    Data { context_id: u8 },
}

/// Puts the messages of one direction of one association together.
#[derive(Debug)]
pub struct Assembler {
    expected: Expected,
    command_set_bytes_max: usize,
}

impl Assembler {
    /// With the limit on a command set.
    #[must_use]
    pub const fn new(command_set_bytes_max: usize) -> Self {
        Self {
            expected: Expected::Command { begun: None },
            command_set_bytes_max,
        }
    }

    /// Whether the rest of a message, or a data set, is to come.
    #[must_use]
    pub const fn is_within_message(&self) -> bool {
        !matches!(self.expected, Expected::Command { begun: None })
    }

    /// Whether a data set is to come, or the rest of one.
    #[must_use]
    pub const fn expects_data(&self) -> bool {
        matches!(self.expected, Expected::Data { .. })
    }

    /// Takes a fragment and appends to `out` what it completes.
    ///
    /// # Errors
    /// [`Fault`] where fragments are mixed, or a command set is too long or malformed.
    pub fn receive(&mut self, pdv: Pdv, out: &mut VecDeque<Event>) -> Result<(), Fault> {
        match &mut self.expected {
            Expected::Data { context_id } => {
                if pdv.context_id != *context_id {
                    return Err(mixed("data set goes on in another presentation context"));
                }
                if pdv.is_command {
                    return Err(mixed("command within a data set"));
                }
                if !pdv.fragment.is_empty() {
                    out.push_back(Event::Data(pdv.fragment));
                }
                if pdv.is_last {
                    out.push_back(Event::DataEnd);
                    self.expected = Expected::Command { begun: None };
                }
                Ok(())
            }
            Expected::Command { begun } => {
                if !pdv.is_command {
                    return Err(mixed("data set without a command"));
                }
                let begun = begun.take();
                self.receive_command(begun, pdv, out)
            }
        }
    }

    fn receive_command(
        &mut self,
        begun: Option<(u8, Vec<u8>)>,
        pdv: Pdv,
        out: &mut VecDeque<Event>,
    ) -> Result<(), Fault> {
        let limit_bytes = self.command_set_bytes_max;
        let mut gathered = match begun {
            Some((context_id, _)) if context_id != pdv.context_id => {
                return Err(mixed("command goes on in another presentation context"));
            }
            Some((_, gathered)) => gathered,
            None => Vec::new(),
        };
        if gathered.len().saturating_add(pdv.fragment.len()) > limit_bytes {
            return Err(Fault::CommandSetTooLong { limit_bytes });
        }
        if !pdv.is_last {
            gathered.extend_from_slice(&pdv.fragment);
            self.expected = Expected::Command {
                begun: Some((pdv.context_id, gathered)),
            };
            return Ok(());
        }
        let command = if gathered.is_empty() {
            CommandSet::parse(&pdv.fragment)?
        } else {
            gathered.extend_from_slice(&pdv.fragment);
            CommandSet::parse(&gathered)?
        };
        self.expected = if command.has_data_set {
            Expected::Data {
                context_id: pdv.context_id,
            }
        } else {
            Expected::Command { begun: None }
        };
        out.push_back(Event::Command {
            context_id: pdv.context_id,
            command: Box::new(command),
        });
        Ok(())
    }
}

const fn mixed(what: &'static str) -> Fault {
    Fault::Fragments { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pdv(context_id: u8, is_command: bool, is_last: bool, fragment: &[u8]) -> Pdv {
        Pdv {
            context_id,
            is_command,
            is_last,
            fragment: Bytes::copy_from_slice(fragment),
        }
    }

    fn store() -> Vec<u8> {
        let set = CommandSet {
            command_field: 1,
            message_id: Some(7),
            has_data_set: true,
            ..CommandSet::default()
        };
        set.to_bytes()
    }

    #[test]
    fn fragments_of_any_size_make_the_same_message() {
        let command = store();
        for size in 1..=command.len() {
            let mut assembler = Assembler::new(1024);
            let mut out = VecDeque::new();
            let pieces: Vec<&[u8]> = command.chunks(size).collect();
            for (at, piece) in pieces.iter().enumerate() {
                let is_last = at + 1 == pieces.len();
                assembler
                    .receive(pdv(1, true, is_last, piece), &mut out)
                    .unwrap();
            }
            assembler
                .receive(pdv(1, false, false, b"ab"), &mut out)
                .unwrap();
            assembler
                .receive(pdv(1, false, true, b""), &mut out)
                .unwrap();

            let Event::Command {
                context_id: 1,
                command,
            } = &out[0]
            else {
                panic!("{:?}", out[0])
            };
            assert_eq!(command.message_id, Some(7));
            assert_eq!(out[1], Event::Data(Bytes::from_static(b"ab")));
            assert_eq!(out[2], Event::DataEnd);
            assert!(!assembler.is_within_message());
        }
    }

    #[test]
    fn debug_shows_no_data() {
        let name = Bytes::from_static(b"DOE^JANE");
        let mut command = CommandSet {
            error_comment: Some("DOE^JANE".into()),
            ..CommandSet::default()
        };
        command.command_field = 0x8001;
        let command = Event::Command {
            context_id: 1,
            command: Box::new(command),
        };
        let pdu =
            crate::pdu::data::DataPdu::parse(Bytes::from_static(b"\0\0\0\x0a\x01\x03DOE^JANE"));

        let shown = format!("{:?} {command:?} {pdu:?}", Event::Data(name));

        assert!(!shown.contains("DOE"), "{shown}");
        assert!(shown.contains("bytes: 8"), "{shown}");
    }

    #[test]
    fn mixed_fragments_are_a_fault() {
        let command = store();
        let (first, second) = command.split_at(10);
        let cases: [Vec<Pdv>; 5] = [
            vec![pdv(1, false, true, b"ab")],
            vec![pdv(1, true, false, first), pdv(3, true, true, second)],
            vec![pdv(1, true, false, first), pdv(1, false, true, second)],
            vec![pdv(1, true, true, &command), pdv(1, true, true, &command)],
            vec![pdv(1, true, true, &command), pdv(3, false, true, b"ab")],
        ];
        for case in cases {
            let mut assembler = Assembler::new(1024);
            let mut out = VecDeque::new();
            let (last, before) = case.split_last().unwrap();
            for pdv in before {
                assembler.receive(pdv.clone(), &mut out).unwrap();
            }
            let fault = assembler.receive(last.clone(), &mut out).unwrap_err();
            assert!(matches!(fault, Fault::Fragments { .. }), "{case:?}");
        }
    }

    #[test]
    fn a_command_over_the_limit_is_a_fault_before_it_is_whole() {
        let mut assembler = Assembler::new(100);
        let mut out = VecDeque::new();
        assembler
            .receive(pdv(1, true, false, &[0; 60]), &mut out)
            .unwrap();

        let fault = assembler.receive(pdv(1, true, false, &[0; 60]), &mut out);

        assert_eq!(fault, Err(Fault::CommandSetTooLong { limit_bytes: 100 }));
    }
}
