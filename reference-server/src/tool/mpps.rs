//! `pacs mpps`: tells a peer of a procedure step, as a console does while it makes images (N-CREATE
//! and N-SET of Modality Performed Procedure Step).

use super::Connection;
use super::commit::new_uid;
use super::connect::UNCOMPRESSED;
use super::failure::{Failure, chain};
use super::output::Output;
use super::peer::parse_title;
use chrono::DateTime;
use clap::{Args, Subcommand};
use pacs_core::encode::write_data_set;
use pacs_core::instance::InstanceError;
use pacs_core::limits::ScanLimits;
use pacs_core::mpps::{StepState, discontinuation_meaning};
use pacs_core::scan::{HeadReader, HeadState};
use pacs_core::tag::{Tag, Vr, tags, vr_of};
use pacs_core::{AeTitle, Attributes, Instance, SopInstanceUid, StudyUid, Value};
use pacs_media::{Found, MediaLimits, Refusal, Sources, inspect};
use pacs_net::Requestor;
use pacs_net::sop_class::MODALITY_PERFORMED_PROCEDURE_STEP;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

/// What to tell of a step.
#[derive(Debug, Clone, Subcommand)]
pub enum Mpps {
    /// Tell that a step is completed, and with which instances (N-SET)
    Complete(Ending),
    /// Tell that a step begins (N-CREATE), and print its UID
    Create(Box<Beginning>),
    /// Tell that a step was broken off, and why (N-SET)
    Discontinue {
        /// Which
        #[command(flatten)]
        ending: Ending,
        /// Why: a code of CID 9301, as 110507 for a patient who did not come, 110514 for a wrong
        /// entry of the worklist
        #[arg(long, value_name = "CODE", default_value = "110513", value_parser = parse_reason)]
        reason: String,
    },
}

/// A step that begins.
#[derive(Debug, Clone, Args)]
pub struct Beginning {
    /// Whom to tell
    #[command(flatten)]
    pub connection: Connection,
    /// Study Instance UID of the images, as the worklist has it
    #[arg(long, value_name = "UID", value_parser = parse_study)]
    pub study: StudyUid,
    /// What makes the images: CT, MR, DX
    #[arg(long, value_name = "CODE")]
    pub modality: String,
    /// Accession Number, as the worklist has it
    #[arg(long, value_name = "NUMBER", default_value = "")]
    pub accession: String,
    /// Scheduled Procedure Step ID, as the worklist has it
    #[arg(long, value_name = "ID", default_value = "")]
    pub step: String,
    /// Patient ID, as the worklist has it
    #[arg(long, value_name = "ID", default_value = "")]
    pub patient_id: String,
    /// Patient's Name, as the worklist has it
    #[arg(long, value_name = "NAME", default_value = "")]
    pub patient_name: String,
    /// AE title of the device [default: our own]
    #[arg(long, value_name = "AE", value_parser = parse_title)]
    pub station: Option<AeTitle>,
    /// SOP Instance UID of the step [default: a new one]
    #[arg(long, value_name = "UID", value_parser = parse_step)]
    pub uid: Option<SopInstanceUid>,
}

