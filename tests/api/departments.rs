//! Roles that are held for some departments of an organisation alone, at every door, and devices
//! that are in a department.

use pacs_tests::edges::until;
use pacs_tests::peers::{dcmtk, has_dcmtk, run};
use pacs_tests::portal::{Browser, Portal, etag, refusal, refused, slice_of};
use pacs_tests::samples::Slice;
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::ask;
use serde_json::{Value, json};

use crate::examinations::{form, ids, saved};
use crate::patients::{patient, registered};
use crate::workitems;

/// Scanners of organisation 006: in two departments, and in none.
const RAD: &str = "NATHOS_RAD1";
const ER: &str = "NATHOS_ER1";
const NONE: &str = "NATHOS_CT1";

/// A hospital with a CT of one patient in each of two departments, that wait to be read, and images
/// of each scanner of which nobody knows whose they are.
struct Hospital {
    portal: Portal,
    operator: Browser,
    number: String,
    /// Examinations.
    rad: String,
    er: String,
    /// Their studies, and then those that wait for a person.
    studies: [String; 5],
}

fn open() -> Portal {
    let devices = [(RAD, Some("RAD")), (ER, Some("ER")), (NONE, None)].map(|(title, department)| {
        json!({
            "ae_title": title, "organisation": "006", "modality": "CT", "department": department,
        })
    });
    Portal::with_devices(&devices)
}

/// The form of a further CT that is made in a department.
fn form_in(patient: &str, department: &Value) -> Value {
    let mut form = form(patient);
    form["performing_department"] = department.clone();
    form["is_meant_twice"] = json!(true);
    form
}

/// A slice that a device sends; its study.
fn sent(portal: &Portal, study: u32, (device, id, patient): (&str, &str, &str)) -> String {
    let slice = Slice::new(study, 1);
    portal.store(device, &slice.instance, &slice_of(&slice, id, patient));
    slice.study
}

impl Hospital {
    fn new() -> Self {
        let portal = open();
        let operator = portal.user("operator", &["operator@006"]);
        let number = registered(&operator, &patient());
        let [rad, er] = ["RAD", "ER"].map(|code| saved(&operator, &form_in(&number, &json!(code))));
        let studies = [
            // Whichever device made them: the order says where.
            sent(&portal, 1, (ER, &rad, &number)),
            sent(&portal, 2, (RAD, &er, &number)),
            sent(&portal, 3, (RAD, "", "")),
            sent(&portal, 4, (ER, "", "")),
            sent(&portal, 5, (NONE, "", "")),
        ];
        for id in [&rad, &er] {
            until(PATIENCE, "images of an examination", || {
                let complete = format!("/examinations/{id}/complete");
                (operator.post(&complete, &Value::Null).status == 200).then_some(())
            });
        }
        let hospital = Self {
            portal,
            operator,
            number,
            rad,
            er,
            studies,
        };
        until(PATIENCE, "that it is known what waits", || {
            (hospital.queue(&hospital.operator) == [true; 3]).then_some(())
        });
        hospital
    }

    /// Which of those that wait for a person are in the list of them.
    fn queue(&self, who: &Browser) -> [bool; 3] {
        let list = who.get("/unmatched?organisation=006");
        assert_eq!(list.status, 200, "{}", list.json());
        let list = list.json().to_string();
        [2, 3, 4].map(|at| list.contains(&format!("\"{}\"", self.studies[at])))
    }

    fn web(&self, who: &Browser, path: &str) -> u16 {
        let fields = [
            ("Cookie", &*who.cookie),
            ("Accept", "application/dicom+json"),
        ];
        let path = format!("/dicomweb/{path}");
        ask(self.portal.server.http(), "GET", &path, &fields, &[]).status
    }

    /// Which of the studies somebody finds over QIDO-RS.
    fn found(&self, who: &Browser) -> [bool; 5] {
        let found = |study: &String| self.web(who, &format!("studies?0020000D={study}"));
        self.studies.each_ref().map(|study| match found(study) {
            200 => true,
            status => {
                assert_eq!(status, 204, "QIDO-RS");
                false
            }
        })
    }

