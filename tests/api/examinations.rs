//! The form and its ID, lists, what happens to examinations, worklists.

use pacs_tests::portal::{Browser, CT_OF_006, Portal, etag, refusal, refused, slice_of};
use pacs_tests::samples::Slice;
use pacs_tests::stow::Answer;
use serde_json::{Value, json};

use crate::patients::{patient, registered};

/// The form of a CT of the chest.
pub(crate) fn form(patient: &str) -> Value {
    json!({
        "patient": patient,
        "kind": "ct",
        "regions": [{"part": "816094009"}],
        "weight_kg": "72,5",
        "complaints": "кашель\r\nодышка",
        "anamnesis": "с осени",
    })
}

/// Saves a form; the ID.
pub(crate) fn saved(browser: &Browser, form: &Value) -> String {
    let saved = browser.make("/examinations", form);
    assert_eq!(saved.status, 201, "{}", saved.json());
    saved.json()["id"].as_str().expect("an ID").to_owned()
}

pub(crate) fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let items = answer.json()["items"].clone();
    let items = items.as_array().expect("items").iter();
    items
        .map(|item| item["id"].as_str().expect("an ID").to_owned())
        .collect()
}

/// Has images of an examination come, and waits until the server knows whose they are.
pub(crate) fn images_come(portal: &Portal, browser: &Browser, id: &str, patient: &str) {
    let mut stream = browser.stream(&format!("/examinations/{id}/progress"), None);
    assert_eq!(stream.status, 200);
    stream.wait_for(|event| event.name == "state");
    let slice = Slice::new(1, 1);
    portal.store(CT_OF_006, &slice.instance, &slice_of(&slice, id, patient));
    stream.wait_for(|event| event.name == "state" && event.data["status"] == "in_progress");
}

#[test]
fn a_form_is_checked_and_a_double_click_makes_one_examination() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let form = form(&number);

    let mut light = form.clone();
    light["weight_kg"] = Value::Null;
    let needed = operator.make("/examinations", &light);
    assert_eq!(refusal(&needed), refused(422, "WEIGHT_NEEDED"));
    light["weight_kg"] = json!("72,55");
    let wrong = operator.make("/examinations", &light);
    assert_eq!(refusal(&wrong), refused(422, "MALFORMED"));
    assert_eq!(wrong.json()["what"], "weight");
    let mut odd = form.clone();
    odd["colour"] = json!("red");
    assert_eq!(
        refusal(&operator.make("/examinations", &odd)),
        refused(400, "BAD_BODY")
    );
    let key = [("Idempotency-Key", "a-double-click")];
    let first = operator.send("POST", "/examinations", &key, &form);
    let twice = operator.send("POST", "/examinations", &key, &form);
    assert_eq!((first.status, twice.status), (201, 201), "{}", first.json());
    assert_eq!(first.json(), twice.json(), "a double click makes one");
    let id = first.json()["id"].as_str().expect("an ID").to_owned();
    assert_eq!((id.len(), &id[2..5], &id[5..11]), (12, "006", "000001"));
    assert_eq!(ids(&operator.get("/examinations")), [id.as_str()]);
    let open = operator.make("/examinations", &form);
    assert_eq!(refusal(&open), refused(409, "OPEN_EXAMINATION"));
    let mut meant = form.clone();
    meant["is_meant_twice"] = json!(true);
    let second = saved(&operator, &meant);
    assert_eq!(&second[5..11], "000002");
}

