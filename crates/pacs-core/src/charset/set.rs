//! The sets that PS3.3 C.12.1.1.2 defines terms for, and their right halves.

use encoding_rs::Encoding;
use std::sync::LazyLock;

/// A character set, by the registration it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Set {
    /// ISO-IR 6
    Ascii,
    /// ISO-IR 127
    Arabic,
    /// ISO-IR 144
    Cyrillic,
    /// GB18030
    Gb18030,
    /// ISO-IR 58
    Gb2312,
    /// GBK
    Gbk,
    /// ISO-IR 126
    Greek,
    /// ISO-IR 138
    Hebrew,
    /// ISO-IR 87
    JisX0208,
    /// ISO-IR 159
    JisX0212,
    /// ISO-IR 13 with ISO-IR 14
    Katakana,
    /// ISO-IR 149
    KsX1001,
    /// ISO-IR 100
    Latin1,
    /// ISO-IR 101
    Latin2,
    /// ISO-IR 109
    Latin3,
    /// ISO-IR 110
    Latin4,
    /// ISO-IR 203
    Latin9,
    /// ISO-IR 166
    Thai,
    /// ISO-IR 148
    Turkish,
    /// ISO-IR 192
    Utf8,
}

impl Set {
    /// The set that a defined term names. What devices write instead is understood too: other
    /// separators, lower case.
    pub(crate) fn of_term(term: &str) -> Option<Self> {
        let letters: String = term
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let registration = letters
            .strip_prefix("ISO2022IR")
            .or_else(|| letters.strip_prefix("ISOIR"))
            .or_else(|| letters.strip_prefix("ISO2022"));
        Some(match registration.unwrap_or(&letters) {
            "" | "6" => Self::Ascii,
            "13" => Self::Katakana,
            "58" => Self::Gb2312,
            "87" => Self::JisX0208,
            "100" => Self::Latin1,
            "101" => Self::Latin2,
            "109" => Self::Latin3,
            "110" => Self::Latin4,
            "126" => Self::Greek,
            "127" => Self::Arabic,
            "138" => Self::Hebrew,
            "144" => Self::Cyrillic,
            "148" => Self::Turkish,
            "149" => Self::KsX1001,
            "159" => Self::JisX0212,
            "166" => Self::Thai,
            "192" => Self::Utf8,
            "203" => Self::Latin9,
            "GB18030" => Self::Gb18030,
            "GBK" => Self::Gbk,
            _ => return None,
        })
    }

    /// The character of a byte above 0x7F, where the set is one of single bytes and has one there.
    pub(crate) fn high(self, byte: u8) -> Option<char> {
        if byte < 0xA0 {
            return None;
        }
        match self {
            Self::Latin1 => Some(char::from(byte)),
            Self::Katakana => {
                let offset = byte.checked_sub(0xA1).filter(|_| byte <= 0xDF)?;
                char::from_u32(0xFF61_u32.saturating_add(u32::from(offset)))
            }
            Self::Turkish => Some(turkish(byte)),
            Self::Arabic
            | Self::Cyrillic
            | Self::Greek
            | Self::Hebrew
            | Self::Latin2
            | Self::Latin3
            | Self::Latin4
            | Self::Latin9
            | Self::Thai => self.table_entry(byte),
            Self::Ascii
            | Self::Gb18030
            | Self::Gb2312
            | Self::Gbk
            | Self::JisX0208
            | Self::JisX0212
            | Self::KsX1001
            | Self::Utf8 => None,
        }
    }

    fn table_entry(self, byte: u8) -> Option<char> {
        let table = RIGHT_HALVES
            .iter()
            .find(|(set, _)| *set == self)
            .map(|(_, table)| table)?;
        let at = usize::from(byte.checked_sub(0xA0)?);
        table
            .get(at)
            .copied()
            .filter(|&c| c != char::REPLACEMENT_CHARACTER)
    }

    /// Whether its characters are single bytes with a right half.
    pub(crate) fn is_single_byte(self) -> bool {
        self == Self::Ascii || self.high(0xC1).is_some()
    }
}

/// ISO 8859-9 is ISO 8859-1 with six letters of Turkish; `encoding_rs` knows only the Windows
/// superset.
fn turkish(byte: u8) -> char {
    match byte {
        0xD0 => 'Ğ',
        0xDD => 'İ',
        0xDE => 'Ş',
        0xF0 => 'ğ',
        0xFD => 'ı',
        0xFE => 'ş',
        other => char::from(other),
    }
}

/// Characters of 0xA0 to 0xFF.
static RIGHT_HALVES: LazyLock<Vec<(Set, Vec<char>)>> = LazyLock::new(|| {
    let half = |encoding: &'static Encoding| -> Vec<char> {
        (0xA0..=0xFF)
            .map(|byte: u8| {
                encoding
                    .decode_without_bom_handling_and_without_replacement(&[byte])
                    .and_then(|text| text.chars().next())
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            })
            .collect()
    };
    [
        (Set::Arabic, encoding_rs::ISO_8859_6),
        (Set::Cyrillic, encoding_rs::ISO_8859_5),
        (Set::Greek, encoding_rs::ISO_8859_7),
        (Set::Hebrew, encoding_rs::ISO_8859_8),
        (Set::Latin2, encoding_rs::ISO_8859_2),
        (Set::Latin3, encoding_rs::ISO_8859_3),
        (Set::Latin4, encoding_rs::ISO_8859_4),
        (Set::Latin9, encoding_rs::ISO_8859_15),
        (Set::Thai, encoding_rs::WINDOWS_874),
    ]
    .map(|(set, encoding)| (set, half(encoding)))
    .into()
});

/// Several sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sets(u32);

impl Sets {
    pub(crate) const NONE: Self = Self(0);

    const fn bit(set: Set) -> u32 {
        1_u32.wrapping_shl(set as u32)
    }

    pub(crate) fn add(&mut self, set: Set) {
        self.0 |= Self::bit(set);
    }

    pub(crate) fn contains(self, set: Set) -> bool {
        self.0 & Self::bit(set) != 0
    }

    /// Whether there are others than `first`, or `first` itself works by escape sequences.
    pub(crate) fn has_extensions(self, first: Set) -> bool {
        self.0 & !Self::bit(first) != 0
            || matches!(
                first,
                Set::Gb2312 | Set::JisX0208 | Set::JisX0212 | Set::KsX1001
            )
    }
}
