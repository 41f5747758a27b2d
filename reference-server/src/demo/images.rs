//! Images of nobody: phantoms out of ellipses, as data sets.
//!
//! Nothing is copied from anywhere: each pixel is computed. They look enough like a chest, a head
//! and a radiograph to show what an archive does, and like no real one.

use chrono::NaiveDate;
use pacs_core::encode::{EncodeError, write_data_set};
use pacs_core::tag::{Tag, tags, vr_of};
use pacs_core::{Attributes, StudyUid, TransferSyntaxUid, Vr};
use pacs_store::registry::Moment;

/// What is imaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phantom {
    /// CT of a chest.
    Chest,
    /// MR of a head.
    Head,
    /// A radiograph of a chest.
    Radiograph,
}

/// Whom an image says it is of, and what else stands in its head.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) study: StudyUid,
    pub(super) accession: String,
    pub(super) patient_id: String,
    pub(super) patient_name: String,
    pub(super) birth_date: NaiveDate,
    pub(super) sex: &'static str,
    pub(super) station: String,
    pub(super) institution: String,
    pub(super) at: Moment,
}

/// One image: its class, its UID and its data set.
pub(super) struct Image {
    pub(super) sop_class: &'static str,
    pub(super) sop_instance: String,
    pub(super) data_set: Vec<u8>,
}

/// The transfer syntax that they are in.
pub(super) const SYNTAX: &str = "1.2.840.10008.1.2.1";

