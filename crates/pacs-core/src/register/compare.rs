//! What somebody said against what the register says.

use super::RegisteredPerson;
use crate::fold::k2;
use crate::patient::Sex;
use chrono::NaiveDate;
use std::fmt;

/// What was said of a patient. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Declared<'a> {
    /// The family name.
    pub family: &'a str,
    /// The given name.
    pub given: &'a str,
    /// Date of birth.
    pub birth_date: Option<NaiveDate>,
    /// Sex.
    pub sex: Option<Sex>,
}

impl fmt::Debug for Declared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

/// Whether the two are of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// They are.
    Agrees,
    /// They contradict: somebody has to look.
    Contradicts,
}

impl RegisteredPerson {
    /// Compares. Names count as equal where they sound the same, whatever script they are in; what
    /// nobody said contradicts nothing, but a date of birth has to be said.
    #[must_use]
    pub fn agreement(&self, declared: &Declared<'_>) -> Agreement {
        let is_same_name = |of_register: &str, said: &str| {
            let (of_register, said) = (k2(of_register), k2(said));
            of_register == said
        };
        let is_same_sex = match (self.sex, declared.sex) {
            (Some(of_register), Some(said)) => of_register == said || said == Sex::Other,
            _ => true,
        };
        let agrees = declared.birth_date == Some(self.birth_date)
            && is_same_sex
            && is_same_name(&self.family, declared.family)
            && (declared.given.is_empty() || is_same_name(&self.given, declared.given));
        if agrees {
            Agreement::Agrees
        } else {
            Agreement::Contradicts
        }
    }
}
