//! Proof that somebody may do something at an organisation. A [`Licence`] is the only key to what
//! the registry keeps of patients and examinations, as a [`Permit`](crate::Permit) is to archives.

use super::{Grant, Grants, Permission, Reach, Role, Work};
use crate::examination::Actor;
use crate::examination::reconcile::Kind;
use crate::{DepartmentCode, OrganisationCode};
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::net::IpAddr;

/// What somebody who acts is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AgentKind {
    /// A modality or workstation, by its AE title.
    Device,
    /// A program of another system.
    Program,
    /// A task of the archive itself, or somebody at its machine: it may everything.
    System,
    /// A person with an account.
    User,
}

/// Whoever acts, with what is recorded of the circumstances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// What it is.
    pub kind: AgentKind,
    /// What the archive knows it by: the login of a user, an AE title, the name of a task.
    pub name: String,
    /// Its roles, and where. Of no effect for the system.
    pub grants: Grants,
    /// Where the request came from; `None`: from the machine of the archive.
    pub address: Option<IpAddr>,
    /// The session, by a part of what is kept of it: no secret.
    pub session: Option<String>,
    /// What ties together what belongs to one request.
    pub correlation: Option<String>,
}

impl Agent {
    /// Somebody with these roles, of whom nothing else is known.
    #[must_use]
    pub fn new(kind: AgentKind, name: impl Into<String>, grants: Grants) -> Self {
        Self {
            kind,
            name: name.into(),
            grants,
            address: None,
            session: None,
            correlation: None,
        }
    }

    /// A device of an organisation.
    #[must_use]
    pub fn device(ae_title: &crate::AeTitle, organisation: OrganisationCode) -> Self {
        let grant = Grant::new(Role::Device, Reach::Organisation(organisation));
        Self::new(AgentKind::Device, ae_title.as_str(), Grants::single(grant))
    }

    /// A task of the archive itself.
    #[must_use]
    pub fn system(task: &'static str) -> Self {
        Self::new(AgentKind::System, task, Grants::default())
    }

    /// A licence for what `D` stands for at `organisation`: a permission that reaches less than
    /// [`Extent::Whole`](super::Extent::Whole) gives none. Where roles are held for a part
    /// of the work alone, so is the licence good: see [`Licence::check_over`].
    ///
    /// # Errors
    /// [`Unlicensed`].
    pub fn licence<D: Duty>(
        &self,
        organisation: OrganisationCode,
    ) -> Result<Licence<D>, Unlicensed> {
        let is_held = self
            .grants
            .reach_over(D::PERMISSION, organisation, Work::Any);
        self.give(is_held, Reach::Organisation(organisation))
    }

    /// A licence for what `D` stands for at every organisation.
    ///
    /// # Errors
    /// [`Unlicensed`].
    pub fn national_licence<D: Duty>(&self) -> Result<Licence<D>, Unlicensed> {
        let is_held = self.grants.reaches_nationally(D::PERMISSION);
        self.give(is_held, Reach::National)
    }

    fn give<D: Duty>(&self, is_held: bool, reach: Reach) -> Result<Licence<D>, Unlicensed> {
        if is_held || self.kind == AgentKind::System {
            return Ok(Licence {
                agent: self.clone(),
                reach,
                duty: PhantomData,
            });
        }
        Err(Unlicensed {
            permission: D::PERMISSION,
        })
    }

    /// As whom this agent acts on a part of the work of `organisation`: once for each role held
    /// there for it.
    #[must_use]
    pub fn actors_at(&self, organisation: OrganisationCode, work: Work<'_>) -> Vec<Actor> {
        if self.kind == AgentKind::System {
            return vec![Actor::System];
        }
        let roles = self.grants.roles_over(organisation, work);
        roles.map(Actor::User).collect()
    }
}

/// A thing that a role may do, as a type.
pub trait Duty: sealed::Sealed {
    /// What the table of roles calls it.
    const PERMISSION: Permission;
}

mod sealed {
    pub trait Sealed {}
}

