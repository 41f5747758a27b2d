//! What a report says of an examination, and what follows from another one being signed.
//!
//! A report is written as a draft, which only its writer sees, and signed as a version. A signed
//! version never changes: it is amended or added to by the next one, and stays to be read.

use crate::limits::REPORT_SECTION_CHARS_MAX;
use std::fmt;

/// The language that a report is written in (RFC 5646).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    En,
    /// Kyrgyz.
    Ky,
    /// Russian.
    Ru,
}

impl Language {
    /// Its tag.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ky => "ky",
            Self::Ru => "ru",
        }
    }

    /// Its name in English, as code meanings have it.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ky => "Kyrgyz",
            Self::Ru => "Russian",
        }
    }
}

/// A part of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// «Дополнение»: what was added to a report that stays as it was.
    Addendum,
    /// «Заключение».
    Conclusion,
    /// «Описание».
    Description,
    /// «Рекомендации».
    Recommendations,
}

impl Section {
    /// What it is called in errors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Addendum => "addendum",
            Self::Conclusion => "conclusion",
            Self::Description => "description",
            Self::Recommendations => "recommendations",
        }
    }
}

/// Why a text cannot be part of a report. Texts are never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It has a control character other than the end of a line.
    #[error("the {} of a report has a control character", .0.name())]
    Control(Section),
    /// It is longer than [`REPORT_SECTION_CHARS_MAX`].
    #[error("the {} of a report has more than {REPORT_SECTION_CHARS_MAX} characters", .0.name())]
    TooLong(Section),
}

/// What a report says. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReportText {
    /// The language of all of it.
    pub language: Language,
    /// «Описание».
    #[serde(default)]
    pub description: String,
    /// «Заключение».
    #[serde(default)]
    pub conclusion: String,
    /// «Рекомендации».
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recommendations: String,
    /// «Дополнение»: all that was added since the sections were signed last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub addendum: String,
}

impl fmt::Debug for ReportText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

impl ReportText {
    /// One in which nothing is written yet.
    #[must_use]
    pub const fn empty(language: Language) -> Self {
        Self {
            language,
            description: String::new(),
            conclusion: String::new(),
            recommendations: String::new(),
            addendum: String::new(),
        }
    }

    /// The same with lines that end by a line feed, and without spaces at the ends.
    ///
    /// # Errors
    /// [`TextError`], naming the section.
    pub fn checked(mut self) -> Result<Self, TextError> {
        for (section, text) in [
            (Section::Description, &mut self.description),
            (Section::Conclusion, &mut self.conclusion),
            (Section::Recommendations, &mut self.recommendations),
            (Section::Addendum, &mut self.addendum),
        ] {
            *text = text.replace("\r\n", "\n").trim().to_owned();
            if text.chars().nth(REPORT_SECTION_CHARS_MAX).is_some() {
                return Err(TextError::TooLong(section));
            }
            // A tab is what people press to indent.
            if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')) {
                return Err(TextError::Control(section));
            }
        }
        Ok(self)
    }

    /// Whether the sections of `other` say the same; what was added to them is not looked at.
    #[must_use]
    pub fn has_sections_of(&self, other: &Self) -> bool {
        self.language == other.language
            && self.description == other.description
            && self.conclusion == other.conclusion
            && self.recommendations == other.recommendations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> ReportText {
        ReportText {
            description: " Өпкө таза.\r\nТүйүн жок.\n".to_owned(),
            conclusion: "Патология жок".to_owned(),
            ..ReportText::empty(Language::Ky)
        }
    }

    #[test]
    fn lines_end_in_one_way_and_spaces_outside_go() {
        let checked = text().checked().unwrap();
        assert_eq!(checked.description, "Өпкө таза.\nТүйүн жок.");
        assert_eq!(checked.clone().checked(), Ok(checked));
    }

    #[test]
    fn what_could_not_be_shown_or_is_too_long_is_refused_by_its_section() {
        for (bad, error) in [
            (
                "a\u{1b}[2J".to_owned(),
                TextError::Control(Section::Conclusion),
            ),
            ("a\rb".to_owned(), TextError::Control(Section::Conclusion)),
            (
                "ө".repeat(REPORT_SECTION_CHARS_MAX + 1),
                TextError::TooLong(Section::Conclusion),
            ),
        ] {
            let wrong = ReportText {
                conclusion: bad,
                ..text()
            };
            assert_eq!(wrong.checked(), Err(error));
            assert!(!format!("{error}").contains('ө'));
        }
        let longest = ReportText {
            conclusion: "ө".repeat(REPORT_SECTION_CHARS_MAX),
            ..text()
        };
        assert!(longest.checked().is_ok());
    }

    #[test]
    fn an_addendum_is_no_change_of_the_sections() {
        let added = ReportText {
            addendum: "Сравнение со снимками 2024 года.".to_owned(),
            ..text()
        };
        assert!(added.has_sections_of(&text()));
        let changed = ReportText {
            recommendations: "Контроль через год".to_owned(),
            ..text()
        };
        assert!(!changed.has_sections_of(&text()));
        assert_eq!(format!("{added:?}"), "[patient data]");
    }
}
