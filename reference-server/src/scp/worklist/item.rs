//! An examination and its patient, as a worklist has them.

use chrono::NaiveDateTime;
use pacs_core::Phi;
use pacs_core::device::Listing;
use pacs_core::examination::reconcile::Kind;
use pacs_core::examination::{Side, Status};
use pacs_core::worklist::{
    Code, Institution, Priority, Procedure, Spelled, StepStatus, WorklistItem, WorklistPatient,
};
use pacs_store::registry::Moment;
use pacs_store::registry::devices::Device;
use pacs_store::registry::examinations::{self, BodyRegion, Examination, Order, Scheduled};
use pacs_store::registry::organisations::Organisation;
use pacs_store::registry::patients::PersonName;

/// The scheme of our own codes.
const OWN_SCHEME: &str = "99KGPACS";

/// Characters of a Code Value (PS3.5 6.2, SH).
const CODE_CHARS_MAX: usize = 16;

/// The hospital where an examination is made.
pub(super) fn institution(organisation: &Organisation) -> Institution {
    let address = format!("{}, {}", organisation.city_ru, organisation.address_ru);
    Institution {
        name: Spelled::with_latin(
            &organisation.dicom_institution_name,
            &organisation.dicom_institution_name_ascii,
        ),
        address: Spelled::new(address.trim_matches([' ', ','])),
        department: Spelled::default(),
    }
}

/// What decides until when a device sees it.
pub(crate) fn listing(examination: &Examination) -> Listing {
    let local = |at: Option<Moment>| at.map(|at: Moment| -> NaiveDateTime { at.naive_local() });
    Listing {
        status: examination.status(),
        is_expired: examination.progress.is_expired(),
        scheduled_at: examination.order.scheduled_at,
        began_at: local(examination.began_at),
        ended_at: None,
        first_image_at: local(examination.first_image_at),
        received_at: local(examination.received_at),
    }
}

/// What a device is told.
pub(super) fn item(
    scheduled: &Scheduled,
    device: &Device,
    institution: &Institution,
) -> WorklistItem {
    let examination = &scheduled.examination.value;
    let order = &examination.order;
    let modality = modality(&order.kind, device);
    WorklistItem {
        examination: examination.id,
        step: examination.step(),
        planned_study: examination.planned_study.clone(),
        scheduled_at: order.scheduled_at,
        modality: modality.into(),
        stations: order.station.iter().cloned().collect(),
        status: if examination.status() == Status::Scheduled {
            StepStatus::Scheduled
        } else {
            StepStatus::Started
        },
        procedure: procedure(order, modality),
        patient: patient(scheduled),
        institution: institution.clone(),
    }
}

/// X-ray pictures are one kind of many names: a device that makes them is told its own.
fn modality<'a>(kind: &'a Kind, device: &'a Device) -> &'a str {
    match kind {
        Kind::XRay if Kind::of_modality(&device.modality) == Some(Kind::XRay) => &device.modality,
        Kind::Ct | Kind::Mr | Kind::Other(_) | Kind::XRay | _ => usual_modality(kind),
    }
}

/// What a kind of images is called where nobody asks for a device.
pub(crate) fn usual_modality(kind: &Kind) -> &str {
    match kind {
        Kind::Ct => "CT",
        Kind::Mr => "MR",
        Kind::Other(modality) => modality,
        Kind::XRay | _ => "DX",
    }
}

fn procedure(order: &Order, modality: &str) -> Procedure {
    Procedure {
        description: description(order, modality),
        codes: order
            .regions
            .iter()
            .flat_map(|region| codes(region, modality))
            .collect(),
        priority: match order.priority {
            examinations::Priority::High => Priority::High,
            examinations::Priority::Routine => Priority::Routine,
            examinations::Priority::Stat => Priority::Stat,
        },
        reason: Spelled::new(&order.complaints),
        contrast_agent: Spelled::new(&order.contrast),
        referring_physician: name(order.referring_physician.as_ref(), None),
        requesting_physician: name(order.referring_physician.as_ref(), None),
        requesting_service: Spelled::new(&order.department),
        placer_order_number: Spelled::new(&order.placer_number),
        admission_id: Spelled::new(&order.card_number),
        patient_location: Spelled::new(&order.ward),
        ..Procedure::default()
    }
}

fn patient(scheduled: &Scheduled) -> WorklistPatient {
    let (patient, order) = (&scheduled.patient.value, &scheduled.examination.value.order);
    let who = &patient.particulars;
    WorklistPatient {
        key: patient.key,
        name: name(Some(&who.name), Some(&who.latin_name())),
        pin: who.pin.clone(),
        birth_date: who.birth_date.map(Phi::new),
        sex: who.sex,
        weight_g: order
            .weight_tenths_kg
            .map(|tenths| u32::from(tenths).saturating_mul(100)),
        height_mm: order.size_cm.map(|cm| u32::from(cm).saturating_mul(10)),
        pregnancy: order.pregnancy,
        confidentiality: Spelled::default(),
        state: Spelled::default(),
        alerts: Spelled::default(),
        allergies: Spelled::new(&order.allergies),
        special_needs: Spelled::default(),
        history: Spelled::new(&order.anamnesis),
    }
}