    /// What WADO-RS and the portal say of each.
    fn given(&self, who: &Browser) -> [(u16, u16); 5] {
        self.studies.each_ref().map(|study| {
            let metadata = self.web(who, &format!("studies/{study}/metadata"));
            (metadata, who.get(&format!("/studies/{study}")).status)
        })
    }

    /// Waits until searches know whose images are.
    fn settle(&self, whole: &Browser) {
        until(PATIENCE, "that searches know whose images are", || {
            (self.found(whole) == [true; 5]).then_some(())
        });
    }
}

#[test]
fn a_radiologist_of_one_department_finds_and_gets_and_takes_nothing_of_another() {
    let hospital = Hospital::new();
    let portal = &hospital.portal;
    let whole = portal.user("whole", &["radiologist@006"]);
    let reader = portal.user("reader", &["radiologist@006/RAD"]);
    let of_mr = portal.user("of_mr", &["radiologist@006:mr/RAD"]);
    hospital.settle(&whole);
    let (rad, er) = (&hospital.rad, &hospital.er);

    assert_eq!(hospital.found(&reader), [true, false, true, false, false]);
    let (there, gone) = ((200, 200), (404, 404));
    let given = [there, gone, there, gone, gone];
    assert_eq!(hospital.given(&reader), given);
    assert_eq!(hospital.given(&whole), [there; 5]);
    assert_eq!(hospital.found(&of_mr), [false; 5], "both limits count");
    let lists = [
        "/examinations".to_owned(),
        format!("/patients/{}/examinations", hospital.number),
    ];
    for list in lists {
        assert_eq!(ids(&reader.get(&list)), [rad.as_str()], "{list}");
        assert_eq!(ids(&whole.get(&list)).len(), 2, "{list}");
        assert_eq!(ids(&of_mr.get(&list)).len(), 0, "{list}");
    }
    let statuses =
        |who: &Browser| [rad, er].map(|id| who.get(&format!("/examinations/{id}")).status);
    assert_eq!(
        (statuses(&reader), statuses(&whole)),
        ([200, 404], [200, 200])
    );
    assert_eq!(hospital.queue(&reader), [true, false, false]);
    assert_eq!(hospital.queue(&of_mr), [false; 3]);
    let cards = [2, 3, 4].map(|at| {
        let path = format!("/unmatched/{}", hospital.studies[at]);
        reader.get(&path).status
    });
    assert_eq!(cards, [200, 404, 404]);
    let tasks = workitems::found(portal, &whole, "");
    let of_reader = workitems::found(portal, &reader, "");
    assert_eq!((tasks.len(), of_reader.len()), (2, 1));
    let (theirs, _) = &of_reader[0];
    let (other, _) = tasks
        .iter()
        .find(|(uid, _)| uid != theirs)
        .expect("another");
    let wish = workitems::wish("IN PROGRESS", "2.25.11");
    assert_eq!(workitems::put(portal, &reader, other, &wish), 404);
    let claim = |id: &str| reader.post(&format!("/examinations/{id}/claim"), &Value::Null);
    assert_eq!(refusal(&claim(er)), refused(404, "NOT_FOUND"));
    assert_eq!(claim(rad).status, 200);
}

