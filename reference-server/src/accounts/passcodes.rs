//! Passcodes: somebody who is signed in gets one, and is known by it on associations (PS3.7
//! D.3.3.7, type 2).
//!
//! A passcode is a part of its session and ends with it. It is no password: it can stand in the
//! settings of a workstation, and it opens no session.

use super::{Accounts, Refused, Who, hash_of};
use pacs_core::account::UserName;
use pacs_core::account::passcode::Passcode;
use pacs_store::registry::accounts::{PasscodeHash, Session, SessionOf, User};
use std::net::IpAddr;

/// How often a session is changed in between before it is given up.
const ATTEMPTS_MAX: u32 = 4;

impl Accounts {
    /// Makes the passcode of a session, shown this once. One that there was is worth nothing from
    /// then on.
    ///
    /// # Errors
    /// [`Refused::NotSignedIn`] where the session has ended; [`Refused::Busy`],
    /// [`Refused::Internal`].
    pub async fn give_passcode(&self, who: &Who, from: IpAddr) -> Result<Passcode, Refused> {
        let passcode = Passcode::new(self.inner.world.random()?);
        let hash = PasscodeHash(hash_of(passcode.digits()));
        let event = self.told_of_own(who, &who.user.value, "PASSCODE_GIVEN", from);
        let store = &self.inner.store;
        // A request beside this one may note that the session was used.
        for _ in 0..ATTEMPTS_MAX {
            let session = store.get::<Session>(&who.session.key).await?;
            let session = session.ok_or(Refused::NotSignedIn)?;
            let next = Session {
                passcode: Some(hash.clone()),
                ..session.value.clone()
            };
            let change = vec![session.changed_to(&next)];
            let committed = store.commit(change, std::slice::from_ref(&event)).await;
            match committed.map_err(Refused::from) {
                Ok(()) => return Ok(passcode),
                Err(Refused::Busy) => {}
                Err(refused) => return Err(refused),
            }
        }
        Err(Refused::Busy)
    }

    /// Whose name and passcode these are, as they are shown. It is a use of the session.
    ///
    /// # Errors
    /// [`Refused::NotSignedIn`] where they are nobody's, or not any more; [`Refused::Busy`],
    /// [`Refused::Internal`].
    pub async fn who_by_passcode(&self, name: &[u8], passcode: &[u8]) -> Result<Who, Refused> {
        let passcode = Passcode::read(passcode).ok_or(Refused::NotSignedIn)?;
        let hash = PasscodeHash(hash_of(passcode.digits()));
        let name = name_of(name).ok_or(Refused::NotSignedIn)?;
        let store = &self.inner.store;
        for place in self.all_below::<SessionOf>(&format!("{name}~")).await? {
            let session = store.get::<Session>(&place.value.session).await?;
            let session = session.filter(|session| session.value.passcode.as_ref() == Some(&hash));
            if let Some(session) = session {
                let who = self.live(session).await?;
                // As over DICOMweb: another password comes first.
                if who.must_change_password() {
                    return Err(Refused::NotSignedIn);
                }
                return Ok(self.used(who).await);
            }
        }
        Err(Refused::NotSignedIn)
    }

    /// The account of a name as it is shown, where there is one: of others nothing is kept, since
    /// people type passwords there.
    pub async fn named(&self, name: &[u8]) -> Option<UserName> {
        let name = name_of(name)?;
        let found = self.inner.store.get::<User>(name.as_str()).await;
        found.ok().flatten().map(|user| user.value.name)
    }
}

fn name_of(shown: &[u8]) -> Option<UserName> {
    UserName::parse(std::str::from_utf8(shown).ok()?).ok()
}
