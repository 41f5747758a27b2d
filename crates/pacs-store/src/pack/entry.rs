//! One entry of a pack: its pax records, its ustar header, and what stands before the data set.

use super::mark::{self, Mark, Said};
use super::tar::{self, BLOCK};
use crate::digest::Digest;
use crate::disk::ALIGNED_BYTES;
use crate::index::{LogPosition, Provenance};
use pacs_core::{Instance, SopClassUid, TransferSyntaxUid};

/// Records have this name before their key: `tar --xattrs -x` makes them extended attributes of the
/// file, and a tar that knows nothing of them passes over them in silence.
const KEYS: &str = "SCHILY.xattr.user.pacs.";

/// Name of the header that the records hang on; a tar that knows no pax makes a file of it.
const RECORDS_NAME: &str = "PaxHeaders/pacs";

/// Longest records of an entry. Ours have some 600 bytes.
pub(crate) const RECORDS_BYTES_MAX: usize = 4_096;

/// Bytes of records in a large pack, where they are written before their values are known.
pub(crate) const LARGE_RECORDS_BYTES: usize = 2 * BLOCK;

/// Longest name of a caller that is kept; AE titles have 16.
const CALLING_CHARS_MAX: usize = 64;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A study that is erased; JSON.
    Erase,
    /// A target that goes out of sight; JSON.
    Hide,
    /// A Part 10 file.
    Instance,
    /// Names a large pack, whose instance takes this place in the log; JSON.
    Large,
    /// Says only that what is before it is durable; JSON.
    Mark,
    /// A target that comes back into sight; JSON.
    Restore,
}

impl Kind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Erase, "erase"),
        (Self::Hide, "hide"),
        (Self::Instance, "instance"),
        (Self::Large, "large"),
        (Self::Mark, "mark"),
        (Self::Restore, "restore"),
    ];

    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("", |(_, text)| *text)
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(kind, _)| *kind)
    }
}

/// What the records of an entry say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    /// Of the data set, or of the JSON.
    pub(crate) digest: Digest,
    pub(crate) provenance: Provenance,
    /// Of an instance.
    pub(crate) syntax: Option<TransferSyntaxUid>,
    /// Of an instance.
    pub(crate) class: Option<SopClassUid>,
    /// The log of this pack was durable up to this offset before the entry was written.
    pub(crate) durable_offset: u64,
    /// Of the first entry of a log pack: where the log of the pack before ended.
    pub(crate) previous_end: Option<u64>,
}

/// The name of an entry, as ustar divides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryName {
    pub(crate) prefix: String,
    pub(crate) name: String,
}

impl EntryName {
    /// The name of an instance: of its UIDs where all of them are conformant, else of its digest.
    /// Part of the digest is always in it, so that versions of an instance do not overwrite one
    /// another in `tar -x`.
    pub(crate) fn of_instance(instance: &Instance, digest: &Digest) -> Self {
        let hex = digest.hex();
        let hex = hex.as_ref();
        let uids = [
            instance.study.uid(),
            instance.series.uid(),
            instance.instance.uid(),
        ];
        if uids.iter().all(|uid| uid.is_conformant()) {
            let [study, series, sop] = uids;
            let short = hex.get(..16).unwrap_or_default();
            Self {
                prefix: [study.as_str(), "/", series.as_str()].concat(),
                name: [sop.as_str(), "-", short, ".dcm"].concat(),
            }
        } else {
            Self {
                prefix: "digest".to_owned(),
                name: [hex, ".dcm"].concat(),
            }
        }
    }

    /// The name of an entry of the log that is no instance, from where it stands.
    pub(crate) fn of_position(kind: Kind, pack: u64, offset: u64) -> Self {
        Self {
            prefix: "log".to_owned(),
            name: format!("{pack:010}-{offset:012}-{}.json", kind.as_str()),
        }
    }
}

/// How long the records of an entry are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filling {
    /// As long as what they say.
    None,
    /// So many bytes, whatever they say.
    Records(usize),
    /// So long that the entry ends where the disk begins a block (`ALIGNED_BYTES`), or one block of
    /// a tar before that where they would get too long.
    Aligned,
}

