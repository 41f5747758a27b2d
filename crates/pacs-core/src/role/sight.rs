//! What a caller sees of the studies of an archive: the rule of [`visibility`](super::visibility)
//! over what an index keeps beside each study, so that one search is one look at each.

use super::visibility::{BreakGlass, ExaminationFacts, Viewer, can_see};
use super::{Grant, Grants, Permission, Reach, Role, Work};
use crate::examination::reconcile::Kind;
use crate::patient::PatientKey;
use crate::sender::Sender;
use crate::{AeTitle, DepartmentCode, OrganisationCode};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
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

    /// Whether it asks for the kinds of images of a study of which these facts are known.
    #[must_use]
    pub fn asks_for_kinds(&self, facts: Option<&StudyFacts>) -> bool {
        let is_matched = facts.is_some_and(|facts| facts.examined.is_some());
        match self {
            Self::Everything => false,
            Self::Narrowed(onlooker) => !is_matched && onlooker.grants.are_for_some_kinds(),
        }
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

/// A study, as far as it is known whose it is. Where that is not known, the kinds of its images
/// count: of none, nobody knows them.
#[derive(Debug, Clone, Copy)]
pub enum Studied<'a> {
    /// It was matched, or waits for a person.
    Known(&'a StudyFacts, &'a BTreeSet<Kind>),
    /// It has just come. Its first instance has this sender.
    Unknown(&'a str, &'a BTreeSet<Kind>),
}

/// What decides who sees a study.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct StudyFacts {
    /// The organisation whose device sent it, or to which it was brought.
    pub organisation: OrganisationCode,
    /// The department of that device; `None`: nobody knows. It counts where the study is of no
    /// examination.
    pub department: Option<DepartmentCode>,
    /// The examination that it is of; `None` where nobody knows, or a person has to look.
    pub examined: Option<Examined>,
    /// Further examinations that series of it are of, where a person split it.
    pub others: Vec<Examined>,
    /// Who alone may see those that are restricted: users by their names.
    pub named: Vec<String>,
}

/// [`StudyFacts`] as they are kept: what was added since stands at the end.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    organisation: OrganisationCode,
    examined: Option<Examined>,
    others: Vec<Examined>,
    named: Vec<String>,
    /// Of `examined` and of `others`, in order.
    kinds: Vec<Option<Kind>>,
    /// Of the device; then of `examined` and of `others`, in order, where each is made and where it
    /// was ordered.
    departments: Vec<Option<DepartmentCode>>,
}

impl From<StudyFacts> for Kept {
    fn from(facts: StudyFacts) -> Self {
        let all = facts.examined.iter().chain(&facts.others);
        let departments = all.clone().flat_map(|one| {
            let (made, ordered) = (&one.performing_department, &one.ordering_department);
            [made.clone(), ordered.clone()]
        });
        let departments = std::iter::once(facts.department.clone()).chain(departments);
        Self {
            kinds: all.map(|one| one.kind.clone()).collect(),
            departments: departments.collect(),
            organisation: facts.organisation,
            examined: facts.examined,
            others: facts.others,
            named: facts.named,
        }
    }
}

impl From<Kept> for StudyFacts {
    fn from(kept: Kept) -> Self {
        let mut departments = kept.departments.into_iter();
        let mut facts = Self {
            organisation: kept.organisation,
            department: departments.next().flatten(),
            examined: kept.examined,
            others: kept.others,
            named: kept.named,
        };
        let all = facts.examined.iter_mut().chain(&mut facts.others);
        for (one, kind) in all.zip(kept.kinds) {
            one.kind = kind;
        }
        for one in facts.examined.iter_mut().chain(&mut facts.others) {
            one.performing_department = departments.next().flatten();
            one.ordering_department = departments.next().flatten();
        }
        facts
    }
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
    /// The kind of images; `None`: nobody knows. It is kept with the study.
    #[serde(skip)]
    pub kind: Option<Kind>,
    /// Where at the performing organisation it is made; `None`: nobody knows. So is it kept.
    #[serde(skip)]
    pub performing_department: Option<DepartmentCode>,
    /// Where at the ordering organisation it was ordered; `None`: nobody knows. So is it kept.
    #[serde(skip)]
    pub ordering_department: Option<DepartmentCode>,
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
    /// In which department those are that are in one.
    pub departments: BTreeMap<AeTitle, DepartmentCode>,
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

