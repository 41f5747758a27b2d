//! What is done once, however often it is asked for: every operation of the document that takes an
//! `Idempotency-Key`, by the same rules.

use std::collections::BTreeSet;

use pacs_tests::edges::until;
use pacs_tests::portal::{Browser, CT_OF_006, Portal, refusal, refused, slice_of};
use pacs_tests::samples::Slice;
use pacs_tests::server::PATIENCE;
use pacs_tests::stow::Answer;
use serde_json::{Value, json};

use crate::consents::consent;
use crate::examinations::form;
use crate::patients::{patient, registered};

/// How many ask for the same at once.
const AT_ONCE: usize = 8;

/// How an operation is asked for.
struct Case {
    /// `POST /patients`, as the document has it.
    operation: String,
    path: String,
    /// Whoever may do it, and somebody else who may.
    who: Browser,
    other: Browser,
    body: Value,
    /// The same key is not good for this.
    changed: Value,
    /// What the other one asks for, where both would be in each other's way.
    others: (String, Value),
    /// The member of the answer that says what was made.
    name: &'static str,
    status: u16,
}

/// A hospital with all that is needed.
struct Place {
    portal: Portal,
    operator: Browser,
    keepers: [Browser; 2],
    numbers: [String; 2],
    studies: [String; 6],
}

impl Place {
    fn new() -> Self {
        let device = json!({"ae_title": CT_OF_006, "organisation": "006", "modality": "CT"});
        let aes = [CT_OF_006, "NATHOS_WS1"].map(|title| {
            format!(
                "[[dicom.ae]]\ntitle = \"{title}\"\naddress = \"127.0.0.1:1\"\n\
                 allow = [\"echo\", \"store\"]\n"
            )
        });
        let portal = Portal::with(&[device], &aes.concat());
        let operator = portal.user("operator", &["operator@006"]);
        let keepers =
            ["keeper", "other.keeper"].map(|name| portal.user(name, &["archive_admin@national"]));
        let second = json!({"name": {"family": "Осмонова"}, "birth_date": "1980-05-01"});
        let numbers = [patient(), second].map(|one| registered(&operator, &one));
        let studies = std::array::from_fn(|number| {
            let slice = Slice::new(u32::try_from(number + 1).expect("a number"), 1);
            portal.store(CT_OF_006, &slice.instance, &slice_of(&slice, "", ""));
            slice.study
        });
        let place = Self {
            portal,
            operator,
            keepers,
            numbers,
            studies,
        };
        until(PATIENCE, "whose the studies are", || {
            let last = format!("/studies/{}", place.studies[5]);
            let shown = place.keepers[0].get(&last).json();
            (shown["organisation"] == "006").then_some(())
        });
        place
    }