/// Everything of an entry that stands before its data set, for the place `at`: `lead` is what the
/// file has there.
pub(crate) fn encode(
    at: LogPosition,
    name: &EntryName,
    label: &Label,
    lead: &[u8],
    data_bytes: u64,
    filling: Filling,
) -> Vec<u8> {
    let size = data_bytes.saturating_add(lead.len() as u64);
    let mtime_s = label.provenance.received_unix_ms / 1_000;
    let header = tar::header(&name.prefix, &name.name, tar::REGULAR, size, mtime_s);
    let mut records = records_of(label, size);
    let check = check(at, &records, &header, lead);
    tar::push_record(&mut records, [KEYS, "check"], &check);
    match filling {
        Filling::None => {}
        Filling::Records(bytes) => fill(&mut records, bytes),
        Filling::Aligned => {
            let around = (2 * BLOCK as u64).saturating_add(tar::padded(size));
            let bytes = aligned_records(at.offset.saturating_add(around), records.len());
            fill(&mut records, bytes);
        }
    }
    let mut all = Vec::with_capacity(3 * BLOCK + records.len() + lead.len());
    all.extend_from_slice(&tar::header(
        "",
        RECORDS_NAME,
        tar::RECORDS,
        records.len() as u64,
        mtime_s,
    ));
    all.extend_from_slice(&records);
    all.extend_from_slice(tar::padding(records.len() as u64));
    all.extend_from_slice(&header);
    all.extend_from_slice(lead);
    all
}

fn records_of(label: &Label, size: u64) -> Vec<u8> {
    let mut records = Vec::with_capacity(BLOCK);
    let mut push = |key: &str, value: &str| {
        tar::push_record(&mut records, [KEYS, key], value);
    };
    push("kind", label.kind.as_str());
    push("blake3", label.digest.hex().as_ref());
    push("received", &label.provenance.received_unix_ms.to_string());
    let calling = &label.provenance.calling;
    push(
        "calling",
        &calling.chars().take(CALLING_CHARS_MAX).collect::<String>(),
    );
    if let Some(address) = label.provenance.address {
        push("address", &address.to_string());
    }
    if let Some(syntax) = &label.syntax {
        push("transfer-syntax", syntax.as_str());
    }
    if let Some(class) = &label.class {
        push("sop-class", class.as_str());
    }
    push("durable", &label.durable_offset.to_string());
    if let Some(end) = label.previous_end {
        push("previous", &end.to_string());
    }
    if size > tar::USTAR_SIZE_MAX {
        tar::push_record(&mut records, ["size", ""], &size.to_string());
    }
    records
}

/// The first half of the digest of where the entry stands and of all that stands before the data
/// set and says something. With the place under it, what looks like an entry inside a data set is
/// none, unless whoever sent that knew where it would come to stand.
fn check(at: LogPosition, records: &[u8], header: &[u8], lead: &[u8]) -> String {
    let (pack, offset) = (at.pack.to_be_bytes(), at.offset.to_be_bytes());
    let all = [&pack, &offset, records, header, lead].concat();
    let hex = Digest::of(&all).hex();
    hex.as_ref().get(..32).unwrap_or_default().to_owned()
}

/// How many bytes the records take where the entry is to end where the disk begins a block: without
/// records it would end at `end`, and they need `length` bytes.
fn aligned_records(end: u64, length: usize) -> usize {
    let least = length.next_multiple_of(BLOCK);
    let over = end.saturating_add(least as u64) % ALIGNED_BYTES as u64;
    let missing = usize::try_from(over).map_or(0, |over| (ALIGNED_BYTES - over) % ALIGNED_BYTES);
    least.saturating_add(missing).min(RECORDS_BYTES_MAX)
}

/// Adds a comment that makes `records` exactly `bytes` long, where there is room for one.
fn fill(records: &mut Vec<u8>, bytes: usize) {
    const KEY: &str = "comment";
    let missing = bytes.saturating_sub(records.len());
    // Digits, space, key, equals sign, value, line feed.
    let around = tar::decimal_digits(missing) + 1 + KEY.len() + 1 + 1;
    if let Some(spaces) = missing.checked_sub(around) {
        tar::push_record(records, [KEY, ""], &" ".repeat(spaces));
    }
}

/// What stands before the data set of an entry that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryHead {
    pub(crate) label: Label,
    /// Of the first byte of its first header.
    pub(crate) offset: u64,
    /// Of the first byte of the data set or JSON.
    pub(crate) data_offset: u64,
    pub(crate) data_bytes: u64,
    /// Of the first byte after its padding.
    pub(crate) end: u64,
    /// Of an instance whose content is destroyed, or about to be.
    pub(crate) mark: Option<Box<Mark>>,
}

impl EntryHead {
    /// Whether `other` is the head of the same entry, marked or not.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let parts = |head: &Self| (head.offset, head.data_offset, head.data_bytes, head.end);
        self.label == other.label && parts(self) == parts(other)
    }
}

