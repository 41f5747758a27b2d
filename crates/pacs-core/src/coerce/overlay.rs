//! What a data set is to say on its way out: who the patient is, and for what order it was made.

use super::text::{self, OverlayError, PersonName};
use crate::attributes::{Attributes, Value};
use crate::examination::id::StepId;
use crate::patient::{Identifier, Issuer, PatientKey, Sex};
use crate::tag::{Tag, Vr, tags};
use crate::{ExaminationId, Phi};
use chrono::{DateTime, FixedOffset, NaiveDate};
use std::collections::BTreeMap;
use std::fmt;

/// Why attributes were changed: Reason for the Attribute Modification (0400,0565).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// By rule, without a person's doing.
    Coerce,
    /// By a person.
    Correct,
}

/// Who changed attributes, when and why: what an item of Original Attributes Sequence says beside
/// the previous values (PS3.3 C.12.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    reason: Reason,
    at: DateTime<FixedOffset>,
    system: Box<str>,
    source: Box<str>,
}

/// The patient, as the archive knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demographics {
    /// Patient's Name.
    pub name: PersonName,
    /// The name in Latin letters: Other Patient Names. What a data set has there stays where this
    /// is `None`.
    pub latin_name: Option<PersonName>,
    /// Patient ID.
    pub key: PatientKey,
    /// Other Patient IDs, those that the receiver may see. Nothing leaves none.
    pub identifiers: Vec<Identifier>,
    /// Patient's Birth Date; `None` is not known, and written so.
    pub birth_date: Option<Phi<NaiveDate>>,
    /// Patient's Sex; `None` is not known, and written so.
    pub sex: Option<Phi<Sex>>,
}

/// A coded entry (PS3.3 8.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    value: Box<str>,
    scheme: Box<str>,
    meaning: Box<str>,
}

/// An order that an image was made for: an item of Request Attributes Sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Accession Number and Requested Procedure ID.
    pub examination: ExaminationId,
    /// Scheduled Procedure Step ID.
    pub step: Option<StepId>,
    /// Requested Procedure Description and Scheduled Procedure Step Description.
    pub description: Option<Box<str>>,
    /// Requested Procedure Code Sequence.
    pub codes: Vec<Code>,
}

/// The orders of a study. The first is the one that its Accession Number names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The order that the study was made for.
    pub request: Request,
    /// Others that it was made for, too.
    pub further_requests: Vec<Request>,
    /// Referring Physician's Name; what a data set has there stays where this is `None`.
    pub referring_physician: Option<PersonName>,
    /// Study Description; what a data set has there stays where this is `None`.
    pub study_description: Option<Box<str>>,
    /// Procedure Code Sequence; what a data set has there stays where these are none.
    pub procedure_codes: Vec<Code>,
}

/// What an attribute is to be.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This, where it has no value.
    Fill(Vr, Value),
    /// Not there.
    Nothing,
    /// This, whatever it is.
    Set(Vr, Value),
}

/// What data sets of a study are to say on their way out. `Debug` shows tags and no values.
///
/// Made once for a study and given to every [`super::Coercer`] of it. The attributes are those of
/// the methods below and no others: UIDs, pixel data, times, dose and private groups cannot be
/// named here.
#[derive(Clone, PartialEq, Eq)]
pub struct Overlay {
    wanted: BTreeMap<Tag, Wanted>,
    change: Change,
}

/// What attributes that were decoded are to say: as [`Overlay`] has it of data sets.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Correction {
    set: Attributes,
    /// Where they have no value.
    filled: Attributes,
    removed: Vec<(u16, u16)>,
}

impl Correction {
    /// Says it in `attributes`, of those for which `has_place` is true.
    pub fn apply(&self, attributes: &mut Attributes, has_place: impl Fn(Tag) -> bool) {
        let is_removed = |tag: Tag| self.removed.contains(&(tag.group(), tag.element()));
        attributes.retain(|a| !(is_removed(a.tag) && has_place(a.tag)));
        for attribute in self.set.iter().filter(|a| has_place(a.tag)) {
            attributes.insert(attribute.tag, attribute.vr, attribute.value.clone());
        }
        for attribute in self.filled.iter().filter(|a| has_place(a.tag)) {
            if attributes.text(attribute.tag).is_none_or(str::is_empty) {
                attributes.insert(attribute.tag, attribute.vr, attribute.value.clone());
            }
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.filled.is_empty() && self.removed.is_empty()
    }
}

impl Change {
    /// A change at `at` in this archive, without a name for the source of the previous values.
    #[must_use]
    pub fn new(reason: Reason, at: DateTime<FixedOffset>) -> Self {
        Self {
            reason,
            at,
            system: Issuer::Archive.to_string().into(),
            source: "".into(),
        }
    }

