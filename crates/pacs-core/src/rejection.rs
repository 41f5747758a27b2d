//! Why images are taken out of sight, who may do that, and what becomes of them when they are sent
//! again: the titles of rejection notes (IHE RAD TF-2 IOCM; PS3.16 CID 7010 and 7011).
//!
//! What is rejected is hidden and kept. No device rejects anything: what its notes say is a
//! proposal ([`RejectionNote`]).

mod note;

pub use note::{Asked, NoteError, Rejected, RejectionNote, SOP_CLASS};

use crate::examination::progress;
use crate::examination::reconcile::Kind;
use crate::role::{Agent, AgentKind, Extent, Permission, Work};
use crate::{DepartmentCode, OrganisationCode};
use std::collections::BTreeSet;

/// Why images are rejected.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Title {
    /// They endanger the patient: of somebody else, or the wrong side.
    PatientSafety,
    /// They are of no use.
    Quality,
    /// Their term is over. No person rejects for this: it takes two, and the policy.
    RetentionExpired,
    /// They were made under another order, or another patient.
    WorklistEntry,
}

/// What is done with a rejected instance that is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The sender hears that it is kept, which is so; it stays out of sight.
    Ignore,
    /// The sender is refused, so that somebody there notices.
    Refuse,
}

impl Title {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [
        Self::PatientSafety,
        Self::Quality,
        Self::RetentionExpired,
        Self::WorklistEntry,
    ];

    /// Code and meaning, in the scheme DCM.
    #[must_use]
    pub const fn code(self) -> (&'static str, &'static str) {
        match self {
            Self::PatientSafety => ("113037", "Rejected for Patient Safety Reasons"),
            Self::Quality => ("113001", "Rejected for Quality Reasons"),
            Self::RetentionExpired => ("113039", "Data Retention Policy Expired"),
            Self::WorklistEntry => ("113038", "Incorrect Modality Worklist Entry"),
        }
    }

    /// As documents name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PatientSafety => "patient_safety",
            Self::Quality => "quality",
            Self::RetentionExpired => "retention_expired",
            Self::WorklistEntry => "worklist_entry",
        }
    }

    /// The title with this code of the scheme DCM.
    #[must_use]
    pub fn of_code(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|title| title.code().0 == value)
    }

    /// What is done with an instance that was rejected for this and is sent again.
    #[must_use]
    pub const fn again(self) -> Again {
        match self {
            Self::PatientSafety => Again::Refuse,
            Self::Quality | Self::RetentionExpired | Self::WorklistEntry => Again::Ignore,
        }
    }

    /// What the progress of an examination hears of it; nothing where a term is over, which says
    /// nothing against the images.
    #[must_use]
    pub const fn of_progress(self) -> Option<progress::Rejection> {
        match self {
            Self::PatientSafety => Some(progress::Rejection::PatientSafety),
            Self::Quality => Some(progress::Rejection::Quality),
            Self::RetentionExpired => None,
            Self::WorklistEntry => Some(progress::Rejection::WorklistEntry),
        }
    }
}

