//! What is imaged: the body parts that the form offers (PS3.16 CID 4031, CID 244).

use std::fmt;

/// A body part of the form, by its code of SNOMED CT.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct BodyPart(&'static Entry);

/// Code, meaning, and the term of Body Part Examined (0018,0015) (PS3.16 Annex L).
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Entry {
    code: &'static str,
    meaning: &'static str,
    term: &'static str,
}

/// A code that the form does not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no body part of the form has this code")]
pub struct BodyPartError;

const fn entry(code: &'static str, meaning: &'static str, term: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        term,
    }
}

static ENTRIES: [Entry; 28] = [
    entry("69536005", "Head", "HEAD"),
    entry("89546000", "Skull", "SKULL"),
    entry("2095001", "Paranasal sinus", "PARANASALSINUS"),
    entry("363654007", "Orbit", "ORBIT"),
    entry("91397008", "Facial bones", "FACE"),
    entry("45048000", "Neck", "NECK"),
    entry("816094009", "Chest", "CHEST"),
    entry("80891009", "Heart", "HEART"),
    entry("76752008", "Breast", "BREAST"),
    entry("818981001", "Abdomen", "ABDOMEN"),
    entry("816092008", "Pelvis", "PELVIS"),
    entry("818982008", "Abdomen and pelvis", "ABDOMENPELVIS"),
    entry("416775004", "Chest, abdomen and pelvis", "CHESTABDPELVIS"),
    entry("122494005", "Cervical spine", "CSPINE"),
    entry("122495006", "Thoracic spine", "TSPINE"),
    entry("122496007", "Lumbar spine", "LSPINE"),
    entry("1217253001", "Lumbo-sacral spine", "LSSPINE"),
    entry("16982005", "Shoulder", "SHOULDER"),
    entry("16953009", "Elbow joint", "ELBOW"),
    entry("14975008", "Forearm", "FOREARM"),
    entry("74670003", "Wrist joint", "WRIST"),
    entry("85562004", "Hand", "HAND"),
    entry("24136001", "Hip joint", "HIP"),
    entry("71341001", "Femur", "FEMUR"),
    entry("72696002", "Knee", "KNEE"),
    entry("30021000", "Lower leg", "LEG"),
    entry("70258002", "Ankle joint", "ANKLE"),
    entry("56459004", "Foot", "FOOT"),
];

impl BodyPart {
    /// Every body part that the form offers.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(Self)
    }

    /// Reads a code.
    ///
    /// # Errors
    /// [`BodyPartError`] for codes that the form does not offer.
    pub fn parse(code: &str) -> Result<Self, BodyPartError> {
        let mut all = Self::all();
        all.find(|part| part.0.code == code).ok_or(BodyPartError)
    }

    /// The code, of the scheme `SCT`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.0.code
    }

    /// The meaning of the code.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.0.meaning
    }

    /// The term of Body Part Examined (0018,0015).
    #[must_use]
    pub const fn term(self) -> &'static str {
        self.0.term
    }
}

impl fmt::Debug for BodyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.term)
    }
}

impl TryFrom<String> for BodyPart {
    type Error = BodyPartError;

    fn try_from(code: String) -> Result<Self, BodyPartError> {
        Self::parse(&code)
    }
}

impl From<BodyPart> for String {
    fn from(part: BodyPart) -> Self {
        part.code().to_owned()
    }
}

/// Which side of it (PS3.16 CID 244).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Both.
    Both,
    /// The left one.
    Left,
    /// The right one.
    Right,
    /// One of them.
    Unilateral,
}

impl Side {
    /// The code, of the scheme `SCT`, and its meaning.
    #[must_use]
    pub const fn code(self) -> (&'static str, &'static str) {
        match self {
            Self::Both => ("51440002", "Right and left"),
            Self::Left => ("7771000", "Left"),
            Self::Right => ("24028007", "Right"),
            Self::Unilateral => ("66459002", "Unilateral"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_part_is_read_by_its_code_and_fits_its_attributes() {
        let mut seen = std::collections::BTreeSet::new();
        for part in BodyPart::all() {
            assert_eq!(BodyPart::parse(part.code()), Ok(part));
            let json = serde_json::to_string(&part).unwrap();
            assert_eq!(serde_json::from_str::<BodyPart>(&json).unwrap(), part);
            // SH, LO and CS (PS3.5 6.2).
            assert!(part.code().len() <= 16 && part.meaning().len() <= 64);
            assert!(part.term().len() <= 16);
            assert!(part.term().bytes().all(|b| b.is_ascii_uppercase()));
            assert!(seen.insert(part.code()) && seen.insert(part.term()));
        }
        assert_eq!(BodyPart::parse("1"), Err(BodyPartError));
        assert!(serde_json::from_str::<BodyPart>("\"1\"").is_err());
    }
}