    /// Names the source of the previous values: the AE title or hospital that sent them.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn from_source(mut self, source: &str) -> Result<Self, OverlayError> {
        self.source = text::long(tags::SOURCE_OF_PREVIOUS_VALUES, source)?;
        Ok(self)
    }

    /// Names another modifying system than this archive.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn by_system(mut self, system: &str) -> Result<Self, OverlayError> {
        self.system = text::long(tags::MODIFYING_SYSTEM, system)?;
        Ok(self)
    }

    /// The attributes that say so.
    pub(super) fn attributes(&self) -> Attributes {
        let mut all = Attributes::new();
        let at = self.at.format("%Y%m%d%H%M%S%z").to_string();
        all.insert_text(tags::ATTRIBUTE_MODIFICATION_DATE_TIME, Vr::DT, at);
        all.insert_text(tags::MODIFYING_SYSTEM, Vr::LO, &*self.system);
        all.insert_text(tags::SOURCE_OF_PREVIOUS_VALUES, Vr::LO, &*self.source);
        let reason = match self.reason {
            Reason::Coerce => "COERCE",
            Reason::Correct => "CORRECT",
        };
        all.insert_text(tags::REASON_FOR_THE_ATTRIBUTE_MODIFICATION, Vr::CS, reason);
        all
    }
}

impl Code {
    /// A code of a coding scheme, with its meaning.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn new(value: &str, scheme: &str, meaning: &str) -> Result<Self, OverlayError> {
        Ok(Self {
            value: text::long(tags::CODE_VALUE, value)?,
            scheme: text::short(tags::CODING_SCHEME_DESIGNATOR, scheme)?,
            meaning: text::long(tags::CODE_MEANING, meaning)?,
        })
    }

    fn item(&self) -> Attributes {
        let mut item = Attributes::new();
        // Longer ones have an attribute of their own (PS3.3 8.1).
        let (tag, vr) = if self.value.chars().count() > text::SHORT_CHARS_MAX {
            (tags::LONG_CODE_VALUE, Vr::UC)
        } else {
            (tags::CODE_VALUE, Vr::SH)
        };
        item.insert_text(tag, vr, &*self.value);
        item.insert_text(tags::CODING_SCHEME_DESIGNATOR, Vr::SH, &*self.scheme);
        item.insert_text(tags::CODE_MEANING, Vr::LO, &*self.meaning);
        item
    }
}

fn items(codes: &[Code]) -> Value {
    Value::Items(codes.iter().map(Code::item).collect())
}

impl Request {
    /// An order without further words.
    #[must_use]
    pub const fn new(examination: ExaminationId) -> Self {
        Self {
            examination,
            step: None,
            description: None,
            codes: Vec::new(),
        }
    }

    fn item(&self) -> Result<Attributes, OverlayError> {
        let mut item = Attributes::new();
        let id = self.examination.to_string();
        item.insert_text(tags::ACCESSION_NUMBER, Vr::SH, &*id);
        let issuer = Value::Items(vec![issuer()]);
        item.insert(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, Vr::SQ, issuer);
        item.insert_text(tags::REQUESTED_PROCEDURE_ID, Vr::SH, id);
        if let Some(step) = self.step {
            let step = step.to_string();
            item.insert_text(tags::SCHEDULED_PROCEDURE_STEP_ID, Vr::SH, step);
        }
        if let Some(description) = &self.description {
            for tag in [
                tags::REQUESTED_PROCEDURE_DESCRIPTION,
                tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION,
            ] {
                item.insert_text(tag, Vr::LO, text::long(tag, description)?);
            }
        }
        if !self.codes.is_empty() {
            let codes = items(&self.codes);
            item.insert(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, Vr::SQ, codes);
        }
        Ok(item)
    }
}

/// Who gave Accession Numbers: this archive (PS3.3 10.14).
fn issuer() -> Attributes {
    let mut issuer = Attributes::new();
    let name = Issuer::Archive.to_string();
    issuer.insert_text(tags::LOCAL_NAMESPACE_ENTITY_ID, Vr::UT, name);
    issuer
}

