//! Who a deposit comes from.

use super::Archive;
use crate::index::Provenance;
use pacs_core::access::Store;
use pacs_core::role::Permission;
use pacs_core::sender::stored_by;
use pacs_core::{Caller, Permit};

impl Archive {
    /// Who a deposit comes from, and that it comes now.
    #[must_use]
    pub fn provenance(&self, caller: &Caller) -> Provenance {
        let (calling, address) = match caller {
            Caller::Device {
                ae_title, address, ..
            } => (ae_title.as_str().to_owned(), Some(*address)),
            Caller::Client { address, name } => (name.clone().unwrap_or_default(), Some(*address)),
            Caller::System { task } => ((*task).to_owned(), None),
            Caller::User(user) => (user.name.clone(), Some(user.address)),
            _ => (String::new(), None),
        };
        Provenance {
            received_unix_ms: self.shared.clock.now_unix_ms(),
            calling,
            address,
        }
    }

    /// The same of whoever may store: of a program or person that it is one, and of one of a single
    /// organisation that it is for that. What they are called says nothing of whose they are.
    #[must_use]
    pub fn provenance_of(&self, permit: &Permit<Store>) -> Provenance {
        let provenance = self.provenance(permit.caller());
        let is_named = match permit.caller() {
            Caller::Client { name, .. } => name.is_some(),
            Caller::User(_) => true,
            Caller::Device { .. } | Caller::System { .. } | _ => false,
        };
        if !is_named {
            return provenance;
        }
        let organisation = permit.sight().only_organisation(Permission::ImageStore);
        Provenance {
            calling: stored_by(&provenance.calling, organisation),
            ..provenance
        }
    }
}
