//! Those who ask, and what their roles are good for.

use super::land::ORGANISATIONS;
use crate::policy::Shows;
use pacs_core::role::Role;

/// What somebody is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Device(&'static str),
    Program(&'static str),
    User {
        name: String,
        roles: Vec<Held>,
        /// The patient whom they opened in an emergency.
        glass: Option<usize>,
    },
}

/// A role, where it is held, and for which modality and department alone.
pub(crate) type Held = (
    Role,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
);

/// What somebody asks about: of which organisation, of which modality, and of which department.
pub(crate) type Work<'a> = (&'a str, &'a str, Option<&'a str>);

/// Departments, that each organisation has.
pub(super) const DEPARTMENTS: [&str; 2] = ["ER", "RAD"];

/// Modalities, and what orders call them.
pub(super) const MODALITIES: [(&str, &str); 2] = [("CT", "Ct"), ("MR", "Mr")];

/// Somebody who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) kind: Kind,
    /// Over HTTP.
    pub(crate) shows: Shows,
}

/// Roles that see all that their organisation makes.
pub(super) const MAKES: [Role; 3] = [Role::Operator, Role::Radiographer, Role::Radiologist];

/// Roles that see what they ordered themselves.
pub(super) const ORDERS: [Role; 4] = [
    Role::Operator,
    Role::Radiographer,
    Role::Radiologist,
    Role::Referrer,
];

/// Roles that see what was made before of a patient whom their organisation treats.
pub(super) const TREATS: [Role; 5] = [
    Role::Expert,
    Role::Operator,
    Role::Radiographer,
    Role::Radiologist,
    Role::Referrer,
];

/// Roles that say whose studies of their organisation are.
const RECONCILES: [Role; 5] = [
    Role::ArchiveAdmin,
    Role::Operator,
    Role::OrgAdmin,
    Role::Radiographer,
    Role::Radiologist,
];

impl Caller {
    /// Whether they hold one of these roles at an organisation, be it for a part of its work alone.
    pub(crate) fn holds(&self, wanted: &[Role], of: &str) -> bool {
        let mut all = MODALITIES.iter();
        all.any(|(modality, _)| {
            let mut all = DEPARTMENTS.map(Some).into_iter().chain([None]);
            all.any(|department| self.holds_for(wanted, (of, modality, department)))
        })
    }

    /// Whether they hold one of them for a modality and a department.
    pub(crate) fn holds_for(&self, wanted: &[Role], (of, modality, department): Work<'_>) -> bool {
        let Kind::User { roles, .. } = &self.kind else {
            return false;
        };
        let mut held = roles.iter();
        held.any(|(role, at, limit, within)| {
            let admits = limit.is_none_or(|limit| limit == modality)
                && within.is_none_or(|within| department == Some(within));
            wanted.contains(role) && *at == of && admits
        })
    }

    /// Whether they hold one of these roles anywhere.
    pub(crate) fn holds_any(&self, wanted: &[Role]) -> bool {
        let mut all = ORGANISATIONS.iter();
        all.any(|(of, _)| self.holds(wanted, of))
    }

    /// Whether they say whose studies of an organisation are.
    pub(crate) fn reconciles(&self, of: &str) -> bool {
        self.holds(&RECONCILES, of)
    }

    /// Whether they say so of those of a modality and a department.
    pub(crate) fn reconciles_for(&self, work: Work<'_>) -> bool {
        self.holds_for(&RECONCILES, work)
    }

    /// Whether they do so anywhere, or could ask for it.
    pub(crate) fn reconciles_any(&self) -> bool {
        self.holds_any(&RECONCILES)
    }

    /// Whether they see images of anybody.
    pub(crate) fn looks(&self) -> bool {
        let is_user = matches!(self.kind, Kind::User { .. });
        !is_user || self.holds_any(&[&TREATS[..], &[Role::ArchiveAdmin]].concat())
    }
}
