//! Every bound on what comes from a medium, in one place.

use pacs_core::limits::ScanLimits;

/// Characters of a component of a File ID on a medium that we write (PS3.10 8.2).
pub const COMPONENT_CHARS_MAX: usize = 8;

/// Bytes of a component of a File ID that we read: as long as file systems have them.
pub const COMPONENT_BYTES_MAX: usize = 255;

/// Components of a File ID that we read; PS3.10 8.2 has 8.
pub const COMPONENTS_MAX: usize = 16;

/// Bounds of reading media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaLimits {
    /// Folders within folders.
    pub folder_depth_max: usize,
    /// Names of one folder that are sorted and held at a time; more come in further portions.
    pub names_max: usize,
    /// Bytes of a DICOMDIR, which is held while it is read; a larger one is refused.
    pub dicomdir_bytes_max: u64,
    /// Records of a DICOMDIR; those beyond are refused with it.
    pub dicomdir_records_max: usize,
    /// Entries of a ZIP archive; one with more is refused.
    pub zip_entries_max: usize,
    /// Bytes of the name of a ZIP entry; one with more is refused.
    pub zip_name_bytes_max: usize,
    /// Bytes that one compressed file may become.
    pub inflated_bytes_max: u64,
    /// Inflated bytes for each compressed one, once [`Self::inflate_ratio_from_bytes`] came out.
    pub inflate_ratio_max: u64,
    /// Where the ratio begins to count: short files of zeros are honest.
    pub inflate_ratio_from_bytes: u64,
    /// Bytes that are read of a file at once.
    pub chunk_bytes: usize,
    /// Bounds of reading an instance's head.
    pub scan: ScanLimits,
}

impl Default for MediaLimits {
    fn default() -> Self {
        Self {
            folder_depth_max: 64,
            names_max: 65_536,
            dicomdir_bytes_max: 256 << 20,
            dicomdir_records_max: 1_000_000,
            zip_entries_max: 1_000_000,
            zip_name_bytes_max: 4_096,
            inflated_bytes_max: 16 << 30,
            inflate_ratio_max: 200,
            inflate_ratio_from_bytes: 16 << 20,
            chunk_bytes: 1 << 20,
            scan: ScanLimits::default(),
        }
    }
}
