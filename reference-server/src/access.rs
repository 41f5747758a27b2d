//! Who may do what: the AE table of the configuration, as the one policy under every protocol.
//!
//! A configured title is bound to its address. On a loopback listener an unknown title may echo,
//! store, ask for commitment, query, retrieve and move to any configured AE; on any other address
//! only configured AEs exist.

use crate::config::{Config, RemoteAe};
use pacs_core::{Action, AeTitle, Caller, Policy};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a peer on an open loopback listener may do without being configured.
const LOOPBACK_ACTIONS: [Action; 6] = [
    Action::Commit,
    Action::Echo,
    Action::Find,
    Action::Get,
    Action::Move,
    Action::Store,
];

/// The policy of the reference server.
#[derive(Debug, Clone)]
pub struct Access {
    our_title: AeTitle,
    open_loopback: bool,
    remote_aes: BTreeMap<AeTitle, RemoteAe>,
}

/// Why a peer gets no association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It calls a title that is not ours.
    #[error("called AE title not recognized")]
    CalledTitle,
    /// Its title is unknown, or bound to another address.
    #[error("calling AE title not recognized")]
    CallingTitle,
}

impl Access {
    /// The policy that `config` describes.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            our_title: config.ae_title.clone(),
            open_loopback: config.dicom.ip().is_loopback(),
            remote_aes: config.remote_aes.clone(),
        }
    }

    /// Whether a peer gets an association at all.
    ///
    /// # Errors
    /// [`Refusal`], which PS3.8 9.3.4 has reasons for.
    pub fn admit(
        &self,
        called: &AeTitle,
        calling: &AeTitle,
        address: IpAddr,
    ) -> Result<(), Refusal> {
        if !self.open_loopback && *called != self.our_title {
            return Err(Refusal::CalledTitle);
        }
        match self.remote_aes.get(calling) {
            Some(ae) if ae.sources.contains(&address.to_canonical()) => Ok(()),
            None if self.open_loopback => Ok(()),
            _ => Err(Refusal::CallingTitle),
        }
    }

    /// The AE that `caller` names as C-MOVE destination: `None` if there is no such AE, or not for
    /// this caller.
    #[must_use]
    pub fn move_destination(&self, caller: &AeTitle, destination: &AeTitle) -> Option<&RemoteAe> {
        let known = self.remote_aes.get(destination)?;
        match self.remote_aes.get(caller) {
            Some(ae) => ae.move_to.contains(destination).then_some(known),
            None => self.open_loopback.then_some(known),
        }
    }
}

impl Policy for Access {
    fn permits(&self, caller: &Caller, action: Action) -> bool {
        match caller {
            Caller::Device { ae_title, address } => match self.remote_aes.get(ae_title) {
                Some(ae) => {
                    ae.sources.contains(&address.to_canonical()) && ae.allow.contains(&action)
                }
                None => self.open_loopback && LOOPBACK_ACTIONS.contains(&action),
            },
            // The server has no tasks of its own yet, and knows no other kind of caller.
            Caller::System { .. } | _ => false,
        }
    }
}

/// The policy of whoever holds the data directory of a stopped server: look after it, and nothing
/// else.
#[derive(Debug, Clone, Copy)]
pub struct MaintenanceOnly;

impl Policy for MaintenanceOnly {
    fn permits(&self, caller: &Caller, action: Action) -> bool {
        matches!(caller, Caller::System { .. }) && action == Action::Maintain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;
    use std::io::Write;

    fn access(dicom: &str) -> Access {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let toml = format!(
            "[dicom]\naddress = \"{dicom}\"\ninsecure = true\n\
             [[dicom.ae]]\ntitle = \"CT1\"\naddress = \"192.0.2.7:104\"\nallow = [\"store\"]\n\
             [[dicom.ae]]\ntitle = \"WS1\"\naddress = \"127.0.0.1:11113\"\n\
             allow = [\"find\", \"move\"]\nmove_to = [\"WS1\"]\n"
        );
        file.write_all(toml.as_bytes()).unwrap();
        let options = Options {
            config: Some(file.path().into()),
            ..Options::default()
        };
        Access::new(&Config::load(&options).unwrap())
    }

    fn title(text: &str) -> AeTitle {
        AeTitle::parse(text).unwrap()
    }

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const CT1: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn on_loopback_an_unknown_title_is_admitted_and_off_loopback_it_is_not() {
        let (ours, unknown) = (title("PACS"), title("UNKNOWN"));

        assert_eq!(
            access("127.0.0.1:0").admit(&ours, &unknown, LOOPBACK),
            Ok(())
        );
        let refused = access("0.0.0.0:0").admit(&ours, &unknown, CT1);
        assert_eq!(refused, Err(Refusal::CallingTitle));
    }

    #[test]
    fn a_configured_title_is_bound_to_its_address_everywhere() {
        for listener in ["127.0.0.1:0", "0.0.0.0:0"] {
            let access = access(listener);

            let here = access.admit(&title("PACS"), &title("CT1"), CT1);
            let elsewhere = access.admit(&title("PACS"), &title("CT1"), LOOPBACK);

            assert_eq!(
                (here, elsewhere),
                (Ok(()), Err(Refusal::CallingTitle)),
                "{listener}"
            );
        }
    }

    #[test]
    fn off_loopback_the_called_title_must_be_ours() {
        let called = access("0.0.0.0:0").admit(&title("OTHER"), &title("CT1"), CT1);

        assert_eq!(called, Err(Refusal::CalledTitle));
    }

    #[test]
    fn rights_are_those_of_the_table() {
        let access = access("0.0.0.0:0");
        let ct = Caller::Device {
            ae_title: title("CT1"),
            address: CT1,
        };
        let spoofed = Caller::Device {
            ae_title: title("CT1"),
            address: LOOPBACK,
        };

        assert!(access.permits(&ct, Action::Store));
        assert!(!access.permits(&ct, Action::Find));
        assert!(!access.permits(&spoofed, Action::Store));
    }

    #[test]
    fn a_destination_must_be_configured_and_allowed() {
        let access = access("127.0.0.1:0");

        assert!(
            access
                .move_destination(&title("WS1"), &title("WS1"))
                .is_some()
        );
        assert!(
            access
                .move_destination(&title("CT1"), &title("WS1"))
                .is_none()
        );
        assert!(
            access
                .move_destination(&title("ANY"), &title("WS1"))
                .is_some()
        );
        assert!(
            access
                .move_destination(&title("ANY"), &title("NOWHERE"))
                .is_none()
        );
    }
}
