//! The table of permissions, cell by cell, and who sees what.

use super::visibility::{BreakGlass, ExaminationFacts, Viewer, can_see};
use super::*;
use crate::patient::{PatientKey, PatientNumber};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

/// A column for each of [`COLUMNS`]; a letter for each extent, `-` for none.
const TABLE: [(Permission, &str); 23] = [
    (Permission::PatientSearch, "GGGGo-----"),
    (Permission::PatientEdit, "GG---G----"),
    (Permission::PatientMerge, "-----G-G--"),
    (Permission::OrderCreate, "GGG-G-----"),
    (Permission::OrderEdit, "GGG-------"),
    (Permission::OrderCancel, "GGG--G----"),
    (Permission::WorklistQuery, "-GG------G"),
    (Permission::ImageStore, "GG-----G-G"),
    (Permission::ImageView, "GGGAo--T-G"),
    (Permission::ImageReject, "-QGG---G-I"),
    (Permission::ImageRestore, "-------G--"),
    (Permission::ImageErasePropose, "-------G--"),
    (Permission::ImageEraseApprove, "------G---"),
    (Permission::Reconcile, "GGGR-G-G--"),
    (Permission::ReportWrite, "--GG------"),
    (Permission::ReportView, "SSGGo-----"),
    (Permission::ResultSend, "--GG------"),
    (Permission::Export, "-GGY---G--"),
    (Permission::UsersManage, "-----GG---"),
    (Permission::OrganisationsManage, "------G---"),
    (Permission::Statistics, "GGGO-GUT--"),
    (Permission::AuditRead, "-----N--G-"),
    (Permission::BreakGlass, "--GGG-----"),
];

const COLUMNS: [Role; 10] = [
    Role::Operator,
    Role::Radiographer,
    Role::Radiologist,
    Role::Expert,
    Role::Referrer,
    Role::OrgAdmin,
    Role::MohAdmin,
    Role::ArchiveAdmin,
    Role::Auditor,
    Role::Device,
];

const fn letter(extent: Option<Extent>) -> char {
    match extent {
        None => '-',
        Some(Extent::Aggregated) => 'U',
        Some(Extent::Anonymous) => 'Y',
        Some(Extent::Assigned) => 'A',
        Some(Extent::Ignored) => 'I',
        Some(Extent::NoClinicalText) => 'N',
        Some(Extent::OnRequest) => 'R',
        Some(Extent::Own) => 'O',
        Some(Extent::OwnOrders) => 'o',
        Some(Extent::QualityOnly) => 'Q',
        Some(Extent::StatusOnly) => 'S',
        Some(Extent::Technical) => 'T',
        Some(Extent::Whole) => 'G',
    }
}

#[test]
fn every_role_may_do_what_the_table_says_and_nothing_else() {
    for permission in Permission::ALL {
        let row = TABLE.iter().find(|(of, _)| *of == permission);
        let got: String = COLUMNS
            .iter()
            .map(|role| letter(role.extent(permission)))
            .collect();
        assert_eq!(got, row.unwrap().1, "{permission:?}");
        assert_eq!(Role::Service.extent(permission), None);
    }
}

fn organisation(code: &str) -> OrganisationCode {
    OrganisationCode::parse(code).unwrap()
}

fn grants(roles: &[Role]) -> Result<Grants, SeparationError> {
    let reach = Reach::Organisation(organisation("006"));
    Grants::new(
        roles
            .iter()
            .map(|role| Grant { role: *role, reach })
            .collect(),
    )
}

#[test]
fn roles_that_must_be_apart_are_not_held_together() {
    assert_eq!(
        grants(&[Role::Auditor, Role::Operator]),
        Err(SeparationError::Auditor)
    );
    for signing in [Role::Radiologist, Role::Expert] {
        let both = grants(&[Role::ArchiveAdmin, signing]);
        assert_eq!(both, Err(SeparationError::ArchiveAdmin));
    }
    let held = grants(&[Role::Operator, Role::Radiographer]).unwrap();
    let json = serde_json::to_string(&held).unwrap();
    assert_eq!(serde_json::from_str::<Grants>(&json).unwrap(), held);
    let forged = json.replace("operator", "auditor");
    assert!(serde_json::from_str::<Grants>(&forged).is_err());
}

#[test]
fn nobody_approves_what_they_proposed() {
    let ministry = grants(&[Role::MohAdmin]).unwrap();
    let here = organisation("006");
    assert!(may_approve_erasing("a", "b", &ministry, here));
    assert!(!may_approve_erasing("a", "a", &ministry, here));
    assert!(!may_approve_erasing(
        "a",
        "b",
        &ministry,
        organisation("007")
    ));
    let archive = grants(&[Role::ArchiveAdmin]).unwrap();
    assert!(!may_approve_erasing("a", "b", &archive, here));
}

fn now() -> DateTime<Utc> {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn patient(serial: u32) -> PatientKey {
    PatientKey::Known(PatientNumber::from_serial(serial).unwrap())
}

/// An examination of another organisation, ordered by a third, that nothing ties to anybody.
fn elsewhere() -> ExaminationFacts<'static> {
    ExaminationFacts {
        patient: patient(1),
        performing: organisation("007"),
        ordering: organisation("008"),
        requester: "somebody",
        is_delivered: false,
        assigned_to: None,
        pool: None,
        is_restricted: false,
        named: &[],
    }
}

