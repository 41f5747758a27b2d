//! Identity documents: passports, identity cards, birth certificates.

use std::fmt;

/// Why texts name no document. The texts themselves are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not three letters.
    #[error("the issuing country is three letters, as in the machine-readable zone")]
    Country,
    /// Not five to nine digits.
    #[error("the number of a document is five to nine digits")]
    Number,
    /// Not one to three letters.
    #[error("the series of a document is one to three letters")]
    Series,
}

/// A document by issuing country (ISO 3166-1, three letters), series and number. `Debug` does not
/// show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Document {
    country: Box<str>,
    series: Box<str>,
    number: Box<str>,
}

impl Document {
    /// Reads the parts as they are typed: in either case, with spaces, and with Cyrillic letters
    /// that look like Latin ones.
    ///
    /// # Errors
    /// [`DocumentError`], naming the part.
    pub fn parse(country: &str, series: &str, number: &str) -> Result<Self, DocumentError> {
        let letters = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
            let text: String = latin(text, *lengths.end());
            let fits = lengths.contains(&text.len());
            (fits && text.bytes().all(|b| b.is_ascii_uppercase())).then(|| text.into_boxed_str())
        };
        let digits = latin(number, 9);
        if !(5..=9).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DocumentError::Number);
        }
        Ok(Self {
            country: letters(country, 3..=3).ok_or(DocumentError::Country)?,
            series: letters(series, 1..=3).ok_or(DocumentError::Series)?,
            number: digits.into(),
        })
    }

    /// Reads the identifier as it goes into data sets: `KGZ-ID1234567`.
    ///
    /// # Errors
    /// [`DocumentError`], naming the part.
    pub fn read(identifier: &str) -> Result<Self, DocumentError> {
        let (country, rest) = identifier.split_once('-').ok_or(DocumentError::Country)?;
        let digits = rest.find(|c: char| c.is_ascii_digit());
        let (series, number) = rest.split_at(digits.ok_or(DocumentError::Number)?);
        Self::parse(country, series, number)
    }

    /// The issuing country, the series and the number.
    #[must_use]
    pub fn parts(&self) -> (&str, &str, &str) {
        (&self.country, &self.series, &self.number)
    }

    /// The identifier that goes into data sets, such as `KGZ-ID1234567`.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}-{}{}", self.country, self.series, self.number)
    }
}

/// `text` in capitals without spaces and hyphens, look-alikes as Latin letters; one character more
/// than `chars_max` at most, which is enough to see that it is too long.
fn latin(text: &str, chars_max: usize) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .flat_map(char::to_uppercase)
        .map(|c| match c {
            'А' => 'A',
            'В' => 'B',
            'Е' => 'E',
            'К' => 'K',
            'М' => 'M',
            'Н' => 'H',
            'О' => 'O',
            'Р' => 'P',
            'С' => 'C',
            'Т' => 'T',
            'Х' => 'X',
            c => c,
        })
        .take(chars_max.saturating_add(1))
        .collect()
}

impl TryFrom<String> for Document {
    type Error = DocumentError;

    fn try_from(identifier: String) -> Result<Self, DocumentError> {
        Self::read(&identifier)
    }
}

impl From<Document> for String {
    fn from(document: Document) -> Self {
        document.reveal()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[patient data]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_as_they_are_typed() {
        for (country, series, number, identifier) in [
            ("KGZ", "ID", "1234567", "KGZ-ID1234567"),
            ("kgz", "id", "123 45 67", "KGZ-ID1234567"),
            ("UZB", "АВ", "1234567", "UZB-AB1234567"),
            ("KGZ", "ас", "12345", "KGZ-AC12345"),
        ] {
            let document = Document::parse(country, series, number).unwrap();
            assert_eq!(document.reveal(), identifier);
            assert!(!format!("{document:?}").contains("12345"));
            let json = serde_json::to_string(&document).unwrap();
            assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
        }
    }

    #[test]
    fn the_part_that_is_wrong_is_named() {
        for (country, series, number, why) in [
            ("KG", "ID", "1234567", DocumentError::Country),
            ("KGZЖ", "ID", "1234567", DocumentError::Country),
            ("KGZ", "", "1234567", DocumentError::Series),
            ("KGZ", "ABCD", "1234567", DocumentError::Series),
            ("KGZ", "Ж", "1234567", DocumentError::Series),
            ("KGZ", "ID", "1234", DocumentError::Number),
            ("KGZ", "ID", "1234567890", DocumentError::Number),
            ("KGZ", "ID", "12345б7", DocumentError::Number),
        ] {
            assert_eq!(Document::parse(country, series, number), Err(why));
        }
        for text in [
            "",
            "-",
            "KGZ",
            "KGZ-",
            "KGZ-ID",
            "KGZ-1234567",
            "17",
            "A-17",
        ] {
            assert!(Document::read(text).is_err(), "{text}");
        }
    }
}
