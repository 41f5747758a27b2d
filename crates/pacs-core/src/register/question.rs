//! What the register is asked.

use crate::Pin;
use crate::patient::{Document, Identifier};
use chrono::NaiveDate;
use std::fmt;

/// A service of the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Where somebody lives, by PIN.
    Address,
    /// A foreigner, by document.
    Foreigner,
    /// Somebody, by PIN and passport.
    Passport,
    /// Somebody, by PIN.
    Person,
    /// PINs, by name and date of birth.
    Pins,
}

impl Service {
    /// Every service, in order.
    pub const ALL: [Self; 5] = [
        Self::Address,
        Self::Foreigner,
        Self::Passport,
        Self::Person,
        Self::Pins,
    ];

    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Foreigner => "foreigner",
            Self::Passport => "passport",
            Self::Person => "person",
            Self::Pins => "pins",
        }
    }
}

/// A question. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// Where does the holder live?
    Address(Pin),
    /// Whose is this document?
    Foreigner {
        /// The document.
        document: String,
        /// The code that the register wants with it.
        code: String,
    },
    /// Whose are this PIN and this passport?
    Passport {
        /// The PIN.
        pin: Pin,
        /// The series.
        series: String,
        /// The number.
        number: String,
    },
    /// Who is the holder?
    Person(Pin),
    /// Who is called so and was born on that day?
    Pins {
        /// The family name.
        family: String,
        /// The given name.
        given: String,
        /// The patronymic; empty where there is none.
        patronymic: String,
        /// Date of birth.
        birth_date: NaiveDate,
    },
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

impl Question {
    /// The service that answers it.
    #[must_use]
    pub const fn service(&self) -> Service {
        match self {
            Self::Address(_) => Service::Address,
            Self::Foreigner { .. } => Service::Foreigner,
            Self::Passport { .. } => Service::Passport,
            Self::Person(_) => Service::Person,
            Self::Pins { .. } => Service::Pins,
        }
    }

    /// The PIN it is about: the answer must be about the same.
    #[must_use]
    pub const fn pin(&self) -> Option<&Pin> {
        match self {
            Self::Address(pin) | Self::Passport { pin, .. } | Self::Person(pin) => Some(pin),
            Self::Foreigner { .. } | Self::Pins { .. } => None,
        }
    }

    /// Whose is this document? Of citizens the register wants to know the PIN besides.
    #[must_use]
    pub fn foreigner(of: &Document) -> Self {
        let (country, series, number) = of.parts();
        Self::Foreigner {
            document: format!("{series}{number}"),
            code: country.to_owned(),
        }
    }

    /// The identifier that it is about, by which a patient may be known here.
    #[must_use]
    pub fn identifier(&self) -> Option<Identifier> {
        match self {
            Self::Address(pin) | Self::Passport { pin, .. } | Self::Person(pin) => {
                Some(Identifier::Pin(pin.clone()))
            }
            Self::Foreigner { document, code } => {
                let document = Document::read(&format!("{code}-{document}")).ok();
                document.map(Identifier::Document)
            }
            Self::Pins { .. } => None,
        }
    }

    /// The members of the request, as the services of the register name them.
    #[must_use]
    pub fn members(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Address(pin) | Self::Person(pin) => vec![("pin", pin.reveal().to_owned())],
            Self::Foreigner { document, code } => {
                vec![("doc", document.clone()), ("code", code.clone())]
            }
            Self::Passport {
                pin,
                series,
                number,
            } => vec![
                ("pin", pin.reveal().to_owned()),
                ("series", series.clone()),
                ("number", number.clone()),
            ],
            Self::Pins {
                family,
                given,
                patronymic,
                birth_date,
            } => {
                let mut members = vec![("name", given.clone()), ("surname", family.clone())];
                if !patronymic.is_empty() {
                    members.push(("patronymic", patronymic.clone()));
                }
                members.push(("birthdate", birth_date.to_string()));
                members
            }
        }
    }

    /// The question as the audit record keeps it: with the PIN as lists show it.
    #[must_use]
    pub fn masked(&self) -> String {
        let name = self.service().name();
        match self {
            Self::Address(pin) | Self::Person(pin) | Self::Passport { pin, .. } => {
                format!("register {name} KG-PIN {}", pin.masked())
            }
            Self::Foreigner { .. } => format!("register {name} KG-DOC"),
            Self::Pins {
                family,
                given,
                birth_date,
                ..
            } => crate::audit::masked(&format!("register {name} {family} {given} {birth_date}")),
        }
    }
}
