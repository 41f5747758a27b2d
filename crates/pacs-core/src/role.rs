//! Roles of the people and programs that work with examinations: what each may do
//! ([`Permission`]), where ([`Grants`]), the proof of it ([`Licence`]), and whose images they see
//! ([`visibility`]).

mod departments;
mod kinds;
mod licence;
mod permission;
pub mod sight;
#[cfg(test)]
mod tests;
pub mod visibility;

pub use departments::{Departments, DepartmentsError};
pub use kinds::{Kinds, KindsError, Work};
pub use licence::{Agent, AgentKind, Duty, Licence, Unlicensed, duty};
pub use permission::{Extent, Permission};

use crate::examination::reconcile::Kind;
use crate::{DepartmentCode, OrganisationCode};
use std::collections::BTreeSet;

/// What somebody is at an organisation. One user may hold several roles.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Looks after the archive: reconciles, restores, proposes to erase; never signs.
    ArchiveAdmin,
    /// Reads the audit record and nothing else.
    Auditor,
    /// A modality or workstation.
    Device,
    /// Reads images of several organisations and signs reports.
    Expert,
    /// Looks after people and machines of the ministry's organisations, not after images.
    MohAdmin,
    /// Registers patients and orders examinations.
    Operator,
    /// Looks after people and machines of one organisation, not after images.
    OrgAdmin,
    /// Makes the images.
    Radiographer,
    /// Reads images of one organisation and signs reports.
    Radiologist,
    /// Orders examinations and receives their reports.
    Referrer,
    /// A program of another system.
    Service,
}

impl Role {
    /// Every role, in order.
    pub const ALL: [Self; 11] = [
        Self::ArchiveAdmin,
        Self::Auditor,
        Self::Device,
        Self::Expert,
        Self::MohAdmin,
        Self::Operator,
        Self::OrgAdmin,
        Self::Radiographer,
        Self::Radiologist,
        Self::Referrer,
        Self::Service,
    ];
}

/// Where a role is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// At every organisation.
    National,
    /// At one.
    Organisation(OrganisationCode),
}

impl Reach {
    fn covers(self, organisation: OrganisationCode) -> bool {
        match self {
            Self::National => true,
            Self::Organisation(own) => own == organisation,
        }
    }
}

/// A role, held somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Grant {
    /// Which role.
    pub role: Role,
    /// Where.
    pub reach: Reach,
    /// For which kinds of images alone.
    #[serde(default, skip_serializing_if = "Kinds::is_empty")]
    pub kinds: Kinds,
    /// For which departments alone.
    #[serde(default, skip_serializing_if = "Departments::is_empty")]
    pub departments: Departments,
}

impl Grant {
    /// A role, held somewhere for every kind of images and every department.
    #[must_use]
    pub fn new(role: Role, reach: Reach) -> Self {
        Self {
            role,
            reach,
            kinds: Kinds::default(),
            departments: Departments::default(),
        }
    }

    /// The same, held for these kinds of images alone.
    #[must_use]
    pub fn limited_to(self, kinds: Kinds) -> Self {
        Self { kinds, ..self }
    }

    /// The same, held for these departments alone.
    #[must_use]
    pub fn within(self, departments: Departments) -> Self {
        Self {
            departments,
            ..self
        }
    }

    /// Whether it is held for such work: both limits have to admit it.
    fn admits(&self, work: Work<'_>) -> bool {
        self.kinds.admit(work) && self.departments.admit(work)
    }

    fn extent_over(&self, permission: Permission, work: Work<'_>) -> Option<Extent> {
        let counts = !permission.is_about_images() || self.admits(work);
        self.role.extent(permission).filter(|_| counts)
    }
}

/// The roles of one user, which do not contradict.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<Grant>", into = "Vec<Grant>")]
pub struct Grants(Vec<Grant>);

/// Why one person cannot hold these roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeparationError {
    /// Whoever reads the audit record must not stand in it.
    #[error("an auditor holds no other role")]
    Auditor,
    /// Whoever can bring images back or move them must not sign what they show.
    #[error("an archive administrator holds no role that signs reports")]
    ArchiveAdmin,
    /// Whoever looks after something, or reads the audit record, does so whole.
    #[error("this role is not held for some kinds of images alone")]
    Kinds,
    /// The same; and departments are those of one organisation.
    #[error("this role is not held for some departments alone")]
    Departments,
}

impl Grants {
    /// Takes the roles of one user.
    ///
    /// # Errors
    /// [`SeparationError`] where two of them must not be one person's.
    pub fn new(grants: Vec<Grant>) -> Result<Self, SeparationError> {
        let holds = |role| grants.iter().any(|grant| grant.role == role);
        let is_other = |grant: &Grant| grant.role != Role::Auditor;
        if holds(Role::Auditor) && grants.iter().any(is_other) {
            return Err(SeparationError::Auditor);
        }
        let signs = |grant: &Grant| grant.role.extent(Permission::ReportWrite).is_some();
        if holds(Role::ArchiveAdmin) && grants.iter().any(signs) {
            return Err(SeparationError::ArchiveAdmin);
        }
        let is_whole = |grant: &Grant| grant.kinds.is_empty() || grant.role.takes_limits();
        if !grants.iter().all(is_whole) {
            return Err(SeparationError::Kinds);
        }
        let takes = |grant: &Grant| grant.role.takes_limits() && grant.reach != Reach::National;
        let is_whole = |grant: &Grant| grant.departments.is_empty() || takes(grant);
        if !grants.iter().all(is_whole) {
            return Err(SeparationError::Departments);
        }
        Ok(Self(grants))
    }

