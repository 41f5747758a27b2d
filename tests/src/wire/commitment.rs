//! Storage commitment (PS3.4 Annex J): asking for it, and taking reports on either association.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::association::{Association, Message, receive, refusal};
use super::command::{element, field};
use super::identifier::push;
use super::pdu::{self, kind};
use super::sink::Takes;
use super::sink::acceptance;
use super::{Command, WireError, uid};

/// How long a report may take: the first attempts of a server are some seconds apart.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a report says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Event Type ID.
    pub event_type: u16,
    /// Transaction UID.
    pub transaction: String,
    /// Retrieve AE Title.
    pub retrieve_ae_title: String,
    /// Class and instance of each that is committed.
    pub committed: Vec<(String, String)>,
    /// Class, instance and reason of each that is not.
    pub failed: Vec<(String, String, u16)>,
    /// Roles that were proposed for the class, SCU and SCP, where it came over an association with
    /// a role selection.
    pub roles: Option<(u8, u8)>,
}

/// The data set of an N-ACTION request in Implicit VR Little Endian.
#[must_use]
pub fn action_information(transaction: &str, references: &[(&str, &str)]) -> Vec<u8> {
    let mut items = Vec::new();
    for (class, instance) in references {
        let mut item = Vec::new();
        push(&mut item, 0x0008_1150, &padded(class));
        push(&mut item, 0x0008_1155, &padded(instance));
        push(&mut items, 0xFFFE_E000, &item);
    }
    let mut data = Vec::new();
    push(&mut data, 0x0008_1195, &padded(transaction));
    push(&mut data, 0x0008_1199, &items);
    data
}

fn padded(uid: &str) -> Vec<u8> {
    let mut bytes = uid.as_bytes().to_vec();
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    bytes
}

/// An N-ACTION request that asks for commitment.
#[must_use]
pub fn action(message: u16) -> Command {
    Command::default()
        .text(element::REQUESTED_CLASS, uid::STORAGE_COMMITMENT, '\0')
        .number(element::COMMAND_FIELD, field::ACTION)
        .number(element::MESSAGE_ID, message)
        .number(element::DATA_SET_TYPE, 1)
        .text(
            element::REQUESTED_INSTANCE,
            uid::STORAGE_COMMITMENT_INSTANCE,
            '\0',
        )
        .number(element::ACTION_TYPE, 1)
}

impl Association {
    /// Asks for commitment, in Implicit VR Little Endian; the status.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn commit(
        &mut self,
        transaction: &str,
        references: &[(&str, &str)],
    ) -> Result<u16, WireError> {
        let data = action_information(transaction, references);
        self.act(&action(1), Some(&data))
    }

    /// Sends an N-ACTION request as it is given; the status.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn act(&mut self, command: &Command, data: Option<&[u8]>) -> Result<u16, WireError> {
        let (class, syntax) = (uid::STORAGE_COMMITMENT, uid::IMPLICIT_LITTLE_ENDIAN);
        let no_context = || WireError::NoContext(class.to_owned());
        let context = self.context(class, syntax).ok_or_else(no_context)?;
        self.send(context, command, data)?;
        let response = self.receive()?.command;
        assert_eq!(
            response.get(element::COMMAND_FIELD),
            field::ACTION | 0x8000,
            "{response:?}"
        );
        Ok(response.get(element::STATUS))
    }

    /// Receives a report on this association and answers it with `status`.
    ///
    /// # Errors
    /// When the association ends first.
    pub fn receive_report(&mut self, status: u16) -> Result<Report, WireError> {
        let message = self.receive()?;
        let report = report(&message);
        let response = Command::response(&message.command, status);
        self.send(message.context, &response, None)?;
        Ok(report)
    }
}

/// Reads a report.
///
/// # Panics
/// When the message is none.
fn report(message: &Message) -> Report {
    let command = &message.command;
    assert_eq!(command.get(element::COMMAND_FIELD), field::EVENT_REPORT);
    assert_eq!(
        command.get_text(element::AFFECTED_CLASS),
        uid::STORAGE_COMMITMENT
    );
    assert_eq!(
        command.get_text(element::AFFECTED_INSTANCE),
        uid::STORAGE_COMMITMENT_INSTANCE
    );
    let mut report = Report {
        event_type: command.get(element::EVENT_TYPE),
        ..Report::default()
    };
    for (tag, value) in elements(message.data.as_deref().unwrap_or_default()) {
        match tag {
            0x0008_0054 => report.retrieve_ae_title = text(value),
            0x0008_1195 => report.transaction = text(value),
            0x0008_1198 => report.failed = items(value).collect(),
            0x0008_1199 => {
                let committed = items(value).map(|(class, instance, _)| (class, instance));
                report.committed = committed.collect();
            }
            _ => {}
        }
    }
    report
}

