//! What becomes of requests while the server comes to an end.

use crate::examinations::{form, saved};
use crate::patients::{patient, registered};
use pacs_tests::portal::{API, Portal};
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::Request;
use serde_json::json;
use std::net::TcpStream;
use std::time::Instant;

#[test]
fn whoever_asked_before_the_end_is_answered_and_streams_end_whole() {
    let mut portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let followed = saved(&operator, &form(&number));
    let mut stream = operator.stream(&format!("/examinations/{followed}/progress"), None);
    stream.wait_for(|event| event.name == "state");
    let mut body = form(&number);
    body["is_meant_twice"] = json!(true);
    let body = body.to_string();
    let (half, rest) = body.as_bytes().split_at(body.len() / 2);
    let http = portal.server.http();
    let length = body.len().to_string();
    let fields = [
        ("Cookie", &*operator.cookie),
        ("X-CSRF-Token", &*operator.token),
        ("Idempotency-Key", "before-the-end"),
        ("Content-Type", "application/json"),
        ("Content-Length", &*length),
    ];
    let path = format!("{API}/examinations");
    let mut asking = Request::begin(http, "POST", &path, &fields).expect("a connection");
    asking.send(half).expect("half a body");
    // It is answered after that was sent, on a connection that was made later.
    assert_eq!(operator.get("/session").status, 200);

    portal.server.terminate();

    let begun = Instant::now();
    while TcpStream::connect(http).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it still takes connections");
    }
    assert_eq!(stream.next_event(), None);
    asking.send(rest).expect("the rest");
    let answer = asking.answer().expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.json());
    assert!(portal.server.wait().success());
    portal.server.restart();
    let id = answer.json()["id"].as_str().expect("an ID").to_owned();
    let shown = portal.again("operator").get(&format!("/examinations/{id}"));
    assert_eq!(shown.status, 200);
}
