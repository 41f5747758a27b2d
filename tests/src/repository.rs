//! A repository of audit messages: syslog over TLS (RFC 5425), as far as a sender can tell. It can
//! be killed in the middle, and comes back at the same address.

use crate::certificates::{Authority, Certificate, Hospital};
use crate::server::PATIENCE;
use crate::tls_listener::{Secured, Terms};
use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// How it ends a connection whose sender says that nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a `close_notify`.
    Answers,
    /// Without a word.
    Closes,
    /// It cuts each connection off after so many messages.
    CutsAfter(usize),
}

#[derive(Debug, Default)]
struct Kept {
    messages: Mutex<Vec<String>>,
    arrived: Condvar,
    connections: Mutex<usize>,
}

/// One that runs.
#[derive(Debug)]
struct Running {
    is_over: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    thread: JoinHandle<()>,
}

/// A repository. What it has kept outlives its process.
#[derive(Debug)]
pub struct Repository {
    address: SocketAddr,
    terms: Terms,
    ending: Ending,
    kept: Arc<Kept>,
    running: Option<Running>,
}

impl Repository {
    /// Shows `own`, and asks for certificates of `clients` where that is given.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(own: &Certificate, clients: Option<&Authority>, ending: Ending) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut repository = Self {
            address: listener.local_addr().expect("a bound listener"),
            terms: Terms::new(own, clients),
            ending,
            kept: Arc::default(),
            running: None,
        };
        repository.run(listener);
        repository
    }

    fn run(&mut self, listener: TcpListener) {
        let is_over = Arc::new(AtomicBool::new(false));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (terms, ending) = (self.terms.clone(), self.ending);
        let kept = Arc::clone(&self.kept);
        let (over, connections) = (Arc::clone(&is_over), Arc::clone(&open));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let clone = stream.try_clone().expect("a descriptor");
                connections.lock().expect("no panic").push(clone);
                let (terms, kept) = (terms.clone(), Arc::clone(&kept));
                std::thread::spawn(move || {
                    if let Ok(secured) = terms.accept(stream) {
                        // A sender that went away sends again.
                        take(secured, &kept, ending).ok();
                    }
                });
            }
        });
        self.running = Some(Running {
            is_over,
            open,
            thread,
        });
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The settings of an archive that sends its messages here, as one of `hospital`.
    #[must_use]
    pub fn settings(&self, hospital: &Hospital, more: &str) -> String {
        let [certificate, key] = hospital.archive.files();
        format!(
            "[audit.syslog]\naddress = \"{}\"\ntls_ca = \"{}\"\ncertificate = \"{certificate}\"\n\
             key = \"{key}\"\n{more}\n",
            self.address,
            hospital.trusted.file()
        )
    }

    /// Everything that it has kept, in the order in which it came.
    ///
    /// # Panics
    /// When a thread of it panicked.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.kept.messages.lock().expect("no panic").clone()
    }

    /// How many senders shook hands with it.
    ///
    /// # Panics
    /// When a thread of it panicked.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.kept.connections.lock().expect("no panic")
    }

    /// Waits until what it has kept is so.
    ///
    /// # Panics
    /// When it is not within [`PATIENCE`].
    pub fn wait_until(&self, is_so: impl Fn(&[String]) -> bool) {
        let messages = self.kept.messages.lock().expect("no panic");
        let (messages, waited) = self
            .kept
            .arrived
            .wait_timeout_while(messages, PATIENCE, |messages| !is_so(messages))
            .expect("no panic");
        assert!(!waited.timed_out(), "only this came: {messages:#?}");
    }

    /// Ends it in the middle of whatever it does. What comes next is refused.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let running = self.running.take().expect("it runs");
        running.is_over.store(true, Ordering::SeqCst);
        // It looks up when somebody comes.
        TcpStream::connect(self.address).expect("a listener");
        running.thread.join().expect("no panic");
        for stream in running.open.lock().expect("no panic").drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// How it ends connections, from its next start on.
    pub fn end_as(&mut self, ending: Ending) {
        self.ending = ending;
    }

    /// Starts it again at the same address, with other terms where they are given.
    ///
    /// # Panics
    /// When somebody else has its port now.
    pub fn restart(&mut self, own: Option<&Certificate>) {
        if let Some(own) = own {
            self.terms = Terms::new(own, None);
        }
        let listener = TcpListener::bind(self.address).expect("the port is free again");
        self.run(listener);
    }
}

/// The number of the record that a message is of.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn number(message: &str) -> u64 {
    let after = message.split("[meta sequenceId=\"").nth(1);
    let digits = after.and_then(|after| after.split('"').next());
    digits.expect("a number").parse().expect("a number")
}

/// The message of PS3.15 A.5 within one of syslog.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn xml(message: &str) -> &str {
    message.split_once('\u{feff}').expect("a byte order mark").1
}

/// The messages without those that came before, of which the first of each number counts.
#[must_use]
pub fn once(messages: &[String]) -> Vec<&String> {
    let mut seen = HashSet::new();
    let first = |message: &&String| seen.insert(number(message));
    messages.iter().filter(first).collect()
}

fn take(secured: Secured, kept: &Kept, ending: Ending) -> io::Result<()> {
    *kept.connections.lock().expect("no panic") += 1;
    let mut reader = BufReader::new(secured);
    let mut count = 0;
    loop {
        if ending == Ending::CutsAfter(count) {
            let tcp = &reader.get_ref().sock;
            return tcp.shutdown(Shutdown::Both);
        }
        let mut length = Vec::new();
        if reader.read_until(b' ', &mut length)? == 0 {
            break;
        }
        let length = String::from_utf8_lossy(&length).trim().parse::<usize>();
        let length = length.map_err(io::Error::other)?;
        let mut message = vec![0; length];
        reader.read_exact(&mut message)?;
        let message = String::from_utf8(message).map_err(io::Error::other)?;
        kept.messages.lock().expect("no panic").push(message);
        kept.arrived.notify_all();
        count += 1;
    }
    let mut secured = reader.into_inner();
    if ending == Ending::Answers {
        secured.conn.send_close_notify();
        secured.flush()?;
    }
    secured.sock.shutdown(Shutdown::Write)
}