impl Overlay {
    /// Nothing yet.
    #[must_use]
    pub const fn new(change: Change) -> Self {
        Self {
            wanted: BTreeMap::new(),
            change,
        }
    }

    /// The patient, as the archive knows them: whatever a data set says of those attributes.
    ///
    /// # Errors
    /// [`OverlayError`]: an identifier that a data set cannot hold.
    pub fn with_patient(mut self, patient: &Demographics) -> Result<Self, OverlayError> {
        self.set_text(tags::PATIENT_NAME, Vr::PN, patient.name.value());
        if let Some(latin) = &patient.latin_name {
            self.set_text(tags::OTHER_PATIENT_NAMES, Vr::PN, latin.value());
        }
        let key = patient.key.to_string();
        self.set_text(tags::PATIENT_ID, Vr::LO, &key);
        let archive = Issuer::Archive.to_string();
        self.set_text(tags::ISSUER_OF_PATIENT_ID, Vr::LO, &archive);
        // It tells more of an issuer that is another one now.
        let qualifiers = tags::ISSUER_OF_PATIENT_ID_QUALIFIERS_SEQUENCE;
        self.wanted.insert(qualifiers, Wanted::Nothing);
        let birth_date = patient.birth_date.map(|date| date.into_inner());
        let birth_date = birth_date.map(|date| date.format("%Y%m%d").to_string());
        let birth_date = birth_date.unwrap_or_default();
        self.set_text(tags::PATIENT_BIRTH_DATE, Vr::DA, &birth_date);
        let sex = patient.sex.map_or("", |sex| sex.reveal().code());
        self.set_text(tags::PATIENT_SEX, Vr::CS, sex);
        let others: Result<Vec<_>, _> = patient.identifiers.iter().map(other_id).collect();
        let (tag, others) = (tags::OTHER_PATIENT_I_DS_SEQUENCE, others?);
        self.wanted.insert(
            tag,
            if others.is_empty() {
                Wanted::Nothing
            } else {
                Wanted::Set(Vr::SQ, Value::Items(others))
            },
        );
        Ok(self)
    }

    /// The orders of the study.
    ///
    /// # Errors
    /// [`OverlayError`]: a text that a data set cannot hold.
    pub fn with_order(mut self, order: &Order) -> Result<Self, OverlayError> {
        let id = order.request.examination.to_string();
        self.set_text(tags::ACCESSION_NUMBER, Vr::SH, &id);
        self.set_text(tags::STUDY_ID, Vr::SH, &id);
        let tag = tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE;
        self.set(tag, Vr::SQ, Value::Items(vec![issuer()]));
        if let Some(physician) = &order.referring_physician {
            let tag = tags::REFERRING_PHYSICIAN_NAME;
            self.set_text(tag, Vr::PN, physician.value());
        }
        if let Some(description) = &order.study_description {
            let tag = tags::STUDY_DESCRIPTION;
            self.set_text(tag, Vr::LO, &text::long(tag, description)?);
        }
        if !order.procedure_codes.is_empty() {
            let codes = items(&order.procedure_codes);
            self.set(tags::PROCEDURE_CODE_SEQUENCE, Vr::SQ, codes);
        }
        let requests = std::iter::once(&order.request).chain(&order.further_requests);
        let requests: Result<Vec<_>, _> = requests.map(Request::item).collect();
        let tag = tags::REQUEST_ATTRIBUTES_SEQUENCE;
        self.set(tag, Vr::SQ, Value::Items(requests?));
        Ok(self)
    }

    /// The hospital, where a data set names none.
    ///
    /// # Errors
    /// [`OverlayError`].
    pub fn or_institution(mut self, name: &str) -> Result<Self, OverlayError> {
        let tag = tags::INSTITUTION_NAME;
        let name = text::long(tag, name)?;
        self.fill(tag, Vr::LO, &name);
        Ok(self)
    }

    /// The weight in grams, where a data set has none: what a device used for dose stays.
    #[must_use]
    pub fn or_weight_g(mut self, weight_g: u32) -> Self {
        self.fill(tags::PATIENT_WEIGHT, Vr::DS, &thousandths(weight_g));
        self
    }

    /// The height in millimetres, where a data set has none.
    #[must_use]
    pub fn or_size_mm(mut self, size_mm: u32) -> Self {
        self.fill(tags::PATIENT_SIZE, Vr::DS, &thousandths(size_mm));
        self
    }