/// The duties that registries ask licences for.
pub mod duty {
    use super::{Duty, Permission, sealed};

    macro_rules! duties {
        ($($(#[$doc:meta])* $name:ident;)*) => {$(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;
            impl sealed::Sealed for $name {}
            impl Duty for $name {
                const PERMISSION: Permission = Permission::$name;
            }
        )*};
    }

    duties! {
        /// Read the audit record.
        AuditRead;
        /// Bring images in, and tell of the steps that make them.
        ImageStore;
        /// See images, and the examinations that they are of.
        ImageView;
        /// Order an examination.
        OrderCreate;
        /// Change an order.
        OrderEdit;
        /// Look after organisations, policies and dictionaries.
        OrganisationsManage;
        /// Register a patient or correct one.
        PatientEdit;
        /// Say that two patients are one.
        PatientMerge;
        /// Look for patients.
        PatientSearch;
        /// Say whose images are whose.
        Reconcile;
        /// Look after users and devices.
        UsersManage;
        /// Ask for the worklist.
        WorklistQuery;
    }
}

/// Proof that the table of roles was asked, and agreed.
#[derive(Debug, Clone)]
pub struct Licence<D: Duty> {
    agent: Agent,
    reach: Reach,
    duty: PhantomData<D>,
}

impl<D: Duty> Licence<D> {
    /// Who acts.
    #[must_use]
    pub const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The organisation it was given for; `None`: for all.
    #[must_use]
    pub const fn organisation(&self) -> Option<OrganisationCode> {
        match self.reach {
            Reach::National => None,
            Reach::Organisation(organisation) => Some(organisation),
        }
    }

    /// Whether it is good at `organisation`, for something at least.
    ///
    /// # Errors
    /// [`Unlicensed`].
    pub fn check(&self, organisation: OrganisationCode) -> Result<(), Unlicensed> {
        if self.reach.covers(organisation) {
            Ok(())
        } else {
            Err(Unlicensed {
                permission: D::PERMISSION,
            })
        }
    }

    /// Whether it is good for this part of the work of `organisation`.
    ///
    /// # Errors
    /// [`Unlicensed`].
    pub fn check_over(
        &self,
        organisation: OrganisationCode,
        work: Work<'_>,
    ) -> Result<(), Unlicensed> {
        self.check(organisation)?;
        let grants = &self.agent.grants;
        let is_good = self.agent.kind == AgentKind::System
            || grants.reach_over(D::PERMISSION, organisation, work);
        is_good.then_some(()).ok_or(Unlicensed {
            permission: D::PERMISSION,
        })
    }

    /// Whether it is good for images of each of these kinds that `organisation` made in this
    /// department; where no kind, or no department, is known, for all that it makes.
    ///
    /// # Errors
    /// [`Unlicensed`].
    pub fn check_over_each(
        &self,
        organisation: OrganisationCode,
        of: (&BTreeSet<Kind>, Option<&DepartmentCode>),
    ) -> Result<(), Unlicensed> {
        self.check(organisation)?;
        let grants = &self.agent.grants;
        let is_good = self.agent.kind == AgentKind::System
            || grants.reach_over_each(D::PERMISSION, organisation, of);
        is_good.then_some(()).ok_or(Unlicensed {
            permission: D::PERMISSION,
        })
    }

    /// Whether it is good for a part alone of what `organisation` makes.
    #[must_use]
    pub fn is_limited_at(&self, organisation: OrganisationCode) -> bool {
        self.check_over(organisation, Work::ALL).is_err()
    }
}

/// The table of roles does not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no role permits this here: {permission:?}")]
pub struct Unlicensed {
    /// What was asked.
    pub permission: Permission,
}

#[cfg(test)]
mod tests {
    use super::duty::{OrganisationsManage, PatientEdit, PatientSearch, UsersManage};
    use super::*;

    fn organisation(code: &str) -> OrganisationCode {
        OrganisationCode::parse(code).unwrap()
    }

    fn user(role: Role, reach: Reach) -> Agent {
        Agent::new(
            AgentKind::User,
            "u",
            Grants::single(Grant::new(role, reach)),
        )
    }

