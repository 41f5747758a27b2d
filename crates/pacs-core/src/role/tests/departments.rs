//! Roles that are held for some departments alone.

use super::*;
use crate::AeTitle;
use crate::role::sight::{Duties, Examined, Onlooker, Senders, Studied, StudyFacts};
use std::sync::Arc;

fn code(text: &str) -> DepartmentCode {
    DepartmentCode::parse(text).unwrap()
}

/// Images of a kind that were made in a department.
fn of<'a>(kind: &'a Kind, department: Option<&'a DepartmentCode>) -> Work<'a> {
    Work::Of {
        kind: Some(kind),
        department,
    }
}

/// A role at organisation 006 for its department RAD alone.
fn in_rad(role: Role) -> Grant {
    let reach = Reach::Organisation(organisation("006"));
    Grant::new(role, reach).within(Departments::of_words(["RAD"]).unwrap())
}

#[test]
fn departments_are_words_in_order_and_twelve_at_most() {
    let departments = Departments::of_words(["RAD", "ER", "RAD"]).unwrap();
    assert_eq!(departments.to_string(), "ER,RAD");
    let each: Vec<String> = departments.each().map(|one| one.to_string()).collect();
    assert_eq!(each, ["ER", "RAD"]);
    for wrong in ["rad", "", "R D", "R/D"] {
        let refused = Departments::of_words([wrong]);
        let expected = crate::organisation::DepartmentCodeError;
        assert_eq!(refused, Err(DepartmentsError::Code(expected)), "{wrong}");
    }
    let many = |count: usize| {
        let codes = (0..count).map(|number| code(&format!("D{number}")));
        Departments::new(codes)
    };
    assert!(many(12).is_ok());
    assert_eq!(many(13), Err(DepartmentsError::TooMany));

    let grant = in_rad(Role::Expert);
    let json = serde_json::to_string(&grant).unwrap();
    let expected = r#"{"role":"expert","reach":{"organisation":"006"},"departments":["RAD"]}"#;
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), grant);
    let odd = json.replace("RAD", "rad");
    assert!(serde_json::from_str::<Grant>(&odd).is_err());
}

#[test]
fn departments_are_those_of_one_organisation_and_no_half_is_looked_after() {
    for role in Role::ALL {
        let is_whole = !role.takes_limits();
        let taken = Grants::new(vec![in_rad(role)]);
        let refused = Err(SeparationError::Departments);
        assert_eq!(taken == refused, is_whole, "{role:?}");
        let everywhere = Grant {
            reach: Reach::National,
            ..in_rad(role)
        };
        assert_eq!(Grants::new(vec![everywhere]), refused, "{role:?}");
    }
}

#[test]
fn a_role_for_a_department_permits_what_is_of_it_and_whatever_is_about_no_images() {
    let here = organisation("006");
    let (rad, er) = (code("RAD"), code("ER"));
    for permission in Permission::ALL {
        for role in Role::ALL.into_iter().filter(|role| role.takes_limits()) {
            let limited = Grants::single(in_rad(role));
            let whole = grants(&[role]).unwrap();
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
                (of(&Kind::Ct, Some(&rad)), &all),
                (Work::Any, &all),
                (of(&Kind::Ct, Some(&er)), &other),
                (of(&Kind::Ct, None), &other),
                (Work::ALL, &other),
            ] {
                assert_eq!(&over(&limited, work), expected, "{permission:?} {role:?}");
                assert_eq!(over(&whole, work), all);
            }
            assert_eq!(limited.has(permission), whole.has(permission));
        }
    }
}

#[test]
fn both_limits_have_to_admit() {
    let here = organisation("006");
    let (rad, er) = (code("RAD"), code("ER"));
    let grant = in_rad(Role::Radiologist).limited_to(Kinds::new([Kind::Ct]).unwrap());
    let reader = Grants::single(grant);
    let reads = |work| reader.reach_over(Permission::ImageView, here, work);
    assert!(reads(of(&Kind::Ct, Some(&rad))) && reads(Work::Any));
    for (kind, department) in [
        (&Kind::Ct, Some(&er)),
        (&Kind::Ct, None),
        (&Kind::Mr, Some(&rad)),
    ] {
        assert!(!reads(of(kind, department)), "{kind:?} {department:?}");
    }
    let each = |kinds: &[Kind], department| {
        let kinds = kinds.iter().cloned().collect();
        reader.reach_over_each(Permission::ImageView, here, (&kinds, department))
    };
    assert!(each(&[Kind::Ct], Some(&rad)));
    assert!(!each(&[Kind::Ct], Some(&er)) && !each(&[Kind::Ct], None));
    assert!(!each(&[Kind::Ct, Kind::Mr], Some(&rad)) && !each(&[], Some(&rad)));
    // For all kinds, nobody needs to know them.
    let whole = Grants::single(in_rad(Role::Radiologist));
    let none = BTreeSet::new();
    let of_none = |of| whole.reach_over_each(Permission::ImageView, here, (&none, of));
    assert!(of_none(Some(&rad)) && !of_none(Some(&er)) && !of_none(None));
}

