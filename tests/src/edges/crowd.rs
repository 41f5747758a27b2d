//! Crowds: silent connections, idle associations, associations that are broken off (T8, R12).

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{storing, until};
use crate::proxy::reset;
use crate::samples::Slice;
use crate::server::{Options, Server};
use crate::wire::association::dial_from;
use crate::wire::command::{element, field};
use crate::wire::{Association, Command, Context, Proposal, WireError, pdu, uid};

/// How large a crowd is, and what it may cost.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Connections that say nothing.
    pub silent: usize,
    /// Associations on which nothing happens.
    pub idle: usize,
    /// How many come in a second. Those who came all at once would take the processor from the
    /// server that is measured: they are on the same machine.
    pub per_second: u32,
    /// Instances that a healthy sender stores before the crowd comes.
    pub baseline: usize,
}

/// What a crowd cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Growth of the highest resident memory.
    pub grown_bytes: u64,
    /// When the last silent connection was closed.
    pub silent_closed: Duration,
    /// The 99th percentile of a C-STORE before the crowd, and during it.
    pub p99: (Duration, Duration),
    /// Open files of the server before the crowd, and after it.
    pub files: (usize, usize),
    /// Instances that the healthy sender stored during the crowd.
    pub stored: usize,
}

/// Loopback addresses, as many as hosts that a crowd comes from.
pub(super) fn source(index: usize) -> IpAddr {
    let host = u8::try_from(index % 200 + 2).expect("below 255");
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, host))
}

/// Lets this process and those it starts have as many open files as a crowd needs, or as the
/// system lets them: a server with less takes fewer connections at once.
fn raise_files(crowd: Crowd) {
    let needed = (crowd.silent + crowd.idle + 500) as u64;
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: Some(4 * needed),
        maximum: limit.maximum.map(|maximum| maximum.max(4 * needed)),
    };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).expect("what the system allows");
    }
    let current = getrlimit(Resource::Nofile).current;
    let is_enough = current.is_none_or(|current| current >= needed);
    assert!(is_enough, "{needed} open files are needed (ulimit -Hn)");
}

fn open_files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.process()))
        .expect("the server runs")
        .count()
}

/// The 99th percentile.
pub(super) fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

/// A sender that stores slices of half a megabyte, as a CT does, and times each.
struct Sender {
    association: Association,
    study: u32,
    number: u32,
}

impl Sender {
    fn store(&mut self) -> Duration {
        self.number += 1;
        let mut slice = Slice::new(self.study, self.number);
        slice.side = 512;
        let data_set = slice.data_set();
        let begun = Instant::now();
        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
        let status = self
            .association
            .store(class, &slice.instance, syntax, &data_set);
        assert_eq!(status.expect("the healthy sender goes on"), 0);
        begun.elapsed()
    }
}

