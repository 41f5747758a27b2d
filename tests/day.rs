//! A day in eleven hospitals, in short; `cargo xtask simulate-day` is the same with 3,000
//! examinations.

use pacs_tests::day::plan::{Identity, Plan};
use pacs_tests::day::run;

#[test]
fn no_image_of_a_day_is_on_a_wrong_patient_or_lost_and_what_does_not_fit_waits() {
    let plan = Plan {
        examinations: 66,
        seed: 20_261_126,
    };

    let report = run(&plan);

    assert!(report.is_good(), "{report}");
    assert_eq!(report.lies.len(), 4, "{report}");
    assert!(report.images > 200 && report.corrected > 5, "{report}");
}

#[test]
fn a_plan_is_made_of_its_seed_alone_and_has_every_mishap() {
    let plan = Plan {
        examinations: 3_000,
        seed: 7,
    };

    let cases = plan.cases();

    let again = plan.cases();
    assert_eq!(format!("{cases:?}"), format!("{again:?}"));
    let errors = cases.iter().filter(|case| case.identity.is_typing_error());
    assert_eq!(errors.count(), 192, "6.4 of 100");
    for identity in Identity::ALL {
        assert!(cases.iter().any(|case| case.identity == identity));
    }
}