fn viewer(grants: &Grants) -> Viewer<'_> {
    Viewer {
        user: "viewer",
        grants,
        pools: &["pool"],
        is_doctor: true,
        tied_to: &[],
        break_glass: None,
    }
}

/// Who of the roles, at organisation 006, sees an examination of elsewhere whose patient is tied to
/// these organisations.
fn tied_by(tied_to: &[OrganisationCode]) -> Vec<Role> {
    let sees = |role: &Role| {
        let grants = grants(&[*role]).unwrap();
        let viewer = Viewer {
            tied_to,
            ..viewer(&grants)
        };
        can_see(&viewer, &elsewhere(), now())
    };
    Role::ALL.into_iter().filter(sees).collect()
}

/// Who of the roles, at organisation 006, sees it.
fn seen_by(examined: &ExaminationFacts<'_>) -> Vec<Role> {
    let sees = |role: &Role| {
        let grants = grants(&[*role]).unwrap();
        can_see(&viewer(&grants), examined, now())
    };
    Role::ALL.into_iter().filter(sees).collect()
}

#[test]
fn each_tie_shows_an_examination_to_those_it_is_for() {
    use Role::*;
    assert_eq!(seen_by(&elsewhere()), []);

    let with = |change: fn(&mut ExaminationFacts<'static>)| {
        let mut examined = elsewhere();
        change(&mut examined);
        examined
    };
    let own_work = with(|e| e.performing = organisation("006"));
    assert_eq!(
        seen_by(&own_work),
        [Device, Operator, Radiographer, Radiologist]
    );
    let ordered = with(|e| e.ordering = organisation("006"));
    assert_eq!(seen_by(&ordered), []);
    let delivered = with(|e| (e.ordering, e.is_delivered) = (organisation("006"), true));
    assert_eq!(seen_by(&delivered), [Operator, Radiographer, Radiologist]);
    let own_order = with(|e| (e.ordering, e.requester) = (organisation("006"), "viewer"));
    assert_eq!(
        seen_by(&own_order),
        [Operator, Radiographer, Radiologist, Referrer]
    );
    let assigned = with(|e| {
        e.performing = organisation("006");
        e.assigned_to = Some("viewer");
    });
    assert_eq!(
        seen_by(&assigned),
        [Device, Expert, Operator, Radiographer, Radiologist]
    );
    // Who was to read it has no role there any more.
    let stale = with(|e| e.assigned_to = Some("viewer"));
    assert_eq!(seen_by(&stale), []);
    let pooled = with(|e| e.pool = Some("pool"));
    assert_eq!(seen_by(&pooled), [Expert, Radiologist]);

    let clinical = [Expert, Operator, Radiographer, Radiologist, Referrer];
    let (here, next_door) = ([organisation("006")], [organisation("007")]);
    assert_eq!(tied_by(&here), clinical);
    // Nothing follows for a role that is held elsewhere.
    assert_eq!(tied_by(&next_door), []);
}

#[test]
fn break_glass_opens_one_patient_to_doctors_for_an_hour() {
    use Role::*;
    let sees = |role, serial, minutes, is_doctor| {
        let grants = grants(&[role]).unwrap();
        let opened_at = now()
            .checked_sub_signed(TimeDelta::minutes(minutes))
            .unwrap();
        let viewer = Viewer {
            is_doctor,
            break_glass: Some(BreakGlass::open(patient(serial), opened_at)),
            ..viewer(&grants)
        };
        can_see(&viewer, &elsewhere(), now())
    };
    for role in Role::ALL {
        let is_one = matches!(role, Expert | Radiologist | Referrer);
        assert_eq!(sees(role, 1, 0, true), is_one, "{role:?}");
        assert_eq!(sees(role, 1, 59, true), is_one);
        assert!(!sees(role, 1, 60, true) && !sees(role, 2, 0, true) && !sees(role, 1, 0, false));
    }
}

proptest! {
    #[test]
    fn nothing_shows_a_restricted_examination_to_those_who_are_not_named(
        role in proptest::sample::select(Role::ALL.to_vec()),
        own in any::<bool>(), delivered in any::<bool>(), assigned in any::<bool>(),
        is_tied in any::<bool>(), glass in any::<bool>(), named in any::<bool>(),
    ) {
        let grants = grants(&[role]).unwrap();
        let mut examined = elsewhere();
        if own {
            examined.performing = organisation("006");
        }
        examined.is_delivered = delivered;
        examined.assigned_to = assigned.then_some("viewer");
        let glass = glass.then(|| BreakGlass::open(patient(1), now()));
        let mut viewer = viewer(&grants);
        let organisations = [organisation("006")];
        if is_tied {
            viewer.tied_to = &organisations;
        }
        viewer.break_glass = glass;
        let names = ["viewer".to_owned()];
        let open = can_see(&viewer, &examined, now());
        examined.is_restricted = true;
        examined.named = if named { &names } else { &[] };
        prop_assert_eq!(can_see(&viewer, &examined, now()), open && named);
    }
}
