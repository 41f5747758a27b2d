//! Code extensions: escape sequences switch sets within a value (PS3.5 6.1.2.5).

use super::ESCAPE;
use super::set::{Set, Sets};
use crate::tag::Vr;
use encoding_rs::Encoding;

/// What bytes below 0x80 mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Ascii,
    JisX0208,
    JisX0212,
    /// ISO-IR 13 called to the left, which PS3.5 does not foresee.
    Katakana,
}

/// An escape sequence: its bytes after ESC, and what it switches.
enum Switch {
    Left(Left, Set),
    Right(Set),
}

/// The sequences of PS3.3 tables C.12-3 and C.12-4. ISO-IR 14 is read as ASCII: its yen sign and
/// overline stand where the backslash and tilde are, and DICOM uses the former as its delimiter.
const SEQUENCES: &[(&[u8], Switch)] = &[
    (b"(B", Switch::Left(Left::Ascii, Set::Ascii)),
    (b"(J", Switch::Left(Left::Ascii, Set::Katakana)),
    (b"(I", Switch::Left(Left::Katakana, Set::Katakana)),
    (b"$B", Switch::Left(Left::JisX0208, Set::JisX0208)),
    (b"$@", Switch::Left(Left::JisX0208, Set::JisX0208)),
    (b"$(D", Switch::Left(Left::JisX0212, Set::JisX0212)),
    (b")I", Switch::Right(Set::Katakana)),
    (b"-A", Switch::Right(Set::Latin1)),
    (b"-B", Switch::Right(Set::Latin2)),
    (b"-C", Switch::Right(Set::Latin3)),
    (b"-D", Switch::Right(Set::Latin4)),
    (b"-F", Switch::Right(Set::Greek)),
    (b"-G", Switch::Right(Set::Arabic)),
    (b"-H", Switch::Right(Set::Hebrew)),
    (b"-L", Switch::Right(Set::Cyrillic)),
    (b"-M", Switch::Right(Set::Turkish)),
    (b"-T", Switch::Right(Set::Thai)),
    (b"-b", Switch::Right(Set::Latin9)),
    (b"$)A", Switch::Right(Set::Gb2312)),
    (b"$)C", Switch::Right(Set::KsX1001)),
];

/// Decodes a value, and says whether it follows its sets.
pub(super) fn decode(first: Set, declared: Sets, vr: Vr, bytes: &[u8]) -> (String, bool) {
    let mut decoder = Decoder {
        first,
        declared,
        left: Left::Ascii,
        right: first,
        called: None,
        out: String::with_capacity(bytes.len()),
        follows: true,
    };
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            ESCAPE => decoder.escape(tail),
            0..0x20 | 0x7F => {
                decoder.delimiter(byte);
                tail
            }
            _ if byte < 0x80 => decoder.left(rest, vr),
            _ => decoder.right(rest),
        };
    }
    (decoder.out, decoder.follows)
}

struct Decoder {
    first: Set,
    declared: Sets,
    left: Left,
    right: Set,
    /// The last set of two bytes on the right that was called.
    called: Option<Set>,
    out: String,
    follows: bool,
}

impl Decoder {
    fn escape<'a>(&mut self, tail: &'a [u8]) -> &'a [u8] {
        for (sequence, switch) in SEQUENCES {
            let Some(rest) = tail.strip_prefix(*sequence) else {
                continue;
            };
            let set = match switch {
                Switch::Left(left, set) => {
                    self.left = *left;
                    *set
                }
                Switch::Right(set) => {
                    self.right = *set;
                    self.called = Some(*set);
                    *set
                }
            };
            // ASCII may always be called back.
            self.follows &= set == Set::Ascii || self.declared.contains(set);
            return rest;
        }
        // An unknown sequence, or a lone ESC.
        self.follows = false;
        self.out.push(char::from(ESCAPE));
        tail
    }

    /// A byte that ends a line, a value or a component: value 1 is in force again (PS3.5
    /// 6.1.2.5.3).
    fn delimiter(&mut self, byte: u8) {
        self.left = Left::Ascii;
        self.right = self.first;
        self.out.push(char::from(byte));
    }

    fn left<'a>(&mut self, bytes: &'a [u8], vr: Vr) -> &'a [u8] {
        let (lead, encoding): (&[u8], _) = match self.left {
            Left::Ascii => return self.ascii(bytes, vr),
            Left::Katakana => {
                let run = run_of(bytes, |b| (0x21..0x60).contains(&b));
                return self.katakana(bytes, run);
            }
            Left::JisX0208 => (&[], encoding_rs::EUC_JP),
            Left::JisX0212 => (&[0x8F], encoding_rs::EUC_JP),
        };
        let run = run_of(bytes, |b| (0x21..0x7F).contains(&b));
        if run < 2 {
            // A space, or half a character.
            return self.ascii(bytes, vr);
        }
        let (pairs, rest) = bytes.split_at_checked(run & !1).unwrap_or((bytes, &[]));
        let mut euc = Vec::with_capacity(pairs.len().saturating_mul(2));
        for &[a, b] in pairs.as_chunks::<2>().0 {
            euc.extend_from_slice(lead);
            euc.extend_from_slice(&[a | 0x80, b | 0x80]);
        }
        self.push_decoded(encoding, &euc);
        rest
    }

    fn katakana<'a>(&mut self, bytes: &'a [u8], run: usize) -> &'a [u8] {
        let Some((kana, rest)) = bytes.split_at_checked(run.max(1)) else {
            return &[];
        };
        for &b in kana {
            let character = Set::Katakana.high(b | 0x80);
            self.follows &= character.is_some();
            self.out.push(character.unwrap_or(char::from(b)));
        }
        rest
    }

    fn ascii<'a>(&mut self, bytes: &'a [u8], vr: Vr) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else {
            return &[];
        };
        let is_delimiter = match byte {
            b'\\' => !matches!(vr, Vr::LT | Vr::ST | Vr::UT),
            b'^' | b'=' => vr == Vr::PN,
            _ => false,
        };
        if is_delimiter {
            self.delimiter(byte);
        } else {
            self.out.push(char::from(byte));
        }
        rest
    }

    fn right<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut set = self.right;
        if !set.is_single_byte() || set == Set::Ascii {
            // Some senders do not call their set again after a delimiter.
            let again = self.called.filter(|_| set == Set::Ascii);
            if let Some(called) = again {
                self.follows = false;
                set = called;
            }
        }
        let encoding = if set == Set::Gb2312 {
            encoding_rs::GBK
        } else if set == Set::KsX1001 {
            encoding_rs::EUC_KR
        } else {
            return self.right_single(set, bytes);
        };
        let run = run_of(bytes, |b| b >= 0x80);
        let (pairs, rest) = bytes.split_at_checked(run).unwrap_or((bytes, &[]));
        self.push_decoded(encoding, pairs);
        rest
    }

    fn right_single<'a>(&mut self, set: Set, bytes: &'a [u8]) -> &'a [u8] {
        let Some((&byte, rest)) = bytes.split_first() else {
            return &[];
        };
        let character = set.high(byte);
        self.follows &= character.is_some();
        self.out
            .push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest
    }

    fn push_decoded(&mut self, encoding: &'static Encoding, bytes: &[u8]) {
        let (text, has_errors) = encoding.decode_without_bom_handling(bytes);
        self.follows &= !has_errors;
        self.out.push_str(&text);
    }
}

/// How many bytes at the start are of a kind.
fn run_of(bytes: &[u8], kind: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|&&b| kind(b)).count()
}
