//! What a console asks for (PS3.4 K.4.1.1.3), and which items that means.

use super::WorklistItem;
use crate::device::DeviceProfile;
use crate::encode::{EncodeError, write_data_set, write_data_set_in};
use crate::fold::matching_key;
use crate::limits::QueryLimits;
use crate::matching::Matcher;
use crate::patient::PatientKey;
use crate::query::{Identifier, keys_as_attributes, put};
use crate::tag::{Tag, Vr, keyword_of, tags};
use crate::{
    AeTitle, Attributes, ExaminationId, Key, Level, Matching, Phi, Query, QueryError,
    TransferSyntaxUid, Value,
};
use chrono::NaiveDate;
use std::ops::RangeInclusive;

/// Attributes of the root, in tag order; whether they are matched, or only answered.
const ROOT: [(Tag, bool); 38] = [
    (tags::ACCESSION_NUMBER, true),
    (tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, false),
    (tags::INSTITUTION_NAME, false),
    (tags::INSTITUTION_ADDRESS, false),
    (tags::REFERRING_PHYSICIAN_NAME, true),
    (tags::INSTITUTIONAL_DEPARTMENT_NAME, false),
    (tags::REFERENCED_STUDY_SEQUENCE, false),
    (tags::REFERENCED_PATIENT_SEQUENCE, false),
    (tags::PATIENT_NAME, true),
    (tags::PATIENT_ID, true),
    (tags::ISSUER_OF_PATIENT_ID, true),
    (tags::PATIENT_BIRTH_DATE, true),
    (tags::PATIENT_SEX, true),
    (tags::OTHER_PATIENT_I_DS_SEQUENCE, false),
    (tags::PATIENT_SIZE, false),
    (tags::PATIENT_WEIGHT, false),
    (tags::MEDICAL_ALERTS, false),
    (tags::ALLERGIES, false),
    (tags::ADDITIONAL_PATIENT_HISTORY, false),
    (tags::PREGNANCY_STATUS, false),
    (tags::STUDY_INSTANCE_UID, true),
    (tags::REQUESTING_PHYSICIAN, true),
    (tags::REQUESTING_SERVICE, true),
    (tags::REQUESTED_PROCEDURE_DESCRIPTION, true),
    (tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, false),
    (tags::ADMISSION_ID, true),
    (tags::SPECIAL_NEEDS, false),
    (tags::CURRENT_PATIENT_LOCATION, true),
    (tags::PATIENT_STATE, false),
    (tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE, true),
    (tags::REQUESTED_PROCEDURE_ID, true),
    (tags::REASON_FOR_THE_REQUESTED_PROCEDURE, false),
    (tags::REQUESTED_PROCEDURE_PRIORITY, true),
    (tags::PATIENT_TRANSPORT_ARRANGEMENTS, false),
    (tags::REQUESTED_PROCEDURE_COMMENTS, false),
    (tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, true),
    (tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, true),
    (
        tags::CONFIDENTIALITY_CONSTRAINT_ON_PATIENT_DATA_DESCRIPTION,
        false,
    ),
];

/// Attributes of the item of the Scheduled Procedure Step Sequence.
const STEP: [(Tag, bool); 14] = [
    (tags::MODALITY, true),
    (tags::REQUESTED_CONTRAST_AGENT, false),
    (tags::SCHEDULED_STATION_AE_TITLE, true),
    (tags::SCHEDULED_PROCEDURE_STEP_START_DATE, true),
    (tags::SCHEDULED_PROCEDURE_STEP_START_TIME, true),
    (tags::SCHEDULED_PERFORMING_PHYSICIAN_NAME, true),
    (tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION, true),
    (tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE, false),
    (tags::SCHEDULED_PROCEDURE_STEP_ID, true),
    (tags::SCHEDULED_STATION_NAME, true),
    (tags::SCHEDULED_PROCEDURE_STEP_LOCATION, true),
    (tags::PRE_MEDICATION, false),
    (tags::SCHEDULED_PROCEDURE_STEP_STATUS, true),
    (tags::COMMENTS_ON_THE_SCHEDULED_PROCEDURE_STEP, false),
];

