//! An instance to play with: what the examples send and keep.

use bytes::Bytes;
use pacs_core::encode::write_data_set;
use pacs_core::tag::{Vr, tags};
use pacs_core::uid::UidError;
use pacs_core::{Attributes, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use pacs_net::service::OutgoingInstance;
use pacs_store::Announced;

/// Secondary Capture Image Storage.
pub const SOP_CLASS: &str = "1.2.840.10008.5.1.4.1.1.7";

/// Explicit VR Little Endian.
pub const TRANSFER_SYNTAX: &str = "1.2.840.10008.1.2.1";

/// The study that [`data_set`] belongs to.
pub const STUDY: &str = "2.25.1001";

/// The data set of instance `number`, without pixels.
///
/// # Errors
/// Never, for these values.
pub fn data_set(number: u32) -> anyhow::Result<Bytes> {
    let mut attributes = Attributes::new();
    attributes.insert_text(tags::SOP_CLASS_UID, Vr::UI, SOP_CLASS);
    attributes.insert_text(
        tags::SOP_INSTANCE_UID,
        Vr::UI,
        format!("{STUDY}.1.{number}"),
    );
    attributes.insert_text(tags::STUDY_DATE, Vr::DA, "20260115");
    attributes.insert_text(tags::MODALITY, Vr::CS, "OT");
    attributes.insert_text(tags::PATIENT_NAME, Vr::PN, "Example^Patient");
    attributes.insert_text(tags::PATIENT_ID, Vr::LO, "EXAMPLE-1");
    attributes.insert_text(tags::STUDY_INSTANCE_UID, Vr::UI, STUDY);
    attributes.insert_text(tags::SERIES_INSTANCE_UID, Vr::UI, format!("{STUDY}.1"));
    attributes.insert_text(tags::INSTANCE_NUMBER, Vr::IS, number.to_string());
    let transfer_syntax = TransferSyntaxUid::parse(TRANSFER_SYNTAX)?;
    Ok(write_data_set(&attributes, &transfer_syntax)?.into())
}

/// The identifiers of instance `number`.
///
/// # Errors
/// Never, for these values.
pub fn identity(number: u32) -> Result<(SopClassUid, SopInstanceUid, TransferSyntaxUid), UidError> {
    Ok((
        SopClassUid::parse(SOP_CLASS)?,
        SopInstanceUid::parse(&format!("{STUDY}.1.{number}"))?,
        TransferSyntaxUid::parse(TRANSFER_SYNTAX)?,
    ))
}

/// What is said of instance `number` before it is kept.
///
/// # Errors
/// Never, for these values.
pub fn announced(number: u32) -> Result<Announced, UidError> {
    let (sop_class, sop_instance, transfer_syntax) = identity(number)?;
    Ok(Announced {
        sop_class,
        sop_instance,
        transfer_syntax,
    })
}

/// Instance `number`, ready to be sent.
///
/// # Errors
/// Never, for these values.
pub fn outgoing(number: u32) -> anyhow::Result<OutgoingInstance> {
    let (sop_class, sop_instance, transfer_syntax) = identity(number)?;
    let data_set = data_set(number)?;
    Ok(OutgoingInstance {
        sop_class,
        sop_instance,
        transfer_syntax,
        length_bytes: data_set.len() as u64,
        source: Box::new(vec![data_set].into_iter()),
    })
}