/// Reads the head of the entry that begins at `at` and at the start of `window`.
///
/// `window` is long enough with [`HEAD_BYTES_MAX`] bytes, or where the pack ends. `None`: no entry
/// of ours, or not all of its head.
pub(crate) fn decode(window: &[u8], at: LogPosition) -> Option<EntryHead> {
    let first = tar::parse_header(window)?;
    let records_bytes = usize::try_from(first.size).ok()?;
    if first.flag != tar::RECORDS || records_bytes > RECORDS_BYTES_MAX {
        return None;
    }
    let records = window.get(BLOCK..BLOCK.checked_add(records_bytes)?)?;
    let header_at = BLOCK.checked_add(records_bytes.next_multiple_of(BLOCK))?;
    let header = window.get(header_at..header_at.checked_add(BLOCK)?)?;
    let file = tar::parse_header(header).filter(|file| file.flag == tar::REGULAR)?;
    let parsed = parse_label(records)?;
    let mark = match mark::read(window)? {
        Said::Mark(mark) => Some(Box::new(mark)),
        Said::Nothing => None,
    };
    let size = parsed.size.unwrap_or(file.size);
    let body_at = header_at.checked_add(BLOCK)?;
    let lead = match parsed.label.kind {
        Kind::Instance => {
            let body = window.get(body_at..)?;
            body.get(..super::part10::lead_bytes(body)?)?
        }
        Kind::Erase | Kind::Hide | Kind::Large | Kind::Mark | Kind::Restore => &[],
    };
    if check(at, records.get(..parsed.checked_bytes)?, header, lead) != parsed.check {
        return None;
    }
    let body_offset = at.offset.checked_add(body_at as u64)?;
    let data_bytes = size.checked_sub(lead.len() as u64)?;
    Some(EntryHead {
        offset: at.offset,
        data_offset: body_offset.checked_add(lead.len() as u64)?,
        data_bytes,
        end: body_offset
            .checked_add(size)?
            .checked_next_multiple_of(BLOCK as u64)?,
        mark: mark.filter(|_| parsed.label.kind == Kind::Instance),
        label: parsed.label,
    })
}

/// Whether the bytes of a whole head that no checksum is about are as [`encode`] makes them: the
/// end of the first header's checksum, the comment behind the check, the zeros behind the records.
pub(crate) fn is_filled(head: &[u8]) -> bool {
    let filled = || -> Option<bool> {
        let first = tar::parse_header(head)?;
        let end = BLOCK.checked_add(usize::try_from(first.size).ok()?)?;
        let records = head.get(BLOCK..end)?;
        let zeros = head.get(end..end.next_multiple_of(BLOCK))?;
        let last = tar::parse_records(records)?.pop()?;
        let is_comment = last.key == "comment" && last.value.bytes().all(|byte| byte == b' ');
        let is_check = last.key.strip_prefix(KEYS) == Some("check");
        Some(
            head.get(154..156)? == b"\0 "
                && zeros.iter().all(|byte| *byte == 0)
                && (is_check || is_comment),
        )
    };
    filled().unwrap_or(false)
}

/// As much of a pack as [`decode`] needs at most.
pub(crate) const HEAD_BYTES_MAX: usize =
    2 * BLOCK + RECORDS_BYTES_MAX + super::part10::LEAD_BYTES_MAX;

struct Parsed<'a> {
    label: Label,
    size: Option<u64>,
    check: &'a str,
    /// The records before the check are under it.
    checked_bytes: usize,
}

