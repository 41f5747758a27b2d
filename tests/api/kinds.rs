//! Roles that are held for some kinds of images alone, at every door.

use pacs_tests::edges::until;
use pacs_tests::portal::{Browser, CT_OF_006, PASSWORD, Portal, etag, refusal, refused, slice_of};
use pacs_tests::samples::{Slice, short};
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::ask;
use serde_json::{Value, json};

use crate::examinations::{form, ids, saved};
use crate::patients::{patient, registered};
use crate::workitems;

/// A hospital with a CT and an MR of one patient that wait to be read, and images of either kind
/// of which nobody knows whose they are.
struct Hospital {
    portal: Portal,
    operator: Browser,
    number: String,
    /// Examinations.
    ct: String,
    mr: String,
    /// Their studies, and then those that wait for a person.
    studies: [String; 4],
}

/// A slice that the device sends as this modality; its study.
fn sent(portal: &Portal, study: u32, (modality, id, patient): (&str, &str, &str)) -> String {
    let element = |modality: &str| {
        let mut element = Vec::new();
        short(&mut element, 0x0008_0060, "CS", modality.as_bytes());
        element
    };
    let slice = Slice::new(study, 1);
    let mut data_set = slice_of(&slice, id, patient);
    let (was, is) = (element("CT"), element(modality));
    let at = data_set.windows(was.len()).position(|at| at == was);
    let at = at.expect("a Modality");
    data_set[at..at + was.len()].copy_from_slice(&is);
    portal.store(CT_OF_006, &slice.instance, &data_set);
    slice.study
}

impl Hospital {
    fn new() -> Self {
        let portal = Portal::start();
        let operator = portal.user("operator", &["operator@006"]);
        let number = registered(&operator, &patient());
        let [ct, mr] = ["ct", "mr"].map(|kind| {
            let mut form = form(&number);
            form["kind"] = json!(kind);
            saved(&operator, &form)
        });
        let studies = [
            sent(&portal, 1, ("CT", &ct, &number)),
            sent(&portal, 2, ("MR", &mr, &number)),
            sent(&portal, 3, ("CT", "", "")),
            sent(&portal, 4, ("MR", "", "")),
        ];
        for id in [&ct, &mr] {
            until(PATIENCE, "images of an examination", || {
                let complete = format!("/examinations/{id}/complete");
                (operator.post(&complete, &Value::Null).status == 200).then_some(())
            });
        }
        let hospital = Self {
            portal,
            operator,
            number,
            ct,
            mr,
            studies,
        };
        until(PATIENCE, "that it is known what waits", || {
            (hospital.queue(&hospital.operator) == [true, true]).then_some(())
        });
        hospital
    }