    /// How far `permission` reaches over all the work of `organisation`, by every role that is held
    /// there.
    pub fn extents(
        &self,
        permission: Permission,
        organisation: OrganisationCode,
    ) -> impl Iterator<Item = Extent> + '_ {
        self.extents_over(permission, organisation, Work::ALL)
    }

    /// How far it reaches over a part of the work.
    pub fn extents_over<'a>(
        &'a self,
        permission: Permission,
        organisation: OrganisationCode,
        work: Work<'a>,
    ) -> impl Iterator<Item = Extent> + 'a {
        self.held_over(permission, organisation, work)
            .map(|(_, extent)| extent)
    }

    /// How far `permission` reaches over such work, by every role that is held anywhere.
    pub fn extents_anywhere<'a>(
        &'a self,
        permission: Permission,
        work: Work<'a>,
    ) -> impl Iterator<Item = Extent> + 'a {
        let held = self.0.iter();
        held.filter_map(move |grant| grant.extent_over(permission, work))
    }

    /// Whether all of `permission` is held over a part of the work of `organisation`.
    #[must_use]
    pub fn reach_over(
        &self,
        permission: Permission,
        organisation: OrganisationCode,
        work: Work<'_>,
    ) -> bool {
        let mut extents = self.extents_over(permission, organisation, work);
        extents.any(|extent| extent == Extent::Whole)
    }

    /// Whether all of `permission` is held over images of each of these kinds, that `organisation`
    /// made in this department; where no kind, or no department, is known, over all that it makes.
    #[must_use]
    pub fn reach_over_each(
        &self,
        permission: Permission,
        organisation: OrganisationCode,
        (kinds, department): (&BTreeSet<Kind>, Option<&DepartmentCode>),
    ) -> bool {
        let reach = |kind| self.reach_over(permission, organisation, Work::Of { kind, department });
        reach(None) || (!kinds.is_empty() && kinds.iter().all(|kind| reach(Some(kind))))
    }

    fn held_over<'a>(
        &'a self,
        permission: Permission,
        organisation: OrganisationCode,
        work: Work<'a>,
    ) -> impl Iterator<Item = (Role, Extent)> + 'a {
        self.0
            .iter()
            .filter(move |grant| grant.reach.covers(organisation))
            .filter_map(move |grant| Some((grant.role, grant.extent_over(permission, work)?)))
    }

    /// Whether some role is held for some kinds of images alone.
    #[must_use]
    pub fn are_for_some_kinds(&self) -> bool {
        self.0.iter().any(|grant| !grant.kinds.is_empty())
    }

    /// Whether `role` is held at `organisation`.
    #[must_use]
    pub fn holds_at(&self, role: Role, organisation: OrganisationCode) -> bool {
        let mut grants = self.0.iter();
        grants.any(|grant| grant.role == role && grant.reach.covers(organisation))
    }

    /// One role, which contradicts nothing.
    #[must_use]
    pub fn single(grant: Grant) -> Self {
        Self(vec![grant])
    }

    /// The roles that are held at `organisation` for a part of its work.
    pub fn roles_over<'a>(
        &'a self,
        organisation: OrganisationCode,
        work: Work<'a>,
    ) -> impl Iterator<Item = Role> + 'a {
        let held = self.0.iter();
        held.filter(move |grant| grant.reach.covers(organisation) && grant.admits(work))
            .map(|grant| grant.role)
    }

    /// Whether all of `permission` is held at every organisation.
    pub(crate) fn reaches_nationally(&self, permission: Permission) -> bool {
        self.0.iter().any(|grant| {
            let extent = grant.extent_over(permission, Work::ALL);
            grant.reach == Reach::National && extent == Some(Extent::Whole)
        })
    }

    /// Whether `permission` is held anywhere, for whichever part of the work.
    #[must_use]
    pub fn has(&self, permission: Permission) -> bool {
        let held = |grant: &Grant| grant.role.extent(permission).is_some();
        self.0.iter().any(held)
    }
}

/// Whether `approver` may agree to what `proposer` proposed to erase of `organisation`: another
/// person, who holds the permission there.
#[must_use]
pub fn may_approve_erasing(
    proposer: &str,
    approver: &str,
    grants: &Grants,
    organisation: OrganisationCode,
) -> bool {
    let mut held = grants.extents(Permission::ImageEraseApprove, organisation);
    proposer != approver && held.next().is_some()
}

impl TryFrom<Vec<Grant>> for Grants {
    type Error = SeparationError;

    fn try_from(grants: Vec<Grant>) -> Result<Self, SeparationError> {
        Self::new(grants)
    }
}

impl From<Grants> for Vec<Grant> {
    fn from(grants: Grants) -> Self {
        grants.0
    }
}
