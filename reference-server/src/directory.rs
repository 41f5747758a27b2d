//! Whose organisation a device or program is of, and what it sees for that, as the registry knows
//! it: held in memory, so that nothing is read when somebody asks.

use crate::place;
use pacs_core::access::SignedIn;
use pacs_core::role::sight::{Duties, Onlooker, Senders, Sight};
use pacs_core::role::visibility::pools_of;
use pacs_core::{Action, OrganisationCode};
use pacs_store::registry::{Registry, RegistryError};
use std::sync::{Arc, PoisonError, RwLock};

/// Devices that are read at once.
const PAGE_COUNT: usize = 500;

/// What is known of organisations and their devices. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    known: Arc<RwLock<Arc<Known>>>,
}

/// What was known at one moment.
#[derive(Debug, Default)]
struct Known {
    has_organisations: bool,
    senders: Arc<Senders>,
}

impl Directory {
    /// Reads all of it anew.
    ///
    /// # Errors
    /// [`RegistryError`]; what was known before stays.
    pub async fn learn(&self, registry: &Registry) -> Result<(), RegistryError> {
        let organisations = registry.organisations().await?;
        let mut senders = Senders::default();
        for organisation in &organisations {
            let organisation = &organisation.value;
            let prefix = organisation.ae_prefix.clone();
            senders.prefixes.insert(prefix, organisation.code);
        }
        let mut after = None;
        loop {
            let page = registry.devices(after.as_ref(), PAGE_COUNT).await?;
            let is_last = page.len() < PAGE_COUNT;
            for device in page {
                after = Some(device.value.ae_title.clone());
                let device = device.value;
                if let Some(department) = device.department {
                    let title = device.ae_title.clone();
                    senders.departments.insert(title, department);
                }
                senders.devices.insert(device.ae_title, device.organisation);
            }
            if is_last {
                break;
            }
        }
        let known = Known {
            has_organisations: !organisations.is_empty(),
            senders: Arc::new(senders),
        };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }

    /// Whether there is an organisation.
    pub(crate) fn has_organisations(&self) -> bool {
        self.known().has_organisations
    }

    /// All organisations.
    pub(crate) fn organisations(&self) -> Vec<OrganisationCode> {
        self.known().organisations().collect()
    }

    /// The organisation of the device that calls itself `title`.
    pub(crate) fn organisation(&self, title: &str) -> Option<OrganisationCode> {
        self.known().senders.organisation(title)
    }

    fn known(&self) -> Arc<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&known)
    }

    /// What a device that calls itself `title` sees: what its organisation makes.
    pub(crate) fn device(&self, title: &str) -> Sight {
        let known = self.known();
        known.machine(known.senders.organisation(title))
    }

    /// What a program of `organisation` sees; of none, nothing.
    pub(crate) fn program(&self, organisation: Option<OrganisationCode>) -> Sight {
        self.known().machine(organisation)
    }

    /// What somebody who is signed in sees, for what they want to do.
    pub(crate) fn user(&self, user: &SignedIn, action: Action) -> Sight {
        let known = self.known();
        if !known.has_organisations {
            return Sight::Everything;
        }
        Sight::Narrowed(Arc::new(Onlooker {
            user: user.name.clone(),
            grants: user.grants.clone(),
            pools: pools_of(&user.grants, known.organisations()),
            is_doctor: user.is_doctor,
            break_glass: user.break_glass.clone(),
            duties: if action == Action::Hide {
                Duties::Rejecting
            } else {
                Duties::Looking
            },
            senders: Arc::clone(&known.senders),
            at: place::now().to_utc(),
        }))
    }
}

impl Known {
    /// All of them: each has a prefix of its own.
    fn organisations(&self) -> impl Iterator<Item = OrganisationCode> {
        self.senders.prefixes.values().copied()
    }

    fn machine(&self, organisation: Option<OrganisationCode>) -> Sight {
        // An archive that knows no organisations is one: of the hospital that it stands in.
        if !self.has_organisations {
            return Sight::Everything;
        }
        let senders = Arc::clone(&self.senders);
        let at = place::now().to_utc();
        Sight::Narrowed(Arc::new(Onlooker::machine(organisation, senders, at)))
    }
}
