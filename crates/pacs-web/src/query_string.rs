//! The query of a URL (RFC 3986 3.4), as forms write it: `%XX` and `+` for a space.

use crate::error::Failure;
use crate::limits::WebLimits;

/// The decoded parameters, in their order.
///
/// # Errors
/// [`Failure::BadRequest`], [`Failure::TooLarge`].
pub(crate) fn parameters(
    query: Option<&str>,
    limits: &WebLimits,
) -> Result<Vec<(String, String)>, Failure> {
    let query = query.unwrap_or_default();
    if query.len() > limits.query_bytes_max {
        return Err(Failure::TooLarge {
            detail: "the query is too long".to_owned(),
        });
    }
    let mut parameters = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        if parameters.len() >= limits.parameters_max {
            return Err(Failure::TooLarge {
                detail: "the query has too many parameters".to_owned(),
            });
        }
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        parameters.push((decode(name)?, decode(value)?));
    }
    Ok(parameters)
}

/// Takes the percent signs off.
fn decode(text: &str) -> Result<String, Failure> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let broken = || Failure::bad_request("the query has a broken percent encoding");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2).ok_or_else(broken)?;
                let digits = std::str::from_utf8(digits).map_err(|_| broken())?;
                if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(broken());
                }
                bytes.push(u8::from_str_radix(digits, 16).map_err(|_| broken())?);
                rest = after;
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| Failure::bad_request("the query is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<(String, String)> {
        parameters(Some(query), &WebLimits::default()).unwrap()
    }

    #[test]
    fn carets_stars_spaces_and_letters_of_any_script_come_through() {
        let read = read("PatientName=%D0%90*%5E%2A+B&&00100020=a%2Bb=c&x");
        let expected = [("PatientName", "А*^* B"), ("00100020", "a+b=c"), ("x", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(read, expected);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused() {
        for query in ["a=%", "a=%4", "a=%zz", "a=%+1", "a=%ff", "%=1"] {
            let refused = parameters(Some(query), &WebLimits::default());
            assert!(
                matches!(refused, Err(Failure::BadRequest { .. })),
                "{query}"
            );
        }
        let many = "a&".repeat(10_000);
        let refused = parameters(Some(&many), &WebLimits::default());
        assert!(matches!(refused, Err(Failure::TooLarge { .. })));
    }
}
