//! What consoles see of orders: numbers 6 and 17.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pacs_tests::day::images::{Header, tag};
use pacs_tests::day::typing::{damm, now};
use pacs_tests::edges::clock::Clock;
use pacs_tests::peers::{dcmtk, run};
use pacs_tests::portal::Browser;
use pacs_tests::wire::Tree;
use pacs_tests::wire::tree::Node;
use pacs_tests::workspace;
use serde_json::json;

use crate::hospital::{
    Ae, Hospital, NAME, Shot, data_set_of, decided, device, ordered, read, typed,
};

/// Specific Character Set.
const CHARSET: u32 = 0x0008_0005;

/// Every text of a data set with its sequences, as the bytes that they are.
fn texts(tree: &Tree) -> Vec<&[u8]> {
    let nodes = tree.elements().flat_map(|(_, node)| match node {
        Node::Value(_, bytes) => vec![&**bytes],
        Node::Items(items) => items.iter().flat_map(texts).collect(),
    });
    nodes.collect()
}

/// The only answer that a console gets, as a file.
fn only_answer<T>(console: &Ae, look: impl Fn(&Path, &Tree) -> T) -> T {
    let found = console.ask_for_worklist();
    let (files, trees) = (found.files(), found.trees());
    assert_eq!(files.len(), 1);
    look(&files[0], &trees[0])
}

/// A file in words of UTF-8, by DCMTK: it knows the character sets.
fn in_words(file: &Path) -> String {
    let mut dcmdump = dcmtk("dcmdump");
    run(dcmdump.args(["+U8", "+L", "-q"]).arg(file))
        .succeeded()
        .text
}

#[test]
fn a06_each_console_is_told_names_in_letters_that_it_shows() {
    let consoles = [
        (
            "NATHOS_CT2",
            json!({"charset": "ASCII", "name_chars_max": 20, "text_chars_max": 16}),
        ),
        ("NATHOS_CT3", json!({"charset": "CYR144"})),
        ("NATHOS_CT4", json!({"charset": "UTF8"})),
    ];
    let devices = consoles.each_ref();
    let devices = devices.map(|(title, profile)| device(title, "006", "CT", profile));
    let Some(hospital) = Hospital::with(&devices, "") else {
        return;
    };
    let id = hospital.order();
    let [ascii, cyrillic, everything] = consoles.map(|(title, _)| hospital.ae(title));

    only_answer(&ascii, |file, answer| {
        assert_eq!(answer.get(CHARSET), None);
        let bytes = data_set_of(file);
        let is_ascii = texts(answer).iter().all(|text| text.is_ascii());
        assert!(is_ascii, "{}", String::from_utf8_lossy(&bytes));
        assert!(!texts(answer).concat().contains(&b'?'));
        // The patronymic became a letter, so that the rest has room.
        assert_eq!(answer.text_of(tag::NAME), "ZHEENBEKOV^CHYNGYZ^U");
        let description = answer.text_of(0x0032_1060);
        let length = description.chars().count();
        assert!((1..=16).contains(&length), "{description}");
    });
    only_answer(&cyrillic, |file, answer| {
        assert_eq!(answer.text_of(CHARSET), "ISO_IR 144");
        assert!(!texts(answer).concat().contains(&b'?'));
        let words = in_words(file);
        for folded in [
            "[Жээнбеков^Чынгыз^Усонович]",
            "кашель \"сухой\", опко ооруйт, жотол тункусун",
            "ооруп журот",
        ] {
            assert!(words.contains(folded), "{folded}: {words}");
        }
    });
    let planned = only_answer(&everything, |file, answer| {
        assert_eq!(answer.text_of(CHARSET), "ISO_IR 192");
        assert_eq!(answer.text_of(tag::NAME), NAME);
        assert!(in_words(file).contains("кашель «сухой», өпкө ооруйт"));
        answer.text_of(tag::STUDY)
    });

    // What the console was told comes back with its images, and is found by it.
    let header = Header {
        charset: Some("ISO_IR 192"),
        patient_id: hospital.patient.clone(),
        name: NAME.to_owned(),
        ..typed(&id)
    };
    let shot = Shot::planned(&header, &planned, 1);
    everything.send(&shot.images);
    decided(&hospital.operator, &shot.study, "bound", &[]);
    let given = hospital.given(&shot);
    let given = Tree::read(&given[&shot.images[0].instance]).expect("a data set");
    assert_eq!(given.text_of(tag::NAME), NAME);
    hospital.finds("PatientName=Жээнбеков^Чыңгыз*");
}

/// Midnight at the place of the archive before the first day of a year, as Unix time.
fn new_year(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    let of_utc = ((year - 1970) * 365 + leap_days) * 86_400;
    of_utc - 6 * 3_600
}

