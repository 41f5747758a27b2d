//! A document of the records, as it stands in a backup: one line of JSON.

use crate::records::{Record, Revision};
use std::fmt;

/// A document, with the name of its kind. `Debug` does not show what it says.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Document {
    kind: String,
    key: String,
    revision: u64,
    value: Value,
}

/// Documents are text, as far as we make them; others are kept as well.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Value {
    Bytes(Vec<u8>),
    Text(String),
}

impl Document {
    /// Of a record and the name of its kind.
    #[must_use]
    pub fn new(kind: &str, record: Record) -> Self {
        Self {
            kind: kind.to_owned(),
            key: record.key,
            revision: record.revision.0,
            value: match String::from_utf8(record.value) {
                Ok(text) => Value::Text(text),
                Err(error) => Value::Bytes(error.into_bytes()),
            },
        }
    }

    /// The name of its kind, and the record.
    #[must_use]
    pub fn into_record(self) -> (String, Record) {
        let record = Record {
            key: self.key,
            revision: Revision(self.revision),
            value: match self.value {
                Value::Text(text) => text.into_bytes(),
                Value::Bytes(bytes) => bytes,
            },
        };
        (self.kind, record)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("kind", &self.kind)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back_from_its_line_whatever_it_says() {
        for value in [&b""[..], "текст\n".as_bytes(), &[0, 255, 128]] {
            let record = Record {
                key: "k\n".to_owned(),
                revision: Revision(u64::MAX),
                value: value.to_vec(),
            };
            let document = Document::new("cursor", record.clone());

            let line = serde_json::to_string(&document).unwrap();
            let back: Document = serde_json::from_str(&line).unwrap();

            assert!(!line.contains('\n'));
            assert_eq!(back.into_record(), ("cursor".to_owned(), record));
        }
    }
}
