//! The senders: eight at once, until the server dies.

use std::net::SocketAddr;
use std::sync::Mutex;

use super::oracle::Oracle;
use crate::samples::{Random, Slice};
use crate::server::Server;
use crate::wire::{Association, Context, Proposal, WireError, digest, uid};

/// Senders at once.
pub(crate) const SENDERS: u32 = 8;

/// Runs the senders, of studies from `base` on, while `ending` brings the server to its end.
pub(crate) fn send_until_it_dies(
    server: &mut Server,
    oracle: &Mutex<Oracle>,
    (base, seed, mix): (u32, u64, Mix),
    ending: impl FnOnce(&mut Server),
) {
    let address = server.dicom();
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            // The end of the server is the end of the sender.
            scope.spawn(move || send(address, base + sender, seed, oracle, mix).err());
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

/// Stores slices of `study` until the server dies.
fn send(
    address: SocketAddr,
    study: u32,
    seed: u64,
    oracle: &Mutex<Oracle>,
    mix: Mix,
) -> Result<(), WireError> {
    let context = Context::new(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let mut association = Association::connect(address, &Proposal::new(vec![context]))?;
    let mut random = Random::new(seed ^ u64::from(study));
    for number in 1.. {
        let mut slice = Slice::new(study, number);
        slice.seed = random.number();
        slice.side = match random.below(400) {
            _ if number == 1 && mix == Mix::LargeFirst => LARGE_SIDE,
            0 => LARGE_SIDE,
            1..8 => 512,
            _ => u16::try_from(random.below(64) + 1).expect("small"),
        };
        let data_set = slice.data_set();
        oracle
            .lock()
            .expect("no sender panics")
            .note_sent(&slice, digest(&data_set));
        let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
        let status =
            association.store(uid::CT_IMAGE_STORAGE, &slice.instance, syntax, &data_set)?;
        if status == 0 {
            oracle
                .lock()
                .expect("no sender panics")
                .note_acknowledged(&slice);
        }
    }
    association.release()
}
