//! Ports for peers that cannot say which one they took.
//!
//! A port that the system gave out and got back is given to the next who asks, which may be
//! another test's server before the peer has started. So these come from below the range that
//! Linux and macOS give out by themselves, and each stays reserved while this process lives.

use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::Mutex;

const RANGE: Range<u16> = 20_000..32_000;

/// The reservations of this process, the newest last.
static RESERVED: Mutex<Vec<(u16, UdpSocket)>> = Mutex::new(Vec::new());

/// A TCP port of the loopback address nobody listens on, and which nobody else gets from here.
///
/// # Panics
/// When there is none left.
#[must_use]
pub fn free_port() -> u16 {
    let mut reserved = RESERVED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let count = RANGE.end - RANGE.start;
    // Processes start far from each other, so that few ports are tried in vain.
    let first = reserved.last().map_or_else(
        || u16::try_from(std::process::id() % u32::from(count)).expect("less than the count"),
        |(port, _)| port - RANGE.start + 1,
    );
    for step in 0..count {
        let port = RANGE.start + (first + step) % count;
        let address = ("127.0.0.1", port);
        // Among tests, who holds the UDP port of the same number has the TCP port: the peer needs
        // that one itself, and the end of the process, however it comes, gives this one back.
        let Ok(reservation) = UdpSocket::bind(address) else {
            continue;
        };
        if TcpListener::bind(address).is_ok() {
            reserved.push((port, reservation));
            return port;
        }
    }
    panic!("no port is free in {RANGE:?}");
}
