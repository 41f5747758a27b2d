//! Proof that somebody may do something at an organisation. A [`Licence`] is the only key to what
//! the registry keeps of patients and examinations, as a [`Permit`](crate::Permit) is to archives.

use super::{Extent, Grant, Grants, Permission, Reach, Role};
use crate::OrganisationCode;
use crate::examination::Actor;
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
        let grant = Grant {
            role: Role::Device,
            reach: Reach::Organisation(organisation),
        };
        Self::new(AgentKind::Device, ae_title.as_str(), Grants::single(grant))
    }

    /// A task of the archive itself.
    #[must_use]
    pub fn system(task: &'static str) -> Self {
        Self::new(AgentKind::System, task, Grants::default())
    }

    /// A licence for what `D` stands for at `organisation`, without the limits that some roles
    /// have: a permission that reaches less than [`Extent::Whole`] gives none.
    ///
    /// # Errors
    /// [`Unlicensed`].
    pub fn licence<D: Duty>(
        &self,
        organisation: OrganisationCode,
    ) -> Result<Licence<D>, Unlicensed> {
        let mut extents = self.grants.extents(D::PERMISSION, organisation);
        let is_held = extents.any(|extent| extent == Extent::Whole);
        drop(extents);
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

    /// As whom this agent acts on an examination of `organisation`: once for each role held there.
    #[must_use]
    pub fn actors_at(&self, organisation: OrganisationCode) -> Vec<Actor> {
        if self.kind == AgentKind::System {
            return vec![Actor::System];
        }
        let roles = self.grants.roles_at(organisation);
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

    /// Whether it is good at `organisation`.
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
        Agent::new(AgentKind::User, "u", Grants::single(Grant { role, reach }))
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
        assert_eq!(operator.actors_at(here), [Actor::User(Role::Operator)]);
        assert_eq!(operator.actors_at(elsewhere), []);
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
        assert_eq!(Agent::system("test").actors_at(here), [Actor::System]);
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
