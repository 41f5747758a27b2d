//! Reads the head of an instance.

use crate::instance::{Instance, InstanceError};
use crate::limits::ScanLimits;
use crate::uid::TransferSyntaxUid;

pub(crate) fn read_instance(
    _data_set: &[u8],
    _transfer_syntax: &TransferSyntaxUid,
    _limits: &ScanLimits,
) -> Result<Instance, InstanceError> {
    Err(InstanceError::Missing {
        tag: crate::tag::tags::SOP_INSTANCE_UID,
    })
}