const CODE: [(Tag, bool); 3] = [
    (tags::CODE_VALUE, false),
    (tags::CODING_SCHEME_DESIGNATOR, false),
    (tags::CODE_MEANING, false),
];

const ISSUER: [(Tag, bool); 1] = [(tags::LOCAL_NAMESPACE_ENTITY_ID, false)];

const IDENTIFIER: [(Tag, bool); 3] = [
    (tags::PATIENT_ID, false),
    (tags::ISSUER_OF_PATIENT_ID, false),
    (tags::TYPE_OF_PATIENT_ID, false),
];

const REFERENCE: [(Tag, bool); 2] = [
    (tags::REFERENCED_SOP_CLASS_UID, false),
    (tags::REFERENCED_SOP_INSTANCE_UID, false),
];

/// What items of a sequence have.
const fn attributes_of(sequence: Tag) -> &'static [(Tag, bool)] {
    match sequence {
        tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE => &STEP,
        tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE => &ISSUER,
        tags::OTHER_PATIENT_I_DS_SEQUENCE => &IDENTIFIER,
        tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE | tags::REQUESTED_PROCEDURE_CODE_SEQUENCE => &CODE,
        _ => &REFERENCE,
    }
}

/// The one thing that a query is about, by which its items are found without a look at all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorklistSubject {
    /// An examination: no other has its Accession Number, Requested Procedure ID or Scheduled
    /// Procedure Step ID.
    Examination(ExaminationId),
    /// A patient: no other has this Patient ID.
    Patient(PatientKey),
}

/// A query of the Modality Worklist Information Model, as its provider reads it.
#[derive(Debug, Clone)]
pub struct WorklistQuery {
    /// What is to be answered.
    keys: Vec<Key>,
    matcher: Matcher,
    /// As `matcher`, without the station: for steps that any device may make.
    matcher_without_station: Matcher,
    has_unsupported_keys: bool,
}

impl WorklistQuery {
    /// Reads the identifier of a C-FIND request. What worklists do not have is left out, and what
    /// they do not match is answered for all; [`Self::has_unsupported_keys`] tells.
    ///
    /// # Errors
    /// [`QueryError`], naming the key.
    pub fn read(
        identifier: &[u8],
        transfer_syntax: &TransferSyntaxUid,
        limits: &QueryLimits,
    ) -> Result<Self, QueryError> {
        let mut keys = Identifier::read(identifier, transfer_syntax, limits)?.keys;
        let mut has_unsupported_keys = false;
        confine(&mut keys, &ROOT, &mut has_unsupported_keys);
        let of = |keys: Vec<Key>| {
            let level = Level::Study;
            Matcher::new(&Query { level, keys })
        };
        let mut without_station = keys.clone();
        for key in &mut without_station {
            if let Matching::Sequence(step) = &mut key.matching {
                step.retain(|key| key.tag != tags::SCHEDULED_STATION_AE_TITLE);
            }
        }
        Ok(Self {
            matcher: of(keys.clone()),
            matcher_without_station: of(without_station),
            keys,
            has_unsupported_keys,
        })
    }

    /// Whether something was asked for that worklists do not have or do not match: pending
    /// responses then say FF01H.
    #[must_use]
    pub const fn has_unsupported_keys(&self) -> bool {
        self.has_unsupported_keys
    }

    /// What is asked, for the audit record: keywords with what they must match.
    #[must_use]
    pub fn describe(&self) -> Phi<String> {
        let mut asked = Vec::new();
        describe(&self.keys, &mut asked);
        Phi::new(asked.join("; "))
    }

    /// The days on which steps begin that can match: those the query names, else those that the
    /// profile has.
    #[must_use]
    pub fn days(&self, profile: &DeviceProfile, today: NaiveDate) -> RangeInclusive<NaiveDate> {
        let step = self.step_keys().iter();
        let named = step
            .filter(|key| key.tag == tags::SCHEDULED_PROCEDURE_STEP_START_DATE)
            .find_map(|key| days(&key.matching));
        named.unwrap_or_else(|| {
            let (first, last) = profile.window.around(today);
            first..=last
        })
    }