fn parse_label(records: &[u8]) -> Option<Parsed<'_>> {
    let records = tar::parse_records(records)?;
    let find = |key: &str| {
        records
            .iter()
            .find(|record| record.key.strip_prefix(KEYS) == Some(key))
    };
    let value = |key: &str| find(key).map(|record| record.value);
    let check = find("check")?;
    let size = records.iter().find(|record| record.key == "size");
    Some(Parsed {
        label: Label {
            kind: Kind::parse(value("kind")?)?,
            digest: Digest::parse_hex(value("blake3")?)?,
            provenance: Provenance {
                received_unix_ms: value("received")?.parse().ok()?,
                calling: value("calling")?.to_owned(),
                address: match value("address") {
                    Some(address) => Some(address.parse().ok()?),
                    None => None,
                },
            },
            syntax: match value("transfer-syntax") {
                Some(uid) => Some(TransferSyntaxUid::parse_legacy(uid).ok()?),
                None => None,
            },
            class: match value("sop-class") {
                Some(uid) => Some(SopClassUid::parse_legacy(uid).ok()?),
                None => None,
            },
            durable_offset: value("durable")?.parse().ok()?,
            previous_end: match value("previous") {
                Some(end) => Some(end.parse().ok()?),
                None => None,
            },
        },
        size: match size {
            Some(record) => Some(record.value.parse().ok()?),
            None => None,
        },
        check: check.value,
        checked_bytes: check.at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::part10;
    use pacs_core::SopInstanceUid;

    fn label(kind: Kind) -> Label {
        Label {
            kind,
            digest: Digest([0xab; 32]),
            provenance: Provenance {
                received_unix_ms: 1_795_000_000_123,
                calling: "CT_ROOM=1\n".to_owned(),
                address: Some("2001:db8::1".parse().unwrap()),
            },
            syntax: Some(TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap()),
            class: Some(SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap()),
            durable_offset: 4_096,
            previous_end: Some(1 << 28),
        }
    }

    const AT: LogPosition = LogPosition {
        pack: 3,
        offset: 512,
    };

    fn name() -> EntryName {
        EntryName {
            prefix: "1.2.3/4.5.6".to_owned(),
            name: "7.8.9-abcdef.dcm".to_owned(),
        }
    }

    fn lead() -> Vec<u8> {
        part10::lead(
            &SopClassUid::parse("1.2.840.10008.5.1.4.1.1.2").unwrap(),
            &SopInstanceUid::parse("7.8.9").unwrap(),
            &TransferSyntaxUid::parse("1.2.840.10008.1.2.1").unwrap(),
        )
    }

    #[test]
    fn a_head_says_what_was_encoded() {
        for (filling, data_bytes) in [
            (Filling::None, 1_001),
            (Filling::Aligned, 526_000),
            (Filling::Records(LARGE_RECORDS_BYTES), 1_u64 << 34),
        ] {
            let bytes = encode(
                AT,
                &name(),
                &label(Kind::Instance),
                &lead(),
                data_bytes,
                filling,
            );

            let head = decode(&bytes, AT).unwrap();

            assert_eq!(head.label, label(Kind::Instance));
            assert_eq!(head.data_bytes, data_bytes);
            assert_eq!(head.data_offset, 512 + bytes.len() as u64);
            assert_eq!(head.end, tar::padded(head.data_offset + data_bytes));
        }
    }

    #[test]
    fn a_head_cut_or_changed_anywhere_is_no_head() {
        let bytes = encode(
            AT,
            &name(),
            &label(Kind::Instance),
            &lead(),
            1_001,
            Filling::None,
        );
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length], AT), None, "cut at {length}");
        }
        let records_bytes = usize::try_from(tar::parse_header(&bytes).unwrap().size).unwrap();
        let header_at = BLOCK + records_bytes.next_multiple_of(BLOCK);
        for at in (512..bytes.len()).filter(|at| bytes[*at] != 0 || *at >= header_at) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed, AT), None, "changed at {at}");
        }
    }

    #[test]
    fn a_head_is_none_in_another_place() {
        let bytes = encode(
            AT,
            &name(),
            &label(Kind::Instance),
            &lead(),
            1_001,
            Filling::None,
        );
        for (pack, offset) in [(3, 0), (2, 512), (512, 3)] {
            assert_eq!(decode(&bytes, LogPosition { pack, offset }), None);
        }
    }

    #[test]
    fn records_of_a_large_pack_have_a_fixed_length() {
        let mut long = label(Kind::Instance);
        long.provenance.calling = "\u{41f}".repeat(100);
        for label in [label(Kind::Instance), long] {
            let bytes = encode(
                AT,
                &name(),
                &label,
                &lead(),
                1 << 40,
                Filling::Records(LARGE_RECORDS_BYTES),
            );
            assert_eq!(bytes.len(), 2 * BLOCK + LARGE_RECORDS_BYTES + lead().len());
        }
    }

    #[test]
    fn an_aligned_entry_ends_where_the_disk_begins_a_block() {
        for calling in [1, 30, 35, 40, 60].map(|length| "C".repeat(length)) {
            let mut label = label(Kind::Instance);
            label.provenance.calling = calling;
            for begin in (0..ALIGNED_BYTES).step_by(BLOCK) {
                let at = LogPosition {
                    pack: 3,
                    offset: begin as u64,
                };
                for data_bytes in (526_000..531_000).step_by(450) {
                    let (lead, filling) = (lead(), Filling::Aligned);
                    let bytes = encode(at, &name(), &label, &lead, data_bytes, filling);

                    let head = decode(&bytes, at).unwrap();
                    let length = usize::try_from(head.data_offset - head.offset).unwrap();

                    assert!(is_filled(&bytes[..length - lead.len() - BLOCK]));
                    assert_eq!(head.label, label);
                    let over = head.end % ALIGNED_BYTES as u64;
                    assert!(
                        [0, (ALIGNED_BYTES - BLOCK) as u64].contains(&over),
                        "{over}"
                    );
                    let records = tar::parse_header(&bytes).unwrap().size;
                    assert!(over == 0 || records == RECORDS_BYTES_MAX as u64);
                }
            }
        }
    }

    #[test]
    fn a_digest_is_read_as_it_is_shown() {
        let digest = Digest([7; 32]);
        assert_eq!(Digest::parse_hex(&format!("{digest:?}")), Some(digest));
        assert_eq!(Digest::parse_hex("07"), None);
        assert_eq!(Digest::parse_hex(&"x".repeat(64)), None);
    }
}
