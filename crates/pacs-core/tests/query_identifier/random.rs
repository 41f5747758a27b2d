//! Random queries, random bytes, and the corpus of the fuzz target `query_identifier`.

use super::{SYNTAXES, syntax};
use pacs_core::Attributes;
use pacs_core::limits::QueryLimits;
use pacs_core::matching::{Matcher, matches};
use pacs_core::query::{Key, Level, Matching, Model, Query};
use pacs_core::tag::{Tag, Vr, tags};
use proptest::prelude::*;

fn any_key() -> impl Strategy<Value = Key> {
    let text = |tags: &'static [Tag], pattern: &'static str| {
        (proptest::sample::select(tags), pattern)
            .prop_filter_map("a value of its VR", |(tag, text)| Key::new(tag, &text).ok())
    };
    prop_oneof![
        text(
            &[tags::PATIENT_NAME, tags::REFERRING_PHYSICIAN_NAME],
            "[a-zа-яё^=*?]{0,12}"
        ),
        text(
            &[tags::PATIENT_ID, tags::STUDY_DESCRIPTION],
            "[a-zА-Я*? \\\\]{0,12}"
        ),
        text(
            &[tags::STUDY_DATE, tags::PATIENT_BIRTH_DATE],
            "(200[0-9]1[0-2]0[1-9])?-?(201[0-9]0[1-9]1[0-9])?"
        ),
        text(&[tags::STUDY_TIME], "(0[0-9])?-?(1[0-9][0-5][0-9])?"),
        text(
            &[tags::STUDY_INSTANCE_UID],
            "(1\\.2\\.[1-9]{1,4}(\\\\1\\.3\\.[1-9]{1,4}){0,3})?"
        ),
        text(
            &[
                tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
                tags::PATIENT_WEIGHT
            ],
            "[0-9]{0,3}"
        ),
        text(&[tags::ADDITIONAL_PATIENT_HISTORY], "[a-zё\\\\*]{0,12}"),
    ]
}

proptest! {
    #[test]
    fn a_query_survives_its_identifier(
        keys in proptest::collection::vec(any_key(), 0..8),
        code in proptest::option::of("[A-Z?*-]{1,6}"),
    ) {
        let mut query = keys.into_iter().fold(Query::new(Level::Study), Query::with);
        if let Some(code) = code {
            let inner = Key::new(tags::CODE_VALUE, &code).unwrap();
            let sequence = Key {
                tag: tags::PROCEDURE_CODE_SEQUENCE,
                vr: Vr::SQ,
                matching: Matching::Sequence(vec![inner]),
            };
            query = query.with(sequence);
        }
        for uid in SYNTAXES {
            let bytes = query.to_identifier(&syntax(uid)).unwrap();
            let (syntax, limits) = (syntax(uid), QueryLimits::default());
            let read = Query::from_identifier(&bytes, &syntax, Model::StudyRoot, false, &limits);
            prop_assert!(read.unwrap() == query, "{}", uid);
        }
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for uid in SYNTAXES {
            for relational in [false, true] {
                let (syntax, limits) = (syntax(uid), QueryLimits::default());
                let model = Model::PatientRoot;
                let found = Query::from_identifier(&bytes, &syntax, model, relational, &limits);
                let retrieved = Query::for_retrieve(&bytes, &syntax, model, relational, &limits);
                // A retrieval demands more than a query.
                prop_assert!(found.is_ok() || retrieved.is_err());
            }
        }
    }

    #[test]
    fn a_damaged_identifier_is_refused_or_read(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        end in any::<proptest::sample::Index>(),
        syntax_at in 0..3_usize,
    ) {
        let code = Key::new(tags::CODE_VALUE, "A*").unwrap();
        let sequence = Key {
            tag: tags::PROCEDURE_CODE_SEQUENCE,
            vr: Vr::SQ,
            matching: Matching::Sequence(vec![code]),
        };
        let query = Query::new(Level::Study)
            .key(tags::PATIENT_NAME, "Иванов*")
            .unwrap()
            .key(tags::STUDY_DATE, "20260101-20260131")
            .unwrap()
            .with(sequence);
        let mut bytes = query.to_identifier(&syntax(SYNTAXES[syntax_at])).unwrap();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        bytes.truncate(end.index(bytes.len() * 4));
        let (syntax, limits) = (syntax(SYNTAXES[syntax_at]), QueryLimits::default());
        let read = |bytes: &[u8]| {
            Query::from_identifier(bytes, &syntax, Model::StudyRoot, true, &limits)
        };
        if let Ok(query) = read(&bytes) {
            let written = query.to_identifier(&syntax).unwrap();
            prop_assert!(read(&written).unwrap() == query);
            let conditions = Matcher::new(&query).keys().len();
            prop_assert!(conditions == 0 || !matches(&query, &Attributes::new()));
        }
    }
}

/// The fuzzer's corpus, replayed: the first byte chooses encoding, model and hierarchy.
#[test]
fn the_corpus_of_the_fuzzer_is_refused_or_read_and_written_again() {
    let corpus = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fuzz/corpus/query_identifier"
    );
    let mut read_count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        let Some((choice, bytes)) = data.split_first() else {
            continue;
        };
        let syntax = syntax(SYNTAXES[usize::from(choice & 3)]);
        let model = [Model::StudyRoot, Model::PatientRoot][usize::from(choice & 4 != 0)];
        let (relational, limits) = (choice & 8 != 0, QueryLimits::default());
        let read =
            |bytes: &[u8]| Query::from_identifier(bytes, &syntax, model, relational, &limits);
        if let Ok(query) = read(bytes) {
            read_count += 1;
            let written = query.to_identifier(&syntax).unwrap();
            assert!(read(&written).unwrap() == query);
        }
    }
    assert!(
        read_count >= 8,
        "only {read_count} identifiers of the corpus were read"
    );
}
