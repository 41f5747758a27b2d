//! What happens to examinations while somebody looks.

use pacs_tests::portal::{CT_OF_001, CT_OF_006, Portal, refusal, refused, slice_of};
use pacs_tests::samples::Slice;
use serde_json::{Value, json};

use crate::examinations::{form, saved};
use crate::patients::{patient, registered};

#[test]
fn whoever_looks_sees_images_come_and_goes_on_where_the_stream_broke_off() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let foreign = portal.user("foreign", &["operator@001"]);
    let number = registered(&operator, &patient());
    let id = saved(&operator, &form(&number));
    let path = format!("/examinations/{id}/progress");
    assert_eq!(refusal(&foreign.get(&path)), refused(404, "NOT_FOUND"));
    let store = |at: u32| {
        let slice = Slice::new(1, at);
        portal.store(CT_OF_006, &slice.instance, &slice_of(&slice, &id, &number));
    };

    let mut stream = operator.stream(&path, None);
    assert_eq!(stream.status, 200);
    let state = stream.wait_for(|event| event.name == "state");
    assert_eq!(state.data["status"], "scheduled");
    assert!(state.id.is_some());
    store(1);
    let begun = stream.wait_for(|event| event.data["status"] == "in_progress");
    assert_eq!(
        begun.data["studies"][0]["study"],
        json!(Slice::new(1, 1).study)
    );
    store(2);
    let second = Slice::new(1, 2).instance;
    let arrived = stream.wait_for(|event| {
        event.name == "instances" && event.data["instances"][0]["instance"] == json!(second)
    });
    assert_eq!(arrived.data["instances_count"], 2);
    assert_eq!(arrived.data["arrived_count"], 1);
    drop(stream);

    store(3);
    let last = arrived.id.expect("an ID");
    let mut stream = operator.stream(&path, Some(&last));
    let missed = stream.next_event().expect("what was missed comes first");
    assert_eq!(missed.name, "instances");
    assert_eq!(
        missed.data["instances"][0]["instance"],
        json!(Slice::new(1, 3).instance)
    );
    stream.wait_for(|event| event.name == "state");
    let out = operator.send("DELETE", "/session", &[], &Value::Null);
    assert_eq!(out.status, 204);
    let end = stream.wait_for(|event| event.name == "end");
    assert_eq!(end.data["code"], "NOT_SIGNED_IN");
    assert_eq!(
        stream.next_event(),
        None,
        "the stream ends with the session"
    );
}

#[test]
fn a_list_tells_of_its_own_examinations_alone() {
    let portal = Portal::start();
    let here = portal.user("here", &["operator@006"]);
    let there = portal.user("there", &["operator@001"]);
    let number = registered(&here, &patient());
    let path = "/examinations/progress";
    let mut stream = there.stream(path, None);
    assert_eq!(stream.status, 200);
    assert_eq!(stream.next_event().expect("an event").name, "reset");
    let theirs = there.get("/examinations/progress?organisation=006");
    assert_eq!(refusal(&theirs), refused(403, "NOT_PERMITTED"));

    let of_here = saved(&here, &form(&number));
    let slice = Slice::new(1, 1);
    let data_set = slice_of(&slice, &of_here, &number);
    portal.store(CT_OF_006, &slice.instance, &data_set);
    let mut other = form(&number);
    other["is_meant_twice"] = json!(true);
    let of_there = saved(&there, &other);
    let first = stream.wait_for(|event| !event.name.is_empty());
    assert_eq!(
        (first.name.as_str(), &first.data["id"]),
        ("changed", &json!(of_there))
    );
    let slice = Slice::new(2, 1);
    let data_set = slice_of(&slice, &of_there, &number);
    portal.store(CT_OF_001, &slice.instance, &data_set);
    let begun = stream.wait_for(|event| event.data["status"] == "in_progress");
    assert_eq!(begun.data["id"], json!(of_there));
    let slice = Slice::new(2, 2);
    let data_set = slice_of(&slice, &of_there, &number);
    portal.store(CT_OF_001, &slice.instance, &data_set);
    let arrived =
        stream.wait_for(|event| event.name == "instances" && event.data["instances_count"] == 2);
    assert_eq!(arrived.data["examination"], json!(of_there));
}

#[test]
fn one_user_has_eight_streams_at_once() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let path = "/examinations/progress";
    let mut streams: Vec<_> = (0..8).map(|_| operator.stream(path, None)).collect();
    assert!(streams.iter().all(|stream| stream.status == 200));
    let refused_one = operator.get(path);
    assert_eq!(refusal(&refused_one), refused(429, "TOO_MANY_STREAMS"));
    let other = portal.user("other", &["operator@006"]);
    assert_eq!(other.stream(path, None).status, 200);
    assert_eq!(streams[0].next_event().expect("an event").name, "reset");
}
