//! What time it is, and where random numbers come from: arguments below, this at the top.

use crate::place;
use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Time and randomness.
#[derive(Clone)]
pub struct World {
    now: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    random: Arc<Random>,
}

type Random = dyn Fn(&mut [u8]) -> Result<(), NoRandomness> + Send + Sync;

/// The system has no randomness: nothing secret can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness")]
pub struct NoRandomness;

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// That of the system.
    #[must_use]
    pub fn real() -> Self {
        Self {
            now: Arc::new(system_time),
            random: Arc::new(|bytes| getrandom::fill(bytes).map_err(|_| NoRandomness)),
        }
    }

    /// Another time, with the randomness of the system.
    #[must_use]
    pub fn at(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self {
            now: Arc::new(now),
            ..Self::real()
        }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    /// The same at the place of the archive.
    #[must_use]
    pub fn moment(&self) -> DateTime<FixedOffset> {
        local(self.now())
    }

    /// Random bytes.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn random<const N: usize>(&self) -> Result<[u8; N], NoRandomness> {
        let mut bytes = [0; N];
        (self.random)(&mut bytes)?;
        Ok(bytes)
    }

    /// What ties together what belongs to one request, in rows and audit records; `None` where the
    /// system has no randomness.
    #[must_use]
    pub fn correlation(&self) -> Option<String> {
        let random = self.random::<8>().ok();
        random.map(|bytes| format!("{:016x}", u64::from_be_bytes(bytes)))
    }
}

/// A time with the offset of the place of the archive.
#[must_use]
pub fn local(at: DateTime<Utc>) -> DateTime<FixedOffset> {
    at.with_timezone(&place::offset())
}

fn system_time() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = TimeDelta::from_std(since.unwrap_or_default()).unwrap_or_default();
    DateTime::UNIX_EPOCH
        .checked_add_signed(since)
        .unwrap_or_default()
}