macro_rules! qualities {
    ($($(#[$doc:meta])* $name:ident = $code:literal $meaning:literal;)*) => {
        /// What is wrong with images (CID 7011).
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Quality {
            $($(#[$doc])* $name,)*
        }

        impl Quality {
            /// All of them, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Code and meaning, in the scheme DCM.
            #[must_use]
            pub const fn code(self) -> (&'static str, &'static str) {
                match self { $(Self::$name => ($code, $meaning),)* }
            }
        }
    };
}

qualities! {
    /// Something on them that is not of the patient.
    ImageArtifact = "111207" "Image artifact(s)";
    /// The grid shows.
    GridArtifact = "111208" "Grid artifact(s)";
    /// The patient or the tube stood wrong.
    Positioning = "111209" "Positioning";
    /// Something moved.
    MotionBlur = "111210" "Motion blur";
    /// Too little.
    UnderExposed = "111211" "Under exposed";
    /// Too much.
    OverExposed = "111212" "Over exposed";
    /// Nothing is on them.
    NoImage = "111213" "No image";
    /// The detector shows.
    DetectorArtifact = "111214" "Detector artifact(s)";
    /// Something else shows.
    OtherArtifact = "111215" "Artifact(s) other than grid or detector artifact";
    /// A machine broke.
    MechanicalFailure = "111216" "Mechanical failure";
    /// The current failed.
    ElectricalFailure = "111217" "Electrical failure";
    /// A program failed.
    SoftwareFailure = "111218" "Software failure";
    /// They were processed wrongly.
    InappropriateProcessing = "111219" "Inappropriate image processing";
    /// Something else failed.
    OtherFailure = "111220" "Other failure";
    /// Nobody knows what failed.
    UnknownFailure = "111221" "Unknown failure";
    /// Two pictures are in one.
    DoubleExposure = "113026" "Double exposure";
}

impl Quality {
    /// The one with this code of the scheme DCM.
    #[must_use]
    pub fn of_code(value: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|quality| quality.code().0 == value).copied()
    }
}

/// Images, as far as it matters who judges them. Of an organisation alone: nobody knows of which
/// kinds they are, or where they were made.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// Whose device made them; `None`: nobody knows.
    organisation: Option<OrganisationCode>,
    /// Their kinds; of none, nobody knows them.
    kinds: &'a BTreeSet<Kind>,
    /// The department where they were made; `None`: nobody knows.
    department: Option<&'a DepartmentCode>,
}

static NO_KINDS: BTreeSet<Kind> = BTreeSet::new();

impl From<Option<OrganisationCode>> for Images<'_> {
    fn from(organisation: Option<OrganisationCode>) -> Self {
        Self {
            organisation,
            kinds: &NO_KINDS,
            department: None,
        }
    }
}

impl<'a> Images<'a> {
    /// Those of an organisation: of these kinds, made in this department, as far as that is known.
    #[must_use]
    pub const fn new(
        organisation: Option<OrganisationCode>,
        kinds: &'a BTreeSet<Kind>,
        department: Option<&'a DepartmentCode>,
    ) -> Self {
        Self {
            organisation,
            kinds,
            department,
        }
    }
}

/// How far [`Permission`] reaches for `agent` over images; `None`: where nobody knows whose they
/// are, which takes a national role.
fn extent(agent: &Agent, permission: Permission, of: Images<'_>) -> Option<Extent> {
    if agent.kind == AgentKind::System {
        return Some(Extent::Whole);
    }
    if agent.kind == AgentKind::Device {
        return None;
    }
    let Some(organisation) = of.organisation else {
        let is_held = agent.grants.reaches_nationally(permission);
        return is_held.then_some(Extent::Whole);
    };
    let department = of.department;
    let over = |kind| {
        let work = Work::Of { kind, department };
        let extents = agent.grants.extents_over(permission, organisation, work);
        let held: Vec<Extent> = extents.collect();
        let is = |extent: &Extent| held.contains(extent);
        [Extent::Whole, Extent::QualityOnly].into_iter().find(is)
    };
    if of.kinds.is_empty() {
        return over(None);
    }
    // Where there are several, the least that is held for one of them.
    let held: Option<Vec<Extent>> = of.kinds.iter().map(|kind| over(Some(kind))).collect();
    let is_whole = held?.iter().all(|extent| *extent == Extent::Whole);
    Some(if is_whole {
        Extent::Whole
    } else {
        Extent::QualityOnly
    })
}

/// Whether `agent` may reject images for `title`. A radiographer judges their quality alone; that a
/// term is over is said by two people and the policy, never here; a device rejects nothing,
/// whatever its role says.
#[must_use]
pub fn may_reject<'a>(agent: &Agent, of: impl Into<Images<'a>>, title: Title) -> bool {
    match extent(agent, Permission::ImageReject, of.into()) {
        Some(Extent::QualityOnly) => title == Title::Quality,
        Some(_) => title != Title::RetentionExpired || agent.kind == AgentKind::System,
        None => false,
    }
}

/// Whether `agent` may bring rejected images of `organisation` back.
#[must_use]
pub fn may_restore(agent: &Agent, organisation: Option<OrganisationCode>) -> bool {
    extent(agent, Permission::ImageRestore, organisation.into()) == Some(Extent::Whole)
}

/// Whether `agent` may propose to erase images of `organisation`.
#[must_use]
pub fn may_propose_erasing(agent: &Agent, organisation: Option<OrganisationCode>) -> bool {
    extent(agent, Permission::ImageErasePropose, organisation.into()) == Some(Extent::Whole)
}

