//! Passwords, hashed by Argon2id. How much of it happens at once is bounded, and so is the memory.

use crate::accounts::hex;
use crate::clock::{NoRandomness, World};
use crate::limits::{
    PASSWORD_HASH_MEMORY_KIB_MAX, PASSWORD_HASH_PASSES_MAX, PASSWORD_HASH_WAIT_MAX,
    PASSWORD_HASHES_KIB_MAX, PASSWORD_HASHES_PER_CORE_MAX,
};
use argon2::{Algorithm, Argon2, Params, Version};
use pacs_core::account::password::Password;
use pacs_store::registry::accounts::PasswordHash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const ALGORITHM: &str = "argon2id";
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// What hashing a password costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for HashCost {
    /// 64 MiB, three passes.
    fn default() -> Self {
        Self {
            memory_kib: 64 << 10,
            passes: 3,
        }
    }
}

/// Why nothing was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashingError {
    /// So many others sign in that it is not to be waited for.
    Busy,
    /// Argon2 or the randomness failed.
    Failed,
}

impl From<NoRandomness> for HashingError {
    fn from(_: NoRandomness) -> Self {
        Self::Failed
    }
}

#[derive(Debug)]
pub(super) struct Hashing {
    cost: HashCost,
    places: Arc<Semaphore>,
    /// What the password of somebody who is not there is compared with: it takes as long.
    nobody: PasswordHash,
    /// What the passwords of those who are there cost: after a change of the settings not all the
    /// same. A name that is not there costs what one of them does, and always that one.
    in_use: Mutex<Vec<HashCost>>,
    /// Nobody foretells which.
    key: [u8; 32],
    /// What was spent, for tests that count it.
    #[cfg(test)]
    pub(super) spent: Arc<Spent>,
}

