//! Who is in the demonstration: organisations, devices, accounts, and patients whom nobody was
//! born as.

use chrono::NaiveDate;
use pacs_core::Pin;
use pacs_core::device::{DeviceCharset, DeviceProfile};
use pacs_core::patient::Sex;
use pacs_core::role::Role;
use pacs_core::{AeTitle, OrganisationCode};
use pacs_store::registry::devices::Device;
use pacs_store::registry::organisations::Organisation;
use pacs_store::registry::patients::{Particulars, PersonName};
use serde::Deserialize;

/// The organisations of the pilot: public facts, with working translations.
const ORGANISATIONS: &str = include_str!("organisations.json");

/// The organisations whose people have accounts here.
pub(super) const STAFFED: [&str; 2] = ["001", "006"];

#[derive(Deserialize)]
struct List {
    organisations: Vec<Organisation>,
}

/// The organisations.
pub(super) fn organisations() -> Vec<Organisation> {
    let list = serde_json::from_str::<List>(ORGANISATIONS);
    list.map(|list| list.organisations).unwrap_or_default()
}

/// Kinds of devices: the end of the title, the modality, what people call it.
const DEVICES: [(&str, &str, &str); 4] = [
    ("CT1", "CT", "КТ"),
    ("MR1", "MR", "МРТ"),
    ("DX1", "DX", "Рентген"),
    ("WS1", "", "Рабочая станция"),
];

/// The titles of all devices.
pub(super) fn titles() -> Vec<String> {
    let of = |organisation: Organisation| {
        DEVICES.map(|(end, _, _)| format!("{}_{end}", organisation.ae_prefix))
    };
    organisations().into_iter().flat_map(of).collect()
}

/// The devices: those for Cyrillic letters of the national hospital alone.
pub(super) fn devices() -> Vec<Device> {
    let mut devices = Vec::new();
    for organisation in organisations() {
        for (end, modality, name) in DEVICES {
            let Ok(ae_title) = AeTitle::parse(&format!("{}_{end}", organisation.ae_prefix)) else {
                continue;
            };
            let charset = if organisation.code.to_string() == "006" {
                DeviceCharset::Utf8
            } else {
                DeviceCharset::Ascii
            };
            devices.push(Device {
                ae_title,
                organisation: organisation.code,
                host: String::new(),
                port: 0,
                modality: modality.to_owned(),
                department: None,
                name: name.to_owned(),
                mpps: !modality.is_empty(),
                commitment: !modality.is_empty(),
                profile: DeviceProfile {
                    charset,
                    ..DeviceProfile::default()
                },
            });
        }
    }
    devices
}

/// An account: name, role, whether it is of the whole country, and what people call it.
pub(super) const ACCOUNTS: [(&str, Role, bool, &str); 9] = [
    ("operator", Role::Operator, false, "Оператор"),
    (
        "radiographer",
        Role::Radiographer,
        false,
        "Рентгенолаборант",
    ),
    ("radiologist", Role::Radiologist, false, "Врач-рентгенолог"),
    ("expert", Role::Expert, true, "Эксперт"),
    ("referrer", Role::Referrer, false, "Направляющий врач"),
    (
        "org-admin",
        Role::OrgAdmin,
        false,
        "Администратор организации",
    ),
    (
        "moh-admin",
        Role::MohAdmin,
        true,
        "Администратор министерства",
    ),
    (
        "archive-admin",
        Role::ArchiveAdmin,
        true,
        "Администратор архива",
    ),
    ("auditor", Role::Auditor, true, "Аудитор"),
];

/// A patient of nowhere.
struct Person {
    family: &'static str,
    given: &'static str,
    patronymic: &'static str,
    pin: &'static str,
    address: &'static str,
}

const fn person(
    family: &'static str,
    given: &'static str,
    patronymic: &'static str,
    pin: &'static str,
    address: &'static str,
) -> Person {
    Person {
        family,
        given,
        patronymic,
        pin,
        address,
    }
}

