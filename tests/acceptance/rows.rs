//! The acts of section 13, and what a record and a message of each has to say.

use pacs_tests::portal::CT_OF_006;

use crate::hospital::WORKSTATION_OF_006;

/// Where an act is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the hospital of this test.
    Hospital,
    /// In the demonstration, which has reports of its own.
    Demonstration,
    /// On a disk that is full for a while.
    FullDisk,
    /// In neither: reports are amended in `reporting`, and withdrawn by nobody yet (0036).
    NotHere,
}

use Place::{Demonstration as Demo, FullDisk, Hospital as Here, NotHere};

/// An act: where; event, type and action (PS3.16 CID 400 and 401); how it ends; what whoever does
/// it is, and is called; and the type of an object that it is done to.
pub(crate) type Row = (
    &'static str,
    Place,
    (&'static str, &'static str, char),
    &'static str,
    (&'static str, &'static str),
    &'static str,
);

pub(crate) const STUDY: &str = "110180/DCM";
pub(crate) const NODE: &str = "110182/DCM";
pub(crate) const PATIENT: &str = "2/RFC-3881";
pub(crate) const ORDER: &str = "8/RFC-3881";
pub(crate) const USER: &str = "11/RFC-3881";
pub(crate) const SETTING: &str = "setting/99PACS";
pub(crate) const QUERY: &str = "110112/DCM";
const NONE: &str = "";

const SERVER: (&str, &str) = ("system", "pacs-server");
const RELOAD: (&str, &str) = ("system", "pacs-server reload");
const LIST: (&str, &str) = ("system", "pacs organisations");

#[rustfmt::skip]
pub(crate) const ROWS: &[Row] = &[
    ("application_started", Here, ("110100", "110120", 'E'), "0", SERVER, NONE),
    ("application_stopped", Here, ("110100", "110121", 'E'), "0", SERVER, NONE),
    ("audit_read", Here, ("110101", "", 'R'), "0", ("user", "auditor"), PATIENT),
    ("audit_recording_started", FullDisk, ("110113", "110134", 'E'), "0", SERVER, NONE),
    ("audit_recording_stopped", FullDisk, ("110113", "110133", 'E'), "12", SERVER, NONE),
    ("break_glass_reviewed", Here, ("110113", "110132", 'E'), "0", ("user", "auditor"), PATIENT),
    ("break_glass_started", Here, ("110113", "110127", 'E'), "0", ("user", "expert"), PATIENT),
    ("break_glass_stopped", Here, ("110113", "110138", 'E'), "0", ("user", "expert"), PATIENT),
    ("exported", Here, ("110106", "", 'R'), "0", ("system", "pacs export"), STUDY),
    ("hardware_configured", Here, ("110113", "110130", 'E'), "0", ("user", "ministry"), NODE),
    ("images_changed", Here, ("110103", "", 'U'), "0", ("system", "matcher"), STUDY),
    ("images_received", Here, ("110104", "", 'C'), "0", ("device", CT_OF_006), STUDY),
    ("images_rejected", Here, ("110103", "", 'D'), "0", ("user", "keeper"), STUDY),
    ("images_replaced", Here, ("110104", "", 'U'), "0", ("device", CT_OF_006), STUDY),
    ("images_restored", Here, ("110103", "", 'C'), "0", ("user", "keeper"), STUDY),
    ("images_sent", Here, ("110104", "", 'R'), "0", ("device", WORKSTATION_OF_006), STUDY),
    ("images_viewed", Here, ("110103", "", 'R'), "0", ("user", "operator"), STUDY),
    ("imported", Here, ("110107", "", 'C'), "0", ("system", "pacs import"), STUDY),
    ("network_configured", Here, ("110113", "110128", 'E'), "0", RELOAD, SETTING),
    ("node_refused", Here, ("110113", "110126", 'E'), "8", ("nobody", ""), NODE),
    ("order_cancelled", Here, ("110109", "", 'D'), "0", ("user", "operator"), ORDER),
    ("order_changed", Here, ("110109", "", 'U'), "0", ("user", "reader"), ORDER),
    ("order_created", Here, ("110109", "", 'C'), "0", ("user", "operator"), ORDER),
    ("patient_changed", Here, ("110110", "", 'U'), "0", ("user", "operator"), PATIENT),
    ("patient_created", Here, ("110110", "", 'C'), "0", ("user", "operator"), PATIENT),
    ("patient_merged", Here, ("110110", "", 'U'), "0", ("user", "admin"), PATIENT),
    ("patient_read", Here, ("110110", "", 'R'), "0", ("user", "operator"), PATIENT),
    ("preamble_replaced", Here, ("110113", "", 'E'), "8", ("program", "gate"), STUDY),
    ("queried", Here, ("110112", "", 'E'), "0", ("user", "operator"), QUERY),
    ("reading_continued", Here, ("110111", "", 'U'), "0", ("user", "reader"), ORDER),
    ("register_asked", Here, ("110110", "", 'R'), "0", ("user", "operator"), QUERY),
    ("report_amended", NotHere, ("110111", "", 'U'), "0", ("user", ""), ORDER),
    ("report_read", Demo, ("110111", "", 'R'), "0", ("user", "expert"), ORDER),
    ("report_sent", Demo, ("110111", "", 'R'), "0", ("user", "radiologist"), ORDER),
    ("report_signed", Demo, ("110111", "", 'C'), "0", ("user", "radiologist"), ORDER),
    ("report_withdrawn", NotHere, ("110111", "", 'D'), "0", ("user", ""), ORDER),
    ("restricted_function_used", Here, ("110113", "110132", 'E'), "0", ("user", "keeper"), STUDY),
    ("roles_changed", Here, ("110113", "110136", 'E'), "0", ("system", "pacs users"), USER),
    ("security_configured", Here, ("110113", "110129", 'E'), "0", ("user", "ministry"), SETTING),
    ("signed_in", Here, ("110114", "110122", 'E'), "0", ("user", "operator"), USER),
    ("signed_out", Here, ("110114", "110123", 'E'), "0", ("user", "passer"), USER),
    ("software_configured", Here, ("110113", "110131", 'E'), "0", LIST, SETTING),
    ("step_begun", Here, ("110111", "", 'C'), "0", ("device", CT_OF_006), ORDER),
    ("step_changed", Here, ("110111", "", 'U'), "0", ("device", CT_OF_006), ORDER),
    ("study_erased", Here, ("110105", "", 'D'), "0", ("system", "erasing"), STUDY),
    ("trail_signed", Here, ("110101", "", 'R'), "0", SERVER, SETTING),
    ("transfer_begun", Here, ("110102", "", 'E'), "0", ("device", WORKSTATION_OF_006), STUDY),
    ("user_changed", Here, ("110113", "110137", 'E'), "0", ("system", "pacs token"), USER),
];
