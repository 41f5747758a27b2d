//! Ten thousand guesses (security.md T19): how many are looked at, what they cost, and what is kept
//! of them. Costs are counted, and no time is measured: what costs the same takes as long.

use super::{Rig, credentials};
use crate::accounts::Refused;
use crate::accounts::hashing::HashCost;
use chrono::TimeDelta;
use pacs_core::audit::Act;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Guesses, and the time between two of them: all within an hour.
const GUESSES: u32 = 10_000;
const BETWEEN: TimeDelta = TimeDelta::milliseconds(360);

/// Guesses for one account that are looked at within an hour, at most.
const LOOKED_AT_MAX: usize = 100;

/// An address of a network of its own.
fn network(number: u32) -> IpAddr {
    let [_, a, b, c] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10 + a, b, c, 1))
}

/// Guesses at `name` for an hour, from everywhere; what those cost that were looked at.
async fn guessed(rig: &Rig, name: &str) -> Vec<HashCost> {
    let spent = Arc::clone(&rig.accounts.inner.hashing.spent);
    spent.take();
    let mut looked_at = 0_usize;
    for number in 0..GUESSES {
        let typed = credentials(name, &format!("guess {number}"), None);
        let refused = rig.accounts.sign_in(&typed, None, network(number));
        let refused = refused.await.unwrap_err();
        let is_looked_at = refused == Refused::WrongCredentials;
        assert!(
            is_looked_at || matches!(refused, Refused::Wait { .. }),
            "{refused:?}"
        );
        looked_at += usize::from(is_looked_at);
        rig.pass(BETWEEN);
    }
    let spent = spent.take();
    assert_eq!(
        spent.len(),
        looked_at,
        "what is not looked at costs nothing"
    );
    spent
}

/// How many documents are kept, of whatever kind but the audit trail.
async fn kept(rig: &Rig) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let each = move |kind: &str, _: pacs_store::records::Record| {
        if !kind.starts_with("audit") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        true
    };
    rig.records.each(Box::new(each)).await.unwrap();
    count.load(Ordering::SeqCst)
}

#[tokio::test]
async fn ten_thousand_guesses_an_hour_are_throttled_and_cost_the_same_whether_there_is_an_account()
{
    let rig = Rig::new();
    let _unused = rig.user("b.osmonova", "operator@006", false).await;
    let before = kept(&rig).await;

    let known = guessed(&rig, "b.osmonova").await;
    rig.pass(TimeDelta::days(2));
    let unknown = guessed(&rig, "b.osmonow").await;

    assert!(
        (1..=LOOKED_AT_MAX).contains(&known.len()),
        "{}",
        known.len()
    );
    assert_eq!(known, unknown, "as many, each at the same cost");
    assert!(
        rig.accounts.inner.under_way.is_empty(),
        "nothing is left behind"
    );
    // One note for each name, and one for each network from which something was looked at.
    let grown = kept(&rig).await - before;
    assert!(grown <= 2 + known.len() + unknown.len(), "{grown}");
    let told = rig.trail(1_000).await;
    let told = told.into_iter().filter(|(act, ..)| *act == Act::SignedIn);
    assert!(told.count() <= 2 + known.len() + unknown.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_guess_at_once_few_passwords_are_hashed_at_once() {
    let rig = Rig::new();
    let places = rig.accounts.inner.hashing.places();
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..500 {
        let (accounts, refusals) = (rig.accounts.clone(), Arc::clone(&refusals));
        guesses.spawn(async move {
            let typed = credentials(&format!("user{number}"), "wrong", None);
            let refused = accounts.sign_in(&typed, None, network(number)).await;
            refusals.lock().unwrap().push(refused.unwrap_err());
        });
    }
    guesses.join_all().await;
    let refusals = std::mem::take(&mut *refusals.lock().unwrap());
    assert_eq!(refusals.len(), 500);
    let spent = &rig.accounts.inner.hashing.spent;
    let most = spent.at_once_most();
    // So much memory at most is taken at once: places times the cost of one.
    assert!((1..=places).contains(&most), "{most} of {places}");
    let looked_at = refusals
        .iter()
        .filter(|one| **one == Refused::WrongCredentials);
    assert!(looked_at.count() <= spent.take().len());
}