#[test]
fn an_examination_is_read_by_its_id_as_it_is_typed_and_by_its_organisation_alone() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let foreign = portal.user("foreign", &["operator@001"]);
    let number = registered(&operator, &patient());
    let id = saved(&operator, &form(&number));
    // As it is typed: grouped, and with letters that look like digits.
    let parts = (&id[..2], &id[3..5], &id[5..11], &id[11..]);
    let typed = format!("{}%20%D0%9E{}%20{}-{}", parts.0, parts.1, parts.2, parts.3);
    let shown = operator.get(&format!("/examinations/{typed}"));
    assert_eq!(shown.status, 200, "{typed}: {}", shown.json());
    let shown = shown.json();
    assert_eq!(shown["id"], json!(id));
    assert_eq!(shown["status"], "scheduled");
    assert_eq!(shown["step_id"], json!(format!("{id}-01")));
    assert_eq!(shown["form"]["weight_kg"], 72.5);
    assert_eq!(shown["form"]["complaints"], "кашель\nодышка");
    assert_eq!(shown["patient"]["pin"], "2•••••••••9901");
    let swapped = format!(
        "{}{}",
        &id[..11],
        (id[11..].parse::<u8>().expect("a digit") + 1) % 10
    );
    let wrong = operator.get(&format!("/examinations/{swapped}"));
    assert_eq!(refusal(&wrong), refused(422, "EXAMINATION_ID"));
    assert_eq!(wrong.json()["rule"], "CHECK_DIGIT");

    let path = format!("/examinations/{id}");
    let why = json!({"reason": "ошибка"});
    assert_eq!(refusal(&foreign.get(&path)), refused(404, "NOT_FOUND"));
    let theirs = foreign.post(&format!("{path}/cancel"), &why);
    assert_eq!(refusal(&theirs), refused(404, "NOT_FOUND"));
    let listed = foreign.get("/examinations?organisation=006");
    assert_eq!(refusal(&listed), refused(403, "NOT_PERMITTED"));
    assert_eq!(ids(&foreign.get("/examinations")), Vec::<String>::new());
}

#[test]
fn a_form_is_changed_and_withdrawn_as_long_as_there_are_no_images() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let form = form(&number);
    let id = saved(&operator, &form);
    let path = format!("/examinations/{id}");
    let why = json!({"reason": "ошибка"});
    let mut next = form.clone();
    next.as_object_mut().expect("an object").remove("patient");
    next["complaints"] = json!("боль");
    next["is_meant_twice"] = json!(true);
    let seen = etag(&operator.get(&path));
    assert_eq!(
        refusal(&operator.send("PUT", &path, &[], &next)),
        refused(428, "IF_MATCH_NEEDED")
    );
    let changed = operator.put(&path, &seen, &next);
    assert_eq!(changed.status, 200, "{}", changed.json());
    assert_eq!(changed.json()["form"]["complaints"], "боль");
    assert_eq!(
        refusal(&operator.put(&path, &seen, &next)),
        refused(412, "STALE")
    );
    let stale = [("If-Match", &*seen)];
    let cancel = format!("{path}/cancel");
    let late = operator.send("POST", &cancel, &stale, &why);
    assert_eq!(refusal(&late), refused(412, "STALE"));
    let no_reason = operator.post(&cancel, &json!({"reason": " "}));
    assert_eq!(refusal(&no_reason), refused(422, "REASON_NEEDED"));
    let cancelled = operator.post(&cancel, &why);
    assert_eq!(
        cancelled.json()["status"],
        "cancelled",
        "{}",
        cancelled.json()
    );
    let over = operator.put(&path, &etag(&cancelled), &next);
    assert_eq!(refusal(&over), refused(409, "EXAMINATION_STATUS"));
    assert_eq!(over.json()["examination_status"], "cancelled");
    let events = operator.get(&format!("{path}/events"));
    let events = events.json()["items"].clone();
    let names: Vec<_> = (0..3).map(|at| events[at]["event"].clone()).collect();
    assert_eq!(names, ["save", "edit", "cancel"]);
    assert_eq!(events[2]["reason"], "ошибка");
}

/// Saves examinations of four kinds and urgencies, the oldest first.
fn several(operator: &Browser, number: &str) -> [String; 4] {
    let kinds = ["ct", "mr", "xray", "ct"];
    let priorities = ["routine", "stat", "high", "routine"];
    std::array::from_fn(|at| {
        let mut form = form(number);
        form["kind"] = json!(kinds[at]);
        form["priority"] = json!(priorities[at]);
        form["is_meant_twice"] = json!(true);
        saved(operator, &form)
    })
}