    /// What it says of those attributes for which `has_place` is true: for an index, which does not
    /// look at data sets again.
    #[must_use]
    pub fn correction(&self, has_place: impl Fn(Tag) -> bool) -> Correction {
        let mut correction = Correction::default();
        for (tag, wanted) in self.wanted.iter().filter(|(tag, _)| has_place(**tag)) {
            match wanted {
                Wanted::Fill(vr, value) => correction.filled.insert(*tag, *vr, value.clone()),
                Wanted::Nothing => correction.removed.push((tag.group(), tag.element())),
                Wanted::Set(vr, value) => correction.set.insert(*tag, *vr, value.clone()),
            }
        }
        correction
    }

    /// Bytes by which it is told from all others, to make a digest of: they hold patient data.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, wanted) in &self.wanted {
            let (kind, vr, value) = match wanted {
                Wanted::Fill(vr, value) => (b'f', *vr, Some(value)),
                Wanted::Nothing => (b'n', Vr::UN, None),
                Wanted::Set(vr, value) => (b's', *vr, Some(value)),
            };
            put_identity(&mut out, *tag, vr);
            out.push(kind);
            if let Some(value) = value {
                put_value(&mut out, value);
            }
        }
        // No tag: what follows is of the change.
        out.extend_from_slice(&[0; 4]);
        put_value(&mut out, &Value::Items(vec![self.change.attributes()]));
        out
    }

    /// What is wanted, in order of tags.
    pub(super) const fn wanted(&self) -> &BTreeMap<Tag, Wanted> {
        &self.wanted
    }

    pub(super) const fn change(&self) -> &Change {
        &self.change
    }

    fn set(&mut self, tag: Tag, vr: Vr, value: Value) {
        self.wanted.insert(tag, Wanted::Set(vr, value));
    }

    fn set_text(&mut self, tag: Tag, vr: Vr, text: &str) {
        self.set(tag, vr, Value::Text(text.into()));
    }

    fn fill(&mut self, tag: Tag, vr: Vr, text: &str) {
        let value = Value::Text(text.into());
        self.wanted.insert(tag, Wanted::Fill(vr, value));
    }
}

fn put_identity(out: &mut Vec<u8>, tag: Tag, vr: Vr) {
    out.extend_from_slice(&tag.group().to_be_bytes());
    out.extend_from_slice(&tag.element().to_be_bytes());
    out.extend_from_slice(&vr.to_bytes());
}

/// With counts, so that no two values are the same bytes. No deeper than what was made here.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    let count = |out: &mut Vec<u8>, count: usize| {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        out.extend_from_slice(&count.to_be_bytes());
    };
    match value {
        Value::Suspect(text) | Value::Text(text) => {
            out.push(b't');
            count(out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        Value::Items(items) => {
            out.push(b'i');
            count(out, items.len());
            for item in items {
                count(out, item.len());
                for attribute in item {
                    put_identity(out, attribute.tag, attribute.vr);
                    put_value(out, &attribute.value);
                }
            }
        }
    }
}

/// An item of Other Patient IDs Sequence (PS3.3 C.2.2).
fn other_id(identifier: &Identifier) -> Result<Attributes, OverlayError> {
    let id = match identifier {
        Identifier::Card { number, .. } => text::long(tags::PATIENT_ID, number)?,
        Identifier::Document(document) => document.reveal().into(),
        Identifier::Key(PatientKey::Known(number)) => number.to_string().into(),
        Identifier::Key(PatientKey::Unidentified(number)) => number.to_string().into(),
        Identifier::Pin(pin) => pin.reveal().into(),
    };
    let mut item = Attributes::new();
    item.insert_text(tags::PATIENT_ID, Vr::LO, id);
    let issuer = identifier.issuer().to_string();
    item.insert_text(tags::ISSUER_OF_PATIENT_ID, Vr::LO, issuer);
    item.insert_text(tags::TYPE_OF_PATIENT_ID, Vr::CS, "TEXT");
    Ok(item)
}

/// A number of thousandths as a decimal string (PS3.5 6.2, DS).
fn thousandths(number: u32) -> String {
    let (whole, rest) = (
        number.checked_div(1000).unwrap_or_default(),
        number.checked_rem(1000).unwrap_or_default(),
    );
    let text = format!("{whole}.{rest:03}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay")
            .field("tags", &self.wanted.keys().collect::<Vec<_>>())
            .field("change", &self.change)
            .finish()
    }
}
