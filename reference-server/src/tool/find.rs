//! `pacs echo` and `pacs find`.

use super::Connection;
use super::Search;
use super::connect::UNCOMPRESSED;
use super::failure::Failure;
use super::output::Output;
use bytes::Bytes;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::StandardDataDictionary;
use pacs_core::charset::CharacterSets;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, Event, ScanError, Scanner, values};
use pacs_core::tag::{Tag, tags};
use pacs_core::{Level, Query, TransferSyntaxUid};
use pacs_net::ByteStream;
use pacs_net::requestor::Requestor;
use pacs_net::sop_class::VERIFICATION;
use std::collections::BTreeMap;
use std::time::Instant;

/// Attributes of a result, as text.
pub(super) type Answer = BTreeMap<Tag, String>;

pub(super) async fn echo(connection: &Connection, output: &Output) -> Result<(), Failure> {
    let begun = Instant::now();
    let builder = connection.builder().context(VERIFICATION, &UNCOMPRESSED);
    let mut association = connection.connect(&builder).await?;
    association.echo().await?;
    association.release().await?;
    let peer = &connection.peer;
    let value = serde_json::json!({
        "ae_title": peer.title.as_str(),
        "address": peer.address,
        "seconds": begun.elapsed().as_secs_f64(),
    });
    output.summary(
        &format!("{} at {} answers", peer.title, peer.address),
        &value,
    );
    Ok(())
}

pub(super) async fn find(search: &Search, output: &Output) -> Result<(), Failure> {
    let mut query = search.query()?;
    if search.wanted.keys.is_empty() {
        for tag in customary(query.level) {
            query = query.returning(*tag);
        }
    }
    let unique_key = query.level.unique_key();
    query = query.returning(unique_key);
    let class = search.classes().find;
    let builder = search
        .connection
        .builder()
        .context(class, &UNCOMPRESSED)
        .relational(class);
    let mut association = search.connection.connect(&builder).await?;
    let columns: Vec<Tag> = query.keys.iter().map(|key| key.tag).collect();
    let answers = ask(&mut association, class, &query).await?;
    association.release().await?;
    let head: Vec<String> = columns.iter().map(|tag| keyword(*tag)).collect();
    output.note(&head.join("\t"));
    for answer in &answers {
        let values = columns
            .iter()
            .map(|tag| answer.get(tag).map_or("", String::as_str));
        let named: BTreeMap<String, &String> = answer
            .iter()
            .map(|(tag, text)| (keyword(*tag), text))
            .collect();
        output.result(
            &values.collect::<Vec<_>>().join("\t"),
            &serde_json::json!({ "attributes": named }),
        );
    }
    output.summary("", &serde_json::json!({ "count": answers.len() }));
    Ok(())
}

/// Asks `query` and waits for all results.
pub(super) async fn ask<S: ByteStream>(
    association: &mut Requestor<S>,
    class: &str,
    query: &Query,
) -> Result<Vec<Answer>, Failure> {
    let transfer_syntax = association.context(class)?.transfer_syntax;
    let identifier = query
        .to_identifier(&transfer_syntax)
        .map_err(|error| Failure::CommandLine(error.to_string()))?;
    let mut find = association.find(class, Bytes::from(identifier)).await?;
    let mut answers = Vec::new();
    while let Some(identifier) = find.next().await? {
        let answer = read(&identifier, &transfer_syntax)
            .map_err(|error| Failure::Partly(format!("DIMSE: result cannot be read: {error}")))?;
        answers.push(answer);
    }
    Ok(answers)
}

/// The text of every attribute at the root of a data set.
fn read(bytes: &[u8], transfer_syntax: &TransferSyntaxUid) -> Result<Answer, ScanError> {
    let mut answer = Answer::new();
    let mut charset = CharacterSets::DEFAULT;
    let mut scanner = Scanner::new(bytes, Encoding::of(transfer_syntax), &ScanLimits::default());
    while let Some(event) = scanner.next() {
        let Event::Element(element) = event? else {
            continue;
        };
        if scanner.depth() > 0 {
            continue;
        }
        let value = scanner.bytes(&element.value);
        if element.tag == tags::SPECIFIC_CHARACTER_SET {
            charset = CharacterSets::decode_term_list(value);
        }
        let text = values::numbers(element.vr, value, element.big_endian)
            .unwrap_or_else(|| charset.decode(element.vr, value).text.into_owned());
        // One line for each result: what would break it is shown as a space.
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        answer.insert(element.tag, line.trim_end().to_owned());
    }
    Ok(answer)
}

fn keyword(tag: Tag) -> String {
    StandardDataDictionary
        .by_tag(tag)
        .map_or_else(|| tag.to_string(), |entry| entry.alias().to_owned())
}

/// What is shown where nothing was asked for.
const fn customary(level: Level) -> &'static [Tag] {
    match level {
        Level::Patient => &[
            tags::PATIENT_NAME,
            tags::PATIENT_ID,
            tags::PATIENT_BIRTH_DATE,
        ],
        Level::Study => &[
            tags::STUDY_DATE,
            tags::ACCESSION_NUMBER,
            tags::MODALITIES_IN_STUDY,
            tags::PATIENT_NAME,
            tags::PATIENT_ID,
        ],
        Level::Series => &[
            tags::MODALITY,
            tags::SERIES_NUMBER,
            tags::SERIES_DESCRIPTION,
        ],
        Level::Instance => &[tags::SOP_CLASS_UID, tags::INSTANCE_NUMBER],
    }
}
