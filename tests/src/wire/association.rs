//! An association from the requestor's side, and the DIMSE services over it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::command::{element, field};
use super::identifier::tag;
use super::pdu::{self, Pdu, kind};
use super::{Answer, Command, Keys, WireError, digest, uid};

/// How long a peer may be silent before a test gives up on it.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// A presentation context to propose.
#[derive(Clone, Debug)]
pub struct Context {
    /// The SOP class.
    pub abstract_syntax: String,
    /// In order of preference.
    pub transfer_syntaxes: Vec<String>,
    /// Whether to ask for the SCP role (a C-GET requestor receives C-STORE requests).
    pub scp_role: bool,
}

impl Context {
    /// A context of one class and one transfer syntax.
    #[must_use]
    pub fn new(class: &str, syntax: &str) -> Self {
        Self {
            abstract_syntax: class.to_owned(),
            transfer_syntaxes: vec![syntax.to_owned()],
            scp_role: false,
        }
    }

    /// The same, with the SCP role asked for.
    #[must_use]
    pub fn receiving(class: &str, syntax: &str) -> Self {
        Self {
            scp_role: true,
            ..Self::new(class, syntax)
        }
    }
}

/// What to ask for in an A-ASSOCIATE-RQ.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Calling AE title.
    pub calling: String,
    /// Called AE title.
    pub called: String,
    /// At most 128.
    pub contexts: Vec<Context>,
    /// Maximum Length Received.
    pub pdu_bytes_max: u32,
    /// Further user information items, encoded.
    pub more_user_items: Vec<u8>,
}

impl Proposal {
    /// A proposal of `contexts` by the AE `TESTS` to the AE `PACS`.
    #[must_use]
    pub fn new(contexts: Vec<Context>) -> Self {
        Self {
            calling: "TESTS".to_owned(),
            called: "PACS".to_owned(),
            contexts,
            pdu_bytes_max: 131_072,
            more_user_items: Vec::new(),
        }
    }

    /// With relational queries of `class` (SOP Class Extended Negotiation, PS3.7 D.3.3.5).
    #[must_use]
    pub fn relational(mut self, class: &str) -> Self {
        let length = u16::try_from(class.len()).expect("short");
        let mut value = length.to_be_bytes().to_vec();
        value.extend_from_slice(class.as_bytes());
        value.push(1);
        self.more_user_items.extend(pdu::item(0x56, &value));
        self
    }
}

/// An instance that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Affected SOP Class UID.
    pub sop_class: String,
    /// Affected SOP Instance UID.
    pub sop_instance: String,
    /// The transfer syntax of its presentation context.
    pub transfer_syntax: String,
    /// SHA-256 of the data set.
    pub digest: String,
    /// Its length.
    pub length_bytes: usize,
}

/// How a C-GET or C-MOVE ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubOperations {
    /// The final status.
    pub status: u16,
    /// Number of Completed Sub-operations.
    pub completed: u16,
    /// Number of Failed Sub-operations.
    pub failed: u16,
    /// Number of Warning Sub-operations.
    pub warning: u16,
    /// Error Comment, if any.
    pub comment: String,
    /// Failed SOP Instance UID List of the final identifier, sorted.
    pub failed_uids: Vec<String>,
}

/// An established association.
#[derive(Debug)]
pub struct Association {
    stream: TcpStream,
    accepted: HashMap<(String, String), u8>,
    names: HashMap<u8, (String, String)>,
    peer_pdu_bytes_max: usize,
    message: u16,
}

/// A whole DIMSE message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The presentation context it came on.
    pub context: u8,
    /// Its command set.
    pub command: Command,
    /// Its data set, if it has one.
    pub data: Option<Vec<u8>>,
}

/// Opens a connection with the deadline and `TCP_NODELAY` set.
///
/// # Errors
/// When nobody listens.
pub fn dial(address: SocketAddr) -> Result<TcpStream, WireError> {
    let stream = TcpStream::connect_timeout(&address, SILENCE_MAX)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// The same from another address of this machine, such as 127.0.0.2.
///
/// # Errors
/// When nobody listens, or `source` is no address of this machine.
pub fn dial_from(source: IpAddr, address: SocketAddr) -> Result<TcpStream, WireError> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&address.into(), SILENCE_MAX)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

