//! The attributes of an item, as one device gets them.

use super::spelling::{name, names_to_match, text};
use super::{Code, Spelled, WorklistItem};
use crate::attributes::SmolStr;
use crate::device::DeviceProfile;
use crate::patient::{Issuer, Sex};
use crate::tag::{Tag, Vr, tags, vr_of};
use crate::{AeTitle, Attributes, Value};

/// Writes for one device.
struct Writing<'a> {
    profile: &'a DeviceProfile,
    /// Names in every form rather than in that of the device.
    to_match: bool,
    into: Attributes,
}

impl Writing<'_> {
    fn plain(&mut self, tag: Tag, value: impl Into<SmolStr>) {
        self.into.insert_text(tag, vr_of(tag), value);
    }

    fn spelled(&mut self, tag: Tag, value: &Spelled) {
        let vr = vr_of(tag);
        let value = if vr != Vr::PN {
            text(value, vr, self.profile)
        } else if self.to_match {
            names_to_match(value, self.profile)
        } else {
            name(value, self.profile)
        };
        self.into.insert_text(tag, vr, value);
    }

    fn items(&mut self, tag: Tag, items: Vec<Attributes>) {
        self.into.insert(tag, Vr::SQ, Value::Items(items));
    }

    fn codes(&mut self, tag: Tag, codes: &[Code]) {
        let profile = self.profile;
        let item = |code: &Code| {
            let mut item = Attributes::new();
            item.insert_text(tags::CODE_VALUE, Vr::SH, &*code.value);
            item.insert_text(tags::CODING_SCHEME_DESIGNATOR, Vr::SH, &*code.scheme);
            let meaning = text(&code.meaning, Vr::LO, profile);
            item.insert_text(tags::CODE_MEANING, Vr::LO, meaning);
            item
        };
        let items = codes.iter().map(item).collect();
        self.items(tag, items);
    }
}

impl WorklistItem {
    /// Every attribute that worklists have, for a device with `profile` that calls itself
    /// `calling`. With `to_match`, names stand in every form.
    pub(super) fn attributes(
        &self,
        profile: &DeviceProfile,
        calling: &AeTitle,
        to_match: bool,
    ) -> Attributes {
        let writing = || Writing {
            profile,
            to_match,
            into: Attributes::with_capacity(48),
        };
        let mut step = writing();
        self.step(&mut step, calling);
        let mut root = writing();
        self.procedure(&mut root);
        self.patient(&mut root);
        root.items(tags::SCHEDULED_PROCEDURE_STEP_SEQUENCE, vec![step.into]);
        root.into
    }

    fn step(&self, step: &mut Writing<'_>, calling: &AeTitle) {
        let procedure = &self.procedure;
        step.plain(tags::MODALITY, &*self.modality);
        step.plain(tags::SCHEDULED_STATION_AE_TITLE, self.station(calling));
        let date = self.scheduled_at.format("%Y%m%d").to_string();
        step.plain(tags::SCHEDULED_PROCEDURE_STEP_START_DATE, date);
        let time = self.scheduled_at.format("%H%M%S").to_string();
        step.plain(tags::SCHEDULED_PROCEDURE_STEP_START_TIME, time);
        step.plain(tags::SCHEDULED_PROCEDURE_STEP_ID, self.step.to_string());
        step.plain(tags::SCHEDULED_PROCEDURE_STEP_STATUS, self.status.term());
        step.codes(tags::SCHEDULED_PROTOCOL_CODE_SEQUENCE, &procedure.codes);
        for (tag, value) in [
            (tags::REQUESTED_CONTRAST_AGENT, &procedure.contrast_agent),
            (
                tags::SCHEDULED_PERFORMING_PHYSICIAN_NAME,
                &procedure.performing_physician,
            ),
            (
                tags::SCHEDULED_PROCEDURE_STEP_DESCRIPTION,
                &procedure.description,
            ),
            (tags::SCHEDULED_STATION_NAME, &procedure.station_name),
            (tags::SCHEDULED_PROCEDURE_STEP_LOCATION, &procedure.location),
            (tags::PRE_MEDICATION, &procedure.pre_medication),
            (
                tags::COMMENTS_ON_THE_SCHEDULED_PROCEDURE_STEP,
                &procedure.step_comments,
            ),
        ] {
            step.spelled(tag, value);
        }
    }

    /// The device that asks, where it is one of those the step is planned for; else these.
    fn station(&self, calling: &AeTitle) -> String {
        if self.stations.is_empty() || self.stations.contains(calling) {
            return calling.as_str().to_owned();
        }
        let titles: Vec<&str> = self.stations.iter().map(AeTitle::as_str).collect();
        titles.join("\\")
    }

