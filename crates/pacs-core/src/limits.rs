//! Every bound on bytes from outside, in one place.

/// Bounds of the scanner. At any of them the data set is refused with [`crate::scan::ScanError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Nesting of sequences. Structured reports rarely pass 20; toolkits die near 1,000.
    pub depth_max: usize,
    /// Elements outside pixel data, nested ones included.
    pub elements_max: usize,
    /// Bytes of values before the pixel data, those of [`Self::bulk_bytes_min`] and more left out:
    /// they are skipped, not held.
    pub head_bytes_max: usize,
    /// From how many bytes on a value is bulk data (an encapsulated document, a waveform).
    pub bulk_bytes_min: usize,
    /// Bytes that a deflated data set may become.
    pub inflated_bytes_max: u64,
    /// Inflated bytes for each deflated one, once [`Self::inflate_ratio_from_bytes`] have come out.
    pub inflate_ratio_max: u64,
    /// Where the ratio begins to count: short data sets of zeros are honest.
    pub inflate_ratio_from_bytes: u64,
    /// Bytes of one text value that the index keeps; what is longer is cut there.
    pub text_bytes_max: usize,
    /// Bytes of all values that the index keeps of one instance; values beyond are left out,
    /// identifiers not.
    pub indexed_bytes_max: usize,
    /// Items of one sequence that the index keeps; those beyond are left out.
    pub indexed_items_max: usize,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            depth_max: 64,
            elements_max: 1_000_000,
            head_bytes_max: 64 << 20,
            bulk_bytes_min: 64 << 10,
            inflated_bytes_max: 16 << 30,
            inflate_ratio_max: 200,
            inflate_ratio_from_bytes: 16 << 20,
            text_bytes_max: 16 << 10,
            indexed_bytes_max: 256 << 10,
            indexed_items_max: 64,
        }
    }
}

/// Bytes of an answer of the citizen register: persons take some kilobytes.
pub const REGISTER_ANSWER_BYTES_MAX: usize = 1 << 20;

/// Bounds of coercion ([`crate::coerce`]). At any of them the data set is refused with
/// [`crate::coerce::CoerceError`], and its sender may send it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoerceLimits {
    /// Bounds of the scanner.
    pub scan: ScanLimits,
    /// Bytes of a data set up to the last attribute that may be changed, (0040,0275): they are held
    /// until it is known if anything is.
    pub head_bytes_max: usize,
    /// Bytes of one text that may have to be written in another character set.
    pub text_bytes_max: usize,
}

impl Default for CoerceLimits {
    fn default() -> Self {
        Self {
            scan: ScanLimits::default(),
            head_bytes_max: 16 << 20,
            text_bytes_max: 4 << 20,
        }
    }
}

/// Nesting of sequences in what is written and in what is matched. What was read is bounded by
/// [`ScanLimits::depth_max`] and [`QueryLimits::depth_max`] already; this bounds what a program
/// builds.
pub const ITEM_DEPTH_MAX: usize = 64;

/// Bounds of the data sets of storage commitment (PS3.4 Annex J).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitmentLimits {
    /// Bytes of the data set: [`Self::references_max`] references fit, however long their UIDs.
    pub data_set_bytes_max: usize,
    /// References of one request, the largest of studies among them; more is refused (0213H).
    pub references_max: usize,
    /// Nesting of sequences: two have a meaning.
    pub depth_max: usize,
}

impl Default for CommitmentLimits {
    fn default() -> Self {
        Self {
            data_set_bytes_max: 2 << 20,
            references_max: 10_000,
            depth_max: 8,
        }
    }
}

/// Characters of the name of a user.
pub const USER_NAME_CHARS_MAX: usize = 64;

/// Characters of a password that stands alone (NIST SP 800-63B-4).
pub const PASSWORD_CHARS_MIN: usize = 15;

/// Characters of a password beside a second factor.
pub const PASSWORD_CHARS_MIN_WITH_SECOND_FACTOR: usize = 12;

/// Characters of a password: more is not hashed.
pub const PASSWORD_CHARS_MAX: usize = 128;

/// Bytes of what is typed as a passcode, with hyphens and spaces; more is none.
pub const PASSCODE_TYPED_BYTES_MAX: usize = 128;

/// Characters that explain why a patient was opened, or what a reviewer thinks of it.
pub const BREAK_GLASS_TEXT_CHARS_MIN: usize = 10;

/// Of the same, at most.
pub const BREAK_GLASS_TEXT_CHARS_MAX: usize = 1_000;

/// Instances that one rejection note names, as far as it is heeded: each of them may stand in a
/// study and a series of its own, and the document that is kept of the note has 1 MiB at most.
pub const REJECTION_NOTE_REFERENCES_MAX: usize = 3_000;

/// Characters of a text of an audit event: a name, a reason, a code.
pub const AUDIT_TEXT_CHARS_MAX: usize = 256;

/// Characters of a query in an audit event.
pub const AUDIT_QUERY_CHARS_MAX: usize = 4_096;

/// Studies that an audit event lists; of those beyond it has the number.
pub const AUDIT_STUDIES_MAX: usize = 1_000;

/// Instances that an audit event lists, of all its studies; of those beyond it has the number.
pub const AUDIT_INSTANCES_MAX: usize = 5_000;

/// Kinds of images that one grant of a role names, so that an audit record can say them.
pub const KINDS_OF_GRANT_MAX: usize = 12;

/// Departments that one grant of a role names.
pub const DEPARTMENTS_OF_GRANT_MAX: usize = 12;

/// Characters of the code of a department.
pub const DEPARTMENT_CODE_CHARS_MAX: usize = 16;

/// Bounds of a data set that is read whole, as those of N-CREATE and N-SET are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSetLimits {
    /// Bytes of the data set. A performed procedure step names every instance it made: some 150
    /// bytes for each.
    pub bytes_max: usize,
    /// Nesting of sequences.
    pub depth_max: usize,
    /// Elements, nested ones included.
    pub elements_max: usize,
}

impl Default for DataSetLimits {
    fn default() -> Self {
        Self {
            bytes_max: 2 << 20,
            depth_max: 16,
            elements_max: 100_000,
        }
    }
}

/// Characters of a section of a report: some ten pages.
pub const REPORT_SECTION_CHARS_MAX: usize = 20_000;

/// Bounds of a query identifier and of the matcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Bytes of an identifier; more is refused (A900H).
    pub identifier_bytes_max: usize,
    /// Nesting of sequence keys.
    pub depth_max: usize,
    /// Keys of a query, nested ones included.
    pub keys_max: usize,
    /// Values of one key, as in a list of UIDs.
    pub list_values_max: usize,
    /// Ranges and wild cards among the values of one key: each is tried on each candidate.
    pub list_patterns_max: usize,
    /// Characters of one matching value.
    pub value_chars_max: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            identifier_bytes_max: 1 << 20,
            depth_max: 8,
            keys_max: 1_000,
            list_values_max: 10_000,
            list_patterns_max: 16,
            value_chars_max: 1_024,
        }
    }
}