impl Phantom {
    const fn sop_class(self) -> &'static str {
        match self {
            Self::Chest => "1.2.840.10008.5.1.4.1.1.2",
            Self::Head => "1.2.840.10008.5.1.4.1.1.4",
            Self::Radiograph => "1.2.840.10008.5.1.4.1.1.1.1",
        }
    }

    const fn modality(self) -> &'static str {
        match self {
            Self::Chest => "CT",
            Self::Head => "MR",
            Self::Radiograph => "DX",
        }
    }

    /// How many images there are, and how many pixels a side has.
    pub(super) const fn size(self) -> (u16, u16) {
        match self {
            Self::Chest | Self::Head => (8, 256),
            Self::Radiograph => (1, 512),
        }
    }

    /// A value of the image `number` of `count`, at thousandths of half a side.
    fn value(self, (x, y): (i64, i64), (number, count): (u16, u16)) -> i64 {
        // From -1000 to 1000 through the body.
        let z = (i64::from(number) * 2 + 1 - i64::from(count)) * 1_000 / i64::from(count.max(1));
        match self {
            Self::Chest => chest(x, y, z),
            Self::Head => head(x, y, z),
            Self::Radiograph => radiograph(x, y),
        }
    }

    /// Pixels, 16 bits each.
    fn pixels(self, number: u16) -> Vec<u8> {
        let (count, side) = self.size();
        let mut bytes = Vec::with_capacity(usize::from(side) * usize::from(side) * 2);
        for row in 0..side {
            for column in 0..side {
                let at =
                    |p: u16| (i64::from(p) * 2 + 1 - i64::from(side)) * 1_000 / i64::from(side);
                let value = self.value((at(column), at(row)), (number, count));
                let value = value + grain(i64::from(column), i64::from(row), i64::from(number));
                let value = u16::try_from(value.clamp(0, 4_095)).unwrap_or_default();
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        bytes
    }

    /// The image `number`, from 0 on; `uids` are those of its series and of itself.
    pub(super) fn image(
        self,
        label: &Label,
        number: u16,
        (series, instance): (&str, String),
    ) -> Result<Image, EncodeError> {
        let mut head = self.head(label, number);
        let mut put = |tag: Tag, text: &str| head.insert_text(tag, vr_of(tag), text);
        put(tags::SOP_CLASS_UID, self.sop_class());
        put(tags::SOP_INSTANCE_UID, &instance);
        put(tags::SERIES_INSTANCE_UID, series);
        put(tags::FRAME_OF_REFERENCE_UID, &format!("{series}.1"));
        let syntax = TransferSyntaxUid::parse(SYNTAX);
        let syntax = syntax.map_err(|_| EncodeError::Value {
            tag: tags::TRANSFER_SYNTAX_UID,
        })?;
        let mut data_set = write_data_set(&head, &syntax)?;
        let pixels = self.pixels(number);
        let too_long = EncodeError::TooLong {
            tag: tags::PIXEL_DATA,
        };
        let length = u32::try_from(pixels.len()).map_err(|_| too_long)?;
        data_set.extend_from_slice(b"\xE0\x7F\x10\x00OW\0\0");
        data_set.extend_from_slice(&length.to_le_bytes());
        data_set.extend_from_slice(&pixels);
        Ok(Image {
            sop_class: self.sop_class(),
            sop_instance: instance,
            data_set,
        })
    }

    fn head(self, label: &Label, number: u16) -> Attributes {
        let mut head = Attributes::new();
        let mut put = |tag: Tag, text: &str| head.insert_text(tag, vr_of(tag), text);
        let (day, time) = (label.at.format("%Y%m%d"), label.at.format("%H%M%S"));
        let (day, time) = (day.to_string(), time.to_string());
        for (tag, text) in [
            (tags::IMAGE_TYPE, "DERIVED\\PRIMARY\\AXIAL"),
            (tags::STUDY_DATE, &*day),
            (tags::SERIES_DATE, &*day),
            (tags::CONTENT_DATE, &*day),
            (tags::STUDY_TIME, &*time),
            (tags::SERIES_TIME, &*time),
            (tags::CONTENT_TIME, &*time),
            (tags::ACCESSION_NUMBER, &*label.accession),
            (tags::MODALITY, self.modality()),
            (tags::MANUFACTURER, "PACS demonstration"),
            (tags::INSTITUTION_NAME, &*label.institution),
            (tags::STATION_NAME, &*label.station),
            (tags::DERIVATION_DESCRIPTION, "Computed phantom, no patient"),
            (tags::PATIENT_NAME, &*label.patient_name),
            (tags::PATIENT_ID, &*label.patient_id),
            (tags::PATIENT_SEX, label.sex),
            (tags::STUDY_INSTANCE_UID, label.study.as_str()),
            (tags::STUDY_ID, &*label.accession),
            (tags::SERIES_NUMBER, "1"),
            (tags::SAMPLES_PER_PIXEL, "1"),
            (tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
            (tags::BITS_ALLOCATED, "16"),
            (tags::BITS_STORED, "12"),
            (tags::HIGH_BIT, "11"),
            (tags::BURNED_IN_ANNOTATION, "NO"),
        ] {
            put(tag, text);
        }
        put(
            tags::PATIENT_BIRTH_DATE,
            &label.birth_date.format("%Y%m%d").to_string(),
        );
        put(tags::INSTANCE_NUMBER, &(number + 1).to_string());
        let (_, side) = self.size();
        put(tags::ROWS, &side.to_string());
        put(tags::COLUMNS, &side.to_string());
        head.insert_text(tags::PIXEL_REPRESENTATION, Vr::US, "0");
        self.describe(&mut head, number);
        head
    }

    /// What only some of them have.
    fn describe(self, head: &mut Attributes, number: u16) {
        let mut put = |tag: Tag, text: &str| head.insert_text(tag, vr_of(tag), text);
        let (part, description, window) = match self {
            Self::Chest => ("CHEST", "КТ: грудная клетка", ("40", "400")),
            Self::Head => ("HEAD", "МРТ: голова", ("500", "1000")),
            Self::Radiograph => ("CHEST", "Рентген: грудная клетка", ("1800", "3000")),
        };
        put(tags::BODY_PART_EXAMINED, part);
        put(tags::STUDY_DESCRIPTION, description);
        put(tags::WINDOW_CENTER, window.0);
        put(tags::WINDOW_WIDTH, window.1);
        if self == Self::Radiograph {
            put(tags::PRESENTATION_INTENT_TYPE, "FOR PRESENTATION");
            put(tags::VIEW_POSITION, "PA");
            put(tags::IMAGER_PIXEL_SPACING, "0.8\\0.8");
            return;
        }
        if self == Self::Chest {
            put(tags::RESCALE_INTERCEPT, "-1024");
            put(tags::RESCALE_SLOPE, "1");
            put(tags::RESCALE_TYPE, "HU");
            put(tags::KVP, "120");
        }
        put(tags::SLICE_THICKNESS, "10");
        put(tags::PIXEL_SPACING, "1.5\\1.5");
        put(tags::IMAGE_ORIENTATION_PATIENT, "1\\0\\0\\0\\1\\0");
        let z = i32::from(number) * 10;
        put(tags::IMAGE_POSITION_PATIENT, &format!("-192\\-192\\{z}"));
    }
}

/// Whether a point is in an ellipse, by its centre and its half axes; all in thousandths.
const fn is_in(x: i64, y: i64, centre: (i64, i64), axes: (i64, i64)) -> bool {
    let dx = (x - centre.0) * 1_000 / if axes.0 > 0 { axes.0 } else { 1 };
    let dy = (y - centre.1) * 1_000 / if axes.1 > 0 { axes.1 } else { 1 };
    dx * dx + dy * dy <= 1_000_000
}

/// A slice of a chest, in Hounsfield units above -1024.
const fn chest(x: i64, y: i64, z: i64) -> i64 {
    // Lungs are widest in the middle.
    let width = 1_000 - z * z / 1_400;
    let lungs = (300 * width / 1_000, 460 * width / 1_000);
    let hounsfield = if !is_in(x, y, (0, 0), (900, 650)) {
        -1_000
    } else if !is_in(x, y, (0, 0), (860, 610)) {
        -90
    } else if is_in(x, y, (0, 440), (105, 105)) {
        if is_in(x, y, (0, 470), (35, 35)) {
            30
        } else {
            550
        }
    } else if is_in(x, y, (400, -120), (45, 45)) && z * z < 60_000 {
        60
    } else if is_in(x, y, (130, -60), (230, 210)) && z < 500 {
        45
    } else if is_in(x, y, (-420, 0), lungs) || is_in(x, y, (430, 0), lungs) {
        -820
    } else if !is_in(x, y, (0, 0), (790, 540)) && (x * 13 + y * 7 + z).rem_euclid(900) > 450 {
        420
    } else {
        50
    };
    hounsfield + 1_024
}

/// A slice of a head.
const fn head(x: i64, y: i64, z: i64) -> i64 {
    let width = 1_000 - z * z / 2_200;
    let outer = (700 * width / 1_000, 860 * width / 1_000);
    let skull = (outer.0 - 50, outer.1 - 50);
    let brain = (outer.0 - 120, outer.1 - 120);
    if !is_in(x, y, (0, 0), outer) {
        5
    } else if !is_in(x, y, (0, 0), skull) {
        800
    } else if !is_in(x, y, (0, 0), brain) {
        40
    } else if is_in(x, y, (-110, -60), (70, 240)) || is_in(x, y, (110, -60), (70, 240)) {
        150
    } else if x * x < 100 {
        200
    } else if (x * 3 + y * 5).rem_euclid(330) > 250 {
        430
    } else {
        560
    }
}

/// A radiograph of a chest: more where less comes through.
const fn radiograph(x: i64, y: i64) -> i64 {
    if !is_in(x, y, (0, 120), (860, 1_050)) {
        return 60;
    }
    let mut value = 2_000 - (x * x) / 1_500;
    if is_in(x, y, (-400, 60), (290, 640)) || is_in(x, y, (400, 60), (290, 640)) {
        value -= 1_200;
    }
    if is_in(x, y, (120, 280), (310, 330)) {
        value += 700;
    }
    if x * x < 8_000 {
        value += 700;
    }
    if y > 620 {
        value += 600;
    }
    // Ribs.
    if (y + (x * x) / 1_700).rem_euclid(170) > 115 && x * x < 560_000 {
        value += 260;
    }
    value
}

/// What makes no two images the same, as noise does.
const fn grain(x: i64, y: i64, z: i64) -> i64 {
    let mixed = (x * 7_919 + y * 104_729 + z * 1_299_709) & 0xffff;
    (mixed * mixed / 65_537) % 17 - 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use pacs_core::Instance;
    use pacs_core::limits::ScanLimits;

    #[test]
    fn phantoms_are_instances_and_no_two_are_the_same() {
        let label = Label {
            study: StudyUid::parse("2.25.1").unwrap(),
            accession: "250060004329".to_owned(),
            patient_id: "P0000005724".to_owned(),
            patient_name: "Тестов^Үсөн".to_owned(),
            birth_date: "1990-01-01".parse().unwrap(),
            sex: "M",
            station: "KRKL_CT1".to_owned(),
            institution: "Больница".to_owned(),
            at: "2026-11-26T14:00:00+06:00".parse().unwrap(),
        };
        for phantom in [Phantom::Chest, Phantom::Head, Phantom::Radiograph] {
            let (count, side) = phantom.size();
            let mut seen = std::collections::BTreeSet::new();
            for number in 0..count {
                let uid = format!("2.25.2.{number}");
                let image = phantom.image(&label, number, ("2.25.2", uid)).unwrap();
                let pixels = phantom.pixels(number);
                assert_eq!(pixels.len(), usize::from(side).pow(2) * 2);
                let distinct: std::collections::BTreeSet<_> = pixels.chunks(2).collect();
                assert!(distinct.len() > 30, "{phantom:?} shows something");
                assert!(seen.insert(pixels), "{phantom:?} {number}");
                let syntax = TransferSyntaxUid::parse(SYNTAX).unwrap();
                let limits = ScanLimits::default();
                let read = Instance::parse(&image.data_set, &syntax, &limits).unwrap();
                assert_eq!(read.study.as_str(), "2.25.1");
            }
        }
    }
}