#[test]
fn lists_have_filters_and_orders() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006", "radiographer@006"]);
    let number = registered(&operator, &patient());
    let [routine, stat, high, later] = several(&operator, &number);
    let list = |query: &str| ids(&operator.get(&format!("/examinations?{query}")));

    assert_eq!(
        list(""),
        [&later, &high, &stat, &routine].map(String::clone)
    );
    let urgent = list("status=scheduled&sort=urgent");
    assert_eq!(urgent, [&stat, &high, &routine, &later].map(String::clone));
    assert_eq!(list("kind=mr"), [stat.as_str()]);
    assert_eq!(list("priority=high"), [high.as_str()]);
    assert_eq!(list("from=2000-01-01&to=2000-01-02"), Vec::<String>::new());
    assert_eq!(list("mine=true"), Vec::<String>::new());
    assert_eq!(list("status=cancelled"), Vec::<String>::new());
    let all = operator.get("/examinations?sort=urgent");
    assert_eq!(refusal(&all), refused(422, "MALFORMED"));
    let unknown = operator.get("/examinations?colour=red");
    assert_eq!(refusal(&unknown), refused(422, "MALFORMED"));
}

#[test]
fn parts_of_lists_stay_where_they_are_and_counts_are_of_what_is_seen() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006", "radiographer@006"]);
    let number = registered(&operator, &patient());
    let [routine, stat, _, _] = several(&operator, &number);
    let foreign = portal.user("foreign", &["radiographer@001"]);
    let list = |query: &str| ids(&operator.get(&format!("/examinations?{query}")));
    // What comes in meanwhile neither hides an entry nor shows one twice.
    let first = operator.get("/examinations?limit=2");
    let cursor = first.json()["next"].as_str().expect("more").to_owned();
    let newest = {
        let mut form = form(&number);
        form["is_meant_twice"] = json!(true);
        saved(&operator, &form)
    };
    assert_eq!(
        list(&format!("limit=2&cursor={cursor}")),
        [stat.clone(), routine.clone()]
    );
    assert_eq!(list("limit=1"), [newest.as_str()]);
    let other = operator.get(&format!("/examinations?kind=ct&cursor={cursor}"));
    assert_eq!(refusal(&other), refused(422, "BAD_CURSOR"));
    let counts = operator.get("/examinations/counts");
    let counts = counts.json()["items"].clone();
    let scheduled = counts.as_array().expect("counts").iter();
    let mut scheduled = scheduled.filter(|of| of["status"] == "scheduled");
    assert_eq!(scheduled.next().expect("a count")["count"], 5);
    let of_patient = operator.get(&format!("/patients/{number}/examinations"));
    assert_eq!(ids(&of_patient).len(), 5);
    let of_foreign = foreign.get(&format!("/patients/{number}/examinations"));
    assert_eq!(ids(&of_foreign), Vec::<String>::new());
}

#[test]
fn the_worklist_shows_what_the_devices_of_an_organisation_see() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006", "radiographer@006"]);
    let number = registered(&operator, &patient());
    let [routine, stat, high, later] = several(&operator, &number);
    let foreign = portal.user("foreign", &["radiographer@001"]);
    let worklist = operator.get("/worklist");
    assert_eq!(
        ids(&worklist),
        [&routine, &stat, &high, &later].map(String::clone)
    );
    let of_device = format!("/worklist?station={CT_OF_006}");
    let of_device = ids(&operator.get(&of_device));
    assert_eq!(of_device, [&routine, &later].map(String::clone));
    let first = operator.get("/worklist?limit=2");
    assert_eq!(ids(&first), [routine, stat]);
    let cursor = first.json()["next"].as_str().expect("more").to_owned();
    let rest = operator.get(&format!("/worklist?limit=9&cursor={cursor}"));
    assert_eq!(ids(&rest), [high, later]);
    assert_eq!(
        ids(&operator.get("/worklist?from=2000-01-01")),
        Vec::<String>::new()
    );
    assert_eq!(ids(&foreign.get("/worklist")), Vec::<String>::new());
    let theirs = foreign.get("/worklist?organisation=006");
    assert_eq!(refusal(&theirs), refused(403, "NOT_PERMITTED"));
    let device = foreign.get(&format!("/worklist?station={CT_OF_006}"));
    assert_eq!(refusal(&device), refused(422, "MALFORMED"));
}

