//! Which departments of an organisation a role is held for.

use super::Work;
use crate::limits::DEPARTMENTS_OF_GRANT_MAX;
use crate::organisation::{DepartmentCode, DepartmentCodeError};
use std::fmt;

/// The departments that a role is held for; empty: for every one. Their codes are those of the
/// organisation where it is held. On disk and to clients they are words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<DepartmentCode>", into = "Vec<DepartmentCode>")]
pub struct Departments(Vec<DepartmentCode>);

/// Why a role is not held for these departments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DepartmentsError {
    /// No code of a department.
    #[error(transparent)]
    Code(#[from] DepartmentCodeError),
    /// More than a grant names.
    #[error("a role is held for {DEPARTMENTS_OF_GRANT_MAX} departments at most, or for all")]
    TooMany,
}

impl Departments {
    /// These departments, in order and each once.
    ///
    /// # Errors
    /// [`DepartmentsError`].
    pub fn new(codes: impl IntoIterator<Item = DepartmentCode>) -> Result<Self, DepartmentsError> {
        let mut codes: Vec<DepartmentCode> = codes.into_iter().collect();
        codes.sort();
        codes.dedup();
        if codes.len() > DEPARTMENTS_OF_GRANT_MAX {
            return Err(DepartmentsError::TooMany);
        }
        Ok(Self(codes))
    }

    /// Reads words.
    ///
    /// # Errors
    /// [`DepartmentsError`].
    pub fn of_words<'a>(
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, DepartmentsError> {
        let codes = words.into_iter().map(DepartmentCode::parse);
        let codes: Result<Vec<DepartmentCode>, DepartmentCodeError> = codes.collect();
        Self::new(codes?)
    }

    /// Whether a role is held for every department.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them alone.
    pub fn each(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.iter().map(|code| Self(vec![code.clone()]))
    }

    pub(super) fn admit(&self, work: Work<'_>) -> bool {
        self.is_empty()
            || match work {
                Work::Any => true,
                Work::Of { department, .. } => department.is_some_and(|of| self.0.contains(of)),
            }
    }
}

impl TryFrom<Vec<DepartmentCode>> for Departments {
    type Error = DepartmentsError;

    fn try_from(codes: Vec<DepartmentCode>) -> Result<Self, DepartmentsError> {
        Self::new(codes)
    }
}

impl From<Departments> for Vec<DepartmentCode> {
    fn from(departments: Departments) -> Self {
        departments.0
    }
}

/// Their codes, with commas.
impl fmt::Display for Departments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, code) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{code}")?;
        }
        Ok(())
    }
}