/// Their PINs have the form of PINs, and serial numbers from 99900 on.
const PEOPLE: [Person; 12] = [
    person(
        "Тестов",
        "Үсөн",
        "Тестович",
        "20101199099907",
        "г. Каракол, ул. Примерная, 1",
    ),
    person(
        "Тестова",
        "Айгүл",
        "Тестовна",
        "12902200099902",
        "г. Каракол, ул. Примерная, 2",
    ),
    person(
        "Примеров",
        "Чыңгыз",
        "",
        "21203198599903",
        "с. Образцовое, 3",
    ),
    person(
        "Примерова",
        "Бурул",
        "Тестовна",
        "10505195599904",
        "с. Образцовое, 4",
    ),
    person(
        "Образцов",
        "Нурлан",
        "Тестович",
        "22011197099905",
        "г. Бишкек, ул. Примерная, 5",
    ),
    person(
        "Образцова",
        "Гүлнара",
        "",
        "11507199899906",
        "г. Бишкек, ул. Примерная, 6",
    ),
    person(
        "Пробный",
        "Бакыт",
        "Тестович",
        "20912196299908",
        "г. Бишкек, ул. Примерная, 7",
    ),
    person(
        "Пробная",
        "Жылдыз",
        "Тестовна",
        "13103201199909",
        "г. Нарын, ул. Примерная, 8",
    ),
    person(
        "Учебный",
        "Эмил",
        "",
        "22408197799910",
        "г. Ош, ул. Примерная, 9",
    ),
    person(
        "Учебная",
        "Назгүл",
        "Тестовна",
        "10206198899911",
        "г. Ош, ул. Примерная, 10",
    ),
    // Only in the register: to be found by their PINs.
    person(
        "Новиков",
        "Азамат",
        "Тестович",
        "21710199599912",
        "г. Талас, ул. Примерная, 11",
    ),
    person(
        "Новикова",
        "Мээрим",
        "Тестовна",
        "10301200499913",
        "г. Талас, ул. Примерная, 12",
    ),
];

/// How many of the people are patients already.
pub(super) const PATIENTS: usize = 10;

/// Whose date of birth the register has otherwise: somebody has to look.
const MISMATCH: usize = 8;

fn pin_of(person: &Person) -> Option<Pin> {
    Pin::try_from(person.pin.to_owned()).ok()
}

/// The register, as a table.
pub(super) fn register() -> String {
    let mut table =
        "pin;surname;name;patronymic;dateOfBirth;gender;citizenship;address\n".to_owned();
    for (at, person) in PEOPLE.iter().enumerate() {
        let Some(pin) = pin_of(person) else {
            continue;
        };
        let born = *pin.birth_date().reveal();
        let born = if at == MISMATCH {
            born.succ_opt().unwrap_or(born)
        } else {
            born
        };
        let sex = if *pin.sex().reveal() == Sex::Female {
            "Ж"
        } else {
            "М"
        };
        table.push_str(&format!(
            "{};{};{};{};{born};{sex};KGZ;{}\n",
            person.pin, person.family, person.given, person.patronymic, person.address
        ));
    }
    table
}

/// The patients, as they were typed in.
pub(super) fn patients() -> Vec<(Particulars, NaiveDate, &'static str)> {
    let people = PEOPLE.iter().take(PATIENTS);
    let patients = people.filter_map(|person| {
        let pin = pin_of(person)?;
        let (born, sex) = (*pin.birth_date().reveal(), *pin.sex().reveal());
        let particulars = Particulars {
            name: PersonName {
                family: person.family.to_owned(),
                given: person.given.to_owned(),
                patronymic: person.patronymic.to_owned(),
            },
            birth_date: Some(born),
            sex: Some(sex),
            pin: Some(pin),
            address: Some(person.address.to_owned()),
            ..Particulars::default()
        };
        Some((particulars, born, sex.code()))
    });
    patients.collect()
}

/// The code of an organisation of the demonstration.
pub(super) fn code(text: &str) -> Option<OrganisationCode> {
    OrganisationCode::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_and_everything_of_the_demonstration_can_be_read() {
        assert_eq!(organisations().len(), 11);
        assert_eq!(titles().len(), 44);
        assert_eq!(devices().len(), 44);
        assert_eq!(patients().len(), PATIENTS);
        assert_eq!(register().lines().count(), PEOPLE.len() + 1);
        let people = PEOPLE.iter().map(|person| person.pin);
        assert_eq!(
            people.collect::<std::collections::BTreeSet<_>>().len(),
            PEOPLE.len()
        );
    }
}