    #[test]
    fn a_licence_is_given_where_the_role_is_held_and_good_there_alone() {
        let here = organisation("006");
        let operator = user(Role::Operator, Reach::Organisation(here));

        let licence = operator.licence::<PatientEdit>(here).unwrap();

        assert_eq!(licence.agent().name, "u");
        assert_eq!(licence.organisation(), Some(here));
        licence.check(here).unwrap();
        let elsewhere = organisation("001");
        let refused = licence.check(elsewhere).unwrap_err();
        assert_eq!(refused.permission, Permission::PatientEdit);
        assert!(operator.licence::<PatientEdit>(elsewhere).is_err());
        assert!(operator.national_licence::<PatientEdit>().is_err());
        assert!(operator.licence::<UsersManage>(here).is_err());
        assert_eq!(
            operator.actors_at(here, Work::Any),
            [Actor::User(Role::Operator)]
        );
        assert_eq!(operator.actors_at(elsewhere, Work::Any), []);
    }

    #[test]
    fn a_licence_by_a_role_for_some_kinds_of_images_is_good_for_these() {
        let (here, elsewhere) = (organisation("006"), organisation("001"));
        let kinds = crate::role::Kinds::new([Kind::Ct]).unwrap();
        let grant = Grant::new(Role::Radiologist, Reach::Organisation(here)).limited_to(kinds);
        let reader = Agent::new(AgentKind::User, "u", Grants::single(grant));

        let licence = reader.licence::<duty::Reconcile>(here).unwrap();

        let good = |at, work| licence.check_over(at, work).is_ok();
        assert!(good(here, Work::of_kind(&Kind::Ct)) && good(here, Work::Any));
        assert!(!good(here, Work::of_kind(&Kind::Mr)) && !good(here, Work::ALL));
        assert!(!good(elsewhere, Work::of_kind(&Kind::Ct)));
        assert!(licence.is_limited_at(here));
        let each = |kinds: &[Kind]| {
            let kinds = kinds.iter().cloned().collect();
            licence.check_over_each(here, (&kinds, None)).is_ok()
        };
        assert!(each(&[Kind::Ct]) && !each(&[Kind::Ct, Kind::Mr]) && !each(&[]));
        let search = reader.licence::<PatientSearch>(here).unwrap();
        assert!(!search.is_limited_at(here), "patients are of no kind");
        assert_eq!(reader.actors_at(here, Work::of_kind(&Kind::Mr)), []);
        let system = Agent::system("test")
            .licence::<duty::Reconcile>(here)
            .unwrap();
        assert!(
            !system.is_limited_at(here) && system.check_over_each(here, (&[].into(), None)).is_ok()
        );
    }

    #[test]
    fn a_role_that_reaches_less_than_everything_gives_no_licence() {
        let here = organisation("006");
        let referrer = user(Role::Referrer, Reach::Organisation(here));
        assert!(referrer.licence::<PatientSearch>(here).is_err());
    }

    #[test]
    fn a_national_role_and_the_system_are_licensed_everywhere() {
        let ministry = user(Role::MohAdmin, Reach::National);
        for agent in [ministry, Agent::system("test")] {
            let licence = agent.national_licence::<OrganisationsManage>().unwrap();
            assert_eq!(licence.organisation(), None);
            licence.check(organisation("011")).unwrap();
        }
        let here = organisation("006");
        assert_eq!(
            Agent::system("test").actors_at(here, Work::ALL),
            [Actor::System]
        );
    }

    #[test]
    fn a_device_acts_at_its_organisation_alone() {
        let here = organisation("006");
        let title = crate::AeTitle::parse("NATHOS_CT1").unwrap();
        let device = Agent::device(&title, here);
        assert!(device.licence::<duty::WorklistQuery>(here).is_ok());
        assert!(device.licence::<duty::Reconcile>(here).is_err());
        let elsewhere = organisation("001");
        assert!(device.licence::<duty::WorklistQuery>(elsewhere).is_err());
    }
}