    /// Which of the two that wait for a person are in the list of them.
    fn queue(&self, who: &Browser) -> [bool; 2] {
        let list = who.get("/unmatched?organisation=006");
        assert_eq!(list.status, 200, "{}", list.json());
        let list = list.json().to_string();
        [2, 3].map(|at| list.contains(&format!("\"{}\"", self.studies[at])))
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
    fn found(&self, who: &Browser) -> [bool; 4] {
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
    fn given(&self, who: &Browser) -> [(u16, u16); 4] {
        self.studies.each_ref().map(|study| {
            let metadata = self.web(who, &format!("studies/{study}/metadata"));
            (metadata, who.get(&format!("/studies/{study}")).status)
        })
    }
}

#[test]
fn a_radiologist_for_ct_finds_and_gets_and_takes_no_mr_over_any_protocol() {
    let hospital = Hospital::new();
    let portal = &hospital.portal;
    let whole = portal.user("whole", &["radiologist@006"]);
    let reader = portal.user("reader", &["radiologist@006:ct"]);
    until(PATIENCE, "that searches know whose images are", || {
        (hospital.found(&whole) == [true; 4]).then_some(())
    });
    let (ct, mr) = (&hospital.ct, &hospital.mr);

    assert_eq!(hospital.found(&reader), [true, false, true, false]);
    let (there, gone) = ((200, 200), (404, 404));
    assert_eq!(hospital.given(&reader), [there, gone, there, gone]);
    assert_eq!(hospital.given(&whole), [there; 4]);
    let lists = [
        "/examinations".to_owned(),
        format!("/patients/{}/examinations", hospital.number),
    ];
    for list in lists {
        assert_eq!(ids(&reader.get(&list)), [ct.as_str()], "{list}");
        assert_eq!(ids(&whole.get(&list)).len(), 2, "{list}");
    }
    let statuses =
        |who: &Browser| [ct, mr].map(|id| who.get(&format!("/examinations/{id}")).status);
    assert_eq!(
        (statuses(&reader), statuses(&whole)),
        ([200, 404], [200, 200])
    );
    assert_eq!(hospital.queue(&reader), [true, false]);
    let card = |at: usize| {
        let path = format!("/unmatched/{}", hospital.studies[at]);
        reader.get(&path).status
    };
    assert_eq!((card(2), card(3)), (200, 404));
    // Two doors to one lock, and none of them is theirs.
    let tasks = workitems::found(portal, &whole, "");
    let of_reader = workitems::found(portal, &reader, "");
    assert_eq!((tasks.len(), of_reader.len()), (2, 1));
    let (theirs, _) = &of_reader[0];
    let (other, _) = tasks
        .iter()
        .find(|(uid, _)| uid != theirs)
        .expect("another");
    let shown = workitems::get(portal, &reader, &format!("/{other}"));
    assert_eq!(shown.status, 404);
    let wish = workitems::wish("IN PROGRESS", "2.25.11");
    assert_eq!(workitems::put(portal, &reader, other, &wish), 404);
    let claim = |id: &str| reader.post(&format!("/examinations/{id}/claim"), &Value::Null);
    assert_eq!(refusal(&claim(mr)), refused(404, "NOT_FOUND"));
    let wish = workitems::wish("IN PROGRESS", "2.25.12");
    assert_eq!(workitems::put(portal, &reader, theirs, &wish), 200);
    assert_eq!(claim(ct).status, 200, "they have it");
}

#[test]
fn a_radiologist_for_ct_orders_judges_and_is_named_for_ct_alone() {
    let hospital = Hospital::new();
    let portal = &hospital.portal;
    let reader = portal.user("reader", &["radiologist@006:ct"]);
    let (ct, mr) = (&hospital.ct, &hospital.mr);

    let named = |id: &str| {
        let body = json!({"reader": "reader"});
        let operator = &hospital.operator;
        operator
            .post(&format!("/examinations/{id}/assign"), &body)
            .status
    };
    assert_eq!((named(ct), named(mr)), (200, 422));
    let reject = |at: usize| {
        let body = json!({"title": "quality", "reason": "смазано"});
        let path = format!("/studies/{}/rejections", hospital.studies[at]);
        reader.make(&path, &body)
    };
    assert_eq!(refusal(&reject(1)), refused(404, "NOT_FOUND"));
    assert_eq!(refusal(&reject(3)), refused(404, "NOT_FOUND"));
    for at in [0, 2] {
        let rejected = reject(at);
        assert_eq!(rejected.status, 201, "{}", rejected.json());
    }
    let other = registered(
        &hospital.operator,
        &json!({"name": {"family": "Осмонова"}, "birth_date": "1980-05-01"}),
    );
    let mut order = form(&other);
    order["kind"] = json!("mr");
    let tried = reader.make("/examinations", &order);
    assert_eq!(refusal(&tried), refused(403, "NOT_PERMITTED"));
    order["kind"] = json!("ct");
    let own = saved(&reader, &order);
    // Nor does it become an MR in their hands.
    let path = format!("/examinations/{own}");
    let tag = etag(&reader.get(&path));
    order["kind"] = json!("mr");
    order.as_object_mut().expect("an object").remove("patient");
    let edited = reader.send("PUT", &path, &[("If-Match", &tag)], &order);
    assert_eq!(edited.status, 403, "{}", edited.json());
    let figures = reader.get("/statistics").json();
    assert_eq!(figures["total"], 2, "the two CT: {figures}");
}

#[test]
fn whoever_looks_after_people_limits_a_role_and_lifts_the_limit() {
    let hospital = Hospital::new();
    let portal = &hospital.portal;
    let admin = portal.user("admin", &["org_admin@006"]);
    let auditor = portal.user("auditor", &["auditor@national"]);
    let reader = portal.user("reader", &["radiologist@006"]);
    until(PATIENCE, "the studies", || {
        (hospital.found(&reader) == [true; 4]).then_some(())
    });
    let given = |grants: &Value| {
        let tag = etag(&admin.get("/users/reader"));
        let body = json!({
            "display_name": "Б. Осмонова", "is_doctor": true, "grants": grants,
        });
        admin.send("PUT", "/users/reader", &[("If-Match", &tag)], &body)
    };
    let at = json!({"organisation": "006"});
    let of = |role: &str, kinds: &Value| json!([{"role": role, "reach": at, "kinds": kinds}]);
    let many: Vec<String> = (0..13).map(|number| format!("K{number}")).collect();
    for wrong in [json!(["CT"]), json!(["sr"]), json!([""]), json!(many)] {
        let refusal_of = given(&of("radiologist", &wrong));
        assert_eq!(refusal(&refusal_of), refused(422, "MALFORMED"), "{wrong}");
        assert_eq!(refusal_of.json()["what"], "kinds");
    }
    let odd = json!([{"role": "radiologist", "reach": at, "modality": ["ct"]}]);
    assert_eq!(refusal(&given(&odd)), refused(400, "BAD_BODY"));
    let of_admin = given(&of("org_admin", &json!(["ct"])));
    assert_eq!(refusal(&of_admin), refused(422, "ROLE_FOR_ALL_KINDS"));

    let limited = given(&of("radiologist", &json!(["US", "mr"])));
    assert_eq!(limited.status, 200, "{}", limited.json());
    let kinds = &limited.json()["grants"][0]["kinds"];
    assert_eq!(*kinds, json!(["mr", "US"]), "in order");
    let again = portal.again("reader");
    assert_eq!(hospital.found(&again), [false, true, false, true]);
    let trail = auditor.get("/audit?limit=200").json().to_string();
    assert!(trail.contains("radiologist@006:mr,US"), "{trail}");
    let session = again.get("/session").json();
    assert_eq!(session["grants"][0]["kinds"], json!(["mr", "US"]));

    let lifted = given(&of("radiologist", &json!([])));
    assert_eq!(lifted.json()["grants"][0].get("kinds"), None);
    let again = Browser::sign_in(portal.server.http(), "reader", PASSWORD);
    assert_eq!(hospital.found(&again), [true; 4]);
}
