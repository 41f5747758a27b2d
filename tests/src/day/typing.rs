//! What is typed at consoles: who the patient is, an ID that may be wrong, the time.

use std::time::SystemTime;

use super::clerk::Registered;
use super::console::Entry;
use super::images::{Header, tag};
use super::people::below;
use super::plan::{Case, Identity, Typed};
use crate::samples::Random;

/// What a console writes that took an entry of its worklist.
#[must_use]
pub fn header_of(entry: &Entry) -> Header {
    let text = |tag| entry.answer.text_of(tag);
    let charset = (text(0x0008_0005) == "ISO_IR 192").then_some("ISO_IR 192");
    Header {
        charset,
        patient_id: text(tag::PATIENT_ID),
        name: text(tag::NAME),
        birth_date: text(0x0010_0030),
        sex: text(0x0010_0040),
        accession: text(tag::ACCESSION),
        study_id: text(0x0040_1001),
        made_at: now(),
        request: (text(0x0040_1001), entry.step.text_of(0x0040_0009)),
        ..Header::default()
    }
}

/// What is typed at a console of a patient, and of the ID.
pub fn typed_header(case: &Case, patient: &Registered, id: &str, random: &mut Random) -> Header {
    let name = if case.is_cyrillic {
        &patient.name
    } else {
        &patient.latin
    };
    let mut header = Header {
        charset: (!name.is_ascii()).then_some("ISO_IR 192"),
        patient_id: match case.typed {
            Typed::Number => patient.number.clone(),
            Typed::Papers => patient.papers.clone(),
            Typed::Own => format!("{}", 10_000 + random.below(80_000)),
            Typed::Nothing => String::new(),
        },
        name: name.clone(),
        birth_date: patient.birth_date.clone(),
        sex: patient.sex.clone(),
        study_id: "1".to_owned(),
        made_at: now(),
        ..Header::default()
    };
    match case.identity {
        Identity::InPatientId => id.clone_into(&mut header.patient_id),
        Identity::InStudyId => id.clone_into(&mut header.study_id),
        Identity::InComments => header.comments = format!("ID {id}"),
        Identity::InName => id.clone_into(&mut header.name),
        Identity::InProcedureId => id.clone_into(&mut header.request.0),
        Identity::NoId | Identity::TwoOrders => {}
        _ => header.accession = mistyped(case.identity, id, random),
    }
    header
}

/// An ID as somebody types it.
fn mistyped(identity: Identity, id: &str, random: &mut Random) -> String {
    let mut digits = id.as_bytes().to_vec();
    match identity {
        Identity::Grouped => {
            return format!("{} {} {} {}", &id[..2], &id[2..5], &id[5..11], &id[11..]);
        }
        Identity::DigitWrong => {
            let at = below(random, digits.len());
            let add = 1 + u8::try_from(random.below(9)).expect("a digit");
            digits[at] = b'0' + (digits[at] - b'0' + add) % 10;
        }
        Identity::DigitsSwapped => {
            // Where neighbours are equal, others are swapped.
            let pairs = (0..digits.len() - 1).filter(|at| digits[*at] != digits[at + 1]);
            let pairs: Vec<usize> = pairs.collect();
            let at = pairs[below(random, pairs.len())];
            digits.swap(at, at + 1);
        }
        Identity::DigitMissing => {
            digits.remove(below(random, id.len()));
        }
        Identity::DigitDoubled => {
            let at = below(random, digits.len());
            digits.insert(at, digits[at]);
        }
        Identity::NobodysId => {
            // So far nobody counts in a year.
            digits[5] = b'7';
            let body = String::from_utf8(digits[..11].to_vec()).expect("digits");
            return format!("{body}{}", damm(&body));
        }
        Identity::LookAlikes => {
            return id.replace('0', "O").replace('1', "l");
        }
        _ => {}
    }
    String::from_utf8(digits).expect("digits")
}

/// The digit that makes a number right (Damm).
///
/// # Panics
/// When there is something else than digits in it.
#[must_use]
pub fn damm(digits: &str) -> u32 {
    const TABLE: [&str; 10] = [
        "0317598642",
        "7092154863",
        "4206871359",
        "1750983426",
        "6123045978",
        "3674209581",
        "5869720134",
        "8945362017",
        "9438617205",
        "2581436790",
    ];
    let mut state = 0;
    for digit in digits.bytes() {
        let row = TABLE[state].as_bytes();
        state = usize::from(row[usize::from(digit - b'0')] - b'0');
    }
    u32::try_from(state).expect("a digit")
}

/// Date and time at the hospitals, as DA and TM values.
///
/// # Panics
/// Before 1970.
#[must_use]
pub fn now() -> (String, String) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.expect("after 1970").as_secs() + 6 * 3_600;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let date = date_of(days);
    (date, format!("{hour:02}{minute:02}{second:02}"))
}

/// The date so many days after 1 January 1970, as a DA value.
fn date_of(days: u64) -> String {
    // Years begin in March here, so that the day that may be missing is the last.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{:04}{month:02}{day:02}", era * 400 + year + later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, date) in [
            (0, "19700101"),
            (11_016, "20000229"),
            (11_017, "20000301"),
            (20_783, "20261126"),
        ] {
            assert_eq!(date_of(days), date);
        }
    }

    #[test]
    fn check_digits_are_those_of_the_vectors() {
        for id in [
            "250010000013",
            "250060004329",
            "250051234565",
            "260119999994",
        ] {
            assert_eq!(damm(&id[..11]).to_string(), id[11..]);
        }
    }
}
