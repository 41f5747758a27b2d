//! Which kinds of images a role is held for.

use super::{Permission, Role};
use crate::examination::reconcile::Kind;
use crate::limits::KINDS_OF_GRANT_MAX;
use crate::organisation::DepartmentCode;
use std::fmt;

/// Which part of the work of an organisation is meant, where roles are held for some kinds of
/// images, or for some departments, alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work<'a> {
    /// Whichever part of it.
    Any,
    /// Images, and what is of them.
    Of {
        /// Their kind; `None`: whichever it is, or nobody knows it.
        kind: Option<&'a Kind>,
        /// The department of the organisation; `None`: whichever it is, or nobody knows it.
        department: Option<&'a DepartmentCode>,
    },
}

impl<'a> Work<'a> {
    /// All of it; or one of which nobody knows what it is.
    pub const ALL: Self = Self::Of {
        kind: None,
        department: None,
    };

    /// Images of this kind, and of no department that is known.
    #[must_use]
    pub const fn of_kind(kind: &'a Kind) -> Self {
        Self::Of {
            kind: Some(kind),
            department: None,
        }
    }
}

/// The kinds of images that a role is held for; empty: for every kind. On disk and to clients they
/// are words: see [`Kind::of_word`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Kinds(Vec<Kind>);

/// Why a role is not held for these kinds of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KindsError {
    /// More than a grant names.
    #[error("a role is held for {KINDS_OF_GRANT_MAX} kinds of images at most, or for all")]
    TooMany,
    /// No kind of images.
    #[error("a kind of images is ct, mr, xray or another Modality, as in US")]
    Unknown,
}

impl Kinds {
    /// These kinds, in order and each once.
    ///
    /// # Errors
    /// [`KindsError`].
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Result<Self, KindsError> {
        let mut kinds: Vec<Kind> = kinds.into_iter().collect();
        if !kinds.iter().all(Kind::is_fit) {
            return Err(KindsError::Unknown);
        }
        kinds.sort();
        kinds.dedup();
        if kinds.len() > KINDS_OF_GRANT_MAX {
            return Err(KindsError::TooMany);
        }
        Ok(Self(kinds))
    }

    /// Reads words.
    ///
    /// # Errors
    /// [`KindsError`].
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, KindsError> {
        let kinds = words.into_iter().map(Kind::of_word);
        let kinds: Option<Vec<Kind>> = kinds.collect();
        Self::new(kinds.ok_or(KindsError::Unknown)?)
    }

    /// Whether a role is held for every kind.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn admit(&self, work: Work<'_>) -> bool {
        self.is_empty()
            || match work {
                Work::Any => true,
                Work::Of { kind, .. } => kind.is_some_and(|kind| self.0.contains(kind)),
            }
    }
}

impl TryFrom<Vec<String>> for Kinds {
    type Error = KindsError;

    fn try_from(words: Vec<String>) -> Result<Self, KindsError> {
        Self::of_words(words.iter().map(String::as_str))
    }
}

impl From<Kinds> for Vec<String> {
    fn from(kinds: Kinds) -> Self {
        kinds.0.iter().map(|kind| kind.word().to_owned()).collect()
    }
}

/// Their words, with commas.
impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, kind) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{}", kind.word())?;
        }
        Ok(())
    }
}

impl Permission {
    /// Whether it is about examinations and their images, so that the kinds of images and the
    /// departments count for which a role is held. Bringing images in shows nobody anything; in an
    /// emergency a patient is opened whole.
    #[must_use]
    pub const fn is_about_images(self) -> bool {
        match self {
            Self::Export
            | Self::ImageEraseApprove
            | Self::ImageErasePropose
            | Self::ImageReject
            | Self::ImageRestore
            | Self::ImageView
            | Self::OrderCancel
            | Self::OrderCreate
            | Self::OrderEdit
            | Self::Reconcile
            | Self::ReportView
            | Self::ReportWrite
            | Self::ResultSend
            | Self::Statistics
            | Self::WorklistQuery => true,
            Self::AuditRead
            | Self::BreakGlass
            | Self::ImageStore
            | Self::OrganisationsManage
            | Self::PatientEdit
            | Self::PatientMerge
            | Self::PatientSearch
            | Self::UsersManage => false,
        }
    }
}

impl Role {
    /// Whether it may be held for some kinds of images, or some departments, alone. Those who look
    /// after people, machines or the archive, or read the audit record, do so whole.
    #[must_use]
    pub const fn takes_limits(self) -> bool {
        match self {
            Self::Device
            | Self::Expert
            | Self::Operator
            | Self::Radiographer
            | Self::Radiologist
            | Self::Referrer
            | Self::Service => true,
            Self::ArchiveAdmin | Self::Auditor | Self::MohAdmin | Self::OrgAdmin => false,
        }
    }
}
