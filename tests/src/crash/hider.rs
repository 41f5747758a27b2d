//! Somebody at the portal who takes studies out of sight and brings them back, until the server
//! dies: what was answered stands afterwards, and what was not is done wholly or not at all.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};

use super::oracle::{Oracle, Sight};
use super::senders::{SENDERS, stow_together};
use crate::samples::{Random, Slice};
use crate::server::Server;
use crate::signed_in::Browser;

/// Images of the study that is there to be turned, if there is no other.
const OWN_IMAGES: u32 = 3;

/// How often one study is rejected; an archive takes no end of rejections of a study.
const REJECTIONS_MAX: usize = 100;

/// Somebody who keeps the archive, and is signed in.
#[derive(Debug)]
pub(crate) struct Hider {
    keeper: Browser,
}

impl Hider {
    /// Makes them an account.
    pub(crate) fn start(server: &Server) -> Self {
        Self {
            keeper: Browser::of_new_user(server, "keeper", &["archive_admin@national"]),
        }
    }

    /// Turns studies, of which nobody sends anything, until the server dies: one of its own in this
    /// round, which begins with study `base`, and those of earlier rounds.
    pub(crate) fn turn_until_it_dies(
        &self,
        http: SocketAddr,
        oracle: &Mutex<Oracle>,
        (base, seed): (u32, u64),
    ) {
        let mut random = Random::new(seed);
        let own: Vec<Slice> = (1..=OWN_IMAGES)
            .map(|number| Slice::new(base + SENDERS, number))
            .collect();
        let busy = super::studies_sent_in(base);
        let mut ended = stow_together(http, &own, oracle);
        while ended.is_ok() {
            let mut studies = locked(oracle).studies_acknowledged();
            studies.retain(|(study, _)| !busy.contains(study));
            let is_out = |(_, sight): &(String, Sight)| *sight == Sight::Out;
            if random.below(2) == 0 && studies.iter().any(is_out) {
                studies.retain(is_out);
            }
            let index = random.below(studies.len().max(1) as u64);
            let chosen = studies.get(usize::try_from(index).expect("an index"));
            // Without any, its own was not stored: the server does not store any more.
            let Some((study, _)) = chosen else { return };
            ended = self.turn(http, oracle, study);
        }
    }

    /// Takes the study out of sight where it is in sight, and else brings it back.
    fn turn(&self, http: SocketAddr, oracle: &Mutex<Oracle>, study: &str) -> io::Result<()> {
        let ask = |method, path: &str, body| self.ask(http, oracle, method, path, body);
        let path = format!("/api/v1/studies/{study}");
        let Some(shown) = ask("GET", &path, &Value::Null)? else {
            return Ok(());
        };
        let rejections = shown["rejections"].as_array().expect("rejections");
        if rejections.len() >= REJECTIONS_MAX {
            return Ok(());
        }
        let mut standing = rejections.iter().filter(|one| one["state"] != "restored");
        // Until the answer says so it is not known.
        locked(oracle).note_turning(study);
        let (answer, sight) = match standing.next() {
            None => {
                let body = json!({"title": "quality", "reason": "of the campaign"});
                (
                    ask("POST", &format!("{path}/rejections"), &body)?,
                    Sight::Out,
                )
            }
            Some(one) => {
                let id = one["id"].as_str().expect("an id");
                let path = format!("/api/v1/rejections/{id}/restoration");
                let body = json!({"reason": "of the campaign"});
                (ask("POST", &path, &body)?, Sight::In)
            }
        };
        if answer.is_some() {
            locked(oracle).note_turned(study, sight);
        }
        Ok(())
    }

    /// Asks; `None` where the server says that it cannot do it now.
    ///
    /// # Panics
    /// When it says that this person may not, or that there is no such thing.
    fn ask(
        &self,
        http: SocketAddr,
        oracle: &Mutex<Oracle>,
        method: &str,
        path: &str,
        body: &Value,
    ) -> io::Result<Option<Value>> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let key = format!("turning-{:06}", COUNT.fetch_add(1, Ordering::Relaxed));
        let fields = [("Idempotency-Key", key.as_str())];
        let answer = self.keeper.try_send(http, method, path, &fields, body)?;
        // What was cut by the death of the server says nothing.
        let whole = answer.try_json().ok_or(io::ErrorKind::UnexpectedEof)?;
        match answer.status {
            200 | 201 => Ok(Some(whole)),
            500..=599 => Ok(None),
            _ if locked(oracle).is_power_gone() => Ok(None),
            status => panic!("the keeper is refused: {method} {path}: {status} {whole}"),
        }
    }
}

fn locked(oracle: &Mutex<Oracle>) -> MutexGuard<'_, Oracle> {
    oracle.lock().expect("no sender panics")
}
