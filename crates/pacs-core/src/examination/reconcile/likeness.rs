//! Whether two descriptions are of one person.

use super::Person;
use crate::fold::{k1, k2};
use crate::patient::{Identifier, PatientKey};

/// Words that are part of many names (уулу, кызы, оглы, угли), as keys.
const STOP_WORDS: [&str; 4] = ["ulu", "kizi", "ogli", "ugli"];
/// Words that stand for a name that is not known, as keys within a script.
const UNKNOWN_WORDS: [&str; 4] = ["unknown", "неизвестный", "неизвестная", "неизвестно"];

/// What one kind of evidence says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evidence {
    Agrees,
    Differs,
    Nothing,
}

impl Evidence {
    /// Compares what both have.
    fn of<T: PartialEq>(a: Option<T>, b: Option<T>) -> Self {
        match (a, b) {
            (Some(a), Some(b)) if a == b => Self::Agrees,
            (Some(_), Some(_)) => Self::Differs,
            _ => Self::Nothing,
        }
    }
}

/// How much speaks against two descriptions being of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contradiction {
    /// Not enough.
    None,
    /// Enough to ask, and something speaks for it as well.
    Partly,
    /// Enough, and nothing speaks for it.
    Wholly,
}

/// Whether `named`, from a header, is somebody else than `person`. `without_identifiers`: Patient
/// ID held the examination ID.
///
/// An identifier that is valid in the whole country decides. Another one that the person does not
/// have asks for family name and date of birth to agree. Without one, or with a number of the same
/// hospital, which devices also make up, no more may speak against the person than for them: one of
/// several can be mistyped. Another given name without the same date of birth is somebody else of
/// the family.
pub(super) fn contradiction(
    named: &Person,
    person: &Person,
    without_identifiers: bool,
) -> Contradiction {
    let wholly = |is_so| {
        if is_so {
            Contradiction::Wholly
        } else {
            Contradiction::None
        }
    };
    let identifiers: &[Identifier] = if without_identifiers {
        &[]
    } else {
        &named.identifiers
    };
    let is_theirs = |identifier: &&Identifier| person.identifiers.contains(identifier);
    if let Some(national) = identifiers.iter().find(|i| i.is_national()) {
        return wholly(!is_theirs(&national));
    }
    let family = family(named, person);
    let birth_date = Evidence::of(named.birth_date, person.birth_date);
    let both = [family, birth_date];
    if identifiers.iter().any(|i| !is_theirs(&i)) {
        return wholly(both.contains(&Evidence::Differs) || both.contains(&Evidence::Nothing));
    }
    if both.contains(&Evidence::Differs) && !both.contains(&Evidence::Agrees) {
        return Contradiction::Wholly;
    }
    let given = given(named, person);
    let is_relative = given == Evidence::Differs && birth_date != Evidence::Agrees;
    let is_outweighed = given == Evidence::Differs && both.contains(&Evidence::Differs);
    if is_relative || is_outweighed {
        Contradiction::Partly
    } else {
        Contradiction::None
    }
}

/// Whether enough speaks against it.
pub(super) fn contradicts(named: &Person, person: &Person, without_identifiers: bool) -> bool {
    contradiction(named, person, without_identifiers) != Contradiction::None
}

/// Whether two headers of one study differ in anything that says who the patient is.
pub(super) fn differs(a: &Person, b: &Person) -> bool {
    let of_identifiers = Evidence::of(a.identifiers.first(), b.identifiers.first());
    let has_names = has_words(a) && has_words(b);
    of_identifiers == Evidence::Differs
        || Evidence::of(a.birth_date, b.birth_date) == Evidence::Differs
        || Evidence::of(a.sex, b.sex) == Evidence::Differs
        || (has_names && !is_name_alike(a, b))
}

/// Whether two headers name one patient: nothing in them differs, and a number or the name is the
/// same.
pub(super) fn agrees(a: &Person, b: &Person) -> bool {
    let of_identifiers = Evidence::of(a.identifiers.first(), b.identifiers.first());
    !differs(a, b) && (of_identifiers == Evidence::Agrees || is_name_alike(a, b))
}

/// Whether a word of one family name sounds like a word of the other's.
fn family(a: &Person, b: &Person) -> Evidence {
    let words = |person: &Person| -> Vec<String> {
        let groups = person.names.iter().flat_map(|name| name.split('='));
        let families = groups.filter_map(|group| group.split('^').next());
        families.flat_map(words).collect()
    };
    let (of_a, of_b) = (words(a), words(b));
    if of_a.is_empty() || of_b.is_empty() {
        Evidence::Nothing
    } else if of_a.iter().any(|word| of_b.contains(word)) {
        Evidence::Agrees
    } else {
        Evidence::Differs
    }
}

/// Whether a word of the header, or an initial, sounds like the given name of the person. Names
/// that are all family name say nothing.
fn given(named: &Person, person: &Person) -> Evidence {
    let of = |person: &Person, component: usize| -> Vec<String> {
        let groups = person.names.iter().flat_map(|name| name.split('='));
        let found = groups.filter_map(|group| group.split('^').nth(component));
        found.flat_map(words).collect()
    };
    let (family, given) = (of(person, 0), of(person, 1));
    let mut typed: Vec<String> = words_of(named).into_iter().flatten().collect();
    typed.retain(|word| !family.contains(word));
    if typed.is_empty() || given.is_empty() {
        return Evidence::Nothing;
    }
    let is_it = |word: &String| {
        let mut given = given.iter();
        given.any(|name| name == word || (word.chars().count() == 1 && name.starts_with(word)))
    };
    if typed.iter().any(is_it) {
        Evidence::Agrees
    } else {
        Evidence::Differs
    }
}

/// Whether the whole names sound alike, their words in any order.
pub(super) fn is_name_alike(a: &Person, b: &Person) -> bool {
    let of_b = words_of(b);
    words_of(a).iter().any(|words| of_b.contains(words))
}

/// Whether there is a name at all.
pub(super) fn has_words(person: &Person) -> bool {
    !words_of(person).is_empty()
}

/// The words of every spelling of the name, in order of the alphabet.
fn words_of(person: &Person) -> Vec<Vec<String>> {
    let groups = person.names.iter().flat_map(|name| name.split('='));
    groups
        .map(|group| {
            let mut words = words(group);
            words.sort();
            words
        })
        .filter(|words| !words.is_empty())
        .collect()
}

/// The keys of the words that tell people apart.
fn words(text: &str) -> Vec<String> {
    k1(text)
        .split(' ')
        // An examination ID that was typed for a name is none.
        .filter(|word| !UNKNOWN_WORDS.contains(word) && !word.contains(|c: char| c.is_numeric()))
        .map(k2)
        .filter(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()))
        .collect()
}

/// Whether the name or the number is that of somebody who is not known.
pub(super) fn is_unknown(person: &Person) -> bool {
    let is_temporary = |i: &Identifier| matches!(i, Identifier::Key(PatientKey::Unidentified(_)));
    let is_word = |name: &String| {
        k1(name)
            .split(' ')
            .any(|word| UNKNOWN_WORDS.contains(&word))
    };
    person.identifiers.iter().any(is_temporary) || person.names.iter().any(is_word)
}