impl Association {
    /// Connects to `address` and negotiates.
    ///
    /// # Errors
    /// When the transport fails or the peer rejects or aborts.
    pub fn connect(address: SocketAddr, proposal: &Proposal) -> Result<Self, WireError> {
        Self::over(dial(address)?, proposal)
    }

    /// Negotiates over a connection that stands.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn over(mut stream: TcpStream, proposal: &Proposal) -> Result<Self, WireError> {
        pdu::send(&mut stream, &pdu::associate_rq(proposal))?;
        let answer = pdu::read(&mut stream)?;
        if answer.kind != kind::ASSOCIATE_AC {
            return Err(refusal(&answer));
        }
        let mut association = Self {
            stream,
            accepted: HashMap::new(),
            names: HashMap::new(),
            peer_pdu_bytes_max: 16_384,
            message: 0,
        };
        association.read_acceptance(answer.body.get(68..).unwrap_or_default(), proposal);
        Ok(association)
    }

    fn read_acceptance(&mut self, body: &[u8], proposal: &Proposal) {
        for (kind, value) in pdu::items(body) {
            match (kind, value) {
                (0x21, [id, _, 0, _, rest @ ..]) => {
                    let syntax = pdu::items(rest).find(|(kind, _)| *kind == 0x40);
                    let syntax = syntax.map_or_else(String::new, |(_, value)| {
                        String::from_utf8_lossy(value)
                            .trim_end_matches('\0')
                            .to_owned()
                    });
                    let proposed = proposal.contexts.get(usize::from(*id) / 2);
                    let class = proposed
                        .map_or("", |context| &context.abstract_syntax)
                        .to_owned();
                    self.names.insert(*id, (class.clone(), syntax.clone()));
                    self.accepted.insert((class, syntax), *id);
                }
                (0x50, user) => {
                    let length = pdu::items(user).find(|(kind, _)| *kind == 0x51);
                    if let Some((_, &[a, b, c, d])) = length {
                        let length = u32::from_be_bytes([a, b, c, d]) as usize;
                        self.peer_pdu_bytes_max = if length == 0 { 131_072 } else { length };
                    }
                }
                _ => {}
            }
        }
    }

    /// The accepted context for `class` in `syntax`.
    #[must_use]
    pub fn context(&self, class: &str, syntax: &str) -> Option<u8> {
        self.accepted
            .get(&(class.to_owned(), syntax.to_owned()))
            .copied()
    }

    /// How many contexts were accepted.
    #[must_use]
    pub fn accepted_count(&self) -> usize {
        self.names.len()
    }

    /// The longest P-DATA-TF body the peer takes.
    #[must_use]
    pub fn peer_pdu_bytes_max(&self) -> usize {
        self.peer_pdu_bytes_max
    }

    /// The connection itself, to break rules on.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn context_or_error(&self, class: &str, syntax: &str) -> Result<u8, WireError> {
        self.context(class, syntax)
            .ok_or_else(|| WireError::NoContext(format!("{class} in {syntax}")))
    }

    pub(super) fn next_message(&mut self) -> u16 {
        self.message = self.message.wrapping_add(1);
        self.message
    }

    /// Sends a message, cut into fragments the peer takes.
    ///
    /// # Errors
    /// When the transport fails.
    pub fn send(
        &mut self,
        context: u8,
        command: &Command,
        data: Option<&[u8]>,
    ) -> Result<(), WireError> {
        pdu::send(
            &mut self.stream,
            &pdu::p_data(context, 3, &command.encode()),
        )?;
        let Some(data) = data else { return Ok(()) };
        let size = self.peer_pdu_bytes_max.min(1 << 20) - 6;
        let count = data.len().div_ceil(size).max(1);
        for index in 0..count {
            let fragment = &data[index * size..data.len().min((index + 1) * size)];
            let control = if index + 1 == count { 2 } else { 0 };
            pdu::send(&mut self.stream, &pdu::p_data(context, control, fragment))?;
        }
        Ok(())
    }

    /// Receives one whole message.
    ///
    /// # Errors
    /// When the association ends first or the peer breaks the protocol.
    pub fn receive(&mut self) -> Result<Message, WireError> {
        receive(&mut self.stream)
    }

    fn status_of_response(&mut self) -> Result<u16, WireError> {
        Ok(self.receive()?.command.get(element::STATUS))
    }

    /// C-ECHO; the status.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn echo(&mut self) -> Result<u16, WireError> {
        let context = self.context_or_error(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN)?;
        let message = self.next_message();
        let request = Command::request(field::ECHO, uid::VERIFICATION, message, false);
        self.send(context, &request, None)?;
        self.status_of_response()
    }

    /// C-STORE of `data` exactly as given; the status.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn store(
        &mut self,
        class: &str,
        instance: &(impl AsRef<[u8]> + ?Sized),
        syntax: &str,
        data: &[u8],
    ) -> Result<u16, WireError> {
        let context = self.context_or_error(class, syntax)?;
        let message = self.next_message();
        let request = Command::request(field::STORE, class, message, true).text(
            element::AFFECTED_INSTANCE,
            instance,
            '\0',
        );
        self.send(context, &request, Some(data))?;
        self.status_of_response()
    }

    /// C-FIND in Implicit VR Little Endian; the matches and the final status.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn find(&mut self, model: &str, keys: &Keys) -> Result<(Vec<Answer>, u16), WireError> {
        let context = self.context_or_error(model, uid::IMPLICIT_LITTLE_ENDIAN)?;
        let message = self.next_message();
        let request = Command::request(field::FIND, model, message, true);
        self.send(context, &request, Some(&keys.encode()))?;
        let mut answers = Vec::new();
        loop {
            let response = self.receive()?;
            match response.command.get(element::STATUS) {
                0xFF00 | 0xFF01 => {
                    answers.push(Answer::decode(&response.data.unwrap_or_default()));
                }
                status => return Ok((answers, status)),
            }
        }
    }

    /// C-GET, Study Root; every instance is answered with Success.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn get(&mut self, keys: &Keys) -> Result<(SubOperations, Vec<Received>), WireError> {
        let mut received = Vec::new();
        let ended = self.get_each(keys, |instance, _| received.push(instance))?;
        Ok((ended, received))
    }

    /// C-GET, Study Root, handing each instance with its bytes to `each`.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn get_each(
        &mut self,
        keys: &Keys,
        mut each: impl FnMut(Received, &[u8]),
    ) -> Result<SubOperations, WireError> {
        let context = self.context_or_error(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN)?;
        let message = self.next_message();
        let request = Command::request(field::GET, uid::STUDY_ROOT_GET, message, true);
        self.send(context, &request, Some(&keys.encode()))?;
        loop {
            let message = self.receive()?;
            if message.command.get(element::COMMAND_FIELD) == field::STORE {
                let (_, syntax) = self
                    .names
                    .get(&message.context)
                    .cloned()
                    .unwrap_or_default();
                let data = message.data.unwrap_or_default();
                each(received(&message.command, syntax, &data), &data);
                self.send(
                    message.context,
                    &Command::response(&message.command, 0),
                    None,
                )?;
            } else if message.command.get(element::STATUS) != 0xFF00 {
                return Ok(ended(&message));
            }
        }
    }

    /// C-MOVE, Study Root, to the AE `destination`.
    ///
    /// # Errors
    /// When no context fits or the association ends.
    pub fn move_to(&mut self, keys: &Keys, destination: &str) -> Result<SubOperations, WireError> {
        let context = self.context_or_error(uid::STUDY_ROOT_MOVE, uid::IMPLICIT_LITTLE_ENDIAN)?;
        let message = self.next_message();
        let request = Command::request(field::MOVE, uid::STUDY_ROOT_MOVE, message, true).text(
            element::MOVE_DESTINATION,
            destination,
            ' ',
        );
        self.send(context, &request, Some(&keys.encode()))?;
        loop {
            let message = self.receive()?;
            if message.command.get(element::STATUS) != 0xFF00 {
                return Ok(ended(&message));
            }
        }
    }

    /// Releases the association in order.
    ///
    /// # Errors
    /// When the peer does not answer with A-RELEASE-RP.
    pub fn release(mut self) -> Result<(), WireError> {
        pdu::send(&mut self.stream, &pdu::frame(kind::RELEASE_RQ, &[0; 4]))?;
        let answer = pdu::read(&mut self.stream)?;
        if answer.kind == kind::RELEASE_RP {
            Ok(())
        } else {
            Err(refusal(&answer))
        }
    }
}

