//! A network between a peer and the server that delays, drips, resets, closes or swallows (R11).
//!
//! It is a TCP proxy of the tests' own: the kernel of a test machine may know no traffic control.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;

/// What happens to what the peer sends to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// Each piece arrives this much later, in both directions.
    Delayed(Duration),
    /// One byte at a time, with this pause between them.
    Dripping(Duration),
    /// After so many bytes both connections are reset.
    ResetAfter(u64),
    /// After so many bytes the server is told that no more will come.
    HalfClosedAfter(u64),
    /// After so many bytes nothing arrives any more, in either direction, and nothing is closed.
    BlackHoleAfter(u64),
}

/// A listening proxy. Its threads end with their connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    forwarded: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port before `server`.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(server: SocketAddr, weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let forwarded = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&forwarded);
        std::thread::spawn(move || {
            // One connection: each test has its own weather.
            if let Ok((peer, _)) = listener.accept() {
                serve(peer, server, weather, &count);
            }
        });
        Self { address, forwarded }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that have come to the server through it.
    #[must_use]
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::SeqCst)
    }
}

/// Ends `stream` with a reset instead of an orderly close.
///
/// # Panics
/// When the system refuses.
pub fn reset(stream: &TcpStream) {
    SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .expect("an open socket");
}

fn serve(peer: TcpStream, server: SocketAddr, weather: Weather, count: &AtomicU64) {
    let Ok(server) = TcpStream::connect(server) else {
        return;
    };
    for stream in [&peer, &server] {
        stream.set_nodelay(true).expect("an open socket");
    }
    let back = (
        server.try_clone().expect("a handle"),
        peer.try_clone().expect("a handle"),
    );
    let swallows = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&swallows);
    let answers = std::thread::spawn(move || answer(&back.0, &back.1, weather, &told));
    forward(&peer, &server, weather, count);
    if matches!(weather, Weather::BlackHoleAfter(_)) {
        swallows.store(true, Ordering::SeqCst);
        // Open as long as either side lasts: they must not see an end.
        let mut nobody = [0; 4096];
        while (&peer).read(&mut nobody).is_ok_and(|length| length > 0) {}
        server.shutdown(Shutdown::Both).ok();
    }
    answers.join().ok();
}

/// From the peer to the server.
fn forward(mut peer: &TcpStream, mut server: &TcpStream, weather: Weather, count: &AtomicU64) {
    let mut buffer = [0; 16_384];
    let mut total = 0_u64;
    let limit = match weather {
        Weather::ResetAfter(bytes)
        | Weather::HalfClosedAfter(bytes)
        | Weather::BlackHoleAfter(bytes) => bytes,
        Weather::Fair | Weather::Delayed(_) | Weather::Dripping(_) => u64::MAX,
    };
    while total < limit {
        let most = usize::try_from((limit - total).min(16_384)).expect("short");
        let most = if matches!(weather, Weather::Dripping(_)) {
            1
        } else {
            most
        };
        let Ok(length @ 1..) = peer.read(&mut buffer[..most]) else {
            server.shutdown(Shutdown::Write).ok();
            return;
        };
        if let Weather::Delayed(pause) | Weather::Dripping(pause) = weather {
            // The pause is what is tried, not a wait for something.
            std::thread::sleep(pause);
        }
        if server.write_all(&buffer[..length]).is_err() {
            peer.shutdown(Shutdown::Both).ok();
            return;
        }
        total += length as u64;
        count.store(total, Ordering::SeqCst);
    }
    match weather {
        Weather::ResetAfter(_) => {
            // The reset goes out with the last handle; this makes the other thread drop its own.
            reset(peer);
            reset(server);
            server.shutdown(Shutdown::Read).ok();
        }
        Weather::HalfClosedAfter(_) => {
            server.shutdown(Shutdown::Write).ok();
        }
        _ => {}
    }
}

/// From the server to the peer.
fn answer(mut server: &TcpStream, mut peer: &TcpStream, weather: Weather, swallows: &AtomicBool) {
    let mut buffer = [0; 16_384];
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        if let Weather::Delayed(pause) = weather {
            std::thread::sleep(pause);
        }
        if !swallows.load(Ordering::SeqCst) && peer.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // What the server has ended is ended for the peer too, if it is to see that.
    if !matches!(weather, Weather::ResetAfter(_)) && !swallows.load(Ordering::SeqCst) {
        peer.shutdown(Shutdown::Both).ok();
    }
}
