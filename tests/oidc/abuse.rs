//! What anybody can have a browser do, and a network whose people come all at once: what counts as
//! a guess, what does not, and what is on record.

use pacs_tests::provider::{Flaw, Provider, Terrain};
use pacs_tests::signed_in::{Browser, pacs};
use pacs_tests::web::get;
use std::collections::BTreeSet;

use crate::{API, Begun, NAME, Rig, SUBJECT, cookies, location, refusal, refused, session};

/// More than a network may be wrong at once.
const MANY: usize = 60;

#[test]
fn whoever_brings_forged_answers_again_and_again_waits() {
    let rig = Rig::of_flaw(Flaw::AnotherNonce);
    let codes: BTreeSet<_> = (0..MANY).map(|_| refusal(&rig.sign_in())).collect();
    let expected = [refused(502, "PROVIDER_UNTRUSTED"), refused(429, "WAIT")];
    assert_eq!(codes, BTreeSet::from(expected));

    // Who begins guesses nothing.
    let begun = rig.begin("/");
    let query = rig.provider.authorize(&begun.location);
    let answer = rig.come_back(&query, &begun.cookie);
    assert_eq!(refusal(&answer), refused(429, "WAIT"));
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn no_page_of_another_place_keeps_a_hospital_out_or_fills_the_trail() {
    let rig = Rig::new(Terrain::default());
    let before = rig.trail().lines().count();
    for n in 0..MANY {
        let query = format!("code=x&state=x&n={n}");
        let answer = rig.come_back(&query, "");
        assert_eq!(refusal(&answer), refused(403, "SIGN_IN_GONE"));
    }
    for _ in 0..MANY {
        let begun = rig.begin("/");
        let query = rig.provider.authorize(&begun.location);
        let (_, state) = query.split_once("&state=").expect("a state");
        let answer = rig.come_back(&format!("error=access_denied&state={state}"), &begun.cookie);
        assert_eq!(refusal(&answer), refused(403, "PROVIDER_REFUSED"));
    }
    // That the trail was read is on record itself, and that commands were given.
    let trail = rig.trail();
    assert!(trail.lines().count() < before + 5, "{trail}");
    assert!(!trail.contains("PROVIDER_REFUSED") && !trail.contains("SIGN_IN_GONE"));

    session(&rig.sign_in());
}

#[test]
fn whom_the_provider_knows_and_nobody_here_keeps_nobody_out() {
    let rig = Rig::new(Terrain::default());
    rig.provider.is_used_by("stranger", &[]);
    for _ in 0..MANY {
        assert_eq!(refusal(&rig.sign_in()), refused(403, "NOT_LINKED"));
    }
    rig.provider.is_used_by(SUBJECT, &[]);
    let _ = pacs(&rig.server, &["users", "disable", NAME]).succeeded();
    for _ in 0..MANY {
        assert_eq!(refusal(&rig.sign_in()), refused(403, "NOT_LINKED"));
    }
    let _ = pacs(&rig.server, &["users", "enable", NAME]).succeeded();
    session(&rig.sign_in());

    // Who may read the trail sees who it was: auditors all of it, an organisation its own people.
    let trail = |browser: &Browser| {
        let path = "/audit?limit=200";
        browser.get(&rig.server, path)["items"].clone()
    };
    let auditor = Browser::of_new_user(&rig.server, "auditor", &["auditor@national"]);
    let own = Browser::of_new_user(&rig.server, "own", &["org_admin@006"]);
    let of = |items: &serde_json::Value, why: &str| {
        let all = items.as_array().expect("items").iter();
        let of_why = all.filter(|item| item["event"]["reason"] == why);
        let issuer = rig.provider.issuer();
        let of_issuer = of_why.filter(|item| item["event"]["object"]["node"] == *issuer);
        of_issuer.count()
    };
    let stranger = "UNKNOWN_SUBJECT stranger (name of stranger)";
    let here = format!("BY_PROVIDER {SUBJECT}");
    let all = trail(&auditor);
    assert_eq!((of(&all, stranger), of(&all, &here)), (MANY, 1));
    let some = trail(&own);
    assert_eq!((of(&some, stranger), of(&some, &here)), (0, 1));
}

#[test]
fn of_one_network_no_more_are_at_the_provider_at_once_than_may_be_wrong() {
    let rig = Rig::hasty(None);
    session(&rig.sign_in());
    let begun: Vec<_> = (0..80).map(|_| rig.begin("/")).collect();
    rig.provider.has(Some(Flaw::SilentTokens));

    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let come = |begun: &Begun| {
            let query = rig.provider.authorize(&begun.location);
            rig.come_back(&query, &begun.cookie).status
        };
        let threads: Vec<_> = begun
            .iter()
            .map(|begun| scope.spawn(move || come(begun)))
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        ended.map(|status| status.expect("an answer")).collect()
    });

    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert!(count(429) > 0, "{statuses:?}");
    assert_eq!(count(429) + count(503), statuses.len(), "{statuses:?}");
    // None of it was a guess.
    rig.provider.has(None);
    session(&rig.sign_in());
}

