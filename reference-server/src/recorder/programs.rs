//! What is recorded of a file that may be a program: its preamble, whole, since nobody keeps it
//! otherwise (PS3.15 A.5.3, Security Alert).

use crate::place;
use base64ct::{Base64, Encoding as _};
use pacs_core::audit::{Act, Actor, AuditEvent, ChangeDigests, Outcome, StateDigest, StudyTouched};
use pacs_core::scan::file::PREAMBLE_BYTES;
use pacs_web::record::ProgramSent;

/// That `actor` brought it. Zeros took the place of the preamble, whose digest is the one before;
/// the reason says what it was, and its bytes in base64.
#[must_use]
pub fn event(actor: Actor, sent: ProgramSent<'_>) -> AuditEvent {
    let bytes = sent.preamble.bytes();
    let digest = |bytes: &[u8]| Some(StateDigest(blake3::hash(bytes).into()));
    let mut event = AuditEvent::new(Act::PreambleReplaced, place::now(), actor);
    // What was done about it was enough (PS3.15 A.5.3).
    event.outcome = Outcome::SeriousFailure;
    event.reason = Some(format!(
        "{} in preamble: {}",
        sent.preamble.kind(),
        Base64::encode_string(bytes)
    ));
    event.change = Some(ChangeDigests {
        before: digest(bytes),
        after: digest(&[0; PREAMBLE_BYTES]),
    });
    event
        .object
        .studies
        .extend(sent.study.map(|study| StudyTouched {
            study: study.clone(),
            sop_class: sent.sop_class.cloned(),
            instances_count: 1,
            instances: sent.sop_instance.cloned().into_iter().collect(),
        }));
    event
}
