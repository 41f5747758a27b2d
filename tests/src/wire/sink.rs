//! A storage SCP to move instances to: it keeps the digest of each, not the bytes.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::association::{receive, received, refusal};
use super::command::{element, field};
use super::pdu::{self, kind};
use super::{Command, Received, WireError, uid};

/// Which transfer syntaxes a sink takes.
#[derive(Clone, Debug)]
pub enum Takes {
    /// Whatever is proposed first.
    Everything,
    /// Only this one.
    Only(&'static str),
    /// Whatever is proposed first; each instance is answered with this warning (PS3.4 B.2.3).
    WithWarning(u16),
}

impl Takes {
    /// What an instance is answered with.
    const fn status(&self) -> u16 {
        match self {
            Self::Everything | Self::Only(_) => 0,
            Self::WithWarning(status) => *status,
        }
    }
}

/// A listening sink. Its threads end with the process.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    instances: Receiver<Received>,
    pace: Arc<Pace>,
}

/// How many instances are answered.
#[derive(Debug)]
struct Pace {
    /// So many more; then connections break.
    patience: AtomicI64,
    /// So many more; then connections wait.
    breath: Mutex<i64>,
    goes_on: Condvar,
}

impl Pace {
    /// Whether one more is answered, as soon as that may be.
    fn takes_one(&self) -> bool {
        let breath = self.breath.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.goes_on.wait_while(breath, |breath| *breath <= 0);
        let mut breath = waited.unwrap_or_else(PoisonError::into_inner);
        *breath = breath.saturating_sub(1);
        self.patience.fetch_sub(1, Ordering::SeqCst) > 0
    }

    fn set_breath(&self, count: i64) {
        *self.breath.lock().unwrap_or_else(PoisonError::into_inner) = count;
        self.goes_on.notify_all();
    }
}

impl Sink {
    /// Listens on a free loopback port.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start(takes: Takes) -> Self {
        Self::listen(
            TcpListener::bind("127.0.0.1:0").expect("a free port"),
            takes,
        )
    }

    /// Takes the connections of `listener`.
    ///
    /// # Panics
    /// When it has no address.
    #[must_use]
    pub fn listen(listener: TcpListener, takes: Takes) -> Self {
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let (sender, instances) = channel();
        let pace = Arc::new(Pace {
            patience: AtomicI64::new(i64::MAX),
            breath: Mutex::new(i64::MAX),
            goes_on: Condvar::new(),
        });
        let shared = Arc::clone(&pace);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (sender, takes) = (sender.clone(), takes.clone());
                let pace = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A peer that breaks off shows in what did not arrive.
                    serve(stream, &takes, &sender, &pace).err();
                });
            }
        });
        Self {
            address,
            instances,
            pace,
        }
    }

    /// From now on `count` more instances are answered; then connections break instead.
    pub fn break_off_after(&self, count: i64) {
        self.pace.patience.store(count, Ordering::SeqCst);
    }

    /// From now on `count` more instances are answered; then it waits for [`Self::go_on`].
    pub fn pause_after(&self, count: i64) {
        self.pace.set_breath(count);
    }

    /// It answers again, however many.
    pub fn go_on(&self) {
        self.pace.set_breath(i64::MAX);
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has arrived since the last call. After a C-MOVE has ended all of it has.
    #[must_use]
    pub fn take(&self) -> Vec<Received> {
        self.instances.try_iter().collect()
    }
}

fn serve(
    mut stream: TcpStream,
    takes: &Takes,
    instances: &Sender<Received>,
    pace: &Pace,
) -> Result<(), WireError> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(300)))?;
    let request = pdu::read(&mut stream)?;
    if request.kind != kind::ASSOCIATE_RQ {
        return Err(refusal(&request));
    }
    let (answer, syntaxes) = acceptance(&request.body, takes, &[]);
    pdu::send(&mut stream, &answer)?;
    loop {
        match receive(&mut stream) {
            Ok(message) => {
                let mut status = 0;
                if message.command.get(element::COMMAND_FIELD) == field::STORE {
                    status = takes.status();
                    if !pace.takes_one() {
                        return Ok(());
                    }
                    let data = message.data.unwrap_or_default();
                    let syntax = syntaxes[usize::from(message.context)].clone();
                    // The receiver is gone when its test has ended.
                    instances
                        .send(received(&message.command, syntax, &data))
                        .ok();
                }
                let response = Command::response(&message.command, status).encode();
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

/// The A-ASSOCIATE-AC, with further user information items, and the transfer syntax chosen for each
/// context identifier.
pub(super) fn acceptance(request: &[u8], takes: &Takes, more: &[u8]) -> (Vec<u8>, Vec<String>) {
    let mut syntaxes = vec![String::new(); 256];
    let mut body = request[..68].to_vec();
    body.extend(pdu::item(0x10, uid::APPLICATION_CONTEXT.as_bytes()));
    for (_, value) in pdu::items(&request[68..]).filter(|(kind, _)| *kind == 0x20) {
        let proposed = pdu::items(&value[4..])
            .filter(|(kind, _)| *kind == 0x40)
            .map(|(_, syntax)| String::from_utf8_lossy(syntax).into_owned());
        let chosen = proposed.into_iter().find(|syntax| match takes {
            Takes::Everything | Takes::WithWarning(_) => true,
            Takes::Only(only) => syntax == only,
        });
        let mut answer = vec![value[0], 0, if chosen.is_some() { 0 } else { 4 }, 0];
        let chosen = chosen.unwrap_or_else(|| uid::IMPLICIT_LITTLE_ENDIAN.to_owned());
        answer.extend(pdu::item(0x40, chosen.as_bytes()));
        body.extend(pdu::item(0x21, &answer));
        syntaxes[usize::from(value[0])] = chosen;
    }
    let mut user = pdu::item(0x51, &131_072_u32.to_be_bytes());
    user.extend(pdu::item(0x52, b"2.25.202611"));
    user.extend_from_slice(more);
    body.extend(pdu::item(0x50, &user));
    (pdu::frame(kind::ASSOCIATE_AC, &body), syntaxes)
}
