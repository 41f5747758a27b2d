//! Passcodes: by them somebody who is signed in is known at a workstation, whose associations carry
//! a name and a passcode (PS3.7 D.3.3.7, type 2). The archive makes them; nobody chooses one.

use crate::limits::PASSCODE_TYPED_BYTES_MAX;
use std::fmt;

/// Digits of a passcode, of five bits each.
const DIGITS_COUNT: usize = 28;

/// Digits that stand together where a passcode is shown.
const GROUP_COUNT: usize = 4;

/// Digits that nobody takes for one another (base 32 of Crockford).
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A passcode of 140 random bits. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Passcode(String);

impl fmt::Debug for Passcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[passcode]")
    }
}

impl Passcode {
    /// Makes one of random bytes; five bits of each count.
    #[must_use]
    pub fn new(random: [u8; DIGITS_COUNT]) -> Self {
        let digits = random.iter().filter_map(|byte| {
            let digit = DIGITS.get(usize::from(byte & 31));
            digit.copied().map(char::from)
        });
        Self(digits.collect())
    }

    /// Reads one as it is typed or pasted: in any case, with hyphens and spaces anywhere, and with
    /// letters for the digits that they look like.
    #[must_use]
    pub fn read(typed: &[u8]) -> Option<Self> {
        if typed.len() > PASSCODE_TYPED_BYTES_MAX {
            return None;
        }
        let mut digits = String::with_capacity(DIGITS_COUNT);
        for byte in typed {
            let digit = match byte.to_ascii_lowercase() {
                b'-' | b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'o' => b'0',
                b'i' | b'l' => b'1',
                digit => digit,
            };
            if !DIGITS.contains(&digit) {
                return None;
            }
            digits.push(char::from(digit));
        }
        (digits.len() == DIGITS_COUNT).then_some(Self(digits))
    }

    /// Its digits alone: of them what is kept is made.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// As people see it, this once.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = String::new();
        for (at, digit) in self.0.chars().enumerate() {
            if at > 0 && at.is_multiple_of(GROUP_COUNT) {
                shown.push('-');
            }
            shown.push(digit);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passcode() -> Passcode {
        let mut random = [0; DIGITS_COUNT];
        for (byte, value) in random.iter_mut().zip((0..=u8::MAX).step_by(9)) {
            *byte = value;
        }
        Passcode::new(random)
    }

    #[test]
    fn a_passcode_is_shown_in_groups_and_read_however_it_is_typed() {
        let shown = passcode().shown();
        assert_eq!(shown, "09jv-4dpz-8ht3-cny7-gs2b-mx6f-r1ak");
        for typed in [
            shown.clone(),
            shown.to_uppercase(),
            shown.replace('-', ""),
            shown.replace('-', " ") + "\r\n",
            shown.replace('0', "O").replace('1', "l"),
            shown.replace('1', "I"),
        ] {
            assert_eq!(
                Passcode::read(typed.as_bytes()),
                Some(passcode()),
                "{typed}"
            );
        }
        assert_eq!(format!("{:?}", passcode()), "[passcode]");
    }

    #[test]
    fn what_is_no_passcode_is_not_read() {
        let shown = passcode().shown();
        for wrong in [
            String::new(),
            shown.replace('9', "u"),
            shown.replace('9', "é"),
            shown.replace('9', "\0"),
            shown.replacen('9', "", 1),
            format!("{shown}0"),
            shown + &" ".repeat(PASSCODE_TYPED_BYTES_MAX),
        ] {
            assert_eq!(Passcode::read(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Passcode::read(&[0xff; DIGITS_COUNT]), None);
    }
}
