//! Where readers wait for a group that is promised.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A gate that readers pass, mostly an open one.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Changed under the lock only; read without it where it is open.
    is_closed: AtomicBool,
    lock: Mutex<()>,
    opened: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, ()> {
        // It guards nothing that could be half written.
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever hears of anything that is done after this waits.
    pub(super) fn close(&self) {
        let _lock = self.lock();
        self.is_closed.store(true, Ordering::Release);
    }

    pub(super) fn open(&self) {
        let _lock = self.lock();
        self.is_closed.store(false, Ordering::Release);
        self.opened.notify_all();
    }

    /// Waits until it is open. That takes as long as a commit that is not made durable: some ten
    /// microseconds, less than it would to go to another thread.
    pub(super) fn wait(&self) {
        if !self.is_closed.load(Ordering::Acquire) {
            return;
        }
        let mut lock = self.lock();
        while self.is_closed.load(Ordering::Acquire) {
            let woken = self.opened.wait(lock);
            lock = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    #[test]
    fn who_comes_to_a_closed_gate_passes_when_it_is_opened_and_not_before() {
        let gate = Gate::default();
        gate.wait();
        gate.close();
        let (passed, passing) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..4 {
                let (gate, passed) = (&gate, passed.clone());
                scope.spawn(move || {
                    gate.wait();
                    passed.send(()).unwrap();
                });
            }
            assert!(passing.try_recv().is_err());
            gate.open();
            for _ in 0..4 {
                passing.recv().unwrap();
            }
        });
    }
}
