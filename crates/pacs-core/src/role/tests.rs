//! The table of permissions, cell by cell, and who sees what.

mod departments;

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
    Grants::new(roles.iter().map(|role| Grant::new(*role, reach)).collect())
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
        kind: Some(&Kind::Ct),
        performing_department: None,
        ordering_department: None,
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
    let pooled = with(|e| (e.performing, e.pool) = (organisation("006"), Some("pool")));
    assert_eq!(
        seen_by(&pooled),
        [Device, Expert, Operator, Radiographer, Radiologist]
    );
    // Of a pool of people who read elsewhere.
    let foreign = with(|e| e.pool = Some("pool"));
    assert_eq!(seen_by(&foreign), []);

    let clinical = [Expert, Operator, Radiographer, Radiologist, Referrer];
    let (here, next_door) = ([organisation("006")], [organisation("007")]);
    assert_eq!(tied_by(&here), clinical);
    // Nothing follows for a role that is held elsewhere.
    assert_eq!(tied_by(&next_door), []);
}

/// Roles at organisation 006 for CT alone.
fn ct_alone(role: Role) -> Grants {
    let reach = Reach::Organisation(organisation("006"));
    let kinds = Kinds::new([Kind::Ct]).unwrap();
    Grants::single(Grant::new(role, reach).limited_to(kinds))
}

#[test]
fn by_a_role_for_ct_an_examination_is_seen_that_is_one_whatever_the_tie() {
    let here = [organisation("006")];
    let tie = |change: fn(&mut ExaminationFacts<'static>)| change;
    let own_work = tie(|e| e.performing = organisation("006"));
    let delivered = tie(|e| (e.ordering, e.is_delivered) = (organisation("006"), true));
    let own_order = tie(|e| (e.ordering, e.requester) = (organisation("006"), "viewer"));
    let assigned = tie(|e| {
        (e.performing, e.assigned_to) = (organisation("006"), Some("viewer"));
    });
    let pooled = tie(|e| (e.performing, e.pool) = (organisation("006"), Some("pool")));
    let treated = tie(|_| ());
    for (role, change, tied_to) in [
        (Role::Radiologist, own_work, &[][..]),
        (Role::Operator, delivered, &[]),
        (Role::Referrer, own_order, &[]),
        (Role::Expert, assigned, &[]),
        (Role::Expert, pooled, &[]),
        (Role::Radiographer, treated, &here),
    ] {
        let sees = |grants: &Grants, kind| {
            let mut examined = elsewhere();
            change(&mut examined);
            examined.kind = kind;
            let viewer = Viewer {
                tied_to,
                ..viewer(grants)
            };
            can_see(&viewer, &examined, now())
        };
        let whole = grants(&[role]).unwrap();
        for (kind, by_ct) in [
            (Some(&Kind::Ct), true),
            (Some(&Kind::Mr), false),
            (None, false),
        ] {
            assert_eq!(sees(&ct_alone(role), kind), by_ct, "{role:?} {kind:?}");
            assert!(sees(&whole, kind), "{role:?} {kind:?}");
        }
    }
}

#[test]
fn a_role_for_ct_permits_what_is_about_ct_and_whatever_is_about_no_images() {
    let here = organisation("006");
    for permission in Permission::ALL {
        for role in Role::ALL.into_iter().filter(|role| role.takes_limits()) {
            let (limited, whole) = (ct_alone(role), grants(&[role]).unwrap());
            let over = |grants: &Grants, work| {
                let extents = grants.extents_over(permission, here, work);
                extents.collect::<Vec<_>>()
            };
            let all = over(&whole, Work::ALL);
            let other = if permission.is_about_images() {
                Vec::new()
            } else {
                all.clone()
            };
            for (work, expected) in [
                (Work::of_kind(&Kind::Ct), &all),
                (Work::Any, &all),
                (Work::of_kind(&Kind::Mr), &other),
                (Work::ALL, &other),
            ] {
                assert_eq!(&over(&limited, work), expected, "{permission:?} {role:?}");
                assert_eq!(over(&whole, work), all);
            }
            assert_eq!(limited.has(permission), whole.has(permission));
        }
    }
    let kinds = |all: &[Kind]| all.iter().cloned().collect::<BTreeSet<_>>();
    let reads = |grants: &Grants, all: &[Kind]| {
        grants.reach_over_each(Permission::ImageView, here, (&kinds(all), None))
    };
    let limited = ct_alone(Role::Radiologist);
    assert!(reads(&limited, &[Kind::Ct]));
    for of in [&[Kind::Mr][..], &[Kind::Ct, Kind::Mr], &[]] {
        assert!(!reads(&limited, of), "{of:?}");
    }
    // Two roles for one kind each see what has both.
    let reach = Reach::Organisation(here);
    let both = [Kind::Ct, Kind::Mr].map(|kind| {
        let grant = Grant::new(Role::Radiologist, reach);
        grant.limited_to(Kinds::new([kind]).unwrap())
    });
    assert!(reads(
        &Grants::new(both.into()).unwrap(),
        &[Kind::Ct, Kind::Mr]
    ));
}

#[test]
fn kinds_are_words_and_those_who_look_after_something_have_none() {
    let kinds = Kinds::of_words(["xray", "US", "ct", "ct"]).unwrap();
    assert_eq!(kinds.to_string(), "ct,xray,US");
    for wrong in ["CT", "DX", "us", "SR", "", "OUTRAGEOUSLY_LONG", "U S"] {
        assert_eq!(
            Kinds::of_words([wrong]),
            Err(KindsError::Unknown),
            "{wrong}"
        );
    }
    let many: Vec<String> = (0..=12).map(|number| format!("K{number}")).collect();
    let many = Kinds::try_from(many);
    assert_eq!(many, Err(KindsError::TooMany));

    let grant = Grant::new(Role::Expert, Reach::National);
    let json = serde_json::to_string(&grant).unwrap();
    assert_eq!(json, r#"{"role":"expert","reach":"national"}"#, "as before");
    assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), grant);
    let limited = grant.limited_to(kinds.clone());
    let json = serde_json::to_string(&limited).unwrap();
    assert!(json.ends_with(r#""kinds":["ct","xray","US"]}"#), "{json}");
    assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), limited);

    for role in Role::ALL {
        let grant = Grant::new(role, Reach::National).limited_to(kinds.clone());
        let taken = Grants::new(vec![grant]);
        let whole = [
            Role::ArchiveAdmin,
            Role::Auditor,
            Role::MohAdmin,
            Role::OrgAdmin,
        ];
        let is_refused = taken == Err(SeparationError::Kinds);
        assert_eq!(is_refused, whole.contains(&role), "{role:?}");
    }
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
