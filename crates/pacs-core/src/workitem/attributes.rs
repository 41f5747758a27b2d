//! The attributes of a reading task (PS3.4 Table CC.2.5-3; PS3.3 C.30).

use super::{SOP_CLASS, State, Task};
use crate::attributes::{Attributes, Value};
use crate::coerce::{Change, Demographics, Order, Overlay, OverlayError, PersonName, Reason};
use crate::tag::{Tag, Vr, tags, vr_of};
use crate::uid::{SeriesUid, StudyUid};
use crate::worklist::Pregnancy;
use chrono::{DateTime, FixedOffset};
use std::collections::BTreeSet;

/// Characters of an LO (PS3.5 6.2).
const LONG_CHARS: usize = 64;

/// Characters of an SH.
const SHORT_CHARS: usize = 16;

/// Characters of an LT.
const LONG_TEXT_CHARS: usize = 10_240;

/// «Interpretation», of the work that a step stands for (PS3.16 CID 9231).
const INTERPRETATION: [&str; 3] = ["110005", "DCM", "Interpretation"];

/// The scheme of our own codes, of people among others.
const OWN_SCHEME: &str = "99KGPACS";

/// Attributes that a search gives unasked: those whose Return Key Type in PS3.4 Table CC.2.5-3 is 1
/// or 2, but Input Information Sequence.
pub const UNASKED: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::ADMISSION_ID,
    tags::ISSUER_OF_ADMISSION_ID_SEQUENCE,
    tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME,
    tags::SCHEDULED_PROCEDURE_STEP_MODIFICATION_DATE_TIME,
    tags::SCHEDULED_WORKITEM_CODE_SEQUENCE,
    tags::SCHEDULED_STATION_NAME_CODE_SEQUENCE,
    tags::SCHEDULED_STATION_CLASS_CODE_SEQUENCE,
    tags::SCHEDULED_STATION_GEOGRAPHIC_LOCATION_CODE_SEQUENCE,
    tags::SCHEDULED_HUMAN_PERFORMERS_SEQUENCE,
    tags::INPUT_READINESS_STATE,
    tags::REFERENCED_REQUEST_SEQUENCE,
    tags::PROCEDURE_STEP_STATE,
    tags::SCHEDULED_PROCEDURE_STEP_PRIORITY,
    tags::WORKLIST_LABEL,
    tags::PROCEDURE_STEP_LABEL,
    tags::OTHER_PATIENT_I_DS_SEQUENCE,
    tags::ADMITTING_DIAGNOSES_DESCRIPTION,
    tags::ADMITTING_DIAGNOSES_CODE_SEQUENCE,
    tags::COMMENTS_ON_THE_SCHEDULED_PROCEDURE_STEP,
    tags::SCHEDULED_PROCESSING_PARAMETERS_SEQUENCE,
    tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE,
    tags::UNIFIED_PROCEDURE_STEP_PERFORMED_PROCEDURE_SEQUENCE,
];

/// Attributes that a search goes by and gives where it is asked to, besides [`UNASKED`]. Input
/// Information Sequence is not among them: it has every instance, and a workitem that is retrieved
/// has it.
pub const MATCHED: &[Tag] = &[
    tags::OTHER_PATIENT_NAMES,
    tags::ALLERGIES,
    tags::PREGNANCY_STATUS,
    tags::ADDITIONAL_PATIENT_HISTORY,
    tags::SCHEDULED_PROCEDURE_STEP_EXPIRATION_DATE_TIME,
];

/// Scheduled Procedure Step Priority (0074,1200).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// As STAT of an order.
    High,
    /// Between both.
    Medium,
    /// As it comes.
    Low,
}

impl Urgency {
    /// The enumerated value.
    #[must_use]
    pub const fn term(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

/// Somebody who reads (PS3.3 Human Performer, C.30.1). `Debug` shows how they sign in alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Performer {
    /// How they sign in.
    pub user: Box<str>,
    /// What others call them.
    pub name: Box<str>,
    /// The organisation that they read for.
    pub organisation: Box<str>,
}

impl std::fmt::Debug for Performer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Performer").field(&self.user).finish()
    }
}

/// A study that is to be read, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The study.
    pub study: StudyUid,
    /// Which series of it.
    pub series: InputSeries,
}

/// Series of a study, of which a person may have said that some are of other examinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputSeries {
    /// All but these.
    AllBut(BTreeSet<SeriesUid>),
    /// These alone.
    Only(BTreeSet<SeriesUid>),
}

