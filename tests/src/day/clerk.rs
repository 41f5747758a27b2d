//! What people do in the portal, over a server that is started again meanwhile.

use serde_json::{Value, json};

use super::centre::Centre;
use super::people::{Papers, Person};
use crate::portal::{Browser, etag};
use crate::samples::Random;
use crate::stow::Answer;

/// Somebody who is registered.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Their number.
    pub number: String,
    /// Their name as a PN value.
    pub name: String,
    /// The same in Latin letters.
    pub latin: String,
    /// Their date of birth, such as `19600131`; may be empty.
    pub birth_date: String,
    /// Their sex as a code; may be empty.
    pub sex: String,
    /// Their PIN or document; may be empty.
    pub papers: String,
}

/// An operator at work.
#[derive(Clone, Debug)]
pub struct Clerk<'c> {
    centre: &'c Centre,
    browser: Browser,
    /// What the keys of requests begin with.
    keys: String,
    requests: u32,
}

impl<'c> Clerk<'c> {
    /// Whoever is signed in with `browser`.
    #[must_use]
    pub fn new(centre: &'c Centre, browser: &Browser, keys: &str) -> Self {
        Self {
            centre,
            browser: browser.clone(),
            keys: keys.to_owned(),
            requests: 0,
        }
    }

    /// Sends a request until it is answered.
    #[must_use]
    pub fn send(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> Answer {
        self.centre.persist(path, |at| {
            let answer = self.browser.at(at.http);
            let answer = answer.try_send(method, path, fields, body);
            let answer = answer.map_err(|error| error.to_string())?;
            // An answer that was broken off is none; neither is one of a server that is busy.
            let is_whole = serde_json::from_slice::<Value>(&answer.body).is_ok();
            if is_whole && answer.status != 503 {
                Ok(answer)
            } else {
                Err(format!("{} and {} bytes", answer.status, answer.body.len()))
            }
        })
    }

    /// Reads.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &Value::Null)
    }

    /// Makes something once, however often the request is sent.
    #[must_use]
    pub fn make(&mut self, path: &str, body: &Value) -> Answer {
        self.requests += 1;
        let key = format!("{}-{:06}", self.keys, self.requests);
        self.send("POST", path, &[("Idempotency-Key", &key)], body)
    }

    /// Registers somebody.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    pub fn register(&mut self, person: &Person) -> Registered {
        let sex = if person.is_woman { "F" } else { "M" };
        let mut body = json!({
            "name": {
                "family": person.family,
                "given": person.given,
                "patronymic": person.patronymic,
            },
            "birth_date": person.birth_date,
            "sex": sex,
        });
        let mut papers = "";
        let (path, body) = match &person.papers {
            Papers::Unknown => ("/patients/unidentified", json!({ "sex": sex })),
            Papers::Pin(pin) => {
                body["pin"] = json!(pin);
                papers = pin;
                ("/patients", body)
            }
            Papers::Document(document) => {
                body["documents"] = json!([document]);
                papers = document;
                ("/patients", body)
            }
            Papers::Nothing => ("/patients", body),
        };
        let mut answer = self.make(path, &body);
        if answer.status == 409 && answer.json()["code"] == "PATIENTS_ALIKE" {
            // Somebody of the same name and date of birth, who is another.
            let mut body = body;
            body["is_another"] = json!(true);
            answer = self.make(path, &body);
        }
        let made = answer.json();
        assert_eq!(answer.status, 201, "{made}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Registered {
            number: text(&made["number"]),
            name: person_name(&made["name"]),
            latin: person_name(&made["latin"]),
            birth_date: text(&made["birth_date"]).replace('-', ""),
            sex: text(&made["sex"]),
            papers: papers.to_owned(),
        }
    }

    /// Saves the form of an examination; its ID.
    ///
    /// # Panics
    /// When that is refused.
    #[must_use]
    pub fn order(&mut self, patient: &str, kind: &str, random: &mut Random) -> String {
        let priority = ["routine", "routine", "high", "stat"];
        let priority = priority[super::people::below(random, 4)];
        let form = json!({
            "patient": patient,
            "kind": kind,
            "regions": [{"part": "816094009"}],
            "weight_kg": "72,5",
            "complaints": "кашель",
            "anamnesis": "с осени",
            "priority": priority,
            "is_meant_twice": true,
        });
        let saved = self.make("/examinations", &form);
        assert_eq!(saved.status, 201, "{}", saved.json());
        saved.json()["id"].as_str().expect("an ID").to_owned()
    }

    /// Withdraws an order.
    ///
    /// # Panics
    /// When that is refused.
    pub fn cancel(&self, id: &str) {
        let path = format!("/examinations/{id}/cancel");
        let answer = self.send("POST", &path, &[], &json!({"reason": "пациент отказался"}));
        let is_done = self.status(id) == "cancelled";
        assert!(is_done, "{} {}", answer.status, answer.json());
    }

    /// Says that an examination is complete.
    ///
    /// # Panics
    /// When that is refused.
    pub fn declare(&self, id: &str) {
        let path = format!("/examinations/{id}/complete");
        let answer = self.send("POST", &path, &[], &Value::Null);
        // The time of silence may have been over before.
        let is_done = self.status(id) == "images_received";
        assert!(is_done, "{} {}", answer.status, answer.json());
    }

    /// Where an examination stands.
    ///
    /// # Panics
    /// When it is not shown.
    #[must_use]
    pub fn status(&self, id: &str) -> String {
        let shown = self.get(&format!("/examinations/{id}"));
        assert_eq!(shown.status, 200, "{id}: {}", shown.json());
        let shown = shown.json();
        shown["status"].as_str().expect("a status").to_owned()
    }

    /// Puts right whose a study is; what the server says of it then.
    ///
    /// # Errors
    /// What is refused.
    pub fn correct(&self, study: &str, act: &str, body: &Value) -> Result<Value, String> {
        let path = format!("/unmatched/{study}");
        let mut body = body.clone();
        body["reason"] = json!("сверено с направлением");
        loop {
            let seen = self.get(&path);
            if seen.status != 200 {
                return Err(format!("CORRECT: {study}: {} {}", seen.status, seen.json()));
            }
            let state = etag(&seen);
            let acted = format!("{path}/{act}");
            let answer = self.send("POST", &acted, &[("If-Match", &state)], &body);
            match (answer.status, answer.json()["code"].as_str()) {
                (200, _) => return Ok(answer.json()),
                // They looked, and type the ID again.
                (422, Some("RETYPE_NEEDED")) if body["retyped"].is_null() => {
                    body["retyped"] = body["examination"].clone();
                }
                // It was judged again in between.
                (412, _) => {}
                (status, _) => {
                    let said = answer.json();
                    return Err(format!("CORRECT: {act} {study}: {status} {said}"));
                }
            }
        }
    }
}

/// A name of the API as a PN value.
fn person_name(name: &Value) -> String {
    let part = |key: &str| name[key].as_str().unwrap_or_default().to_owned();
    let parts = [part("family"), part("given"), part("patronymic")];
    parts.join("^").trim_end_matches('^').to_owned()
}
