//! A query/retrieve SCP that gives by C-GET whatever it was told to, under any SOP Instance UID.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::association::{receive, refusal};
use super::command::{element, field};
use super::pdu::{self, kind};
use super::sink::{Takes, acceptance};
use super::{Command, WireError, uid};

/// Longest fragment of a data set in one P-DATA-TF.
const FRAGMENT_BYTES_MAX: usize = 16 << 10;

/// What is given: the Affected SOP Instance UID, byte for byte, and the data set of a CT image in
/// Explicit VR Little Endian.
pub type Given = (Vec<u8>, Vec<u8>);

/// A listening giver. Its threads end with the process.
#[derive(Debug)]
pub struct Giver {
    address: SocketAddr,
}

impl Giver {
    /// Listens on a free loopback port. To every C-GET it gives all of `given`; to every C-FIND it
    /// has no match.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(given: Vec<Given>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let given = Arc::new(given);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let given = Arc::clone(&given);
                // A peer that breaks off shows in what it says.
                std::thread::spawn(move || serve(stream, &given).err());
            }
        });
        Self { address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(mut stream: TcpStream, given: &[Given]) -> Result<(), WireError> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(300)))?;
    let request = pdu::read(&mut stream)?;
    if request.kind != kind::ASSOCIATE_RQ {
        return Err(refusal(&request));
    }
    let (answer, _) = acceptance(&request.body, &Takes::Everything, &roles(&request.body));
    pdu::send(&mut stream, &answer)?;
    let context = storage_context(&request.body);
    loop {
        match receive(&mut stream) {
            Ok(message) => {
                let mut response = Command::response(&message.command, 0);
                if message.command.get(element::COMMAND_FIELD) == field::GET {
                    let context = context.ok_or_else(|| WireError::NoContext("CT".to_owned()))?;
                    let (completed, failed) = give(&mut stream, context, given)?;
                    response = response
                        .number(element::COMPLETED, completed)
                        .number(element::FAILED, failed);
                }
                let response = response.encode();
                pdu::send(&mut stream, &pdu::p_data(message.context, 3, &response))?;
            }
            Err(WireError::Unexpected(_)) => {
                // The only PDU left to a well-behaved requestor is A-RELEASE-RQ.
                return pdu::send(&mut stream, &pdu::frame(kind::RELEASE_RP, &[0; 4]));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The roles that are proposed, which are agreed to (PS3.7 D.3.3.4).
fn roles(request: &[u8]) -> Vec<u8> {
    let users = pdu::items(&request[68..]).filter(|(kind, _)| *kind == 0x50);
    let proposed = users.flat_map(|(_, user)| pdu::items(user));
    let roles = proposed.filter(|(kind, _)| *kind == 0x54);
    roles
        .flat_map(|(kind, role)| pdu::item(kind, role))
        .collect()
}

/// The context that is proposed for CT images in Explicit VR Little Endian.
fn storage_context(request: &[u8]) -> Option<u8> {
    let mut contexts = pdu::items(&request[68..]).filter(|(kind, _)| *kind == 0x20);
    contexts.find_map(|(_, value)| {
        let is = |wanted_kind: u8, name: &str| {
            let mut items = pdu::items(&value[4..]);
            items.any(|(kind, value)| kind == wanted_kind && value == name.as_bytes())
        };
        let is_ours = is(0x30, uid::CT_IMAGE_STORAGE) && is(0x40, uid::EXPLICIT_LITTLE_ENDIAN);
        is_ours.then_some(value[0])
    })
}

/// Gives all of `given`; how many were taken, and how many were not.
fn give(stream: &mut TcpStream, context: u8, given: &[Given]) -> Result<(u16, u16), WireError> {
    let (mut completed, mut failed) = (0, 0);
    for (number, (instance, data_set)) in (1..).zip(given) {
        let request = Command::request(field::STORE, uid::CT_IMAGE_STORAGE, number, true);
        let request = request.text(element::AFFECTED_INSTANCE, instance, '\0');
        pdu::send(stream, &pdu::p_data(context, 3, &request.encode()))?;
        let mut fragments = data_set.chunks(FRAGMENT_BYTES_MAX).peekable();
        while let Some(fragment) = fragments.next() {
            let control = if fragments.peek().is_none() { 2 } else { 0 };
            pdu::send(stream, &pdu::p_data(context, control, fragment))?;
        }
        match receive(stream)?.command.get(element::STATUS) {
            0 => completed += 1,
            _ => failed += 1,
        }
    }
    Ok((completed, failed))
}