    /// What it is about, where it names that; all else that it asks still has to match.
    #[must_use]
    pub fn subject(&self) -> Option<WorklistSubject> {
        let named = |keys: &[Key], tag| {
            let key = keys.iter().find(|key| key.tag == tag)?;
            if let Matching::SingleValue(text) = &key.matching {
                return Some(text.trim().to_owned());
            }
            None
        };
        let step = named(self.step_keys(), tags::SCHEDULED_PROCEDURE_STEP_ID);
        let step = step.and_then(|step| Some(step.split_once('-')?.0.to_owned()));
        let of_root = [tags::ACCESSION_NUMBER, tags::REQUESTED_PROCEDURE_ID];
        let ids = of_root.into_iter().filter_map(|tag| named(&self.keys, tag));
        let mut ids = ids.chain(step);
        if let Some(id) = ids.find_map(|id| ExaminationId::try_from(id).ok()) {
            return Some(WorklistSubject::Examination(id));
        }
        let patient = named(&self.keys, tags::PATIENT_ID)?;
        PatientKey::parse(&patient)
            .ok()
            .map(WorklistSubject::Patient)
    }

    fn step_keys(&self) -> &[Key] {
        let is_step = |key: &&Key| key.tag == tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE;
        match self.keys.iter().find(is_step).map(|key| &key.matching) {
            Some(Matching::Sequence(keys)) => keys,
            _ => &[],
        }
    }

    /// The answer for `item` to a device with `profile` that calls itself `calling`; `None` where
    /// the query does not mean it. It has what was asked for and nothing else. Whether the day is
    /// within [`Self::days`] is for the caller to see.
    #[must_use]
    pub fn answer(
        &self,
        item: &WorklistItem,
        profile: &DeviceProfile,
        calling: &AeTitle,
    ) -> Option<Attributes> {
        let matcher = if item.stations.is_empty() {
            &self.matcher_without_station
        } else {
            &self.matcher
        };
        if !matcher.keys().is_empty() && !matcher.matches(&item.to_match(profile, calling)) {
            return None;
        }
        let all = item.attributes(profile, calling, false);
        Some(select(&self.keys, &all))
    }

    /// Writes an answer, in the characters of the device.
    ///
    /// # Errors
    /// [`EncodeError`], naming the attribute.
    pub fn write_answer(
        answer: &Attributes,
        profile: &DeviceProfile,
        transfer_syntax: &TransferSyntaxUid,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        let repertoire = profile.charset.repertoire();
        write_data_set_in(&mut out, answer, transfer_syntax, repertoire)?;
        Ok(out)
    }
}

impl WorklistItem {
    /// What queries are matched with: names in every form, and every device that the step is for.
    fn to_match(&self, profile: &DeviceProfile, calling: &AeTitle) -> Attributes {
        let mut attributes = self.attributes(profile, calling, true);
        if let [step] = attributes.items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE)
            && self.stations.len() > 1
        {
            let titles: Vec<&str> = self.stations.iter().map(AeTitle::as_str).collect();
            let mut step = step.clone();
            step.insert_text(tags::SCHEDULED_STATION_AE_TITLE, Vr::AE, titles.join("\\"));
            let tag = tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE;
            attributes.insert(tag, Vr::SQ, Value::Items(vec![step]));
        }
        attributes
    }
}

fn describe(keys: &[Key], asked: &mut Vec<String>) {
    for key in keys {
        if let Matching::Sequence(inner) = &key.matching {
            describe(inner, asked);
        } else if key.matching != Matching::Universal {
            let keyword = keyword_of(key.tag).unwrap_or_default();
            asked.push(format!("{keyword}={}", key.matching.to_text()));
        }
    }
}

