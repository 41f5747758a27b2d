//! A wrapper that keeps patient data out of logs and messages.

use std::fmt;

/// A value that says something about a patient. `Debug` and `Display` never show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Phi<T>(T);

impl<T> Phi<T> {
    /// Wraps `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for use in the archive's own answers; never for a log or an error.
    #[must_use]
    pub const fn reveal(&self) -> &T {
        &self.0
    }

    /// Takes the value out.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

impl<T> fmt::Display for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_format_shows_the_value() {
        let name = Phi::new("CANARY^NAME");

        assert!(!format!("{name} {name:?} {name:#?}").contains("CANARY"));
        assert_eq!(*name.reveal(), "CANARY^NAME");
    }
}
