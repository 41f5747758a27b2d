//! The tar format as far as packs use it: ustar headers and pax records (POSIX.1-2017, pax).

/// Everything in a tar begins at a multiple of this.
pub(crate) const BLOCK: usize = 512;

/// Type flag of a file.
pub(crate) const REGULAR: u8 = b'0';

/// Type flag of the records about the entry that follows.
pub(crate) const RECORDS: u8 = b'x';

/// The largest size that eleven octal digits say; above it stands a `size` record.
pub(crate) const USTAR_SIZE_MAX: u64 = 0o777_7777_7777;

const ZERO: [u8; BLOCK] = [0; BLOCK];

/// What a ustar header says, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flag: u8,
    pub(crate) size: u64,
}

/// Zeros that fill up to the next block after `length`.
pub(crate) fn padding(length: u64) -> &'static [u8] {
    let over = usize::try_from(length % BLOCK as u64).unwrap_or(0);
    match over {
        0 => &[],
        _ => ZERO.get(over..).unwrap_or(&[]),
    }
}

/// `length` with its padding.
pub(crate) const fn padded(length: u64) -> u64 {
    length.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64)
}

/// A ustar header. `prefix` has at most 155 bytes and `name` at most 100; what is longer is cut.
pub(crate) fn header(prefix: &str, name: &str, flag: u8, size: u64, mtime_s: u64) -> [u8; BLOCK] {
    let mut block = ZERO;
    let size = if size > USTAR_SIZE_MAX { 0 } else { size };
    put(&mut block, 0, 100, name.as_bytes());
    put(&mut block, 100, 8, b"0000440\0");
    put(&mut block, 108, 8, b"0000000\0");
    put(&mut block, 116, 8, b"0000000\0");
    put_octal(&mut block, 124, 11, size);
    put_octal(&mut block, 136, 11, mtime_s.min(USTAR_SIZE_MAX));
    put(&mut block, 156, 1, &[flag]);
    put(&mut block, 257, 8, b"ustar\x0000");
    put(&mut block, 345, 155, prefix.as_bytes());
    put_checksum(&mut block);
    block
}

/// The header in `block` with other names.
pub(crate) fn renamed(block: &[u8], names: &Names<'_>) -> Option<[u8; BLOCK]> {
    parse_header(block)?;
    let mut block: [u8; BLOCK] = block.get(..BLOCK)?.try_into().ok()?;
    for (at, length, text) in [
        (0, 100, names.name),
        (157, 100, names.link),
        (345, 155, names.prefix),
    ] {
        block.get_mut(at..at + length)?.fill(0);
        put(&mut block, at, length, text.as_bytes());
    }
    put_checksum(&mut block);
    Some(block)
}

/// The names in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) name: &'a str,
    pub(crate) link: &'a str,
}

impl<'a> Names<'a> {
    /// Those of the header in `block`; `None` where they are no text.
    pub(crate) fn of(block: &'a [u8]) -> Option<Self> {
        let text = |at: usize, length: usize| {
            let field = block.get(at..at.checked_add(length)?)?;
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
            std::str::from_utf8(field.get(..end)?).ok()
        };
        Some(Self {
            prefix: text(345, 155)?,
            name: text(0, 100)?,
            link: text(157, 100)?,
        })
    }
}

fn put(block: &mut [u8; BLOCK], at: usize, length_max: usize, bytes: &[u8]) {
    let length = bytes.len().min(length_max);
    if let (Some(to), Some(from)) = (block.get_mut(at..at + length), bytes.get(..length)) {
        to.copy_from_slice(from);
    }
}

/// Writes `value` in so many octal digits, which are enough for it, and the zero that ends them.
fn put_octal(block: &mut [u8; BLOCK], at: usize, digits: usize, value: u64) {
    let mut rest = value;
    for place in block.iter_mut().skip(at).take(digits).rev() {
        let [.., low] = rest.to_be_bytes();
        *place = b'0' + (low & 7);
        rest >>= 3;
    }
}

fn put_checksum(block: &mut [u8; BLOCK]) {
    let sum = checksum(block);
    put_octal(block, 148, 6, u64::from(sum));
    put(block, 154, 2, b"\0 ");
}

/// The sum of all bytes, those of the checksum field taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let all: u32 = block.iter().map(|b| u32::from(*b)).sum();
    let field: u32 = block.iter().skip(148).take(8).map(|b| u32::from(*b)).sum();
    all - field + 8 * u32::from(b' ')
}

