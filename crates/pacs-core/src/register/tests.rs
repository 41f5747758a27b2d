//! Questions as X-Road has them, and what is made of whatever comes back.

use super::breaker::{Breaker, BreakerRules};
use super::xroad::{Circumstances, ServiceCodes, Subsystem, XRoad, is_code, is_element_name};
use super::*;
use crate::xml::{Token, Tokens};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const PIN: &str = "20101199099907";
const ID: &str = "4e0ba3f4-0c1a-4e0a-9c39-0f5b3a3ef5d1";

fn subsystem(member: &str, subsystem: &str) -> Subsystem {
    Subsystem {
        instance: "central-server".to_owned(),
        class: "GOV".to_owned(),
        member: member.to_owned(),
        subsystem: subsystem.to_owned(),
    }
}

fn xroad() -> XRoad {
    let service = |of: &str, name: &str| ServiceCodes {
        of: subsystem("70000005", of),
        service: name.to_owned(),
        version: "v1".to_owned(),
    };
    XRoad {
        client: subsystem("70000099", "pacs-service"),
        services: BTreeMap::from([
            (Service::Person, service("zags-service", "zagsDataByPin")),
            (Service::Pins, service("zags-service", "zagsPinsByNSPDate")),
            (Service::Address, service("asb-service", "asbAddress")),
            (
                Service::Passport,
                service("passport-service", "passportDataByPSN"),
            ),
            (
                Service::Foreigner,
                service("foreign-service", "foreignByDoc"),
            ),
        ]),
        producer_namespace: "http://producer.example/".to_owned(),
        sex_codes: BTreeMap::from([("1".to_owned(), Sex::Female)]),
        not_found_codes: BTreeSet::from(["Server.NoData".to_owned()]),
    }
}

fn pin() -> Pin {
    Pin::try_from(PIN.to_owned()).unwrap()
}

fn circumstances() -> Circumstances {
    Circumstances {
        message_id: ID.to_owned(),
        user_id: "006.b.osmonova".to_owned(),
        issue: "patient-search".to_owned(),
    }
}

fn envelope(header: &str, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><s:Envelope xmlns:s=\"http://x\">\
         <s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
}

fn header() -> String {
    format!("<x:id>{ID}</x:id><x:service><i:serviceCode>zagsDataByPin</i:serviceCode></x:service>")
}

fn person_response(members: &str) -> String {
    let body = format!(
        "<p:zagsDataByPinResponse><p:request><p:pin>29999999999999</p:pin></p:request>\
         <p:response>{members}</p:response></p:zagsDataByPinResponse>"
    );
    envelope(&header(), &body)
}

const MEMBERS: &str = "<p:pin>20101199099907</p:pin><p:surname>ЖЭЭНБЕКОВ</p:surname>\
    <p:name>Үсөн</p:name><p:patronymic/><p:gender>М</p:gender>\
    <p:dateOfBirth>1990-01-01T00:00:00</p:dateOfBirth><p:maritalStatus>CANARY</p:maritalStatus>\
    <p:nationality>CANARY</p:nationality><p:citizenship>KGZ</p:citizenship>\
    <p:pinBlocked>false</p:pinBlocked>";

fn answered(text: &str) -> Outcome {
    soap::answer(&xroad(), &Question::Person(pin()), ID, text.as_bytes())
}

fn fault(outcome: &Outcome) -> &str {
    let Outcome::Fault(code) = outcome else {
        panic!("{outcome:?}");
    };
    code.as_str()
}

