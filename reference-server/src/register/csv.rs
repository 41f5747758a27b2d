//! A table in a text file: fields between commas, semicolons or tabs, as spreadsheets write them
//! (RFC 4180). The first line names the columns and shows what separates them.

/// Fields of one line.
const FIELDS_MAX: usize = 64;

/// Bytes of one field.
const FIELD_BYTES_MAX: usize = 4 << 10;

/// Why a text is no table. Shows nothing of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsvError {
    /// Text behind a closing quote, or a quote that is not closed.
    #[error("line {line}: a quotation mark that does not fit")]
    Quote {
        /// Where.
        line: usize,
    },
    /// A field or a line is longer than any.
    #[error("line {line}: a field is too long, or there are too many")]
    TooMuch {
        /// Where.
        line: usize,
    },
}

/// A line, by its number from 1 on, and its fields.
pub(super) type Row = (usize, Vec<String>);

/// The lines of a table; empty ones are passed over.
#[derive(Debug)]
pub(super) struct Rows<'t> {
    rest: &'t str,
    line: usize,
    between: char,
}

impl<'t> Rows<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let first = text.lines().next().unwrap_or_default();
        let count = |between: char| first.matches(between).count();
        let between = [';', '\t', ',']
            .into_iter()
            .max_by_key(|between| count(*between))
            .unwrap_or(',');
        Self {
            rest: text,
            line: 0,
            between,
        }
    }

    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Row>, CsvError> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            self.line = self.line.saturating_add(1);
            let at = self.line;
            let fields = self.fields()?;
            if fields.iter().any(|field| !field.is_empty()) {
                return Ok(Some((at, fields)));
            }
        }
    }

    fn fields(&mut self) -> Result<Vec<String>, CsvError> {
        let mut fields = Vec::new();
        loop {
            let too_much = CsvError::TooMuch { line: self.line };
            let field = match self.rest.strip_prefix('"') {
                Some(quoted) => self.quoted(quoted)?,
                None => {
                    let end = self.rest.find([self.between, '\n', '\r']);
                    let end = end.unwrap_or(self.rest.len());
                    let (field, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    field.trim().to_owned()
                }
            };
            if field.len() > FIELD_BYTES_MAX || fields.len() >= FIELDS_MAX {
                return Err(too_much);
            }
            fields.push(field);
            if let Some(rest) = self.rest.strip_prefix(self.between) {
                self.rest = rest;
                continue;
            }
            let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
            if !rest.is_empty() && !rest.starts_with('\n') && rest.len() == self.rest.len() {
                return Err(CsvError::Quote { line: self.line });
            }
            self.rest = rest.strip_prefix('\n').unwrap_or(rest);
            return Ok(fields);
        }
    }

    /// A field between quotation marks; two of them are one.
    fn quoted(&mut self, mut quoted: &'t str) -> Result<String, CsvError> {
        let unclosed = CsvError::Quote { line: self.line };
        let mut field = String::new();
        loop {
            let (text, rest) = quoted.split_once('"').ok_or(unclosed)?;
            self.line = self.line.saturating_add(text.matches('\n').count());
            field.push_str(text);
            if field.len() > FIELD_BYTES_MAX {
                return Err(CsvError::TooMuch { line: self.line });
            }
            match rest.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    quoted = more;
                }
                None => {
                    self.rest = rest;
                    return Ok(field.trim().to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Row>, CsvError> {
        let mut rows = Rows::new(text);
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(row);
        }
        Ok(all)
    }

    #[test]
    fn what_spreadsheets_write_is_read() {
        let row = |line, fields: &[&str]| (line, fields.iter().map(|f| (*f).to_owned()).collect());
        for between in [",", ";", "\t"] {
            let text = "\u{FEFF}a,b,c\r\n1, x ,\r\n\r\n\"2\",\"y, \"\"z\"\"\nnext\",3\n,,\n4,5,6"
                .replace(',', between);
            let expected = vec![
                row(1, &["a", "b", "c"]),
                row(2, &["1", "x", ""]),
                row(4, &["2", &format!("y{between} \"z\"\nnext"), "3"]),
                row(7, &["4", "5", "6"]),
            ];
            assert_eq!(all(&text).unwrap(), expected);
        }
        assert_eq!(all("").unwrap(), []);
    }

    #[test]
    fn what_is_broken_is_named_by_its_line() {
        assert_eq!(all("a,b\n\"1,2\n"), Err(CsvError::Quote { line: 2 }));
        assert_eq!(all("a\n\"1\"2\n"), Err(CsvError::Quote { line: 2 }));
        let long = format!("a\n{}", "x".repeat(FIELD_BYTES_MAX + 1));
        assert_eq!(all(&long), Err(CsvError::TooMuch { line: 2 }));
        let wide = ",".repeat(FIELDS_MAX + 1);
        assert_eq!(all(&wide), Err(CsvError::TooMuch { line: 1 }));
    }
}