    fn operations(&self) -> Vec<String> {
        let document = self.operator.get("/openapi.json").json();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let parameters = operation["parameters"].as_array();
                let mut parameters = parameters.into_iter().flatten();
                let is_once = parameters.any(|one| {
                    let name = one["name"].as_str().unwrap_or_default();
                    name.eq_ignore_ascii_case("Idempotency-Key")
                });
                if is_once {
                    all.push(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
        all
    }

    /// How an operation is asked for: a new one of the document needs an arm.
    fn case(&self, operation: &str) -> Case {
        let (own, others) = match operation {
            "POST /studies/{study}/rejections" => (&self.studies[0], &self.studies[1]),
            "POST /studies/{study}/sendings" => (&self.studies[2], &self.studies[2]),
            // What is held could not be erased.
            "POST /studies/{study}/hold" => (&self.studies[3], &self.studies[2]),
            _ => (&self.studies[4], &self.studies[5]),
        };
        let path = operation.strip_prefix("POST ").expect("a POST");
        let of = |study: &str| path.replace("{study}", study);
        let [keeper, other_keeper] = self.keepers.clone();
        let kept = Case {
            operation: operation.to_owned(),
            path: of(own),
            who: keeper,
            other: other_keeper,
            body: Value::Null,
            changed: Value::Null,
            others: (of(others), Value::Null),
            name: "id",
            status: 201,
        };
        let second_operator = |name: &str| self.portal.user(name, &["operator@006"]);
        let born = |family: &str, day: &str| {
            let name = json!({"family": family, "given": "А"});
            json!({"name": name, "birth_date": day})
        };
        match operation {
            "POST /patients" => Case {
                who: self.operator.clone(),
                other: second_operator("operator.patients"),
                body: born("Асанов", "1970-01-01"),
                changed: born("Асанова", "1970-01-01"),
                others: (of(others), born("Бакиров", "1971-01-01")),
                name: "number",
                ..kept
            },
            "POST /patients/unidentified" => Case {
                who: self.operator.clone(),
                other: second_operator("operator.unidentified"),
                body: json!({"sex": "M"}),
                changed: json!({"sex": "F"}),
                others: (of(others), json!({"sex": "M"})),
                name: "number",
                ..kept
            },
            "POST /examinations" => {
                let mut changed = form(&self.numbers[0]);
                changed["complaints"] = json!("другое");
                Case {
                    who: self.operator.clone(),
                    other: second_operator("operator.examinations"),
                    body: form(&self.numbers[0]),
                    changed,
                    others: (of(others), form(&self.numbers[1])),
                    ..kept
                }
            }
            "POST /patients/{number}/consents" => {
                let at = |number: &str| path.replace("{number}", number);
                Case {
                    path: at(&self.numbers[0]),
                    who: self.operator.clone(),
                    other: second_operator("operator.consents"),
                    body: consent("форма 1"),
                    changed: consent("форма 2"),
                    others: (at(&self.numbers[1]), consent("форма 1")),
                    ..kept
                }
            }
            _ => self.case_of_study(kept, (own, others)),
        }
    }

    /// The same of an operation on a study.
    fn case_of_study(&self, kept: Case, (own, others): (&str, &str)) -> Case {
        let path = kept.operation.strip_prefix("POST ").expect("a POST");
        let of = |study: &str| path.replace("{study}", study);
        let operation = kept.operation.clone();
        match operation.as_str() {
            "POST /studies/{study}/rejections" => {
                let because = |why: &str| json!({"title": "quality", "reason": why});
                Case {
                    body: because("смазано"),
                    changed: because("темно"),
                    others: (of(others), because("смазано")),
                    ..kept
                }
            }
            "POST /studies/{study}/sendings" => Case {
                body: json!({"destination": "NATHOS_WS1"}),
                changed: json!({"destination": CT_OF_006}),
                others: (of(others), json!({"destination": "NATHOS_WS1"})),
                status: 202,
                ..kept
            },
            "POST /studies/{study}/hold" => Case {
                body: json!({"reason": "запрос суда"}),
                changed: json!({"reason": "проверка"}),
                others: (of(others), json!({"reason": "запрос суда"})),
                ..kept
            },
            "POST /studies/{study}/erasure" => {
                // What is to be erased is out of sight.
                for study in [own, others] {
                    let body = json!({"title": "quality", "reason": "пустые"});
                    let path = format!("/studies/{study}/rejections");
                    assert_eq!(kept.who.make(&path, &body).status, 201);
                }
                let because = |why: &str| json!({ "reason": why });
                Case {
                    body: because("истёк срок"),
                    changed: because("не нужны"),
                    others: (of(others), because("истёк срок")),
                    ..kept
                }
            }
            other => panic!("{other} is done once, and no case here says how it is asked for"),
        }
    }
}

impl Case {
    fn key(&self) -> String {
        let letters = self.operation.chars().filter(char::is_ascii_alphanumeric);
        format!("once-{}", letters.collect::<String>())
    }

    fn ask(&self, who: &Browser, path: &str, key: &str, body: &Value) -> Answer {
        who.send("POST", path, &[("Idempotency-Key", key)], body)
    }

    /// What was made, of an answer that says so.
    fn made(&self, answer: &Answer) -> String {
        let told = answer.json();
        assert_eq!(answer.status, self.status, "{}: {told}", self.operation);
        let name = told[self.name].as_str();
        name.unwrap_or_else(|| panic!("{}: {told}", self.operation))
            .to_owned()
    }

    /// Asks for it in every way; what it made.
    fn is_done_once(&self) -> String {
        let (what, key) = (&self.operation, self.key());
        let ask = |key: &str, body: &Value| self.ask(&self.who, &self.path, key, body);
        let keyless = self.who.post(&self.path, &self.body);
        let needed = refused(400, "KEY_NEEDED");
        assert_eq!(refusal(&keyless), needed, "{what}");
        for wrong in ["short", "with space", &"k".repeat(65)] {
            assert_eq!(refusal(&ask(wrong, &self.body)), needed, "{what} {wrong}");
        }
        // What is refused uses no key up.
        let mut odd = self.body.clone();
        odd["colour"] = json!("red");
        let odd = ask(&key, &odd);
        assert_eq!(refusal(&odd), refused(400, "BAD_BODY"), "{what}");

        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let asking = (0..AT_ONCE).map(|_| scope.spawn(|| ask(&key, &self.body)));
            let asking: Vec<_> = asking.collect();
            let ended = asking.into_iter();
            ended.map(|one| one.join().expect("an answer")).collect()
        });
        let made: BTreeSet<String> = answers.iter().map(|one| self.made(one)).collect();
        let [made] = made
            .into_iter()
            .collect::<Vec<_>>()
            .try_into()
            .expect("one alone");
        self.is_kept(&self.who, &made);
        // The name is each one's own.
        let (path, body) = &self.others;
        let others = self.ask(&self.other, path, &key, body);
        assert_ne!(self.made(&others), made, "{what}: somebody else's");
        self.is_kept(&self.who, &made);
        made
    }

    /// The same is answered as it was, and nothing else is done by that key.
    fn is_kept(&self, who: &Browser, made: &str) {
        let (what, key) = (&self.operation, self.key());
        let again = self.ask(who, &self.path, &key, &self.body);
        assert_eq!(self.made(&again), made, "{what}");
        let reused = refused(422, "KEY_REUSED");
        let changed = self.ask(who, &self.path, &key, &self.changed);
        assert_eq!(refusal(&changed), reused, "{what}: another body");
    }
}

#[test]
fn every_operation_with_a_key_is_done_once_for_each_who_asks_and_after_a_kill() {
    let mut place = Place::new();
    let operations = place.operations();
    assert!(operations.len() >= 6, "{operations:?}");
    let cases: Vec<Case> = operations.iter().map(|one| place.case(one)).collect();

    let made: Vec<String> = cases.iter().map(Case::is_done_once).collect();

    // A key is for one operation: the same person uses that of another one for nothing else.
    for (case, other) in cases.iter().zip(cases.iter().skip(1)) {
        if case.who.cookie == other.who.cookie {
            let answer = case.ask(&case.who, &case.path, &other.key(), &case.body);
            assert_eq!(
                refusal(&answer),
                refused(422, "KEY_REUSED"),
                "{}",
                case.operation
            );
        }
    }
    place.portal.server.kill();
    place.portal.server.restart();
    let http = place.portal.server.http();
    for (case, made) in cases.iter().zip(&made) {
        case.is_kept(&case.who.at(http), made);
    }
}