#[test]
fn a_question_has_the_header_and_the_body_that_x_road_wants() {
    let text = soap::question(&xroad(), &Question::Person(pin()), &circumstances()).unwrap();
    let text = String::from_utf8(text).unwrap();
    for part in [
        "<xro:protocolVersion>4.0</xro:protocolVersion>",
        "<xro:id>4e0ba3f4-0c1a-4e0a-9c39-0f5b3a3ef5d1</xro:id>",
        "<xro:userId>006.b.osmonova</xro:userId><xro:issue>patient-search</xro:issue>",
        "<xro:service iden:objectType=\"SERVICE\"><iden:xRoadInstance>central-server\
         </iden:xRoadInstance><iden:memberClass>GOV</iden:memberClass><iden:memberCode>70000005\
         </iden:memberCode><iden:subsystemCode>zags-service</iden:subsystemCode>\
         <iden:serviceCode>zagsDataByPin</iden:serviceCode><iden:serviceVersion>v1\
         </iden:serviceVersion></xro:service>",
        "<xro:client iden:objectType=\"SUBSYSTEM\"><iden:xRoadInstance>central-server\
         </iden:xRoadInstance><iden:memberClass>GOV</iden:memberClass><iden:memberCode>70000099\
         </iden:memberCode><iden:subsystemCode>pacs-service</iden:subsystemCode></xro:client>",
        "<soapenv:Body><prod:zagsDataByPin><prod:request><prod:pin>20101199099907</prod:pin>\
         </prod:request></prod:zagsDataByPin></soapenv:Body>",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let mut tokens = Tokens::new(&text);
    while tokens.next().unwrap().is_some() {}
}

#[test]
fn what_somebody_typed_cannot_leave_its_element() {
    let typed = "</prod:name><prod:evil/>&x;\"";
    let question = Question::Pins {
        family: typed.to_owned(),
        given: "Үсөн".to_owned(),
        patronymic: String::new(),
        birth_date: "1990-01-01".parse().unwrap(),
    };
    let text = soap::question(&xroad(), &question, &circumstances()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut tokens = Tokens::new(&text);
    let mut texts = Vec::new();
    while let Some(token) = tokens.next().unwrap() {
        match token {
            Token::Start { name, .. } => assert_ne!(name, "evil"),
            Token::Text(text) => texts.push(text.into_owned()),
            Token::End(_) => {}
        }
    }
    assert!(texts.iter().any(|text| text == typed));
    assert!(text.contains("<prod:birthdate>1990-01-01</prod:birthdate>"));
}

#[test]
fn a_person_is_found_and_what_nobody_needs_is_dropped() {
    let outcome = answered(&person_response(MEMBERS));
    let Outcome::Found(Found::Person(person)) = &outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(person.pin, Some(pin()));
    assert_eq!((&*person.family, &*person.given), ("ЖЭЭНБЕКОВ", "Үсөн"));
    assert_eq!(person.patronymic, "");
    assert_eq!(person.birth_date, "1990-01-01".parse().unwrap());
    assert_eq!(person.sex, Some(Sex::Male));
    assert_eq!(person.citizenship.as_deref(), Some("KGZ"));
    assert!(!person.is_pin_blocked && person.died_on.is_none());
    assert_eq!(format!("{outcome:?}"), "Found(Person([patient data]))");
    let dead = MEMBERS.replace("<p:gender>М", "<p:gender>1").replace(
        "<p:pinBlocked>false",
        "<p:deathDate>01.05.2020</p:deathDate><p:pinBlocked>true",
    );
    let Outcome::Found(Found::Person(dead)) = answered(&person_response(&dead)) else {
        panic!("not found");
    };
    assert_eq!(dead.sex, Some(Sex::Female), "as the set-up has it");
    assert_eq!(dead.died_on, Some("2020-05-01".parse().unwrap()));
    assert!(dead.is_pin_blocked);
}

#[test]
fn nobody_is_an_answer_and_a_fault_inside_of_one_is_a_fault() {
    assert_eq!(answered(&person_response("")), Outcome::NotFound);
    let inside = "<p:faultcode>soap:Server.Register.Down</p:faultcode>\
                  <p:faultstring>CANARY 20101199099907</p:faultstring>";
    let outcome = answered(&person_response(inside));
    assert_eq!(fault(&outcome), "Server.Register.Down");
    assert!(!format!("{outcome:?}").contains("CANARY"));
    let only = "<p:faultstring>CANARY</p:faultstring>";
    assert_eq!(fault(&answered(&person_response(only))), "OTHER");
    let nobody = "<p:faultcode>Server.NoData</p:faultcode>";
    assert_eq!(answered(&person_response(nobody)), Outcome::NotFound);
    // Of the security server, which repeats nothing.
    for (code, outcome) in [
        ("Server.ServerProxy.AccessDenied", "refused"),
        ("Server.ClientProxy.NetworkError", "unavailable"),
        ("Server.ServerProxy.ServiceFailed.HttpError", "unavailable"),
        ("Client.InvalidSoapHeader", "fault"),
    ] {
        let body = format!("<s:Fault><faultcode>{code}</faultcode></s:Fault>");
        assert_eq!(answered(&envelope("", &body)).name(), outcome, "{code}");
    }
    assert_eq!(FaultCode::of("20101199099907").as_str(), "OTHER");
}

#[test]
fn an_answer_to_another_question_is_none() {
    let good = person_response(MEMBERS);
    let other = good.replace(ID, "another");
    assert_eq!(fault(&answered(&other)), "OTHER_ID");
    let twice = good.replace("<x:id>", "<x:id>a</x:id><x:id>");
    assert_eq!(fault(&answered(&twice)), "BAD_HEADER");
    let none = good.replace(&format!("<x:id>{ID}</x:id>"), "");
    assert_eq!(fault(&answered(&none)), "OTHER_ID");
    let pin = good.replace("<p:pin>20101199099907", "<p:pin>20101199099908");
    assert_eq!(fault(&answered(&pin)), "OTHER_PIN");
    let service = good.replace("zagsDataByPinResponse", "zagsDeathActByPinResponse");
    assert_eq!(fault(&answered(&service)), "OTHER_SERVICE");
    for (what, with, code) in [
        ("1990-01-01T00:00:00", "yesterday", "BAD_BIRTH_DATE"),
        ("<p:surname>ЖЭЭНБЕКОВ</p:surname>", "", "NO_NAME"),
    ] {
        assert_eq!(fault(&answered(&good.replace(what, with))), code, "{what}");
    }
}

#[test]
fn no_entity_is_expanded_and_nothing_grows_without_bound() {
    let bomb = "<!DOCTYPE s:Envelope [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>";
    let good = person_response(MEMBERS);
    let with = |declared: &str| good.replace("?>", &format!("?>{declared}"));
    assert_eq!(fault(&answered(&with(bomb))), "BAD_XML");
    let outside = "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">";
    assert_eq!(fault(&answered(&with(outside))), "BAD_XML");
    assert_eq!(fault(&answered(&good.replace("Үсөн", "&b;"))), "BAD_XML");
    let deep = person_response(&("<p:a>".repeat(100_000) + &"</p:a>".repeat(100_000)));
    assert_eq!(fault(&answered(&deep)), "TOO_MUCH");
    let wide = person_response(&"<p:a/>".repeat(20_000));
    assert_eq!(fault(&answered(&wide)), "TOO_MUCH");
    let long = good.replace("Үсөн", &"a".repeat(100_000));
    assert_eq!(fault(&answered(&long)), "TOO_MUCH");
    let huge = " ".repeat(crate::limits::REGISTER_ANSWER_BYTES_MAX + 1);
    assert_eq!(fault(&answered(&huge)), "TOO_MUCH");
    for broken in ["", "{}", "<a/>", "<s:Envelope>", "<s:Envelope></s:Body>"] {
        assert!(matches!(answered(broken), Outcome::Fault(_)), "{broken}");
    }
    let again = format!("{good}<s:Envelope/>");
    assert_eq!(fault(&answered(&again)), "BAD_XML");
}

#[test]
fn the_other_services_are_asked_and_understood() {
    let ask = |question: &Question, service: &str, members: &str| {
        let header = format!("<x:id>{ID}</x:id>");
        let body = format!("<p:{service}Response><r>{members}</r></p:{service}Response>");
        let text = envelope(&header, &body);
        soap::answer(&xroad(), question, ID, text.as_bytes())
    };
    let question = Question::Pins {
        family: "Жээнбеков".to_owned(),
        given: "Үсөн".to_owned(),
        patronymic: String::new(),
        birth_date: "1990-01-01".parse().unwrap(),
    };
    let two = "<pin>20101199099907</pin><pin>21502190099901</pin><pin>20101199099907</pin>";
    let Outcome::Found(Found::Pins(pins)) = ask(&question, "zagsPinsByNSPDate", two) else {
        panic!("no PINs");
    };
    assert_eq!(pins.len(), 2);
    assert_eq!(ask(&question, "zagsPinsByNSPDate", ""), Outcome::NotFound);
    let question = Question::Address(pin());
    let at = "<error>false</error><address>г. Бишкек</address>";
    let found = ask(&question, "asbAddress", at);
    assert_eq!(found.name(), "found");
    assert_eq!(
        fault(&ask(&question, "asbAddress", "<error>1</error>")),
        "ERROR"
    );
    let question = Question::Passport {
        pin: pin(),
        series: "ID".to_owned(),
        number: "1234567".to_owned(),
    };
    let members =
        format!("{MEMBERS}<voidStatus>1</voidStatus><expiredDate>2030-01-01</expiredDate>");
    let Outcome::Found(Found::Person(person)) = ask(&question, "passportDataByPSN", &members)
    else {
        panic!("no passport");
    };
    let document = person.document.unwrap();
    assert!(document.is_void && document.number == "ID1234567");
    let question = Question::Foreigner {
        document: "AB1234567".to_owned(),
        code: "UZB".to_owned(),
    };
    let members = "<error>0</error><message><surname>A</surname><name>B</name>\
                   <birthdate>1980-02-03</birthdate><gender>9</gender></message>";
    let Outcome::Found(Found::Person(person)) = ask(&question, "foreignByDoc", members) else {
        panic!("no foreigner");
    };
    assert_eq!((person.pin, person.sex), (None, None));
    assert_eq!(
        ask(&question, "foreignByDoc", "<error>0</error>"),
        Outcome::NotFound
    );
}

#[test]
fn a_register_that_is_down_is_left_in_peace_and_tried_once_again() {
    let rules = BreakerRules::default();
    let mut now: DateTime<Utc> = "2026-11-26T08:00:00Z".parse().unwrap();
    let mut breaker = Breaker::default();
    for count in 1..=5 {
        assert!(breaker.admits(rules, now));
        assert_eq!(breaker.told(false, rules, now), count == 5);
    }
    assert!(!breaker.admits(rules, now) && breaker.is_open());
    now += TimeDelta::seconds(60);
    assert!(breaker.admits(rules, now), "one tries");
    assert!(!breaker.admits(rules, now), "and nobody else");
    assert!(!breaker.told(false, rules, now));
    assert!(!breaker.admits(rules, now));
    now += TimeDelta::seconds(60);
    assert!(breaker.admits(rules, now));
    assert!(!breaker.told(true, rules, now));
    assert!(breaker.admits(rules, now) && !breaker.is_open());
    assert!(!breaker.told(false, rules, now), "counted anew");
    assert!(breaker.admits(rules, now));
}

#[test]
fn what_was_said_agrees_however_it_is_spelled_and_contradicts_where_it_differs() {
    let Outcome::Found(Found::Person(person)) = answered(&person_response(MEMBERS)) else {
        panic!("not found");
    };
    let said = Declared {
        family: "Zheenbekov",
        given: "Uson",
        birth_date: Some(person.birth_date),
        sex: Some(Sex::Male),
    };
    assert_eq!(person.agreement(&said), Agreement::Agrees);
    for other in [
        Declared {
            sex: Some(Sex::Female),
            ..said
        },
        Declared {
            birth_date: None,
            ..said
        },
        Declared {
            family: "Асанов",
            ..said
        },
        Declared {
            given: "Асан",
            ..said
        },
    ] {
        assert_eq!(person.agreement(&other), Agreement::Contradicts);
    }
    assert_eq!(
        person.agreement(&Declared { sex: None, ..said }),
        Agreement::Agrees
    );
}

#[test]
fn codes_hold_nothing_that_separates_codes() {
    for (text, is_right) in [
        ("70000005", true),
        ("zags-service", true),
        ("", false),
        ("a/b", false),
        ("a b", false),
        ("a%2F", false),
    ] {
        assert_eq!(is_code(text), is_right, "{text}");
    }
    assert!(is_element_name("zagsDataByPin") && !is_element_name("1a") && !is_element_name("a>"));
}

#[test]
fn the_question_in_the_audit_record_hides_the_pin() {
    let masked = Question::Person(pin()).masked();
    assert_eq!(masked, "register person KG-PIN 2•••••••••9907");
    assert_eq!(format!("{:?}", Question::Person(pin())), "[patient data]");
}

proptest! {
    #[test]
    fn whatever_comes_is_read_without_failing(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "<s:Envelope>", "</s:Envelope>", "<s:Header>", "</s:Header>", "<s:Body>",
                "</s:Body>", "<x:id>", "</x:id>", "<pin/>", "&amp;", "&a;", "text", "<", ">",
                "<faultcode>", "</faultcode>", "<![CDATA[", "]]>", "<!--", "-->", "\u{0}",
            ]),
            0..40,
        )
    ) {
        let text = parts.concat();
        // That it ends is what is asked.
        prop_assert!(!answered(&text).name().is_empty());
    }
}