/// Leaves in `keys` what is there to answer, and of that only what is matched with a condition.
fn confine(keys: &mut Vec<Key>, known: &[(Tag, bool)], has_unsupported: &mut bool) {
    keys.retain_mut(|key| {
        let Some((_, is_matched)) = known.iter().find(|(tag, _)| *tag == key.tag) else {
            *has_unsupported = true;
            return false;
        };
        if let Matching::Sequence(inner) = &mut key.matching {
            confine(inner, attributes_of(key.tag), has_unsupported);
        } else if !is_matched && key.matching != Matching::Universal {
            *has_unsupported = true;
            key.matching = Matching::Universal;
        }
        true
    });
}

/// What was asked for; a sequence of which nothing in particular was, whole.
fn select(keys: &[Key], all: &Attributes) -> Attributes {
    let mut answer = Attributes::with_capacity(keys.len());
    for key in keys {
        let Some(attribute) = all.get(key.tag) else {
            continue;
        };
        let value = match (&attribute.value, &key.matching) {
            (Value::Items(items), Matching::Sequence(inner)) => {
                Value::Items(items.iter().map(|item| select(inner, item)).collect())
            }
            (value, _) => value.clone(),
        };
        answer.insert(attribute.tag, attribute.vr, value);
    }
    answer
}

/// The days that a condition on a date leaves; `None` where it leaves all.
fn days(matching: &Matching) -> Option<RangeInclusive<NaiveDate>> {
    let day = |text: &str| {
        let digits = matching_key(Vr::DA, text);
        NaiveDate::parse_from_str(&digits, "%Y%m%d").ok()
    };
    match matching {
        Matching::SingleValue(text) => day(text).map(|day| day..=day),
        Matching::Range { from, to } => {
            let first = from.as_deref().and_then(day).unwrap_or(NaiveDate::MIN);
            let last = to.as_deref().and_then(day).unwrap_or(NaiveDate::MAX);
            Some(first..=last)
        }
        Matching::AnyOf(alternatives) => {
            let all = alternatives.iter().filter_map(days);
            all.reduce(|a, b| {
                let first = *a.start().min(b.start());
                let last = *a.end().max(b.end());
                first..=last
            })
        }
        Matching::Sequence(_)
        | Matching::UidList(_)
        | Matching::Universal
        | Matching::WildCard(_) => None,
    }
}

/// What a worklist is asked for, as its user writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorklistKeys {
    root: Vec<Key>,
    step: Vec<Key>,
}

impl WorklistKeys {
    /// Asks for every attribute that worklists have, and matches nothing.
    #[must_use]
    pub fn all() -> Self {
        let mut keys = Self::default();
        for (tag, _) in ROOT {
            if tag != tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE {
                put(&mut keys.root, universal(tag));
            }
        }
        for (tag, _) in STEP {
            put(&mut keys.step, universal(tag));
        }
        keys
    }

    /// Adds a key to match, in the place that it has in the model; wild cards and ranges as DICOM
    /// writes them.
    ///
    /// # Errors
    /// As [`Key::new`].
    pub fn key(mut self, tag: Tag, text: &str) -> Result<Self, QueryError> {
        let key = Key::new(tag, text)?;
        let of_step = STEP.iter().any(|(of_step, _)| *of_step == tag);
        put(
            if of_step {
                &mut self.step
            } else {
                &mut self.root
            },
            key,
        );
        Ok(self)
    }

    /// The identifier that asks this.
    ///
    /// # Errors
    /// [`EncodeError`] where the text of a key cannot be written as its VR.
    pub fn to_identifier(
        &self,
        transfer_syntax: &TransferSyntaxUid,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut keys = self.root.clone();
        let step = Key {
            tag: tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE,
            vr: Vr::SQ,
            matching: Matching::Sequence(self.step.clone()),
        };
        put(&mut keys, step);
        write_data_set(&keys_as_attributes(&keys, 0)?, transfer_syntax)
    }
}

/// A key that is only to be returned, with every attribute of its items where it is a sequence.
fn universal(tag: Tag) -> Key {
    let key = Key::universal(tag);
    if key.vr != Vr::SQ {
        return key;
    }
    let inner = attributes_of(tag).iter().map(|(tag, _)| universal(*tag));
    Key {
        matching: Matching::Sequence(inner.collect()),
        ..key
    }
}
