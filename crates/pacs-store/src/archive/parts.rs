//! Parts of stored data sets: what is asked for, and no more.

use super::{Archive, RetrievePermit};
use crate::error::ReadError;
use crate::index::StoredInstance;
use crate::retrieve::{self, DataSetReader};
use std::ops::Range;

impl Archive {
    /// A part of the data set of `instance`; nothing where the range lies behind its end. A part
    /// has no digest to be compared with.
    pub fn read_range(
        &self,
        _permit: &impl RetrievePermit,
        instance: &StoredInstance,
        range: &Range<u64>,
    ) -> DataSetReader {
        DataSetReader::part(&self.shared, instance.location, instance.digest, range)
    }

    /// As [`Self::read_range`], at once, in this thread and into memory: for short parts that
    /// decide what else is read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_now(
        &self,
        _permit: &impl RetrievePermit,
        instance: &StoredInstance,
        range: &Range<u64>,
    ) -> Result<Vec<u8>, ReadError> {
        retrieve::read_now(&self.shared.files, instance.location, range)
    }
}
