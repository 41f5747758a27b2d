//! Instance Availability Notification: what others are told of which instances are to be had
//! (PS3.3 C.4.23, PS3.4 Annex R).

use crate::ae_title::AeTitle;
use crate::attributes::{Attributes, Value};
use crate::commitment::Reference;
use crate::encode::{EncodeError, write_data_set};
use crate::tag::{Vr, tags};
use crate::uid::{SeriesUid, StudyUid, TransferSyntaxUid};

/// Instance Availability (0008,0056), PS3.3 C.4.23.1.1, as far as this archive has it: it keeps
/// everything on disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Availability {
    /// It can be retrieved at once.
    Online,
    /// It cannot be retrieved: it was rejected.
    Unavailable,
}

impl Availability {
    /// The value of the attribute.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// The attributes of an Instance Availability Notification (PS3.4 R.3.2): those that the standard
/// names and no others, as it demands, so that nothing tells of the patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailabilityNotice {
    /// The performed procedure step that made the instances, where it is known.
    pub step: Option<Reference>,
    /// Study Instance UID.
    pub study: StudyUid,
    /// Whom the instances can be retrieved from.
    pub retrieve_ae_title: AeTitle,
    /// The instances of each series; at least one series with at least one.
    pub series: Vec<(SeriesUid, Vec<(Reference, Availability)>)>,
}

impl AvailabilityNotice {
    /// The attribute list of an N-CREATE request.
    ///
    /// # Errors
    /// [`EncodeError`] where there is more than a data set can hold.
    pub fn to_data_set(&self, transfer_syntax: &TransferSyntaxUid) -> Result<Vec<u8>, EncodeError> {
        let steps = self.step.iter().map(step_item).collect();
        let series = self.series.iter().map(|of| self.series_item(of)).collect();
        let mut attributes = Attributes::new();
        attributes.insert(
            tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE,
            Vr::SQ,
            Value::Items(steps),
        );
        attributes.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, self.study.as_str());
        attributes.insert(
            tags::REFERENCED_SERIES_SEQUENCE,
            Vr::SQ,
            Value::Items(series),
        );
        write_data_set(&attributes, transfer_syntax)
    }

    fn series_item(
        &self,
        (series, instances): &(SeriesUid, Vec<(Reference, Availability)>),
    ) -> Attributes {
        let instances = instances.iter().map(|(reference, availability)| {
            let mut item = reference.to_item();
            let title = self.retrieve_ae_title.as_str();
            item.insert_text(tags::RETRIEVE_AE_TITLE, Vr::AE, title);
            item.insert_text(tags::INSTANCE_AVAILABILITY, Vr::CS, availability.code());
            item
        });
        let mut item = Attributes::new();
        item.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, series.as_str());
        item.insert(
            tags::REFERENCED_SOP_SEQUENCE,
            Vr::SQ,
            Value::Items(instances.collect()),
        );
        item
    }
}

/// The item of a step (PS3.3 10-11). Performed Workitem Code Sequence is of type 2, and no code of
/// CID 9231 says what a modality did.
fn step_item(step: &Reference) -> Attributes {
    let mut item = step.to_item();
    item.insert(
        tags::PERFORMED_WORKITEM_CODE_SEQUENCE,
        Vr::SQ,
        Value::Items(Vec::new()),
    );
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ScanLimits;
    use crate::scan::{Encoding, Event, Scanner};
    use crate::uid::{SopClassUid, SopInstanceUid};

    fn reference(class: &str, instance: &str) -> Reference {
        Reference {
            sop_class: SopClassUid::parse(class).unwrap(),
            sop_instance: SopInstanceUid::parse(instance).unwrap(),
        }
    }

    /// What stands where in a data set, a line for each value.
    fn lines(bytes: &[u8], syntax: &TransferSyntaxUid) -> Vec<String> {
        let limits = ScanLimits::default();
        let mut scanner = Scanner::new(bytes, Encoding::of(syntax), &limits);
        let (mut around, mut lines) = (Vec::new(), Vec::new());
        while let Some(event) = scanner.next() {
            match event.unwrap() {
                Event::SequenceBegin(element) => around.push(element.tag.to_string()),
                Event::SequenceEnd { .. } => drop(around.pop()),
                Event::Element(element) => {
                    let value = String::from_utf8_lossy(scanner.bytes(&element.value));
                    let value = value.trim_end_matches(['\0', ' ']).to_owned();
                    let around = around.join(">");
                    lines.push(format!("{around}>{}={value}", element.tag));
                }
                Event::Fragment { .. }
                | Event::FragmentsBegin(_)
                | Event::FragmentsEnd { .. }
                | Event::ItemBegin { .. }
                | Event::ItemEnd { .. }
                | Event::Trailing { .. } => {}
            }
        }
        lines
    }

    #[test]
    fn a_notice_says_which_instances_are_to_be_had_from_whom_and_nothing_of_the_patient() {
        let (ct, other) = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7");
        let notice = AvailabilityNotice {
            step: Some(reference("1.2.840.10008.3.1.2.3.3", "2.25.9")),
            study: StudyUid::parse("2.25.1").unwrap(),
            retrieve_ae_title: AeTitle::parse("PACS").unwrap(),
            series: vec![
                (
                    SeriesUid::parse("2.25.2").unwrap(),
                    vec![
                        (reference(ct, "2.25.21"), Availability::Online),
                        (reference(ct, "2.25.22"), Availability::Unavailable),
                    ],
                ),
                (
                    SeriesUid::parse("2.25.3").unwrap(),
                    vec![(reference(other, "2.25.31"), Availability::Online)],
                ),
            ],
        };
        let syntax = TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap();

        let bytes = notice.to_data_set(&syntax).unwrap();

        let instance = |class: &str, uid: &str, availability: &str| {
            let at = "(0008,1115)>(0008,1199)";
            [
                format!("{at}>(0008,0054)=PACS"),
                format!("{at}>(0008,0056)={availability}"),
                format!("{at}>(0008,1150)={class}"),
                format!("{at}>(0008,1155)={uid}"),
            ]
        };
        let mut expected = vec![
            "(0008,1111)>(0008,1150)=1.2.840.10008.3.1.2.3.3".to_owned(),
            "(0008,1111)>(0008,1155)=2.25.9".to_owned(),
        ];
        expected.extend(instance(ct, "2.25.21", "ONLINE"));
        expected.extend(instance(ct, "2.25.22", "UNAVAILABLE"));
        expected.push("(0008,1115)>(0020,000E)=2.25.2".to_owned());
        expected.extend(instance(other, "2.25.31", "ONLINE"));
        expected.push("(0008,1115)>(0020,000E)=2.25.3".to_owned());
        expected.push(">(0020,000D)=2.25.1".to_owned());
        assert_eq!(lines(&bytes, &syntax), expected);
    }
}
