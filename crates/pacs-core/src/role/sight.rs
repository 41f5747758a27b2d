//! What a caller sees of the studies of an archive: the rule of [`visibility`](super::visibility)
//! over what an index keeps beside each study, so that one search is one look at each.

use super::visibility::{BreakGlass, ExaminationFacts, Viewer, can_see};
use super::{Extent, Grant, Grants, Permission, Reach, Role};
use crate::patient::PatientKey;
use crate::sender::Sender;
use crate::{AeTitle, OrganisationCode};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a caller sees.
#[derive(Debug, Clone)]
pub enum Sight {
    /// Every study: of an archive that knows no organisations, and for the archive itself.
    Everything,
    /// Those that [`Onlooker::sees`].
    Narrowed(Arc<Onlooker>),
}

impl Sight {
    /// Whether some study may be out of sight.
    #[must_use]
    pub const fn is_narrowed(&self) -> bool {
        matches!(self, Self::Narrowed(_))
    }

    /// The only organisation where whoever looks holds `permission`; `None` of those who see all,
    /// and where there are several.
    #[must_use]
    pub fn only_organisation(&self, permission: Permission) -> Option<OrganisationCode> {
        let Self::Narrowed(onlooker) = self else {
            return None;
        };
        let grants: Vec<Grant> = onlooker.grants.clone().into();
        let held = grants.iter();
        let held = held.filter(|grant| grant.role.extent(permission).is_some());
        let mut only = None;
        for grant in held {
            match grant.reach {
                Reach::Organisation(code) if only.is_none_or(|only| only == code) => {
                    only = Some(code);
                }
                Reach::National | Reach::Organisation(_) => return None,
            }
        }
        only
    }

    /// Whether it reaches `study`.
    #[must_use]
    pub fn sees(&self, study: Studied<'_>) -> bool {
        match self {
            Self::Everything => true,
            Self::Narrowed(onlooker) => onlooker.sees(study),
        }
    }
}

/// A study, as far as it is known whose it is.
#[derive(Debug, Clone, Copy)]
pub enum Studied<'a> {
    /// It was matched, or waits for a person.
    Known(&'a StudyFacts),
    /// It has just come. Its first instance has this sender.
    Unknown(&'a str),
}

/// What decides who sees a study.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StudyFacts {
    /// The organisation whose device sent it, or to which it was brought.
    pub organisation: OrganisationCode,
    /// The examination that it is of; `None` where nobody knows, or a person has to look.
    pub examined: Option<Examined>,
    /// Further examinations that series of it are of, where a person split it.
    pub others: Vec<Examined>,
    /// Who alone may see those that are restricted: users by their names.
    pub named: Vec<String>,
}

/// What decides who sees an examination: [`ExaminationFacts`], to be kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Examined {
    /// Whose images these are.
    pub patient: PatientKey,
    /// The organisation that makes them.
    pub performing: OrganisationCode,
    /// The organisation that ordered them.
    pub ordering: OrganisationCode,
    /// Who ordered them.
    pub requester: String,
    /// Whether the ordering organisation has the report.
    pub is_delivered: bool,
    /// Who is to read them.
    pub assigned_to: Option<String>,
    /// The pool of readers they wait in.
    pub pool: Option<String>,
    /// Only those may see them who are named for it.
    pub is_restricted: bool,
    /// Until when the patient is tied to organisations: by later orders, by which they treat them,
    /// and by what the patient agreed to.
    pub tied_until: Vec<(OrganisationCode, DateTime<Utc>)>,
}

/// Whose devices there are, by their AE titles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Senders {
    /// Registered devices.
    pub devices: BTreeMap<AeTitle, OrganisationCode>,
    /// What titles of organisations begin with, before an underscore.
    pub prefixes: BTreeMap<String, OrganisationCode>,
}

impl Senders {
    /// The organisation of a sender as provenance has it: for which it was stored, or of the device
    /// that calls itself so.
    #[must_use]
    pub fn organisation(&self, sender: &str) -> Option<OrganisationCode> {
        let title = match Sender::of(sender) {
            Sender::Program { organisation, .. } => return organisation,
            Sender::Device(title) => title,
        };
        let device = AeTitle::parse(title).ok();
        let device = device.and_then(|title| self.devices.get(&title));
        let of_prefix = || self.prefixes.get(title.split_once('_')?.0);
        device.or_else(of_prefix).copied()
    }
}

/// What somebody wants of studies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duties {
    /// To see them: see [`can_see`].
    Looking,
    /// To hide them: those that their own organisation makes, and where they may.
    Rejecting,
}