/// Waits until it is the turn of the one with this number, of those who come since `begun`.
fn turn(begun: Instant, number: usize, per_second: u32) {
    let number = u32::try_from(number).expect("a crowd");
    let due = begun + Duration::from_secs(1) * number / per_second;
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

fn idle_association(server: SocketAddr, index: usize) -> Association {
    let context = Context::new(uid::VERIFICATION, uid::IMPLICIT_LITTLE_ENDIAN);
    let mut proposal = Proposal::new(vec![context]);
    proposal.calling = format!("IDLE{}", index / 10);
    let stream = dial_from(source(index), server).expect("a connection");
    Association::over(stream, &proposal).expect("an association")
}

/// Connections that say nothing, and what tells of the end of each.
struct Silent {
    connections: Vec<(Instant, TcpStream)>,
    ends: OwnedFd,
}

impl Silent {
    fn open(server: SocketAddr, count: usize, per_second: u32) -> Self {
        let begun = Instant::now();
        let ends = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        let open = |index: usize| {
            turn(begun, index, per_second);
            let stream = dial_from(source(index), server).expect("a connection");
            stream.set_nonblocking(true).expect("an open socket");
            let (data, flags) = (epoll::EventData::new_u64(index as u64), EventFlags::IN);
            epoll::add(&ends, &stream, data, flags).expect("a place in epoll");
            (Instant::now(), stream)
        };
        let connections = (0..count).map(open).collect();
        Self { connections, ends }
    }

    /// Waits until all are closed; how long the one that lasted longest did.
    ///
    /// It sleeps until the server says something: who asks ten thousand sockets in turn takes the
    /// processor from the server that is measured.
    fn watch_close(mut self) -> Duration {
        let deadline = Instant::now() + Duration::from_secs(40);
        let wait_max = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let mut longest = Duration::ZERO;
        let mut open = self.connections.len();
        let mut events = Vec::with_capacity(256);
        while open > 0 {
            assert!(Instant::now() < deadline, "{open} silent ones do not end");
            let room = spare_capacity(&mut events);
            epoll::wait(&self.ends, room, Some(&wait_max)).expect("epoll");
            for event in events.drain(..) {
                let index = usize::try_from(event.data.u64()).expect("an index");
                let (since, stream) = &mut self.connections[index];
                if is_open(stream) {
                    continue;
                }
                longest = longest.max(since.elapsed());
                epoll::delete(&self.ends, &*stream).expect("one that was added");
                open -= 1;
            }
        }
        longest
    }
}

/// Whether the other end has not closed, after what it sent.
fn is_open(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 64];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Lets a crowd come to a server, with a healthy sender from before it until it has gone.
///
/// # Panics
/// When the healthy sender fails, or the silent connections do not end.
#[must_use]
pub fn come(crowd: Crowd) -> Cost {
    raise_files(crowd);
    let limits = "[dicom]\nidle_seconds = 600\n[dicom.limits]\nassociations = 4000\n\
                  associations_per_address = 100\n";
    let server = Server::start(Options {
        config: limits.to_owned(),
        ..Options::default()
    });
    let association = Association::connect(server.dicom(), &storing()).expect("an association");
    let mut sender = Sender {
        association,
        study: 1,
        number: 0,
    };
    let mut before: Vec<Duration> = (0..crowd.baseline).map(|_| sender.store()).collect();
    let files_before = open_files(&server);
    let resident_before = server.peak_resident_bytes();

    let is_over = AtomicBool::new(false);
    let (mut during, silent_closed) = std::thread::scope(|scope| {
        let timed = scope.spawn(|| {
            let mut times = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                times.push(sender.store());
            }
            times
        });
        let begun = Instant::now();
        let idle: Vec<Association> = (0..crowd.idle)
            .map(|index| {
                turn(begun, index, crowd.per_second);
                idle_association(server.dicom(), index)
            })
            .collect();
        let silent = Silent::open(server.dicom(), crowd.silent, crowd.per_second);
        let silent_closed = silent.watch_close();
        is_over.store(true, Ordering::SeqCst);
        let times = timed.join().expect("the healthy sender goes on");
        for association in idle {
            association.release().expect("idle associations live on");
        }
        (times, silent_closed)
    });
    let grown_bytes = server.peak_resident_bytes() - resident_before;
    let files = until(
        Duration::from_secs(30),
        "files back to the baseline",
        || {
            let now = open_files(&server);
            now.abs_diff(files_before)
                .le(&5)
                .then_some((files_before, now))
        },
    );
    Cost {
        grown_bytes,
        silent_closed,
        p99: (p99(&mut before), p99(&mut during)),
        files,
        stored: during.len(),
    }
}

/// 10,000 silent connections and 2,000 idle associations.
///
/// # Panics
/// When they cost more than they may.
pub fn ten_thousand() {
    let cost = come(Crowd {
        silent: 10_000,
        idle: 2_000,
        per_second: 2_000,
        baseline: 4_000,
    });
    println!("edges: the crowd cost {cost:?}");
    assert!(cost.grown_bytes <= 300 << 20, "memory");
    assert!(cost.silent_closed <= Duration::from_secs(12), "silence");
    assert!(
        cost.p99.1 <= cost.p99.0 * 2,
        "the healthy sender was kept waiting"
    );
}

/// Associations that are begun and broken off, from four sides at once; the drift of the resident
/// memory.
///
/// # Panics
/// When an association is not accepted.
#[must_use]
pub fn break_off(cycles: usize) -> u64 {
    let server = Server::start(Options {
        config: "[dicom.limits]\nassociations_per_address = 500\n".to_owned(),
        ..Options::default()
    });
    let run = |cycles: usize| {
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let address = server.dicom();
                scope.spawn(move || {
                    for cycle in 0..cycles / 4 {
                        let mut proposal = storing();
                        // Those that the server has not seen end yet count, too.
                        proposal.calling = format!("BREAKS{}", cycle % 50);
                        let association = Association::connect(address, &proposal);
                        let mut association = association.expect("an association");
                        // By turns an abort and a reset.
                        if (cycle + thread) % 2 == 0 {
                            let abort = pdu::frame(7, &[0; 4]);
                            pdu::send(association.stream(), &abort).expect("the server reads");
                        } else {
                            reset(association.stream());
                        }
                    }
                });
            }
        });
    };
    // The allocator takes what it will keep.
    run(cycles / 10);
    let before = server.resident_bytes();
    run(cycles);
    let context = "pacs_associations_open 0";
    until(
        Duration::from_secs(20),
        "the end of all associations",
        || server.get("/metrics").1.contains(context).then_some(()),
    );
    server.resident_bytes().saturating_sub(before)
}

