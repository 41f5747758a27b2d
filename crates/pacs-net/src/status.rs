//! DIMSE statuses (PS3.7 Annex C, PS3.4 B.2.3, C.4), one type per service.

use pacs_core::Tag;
use std::borrow::Cow;

/// Longest Error Comment (0000,0902): VR LO.
const COMMENT_CHARS_MAX: usize = 64;

/// What all statuses have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Status {
    code: u16,
    comment: Cow<'static, str>,
    offending_elements: Vec<Tag>,
    error_id: Option<u16>,
}

/// What a status code means for the operation (PS3.7 C.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// The operation was cancelled.
    Cancel,
    /// It failed.
    Failure,
    /// More responses will follow.
    Pending,
    /// It succeeded.
    Success,
    /// It succeeded with a reservation.
    Warning,
}

impl StatusClass {
    /// The class of a code.
    #[must_use]
    pub const fn of(code: u16) -> Self {
        match code {
            0 => Self::Success,
            0xff00 | 0xff01 => Self::Pending,
            0xfe00 => Self::Cancel,
            0x0001 | 0x0107 | 0x0116 | 0xb000..=0xbfff => Self::Warning,
            _ => Self::Failure,
        }
    }
}

/// The text that an Error Comment may carry: printable ASCII, at most 64 characters.
#[must_use]
pub(crate) fn error_comment(text: &str) -> Option<String> {
    let text: String = text
        .chars()
        .map(|c| match c {
            '\\' => '/',
            ' '..='~' => c,
            _ => '?',
        })
        .take(COMMENT_CHARS_MAX)
        .collect();
    (!text.is_empty()).then_some(text)
}

macro_rules! statuses {
    ($(
        $(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $constant:ident = $code:literal,)* }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(Status);

        impl $name {
            $(
                $(#[$of])*
                pub const $constant: Self = Self::of($code);
            )*

            /// Every code that has a name here.
            pub const CODES: &'static [u16] = &[$($code),*];

            /// With a code that has no name here.
            #[must_use]
            pub const fn of(code: u16) -> Self {
                Self(Status {
                    code,
                    comment: Cow::Borrowed(""),
                    offending_elements: Vec::new(),
                    error_id: None,
                })
            }

            /// With an Error Comment for the peer's operator: no patient data, 64 characters.
            #[must_use]
            pub fn with_comment(mut self, comment: impl Into<Cow<'static, str>>) -> Self {
                self.0.comment = comment.into();
                self
            }

            /// With the elements that were at fault.
            #[must_use]
            pub fn with_offending_elements(mut self, elements: Vec<Tag>) -> Self {
                self.0.offending_elements = elements;
                self
            }

            /// With an Error ID that its service defines (PS3.7 C.4.2).
            #[must_use]
            pub const fn with_error_id(mut self, error_id: u16) -> Self {
                self.0.error_id = Some(error_id);
                self
            }

            /// Status (0000,0900).
            #[must_use]
            pub const fn code(&self) -> u16 {
                self.0.code
            }

            /// What the code means.
            #[must_use]
            pub const fn class(&self) -> StatusClass {
                StatusClass::of(self.0.code)
            }

            /// Error Comment (0000,0902).
            #[must_use]
            pub fn comment(&self) -> &str {
                &self.0.comment
            }

            /// Offending Element (0000,0901).
            #[must_use]
            pub fn offending_elements(&self) -> &[Tag] {
                &self.0.offending_elements
            }

            /// Error ID (0000,0903).
            #[must_use]
            pub const fn error_id(&self) -> Option<u16> {
                self.0.error_id
            }

            /// Puts the status into a response.
            pub(crate) fn fill(&self, response: &mut crate::dimse::CommandSet) {
                response.status = Some(self.0.code);
                response.error_comment = error_comment(&self.0.comment);
                // PS3.7 C.4.3, C.5: some statuses of N services name attributes in another way.
                let named = if matches!(self.0.code, 0x0105 | 0x0107 | 0x0120) {
                    &mut response.attribute_identifiers
                } else {
                    &mut response.offending_elements
                };
                named.clone_from(&self.0.offending_elements);
                response.error_id = self.0.error_id;
            }
        }
    )*};
}

