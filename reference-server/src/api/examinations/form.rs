//! The form of an examination as it is typed.

use crate::api::patients::TypedName;
use crate::api::problem::codes;
use crate::api::{Api, Problem};
use chrono::{DateTime, FixedOffset, NaiveDateTime};
use pacs_core::examination::reconcile::Kind;
use pacs_core::examination::{BodyPart, Side};
use pacs_core::worklist::Pregnancy;
use pacs_core::{AeTitle, DepartmentCode, OrganisationCode};
use pacs_store::registry::RegistryError;
use pacs_store::registry::examinations::{BodyRegion, Order, Priority};
use serde::Deserialize;
use serde_json::Number;

/// A body part, and which side of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedRegion {
    part: BodyPart,
    #[serde(default)]
    side: Option<Side>,
}

/// A number with a point, or as a text with a comma.
#[derive(Deserialize)]
#[serde(untagged)]
enum Decimal {
    Number(Number),
    Text(String),
}

impl Decimal {
    /// In tenths; `None` where it has more digits than that, or is no number.
    fn tenths(&self) -> Option<u16> {
        let text = match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.trim().replace(',', "."),
        };
        let (whole, part) = text.split_once('.').unwrap_or((&text, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(part) {
            return None;
        }
        let (tenth, rest) = part.split_at_checked(1)?;
        if rest.bytes().any(|b| b != b'0') {
            return None;
        }
        let whole: u16 = whole.parse().ok()?;
        whole.checked_mul(10)?.checked_add(tenth.parse().ok()?)
    }
}

/// The form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Form {
    kind: String,
    regions: Vec<TypedRegion>,
    #[serde(default)]
    scheduled_at: Option<DateTime<FixedOffset>>,
    #[serde(default)]
    priority: Priority,
    #[serde(default)]
    station: Option<String>,
    #[serde(default)]
    weight_kg: Option<Decimal>,
    #[serde(default)]
    size_cm: Option<u16>,
    #[serde(default)]
    complaints: String,
    #[serde(default)]
    anamnesis: String,
    #[serde(default)]
    contrast: String,
    #[serde(default)]
    allergies: String,
    #[serde(default)]
    pregnancy: Option<Pregnancy>,
    #[serde(default)]
    referring_physician: Option<TypedName>,
    #[serde(default)]
    department: String,
    #[serde(default)]
    performing_department: Option<String>,
    #[serde(default)]
    ordering_department: Option<String>,
    #[serde(default)]
    ward: String,
    #[serde(default)]
    card_number: String,
    #[serde(default)]
    placer_number: String,
    /// Somebody said that it is meant, though the patient has an open one of this kind.
    #[serde(default)]
    pub(super) is_meant_twice: bool,
}

/// The kind of images that a word of the form stands for: `ct`, `mr`, `xray`, or a Modality.
pub(in crate::api) fn kind(word: &str) -> Option<Kind> {
    Kind::of_word(word)
}

/// The word of a kind.
pub(super) fn word(kind: &Kind) -> String {
    kind.word().to_owned()
}

impl Form {
    /// What it says. A station is a device of the organisation that makes the images, and of no
    /// other department of it. What has no
    /// time is planned for now, or for when `planned` says that it was.
    pub(super) async fn read(
        &self,
        api: &Api,
        performing: OrganisationCode,
        planned: Option<NaiveDateTime>,
    ) -> Result<Order, Problem> {
        let unfit = |what: &'static str| codes::MALFORMED.with("what", what);
        let weight = self.weight_kg.as_ref();
        let weight = weight.map(|weight| weight.tenths().ok_or_else(|| unfit("weight")));
        let departments = [
            ("performing_department", &self.performing_department),
            ("ordering_department", &self.ordering_department),
        ];
        let [performing_department, ordering_department] = departments.map(|(what, code)| {
            let code = code.as_deref().map(DepartmentCode::parse);
            code.transpose().map_err(|_| unfit(what))
        });
        let performing_department = performing_department?;
        let ordering_department = ordering_department?;
        let station = match &self.station {
            None => None,
            Some(title) => {
                let title = AeTitle::parse(title).map_err(|_| unfit("station"))?;
                match api.registry.device(&title).await {
                    Ok(device)
                        if device.value.organisation == performing
                            && device.value.serves(performing_department.as_ref()) => {}
                    Ok(_) | Err(RegistryError::NotFound { .. }) => return Err(unfit("station")),
                    Err(error) => return Err(error.into()),
                }
                Some(title)
            }
        };
        let local = |at: DateTime<FixedOffset>| at.with_timezone(&crate::place::offset());
        let scheduled_at = self.scheduled_at.map(|at| local(at).naive_local());
        let now = || api.world.moment().naive_local();
        let regions = self.regions.iter().map(|region| BodyRegion {
            part: region.part,
            side: region.side,
        });
        // A browser ends lines with two characters.
        let lines = |text: &str| text.replace("\r\n", "\n");
        Ok(Order {
            kind: kind(&self.kind).ok_or_else(|| unfit("kind"))?,
            regions: regions.collect(),
            scheduled_at: scheduled_at.or(planned).unwrap_or_else(now),
            priority: self.priority,
            station,
            weight_tenths_kg: weight.transpose()?,
            size_cm: self.size_cm,
            complaints: lines(&self.complaints),
            anamnesis: lines(&self.anamnesis),
            contrast: self.contrast.clone(),
            allergies: self.allergies.clone(),
            pregnancy: self.pregnancy,
            referring_physician: self.referring_physician.clone().map(Into::into),
            department: self.department.clone(),
            performing_department,
            ordering_department,
            ward: self.ward.clone(),
            card_number: self.card_number.clone(),
            placer_number: self.placer_number.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_read_with_comma_and_point_and_to_a_tenth() {
        let tenths = |json: &str| serde_json::from_str::<Decimal>(json).unwrap().tenths();
        for (json, expected) in [
            ("72", Some(720)),
            ("72.5", Some(725)),
            ("\"72,5\"", Some(725)),
            ("\" 72.50 \"", Some(725)),
            ("\"0,3\"", Some(3)),
            ("72.55", None),
            ("-1", None),
            ("\"72,\"", None),
            ("\"\"", None),
            ("\"7 2\"", None),
            ("70000", None),
        ] {
            assert_eq!(tenths(json), expected, "{json}");
        }
    }

    #[test]
    fn each_kind_has_one_word() {
        for text in ["ct", "mr", "xray", "US", "MG", "XA"] {
            assert_eq!(word(&kind(text).unwrap()), text);
        }
        for text in ["", "CT", "DX", "SR", "MR"] {
            assert_eq!(kind(text), None, "{text}");
        }
    }
}