/// Reads a header; `None` where the block is not one of ours.
pub(crate) fn parse_header(block: &[u8]) -> Option<Header> {
    let block: &[u8; BLOCK] = block.get(..BLOCK)?.try_into().ok()?;
    if block.get(257..265)? != b"ustar\x0000" {
        return None;
    }
    let sum = octal(block.get(148..154)?)?;
    if sum != u64::from(checksum(block)) {
        return None;
    }
    Some(Header {
        flag: *block.get(156)?,
        size: octal(block.get(124..135)?)?,
    })
}

fn octal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

/// Appends the pax record `key=value`, whose key is given in two parts.
pub(crate) fn push_record(records: &mut Vec<u8>, key: [&str; 2], value: &str) {
    let [first, second] = key;
    // The length counts its own digits.
    let rest = first.len() + second.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + decimal_digits(length) {
        length = rest + decimal_digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [" ", first, second, "=", value, "\n"] {
        records.extend_from_slice(part.as_bytes());
    }
}

/// How many digits `number` has.
pub(crate) const fn decimal_digits(mut number: usize) -> usize {
    let mut digits = 1;
    while number > 9 {
        number /= 10;
        digits += 1;
    }
    digits
}

/// One pax record, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) at: usize,
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
}

/// Reads pax records; `None` where they are not well-formed to the last byte.
pub(crate) fn parse_records(records: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < records.len() {
        let rest = records.get(at..)?;
        let space = rest.iter().take(8).position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(rest.get(..space)?).ok()?.parse().ok()?;
        let text = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
        let (key, value) = std::str::from_utf8(text).ok()?.split_once('=')?;
        all.push(Record { at, key, value });
        at += length;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_what_was_put_into_it() {
        let block = header("1.2/3.4", "5.6.dcm", REGULAR, 526_000, 1_795_000_000);

        let parsed = parse_header(&block).unwrap();

        assert_eq!(parsed.flag, REGULAR);
        assert_eq!(parsed.size, 526_000);
    }

    #[test]
    fn a_header_with_other_names_is_the_same_but_for_them() {
        let names = Names {
            prefix: "1.2.3",
            name: "erased/4.5",
            link: "6.7",
        };
        let block = header("long/prefix", "a/long/name/of/a/file.dcm", RECORDS, 526, 9);

        let renamed = renamed(&block, &names).unwrap();

        assert_eq!(parse_header(&renamed), parse_header(&block));
        assert_eq!(Names::of(&renamed), Some(names));
        let back = Names::of(&block).unwrap();
        assert_eq!(super::renamed(&renamed, &back), Some(block));
        assert_eq!(super::renamed(&[7; BLOCK], &names), None);
    }

    #[test]
    fn a_header_with_one_bit_changed_is_refused() {
        let block = header("1.2/3.4", "5.6.dcm", REGULAR, 526_000, 1_795_000_000);
        for at in 0..BLOCK {
            let mut changed = block;
            changed[at] ^= 1;
            if (154..156).contains(&at) {
                continue; // the end of the checksum field says nothing
            }
            assert_eq!(parse_header(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn records_of_every_length_are_read_back() {
        for length in [0, 1, 85, 86, 87, 88, 89, 90, 91, 985, 986, 987, 988, 990] {
            let mut records = Vec::new();
            push_record(&mut records, ["k", "ey"], &"v".repeat(length));
            push_record(&mut records, ["x", ""], "line\nbreak=");

            let parsed = parse_records(&records).unwrap();

            assert_eq!(parsed[0].value.len(), length);
            assert_eq!(parsed[1].value, "line\nbreak=");
        }
    }

    #[test]
    fn broken_records_are_refused() {
        for text in [
            "9 a=b\n",
            "5 a=b\n",
            "7 a=b\n",
            "x a=b\n",
            " a=b\n",
            "6 ab\n",
            "0 a=b\n",
            "1 a=b\n",
            "99999999999999999999 a=b\n",
            "6 a=b",
        ] {
            assert_eq!(parse_records(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_records(b"6 a=b\n").unwrap().len(), 1);
    }

    #[test]
    fn padding_fills_to_the_next_block() {
        for length in [0, 1, 511, 512, 513, 1_024, 526_001] {
            let all = length + padding(length).len() as u64;
            assert_eq!(all % 512, 0);
            assert_eq!(all, padded(length));
        }
    }
}
