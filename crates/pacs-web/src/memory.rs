//! Memory that requests of one kind take together, of which one client has no more than its share,
//! so that it cannot have the others refused.

use crate::error::Failure;
use pacs_core::Caller;
use pacs_core::access::Holder;
use pacs_store::shares::{self, Shares};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of one unit of [`Shares`].
const UNIT_BYTES: u64 = 64 << 10;

/// The memory of all requests of a kind.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    shares: Arc<Shares>,
    of_client_bytes_max: u64,
}

/// A part of it, for one thing that a client wants; given back when it goes.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Memory,
    holder: Holder,
    held: Option<shares::Share>,
    needed_bytes: u64,
}

impl Memory {
    /// `all_bytes_max`, of which one client has up to `of_client_bytes_max`.
    pub(crate) fn new(all_bytes_max: u64, of_client_bytes_max: u64) -> Self {
        let of_client_bytes_max = of_client_bytes_max.min(all_bytes_max);
        let (all, each) = (units(all_bytes_max), units(of_client_bytes_max));
        Self {
            shares: Arc::new(Shares::new(all, each, Duration::ZERO)),
            of_client_bytes_max,
        }
    }

    /// A part of it for `caller`, still empty.
    pub(crate) fn share(&self, caller: &Caller) -> Share {
        Share {
            memory: self.clone(),
            holder: caller.holder(),
            held: None,
            needed_bytes: 0,
        }
    }
}

impl Share {
    /// Takes room for `bytes` more, and waits for none: who holds some already would wait for
    /// others that do the same.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] where others, or other requests of the client, have it;
    /// [`Failure::TooLarge`] where it is more than one client has, so that waiting would not help.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Failure> {
        let needed_bytes = self.needed_bytes.saturating_add(bytes);
        let bytes_max = self.memory.of_client_bytes_max;
        if needed_bytes > bytes_max {
            let detail = format!("metadata that takes more than {bytes_max} bytes of memory");
            return Err(Failure::TooLarge { detail });
        }
        let needed = units(needed_bytes);
        let more = match &mut self.held {
            Some(held) => held.need(needed),
            held => {
                let taken = self.memory.shares.take_now(Some(&self.holder), needed);
                taken.map(|share| *held = Some(share))
            }
        };
        more.map_err(|_none| Failure::Unavailable {
            detail: "no memory for metadata at the moment",
        })?;
        self.needed_bytes = needed_bytes;
        Ok(())
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(name: &str) -> Caller {
        Caller::Client {
            address: IpAddr::from([192, 0, 2, 1]),
            name: Some(name.to_owned()),
        }
    }

    #[test]
    fn one_client_has_its_share_in_all_its_requests_and_leaves_the_rest_to_others() {
        let memory = Memory::new(4 * UNIT_BYTES, 3 * UNIT_BYTES);
        let (one, other) = (client("one"), client("other"));
        let (mut first, mut second) = (memory.share(&one), memory.share(&one));
        first.grow(UNIT_BYTES + 1).unwrap();
        second.grow(1).unwrap();
        let refused = second.grow(UNIT_BYTES).unwrap_err();
        assert!(matches!(refused, Failure::Unavailable { .. }), "{refused}");

        let mut others = memory.share(&other);
        others.grow(UNIT_BYTES).unwrap();
        assert!(others.grow(1).is_err(), "there is no more");
        drop(first);
        others.grow(1).unwrap();
        second.grow(UNIT_BYTES).unwrap();
    }

    #[test]
    fn more_than_a_client_may_have_is_too_much_whatever_is_free() {
        let memory = Memory::new(4 * UNIT_BYTES, 3 * UNIT_BYTES);
        let mut share = memory.share(&client("one"));
        let refused = share.grow(3 * UNIT_BYTES + 1).unwrap_err();
        assert!(matches!(refused, Failure::TooLarge { .. }), "{refused}");
        share.grow(3 * UNIT_BYTES).unwrap();
        let mut none = Memory::new(0, UNIT_BYTES).share(&client("one"));
        assert!(none.grow(1).is_err());
    }
}
