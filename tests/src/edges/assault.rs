//! Hostile data sets from many sides at once (T3, R13), and somebody who asks with C-ECHO whether
//! the server is there.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::crowd::{p99, source};
use super::until;
use crate::hostile::{DATA_SETS, data_sets};
use crate::samples::Slice;
use crate::server::{Options, Server};
use crate::wire::association::dial_from;
use crate::wire::{Association, Context, Proposal, WireError, uid};

/// Associations of the campaign, each of which sends every data set.
const PEERS: usize = 50;

/// What the server may have resident at its highest.
pub const RESIDENT_BYTES_MAX: u64 = 512 << 20;

/// How long an answer to a C-ECHO may take, but for one in a hundred.
const ECHO_DURATION_MAX: Duration = Duration::from_millis(500);

/// What an assault came to.
#[derive(Clone, Copy, Debug)]
pub struct Assault {
    /// Hostile data sets that were sent.
    pub sent: usize,
    /// Those that were kept: what is hostile to one reader may be odd to another.
    pub kept: usize,
    /// C-ECHOs that were answered meanwhile, all of them.
    pub answered: usize,
    /// The 99th percentile of their durations.
    pub echo_p99: Duration,
    /// The highest resident memory.
    pub peak_bytes: u64,
}

/// Sends every hostile data set over each of so many associations at once.
///
/// # Panics
/// When the server ends, or does not answer a C-ECHO.
#[must_use]
pub fn begin(peers: usize) -> Assault {
    let mut server = Server::start(Options::default());
    let counts = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        let (server, (sent, kept)) = (&server, &counts);
        let asking = scope.spawn(|| {
            let mut times = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                assert_eq!(server.echo().expect("an answer to C-ECHO"), 0);
                times.push(begun.elapsed());
            }
            times
        });
        let senders: Vec<_> = (0..peers)
            .map(|peer| scope.spawn(move || send_all(server, peer, sent, kept)))
            .collect();
        let ended: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
        is_over.store(true, Ordering::SeqCst);
        for sender in ended {
            sender.expect("a sender takes whatever comes");
        }
        times = asking.join().expect("C-ECHO is answered throughout");
    });
    assert!(server.is_alive(), "the server was ended:\n{}", server.log());
    assert_eq!(server.echo().expect("an answer afterwards"), 0);
    Assault {
        sent: counts.0.into_inner(),
        kept: counts.1.into_inner(),
        answered: times.len(),
        echo_p99: p99(&mut times),
        peak_bytes: server.peak_resident_bytes(),
    }
}

/// Sends every data set; after one that ended the association over another one.
fn send_all(server: &Server, peer: usize, sent: &AtomicUsize, kept: &AtomicUsize) {
    let slice = Slice::new(8, u32::try_from(peer + 1).expect("few"));
    let mut association = None;
    for (syntax, data_set) in data_sets(&slice) {
        let mut line = match association.take() {
            Some(line) => line,
            // Where there is no memory for one more now, it is told to come again.
            None => until(Duration::from_secs(60), "a place for every peer", || {
                associate(server, peer).ok()
            }),
        };
        let class = uid::CT_IMAGE_STORAGE;
        let stored = line.store(class, &slice.instance, syntax, &data_set);
        sent.fetch_add(1, Ordering::SeqCst);
        if let Ok(status) = stored {
            kept.fetch_add(usize::from(status == 0), Ordering::SeqCst);
            association = Some(line);
        }
    }
}

fn associate(server: &Server, peer: usize) -> Result<Association, WireError> {
    let syntaxes = [
        uid::EXPLICIT_LITTLE_ENDIAN,
        uid::DEFLATED_LITTLE_ENDIAN,
        uid::JPEG_BASELINE,
    ];
    let contexts = syntaxes.map(|syntax| Context::new(uid::CT_IMAGE_STORAGE, syntax));
    let mut proposal = Proposal::new(contexts.to_vec());
    proposal.calling = format!("ATTACKS{}", peer / 10);
    Association::over(dial_from(source(peer), server.dicom())?, &proposal)
}

/// 64 hostile data sets over each of 50 associations.
///
/// # Panics
/// When the server ends, takes more memory than it may, or is late to answer.
pub fn campaign() {
    let assault = begin(PEERS);
    println!(
        "edges: {} hostile data sets over {PEERS} associations: {} kept, {} C-ECHOs answered, \
         99th percentile {:?}, highest resident memory {} MiB",
        assault.sent,
        assault.kept,
        assault.answered,
        assault.echo_p99,
        assault.peak_bytes >> 20
    );
    assert_eq!(assault.sent, PEERS * DATA_SETS);
    assert!(assault.peak_bytes <= RESIDENT_BYTES_MAX, "memory");
    assert!(assault.echo_p99 < ECHO_DURATION_MAX, "C-ECHO");
}