/// Somebody who looks for studies at one moment.
#[derive(Debug, Clone)]
pub struct Onlooker {
    /// The user; empty for devices and programs.
    pub user: String,
    /// Their roles, and where.
    pub grants: Grants,
    /// The pools they read for.
    pub pools: Vec<String>,
    /// They are a doctor.
    pub is_doctor: bool,
    /// Patients whom they opened in an emergency.
    pub break_glass: Vec<BreakGlass>,
    /// What for.
    pub duties: Duties,
    /// By whom studies that have just come are told apart.
    pub senders: Arc<Senders>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Onlooker {
    /// A device or program of `organisation`; of none, it sees nothing.
    #[must_use]
    pub fn machine(
        organisation: Option<OrganisationCode>,
        senders: Arc<Senders>,
        at: DateTime<Utc>,
    ) -> Self {
        let grant = organisation.map(|organisation| Grant {
            role: Role::Device,
            reach: Reach::Organisation(organisation),
        });
        Self {
            user: String::new(),
            grants: grant.map(Grants::single).unwrap_or_default(),
            pools: Vec::new(),
            is_doctor: false,
            break_glass: Vec::new(),
            duties: Duties::Looking,
            senders,
            at,
        }
    }

    /// Whether they see `study`. What nobody has matched is seen where it came from alone.
    #[must_use]
    pub fn sees(&self, study: Studied<'_>) -> bool {
        let facts = match study {
            Studied::Known(facts) => facts,
            Studied::Unknown(sender) => {
                let organisation = self.senders.organisation(sender);
                return organisation.is_some_and(|of| self.sees_work_of(of));
            }
        };
        let Some(examined) = &facts.examined else {
            return self.sees_work_of(facts.organisation);
        };
        let mut all = std::iter::once(examined).chain(&facts.others);
        if self.duties == Duties::Rejecting {
            let is_kept = |one: &Examined| one.is_restricted && !facts.named.contains(&self.user);
            return all.all(|one| !is_kept(one) && self.sees_work_of(one.performing));
        }
        // A study is seen as a whole: by whoever may see something of each patient in it.
        all.clone().all(|one| {
            let mut theirs = all.clone().filter(|other| other.patient == one.patient);
            theirs.any(|other| self.sees_examined(other, &facts.named))
        })
    }

    /// Whether they see all that `organisation` makes.
    fn sees_work_of(&self, organisation: OrganisationCode) -> bool {
        let permission = match self.duties {
            Duties::Looking => Permission::ImageView,
            Duties::Rejecting => Permission::ImageReject,
        };
        let mut extents = self.grants.extents(permission, organisation);
        extents.any(|extent| extent == Extent::Whole)
    }

    fn sees_examined(&self, examined: &Examined, named: &[String]) -> bool {
        let pools: Vec<&str> = self.pools.iter().map(String::as_str).collect();
        let tied = examined.tied_until.iter();
        let tied = tied.filter(|(_, until)| *until >= self.at);
        let tied_to: Vec<OrganisationCode> = tied.map(|(of, _)| *of).collect();
        let glasses = self.break_glass.iter();
        let mut glasses = glasses.filter(|glass| glass.opens(examined.patient, self.at));
        let viewer = Viewer {
            // Nobody without a name ordered anything or is to read it.
            user: if self.user.is_empty() {
                "\0"
            } else {
                &self.user
            },
            grants: &self.grants,
            pools: &pools,
            is_doctor: self.is_doctor,
            tied_to: &tied_to,
            break_glass: glasses.next().copied(),
        };
        let facts = ExaminationFacts {
            patient: examined.patient,
            performing: examined.performing,
            ordering: examined.ordering,
            requester: &examined.requester,
            is_delivered: examined.is_delivered,
            assigned_to: examined.assigned_to.as_deref(),
            pool: examined.pool.as_deref(),
            is_restricted: examined.is_restricted,
            named,
        };
        can_see(&viewer, &facts, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patient::PatientNumber;

    fn code(text: &str) -> OrganisationCode {
        OrganisationCode::parse(text).unwrap()
    }

    /// An examination of 006 that 001 ordered, by somebody.
    fn of(serial: u32, requester: &str) -> Examined {
        Examined {
            patient: PatientKey::Known(PatientNumber::from_serial(serial).unwrap()),
            performing: code("006"),
            ordering: code("001"),
            requester: requester.to_owned(),
            is_delivered: false,
            assigned_to: None,
            pool: None,
            is_restricted: false,
            tied_until: Vec::new(),
        }
    }

    fn sees(user: &str, examined: Examined, others: Vec<Examined>) -> bool {
        let grant = Grant {
            role: Role::Referrer,
            reach: Reach::Organisation(code("001")),
        };
        let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let onlooker = Onlooker {
            user: user.to_owned(),
            grants: Grants::single(grant),
            ..Onlooker::machine(None, Arc::default(), at)
        };
        onlooker.sees(Studied::Known(&StudyFacts {
            organisation: code("006"),
            examined: Some(examined),
            others,
            named: Vec::new(),
        }))
    }

    #[test]
    fn what_has_just_come_is_of_whom_it_was_stored_for_and_not_of_what_a_program_is_called() {
        let senders = Senders {
            devices: [(AeTitle::parse("OLD_CT").unwrap(), code("001"))].into(),
            prefixes: [("NATHOS".to_owned(), code("006"))].into(),
        };
        for (sender, of) in [
            ("OLD_CT", Some("001")),
            ("NATHOS_CT1", Some("006")),
            ("ELSE_CT1", None),
            ("001\\NATHOS_GATE", Some("001")),
            ("\\NATHOS_GATE", None),
            ("\\OLD_CT", None),
        ] {
            assert_eq!(senders.organisation(sender), of.map(code), "{sender}");
        }
    }

    #[test]
    fn a_study_that_was_split_is_seen_by_whoever_may_see_something_of_each_patient_in_it() {
        assert!(sees("a", of(1, "a"), vec![]));
        assert!(!sees("b", of(1, "a"), vec![]));
        // Two examinations of one patient.
        for user in ["a", "b"] {
            assert!(sees(user, of(1, "a"), vec![of(1, "b")]), "{user}");
            assert!(sees(user, of(1, "b"), vec![of(1, "a")]), "{user}");
        }
        assert!(!sees("c", of(1, "a"), vec![of(1, "b")]));
        // Of two.
        assert!(!sees("a", of(1, "a"), vec![of(2, "b")]));
        assert!(sees("a", of(1, "a"), vec![of(2, "a")]));
    }
}