/// `cycles` associations that are broken off.
///
/// # Panics
/// When memory grows by more than 16 MiB.
pub fn churn(cycles: usize) {
    let drift = break_off(cycles);
    println!(
        "edges: {cycles} associations broken off: memory grew by {} KiB",
        drift >> 10
    );
    assert!(drift <= 16 << 20, "memory drifts");
}

/// What senders that stand still came to.
#[derive(Clone, Copy, Debug)]
pub struct Standstill {
    /// Senders that stand still, with all that they were given.
    pub held: usize,
    /// Whether the next one was told to come again.
    pub rejected: bool,
    /// Instances that eight honest senders stored meanwhile.
    pub honest: usize,
}

/// How much each of so many senders sends before it stops: what the server lets it hold.
const HELD: [(usize, usize); 6] = [
    (20, 6 << 20),
    (18, 4 << 20),
    (16, 2 << 20),
    (16, 1 << 20),
    (16, 512 << 10),
    (30, 256 << 10),
];

/// Begins to store an instance, and stops after `bytes` of it.
fn stop_after(server: &Server, index: usize, bytes: usize) -> Result<Association, WireError> {
    let mut proposal = storing();
    proposal.calling = format!("STANDS{}", index / 10);
    let stream = dial_from(source(index), server.dicom())?;
    let mut association = Association::over(stream, &proposal)?;
    let slice = Slice::new(99, u32::try_from(index).expect("few"));
    let class = uid::CT_IMAGE_STORAGE;
    let request = Command::request(field::STORE, class, 1, true).text(
        element::AFFECTED_INSTANCE,
        &slice.instance,
        '\0',
    );
    association.send(1, &request, None)?;
    let mut data_set = slice.head();
    // The head of pixel data that are longer than what will come.
    data_set.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', b'W', 0, 0]);
    data_set.extend_from_slice(&[0xFE, 0xFF, 0xFF, 0x7F]);
    data_set.resize(bytes, 0);
    for fragment in data_set.chunks(32 << 10) {
        pdu::send(association.stream(), &pdu::p_data(1, 0, fragment))?;
    }
    Ok(association)
}

/// Lets senders stand still until no more are let in, and eight honest ones go on.
///
/// # Panics
/// When an honest sender fails, or nobody is let in after the others have gone.
#[must_use]
pub fn stand_still() -> Standstill {
    let server = Server::start(Options::default());
    let mut honest: Vec<Sender> = (1..=8)
        .map(|study| {
            let association = Association::connect(server.dicom(), &storing());
            Sender {
                association: association.expect("an association"),
                study,
                number: 0,
            }
        })
        .collect();
    let amounts = HELD.iter().flat_map(|(count, bytes)| vec![*bytes; *count]);
    let mut held = Vec::new();
    let mut rejected = false;
    for (index, bytes) in amounts.enumerate() {
        match stop_after(&server, index, bytes) {
            Ok(association) => held.push(association),
            Err(WireError::Rejected {
                result: 2,
                source: 3,
                reason: 2,
            }) => rejected = true,
            Err(error) => panic!("{error}"),
        }
        if rejected {
            break;
        }
        // One after the other, so that each finds what the others left.
        until(Duration::from_secs(20), "the server's reading", || {
            is_read(held.last_mut().expect("the last one").stream()).then_some(())
        });
    }
    std::thread::scope(|scope| {
        for sender in &mut honest {
            scope.spawn(|| {
                for _ in 0..20 {
                    sender.store();
                }
            });
        }
    });
    let standstill = Standstill {
        held: held.len(),
        rejected,
        honest: honest.iter().map(|sender| sender.number as usize).sum(),
    };
    for mut association in held {
        reset(association.stream());
    }
    until(Duration::from_secs(10), "room for newcomers", || {
        Association::connect(server.dicom(), &storing()).ok()
    });
    standstill
}

/// Whether the other end has read all that was sent.
fn is_read(stream: &TcpStream) -> bool {
    let port = stream.local_addr().expect("a connection").port();
    let wanted = format!(":{port:04X} ");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let queues = table.lines().filter(|line| line.contains(&wanted));
    queues
        .filter_map(|line| line.split_whitespace().nth(4))
        .all(|queues| queues == "00000000:00000000")
}
