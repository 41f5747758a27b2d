//! How many associations there may be: in all, with one AE title, from one address.

use crate::limits::CONNECTIONS_MAX;
use pacs_net::NetLimits;
use serde::Deserialize;

/// The table `[dicom.limits]` of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsSection {
    associations: Option<usize>,
    associations_per_ae: Option<usize>,
    associations_per_address: Option<usize>,
}

/// How many associations there may be. Over it they are rejected: transient, local limit exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AssociationLimits {
    /// In all.
    pub all: usize,
    /// With one calling AE title.
    pub per_ae: usize,
    /// From one address.
    pub per_address: usize,
}

impl LimitsSection {
    pub(super) fn check(&self, faults: &mut Vec<String>) -> AssociationLimits {
        let defaults = NetLimits::default();
        let mut checked = |key: &str, set: Option<usize>, default: usize| {
            let count = set.unwrap_or(default);
            if !(1..=CONNECTIONS_MAX).contains(&count) {
                faults.push(format!(
                    "dicom.limits.{key}: not between 1 and {CONNECTIONS_MAX}"
                ));
            }
            count
        };
        AssociationLimits {
            all: checked("associations", self.associations, defaults.associations_max),
            per_ae: checked(
                "associations_per_ae",
                self.associations_per_ae,
                defaults.associations_per_ae_max,
            ),
            per_address: checked(
                "associations_per_address",
                self.associations_per_address,
                defaults.associations_per_address_max,
            ),
        }
    }
}

impl AssociationLimits {
    /// `limits` with these.
    #[must_use]
    pub fn over(self, limits: NetLimits) -> NetLimits {
        NetLimits {
            associations_max: self.all,
            associations_per_ae_max: self.per_ae,
            associations_per_address_max: self.per_address,
            ..limits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (AssociationLimits, Vec<String>) {
        let section: LimitsSection = toml::from_str(text).unwrap();
        let mut faults = Vec::new();
        (section.check(&mut faults), faults)
    }

    #[test]
    fn what_is_not_set_is_as_the_manual_says() {
        let (limits, faults) = check("associations_per_ae = 100");

        let expected = AssociationLimits {
            all: 500,
            per_ae: 100,
            per_address: 50,
        };
        assert_eq!((limits, faults), (expected, Vec::new()));
    }

    #[test]
    fn a_limit_of_none_or_too_many_is_a_fault() {
        for text in ["associations = 0", "associations_per_address = 20000"] {
            assert_eq!(check(text).1.len(), 1, "{text}");
        }
    }
}