    fn procedure(&self, root: &mut Writing<'_>) {
        let (id, procedure) = (self.examination.to_string(), &self.procedure);
        let mut issuer = Attributes::new();
        let archive = Issuer::Archive.to_string();
        issuer.insert_text(tags::LOCAL_NAMESPACE_ENTITY_ID, Vr::UT, archive);
        root.items(tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE, vec![issuer]);
        root.plain(tags::ACCESSION_NUMBER, id.as_str());
        root.plain(tags::REQUESTED_PROCEDURE_ID, id.as_str());
        root.plain(tags::FILLER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST, id);
        root.plain(tags::STUDY_INSTANCE_UID, self.planned_study.as_str());
        root.plain(
            tags::REQUESTED_PROCEDURE_PRIORITY,
            procedure.priority.term(),
        );
        root.codes(tags::REQUESTED_PROCEDURE_CODE_SEQUENCE, &procedure.codes);
        root.items(tags::REFERENCED_STUDY_SEQUENCE, Vec::new());
        root.items(tags::REFERENCED_PATIENT_SEQUENCE, Vec::new());
        for (tag, value) in [
            (tags::INSTITUTION_NAME, &self.institution.name),
            (tags::INSTITUTION_ADDRESS, &self.institution.address),
            (
                tags::INSTITUTIONAL_DEPARTMENT_NAME,
                &self.institution.department,
            ),
            (
                tags::REFERRING_PHYSICIAN_NAME,
                &procedure.referring_physician,
            ),
            (tags::REQUESTING_PHYSICIAN, &procedure.requesting_physician),
            (tags::REQUESTING_SERVICE, &procedure.requesting_service),
            (
                tags::REQUESTED_PROCEDURE_DESCRIPTION,
                &procedure.description,
            ),
            (tags::ADMISSION_ID, &procedure.admission_id),
            (tags::CURRENT_PATIENT_LOCATION, &procedure.patient_location),
            (tags::REASON_FOR_THE_REQUESTED_PROCEDURE, &procedure.reason),
            (tags::PATIENT_TRANSPORT_ARRANGEMENTS, &procedure.transport),
            (tags::REQUESTED_PROCEDURE_COMMENTS, &procedure.reason),
            (
                tags::PLACER_ORDER_NUMBER_IMAGING_SERVICE_REQUEST,
                &procedure.placer_order_number,
            ),
        ] {
            root.spelled(tag, value);
        }
    }

    fn patient(&self, root: &mut Writing<'_>) {
        let patient = &self.patient;
        root.plain(tags::PATIENT_ID, patient.key.to_string());
        root.plain(tags::ISSUER_OF_PATIENT_ID, Issuer::Archive.to_string());
        let birth_date = patient.birth_date.as_ref().map(|date| date.reveal());
        let birth_date = birth_date.map(|date| date.format("%Y%m%d").to_string());
        root.plain(tags::PATIENT_BIRTH_DATE, birth_date.unwrap_or_default());
        root.plain(tags::PATIENT_SEX, patient.sex.map_or("", Sex::code));
        let thousandths = |number: Option<u32>| number.map(decimal).unwrap_or_default();
        root.plain(tags::PATIENT_WEIGHT, thousandths(patient.weight_g));
        root.plain(tags::PATIENT_SIZE, thousandths(patient.height_mm));
        let pregnancy = patient.pregnancy.map_or("", super::Pregnancy::code);
        root.plain(tags::PREGNANCY_STATUS, pregnancy);
        let pin = patient.pin.as_ref().filter(|_| root.profile.send_pin);
        let others = pin.map(|pin| {
            let mut item = Attributes::new();
            let issuer = Issuer::Pin.to_string();
            item.insert_text(tags::PATIENT_ID, Vr::LO, String::from(pin.clone()));
            item.insert_text(tags::ISSUER_OF_PATIENT_ID, Vr::LO, issuer);
            item.insert_text(tags::TYPE_OF_PATIENT_ID, Vr::CS, "TEXT");
            item
        });
        root.items(
            tags::OTHER_PATIENT_I_DS_SEQUENCE,
            others.into_iter().collect(),
        );
        for (tag, value) in [
            (tags::PATIENT_NAME, &patient.name),
            (tags::MEDICAL_ALERTS, &patient.alerts),
            (tags::ALLERGIES, &patient.allergies),
            (tags::ADDITIONAL_PATIENT_HISTORY, &patient.history),
            (tags::SPECIAL_NEEDS, &patient.special_needs),
            (tags::PATIENT_STATE, &patient.state),
            (
                tags::CONFIDENTIALITY_CONSTRAINT_ON_PATIENT_DATA_DESCRIPTION,
                &patient.confidentiality,
            ),
        ] {
            root.spelled(tag, value);
        }
    }
}

/// A number of thousandths in decimal: grams as kilograms, millimetres as metres.
fn decimal(thousandths: u32) -> String {
    let (whole, part) = (
        thousandths.checked_div(1000).unwrap_or_default(),
        thousandths.checked_rem(1000).unwrap_or_default(),
    );
    let text = format!("{whole}.{part:03}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