/// A step that ends.
#[derive(Debug, Clone, Args)]
pub struct Ending {
    /// Whom to tell
    #[command(flatten)]
    pub connection: Connection,
    /// SOP Instance UID of the step, as `pacs mpps create` printed it
    #[arg(value_name = "UID", value_parser = parse_step)]
    pub uid: SopInstanceUid,
    /// Files, directories, DICOMDIRs and ZIP archives that hold the instances that were made
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

fn parse_step(text: &str) -> Result<SopInstanceUid, String> {
    SopInstanceUid::parse_legacy(text).map_err(|error| error.to_string())
}

fn parse_study(text: &str) -> Result<StudyUid, String> {
    StudyUid::parse_legacy(text).map_err(|error| error.to_string())
}

fn parse_reason(text: &str) -> Result<String, String> {
    match discontinuation_meaning(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("not a DCM code of CID 9301 (110500 to 110516)".to_owned()),
    }
}

pub(super) async fn mpps(mpps: &Mpps, output: &Output) -> Result<(), Failure> {
    match mpps {
        Mpps::Create(beginning) => create(beginning, output).await,
        Mpps::Complete(ending) => {
            let attributes = Attributes::new();
            end(ending, StepState::Completed, attributes, output).await
        }
        Mpps::Discontinue { ending, reason } => {
            let mut attributes = Attributes::new();
            let code = texts(&[
                (tags::CODE_VALUE, reason),
                (tags::CODING_SCHEME_DESIGNATOR, "DCM"),
                (
                    tags::CODE_MEANING,
                    discontinuation_meaning(reason).unwrap_or_default(),
                ),
            ]);
            let tag = tags::PERFORMED_PROCEDURE_STEP_DISCONTINUATION_REASON_CODE_SEQUENCE;
            attributes.insert(tag, Vr::SQ, Value::Items(vec![code]));
            end(ending, StepState::Discontinued, attributes, output).await
        }
    }
}

async fn create(beginning: &Beginning, output: &Output) -> Result<(), Failure> {
    let uid = match &beginning.uid {
        Some(uid) => uid.clone(),
        None => parse_step(&new_uid()).map_err(Failure::CommandLine)?,
    };
    let attributes = begun(beginning);
    let mut association = associate(&beginning.connection).await?;
    let list = encoded(&association, &attributes)?;
    let response = association.create_step(Some(&uid), list.into()).await?;
    association.release().await?;
    let uid = response.sop_instance.unwrap_or(uid);
    let value = serde_json::json!({ "uid": uid.as_str(), "status": response.status });
    output.result(uid.as_str(), &value);
    Ok(())
}

/// The attribute list of an N-CREATE (PS3.4 Table F.7.2-1): what is not known is there and empty.
fn begun(beginning: &Beginning) -> Attributes {
    let station = beginning.station.as_ref();
    let station = station.unwrap_or(&beginning.connection.ae_title).as_str();
    let (date, time) = now();
    let id = if beginning.step.is_empty() {
        time.as_str()
    } else {
        &beginning.step
    };
    let mut scheduled = texts(&[
        (tags::STUDY_INSTANCE_UID, beginning.study.as_str()),
        (tags::ACCESSION_NUMBER, &beginning.accession),
        (tags::REQUESTED_PROCEDURE_ID, &beginning.accession),
        (tags::REQUESTED_PROCEDURE_DESCRIPTION, ""),
        (tags::SCHEDULED_PROCEDURE_STEP_ID, &beginning.step),
        (tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION, ""),
    ]);
    empty_sequences(
        &mut scheduled,
        &[
            tags::REFERENCED_STUDY_SEQUENCE,
            tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE,
        ],
    );
    let mut attributes = texts(&[
        (tags::TIMEZONE_OFFSET_FROM_UTC, "+0000"),
        (tags::MODALITY, &beginning.modality),
        (tags::PATIENT_NAME, &beginning.patient_name),
        (tags::PATIENT_ID, &beginning.patient_id),
        (tags::PATIENT_BIRTH_DATE, ""),
        (tags::PATIENT_SEX, ""),
        (tags::STUDY_ID, &beginning.accession),
        (tags::PERFORMED_STATION_AE_TITLE, station),
        (tags::PERFORMED_STATION_NAME, ""),
        (tags::PERFORMED_LOCATION, ""),
        (tags::PERFORMED_PROCEDURE_STEP_START_DATE, &date),
        (tags::PERFORMED_PROCEDURE_STEP_START_TIME, &time),
        (tags::PERFORMED_PROCEDURE_STEP_END_DATE, ""),
        (tags::PERFORMED_PROCEDURE_STEP_END_TIME, ""),
        (
            tags::PERFORMED_PROCEDURE_STEP_STATUS,
            StepState::InProgress.term(),
        ),
        (tags::PERFORMED_PROCEDURE_STEP_ID, id),
        (tags::PERFORMED_PROCEDURE_STEP_DESCRIPTION, ""),
        (tags::PERFORMED_PROCEDURE_TYPE_DESCRIPTION, ""),
    ]);
    empty_sequences(
        &mut attributes,
        &[
            tags::PROCEDURE_CODE_SEQUENCE,
            tags::REFERENCED_PATIENT_SEQUENCE,
            tags::PERFORMED_PROTOCOL_CODE_SEQUENCE,
            tags::PERFORMED_SERIES_SEQUENCE,
        ],
    );
    let tag = tags::SCHEDULED_STEP_ATTRIBUTES_SEQUENCE;
    attributes.insert(tag, Vr::SQ, Value::Items(vec![scheduled]));
    attributes
}

/// Ends a step; `attributes` are what its end has beside status, time and series.
async fn end(
    ending: &Ending,
    state: StepState,
    mut attributes: Attributes,
    output: &Output,
) -> Result<(), Failure> {
    let made = made(ending, output).await?;
    let count: usize = made.values().map(|series| series.references.len()).sum();
    if count == 0 && state == StepState::Completed {
        let why = "a completed step has instances: name their files";
        return Err(Failure::CommandLine(why.to_owned()));
    }
    let (date, time) = now();
    for (tag, text) in [
        (tags::PERFORMED_PROCEDURE_STEP_END_DATE, date.as_str()),
        (tags::PERFORMED_PROCEDURE_STEP_END_TIME, &time),
        (tags::PERFORMED_PROCEDURE_STEP_STATUS, state.term()),
    ] {
        attributes.insert_text(tag, vr_of(tag), text);
    }
    let mut items: Vec<Attributes> = made.into_iter().map(performed).collect();
    if items.is_empty() {
        // PS3.4 Table F.7.2-1: a step does not end without a series, be it one without images.
        items.push(performed((new_uid(), Series::default())));
    }
    let tag = tags::PERFORMED_SERIES_SEQUENCE;
    attributes.insert(tag, Vr::SQ, Value::Items(items));
    let mut association = associate(&ending.connection).await?;
    let list = encoded(&association, &attributes)?;
    let response = association.set_step(&ending.uid, list.into()).await?;
    association.release().await?;
    let value = serde_json::json!({
        "uid": ending.uid.as_str(), "status": response.status, "instances": count,
    });
    let text = format!("{} with {count} instances", state.term());
    output.summary(&text, &value);
    Ok(())
}

/// A series that was made.
#[derive(Debug, Default)]
struct Series {
    protocol: String,
    description: String,
    /// SOP Instance UID and class.
    references: BTreeSet<(String, String)>,
}

fn performed((uid, series): (String, Series)) -> Attributes {
    let protocol = if series.protocol.is_empty() {
        "none"
    } else {
        &series.protocol
    };
    let mut item = texts(&[
        (tags::RETRIEVE_AE_TITLE, ""),
        (tags::SERIES_DESCRIPTION, &series.description),
        (tags::PERFORMING_PHYSICIAN_NAME, ""),
        (tags::OPERATORS_NAME, ""),
        (tags::PROTOCOL_NAME, protocol),
        (tags::SERIES_INSTANCE_UID, &uid),
    ]);
    let references = series.references.iter().map(|(instance, class)| {
        texts(&[
            (tags::REFERENCED_SOP_CLASS_UID, class),
            (tags::REFERENCED_SOP_INSTANCE_UID, instance),
        ])
    });
    let references = Value::Items(references.collect());
    item.insert(tags::REFERENCED_IMAGE_SEQUENCE, Vr::SQ, references);
    let others = tags::REFERENCED_NON_IMAGE_COMPOSITE_SOP_INSTANCE_SEQUENCE;
    empty_sequences(&mut item, &[others]);
    item
}

/// The series in the files, by their UIDs. A file that cannot be read ends the command: the list
/// of a step must be whole.
async fn made(ending: &Ending, output: &Output) -> Result<BTreeMap<String, Series>, Failure> {
    let (paths, teller) = (ending.paths.clone(), output.clone());
    let reading = tokio::task::spawn_blocking(move || read(paths, &teller));
    let (series, unread_count) = reading
        .await
        .map_err(|error| Failure::Archive(error.to_string()))?;
    if unread_count > 0 {
        let text = format!("{unread_count} files cannot be read: the peer was told nothing");
        return Err(Failure::CommandLine(text));
    }
    Ok(series)
}

fn read(paths: Vec<PathBuf>, output: &Output) -> (BTreeMap<String, Series>, usize) {
    let limits = MediaLimits::default();
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    let mut unread_count = 0;
    for found in Sources::new(paths, &limits) {
        let (place, is_named, read) = match found {
            Ok(found) => (found.place.clone(), found.is_named, head(&found, &limits)),
            Err(refused) => (refused.place, true, Err(refused.why)),
        };
        match read {
            Ok(instance) => {
                let series = all.entry(instance.series.as_str().to_owned()).or_default();
                let text = |tag| instance.attributes.text(tag).unwrap_or_default().to_owned();
                series.protocol = text(tags::PROTOCOL_NAME);
                series.description = text(tags::SERIES_DESCRIPTION);
                let class = instance.sop_class.as_str().to_owned();
                series
                    .references
                    .insert((instance.instance.as_str().to_owned(), class));
            }
            Err(Refusal::Directory | Refusal::NotDicom) if !is_named => {}
            Err(why) => {
                unread_count += 1;
                let text = format!("file {place}: {}", chain(&why));
                output.problem(&text, &serde_json::json!({ "why": text }));
            }
        }
    }
    (all, unread_count)
}

/// The head of an instance; of the file no more is read.
fn head(found: &Found, limits: &MediaLimits) -> Result<Instance, Refusal> {
    let mut inspected = inspect(found, limits)?;
    let mut reader = HeadReader::new(&inspected.transfer_syntax, &ScanLimits::default());
    while let Some(piece) = inspected.next_piece(limits)? {
        let state = reader.push(&piece).map_err(InstanceError::from);
        if state.map_err(Refusal::NotAnInstance)? == HeadState::Complete {
            break;
        }
    }
    reader.finish().map_err(Refusal::NotAnInstance)
}

async fn associate(connection: &Connection) -> Result<Requestor, Failure> {
    let builder = connection
        .builder()
        .context(MODALITY_PERFORMED_PROCEDURE_STEP, &UNCOMPRESSED);
    connection.connect(&builder).await
}

fn encoded(association: &Requestor, attributes: &Attributes) -> Result<Vec<u8>, Failure> {
    let context = association.context(MODALITY_PERFORMED_PROCEDURE_STEP)?;
    write_data_set(attributes, &context.transfer_syntax)
        .map_err(|error| Failure::CommandLine(error.to_string()))
}

fn texts(values: &[(Tag, &str)]) -> Attributes {
    let mut attributes = Attributes::new();
    for (tag, text) in values {
        attributes.insert_text(*tag, vr_of(*tag), *text);
    }
    attributes
}

fn empty_sequences(attributes: &mut Attributes, sequences: &[Tag]) {
    for tag in sequences {
        attributes.insert(*tag, Vr::SQ, Value::Items(Vec::new()));
    }
}

/// Date and time in UTC.
fn now() -> (String, String) {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let now = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    (
        now.format("%Y%m%d").to_string(),
        now.format("%H%M%S").to_string(),
    )
}