/// Whether `agent` may agree that images of `organisation` are erased, where somebody else proposed
/// it.
#[must_use]
pub fn may_agree_to_erasing(agent: &Agent, organisation: Option<OrganisationCode>) -> bool {
    let is_person = agent.kind == AgentKind::User;
    is_person
        && extent(agent, Permission::ImageEraseApprove, organisation.into()) == Some(Extent::Whole)
}

/// Whether `agent` may hold images of `organisation`, so that nothing of them is erased: whoever
/// has a part in erasing them.
#[must_use]
pub fn may_hold(agent: &Agent, organisation: Option<OrganisationCode>) -> bool {
    may_propose_erasing(agent, organisation) || may_agree_to_erasing(agent, organisation)
}

/// Whether `agent` may lift a hold: whoever agrees to erasing, and never whoever only proposes it.
#[must_use]
pub fn may_lift_hold(agent: &Agent, organisation: Option<OrganisationCode>) -> bool {
    may_agree_to_erasing(agent, organisation)
}

/// Whether `agent` may have images of one organisation sent to a device of another, or of none that
/// is known: to devices of its own for those who may take images out, and anywhere for whoever
/// looks after the archive everywhere.
#[must_use]
pub fn may_send<'a>(
    agent: &Agent,
    from: impl Into<Images<'a>>,
    to: Option<OrganisationCode>,
) -> bool {
    let from = from.into();
    let keeps_all = extent(agent, Permission::ImageRestore, None.into()) == Some(Extent::Whole);
    let is_own = from.organisation.is_some() && from.organisation == to;
    let takes_out = || extent(agent, Permission::Export, from) == Some(Extent::Whole);
    keeps_all || (is_own && takes_out())
}