/// Class, instance and reason of each item.
fn items(bytes: &[u8]) -> impl Iterator<Item = (String, String, u16)> {
    elements(bytes).map(|(_, item)| {
        let mut read = (String::new(), String::new(), 0);
        for (tag, value) in elements(item) {
            match (tag, value) {
                (0x0008_1150, value) => read.0 = text(value),
                (0x0008_1155, value) => read.1 = text(value),
                (0x0008_1197, &[low, high]) => read.2 = u16::from_le_bytes([low, high]),
                _ => {}
            }
        }
        read
    })
}

fn text(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.trim_end_matches(['\0', ' ']).to_owned()
}

/// Elements in Implicit VR Little Endian, or in Explicit where a VR stands there; sequences and
/// items have their lengths.
fn elements(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..8)?;
        let group = u32::from(u16::from_le_bytes([head[0], head[1]]));
        let tag = group << 16 | u32::from(u16::from_le_bytes([head[2], head[3]]));
        let long = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let has_vr = group != 0xFFFE
            && [b"AE", b"SQ", b"UI", b"US"]
                .iter()
                .any(|vr| head[4..6] == **vr);
        let (begin, length) = match &head[4..6] {
            b"SQ" if has_vr => (12, long(rest.get(8..12)?)),
            _ if has_vr => (8, u32::from(u16::from_le_bytes([head[6], head[7]]))),
            _ => (8, long(&head[4..])),
        };
        let end = begin + length as usize;
        let value = rest.get(begin..end)?;
        rest = &rest[end..];
        Some((tag, value))
    })
}

/// How a sink meets one association.
#[derive(Clone, Copy, Debug)]
pub enum Meets {
    /// It answers reports with this status.
    Answer(u16),
    /// It reads a report and closes without an answer.
    HangUp,
    /// It rejects the association, transiently.
    Reject,
}

/// Takes reports that come over associations with reversed roles. Its threads end with the
/// process.
#[derive(Debug)]
pub struct ReportSink {
    address: SocketAddr,
    reports: Mutex<Receiver<Report>>,
}

impl ReportSink {
    /// Listens on `port` (0: a free one) of loopback. The first associations are met as `script`
    /// says, all others with Success.
    ///
    /// # Panics
    /// When the port is not free.
    #[must_use]
    pub fn start(port: u16, script: &[Meets]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, reports) = channel();
        let script: VecDeque<Meets> = script.iter().copied().collect();
        let script = Arc::new(Mutex::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, script) = (sender.clone(), Arc::clone(&script));
                std::thread::spawn(move || {
                    let meets = script.lock().expect("a script").pop_front();
                    // A peer that breaks off shows in what did not arrive.
                    serve(stream, meets.unwrap_or(Meets::Answer(0)), &sender).err();
                });
            }
        });
        Self {
            address,
            reports: Mutex::new(reports),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next report, waiting for it.
    ///
    /// # Panics
    /// When none comes.
    #[must_use]
    pub fn next(&self) -> Report {
        let reports = self.reports.lock().expect("a receiver");
        reports.recv_timeout(PATIENCE).expect("a report comes")
    }

    /// What has come since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Report> {
        let reports = self.reports.lock().expect("a receiver");
        reports.try_iter().collect()
    }
}

fn serve(mut stream: TcpStream, meets: Meets, reports: &Sender<Report>) -> Result<(), WireError> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = pdu::read(&mut stream)?;
    if request.kind != kind::ASSOCIATE_RQ {
        return Err(refusal(&request));
    }
    if matches!(meets, Meets::Reject) {
        let rejection = pdu::frame(kind::ASSOCIATE_RJ, &[0, 2, 3, 2]);
        pdu::send(&mut stream, &rejection)?;
        return Ok(());
    }
    let roles = roles(&request.body);
    let takes = Takes::Only(uid::IMPLICIT_LITTLE_ENDIAN);
    let (answer, _) = acceptance(&request.body, &takes, &[]);
    pdu::send(&mut stream, &answer)?;
    loop {
        let message = match receive(&mut stream) {
            Ok(message) => message,
            Err(WireError::Unexpected(_)) => {
                // The only PDU left to a well-behaved requestor is A-RELEASE-RQ.
                return pdu::send(&mut stream, &pdu::frame(kind::RELEASE_RP, &[0; 4]));
            }
            Err(error) => return Err(error),
        };
        let mut report = report(&message);
        report.roles = roles;
        let Meets::Answer(status) = meets else {
            return Ok(());
        };
        let response = Command::response(&message.command, status).encode();
        pdu::send(&mut stream, &pdu::p_data(message.context, 3, &response))?;
        // The receiver is gone when its test has ended.
        reports.send(report).ok();
    }
}

/// The roles that an A-ASSOCIATE-RQ proposes for storage commitment.
fn roles(request: &[u8]) -> Option<(u8, u8)> {
    let user = pdu::items(request.get(68..)?).find(|(kind, _)| *kind == 0x50)?;
    let class = uid::STORAGE_COMMITMENT.as_bytes();
    let mut selections = pdu::items(user.1).filter(|(kind, _)| *kind == 0x54);
    selections.find_map(|(_, value)| match value.get(2..)?.strip_prefix(class)? {
        [scu, scp] => Some((*scu, *scp)),
        _ => None,
    })
}
