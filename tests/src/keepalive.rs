//! What the kernel knows of a connection: whether it asks a silent peer if that is still there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::edges::until;
use crate::server::PATIENCE;

/// Connections over IPv4, a line each, as Linux lists them.
const CONNECTIONS: &str = "/proc/net/tcp";

/// Silence after which the kernel asks. Two hours are the default of Linux.
const ASKED_AFTER_MAX: Duration = Duration::from_secs(60);

/// `ESTABLISHED`, as the list has it.
const ESTABLISHED: &str = "01";

/// The timer that runs is that of keep-alive, as the list has it.
const KEEPALIVE: &str = "02";

/// The timer of the connection to `remote`, of the side that is `local` where that is known: how
/// long until the kernel asks. None where there is no such connection, or keep-alive is off.
fn asked_in(local: Option<SocketAddr>, remote: SocketAddr) -> Option<Duration> {
    let list = std::fs::read_to_string(CONNECTIONS).expect("Linux lists connections");
    let (local, remote) = (local.map(listed), listed(remote));
    list.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (from, to, state) = (fields.next()?, fields.next()?, fields.next()?);
        let timer = fields.nth(1)?;
        let is_it = to == remote && local.as_deref().is_none_or(|local| local == from);
        let (kind, hundredths) = timer.split_once(':')?;
        if !is_it || state != ESTABLISHED || kind != KEEPALIVE {
            return None;
        }
        let hundredths = u64::from_str_radix(hundredths, 16).ok()?;
        Some(Duration::from_millis(hundredths.saturating_mul(10)))
    })
}

/// An address as Linux lists it: its four bytes as a number of this machine, and the port.
fn listed(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else {
        panic!("{address} is no address of IPv4");
    };
    let number = u32::from_ne_bytes(ip.octets());
    format!("{number:08X}:{:04X}", address.port())
}

/// Waits until the kernel is going to ask whether `remote` is there: a timer for what is on its way
/// comes first. `local` is the end whose socket that is, where it is known.
///
/// # Panics
/// When it is not going to, or only after longer than a minute.
pub fn wait_for(local: Option<SocketAddr>, remote: SocketAddr) {
    let asked_in = until(PATIENCE, "keep-alive", || asked_in(local, remote));
    assert!(asked_in <= ASKED_AFTER_MAX, "{remote}: {asked_in:?}");
}
