//! Whoever is told something of a patient, or of what somebody did to images, is on record: every
//! route that reads is asked, by somebody who is answered.

use super::country::Country;
use super::{Column, Expected, FOREIGN, OWN, Row, TABLE, columns};
use crate::policy::{Shows, grant};
use pacs_core::role::Role;
use pacs_store::registry::audit::AuditRecord;
use std::collections::{BTreeMap, BTreeSet};

/// Routes after which nothing is on record, and why. A route that is not here has to record.
const UNRECORDED: [(&str, &str); 14] = [
    ("/devices", "tells of machines"),
    ("/devices/{ae_title}", "tells of a machine"),
    (
        "/notices",
        "tells people of what they did, by its number alone",
    ),
    ("/openapi.json", "is for anybody"),
    ("/organisations", "is for everybody who is signed in"),
    ("/organisations/{code}", "is for everybody who is signed in"),
    ("/retention", "is for everybody who is signed in"),
    ("/session", "tells people of themselves"),
    (
        "/session/break-glass",
        "tells people what they said themselves",
    ),
    ("/session/oidc", "is for anybody; signing in is on record"),
    (
        "/session/oidc/callback",
        "is for anybody; signing in is on record",
    ),
    ("/session/ways", "is for anybody"),
    ("/users", "tells of accounts"),
    ("/users/{name}", "tells of an account"),
];

/// The first who is answered.
fn who<'a>(columns: &'a [Column], cells: &str) -> &'a Column {
    let mut cells = columns.iter().zip(cells.split_whitespace());
    let answered = cells.find(|(column, cell)| {
        let [own, _] = Expected::cell(cell);
        column.role.is_some() && own.status == 200
    });
    answered.unwrap().0
}

async fn records(country: &Country, after: u64) -> Vec<AuditRecord> {
    let trail = country.site.registry.audit_trail();
    trail.after(after, 1_000).await.unwrap()
}

/// What is wrong with what is on record of a look.
fn fault(path: &str, column: &Column, records: &[AuditRecord]) -> Option<String> {
    let of_them = records.iter().map(|record| &record.event);
    let of_them = of_them.filter(|event| event.actor.name == column.user());
    let of_them: Vec<_> = of_them.collect();
    if of_them.is_empty() {
        return Some("nothing is on record".to_owned());
    }
    let is_whole = of_them.iter().all(|event| {
        event.correlation.is_some() && event.from.is_some() && event.actor.session.is_some()
    });
    // Of a study that nobody knows whose it is there is none.
    let has_patient = path.contains('{') && !path.starts_with("/unmatched/");
    let is_about = of_them.iter().any(|event| {
        let object = &event.object;
        let is_of_some = object.query.is_some() || !object.studies.is_empty();
        object.patient.is_some() || (!has_patient && is_of_some) || path == "/audit"
    });
    (!is_whole || !is_about).then(|| format!("{of_them:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_of_a_patient_is_on_record() {
    let country = Country::open().await;
    let columns = columns(&country).await;
    let parts = [
        &super::PEOPLE[..],
        &super::EXAMINATIONS,
        &super::REPORTS,
        &super::STUDIES,
    ]
    .concat();
    let unrecorded: BTreeMap<_, _> = UNRECORDED.into_iter().collect();
    let (mut left_out, mut wrong) = (BTreeSet::new(), Vec::new());
    for (method, path, cells) in parts.iter().flat_map(|part| TABLE.routes(part)) {
        if method != "GET" {
            continue;
        }
        if unrecorded.contains_key(path) {
            left_out.insert(path);
            continue;
        }
        let mut row = Row {
            country: &country,
            method,
            path,
            kept: BTreeMap::new(),
            wrong: Vec::new(),
        };
        let column = who(&columns, cells);
        let asked = row.asked(column, OWN).await;
        let trail = country.site.registry.audit_trail();
        let before = trail.anchor().await.unwrap().map_or(0, |last| last.number);
        let reply = row.send(&column.shows[0], &asked, &asked.path).await;
        assert_eq!(reply.status, 200, "{path}");
        if let Some(fault) = fault(path, column, &records(&country, before).await) {
            wrong.push(format!("{path} by {}: {fault}", column.user()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(left_out.len(), unrecorded.len(), "one is no route any more");
    country.site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_part_begins_is_said_to_one_person_and_to_nobody_else() {
    let country = Country::open().await;
    for of in [OWN, FOREIGN, OWN, FOREIGN] {
        country.user(of).await;
    }
    let admin = async |name: &str, of: &str| {
        let grants = grant(Role::OrgAdmin, of);
        Shows::Session(country.site.sign_in(name, grants, false).await)
    };
    let (own, foreign) = (
        admin("admin.own", OWN).await,
        admin("admin.foreign", FOREIGN).await,
    );
    let ask = async |by: &Shows, query: &str| {
        let path = format!("/api/v1/users?limit=1{query}");
        by.ask(&country.site, "GET", &path).await
    };
    let first = ask(&own, "").await.json();
    let next = first["next"].as_str().unwrap();
    let name = first["items"][0]["name"].as_str().unwrap();
    let digits = |text: &str| -> String { text.bytes().map(|b| format!("{b:02x}")).collect() };
    assert!(!next.contains(&digits(name)));

    assert_eq!(ask(&own, &format!("&cursor={next}")).await.status, 200);
    let of_list: String = blake3::hash(b"users").to_hex().chars().take(16).collect();
    for (by, cursor) in [
        (&foreign, next.to_owned()),
        (&own, format!("{of_list}{}", digits("user"))),
        (&own, digits("user")),
        (&own, next[..next.len() - 2].to_owned()),
    ] {
        let refused = ask(by, &format!("&cursor={cursor}")).await;
        assert_eq!(refused.status, 422, "{cursor}");
        assert_eq!(refused.json()["code"], "BAD_CURSOR");
    }
    let elsewhere = format!("/api/v1/devices?cursor={next}");
    let refused = own.ask(&country.site, "GET", &elsewhere).await;
    assert_eq!(refused.json()["code"], "BAD_CURSOR");
    country.site.close().await;
}