/// Whether `agent` sees that images were rejected for `title`: those who judge images see what was
/// rejected, but what endangers the patient is for those alone who may bring it back.
#[must_use]
pub fn may_see<'a>(agent: &Agent, of: impl Into<Images<'a>>, title: Title) -> bool {
    let of = of.into();
    let judges = extent(agent, Permission::ImageReject, of).is_some();
    may_restore(agent, of.organisation) || (judges && title != Title::PatientSafety)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::{Grant, Grants, Reach, Role};

    fn here() -> OrganisationCode {
        OrganisationCode::parse("006").unwrap()
    }

    fn user(role: Role, reach: Reach) -> Agent {
        Agent::new(
            AgentKind::User,
            "u",
            Grants::single(Grant::new(role, reach)),
        )
    }

    #[test]
    fn who_judges_some_kinds_of_images_judges_no_others() {
        let limited = |role| {
            let kinds = crate::role::Kinds::new([Kind::Ct]).unwrap();
            let grant = Grant::new(role, Reach::Organisation(here())).limited_to(kinds);
            Agent::new(AgentKind::User, "u", Grants::single(grant))
        };
        let (reader, maker) = (limited(Role::Radiologist), limited(Role::Radiographer));
        for (kinds, is_theirs) in [
            (&[Kind::Ct][..], true),
            (&[Kind::Mr], false),
            (&[Kind::Ct, Kind::Mr], false),
            (&[], false),
        ] {
            let kinds: BTreeSet<Kind> = kinds.iter().cloned().collect();
            let of = Images::new(Some(here()), &kinds, None);
            assert_eq!(may_reject(&reader, of, Title::PatientSafety), is_theirs);
            assert_eq!(
                may_reject(&maker, of, Title::Quality),
                is_theirs,
                "{kinds:?}"
            );
            assert!(!may_reject(&maker, of, Title::PatientSafety), "{kinds:?}");
            assert_eq!(may_see(&reader, of, Title::Quality), is_theirs, "{kinds:?}");
            assert_eq!(may_send(&reader, of, Some(here())), is_theirs, "{kinds:?}");
        }
        // A radiographer who reads CT, too, judges what has both by its quality.
        let kinds = [Kind::Ct, Kind::Mr].into();
        let at = Reach::Organisation(here());
        let both = [Grant::new(Role::Radiographer, at), {
            let kinds = crate::role::Kinds::new([Kind::Ct]).unwrap();
            Grant::new(Role::Radiologist, at).limited_to(kinds)
        }];
        let both = Agent::new(AgentKind::User, "u", Grants::new(both.into()).unwrap());
        let of = Images::new(Some(here()), &kinds, None);
        assert!(may_reject(&both, of, Title::Quality));
        assert!(!may_reject(&both, of, Title::PatientSafety));
    }

    #[test]
    fn who_rejects_what_is_as_the_table_of_roles_says() {
        let at = Reach::Organisation(here());
        let elsewhere = OrganisationCode::parse("001").unwrap();
        for (role, may) in [
            (Role::Radiographer, [false, true, false, false]),
            (Role::Radiologist, [true, true, false, true]),
            (Role::Expert, [true, true, false, true]),
            (Role::ArchiveAdmin, [true, true, false, true]),
            (Role::Device, [false; 4]),
            (Role::Operator, [false; 4]),
            (Role::Referrer, [false; 4]),
            (Role::OrgAdmin, [false; 4]),
            (Role::MohAdmin, [false; 4]),
            (Role::Auditor, [false; 4]),
            (Role::Service, [false; 4]),
        ] {
            let agent = user(role, at);
            let told = Title::ALL.map(|title| may_reject(&agent, Some(here()), title));
            if role == Role::Device {
                // The table says that it is ignored; a user with that role is none.
                assert_eq!(told, [false; 4]);
                continue;
            }
            assert_eq!(told, may, "{role:?}");
            assert!(!may_reject(&agent, Some(elsewhere), Title::Quality));
            assert!(!may_reject(&agent, None, Title::Quality), "{role:?}");
            let restores = may_restore(&agent, Some(here()));
            assert_eq!(restores, role == Role::ArchiveAdmin, "{role:?}");
        }
        let device = Agent::device(&crate::AeTitle::parse("CT1").unwrap(), here());
        assert!(
            !Title::ALL
                .iter()
                .any(|title| may_reject(&device, Some(here()), *title))
        );
        assert!(!may_restore(&device, Some(here())));
    }

    #[test]
    fn what_endangers_the_patient_is_seen_by_those_who_may_bring_it_back() {
        let at = Reach::Organisation(here());
        let radiologist = user(Role::Radiologist, at);
        let keeper = user(Role::ArchiveAdmin, Reach::National);
        assert!(may_see(&radiologist, Some(here()), Title::Quality));
        assert!(!may_see(&radiologist, Some(here()), Title::PatientSafety));
        assert!(may_see(&keeper, Some(here()), Title::PatientSafety));
        assert!(
            may_see(&keeper, None, Title::PatientSafety),
            "of no organisation"
        );
        assert!(!may_see(
            &user(Role::Operator, at),
            Some(here()),
            Title::Quality
        ));
    }

    #[test]
    fn images_go_back_to_devices_of_their_own_organisation() {
        let elsewhere = OrganisationCode::parse("001").unwrap();
        let at = Reach::Organisation(here());
        let radiographer = user(Role::Radiographer, at);
        assert!(may_send(&radiographer, Some(here()), Some(here())));
        for (from, to) in [
            (Some(here()), Some(elsewhere)),
            (Some(here()), None),
            (Some(elsewhere), Some(elsewhere)),
            (None, None),
        ] {
            assert!(!may_send(&radiographer, from, to), "{from:?} {to:?}");
            let keeper = user(Role::ArchiveAdmin, Reach::National);
            assert!(may_send(&keeper, from, to));
            assert!(!may_send(&user(Role::ArchiveAdmin, at), from, to));
        }
        let expert = user(Role::Expert, at);
        assert!(
            !may_send(&expert, Some(here()), Some(here())),
            "anonymous alone"
        );
        assert!(!may_send(
            &user(Role::Operator, at),
            Some(here()),
            Some(here())
        ));
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for title in Title::ALL {
            assert_eq!(Title::of_code(title.code().0), Some(title));
            let name = serde_json::to_string(&title).unwrap();
            assert_eq!(name, format!("\"{}\"", title.name()));
        }
        for quality in Quality::ALL {
            assert_eq!(Quality::of_code(quality.code().0), Some(*quality));
        }
        assert_eq!(Title::of_code("113000"), None);
        assert_eq!(Quality::of_code(""), None);
    }
}
