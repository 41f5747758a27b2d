//! One-time codes of six digits that change every 30 seconds (RFC 6238, over HMAC-SHA-1).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use std::fmt;

/// Seconds for which a code counts.
const STEP_SECONDS: u64 = 30;

/// Codes before and after the present one that count too: clocks differ.
const STEPS_AROUND: u64 = 1;

const DIGITS: usize = 6;
const MODULUS: u32 = 1_000_000;

/// Bytes of a secret: as many as the hash has (RFC 4226 4).
const SECRET_BYTES: usize = 20;

/// The secret that the archive and a telephone share. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TotpSecret([u8; SECRET_BYTES]);

/// A text that is no [`TotpSecret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret of a second factor is 32 characters of base32")]
pub struct TotpSecretError;

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl TotpSecret {
    /// Makes a secret of random bytes.
    #[must_use]
    pub const fn new(random: [u8; SECRET_BYTES]) -> Self {
        Self(random)
    }

    /// As people type it (RFC 4648 6).
    #[must_use]
    pub fn base32(&self) -> String {
        const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut out = String::new();
        for five in self.0.chunks(5) {
            let bits = five
                .iter()
                .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for at in (0..8_u32).rev() {
                let digit = bits >> at.saturating_mul(5) & 31;
                let digit = usize::try_from(digit).ok().and_then(|at| DIGITS.get(at));
                out.extend(digit.copied().map(char::from));
            }
        }
        out
    }

    /// The address that telephones read from a picture (Key Uri Format of authenticators).
    #[must_use]
    pub fn uri(&self, issuer: &str, user: &super::UserName) -> String {
        // What stands before the colon and in the query has no other meaning there.
        let kept = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let issuer: String = issuer.chars().filter(kept).collect();
        let secret = self.base32();
        format!("otpauth://totp/{issuer}:{user}?secret={secret}&issuer={issuer}")
    }

    /// The code that a telephone shows at `now`.
    #[must_use]
    pub fn shown_at(&self, now_unix_s: u64) -> String {
        let step = now_unix_s.checked_div(STEP_SECONDS).unwrap_or_default();
        format!("{:06}", self.code(step))
    }

    /// The code of a step.
    fn code(&self, step: u64) -> u32 {
        // A key of any length is one.
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.0) else {
            return MODULUS;
        };
        mac.update(&step.to_be_bytes());
        let digest = mac.finalize().into_bytes();
        let offset = digest.last().map_or(0, |last| usize::from(last & 15));
        let part = digest.get(offset..offset.saturating_add(4));
        let part: [u8; 4] = part
            .and_then(|part| part.try_into().ok())
            .unwrap_or_default();
        let bits = u32::from_be_bytes(part) & 0x7FFF_FFFF;
        bits.checked_rem(MODULUS).unwrap_or(MODULUS)
    }

    /// The step whose code `typed` is at `now`, if it is one of the present three and after
    /// `last_step`: each code counts once, and what was seen once is worth nothing.
    #[must_use]
    pub fn check(&self, typed: &str, now_unix_s: u64, last_step: Option<u64>) -> Option<u64> {
        let typed: String = typed
            .chars()
            .filter(|c| !c.is_whitespace())
            .take(DIGITS + 1)
            .collect();
        let is_code = typed.len() == DIGITS && typed.bytes().all(|b| b.is_ascii_digit());
        let typed = typed.parse::<u32>().ok().filter(|_| is_code)?;
        let present = now_unix_s.checked_div(STEP_SECONDS)?;
        let first = present.saturating_sub(STEPS_AROUND);
        let last = present.saturating_add(STEPS_AROUND);
        // All are compared, so that the time says nothing.
        (first..=last).fold(None, |found, step| {
            let is_new = last_step.is_none_or(|used| step > used);
            if self.code(step) == typed && is_new {
                Some(step)
            } else {
                found
            }
        })
    }
}

impl TryFrom<String> for TotpSecret {
    type Error = TotpSecretError;

    fn try_from(text: String) -> Result<Self, TotpSecretError> {
        let mut secret = [0; SECRET_BYTES];
        if text.len() != 32 {
            return Err(TotpSecretError);
        }
        for (bytes, digits) in secret.chunks_mut(5).zip(text.as_bytes().chunks(8)) {
            let mut bits = 0_u64;
            for digit in digits {
                let value = match digit {
                    b'A'..=b'Z' => digit.wrapping_sub(b'A'),
                    b'2'..=b'7' => digit.wrapping_sub(b'2').wrapping_add(26),
                    _ => return Err(TotpSecretError),
                };
                bits = bits << 5 | u64::from(value);
            }
            for (byte, from) in bytes.iter_mut().zip(bits.to_be_bytes().into_iter().skip(3)) {
                *byte = from;
            }
        }
        Ok(Self(secret))
    }
}

impl From<TotpSecret> for String {
    fn from(secret: TotpSecret) -> Self {
        secret.base32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B; of its eight digits the last six.
    #[test]
    fn codes_are_those_of_the_standard() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        for (now, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.check(code, now, None), Some(now / 30), "{now}");
            assert_eq!(secret.shown_at(now), code);
        }
    }

    #[test]
    fn a_code_counts_once_and_for_the_steps_around() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        let step = 59 / 30;
        for now in [0, 29, 59, 89] {
            assert_eq!(secret.check("287082", now, None), Some(step), "{now}");
            assert_eq!(secret.check("28 70 82", now, Some(step - 1)), Some(step));
            assert_eq!(secret.check("287082", now, Some(step)), None);
        }
        assert_eq!(secret.check("287082", 90, None), None);
        for wrong in ["", "287083", "28708", "2870820", "-87082", "٢٨٧٠٨٢"] {
            assert_eq!(secret.check(wrong, 59, None), None, "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_written_for_people_and_read_back_and_not_shown() {
        let secret = TotpSecret::new(*b"12345678901234567890");
        assert_eq!(secret.base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(TotpSecret::try_from(secret.base32()), Ok(secret));
        assert!(TotpSecret::try_from("gezdg".to_owned()).is_err());
        assert!(TotpSecret::try_from("1".repeat(32)).is_err());
        assert!(!format!("{secret:?}").contains("GEZ"));
        let user = crate::account::UserName::parse("a.asanov").unwrap();
        assert_eq!(
            secret.uri("PACS & co", &user),
            "otpauth://totp/PACSco:a.asanov?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=PACSco"
        );
    }
}