/// Sets a clock to so many seconds of Unix time.
fn set(clock: &Clock, seconds: i64) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(since.expect("after 1970").as_secs()).expect("a time");
    clock.set(&format!("{:+}", seconds - now));
}

/// Year, organisation and number of an ID, whose check digit is right.
fn parts(id: &str) -> (&str, &str, u32) {
    assert_eq!(damm(&id[..11]).to_string(), id[11..], "{id}");
    (&id[..2], &id[2..5], id[5..11].parse().expect("a number"))
}

/// Many save while the clock goes over midnight, back and forth; the IDs that they get.
fn saved_at_midnight(
    operator: &Browser,
    patient: &str,
    (clock, midnight): (&Clock, i64),
) -> Vec<String> {
    std::thread::scope(|scope| {
        let save = || -> Vec<String> { (0..10).map(|_| ordered(operator, patient)).collect() };
        let saving: Vec<_> = (0..6).map(|_| scope.spawn(save)).collect();
        let mut seconds = [-60, 30].into_iter().cycle();
        while !saving.iter().all(|one| one.is_finished()) {
            set(clock, midnight + seconds.next().expect("for ever"));
            // Long enough for some of them, and nothing waits for it.
            std::thread::sleep(Duration::from_millis(50));
        }
        let saved = saving.into_iter().flat_map(|one| one.join().expect("IDs"));
        saved.collect()
    })
}

/// Each year has its numbers from the first on, each once.
fn are_numbered_through<'i>(ids: impl Iterator<Item = &'i String>, organisation: &str) {
    let mut numbers: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for id in ids {
        let (year, of, number) = parts(id);
        assert_eq!(of, organisation);
        numbers.entry(year).or_default().push(number);
    }
    assert_eq!(numbers.len(), 2, "{numbers:?}");
    for numbers in numbers.values_mut() {
        numbers.sort_unstable();
        let count = u32::try_from(numbers.len()).expect("few");
        assert_eq!(*numbers, (1..=count).collect::<Vec<_>>());
    }
}

#[test]
fn a17_at_midnight_of_bishkek_the_year_of_ids_changes_and_none_is_there_twice() {
    let home = workspace::temporary_folder();
    let Some(clock) = Clock::start(home.path()) else {
        return;
    };
    let Some(mut hospital) = Hospital::start() else {
        return;
    };
    let _ = hospital.portal.user("foreign", &["operator@001"]);
    let year: i64 = now().0[..4].parse::<i64>().expect("a year") + 2;
    let midnight = new_year(year);
    let [old, new] = [year - 1, year].map(|year| format!("{:02}", year % 100));
    set(&clock, midnight - 1_200);
    hospital.go_by(&clock);
    let foreign = hospital.portal.again("foreign");

    let first = [hospital.order(), hospital.order()];
    assert_eq!(parts(&first[0]), (&*old, "006", 1));
    assert_eq!(parts(&first[1]), (&*old, "006", 2));
    let theirs = ordered(&foreign, &hospital.patient);
    assert_eq!(parts(&theirs), (&*old, "001", 1));
    // Before 18:00 UTC, and after.
    set(&clock, midnight - 600);
    let last = hospital.order();
    assert_eq!(parts(&last), (&*old, "006", 3));
    set(&clock, midnight + 2);
    let next = hospital.order();
    assert_eq!(parts(&next), (&*new, "006", 1));
    let of_console = hospital.console().worklist();
    let date = |id: &str| of_console[id].items_of(0x0040_0100)[0].text_of(0x0040_0002);
    assert_eq!(date(&last), format!("{}1231", year - 1));
    assert_eq!(date(&next), format!("{year}0101"));

    // At another hospital many save while it becomes midnight, and a clock goes back.
    set(&clock, midnight - 60);
    let mut saved = saved_at_midnight(&foreign, &hospital.patient, (&clock, midnight));
    set(&clock, midnight + 60);
    saved.extend([theirs, ordered(&foreign, &hospital.patient)]);
    are_numbered_through(saved.iter(), "001");
    // Also after a kill, and by a clock that somebody put back: no year begins twice.
    hospital.portal.server.kill();
    set(&clock, midnight - 600);
    hospital.portal.server.restart();
    hospital.operator = hospital.portal.again("operator");
    let again = hospital.order();
    assert_eq!(parts(&again), (&*new, "006", 2));
    are_numbered_through(first.iter().chain([&last, &next, &again]), "006");
    // An ID of either year is good at the console.
    for id in [&last, &again] {
        let shot = hospital.made(id, 1);
        let known = read(&hospital.operator, &format!("/unmatched/{}", shot.study));
        assert_eq!(known["examination"], json!(id));
    }
}
