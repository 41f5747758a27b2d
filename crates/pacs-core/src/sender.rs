//! Who sent something, as it is kept with what was sent: the AE title of a device, or a program or
//! person with the organisation for which they store.
//!
//! The two are told apart by a backslash, which no AE title has (PS3.5 6.2, AE): nobody who calls
//! itself something becomes somebody else's program, and no program's name makes it a device.

use crate::OrganisationCode;

/// Between the organisation and the name.
const BETWEEN: char = '\\';

/// Who sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender<'a> {
    /// A device, by the title that it calls itself.
    Device(&'a str),
    /// A program or person: whose they are does not follow from what they are called.
    Program {
        /// For which organisation they stored; `None`: for none, or for several.
        organisation: Option<OrganisationCode>,
        /// What they are called.
        name: &'a str,
    },
}

impl<'a> Sender<'a> {
    /// Whom provenance means.
    #[must_use]
    pub fn of(kept: &'a str) -> Self {
        let Some((organisation, name)) = kept.split_once(BETWEEN) else {
            return Self::Device(kept);
        };
        match OrganisationCode::parse(organisation) {
            Ok(code) => Self::Program {
                organisation: Some(code),
                name,
            },
            Err(_) => Self::Program {
                organisation: None,
                name: if organisation.is_empty() { name } else { kept },
            },
        }
    }
}

/// As what the archive keeps reports of its own (see [`is_own_report`]).
const OWN_REPORTS: &str = "pacs reports";

/// What is kept as the sender of a report that the archive itself wrote.
#[must_use]
pub fn own_report(organisation: OrganisationCode) -> String {
    stored_by(OWN_REPORTS, Some(organisation))
}

/// Whether the archive itself wrote what came from there: a report of images that it has, and no
/// news of what a device made.
#[must_use]
pub fn is_own_report(kept: &str) -> bool {
    let Sender::Program { organisation, name } = Sender::of(kept) else {
        return false;
    };
    organisation.is_some() && name == OWN_REPORTS
}

/// What is kept of a program or person called `name`, who stores for `organisation`; `None`: for
/// none, or for several.
#[must_use]
pub fn stored_by(name: &str, organisation: Option<OrganisationCode>) -> String {
    match organisation {
        Some(code) => format!("{code}{BETWEEN}{name}"),
        None => format!("{BETWEEN}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_the_archive_is_told_from_what_others_send() {
        let organisation = OrganisationCode::parse("006").unwrap();
        assert!(is_own_report(&own_report(organisation)));
        for other in ["pacs reports", "\\pacs reports", "006\\gate"] {
            assert!(!is_own_report(other), "{other}");
        }
    }

    #[test]
    fn a_program_is_found_again_with_its_organisation_or_without_and_is_no_ae_title() {
        let name = "KRKL_GATE";
        for organisation in [OrganisationCode::parse("006").ok(), None] {
            let kept = stored_by(name, organisation);
            assert_eq!(Sender::of(&kept), Sender::Program { organisation, name });
            assert!(crate::AeTitle::parse(&kept).is_err(), "{kept}");
        }
        for device in ["NATHOS_CT1", "006/gate", "gate", ""] {
            assert_eq!(Sender::of(device), Sender::Device(device));
        }
        let of_nobody = Sender::Program {
            organisation: None,
            name: "x\\y",
        };
        assert_eq!(Sender::of("x\\y"), of_nobody);
    }
}