    /// The department of a sender: of the registered device that calls itself so.
    #[must_use]
    pub fn department(&self, sender: &str) -> Option<&DepartmentCode> {
        match Sender::of(sender) {
            Sender::Program { .. } => None,
            Sender::Device(title) => self.departments.get(&AeTitle::parse(title).ok()?),
        }
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
        let grant = organisation
            .map(|organisation| Grant::new(Role::Device, Reach::Organisation(organisation)));
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

    /// Whether they see `study`. What nobody has matched is seen where it came from alone, by those
    /// who see images of each kind that it has, and of the department of the device.
    #[must_use]
    pub fn sees(&self, study: Studied<'_>) -> bool {
        let (facts, kinds) = match study {
            Studied::Known(facts, kinds) => (facts, kinds),
            Studied::Unknown(sender, kinds) => {
                let organisation = self.senders.organisation(sender);
                let department = self.senders.department(sender);
                return organisation.is_some_and(|of| self.sees_all(of, (kinds, department)));
            }
        };
        let Some(examined) = &facts.examined else {
            let made = (kinds, facts.department.as_ref());
            return self.sees_all(facts.organisation, made);
        };
        let mut all = std::iter::once(examined).chain(&facts.others);
        if self.duties == Duties::Rejecting {
            let is_kept = |one: &Examined| one.is_restricted && !facts.named.contains(&self.user);
            let has = |one: &Examined| {
                let (kind, department) = (one.kind.as_ref(), one.performing_department.as_ref());
                let work = Work::Of { kind, department };
                let grants = &self.grants;
                grants.reach_over(Permission::ImageReject, one.performing, work)
            };
            return all.all(|one| !is_kept(one) && has(one));
        }
        // A study is seen as a whole: by whoever may see something of each patient in it.
        all.clone().all(|one| {
            let mut theirs = all.clone().filter(|other| other.patient == one.patient);
            theirs.any(|other| self.sees_examined(other, &facts.named))
        })
    }

    /// Whether they see all images of these kinds that `organisation` makes in this department.
    fn sees_all(
        &self,
        organisation: OrganisationCode,
        made: (&BTreeSet<Kind>, Option<&DepartmentCode>),
    ) -> bool {
        let permission = match self.duties {
            Duties::Looking => Permission::ImageView,
            Duties::Rejecting => Permission::ImageReject,
        };
        let grants = &self.grants;
        grants.reach_over_each(permission, organisation, made)
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
            kind: examined.kind.as_ref(),
            performing_department: examined.performing_department.as_ref(),
            ordering_department: examined.ordering_department.as_ref(),
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
    use crate::role::Kinds;

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
            kind: Some(Kind::Ct),
            performing_department: None,
            ordering_department: None,
            is_restricted: false,
            tied_until: Vec::new(),
        }
    }

    fn sees(user: &str, examined: Examined, others: Vec<Examined>) -> bool {
        let grant = Grant::new(Role::Referrer, Reach::Organisation(code("001")));
        let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let onlooker = Onlooker {
            user: user.to_owned(),
            grants: Grants::single(grant),
            ..Onlooker::machine(None, Arc::default(), at)
        };
        let facts = StudyFacts {
            organisation: code("006"),
            department: None,
            examined: Some(examined),
            others,
            named: Vec::new(),
        };
        onlooker.sees(Studied::Known(&facts, &BTreeSet::new()))
    }

    #[test]
    fn what_has_just_come_is_of_whom_it_was_stored_for_and_not_of_what_a_program_is_called() {
        let senders = Senders {
            devices: [(AeTitle::parse("OLD_CT").unwrap(), code("001"))].into(),
            prefixes: [("NATHOS".to_owned(), code("006"))].into(),
            ..Senders::default()
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

    #[test]
    fn what_nobody_has_matched_is_seen_by_those_who_see_each_kind_of_its_images() {
        let kinds = |all: &[Kind]| all.iter().cloned().collect::<BTreeSet<_>>();
        let reader = |words: &[&str]| {
            let held = Kinds::of_words(words.iter().copied()).unwrap();
            let grant = Grant::new(Role::Radiologist, Reach::Organisation(code("006")));
            let senders = Senders {
                prefixes: [("NATHOS".to_owned(), code("006"))].into(),
                ..Senders::default()
            };
            let at = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
            Onlooker {
                user: "reader".to_owned(),
                grants: Grants::single(grant.limited_to(held)),
                ..Onlooker::machine(None, Arc::new(senders), at)
            }
        };
        let waits = StudyFacts {
            organisation: code("006"),
            department: None,
            examined: None,
            others: Vec::new(),
            named: Vec::new(),
        };
        for (words, of, is_seen) in [
            (&["ct"][..], &[Kind::Ct][..], true),
            (&["ct"], &[Kind::Mr], false),
            (&["ct"], &[Kind::Ct, Kind::Mr], false),
            (&["ct", "mr"], &[Kind::Ct, Kind::Mr], true),
            (&["ct"], &[], false),
            (&[], &[], true),
        ] {
            for duties in [Duties::Looking, Duties::Rejecting] {
                let onlooker = Onlooker {
                    duties,
                    ..reader(words)
                };
                let of = kinds(of);
                for studied in [
                    Studied::Known(&waits, &of),
                    Studied::Unknown("NATHOS_CT1", &of),
                ] {
                    assert_eq!(onlooker.sees(studied), is_seen, "{words:?} {studied:?}");
                }
            }
        }
        let (limited, whole) = (reader(&["ct"]), reader(&[]));
        let asks =
            |of: &Onlooker, facts| Sight::Narrowed(Arc::new(of.clone())).asks_for_kinds(facts);
        assert!(asks(&limited, None) && asks(&limited, Some(&waits)));
        let matched = StudyFacts {
            examined: Some(of(1, "a")),
            ..waits.clone()
        };
        assert!(
            !asks(&limited, Some(&matched)) && !asks(&whole, None),
            "nothing is read"
        );
        // What is matched is of the kind that was ordered, whatever came.
        let sees = |onlooker: &Onlooker| onlooker.sees(Studied::Known(&matched, &kinds(&[])));
        assert!(sees(&limited) && !sees(&reader(&["mr"])));
    }

    #[test]
    fn kinds_are_kept_with_the_study() {
        let with = |kind| Examined { kind, ..of(1, "a") };
        let facts = StudyFacts {
            organisation: code("006"),
            department: None,
            examined: Some(with(Some(Kind::XRay))),
            others: vec![with(None), with(Some(Kind::Other("US".into())))],
            named: Vec::new(),
        };
        let kept = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<StudyFacts>(&kept).unwrap(), facts);
    }
}