#[test]
fn a_radiologist_of_one_department_orders_judges_and_is_named_for_it_alone() {
    let hospital = Hospital::new();
    let portal = &hospital.portal;
    let reader = portal.user("reader", &["radiologist@006/RAD"]);
    let named = |id: &str| {
        let path = format!("/examinations/{id}/assign");
        let body = json!({"reader": "reader"});
        hospital.operator.post(&path, &body).status
    };
    assert_eq!((named(&hospital.rad), named(&hospital.er)), (200, 422));
    let reject = |at: usize| {
        let body = json!({"title": "quality", "reason": "смазано"});
        let path = format!("/studies/{}/rejections", hospital.studies[at]);
        reader.make(&path, &body)
    };
    for at in [1, 3, 4] {
        assert_eq!(refusal(&reject(at)), refused(404, "NOT_FOUND"), "{at}");
    }
    for at in [0, 2] {
        let rejected = reject(at);
        assert_eq!(rejected.status, 201, "{}", rejected.json());
    }
    // They order for their own department, wherever it is made.
    let mut order = form_in(&hospital.number, &json!("ER"));
    for wrong in [Value::Null, json!("ER")] {
        order["ordering_department"] = wrong;
        let tried = reader.make("/examinations", &order);
        assert_eq!(refusal(&tried), refused(403, "NOT_PERMITTED"));
    }
    order["ordering_department"] = json!("RAD");
    let own = saved(&reader, &order);
    // Nor does it become another department's in their hands.
    let path = format!("/examinations/{own}");
    let shown = reader.get(&path);
    assert_eq!(shown.json()["form"]["performing_department"], "ER");
    assert_eq!(shown.json()["form"]["ordering_department"], "RAD");
    order["ordering_department"] = json!("ER");
    order.as_object_mut().expect("an object").remove("patient");
    let edited = reader.put(&path, &etag(&shown), &order);
    assert_eq!(edited.status, 403, "{}", edited.json());
    let figures = reader.get("/statistics").json();
    assert_eq!(figures["total"], 1, "what is made in RAD: {figures}");
    let figures = hospital.operator.get("/statistics").json();
    assert_eq!(figures["total"], 3, "{figures}");
}

#[test]
fn a_radiographer_of_a_department_says_whose_its_images_are() {
    let hospital = Hospital::new();
    let portal = &hospital.portal;
    let maker = portal.user("maker", &["radiographer@006/RAD"]);
    assert_eq!(hospital.queue(&maker), [true, false, false]);
    let create = |at: usize, tag: &str| {
        let path = format!("/unmatched/{}/create", hospital.studies[at]);
        let body = json!({
            "patient": hospital.number, "regions": [{"part": "816094009"}], "reason": "без заявки",
            "weight_tenths_kg": 720,
        });
        maker.send("POST", &path, &[("If-Match", tag)], &body)
    };
    let card = maker.get(&format!("/unmatched/{}", hospital.studies[2]));
    let tag = etag(&card);
    for at in [3, 4] {
        assert_eq!(refusal(&create(at, &tag)), refused(404, "NOT_FOUND"));
    }
    let made = create(2, &tag);
    assert_eq!(made.status, 200, "{}", made.json());
    let list = ids(&maker.get("/examinations"));
    let new = list.iter().find(|id| **id != hospital.rad);
    let new = maker.get(&format!("/examinations/{}", new.expect("a new one")));
    let department = &new.json()["form"]["performing_department"];
    assert_eq!(department, "RAD", "of the device that made the images");
}

#[test]
fn a_device_of_a_department_is_told_of_its_own_steps_and_of_those_of_none() {
    let portal = open();
    let operator = portal.user("operator", &["operator@006"]);
    let number = registered(&operator, &patient());
    let departments = [json!("RAD"), json!("ER"), Value::Null];
    let orders = departments.map(|code| saved(&operator, &form_in(&number, &code)));
    // A scanner of another department would not be told of it.
    let mut wrong = form_in(&number, &json!("RAD"));
    wrong["station"] = json!(ER);
    let tried = operator.make("/examinations", &wrong);
    assert_eq!(refusal(&tried), refused(422, "MALFORMED"));
    assert_eq!(tried.json()["what"], "station");
    wrong["station"] = Value::Null;
    for what in ["performing_department", "ordering_department"] {
        let mut wrong = wrong.clone();
        wrong[what] = json!("rad");
        let tried = operator.make("/examinations", &wrong);
        assert_eq!(refusal(&tried), refused(422, "MALFORMED"));
        assert_eq!(tried.json()["what"], what);
    }

    let maker = portal.user("maker", &["radiographer@006/RAD"]);
    let list = "/worklist?organisation=006&from=2026-01-01&to=2199-12-31";
    let listed = |who: &Browser| {
        let list = who.get(list);
        assert_eq!(list.status, 200, "{}", list.json());
        let list = list.json().to_string();
        orders.each_ref().map(|id| list.contains(id.as_str()))
    };
    assert_eq!(listed(&maker), [true, false, false]);
    if !has_dcmtk() {
        return;
    }
    let told = |title: &str| {
        let mut findscu = dcmtk("findscu");
        findscu.args(["-W", "-aet", title, "-aec", "PACS", "-k", "AccessionNumber"]);
        findscu.args(["-k", "ScheduledProcedureStepSequence[0].Modality=CT"]);
        let at = portal.server.dicom();
        findscu.args([at.ip().to_string(), at.port().to_string()]);
        let said = run(&mut findscu).succeeded();
        orders.each_ref().map(|id| said.text.contains(id.as_str()))
    };
    assert_eq!(told(RAD), [true, false, true]);
    assert_eq!(told(ER), [false, true, true]);
    assert_eq!(told(NONE), [true; 3]);

    // One that moves is told of the other ones.
    let admin = portal.user("admin", &["org_admin@006"]);
    let path = format!("/devices/{ER}");
    let shown = admin.get(&path);
    let mut device = shown.json();
    assert_eq!(device["department"], "ER");
    device["department"] = json!("RAD");
    let moved = admin.put(&path, &etag(&shown), &device);
    assert_eq!(moved.status, 200, "{}", moved.json());
    assert_eq!(told(ER), [true, false, true]);
    device["department"] = json!("Отделение");
    let odd = admin.put(&path, &etag(&moved), &device);
    assert_eq!(refusal(&odd), refused(400, "BAD_BODY"));
}