fn name(own: Option<&PersonName>, latin: Option<&PersonName>) -> Spelled {
    let own = own.map(PersonName::person_name).unwrap_or_default();
    match latin {
        Some(latin) => Spelled::with_latin(&own, &latin.person_name()),
        None => Spelled::new(&own),
    }
}

/// «КТ: грудная клетка», and in English for devices without Cyrillic.
fn description(order: &Order, modality: &str) -> Spelled {
    let [own, latin] = descriptions(order, modality);
    Spelled::with_latin(&own, &latin)
}

/// The same, in Russian and in English.
pub(crate) fn descriptions(order: &Order, modality: &str) -> [String; 2] {
    let kind = match order.kind {
        Kind::Ct => "КТ",
        Kind::Mr => "МРТ",
        Kind::XRay => "Рентген",
        Kind::Other(_) | _ => modality,
    };
    let all = |words: &dyn Fn(&BodyRegion) -> String| {
        order
            .regions
            .iter()
            .map(words)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let own = all(&|region| {
        let part = in_russian(region.part.term()).unwrap_or(region.part.meaning());
        let side = match region.side {
            Some(Side::Both) => ", обе стороны",
            Some(Side::Left) => ", слева",
            Some(Side::Right) => ", справа",
            Some(Side::Unilateral) | None => "",
        };
        format!("{part}{side}")
    });
    let latin = all(&|region| {
        let side = match region.side {
            Some(side @ (Side::Both | Side::Left | Side::Right)) => format!(", {}", side.code().1),
            Some(Side::Unilateral) | None => String::new(),
        };
        format!("{}{side}", region.part.meaning())
    });
    [format!("{kind}: {own}"), format!("{modality}: {latin}")]
}

fn codes(region: &BodyRegion, modality: &str) -> Vec<Code> {
    let codes = coded(region, modality).into_iter();
    let codes = codes.map(|(value, scheme, [own, latin])| Code {
        value: value.into(),
        scheme: scheme.into(),
        meaning: Spelled::with_latin(&own, &latin),
    });
    codes.collect()
}

/// The codes of what is to be done to a body part, each with its scheme and its meaning in Russian
/// and in English: ours for kind of images and body part, where it fits, and that of SNOMED CT for
/// the body part.
pub(crate) fn coded(
    region: &BodyRegion,
    modality: &str,
) -> Vec<(String, &'static str, [String; 2])> {
    let part = region.part;
    let own = format!("{modality}-{}", part.code());
    let (russian, english) = (
        in_russian(part.term()).unwrap_or(part.meaning()),
        part.meaning(),
    );
    let mut codes = Vec::new();
    if own.len() <= CODE_CHARS_MAX {
        let meaning = [russian, english].map(|part| format!("{modality}: {part}"));
        codes.push((own, OWN_SCHEME, meaning));
    }
    let meaning = [russian, english].map(str::to_owned);
    codes.push((part.code().to_owned(), "SCT", meaning));
    codes
}

/// The body part of a term of Body Part Examined, in Russian.
fn in_russian(term: &str) -> Option<&'static str> {
    Some(match term {
        "HEAD" => "голова",
        "SKULL" => "череп",
        "PARANASALSINUS" => "придаточные пазухи носа",
        "ORBIT" => "глазница",
        "FACE" => "кости лица",
        "NECK" => "шея",
        "CHEST" => "грудная клетка",
        "HEART" => "сердце",
        "BREAST" => "молочная железа",
        "ABDOMEN" => "брюшная полость",
        "PELVIS" => "таз",
        "ABDOMENPELVIS" => "брюшная полость и таз",
        "CHESTABDPELVIS" => "грудная клетка, брюшная полость и таз",
        "CSPINE" => "шейный отдел позвоночника",
        "TSPINE" => "грудной отдел позвоночника",
        "LSPINE" => "поясничный отдел позвоночника",
        "LSSPINE" => "пояснично-крестцовый отдел позвоночника",
        "SHOULDER" => "плечевой сустав",
        "ELBOW" => "локтевой сустав",
        "FOREARM" => "предплечье",
        "WRIST" => "лучезапястный сустав",
        "HAND" => "кисть",
        "HIP" => "тазобедренный сустав",
        "FEMUR" => "бедро",
        "KNEE" => "коленный сустав",
        "LEG" => "голень",
        "ANKLE" => "голеностопный сустав",
        "FOOT" => "стопа",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::examination::BodyPart;

    #[test]
    fn every_body_part_of_the_form_has_its_russian_name() {
        for part in BodyPart::all() {
            assert!(in_russian(part.term()).is_some(), "{part:?}");
        }
        assert_eq!(in_russian("TOOTH"), None);
    }
}