/// What hashing has cost so far.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Spent {
    costs: Mutex<Vec<HashCost>>,
    at_once: std::sync::atomic::AtomicUsize,
    at_once_most: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl Spent {
    /// Runs `work`, which costs so much.
    fn run<T>(&self, cost: HashCost, work: impl FnOnce() -> T) -> T {
        use std::sync::atomic::Ordering::SeqCst;
        let at_once = self.at_once.fetch_add(1, SeqCst) + 1;
        self.at_once_most.fetch_max(at_once, SeqCst);
        let done = work();
        self.costs.lock().unwrap().push(cost);
        self.at_once.fetch_sub(1, SeqCst);
        done
    }

    /// What each hash cost since this was asked last.
    pub(super) fn take(&self) -> Vec<HashCost> {
        std::mem::take(&mut *self.costs.lock().unwrap())
    }

    /// How many were made at once, at most.
    pub(super) fn at_once_most(&self) -> usize {
        self.at_once_most.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Hashing {
    pub(super) fn new(cost: HashCost, world: &World) -> Result<Self, HashingError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let fitting = PASSWORD_HASHES_KIB_MAX / (cost.memory_kib as usize).max(1);
        let places = (cores * PASSWORD_HASHES_PER_CORE_MAX).min(fitting).max(1);
        Ok(Self {
            cost,
            places: Arc::new(Semaphore::new(places)),
            in_use: Mutex::default(),
            key: world.random()?,
            #[cfg(test)]
            spent: Arc::default(),
            nobody: PasswordHash {
                hash: hex(&world.random::<HASH_BYTES>()?),
                ..described(cost, &world.random::<SALT_BYTES>()?)
            },
        })
    }

    /// What is kept of a password.
    pub(super) async fn hash(
        &self,
        password: &Password,
        world: &World,
    ) -> Result<PasswordHash, HashingError> {
        let kept = described(self.cost, &world.random::<SALT_BYTES>()?);
        let hash = self.run(Some(password), &kept).await?;
        Ok(PasswordHash { hash, ..kept })
    }

    /// Whether it is the password. `None` for somebody who is not there, and for what is no
    /// password, takes as long and is never right.
    pub(super) async fn is_right(
        &self,
        password: Option<&Password>,
        kept: Option<&PasswordHash>,
        name: &str,
    ) -> Result<bool, HashingError> {
        let nobody = self.nobody(name);
        let compared = kept.unwrap_or(&nobody);
        let hash = self.run(password, compared).await?;
        // Hashes are compared in constant time.
        let is_same = blake3::hash(hash.as_bytes()) == blake3::hash(compared.hash.as_bytes());
        Ok(is_same && kept.is_some() && password.is_some())
    }

    /// Takes note of what the passwords of all who are there cost, each once for each of them.
    pub(super) fn learn(&self, costs: Vec<HashCost>) {
        *self.in_use() = costs;
    }

    fn in_use(&self) -> MutexGuard<'_, Vec<HashCost>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the password of `name`, who is not there, is compared with.
    fn nobody(&self, name: &str) -> PasswordHash {
        let name = name.trim().to_lowercase();
        let drawn = blake3::keyed_hash(&self.key, name.as_bytes());
        let [a, b, c, d, ..] = *drawn.as_bytes();
        let drawn = u32::from_be_bytes([a, b, c, d]) as usize;
        let in_use = self.in_use();
        let cost = drawn
            .checked_rem(in_use.len())
            .and_then(|at| in_use.get(at));
        let cost = cost.copied().unwrap_or(self.cost);
        PasswordHash {
            memory_kib: cost.memory_kib,
            passes: cost.passes,
            ..self.nobody.clone()
        }
    }

    /// Whether the password is to be hashed anew, now that it is known.
    pub(super) fn is_outdated(&self, kept: &PasswordHash) -> bool {
        (kept.memory_kib, kept.passes, kept.lanes)
            != (self.cost.memory_kib, self.cost.passes, LANES)
    }

    /// How many are made at once, at most: by so much memory is it bounded.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.places.available_permits()
    }

    async fn run(
        &self,
        password: Option<&Password>,
        kept: &PasswordHash,
    ) -> Result<String, HashingError> {
        let place = timeout(
            PASSWORD_HASH_WAIT_MAX,
            Arc::clone(&self.places).acquire_owned(),
        );
        // The semaphore is never closed.
        let place = place.await.map_err(|_| HashingError::Busy)?;
        let place = place.map_err(|_| HashingError::Failed)?;
        let password = password.map(|password| password.as_bytes().to_vec());
        let kept = kept.clone();
        #[cfg(test)]
        let spent = Arc::clone(&self.spent);
        let hashing = tokio::task::spawn_blocking(move || {
            let _held = place;
            #[cfg(test)]
            return spent.run(
                HashCost {
                    memory_kib: kept.memory_kib,
                    passes: kept.passes,
                },
                || compute(&password.unwrap_or_default(), &kept),
            );
            #[cfg(not(test))]
            compute(&password.unwrap_or_default(), &kept)
        });
        let hash = hashing.await.map_err(|_| HashingError::Failed)?;
        hash.ok_or(HashingError::Failed)
    }
}

fn described(cost: HashCost, salt: &[u8]) -> PasswordHash {
    PasswordHash {
        algorithm: ALGORITHM.to_owned(),
        memory_kib: cost.memory_kib,
        passes: cost.passes,
        lanes: LANES,
        salt: hex(salt),
        hash: String::new(),
    }
}

/// The hash that `kept` describes; the salt is the text of it.
fn compute(password: &[u8], kept: &PasswordHash) -> Option<String> {
    let is_bounded = kept.memory_kib <= PASSWORD_HASH_MEMORY_KIB_MAX
        && kept.passes <= PASSWORD_HASH_PASSES_MAX
        && kept.algorithm == ALGORITHM;
    if !is_bounded {
        return None;
    }
    let (memory, passes, lanes) = (kept.memory_kib, kept.passes, kept.lanes);
    let parameters = Params::new(memory, passes, lanes, Some(HASH_BYTES)).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    let mut hash = [0; HASH_BYTES];
    let hashed = argon2.hash_password_into(password, kept.salt.as_bytes(), &mut hash);
    hashed.ok().map(|()| hex(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_there_costs_what_some_that_are_there_do_and_always_the_same() {
        let cost = |memory_kib| HashCost {
            memory_kib,
            passes: 1,
        };
        let hashing = Hashing::new(cost(64), &World::real()).unwrap();
        assert_eq!(hashing.nobody("a").memory_kib, 64, "there is nobody");
        hashing.learn(vec![cost(64), cost(128)]);
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..64 {
            let name = format!("user{n}");
            let first = hashing.nobody(&name);
            assert_eq!(hashing.nobody(&name.to_uppercase()), first);
            seen.insert(first.memory_kib);
        }
        assert_eq!(seen, [64, 128].into());
    }
}