/// Receives one whole message from `stream`.
///
/// # Errors
/// When the association ends first or the peer breaks the protocol.
pub fn receive(stream: &mut TcpStream) -> Result<Message, WireError> {
    let mut command_bytes = Vec::new();
    let mut command: Option<Command> = None;
    let mut data = Vec::new();
    loop {
        let pdu = pdu::read(stream)?;
        if pdu.kind != kind::P_DATA {
            return Err(refusal(&pdu));
        }
        let mut rest = pdu.body.as_slice();
        while let Some(head) = rest.get(..6) {
            let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let (context, control) = (head[4], head[5]);
            let torn = || WireError::Unexpected("a torn PDV".to_owned());
            let fragment = rest.get(6..4 + length).ok_or_else(torn)?;
            rest = &rest[4 + length..];
            if control & 1 == 1 {
                command_bytes.extend_from_slice(fragment);
                if control & 2 == 2 {
                    let unreadable = || WireError::Unexpected("a bad command set".to_owned());
                    let read = Command::decode(&command_bytes).ok_or_else(unreadable)?;
                    if !read.has_data() {
                        return Ok(Message {
                            context,
                            command: read,
                            data: None,
                        });
                    }
                    command = Some(read);
                }
            } else {
                data.extend_from_slice(fragment);
                if control & 2 == 2 {
                    let missing = || WireError::Unexpected("data before a command".to_owned());
                    let command = command.take().ok_or_else(missing)?;
                    return Ok(Message {
                        context,
                        command,
                        data: Some(data),
                    });
                }
            }
        }
    }
}