/// What came of a task that somebody took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performed {
    /// Who took it.
    pub by: Performer,
    /// When.
    pub began_at: DateTime<FixedOffset>,
    /// When it ended; `None`: they have it in work.
    pub ended_at: Option<DateTime<FixedOffset>>,
    /// How far they say they are, in percent.
    pub percent: Option<u8>,
}

/// A reading task, with all that a Unified Procedure Step says but the instances that are to be
/// read. `Debug` shows which and how far it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Workitem {
    /// Which reading of which examination.
    pub task: Task,
    /// How far it is.
    pub state: State,
    /// How soon it is to be done.
    pub urgency: Urgency,
    /// The list that it stands in.
    pub worklist: Box<str>,
    /// When it could be begun: all images were there.
    pub scheduled_at: DateTime<FixedOffset>,
    /// When something was changed last.
    pub changed_at: DateTime<FixedOffset>,
    /// Until when it waits for whoever has it in work to go on.
    pub expires_at: Option<DateTime<FixedOffset>>,
    /// Whether all images that the device told of are there.
    pub is_ready: bool,
    /// What is to be read.
    pub inputs: Vec<Input>,
    /// Who is to read it, where that is settled.
    pub meant_for: Option<Performer>,
    /// Who took it, and what came of it.
    pub performed: Option<Performed>,
    /// Whose images these are.
    pub patient: Demographics,
    /// What was ordered.
    pub order: Order,
    /// The number that the hospital's own system gave to the order.
    pub placer_number: Box<str>,
    /// The department that ordered it.
    pub department: Box<str>,
    /// The number of the hospital card.
    pub card_number: Box<str>,
    /// The complaints.
    pub complaints: Box<str>,
    /// The history.
    pub history: Box<str>,
    /// Allergies.
    pub allergies: Box<str>,
    /// Pregnancy.
    pub pregnancy: Option<Pregnancy>,
}

