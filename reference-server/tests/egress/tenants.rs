//! Random tenants: whatever organisations, people and patients there are and whatever is asked for,
//! nobody is given anything of what the rules do not let them see, and all of what they do.
//!
//! `PACS_TENANTS_SEED` makes what one seed made once more; a failure names it.

mod callers;
mod dice;
mod doors;
mod land;

use crate::policy::{Shows, peers, token};
use crate::site::Site;
use callers::{Caller, Kind};
use dice::Dice;
use doors::{DOORS, Visit};
use land::{Land, ORGANISATIONS, scanner};
use pacs_core::role::{Grant, Reach, Role};
use std::collections::BTreeSet;

/// What has been tried for certain, before what is tried by chance.
const SEED: u64 = 1;

/// The seeds of a run.
fn seeds() -> Vec<u64> {
    let set = std::env::var("PACS_TENANTS_SEED").ok();
    if let Some(seed) = set {
        return vec![seed.parse().unwrap()];
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random).unwrap();
    vec![SEED, u64::from_le_bytes(random)]
}

/// A site with as many organisations, and what is in it.
async fn made(dice: &mut Dice) -> (Site, Land) {
    let count = 2 + dice.below(ORGANISATIONS.len() - 1);
    let organisations = &ORGANISATIONS[..count];
    let site = Site::open_with(&peers().await, organisations).await;
    let codes = organisations.iter().map(|(code, _)| *code).collect();
    let land = Land::make(&site, codes, dice).await;
    (site, land)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_is_given_what_the_rules_let_them_see_and_nothing_else() {
    for seed in seeds() {
        let mut dice = Dice::new(seed);
        let (site, land) = made(&mut dice).await;
        let mut faults = Vec::new();
        for caller in &land.callers {
            let mut visit = Visit::new((&site, &land), (caller, caller));
            visit.everywhere(&mut dice).await;
            faults.extend(visit.faults.into_iter().map(|(_, what)| what));
        }
        let all = faults.join("\n");
        assert!(
            faults.is_empty(),
            "PACS_TENANTS_SEED={seed}\n{all}\n{land:#?}"
        );
        site.close().await;
    }
}

/// Judges what one is given as if it were given to another, which an open door is: the property has
/// to notice it, at every door.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_door_is_noticed() {
    let mut dice = Dice::new(SEED);
    let (site, land) = made(&mut dice).await;
    let of = land.organisations[0];
    let everything = token(&site, "everything", &["--everything"]);
    let narrow = |kind| Caller {
        kind,
        shows: Shows::Nothing,
    };
    let wide = |shows| Caller {
        kind: Kind::Program(of),
        shows,
    };
    let mut noticed = BTreeSet::new();

    let (asks, judged) = (wide(Shows::Token(everything)), narrow(Kind::Program(of)));
    let mut visit = Visit::new((&site, &land), (&asks, &judged));
    visit.dicomweb(&mut dice).await;
    noticed.extend(visit.faults.into_iter().map(|(door, _)| door));

    let judged = narrow(Kind::Device(of));
    let mut visit = Visit::new((&site, &land), (&judged, &judged));
    visit.dimse(("CENTRE", None), &mut dice).await;
    let other = scanner(land.organisations[1]);
    visit.worklist(&other, (of, None)).await;
    noticed.extend(visit.faults.into_iter().map(|(door, _)| door));

    let national = Grant::new(Role::Radiologist, Reach::National);
    let secret = site.sign_in("everywhere", vec![national], true).await;
    let asks = wide(Shows::Session(secret));
    let judged = narrow(Kind::User {
        name: "nobody".to_owned(),
        roles: vec![(Role::Radiologist, of, None, None)],
        glass: None,
    });
    let mut visit = Visit::new((&site, &land), (&asks, &judged));
    visit.portal(&mut dice).await;
    noticed.extend(visit.faults.into_iter().map(|(door, _)| door));

    assert_eq!(noticed, BTreeSet::from(DOORS));

    // Also where there is nothing but another kind of images, or of another department, to be told
    // of.
    for (limit, within) in [(Some("CT"), None), (None, Some("RAD"))] {
        let all = land.organisations.iter();
        let all = all.map(|of| (Role::Radiologist, *of, limit, within));
        let judged = narrow(Kind::User {
            name: "nobody".to_owned(),
            roles: all.collect(),
            glass: None,
        });
        let mut visit = Visit::new((&site, &land), (&asks, &judged));
        visit.dicomweb(&mut dice).await;
        visit.portal(&mut dice).await;
        let noticed: BTreeSet<_> = visit.faults.into_iter().map(|(door, _)| door).collect();
        let for_people = [
            "QIDO-RS",
            "WADO-RS",
            "lists of the portal",
            "pages of the portal",
        ];
        assert_eq!(noticed, BTreeSet::from(for_people));
    }
    site.close().await;
}
