//! Who sent something, as it is kept with what was sent: the AE title of a device, or a program or
//! person with the organisation for which they store.
//!
//! The two are told apart by a backslash, which no AE title has (PS3.5 6.2, AE): nobody who calls
//! itself something becomes somebody else's program.

use crate::OrganisationCode;

/// Between the organisation and the name.
const BETWEEN: char = '\\';

/// A program or person called `name`, who stores for `organisation`.
#[must_use]
pub fn storing_for(organisation: OrganisationCode, name: &str) -> String {
    format!("{organisation}{BETWEEN}{name}")
}

/// The organisation for which something was stored, and who did; `None` for devices, and for who
/// stores for no organisation.
#[must_use]
pub fn stored_for(sender: &str) -> Option<(OrganisationCode, &str)> {
    let (organisation, name) = sender.split_once(BETWEEN)?;
    Some((OrganisationCode::parse(organisation).ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organisation_and_a_name_are_found_again_and_are_no_ae_title() {
        let code = OrganisationCode::parse("006").unwrap();
        let sender = storing_for(code, "KRKL_GATE");
        assert_eq!(stored_for(&sender), Some((code, "KRKL_GATE")));
        assert!(crate::AeTitle::parse(&sender).is_err());
        for device in ["NATHOS_CT1", "006/gate", "gate", "", "x\\y"] {
            assert_eq!(stored_for(device), None, "{device}");
        }
    }
}
