//! `pacs worklist`: what a console would be told before it begins (C-FIND of a modality worklist).

use super::Connection;
use super::connect::UNCOMPRESSED;
use super::failure::Failure;
use super::output::Output;
use super::peer::{QueryKey, parse_title};
use bytes::Bytes;
use clap::Args;
use pacs_core::attributes::Attribute;
use pacs_core::decode::read_data_set;
use pacs_core::limits::DataSetLimits;
use pacs_core::tag::{Tag, keyword_of, tags};
use pacs_core::worklist::WorklistKeys;
use pacs_core::{AeTitle, Attributes, Value};
use pacs_net::sop_class::MODALITY_WORKLIST_FIND;

/// Which steps of a worklist.
#[derive(Debug, Clone, Args)]
pub struct Worklist {
    /// Whom to ask
    #[command(flatten)]
    pub connection: Connection,
    /// Steps for this device
    #[arg(long, value_name = "AE", value_parser = parse_title)]
    pub station: Option<AeTitle>,
    /// Steps that begin on this day, or on one of FROM..TO; days as YYYY-MM-DD or YYYYMMDD
    #[arg(long, value_name = "DAYS", value_parser = parse_days)]
    pub date: Option<String>,
    /// Steps of this modality
    #[arg(long, value_name = "CODE")]
    pub modality: Option<String>,
    /// Steps of this patient: a name, wild cards allowed, or a Patient ID, which has digits
    #[arg(long, value_name = "NAME-OR-ID")]
    pub patient: Option<String>,
    /// The step with this Accession Number
    #[arg(long, value_name = "NUMBER")]
    pub accession: Option<String>,
    /// A further key, as KEYWORD=VALUE or GGGG,EEEE=VALUE, in its place in the model
    #[arg(short, long = "key", value_name = "KEY", value_parser = QueryKey::parse)]
    pub keys: Vec<QueryKey>,
}

/// Reads days, and gives them as DICOM writes a date or a range.
fn parse_days(text: &str) -> Result<String, String> {
    let day = |text: &str| match text.replace('-', "") {
        digits if digits.is_empty() => Ok(digits),
        digits if digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(digits),
        _ => Err(format!("{text:?} is not a day")),
    };
    match text.split_once("..") {
        None if text.trim_matches('-').is_empty() => Err("no day".to_owned()),
        None => day(text),
        Some(("", "")) => Err("no day".to_owned()),
        Some((from, to)) => Ok(format!("{}-{}", day(from)?, day(to)?)),
    }
}

/// What is shown of a step, in this order.
const COLUMNS: [Tag; 9] = [
    tags::SCHEDULED_PROCEDURE_STEP_START_DATE,
    tags::SCHEDULED_PROCEDURE_STEP_START_TIME,
    tags::MODALITY,
    tags::SCHEDULED_STATION_AE_TITLE,
    tags::ACCESSION_NUMBER,
    tags::PATIENT_ID,
    tags::PATIENT_NAME,
    tags::REQUESTED_PROCEDURE_DESCRIPTION,
    tags::STUDY_INSTANCE_UID,
];

impl Worklist {
    fn asked(&self) -> Result<WorklistKeys, Failure> {
        let patient = self.patient.as_deref().map(|patient| {
            let is_id = patient.bytes().any(|b| b.is_ascii_digit());
            let tag = if is_id {
                tags::PATIENT_ID
            } else {
                tags::PATIENT_NAME
            };
            (tag, patient)
        });
        let step_date = tags::SCHEDULED_PROCEDURE_STEP_START_DATE;
        let station = self.station.as_ref().map(AeTitle::as_str);
        let options = [
            station.map(|title| (tags::SCHEDULED_STATION_AE_TITLE, title)),
            self.date.as_deref().map(|days| (step_date, days)),
            self.modality.as_deref().map(|code| (tags::MODALITY, code)),
            self.accession
                .as_deref()
                .map(|number| (tags::ACCESSION_NUMBER, number)),
            patient,
        ];
        let further = self.keys.iter().map(|key| (key.tag, key.value.as_str()));
        let mut asked = WorklistKeys::all();
        for (tag, text) in options.into_iter().flatten().chain(further) {
            let added = asked.key(tag, text);
            asked = added.map_err(|error| Failure::CommandLine(error.to_string()))?;
        }
        Ok(asked)
    }
}

pub(super) async fn worklist(worklist: &Worklist, output: &Output) -> Result<(), Failure> {
    let asked = worklist.asked()?;
    let connection = &worklist.connection;
    let builder = connection
        .builder()
        .context(MODALITY_WORKLIST_FIND, &UNCOMPRESSED);
    let mut association = connection.connect(&builder).await?;
    let transfer_syntax = association.context(MODALITY_WORKLIST_FIND)?.transfer_syntax;
    let identifier = asked
        .to_identifier(&transfer_syntax)
        .map_err(|error| Failure::CommandLine(error.to_string()))?;
    let mut find = association
        .find(MODALITY_WORKLIST_FIND, Bytes::from(identifier))
        .await?;
    let mut answers = Vec::new();
    while let Some(answer) = find.next().await? {
        let answer = read_data_set(&answer, &transfer_syntax, &DataSetLimits::default())
            .map_err(|error| Failure::Partly(format!("DIMSE: result cannot be read: {error}")))?;
        answers.push(answer);
    }
    association.release().await?;
    let head = COLUMNS.map(|tag| keyword_of(tag).unwrap_or_default());
    output.note(&head.join("\t"));
    for answer in &answers {
        let line = COLUMNS.map(|tag| shown(answer, tag));
        output.result(
            &line.join("\t"),
            &serde_json::json!({ "attributes": named(answer) }),
        );
    }
    output.summary("", &serde_json::json!({ "count": answers.len() }));
    Ok(())
}

/// The text of an attribute of the answer, or of its step.
fn shown(answer: &Attributes, tag: Tag) -> String {
    let steps = answer.items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE);
    let in_step = steps.first().and_then(|step| step.text(tag));
    let text = in_step.or_else(|| answer.text(tag)).unwrap_or_default();
    // One line for each result: what would break it is shown as a space.
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// Attributes by their keywords; items as lists.
fn named(attributes: &Attributes) -> serde_json::Value {
    let one = |attribute: &Attribute| {
        let keyword = keyword_of(attribute.tag);
        let name = keyword.map_or_else(|| attribute.tag.to_string(), str::to_owned);
        let value = match &attribute.value {
            Value::Items(items) => items.iter().map(named).collect(),
            Value::Suspect(text) | Value::Text(text) => text.as_str().into(),
        };
        (name, value)
    };
    attributes
        .iter()
        .map(one)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_typed_as_people_or_as_dicom_write_them() {
        for (typed, days) in [
            ("2026-11-26", "20261126"),
            ("20261126", "20261126"),
            ("2026-11-01..2026-11-26", "20261101-20261126"),
            ("20261101..", "20261101-"),
            ("..2026-11-26", "-20261126"),
        ] {
            assert_eq!(parse_days(typed).unwrap(), days);
        }
        for typed in ["", "-", "..", "today", "2026-1-1", "2026-11-26..tomorrow"] {
            assert!(parse_days(typed).is_err(), "{typed}");
        }
    }
}
