//! What data sets say on their way out, as the registry knows it: who the patient is, and what was
//! ordered.
//!
//! A study that nobody has matched yet, or of which a person has to say whose it is, is given as it
//! came: nobody is to read a name there that may be another's.

use crate::scp::worklist::item::{coded, descriptions, usual_modality};
use async_trait::async_trait;
use pacs_core::Phi;
use pacs_core::coerce::{
    Change, Code, Demographics, Order, Overlay, OverlayError, PersonName, Reason, Request,
};
use pacs_core::patient::Identifier;
use pacs_core::role::{Agent, Licence, Unlicensed, duty::Reconcile};
use pacs_core::uid::StudyUid;
use pacs_store::egress::{Overlays, OverlaysError, StudyOverlays};
use pacs_store::registry::Registry;
use pacs_store::registry::examinations::{BoundStudy, Examination, KnownStudy, StudyMatch};
use pacs_store::registry::patients;
use std::sync::Arc;

/// Characters of an LO (PS3.5 6.2).
const LONG_CHARS_MAX: usize = 64;

/// Overlays of what a registry knows.
#[derive(Debug)]
pub struct RegistryOverlays {
    registry: Registry,
    licence: Licence<Reconcile>,
}

impl RegistryOverlays {
    /// Of `registry`.
    ///
    /// # Errors
    /// [`Unlicensed`] where the table of roles does not let the archive itself read it.
    pub fn new(registry: Registry) -> Result<Self, Unlicensed> {
        Ok(Self {
            registry,
            licence: Agent::system("egress").national_licence()?,
        })
    }
}

#[async_trait]
impl Overlays for RegistryOverlays {
    async fn overlays(&self, study: &StudyUid) -> Result<StudyOverlays, OverlaysError> {
        let known = self.registry.known_study(&self.licence, study).await;
        let known = known.map_err(|error| OverlaysError(Box::new(error)))?;
        let Some(known) = known else {
            return Ok(StudyOverlays::default());
        };
        let said = |known: &KnownStudy| -> Result<StudyOverlays, OverlayError> {
            let rest = overlay_of(known)?.map(Arc::new);
            let mut all = StudyOverlays::of_all(rest);
            for part in &known.parts {
                let overlay = Arc::new(overlay(&known.study, &part.bound)?);
                all = all.but(part.series.iter().cloned(), Some(&overlay));
            }
            Ok(all)
        };
        said(&known).map_err(|error| OverlaysError(Box::new(error)))
    }
}

/// What the data sets of a study are to say, but those of series that were split off; `None`: what
/// they say.
///
/// # Errors
/// [`OverlayError`] where the registry has a text that a data set cannot hold.
pub fn overlay_of(known: &KnownStudy) -> Result<Option<Overlay>, OverlayError> {
    let bound = known.bound.as_ref().filter(|_| !known.is_in_question());
    bound.map(|bound| overlay(&known.study, bound)).transpose()
}

/// What those of an examination say.
fn overlay(study: &StudyMatch, bound: &BoundStudy) -> Result<Overlay, OverlayError> {
    let overlay = Overlay::new(change(study, bound)?)
        .with_patient(&demographics(&bound.patient)?)?
        .with_order(&order(&bound.examination)?)?;
    let mut overlay = match cut(&bound.performing.dicom_institution_name) {
        name if name.is_empty() => overlay,
        name => overlay.or_institution(&name)?,
    };
    let order = &bound.examination.order;
    if let Some(tenths) = order.weight_tenths_kg {
        overlay = overlay.or_weight_g(u32::from(tenths).saturating_mul(100));
    }
    if let Some(cm) = order.size_cm {
        overlay = overlay.or_size_mm(u32::from(cm).saturating_mul(10));
    }
    Ok(overlay)
}

fn change(study: &StudyMatch, bound: &BoundStudy) -> Result<Change, OverlayError> {
    // A person gave a reason, the archive does not.
    let reason = if study.reason.is_some() {
        Reason::Correct
    } else {
        Reason::Coerce
    };
    let at = study.decided_at.max(bound.patient_changed_at);
    let source = cut(&bound.performing.dicom_institution_name_ascii);
    Change::new(reason, at).from_source(&source)
}

/// Who the patient is.
pub(crate) fn demographics(patient: &patients::Patient) -> Result<Demographics, OverlayError> {
    let who = &patient.particulars;
    Ok(Demographics {
        name: name(&who.name)?,
        latin_name: latin_name(who.latin_name()),
        key: patient.key,
        identifiers: who.pin.iter().cloned().map(Identifier::Pin).collect(),
        birth_date: who.birth_date.map(Phi::new),
        sex: who.sex.map(Phi::new),
    })
}

/// As much of the name in Latin letters as a data set holds: transliterated it is longer than it
/// was typed.
fn latin_name(mut latin: patients::PersonName) -> Option<PersonName> {
    if let Ok(whole) = name(&latin) {
        return Some(whole);
    }
    let initial: String = latin.patronymic.chars().take(1).collect();
    for patronymic in [initial, String::new()] {
        latin.patronymic = patronymic;
        if let Ok(shorter) = name(&latin) {
            return Some(shorter);
        }
    }
    None
}

fn name(name: &patients::PersonName) -> Result<PersonName, OverlayError> {
    PersonName::new(&name.family, &name.given, &name.patronymic)
}

/// What was ordered.
pub(crate) fn order(examination: &Examination) -> Result<Order, OverlayError> {
    let order = &examination.order;
    let modality = usual_modality(&order.kind);
    let [own, _] = descriptions(order, modality);
    let description: Box<str> = cut(&own).into();
    let regions = order.regions.iter();
    let codes = regions.flat_map(|region| coded(region, modality));
    let codes: Result<Vec<Code>, OverlayError> = codes
        .map(|(value, scheme, [own, _])| Code::new(&value, scheme, &cut(&own)))
        .collect();
    let codes = codes?;
    let physician = order.referring_physician.as_ref();
    Ok(Order {
        request: Request {
            step: Some(examination.step()),
            description: Some(description.clone()),
            codes: codes.clone(),
            ..Request::new(examination.id)
        },
        further_requests: Vec::new(),
        referring_physician: physician.map(name).transpose()?,
        study_description: Some(description),
        procedure_codes: codes,
    })
}

/// As much of a text as an LO holds.
fn cut(text: &str) -> String {
    text.trim().chars().take(LONG_CHARS_MAX).collect()
}