pub(super) fn received(command: &Command, transfer_syntax: String, data: &[u8]) -> Received {
    Received {
        sop_class: command.get_text(element::AFFECTED_CLASS),
        sop_instance: command.get_text(element::AFFECTED_INSTANCE),
        transfer_syntax,
        digest: digest(data),
        length_bytes: data.len(),
    }
}

fn ended(message: &Message) -> SubOperations {
    let command = &message.command;
    let identifier = Answer::decode(message.data.as_deref().unwrap_or_default());
    let list = identifier.text(tag::FAILED_INSTANCES);
    let mut failed_uids: Vec<String> = list
        .split('\\')
        .filter(|uid| !uid.is_empty())
        .map(str::to_owned)
        .collect();
    failed_uids.sort();
    SubOperations {
        failed_uids,
        status: command.get(element::STATUS),
        completed: command.get(element::COMPLETED),
        failed: command.get(element::FAILED),
        warning: command.get(element::WARNING),
        comment: command.get_text(element::ERROR_COMMENT),
    }
}

/// What a PDU that ends the exchange says.
#[must_use]
pub fn refusal(pdu: &Pdu) -> WireError {
    match (pdu.kind, pdu.body.as_slice()) {
        (kind::ASSOCIATE_RJ, [_, result, source, reason]) => WireError::Rejected {
            result: *result,
            source: *source,
            reason: *reason,
        },
        (kind::ABORT, [_, _, source, reason]) => WireError::Aborted {
            source: *source,
            reason: *reason,
        },
        (other, _) => WireError::Unexpected(format!("a PDU of type {other}")),
    }
}
