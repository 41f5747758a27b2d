//! The senders: eight over C-STORE and four over STOW-RS at once, until the server dies.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use super::oracle::Oracle;
use crate::samples::{Random, Slice};
use crate::server::Server;
use crate::stow::{RELATED, related, try_ask};
use crate::wire::{Association, Context, Proposal, WireError, digest, uid};

/// Senders over C-STORE at once.
const C_STORE_SENDERS: u32 = 8;

/// Senders over STOW-RS at once.
const STOW_SENDERS: u32 = 4;

/// Senders at once; each has a study of its own in each round.
pub(crate) const SENDERS: u32 = C_STORE_SENDERS + STOW_SENDERS;

/// Instances in one request of STOW-RS.
const STOWED_AT_ONCE_MAX: u64 = 6;

/// Runs the senders, of studies from `base` on, while `ending` brings the server to its end.
pub(crate) fn send_until_it_dies(
    server: &mut Server,
    oracle: &Mutex<Oracle>,
    (base, seed, mix): (u32, u64, Mix),
    ending: impl FnOnce(&mut Server),
) {
    let (dicom, http) = (server.dicom(), server.http());
    std::thread::scope(|scope| {
        // The end of the server is the end of the sender.
        for sender in 0..C_STORE_SENDERS {
            let slices = Slices::new(base + sender, seed, mix);
            scope.spawn(move || send(dicom, slices, oracle).err());
        }
        for sender in C_STORE_SENDERS..SENDERS {
            let slices = Slices::new(base + sender, seed, mix);
            scope.spawn(move || stow(http, slices, oracle).err());
        }
        ending(server);
        if server.is_alive() {
            server.kill();
        }
    });
}

/// What a sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Mostly small, some of the size of a CT slice, few that get a pack of their own.
    Usual,
    /// The same, after one that gets a pack of its own.
    LargeFirst,
}

/// Side of an image above the size at which an instance gets a pack of its own.
const LARGE_SIDE: u16 = 2200;

/// The slices of one study, without an end.
struct Slices {
    study: u32,
    number: u32,
    random: Random,
    mix: Mix,
}

impl Slices {
    fn new(study: u32, seed: u64, mix: Mix) -> Self {
        Self {
            study,
            number: 0,
            random: Random::new(seed ^ u64::from(study)),
            mix,
        }
    }

    fn next(&mut self) -> Slice {
        self.number += 1;
        let mut slice = Slice::new(self.study, self.number);
        slice.seed = self.random.number();
        slice.side = match self.random.below(400) {
            _ if self.number == 1 && self.mix == Mix::LargeFirst => LARGE_SIDE,
            0 => LARGE_SIDE,
            1..8 => 512,
            _ => u16::try_from(self.random.below(64) + 1).expect("small"),
        };
        slice
    }
}

/// Stores slices over C-STORE until the server dies.
fn send(address: SocketAddr, mut slices: Slices, oracle: &Mutex<Oracle>) -> Result<(), WireError> {
    let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
    let context = Context::new(uid::CT_IMAGE_STORAGE, syntax);
    let mut association = Association::connect(address, &Proposal::new(vec![context]))?;
    loop {
        let slice = slices.next();
        let data_set = slice.data_set();
        locked(oracle).note_sent(&slice, digest(&data_set));
        let status =
            association.store(uid::CT_IMAGE_STORAGE, &slice.instance, syntax, &data_set)?;
        if status == 0 {
            locked(oracle).note_acknowledged(&slice);
        }
    }
}

/// Stores slices over STOW-RS, a few with each request, until the server dies.
fn stow(address: SocketAddr, mut slices: Slices, oracle: &Mutex<Oracle>) -> io::Result<()> {
    loop {
        let count = 1 + slices.random.below(STOWED_AT_ONCE_MAX);
        let together: Vec<Slice> = (0..count).map(|_| slices.next()).collect();
        stow_together(address, &together, oracle)?;
    }
}

/// Stores slices with one request. Acknowledged is what the response says is stored (PS3.18
/// 10.5.3), which may be a part of them.
pub(super) fn stow_together(
    address: SocketAddr,
    slices: &[Slice],
    oracle: &Mutex<Oracle>,
) -> io::Result<()> {
    for slice in slices {
        locked(oracle).note_sent(slice, digest(&slice.data_set()));
    }
    let files: Vec<Vec<u8>> = slices.iter().map(Slice::file).collect();
    let kind = [("Content-Type", RELATED)];
    let body = related(&files);
    let answer = try_ask(address, "POST", "/dicomweb/studies", &kind, &body)?;
    if !matches!(answer.status, 200 | 202) {
        return Ok(());
    }
    // What was cut by the death of the server says nothing.
    let whole = answer.try_json().ok_or(io::ErrorKind::UnexpectedEof)?;
    let stored = crate::stow::stored(&whole);
    let mut oracle = locked(oracle);
    for slice in slices {
        if stored.contains(&slice.instance) {
            oracle.note_stowed(slice);
        }
    }
    Ok(())
}

fn locked(oracle: &Mutex<Oracle>) -> MutexGuard<'_, Oracle> {
    oracle.lock().expect("no sender panics")
}
