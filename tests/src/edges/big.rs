//! Huge instances, in and out: memory stays small, every byte comes back.

use std::time::Instant;

use super::questions;
use crate::huge::{self, Huge};
use crate::server::{Options, Server};
use crate::wire::{Association, Context, Proposal, WireError, uid};

/// What a server may have in memory at most, whatever goes in or out.
pub const RESIDENT_BYTES_MAX: u64 = 256_000_000;

/// The most memory a server had.
#[derive(Clone, Copy, Debug)]
pub struct Peaks {
    /// While it received.
    pub receiving_bytes: u64,
    /// While it gave back.
    pub giving_bytes: u64,
}

fn each(
    server: &Server,
    instances: &[Huge],
    what: impl Fn(&mut Association, &Huge) -> Result<u16, WireError> + Copy + Send,
    contexts: impl Fn(&Huge) -> Vec<Context>,
) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = instances
            .iter()
            .map(|instance| {
                let proposal = Proposal::new(contexts(instance));
                let address = server.dicom();
                scope.spawn(move || {
                    let mut association = Association::connect(address, &proposal)?;
                    let status = what(&mut association, instance)?;
                    association.release()?;
                    Ok::<u16, WireError>(status)
                })
            })
            .collect();
        for thread in threads {
            let status = thread.join().expect("a thread that does not panic");
            assert_eq!(status.expect("an association to its end"), 0);
        }
    });
}

/// Sends all of `instances` at once, then gets all of them back at once.
///
/// # Panics
/// When any is refused or comes back changed.
#[must_use]
pub fn in_and_out(instances: &[Huge]) -> Peaks {
    let mut server = Server::start(Options::default());
    let begun = Instant::now();
    each(
        &server,
        instances,
        |association, huge| huge.store(association),
        |huge| vec![Context::new(uid::CT_IMAGE_STORAGE, huge.syntax())],
    );
    let receiving_bytes = server.peak_resident_bytes();
    println!("edges: received in {:.1} s", begun.elapsed().as_secs_f64());
    assert!(server.stop().success(), "the server does not stop in order");
    server.restart();
    let begun = Instant::now();
    each(&server, instances, huge::get, |_| questions());
    let giving_bytes = server.peak_resident_bytes();
    println!(
        "edges: given back in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(server.stop().success(), "the server does not stop in order");
    Peaks {
        receiving_bytes,
        giving_bytes,
    }
}

fn told(what: &str, peaks: Peaks) {
    println!(
        "edges: {what}: at most {} MB in memory while it came, {} MB while it went",
        peaks.receiving_bytes / 1_000_000,
        peaks.giving_bytes / 1_000_000
    );
    assert!(
        peaks.receiving_bytes <= RESIDENT_BYTES_MAX,
        "too much memory to receive"
    );
    assert!(
        peaks.giving_bytes <= RESIDENT_BYTES_MAX,
        "too much memory to give back"
    );
}

/// Ten instances of 1 GB at once, in and out.
///
/// # Panics
/// When it takes too much memory, or as [`in_and_out`].
pub fn ten_in_and_out() {
    let instances: Vec<Huge> = (1..=10)
        .map(|study| Huge::native(study, 1, 1_000_000_000))
        .collect();
    told("ten of 1 GB", in_and_out(&instances));
}

/// One instance of 5 GB in ten fragments, in and out.
///
/// # Panics
/// As [`ten_in_and_out`].
pub fn five_gigabytes() {
    told(
        "one of 5 GB",
        in_and_out(&[Huge::encapsulated(1, 1, 10, 500_000_000)]),
    );
}