statuses! {
    /// Status of C-ECHO (PS3.7 9.1.5.1.4).
    EchoStatus {
        /// Verified.
        SUCCESS = 0x0000,
        /// Verification is not offered here.
        SOP_CLASS_NOT_SUPPORTED = 0x0122,
    }
    /// Status of C-STORE (PS3.4 B.2.3, PS3.7 9.1.1.1.9).
    StoreStatus {
        /// Kept.
        SUCCESS = 0x0000,
        /// Kept, with data elements coerced.
        COERCED = 0xb000,
        /// Kept, with data elements discarded.
        ELEMENTS_DISCARDED = 0xb006,
        /// Kept, though the data set does not match its SOP class.
        MISMATCH_WARNING = 0xb007,
        /// Not kept for lack of space or time: the peer may try again.
        OUT_OF_RESOURCES = 0xa700,
        /// The data set does not match its SOP class, or the UIDs of the command.
        DATA_SET_MISMATCH = 0xa900,
        /// The data set cannot be understood.
        CANNOT_UNDERSTAND = 0xc000,
        /// Not kept, for a reason of our own.
        PROCESSING_FAILURE = 0x0110,
        /// SOP Instance UID of the command is no UID.
        INVALID_SOP_INSTANCE = 0x0117,
        /// The SOP class is not taken.
        SOP_CLASS_NOT_SUPPORTED = 0x0122,
        /// The caller may not store.
        NOT_AUTHORIZED = 0x0124,
        /// The message breaks PS3.7.
        MISTYPED_ARGUMENT = 0x0212,
    }
    /// Status of C-FIND (PS3.4 C.4.1.1.4).
    FindStatus {
        /// All matches were sent.
        SUCCESS = 0x0000,
        /// Ended by C-CANCEL.
        CANCEL = 0xfe00,
        /// The query is too large to answer.
        OUT_OF_RESOURCES = 0xa700,
        /// The identifier does not match the SOP class.
        IDENTIFIER_MISMATCH = 0xa900,
        /// The query cannot be answered.
        UNABLE_TO_PROCESS = 0xc000,
        /// The SOP class is not offered here.
        SOP_CLASS_NOT_SUPPORTED = 0x0122,
        /// The caller may not search.
        NOT_AUTHORIZED = 0x0124,
    }
    /// Status of C-GET and C-MOVE (PS3.4 C.4.2.1.5, C.4.3.1.4).
    RetrieveStatus {
        /// All sub-operations succeeded.
        SUCCESS = 0x0000,
        /// Some sub-operations failed or had warnings.
        SUB_OPERATIONS_FAILED = 0xb000,
        /// Ended by C-CANCEL.
        CANCEL = 0xfe00,
        /// The number of matches cannot be found out.
        OUT_OF_RESOURCES_MATCHES = 0xa701,
        /// No sub-operation could be done.
        OUT_OF_RESOURCES_SUB_OPERATIONS = 0xa702,
        /// C-MOVE names a destination that is not known, or that the caller may not use.
        MOVE_DESTINATION_UNKNOWN = 0xa801,
        /// The identifier does not match the SOP class.
        IDENTIFIER_MISMATCH = 0xa900,
        /// The request cannot be done.
        UNABLE_TO_PROCESS = 0xc000,
        /// The SOP class is not offered here.
        SOP_CLASS_NOT_SUPPORTED = 0x0122,
        /// The caller may not retrieve.
        NOT_AUTHORIZED = 0x0124,
    }
    /// Status of N-ACTION (PS3.7 10.1.4.1.10).
    ActionStatus {
        /// Taken.
        SUCCESS = 0x0000,
        /// It cannot be taken, for a reason of our own.
        PROCESSING_FAILURE = 0x0110,
        /// The SOP instance is not the one that this can be asked of.
        NO_SUCH_SOP_INSTANCE = 0x0112,
        /// The data set is not what the action needs.
        INVALID_ARGUMENT_VALUE = 0x0115,
        /// The SOP class is not offered here, or not that of the context.
        NO_SUCH_SOP_CLASS = 0x0118,
        /// The action is not known.
        NO_SUCH_ACTION_TYPE = 0x0123,
        /// The caller may not ask this.
        NOT_AUTHORIZED = 0x0124,
        /// The message breaks PS3.7.
        MISTYPED_ARGUMENT = 0x0212,
        /// More than there is room for: the peer may try again, or with less.
        RESOURCE_LIMITATION = 0x0213,
    }
    /// Status of N-CREATE (PS3.7 10.1.5.1.6).
    CreateStatus {
        /// Made.
        SUCCESS = 0x0000,
        /// An attribute has a value that it may not have.
        INVALID_ATTRIBUTE_VALUE = 0x0106,
        /// It cannot be made, for a reason of our own.
        PROCESSING_FAILURE = 0x0110,
        /// There is an instance with this UID.
        DUPLICATE_SOP_INSTANCE = 0x0111,
        /// The SOP Instance UID is no UID.
        INVALID_SOP_INSTANCE = 0x0117,
        /// The SOP class is not offered here, or not that of the context.
        NO_SUCH_SOP_CLASS = 0x0118,
        /// An attribute is absent that must be there.
        MISSING_ATTRIBUTE = 0x0120,
        /// An attribute has no value that must have one.
        MISSING_ATTRIBUTE_VALUE = 0x0121,
        /// The caller may not do this.
        NOT_AUTHORIZED = 0x0124,
        /// The message breaks PS3.7.
        MISTYPED_ARGUMENT = 0x0212,
        /// More than there is room for.
        RESOURCE_LIMITATION = 0x0213,
    }
    /// Status of N-SET (PS3.7 10.1.3.1.9).
    SetStatus {
        /// Changed.
        SUCCESS = 0x0000,
        /// Changed, but for attributes that stay as they are.
        ATTRIBUTE_LIST_ERROR = 0x0107,
        /// An attribute has a value that it may not have.
        INVALID_ATTRIBUTE_VALUE = 0x0106,
        /// It cannot be changed: any more, or for a reason of our own.
        PROCESSING_FAILURE = 0x0110,
        /// There is no instance with this UID.
        NO_SUCH_SOP_INSTANCE = 0x0112,
        /// The SOP Instance UID is no UID.
        INVALID_SOP_INSTANCE = 0x0117,
        /// The SOP class is not offered here, or not that of the context.
        NO_SUCH_SOP_CLASS = 0x0118,
        /// An attribute is absent that must be there.
        MISSING_ATTRIBUTE = 0x0120,
        /// An attribute has no value that must have one.
        MISSING_ATTRIBUTE_VALUE = 0x0121,
        /// The caller may not do this.
        NOT_AUTHORIZED = 0x0124,
        /// The message breaks PS3.7.
        MISTYPED_ARGUMENT = 0x0212,
        /// More than there is room for.
        RESOURCE_LIMITATION = 0x0213,
    }
    /// Status of N-EVENT-REPORT (PS3.7 10.1.1.1.8).
    EventStatus {
        /// Known now.
        SUCCESS = 0x0000,
        /// It could not be taken in.
        PROCESSING_FAILURE = 0x0110,
        /// The SOP instance is not one that is known.
        NO_SUCH_SOP_INSTANCE = 0x0112,
        /// The event is not known.
        NO_SUCH_EVENT_TYPE = 0x0113,
        /// The data set is not what the event needs.
        INVALID_ARGUMENT_VALUE = 0x0115,
        /// The SOP class is not one that reports are taken of.
        NO_SUCH_SOP_CLASS = 0x0118,
        /// The message breaks PS3.7.
        MISTYPED_ARGUMENT = 0x0212,
        /// More than there is room for.
        RESOURCE_LIMITATION = 0x0213,
    }
}

/// Unrecognized operation (PS3.7 C.5.22), for every command that this crate does not serve.
pub const UNRECOGNIZED_OPERATION: u16 = 0x0211;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_class_of_the_standard() {
        assert_eq!(StoreStatus::COERCED.class(), StatusClass::Warning);
        assert_eq!(StoreStatus::OUT_OF_RESOURCES.class(), StatusClass::Failure);
        assert_eq!(FindStatus::CANCEL.class(), StatusClass::Cancel);
        assert_eq!(StatusClass::of(0xff01), StatusClass::Pending);
        assert_eq!(RetrieveStatus::SUCCESS.class(), StatusClass::Success);
    }

    #[test]
    fn a_comment_is_cut_and_cleaned_for_the_wire() {
        assert_eq!(error_comment("a\\b\u{416}\n"), Some("a/b??".into()));
        assert_eq!(error_comment(&"x".repeat(99)).map(|c| c.len()), Some(64));
        assert_eq!(error_comment(""), None);
    }
}