#[test]
fn whoever_looks_after_people_limits_a_role_to_departments_and_lifts_the_limit() {
    let hospital = Hospital::new();
    let portal = &hospital.portal;
    let ministry = portal.user("ministry", &["moh_admin@national"]);
    let admin = portal.user("admin", &["org_admin@006"]);
    let auditor = portal.user("auditor", &["auditor@national"]);
    let reader = portal.user("reader", &["radiologist@006"]);
    hospital.settle(&reader);
    let given = |by: &Browser, grants: &Value| {
        let tag = etag(&by.get("/users/reader"));
        let body = json!({
            "display_name": "Б. Осмонова", "is_doctor": true, "grants": grants,
        });
        by.put("/users/reader", &tag, &body)
    };
    let at = json!({"organisation": "006"});
    let of = |role: &str, reach: &Value, codes: &Value| {
        let grant = json!({"role": role, "reach": reach, "departments": codes});
        json!([grant])
    };
    let many: Vec<String> = (0..13).map(|number| format!("D{number}")).collect();
    for wrong in [json!(["rad"]), json!([""]), json!(["R-D"]), json!(many)] {
        let refusal_of = given(&admin, &of("radiologist", &at, &wrong));
        assert_eq!(refusal(&refusal_of), refused(422, "MALFORMED"), "{wrong}");
        assert_eq!(refusal_of.json()["what"], "departments");
    }
    let whole = refused(422, "ROLE_FOR_ALL_DEPARTMENTS");
    let of_admin = given(&admin, &of("org_admin", &at, &json!(["RAD"])));
    assert_eq!(refusal(&of_admin), whole);
    // Their codes are those of an organisation.
    let everywhere = of("expert", &json!("national"), &json!(["RAD"]));
    assert_eq!(refusal(&given(&ministry, &everywhere)), whole);

    let limited = given(
        &admin,
        &of("radiologist", &at, &json!(["RAD", "ER", "RAD"])),
    );
    assert_eq!(limited.status, 200, "{}", limited.json());
    let both = json!(["ER", "RAD"]);
    assert_eq!(limited.json()["grants"][0]["departments"], both, "in order");
    let again = portal.again("reader");
    assert_eq!(hospital.found(&again), [true, true, true, true, false]);
    let session = again.get("/session").json();
    assert_eq!(session["grants"][0]["departments"], both);
    let trail = auditor.get("/audit?limit=200").json().to_string();
    assert!(trail.contains("radiologist@006/ER,RAD"), "{trail}");

    let lifted = given(&admin, &of("radiologist", &at, &json!([])));
    assert_eq!(lifted.json()["grants"][0].get("departments"), None);
    assert_eq!(hospital.found(&portal.again("reader")), [true; 5]);
}