impl std::fmt::Debug for Workitem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workitem")
            .field("task", &self.task)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Workitem {
    /// Its attributes. Transaction UID is none of them, whoever asks (PS3.4 CC.2.7.3).
    ///
    /// # Errors
    /// [`OverlayError`] where a text cannot stand in a data set.
    pub fn attributes(&self) -> Result<Attributes, OverlayError> {
        // Patient and order are said here as images of the examination say them.
        let said = Overlay::new(Change::new(Reason::Coerce, self.changed_at))
            .with_patient(&self.patient)?
            .with_order(&self.order)?
            .correction(|_| true);
        let mut as_images = Attributes::new();
        said.apply(&mut as_images, |_| true);
        let mut all = Attributes::with_capacity(48);
        for attribute in &as_images {
            // The order stands in an item of its own.
            if attribute.tag.group() == tags::PATIENT_ID.group() {
                all.insert(attribute.tag, attribute.vr, attribute.value.clone());
            }
        }
        let request = as_images.items(tags::REQUEST_ATTRIBUTES_SEQUENCE).first();
        let request = self.request(request.cloned().unwrap_or_default());
        items(&mut all, tags::REFERENCED_REQUEST_SEQUENCE, vec![request]);
        self.put_step(&mut all);
        self.put_patient(&mut all);
        self.put_progress(&mut all);
        for tag in UNASKED.iter().chain(MATCHED) {
            if vr_of(*tag) == Vr::SQ && all.get(*tag).is_none() {
                items(&mut all, *tag, Vec::new());
            }
        }
        Ok(all)
    }

    /// The Study Instance UID that stands where there is room for one.
    fn study(&self) -> &str {
        let first = self.inputs.first();
        first.map_or("", |input| input.study.as_str())
    }

    /// The item of Referenced Request Sequence (PS3.3 C.30.4), of what an image says of its order.
    fn request(&self, mut of: Attributes) -> Attributes {
        of.retain(|attribute| {
            // What the device was to do is over.
            ![
                tags::SCHEDULED_PROCEDURE_STEP_ID,
                tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION,
            ]
            .contains(&attribute.tag)
        });
        let study = self.study();
        text(&mut of, tags::STUDY_INSTANCE_UID, study);
        // It is not there, or it is not empty.
        let placer = cut(&self.placer_number, LONG_CHARS);
        if !placer.is_empty() {
            let tag = tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST;
            text(&mut of, tag, &placer);
        }
        if of.get(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE).is_none() {
            items(&mut of, tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, Vec::new());
        }
        let filler = tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST;
        text(&mut of, filler, &self.task.examination().to_string());
        for tag in [
            tags::ORDER_PLACER_IDENTIFIER_SEQUENCE,
            tags::ORDER_FILLER_IDENTIFIER_SEQUENCE,
        ] {
            items(&mut of, tag, Vec::new());
        }
        let physician = self.order.referring_physician.as_ref();
        let physician = physician.map_or("", PersonName::value);
        text(&mut of, tags::REFERRING_PHYSICIAN_NAME, physician);
        text(&mut of, tags::REQUESTING_PHYSICIAN, physician);
        let department = cut(&self.department, LONG_CHARS);
        text(&mut of, tags::REQUESTING_SERVICE, &department);
        let reason = cut(&self.complaints, LONG_CHARS);
        text(&mut of, tags::REASON_FOR_THE_REQUESTED_PROCEDURE, &reason);
        let comments = lines(&self.complaints);
        text(&mut of, tags::REQUESTED_PROCEDURE_COMMENTS, &comments);
        of
    }

    /// UPS Scheduled Procedure Information (PS3.3 C.30.2).
    fn put_step(&self, all: &mut Attributes) {
        let uid = self.task.uid();
        let uid = uid.as_ref().map_or("", |uid| uid.as_str());
        text(all, tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192");
        text(all, tags::SOP_CLASS_UID, SOP_CLASS);
        text(all, tags::SOP_INSTANCE_UID, uid);
        let study = self.study();
        text(all, tags::STUDY_INSTANCE_UID, study);
        let urgency = self.urgency.term();
        text(all, tags::SCHEDULED_PROCEDURE_STEP_PRIORITY, urgency);
        let changed = moment(self.changed_at);
        let tag = tags::SCHEDULED_PROCEDURE_STEP_MODIFICATION_DATE_TIME;
        text(all, tag, &changed);
        let begins = moment(self.scheduled_at);
        text(all, tags::SCHEDULED_PROCEDURE_STEP_START_DATE_TIME, &begins);
        if let Some(expires_at) = self.expires_at {
            let tag = tags::SCHEDULED_PROCEDURE_STEP_EXPIRATION_DATE_TIME;
            text(all, tag, &moment(expires_at));
        }
        let label = self.order.study_description.as_deref().unwrap_or_default();
        text(all, tags::PROCEDURE_STEP_LABEL, label);
        text(all, tags::WORKLIST_LABEL, &cut(&self.worklist, LONG_CHARS));
        let comments = tags::COMMENTS_ON_THE_SCHEDULED_PROCEDURE_STEP;
        text(all, comments, "");
        let readiness = if self.is_ready { "READY" } else { "INCOMPLETE" };
        text(all, tags::INPUT_READINESS_STATE, readiness);
        let code = vec![code(INTERPRETATION)];
        items(all, tags::SCHEDULED_WORKITEM_CODE_SEQUENCE, code);
        let meant_for = self.meant_for.iter().map(performer).collect();
        items(all, tags::SCHEDULED_HUMAN_PERFORMERS_SEQUENCE, meant_for);
    }

    /// UPS Relationship, and what is worth knowing of the patient (PS3.3 C.30.4, C.2.4).
    fn put_patient(&self, all: &mut Attributes) {
        let card = cut(&self.card_number, LONG_CHARS);
        text(all, tags::ADMISSION_ID, &card);
        text(all, tags::ADMITTING_DIAGNOSES_DESCRIPTION, "");
        text(all, tags::ALLERGIES, &values(&self.allergies, LONG_CHARS));
        text(all, tags::ADDITIONAL_PATIENT_HISTORY, &lines(&self.history));
        let pregnancy = self.pregnancy.map_or("", Pregnancy::code);
        text(all, tags::PREGNANCY_STATUS, pregnancy);
    }

    /// UPS Progress Information and UPS Performed Procedure Information (PS3.3 C.30.3, C.30.5).
    fn put_progress(&self, all: &mut Attributes) {
        text(all, tags::PROCEDURE_STEP_STATE, self.state.term());
        let Some(performed) = &self.performed else {
            return;
        };
        let mut step = Attributes::new();
        let by = vec![performer(&performed.by)];
        items(&mut step, tags::ACTUAL_HUMAN_PERFORMERS_SEQUENCE, by);
        let began = moment(performed.began_at);
        text(
            &mut step,
            tags::PERFORMED_PROCEDURE_STEP_START_DATE_TIME,
            &began,
        );
        if let Some(ended_at) = performed.ended_at {
            let tag = tags::PERFORMED_PROCEDURE_STEP_END_DATE_TIME;
            text(&mut step, tag, &moment(ended_at));
        }
        let code = vec![code(INTERPRETATION)];
        items(&mut step, tags::PERFORMED_WORKITEM_CODE_SEQUENCE, code);
        for tag in [
            tags::PERFORMED_STATION_NAME_CODE_SEQUENCE,
            tags::OUTPUT_INFORMATION_SEQUENCE,
        ] {
            items(&mut step, tag, Vec::new());
        }
        let tag = tags::UNIFIED_PROCEDURE_STEP_PERFORMED_PROCEDURE_SEQUENCE;
        items(all, tag, vec![step]);
        let mut progress = Attributes::new();
        if let Some(percent) = performed.percent {
            text(
                &mut progress,
                tags::PROCEDURE_STEP_PROGRESS,
                &percent.to_string(),
            );
        }
        if self.state == State::Canceled
            && let Some(ended_at) = performed.ended_at
        {
            let tag = tags::PROCEDURE_STEP_CANCELLATION_DATE_TIME;
            text(&mut progress, tag, &moment(ended_at));
        }
        if !progress.is_empty() {
            let tag = tags::PROCEDURE_STEP_PROGRESS_INFORMATION_SEQUENCE;
            items(all, tag, vec![progress]);
        }
    }
}

fn text(into: &mut Attributes, tag: Tag, value: &str) {
    into.insert_text(tag, vr_of(tag), value);
}

fn items(into: &mut Attributes, tag: Tag, items: Vec<Attributes>) {
    into.insert(tag, Vr::SQ, Value::Items(items));
}

fn code([value, scheme, meaning]: [&str; 3]) -> Attributes {
    let mut item = Attributes::new();
    // Longer ones have an attribute of their own (PS3.3 8.1).
    let tag = if value.chars().count() > SHORT_CHARS {
        tags::LONG_CODE_VALUE
    } else {
        tags::CODE_VALUE
    };
    text(&mut item, tag, value);
    text(&mut item, tags::CODING_SCHEME_DESIGNATOR, scheme);
    text(&mut item, tags::CODE_MEANING, meaning);
    item
}

fn performer(of: &Performer) -> Attributes {
    let mut item = Attributes::new();
    let name = cut(&of.name, LONG_CHARS);
    let code = vec![code([&*of.user, OWN_SCHEME, &name])];
    items(&mut item, tags::HUMAN_PERFORMER_CODE_SEQUENCE, code);
    let organisation = cut(&of.organisation, LONG_CHARS);
    text(&mut item, tags::HUMAN_PERFORMER_ORGANIZATION, &organisation);
    // What somebody is called is kept as one text, whose parts nobody tells apart.
    let name = name.replace(['^', '='], " ");
    text(&mut item, tags::HUMAN_PERFORMER_NAME, &name);
    item
}

fn moment(at: DateTime<FixedOffset>) -> String {
    at.format("%Y%m%d%H%M%S%z").to_string()
}

/// A letter of a value of one line.
fn letter(of: char) -> char {
    match of {
        '\\' => '/',
        of if of.is_control() => ' ',
        of => of,
    }
}

/// As much of a text as a value of one line holds.
fn cut(of: &str, chars_max: usize) -> String {
    of.trim().chars().map(letter).take(chars_max).collect()
}

/// All of a text, in as many values of one line as it needs, between words where that can be.
fn values(of: &str, chars_max: usize) -> String {
    let text: String = of.chars().map(letter).collect();
    let mut all = String::with_capacity(text.len());
    let mut used = 0_usize;
    for word in text.split_whitespace() {
        let long = word.chars().count();
        if used > 0 && used.saturating_add(1).saturating_add(long) <= chars_max {
            all.push(' ');
            used = used.saturating_add(1);
        } else if used > 0 {
            all.push('\\');
            used = 0;
        }
        for of in word.chars() {
            if used == chars_max {
                all.push('\\');
                used = 0;
            }
            all.push(of);
            used = used.saturating_add(1);
        }
    }
    all
}

/// The same of a text of several lines.
fn lines(of: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let letters = of.trim().chars().map(shown);
    let text: String = letters.take(LONG_TEXT_CHARS).collect();
    text.replace('\n', "\r\n")
}