#[test]
fn the_department_counts_where_it_is_one_of_and_ties_are_of_none() {
    let here = [organisation("006")];
    let rad = code("RAD");
    let er = code("ER");
    let sees = |role, tied_to: &[OrganisationCode], examined: &ExaminationFacts<'_>| {
        let limited = Grants::single(in_rad(role));
        let viewer = Viewer {
            tied_to,
            ..viewer(&limited)
        };
        can_see(&viewer, examined, now())
    };
    for (performing, ordering, made, ordered) in [
        (Some(&rad), Some(&rad), true, true),
        (Some(&rad), Some(&er), true, false),
        (Some(&er), Some(&rad), false, true),
        (Some(&er), None, false, false),
        (None, None, false, false),
    ] {
        let facts = ExaminationFacts {
            performing_department: performing,
            ordering_department: ordering,
            ..elsewhere()
        };
        let own_work = ExaminationFacts {
            performing: organisation("006"),
            ..facts.clone()
        };
        assert_eq!(sees(Role::Radiologist, &[], &own_work), made);
        let pooled = ExaminationFacts {
            pool: Some("pool"),
            ..own_work
        };
        assert_eq!(sees(Role::Expert, &[], &pooled), made);
        let own_order = ExaminationFacts {
            ordering: organisation("006"),
            requester: "viewer",
            ..facts.clone()
        };
        assert_eq!(sees(Role::Referrer, &[], &own_order), ordered);
        // Whom 006 treats, or for whom it was agreed: that of another organisation's images is
        // none of its departments.
        assert!(!sees(Role::Radiographer, &here, &facts));
        let whole = grants(&[Role::Radiographer]).unwrap();
        let viewer = Viewer {
            tied_to: &here,
            ..viewer(&whole)
        };
        assert!(can_see(&viewer, &facts, now()));
    }
}

#[test]
fn in_an_emergency_a_patient_is_opened_whole() {
    let limited = Grants::single(in_rad(Role::Radiologist));
    let viewer = Viewer {
        break_glass: Some(BreakGlass::open(patient(1), now())),
        ..viewer(&limited)
    };
    assert!(can_see(&viewer, &elsewhere(), now()));
}

/// Somebody of RAD at 006, where one scanner is in RAD, one in ER and one in none.
fn onlooker(duties: Duties) -> Onlooker {
    let title = |text| AeTitle::parse(text).unwrap();
    let here = organisation("006");
    let senders = Senders {
        devices: ["RAD1", "ER1", "CT1"]
            .map(|text| (title(text), here))
            .into(),
        departments: [(title("RAD1"), code("RAD")), (title("ER1"), code("ER"))].into(),
        prefixes: [("NATHOS".to_owned(), here)].into(),
    };
    Onlooker {
        user: "viewer".to_owned(),
        grants: Grants::single(in_rad(Role::Radiologist)),
        duties,
        ..Onlooker::machine(None, Arc::new(senders), now())
    }
}

#[test]
fn what_is_of_no_examination_is_of_the_department_of_its_device() {
    let kinds = BTreeSet::from([Kind::Ct]);
    for duties in [Duties::Looking, Duties::Rejecting] {
        let onlooker = onlooker(duties);
        for (sender, is_seen) in [
            ("RAD1", true),
            ("ER1", false),
            ("CT1", false),
            ("NATHOS_X", false),
            ("006\\RAD1", false),
        ] {
            let studied = Studied::Unknown(sender, &kinds);
            assert_eq!(onlooker.sees(studied), is_seen, "{sender}");
        }
        for (department, is_seen) in [(Some("RAD"), true), (Some("ER"), false), (None, false)] {
            let facts = StudyFacts {
                department: department.map(code),
                ..matched(None)
            };
            let waits = StudyFacts {
                examined: None,
                ..facts.clone()
            };
            assert_eq!(onlooker.sees(Studied::Known(&waits, &kinds)), is_seen);
            // Where there is an examination, that says it.
            assert!(!onlooker.sees(Studied::Known(&facts, &kinds)));
        }
        let own = matched(Some("RAD"));
        assert!(onlooker.sees(Studied::Known(&own, &kinds)));
        assert!(!onlooker.sees(Studied::Known(&matched(Some("ER")), &kinds)));
    }
}

/// A study of an examination of 006, made in a department.
fn matched(department: Option<&str>) -> StudyFacts {
    let here = organisation("006");
    StudyFacts {
        organisation: here,
        department: Some(code("DEVICE")),
        examined: Some(Examined {
            patient: patient(1),
            performing: here,
            ordering: here,
            requester: "somebody".to_owned(),
            is_delivered: false,
            assigned_to: None,
            pool: None,
            kind: Some(Kind::Ct),
            performing_department: department.map(code),
            ordering_department: Some(code("WARD")),
            is_restricted: false,
            tied_until: Vec::new(),
        }),
        others: Vec::new(),
        named: Vec::new(),
    }
}

#[test]
fn departments_are_kept_with_the_study() {
    let mut facts = matched(Some("RAD"));
    let other = matched(None).examined.unwrap();
    facts.others = vec![other.clone(), other];
    facts.others[1].performing_department = Some(code("ER"));
    let kept = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<StudyFacts>(&kept).unwrap(), facts);
}