#[test]
fn no_page_of_another_place_begins_a_sign_in() {
    let rig = Rig::new(Terrain::default());
    let path = format!("{API}/session/oidc");
    let begin = |fields: &[(&str, &str)]| get(rig.server.http(), &path, fields);
    for site in ["cross-site", "same-site", "", "x"] {
        let answer = begin(&[("Sec-Fetch-Site", site)]);
        assert_eq!(refusal(&answer), refused(403, "CROSS_SITE"), "{site}");
    }
    for site in ["same-origin", "none"] {
        assert_eq!(begin(&[("Sec-Fetch-Site", site)]).status, 303, "{site}");
    }
    assert_eq!(begin(&[]).status, 303);
}

#[test]
fn of_two_tabs_whichever_comes_back_first_is_signed_in() {
    let rig = Rig::new(Terrain::default());
    for comes in ["/first", "/second"] {
        let first = rig.begin("/first");
        let reply = rig.read("/session/oidc?return_to=/second", &first.cookie);
        let second = cookies(&reply).pop().expect("a cookie");
        assert!(
            second.starts_with(&format!("{};", first.cookie)),
            "{second}"
        );
        let mut tabs = [first.location.clone(), location(&reply)];
        if comes == "/second" {
            tabs.reverse();
        }

        let query = rig.provider.authorize(&tabs[0]);
        let came = rig.come_back(&query, &first.cookie);
        session(&came);
        assert_eq!(location(&came), comes);
        // The cookie went with that.
        let query = rig.provider.authorize(&tabs[1]);
        let answer = rig.come_back(&query, "");
        assert_eq!(refusal(&answer), refused(403, "SIGN_IN_GONE"));
    }
}

#[test]
fn a_browser_begins_with_a_secret_of_ours_alone() {
    let rig = Rig::new(Terrain::default());
    let first = rig.begin("/");
    assert_ne!(rig.begin("/").cookie, first.cookie);
    // What is none of ours is not taken over.
    let short = format!("__Host-pacs_sign_in={}", "A".repeat(42));
    for planted in ["__Host-pacs_sign_in=x", &short] {
        let reply = rig.read("/session/oidc", planted);
        let cookie = cookies(&reply).pop().expect("a cookie");
        assert!(!cookie.starts_with(&format!("{planted};")), "{cookie}");
    }
}

#[test]
fn somebody_proves_who_they_are_as_recently_as_it_is_demanded() {
    let provider = Provider::start(SUBJECT, Terrain::default(), None);
    let rig = Rig::with(provider, "max_age_seconds = 60");
    assert!(rig.begin("/").location.contains("&max_age=60"));
    let weak = refused(403, "PROVIDER_WEAK");
    // Clocks may differ by a minute.
    for s_ago in [None, Some(300), Some(i64::from(u32::MAX))] {
        rig.provider.was_shown_proof(s_ago);
        assert_eq!(refusal(&rig.sign_in()), weak, "{s_ago:?}");
    }
    for s_ago in [100, 30, 0, -30] {
        rig.provider.was_shown_proof(Some(s_ago));
        session(&rig.sign_in());
    }
    rig.provider.was_shown_proof(Some(-300));
    let untrusted = refused(502, "PROVIDER_UNTRUSTED");
    assert_eq!(refusal(&rig.sign_in()), untrusted);
    let without = Rig::new(Terrain::default());
    assert!(!without.begin("/").location.contains("max_age"));
}
