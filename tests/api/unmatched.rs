//! Studies that wait for a person: whose queue they are in, and lists of them.

use std::collections::BTreeSet;

use pacs_tests::edges::until;
use pacs_tests::portal::{Browser, CT_OF_006, Portal, slice_of};
use pacs_tests::samples::{Slice, part10};
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::{RELATED, ask, related};
use pacs_tests::wire::uid;
use serde_json::Value;

/// The studies of a part of a queue, and where the next begins.
fn part(who: &Browser, query: &str) -> (Vec<String>, Value) {
    let answer = who.get(&format!("/unmatched?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.json());
    let part = answer.json();
    let items = part["items"].as_array().expect("items").iter();
    let studies = items.map(|item| item["study"].as_str().expect("a UID").to_owned());
    (studies.collect(), part["next"].clone())
}

fn queue(who: &Browser, query: &str) -> Vec<String> {
    part(who, query).0
}

/// A slice as a file that says nothing of whose it is.
fn file(slice: &Slice) -> Vec<u8> {
    let names = (uid::CT_IMAGE_STORAGE, &*slice.instance);
    part10(names, uid::EXPLICIT_LITTLE_ENDIAN, &slice_of(slice, "", ""))
}

/// Stores slices over the web, with a token or a session.
fn stow(portal: &Portal, shows: &[(&str, &str)], slice: &Slice) {
    let mut fields = vec![("Content-Type", RELATED)];
    fields.extend_from_slice(shows);
    let body = related(&[file(slice)]);
    let stored = ask(
        portal.server.http(),
        "POST",
        "/dicomweb/studies",
        &fields,
        &body,
    );
    assert_eq!(stored.status, 200, "{}", stored.head);
}

#[test]
fn what_comes_over_the_web_is_of_the_organisation_for_which_it_is_stored() {
    let portal = Portal::start();
    let own = portal.user("own", &["operator@006"]);
    let foreign = portal.user("foreign", &["operator@001"]);
    let keeper = portal.user("keeper", &["archive_admin@national"]);
    let token = |name: &str, reach: &[&str]| {
        let words = [&["token", "create", name, "--scope", "store"], reach].concat();
        let said = portal.pacs(&words);
        let secret = said.lines().find(|line| line.starts_with("pacs_"));
        format!("Bearer {}", secret.expect("a secret"))
    };
    // Whatever they are called: the second as the devices of 001 are, the fourth as those of 006.
    let plain = token("gate", &["--organisation", "006"]);
    let named = token("KRKL_GATE", &["--organisation", "006"]);
    let all = token("everything", &["--everything"]);
    let named_all = token("NATHOS_GATE", &["--everything"]);
    let slices: Vec<Slice> = (1..=5).map(|number| Slice::new(number, 1)).collect();
    for (token, slice) in [&plain, &named, &all, &named_all].into_iter().zip(&slices) {
        stow(&portal, &[("Authorization", token)], slice);
    }
    let session = [("Cookie", &*own.cookie), ("X-CSRF-Token", &*own.token)];
    stow(&portal, &session, &slices[4]);

    let studies = |at: &[usize]| -> BTreeSet<String> {
        at.iter().map(|at| slices[*at].study.clone()).collect()
    };
    let (of_own, of_nobody) = (studies(&[0, 1, 4]), studies(&[2, 3]));
    until(PATIENCE, "the queues", || {
        let queued = |who: &Browser, query: &str| -> BTreeSet<String> {
            queue(who, query).into_iter().collect()
        };
        let is_right =
            queued(&own, "") == of_own && queued(&keeper, "organisation=none") == of_nobody;
        is_right.then_some(())
    });
    assert_eq!(queue(&foreign, ""), [""; 0]);
    // The trail has who it was, and for whom.
    let auditor = portal.user("auditor", &["auditor@national"]);
    until(PATIENCE, "the record", || {
        let trail = auditor.get("/audit?limit=200").json();
        let mut records = trail["items"].as_array().expect("records").iter();
        let is_it = |record: &&Value| {
            let text = record.to_string();
            text.contains(&slices[1].study) && text.contains("KRKL_GATE") && text.contains("006")
        };
        records.find(is_it).map(drop)
    });
    let waiting = keeper.get("/unmatched?organisation=none").json();
    let senders = |item: &Value| item["senders"][0].as_str().map(str::to_owned);
    let items = waiting["items"].as_array().expect("items").iter();
    let senders: BTreeSet<_> = items.filter_map(senders).collect();
    let programs = ["\\NATHOS_GATE", "\\everything"].map(str::to_owned);
    assert_eq!(senders, programs.into(), "no device");
}

#[test]
fn a_cursor_of_the_queue_is_good_after_the_index_was_rebuilt_and_the_server_killed() {
    let mut portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let slices: Vec<Slice> = (1..=5).map(|number| Slice::new(number, 1)).collect();
    for slice in &slices {
        portal.store(CT_OF_006, &slice.instance, &slice_of(slice, "", ""));
    }
    until(PATIENCE, "the queue", || {
        (queue(&operator, "").len() == 5).then_some(())
    });
    let whole = queue(&operator, "");
    let (first, next) = part(&operator, "limit=2");
    assert_eq!(first, whole[..2]);
    let cursor = next.as_str().expect("more").to_owned();

    portal.server.kill();
    portal.pacs(&["rebuild"]);
    portal.server.restart();

    let operator = operator.at(portal.server.http());
    let (rest, _) = part(&operator, &format!("limit=3&cursor={cursor}"));
    assert_eq!(rest, whole[2..]);
    // What came in meanwhile is in front of it, and moves nothing.
    let later = Slice::new(6, 1);
    portal.store(CT_OF_006, &later.instance, &slice_of(&later, "", ""));
    until(PATIENCE, "the queue", || {
        (queue(&operator, "").len() == 6).then_some(())
    });
    let (rest, _) = part(&operator, &format!("limit=3&cursor={cursor}"));
    assert_eq!(rest, whole[2..]);
    let shown = operator.get("/unmatched").json();
    let names = shown["items"].as_array().expect("items").iter();
    let names: BTreeSet<_> = names
        .filter_map(|item| item["header"]["patient_name"].as_str())
        .collect();
    assert_eq!(names.len(), 6, "what the index tells of them: {shown}");
}