#[test]
fn an_examination_is_complete_with_its_images_and_shows_where_they_are() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let id = saved(&operator, &form(&number));
    let path = format!("/examinations/{id}");
    let early = operator.post(&format!("{path}/complete"), &Value::Null);
    assert_eq!(refusal(&early), refused(409, "EXAMINATION_STATUS"));
    images_come(&portal, &operator, &id, &number);
    let why = json!({"reason": "ошибка"});
    let cancel = operator.post(&format!("{path}/cancel"), &why);
    assert_eq!(refusal(&cancel), refused(409, "EXAMINATION_STATUS"));
    let complete = operator.post(&format!("{path}/complete"), &Value::Null);
    assert_eq!(
        complete.json()["status"],
        "images_received",
        "{}",
        complete.json()
    );
    let studies = operator.get(&format!("{path}/studies"));
    let study = studies.json()["items"][0].clone();
    assert_eq!(study["instances_count"], 1);
    let uid = Slice::new(1, 1).study;
    assert_eq!(study["dicomweb"], json!(format!("/dicomweb/studies/{uid}")));
    assert_eq!(study["series"][0]["modality"], "CT");
}

/// Whoever has an examination in work gives it back, and another takes it.
pub(crate) fn goes_from_hand_to_hand(experts: &[Browser], winner: usize, path: &str) {
    let claim = format!("{path}/claim");
    let id = path.rsplit('/').next().expect("an ID").to_owned();
    let other = &experts[(winner + 1) % 5];
    let release = format!("{path}/release");
    assert_eq!(
        refusal(&other.post(&release, &Value::Null)),
        refused(409, "NOT_HOLDER")
    );
    let mine = experts[winner].get("/examinations?scope=queue&mine=true");
    assert_eq!(ids(&mine), [id.as_str()]);
    let back = json!({"reason": "нужна боковая проекция"});
    let returned = experts[winner].post(&format!("{path}/return"), &back);
    assert_eq!(
        returned.json()["status"],
        "images_received",
        "{}",
        returned.json()
    );
    let claimed = other.post(&claim, &Value::Null);
    assert_eq!(claimed.json()["status"], "under_review");
    let released = other.post(&release, &Value::Null);
    assert_eq!(released.json()["lock"], Value::Null);
}

#[test]
fn each_role_does_with_examinations_what_the_table_says() {
    let portal = Portal::start();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let mut form = form(&number);
    form["is_meant_twice"] = json!(true);
    let id = saved(&operator, &form);
    let path = format!("/examinations/{id}");
    let mut next = form.clone();
    next.as_object_mut().expect("an object").remove("patient");
    // Of another patient: who treats one sees what was made of them before.
    let other = json!({"name": {"family": "Осмонова"}, "birth_date": "1980-05-01"});
    form["patient"] = json!(registered(&operator, &other));
    // Order, see, change, worklist: the status of each.
    for (role, expected) in [
        ("radiographer@006", [201, 200, 200, 200]),
        ("radiologist@006", [201, 200, 200, 200]),
        ("referrer@006", [201, 404, 403, 403]),
        ("expert@006", [403, 404, 403, 403]),
        ("org_admin@006", [403, 403, 403, 403]),
        ("moh_admin@national", [403, 403, 403, 403]),
        ("auditor@national", [403, 403, 403, 403]),
        ("radiologist@001", [201, 404, 404, 200]),
    ] {
        let name = role.replace(['@', '_'], ".");
        let browser = portal.user(&name, &[role]);
        let seen = etag(&operator.get(&path));
        let answers = [
            browser.make("/examinations", &form),
            browser.get(&path),
            browser.put(&path, &seen, &next),
            browser.get("/worklist"),
        ];
        for (answer, expected) in answers.iter().zip(expected) {
            assert_eq!(answer.status, expected, "{role}: {}", answer.json());
        }
    }
    let own = portal.user("referrer", &["referrer@001"]);
    let ordered = own.make("/examinations", &{
        let mut form = form.clone();
        form["performing"] = json!("006");
        form
    });
    assert_eq!(ordered.status, 201, "{}", ordered.json());
    assert_eq!(ordered.json()["performing"], "006");
    let id = ordered.json()["id"].as_str().expect("an ID").to_owned();
    let theirs = own.get(&format!("/examinations/{id}"));
    assert_eq!(theirs.status, 200, "what they ordered themselves");
    assert_eq!(ids(&own.get("/examinations?scope=ordering")), [id]);
    let admin = portal.user("admin", &["org_admin@006"]);
    let cancelled = admin.post(&format!("{path}/cancel"), &json!({"reason": "дубль"}));
    assert_eq!(cancelled.status, 200, "{}", cancelled.json());
    assert_eq!(cancelled.json().get("form"), None, "nothing clinical");
}
