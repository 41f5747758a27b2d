//! A line between two servers that is cut and mended, as an uplink is.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::proxy::reset;

/// What of the line is open; `None` while it is cut.
type Open = Mutex<Option<Vec<TcpStream>>>;

/// A line to a server. Its threads end with their connections.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    open: Arc<Open>,
}

impl Line {
    /// Leads to `server`, from a free port.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let open: Arc<Open> = Arc::new(Mutex::new(Some(Vec::new())));
        let line = Arc::clone(&open);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                lead(near, server, &line);
            }
        });
        Self { address, open }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts it: every connection is reset, and every further one at once.
    pub fn cut(&self) {
        for end in locked(&self.open).take().into_iter().flatten() {
            reset(&end);
            end.shutdown(Shutdown::Both).ok();
        }
    }

    /// Mends it, for connections to come.
    pub fn mend(&self) {
        locked(&self.open).get_or_insert_default();
    }
}

fn locked(open: &Open) -> MutexGuard<'_, Option<Vec<TcpStream>>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Joins a connection with one to `server`, unless the line is cut.
fn lead(near: TcpStream, server: SocketAddr, line: &Open) {
    let mut open = locked(line);
    let far = open.is_some().then(|| TcpStream::connect(server));
    let (Some(open), Some(Ok(far))) = (&mut *open, far) else {
        reset(&near);
        return;
    };
    for (from, to) in [(&near, &far), (&far, &near)] {
        from.set_nodelay(true).expect("an open socket");
        let (from, to) = (from.try_clone(), to.try_clone());
        let (from, to) = (from.expect("a handle"), to.expect("a handle"));
        std::thread::spawn(move || pass(from, to));
    }
    open.extend([near, far]);
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..length]).is_err() {
            from.shutdown(Shutdown::Both).ok();
            return;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}
