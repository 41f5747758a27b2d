//! Frames of small data sets, made here.

use super::*;
use pacs_core::scan::Encoding;

fn element(out: &mut Vec<u8>, group: u16, number: u16, vr: &[u8; 2], value: &[u8]) {
    out.extend(group.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend(vr);
    if matches!(vr, b"OB" | b"OW" | b"OV" | b"SQ") {
        out.extend([0, 0]);
        out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    } else {
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend(value);
}

fn image(frames: &str, rows: u16, columns: u16, bits: u16) -> Vec<u8> {
    let mut out = Vec::new();
    element(&mut out, 0x28, 2, b"US", &1_u16.to_le_bytes());
    element(&mut out, 0x28, 8, b"IS", frames.as_bytes());
    element(&mut out, 0x28, 0x10, b"US", &rows.to_le_bytes());
    element(&mut out, 0x28, 0x11, b"US", &columns.to_le_bytes());
    element(&mut out, 0x28, 0x100, b"US", &bits.to_le_bytes());
    out
}

fn encapsulated(mut head: Vec<u8>, items: &[&[u8]]) -> Vec<u8> {
    head.extend(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff");
    for item in items {
        head.extend(b"\xfe\xff\0\xe0");
        head.extend(u32::try_from(item.len()).unwrap().to_le_bytes());
        head.extend(*item);
    }
    head.extend(b"\xfe\xff\xdd\xe0\0\0\0\0");
    head
}

/// What the fragments are in: JPEG, whose frames begin with a marker.
fn syntax() -> TransferSyntaxUid {
    TransferSyntaxUid::parse("1.2.840.10008.1.2.4.50").unwrap()
}

/// Frames 1, 2, … of a data set, until there is none.
fn frames(data_set: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut walk = walk_of(data_set, Encoding::ExplicitLittleEndian);
    let (description, pixels) = describe(&mut walk)?;
    let limits = TableLimits {
        fragments_max: 100,
        offset_table_bytes_max: 1_000,
    };
    let mut found = Vec::new();
    for number in 1.. {
        let frame = match &pixels {
            Pixels::Native { value, .. } => native_frame(&description, (value, 1), number),
            Pixels::Encapsulated { items } => {
                let table = FrameTable::find(&data_set, &description, (*items, &syntax()), limits)?;
                table.frame(&data_set, number, limits)
            }
        };
        match frame {
            Ok(frame) => {
                let mut bytes = Vec::new();
                for range in frame.ranges.iter() {
                    bytes.extend(data_set.read(range).unwrap());
                }
                found.push(match frame.bits {
                    Some(bits) => shifted(&bytes, frame.shift_bits, bits),
                    None => bytes,
                });
            }
            Err(FrameError::NoSuchFrame) => return Ok(found),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

#[test]
fn native_frames_are_equal_parts_of_the_value() {
    let mut data_set = image("3 ", 2, 1, 16);
    element(&mut data_set, 0x7fe0, 0x10, b"OW", b"abcdefghijkl");
    assert_eq!(frames(&data_set).unwrap(), [b"abcd", b"efgh", b"ijkl"]);
}

#[test]
fn frames_of_single_bits_begin_where_the_last_one_ended() {
    let mut data_set = image("2 ", 3, 1, 1);
    element(&mut data_set, 0x7fe0, 0x10, b"OB", &[0b0010_1101, 0]);
    assert_eq!(frames(&data_set).unwrap(), [[0b101], [0b101]]);
}

#[test]
fn frames_of_odd_length_in_big_endian_words_are_read_with_their_whole_words() {
    let mut description = Description::default();
    (description.rows, description.columns, description.samples) = (1, 3, 1);
    (description.bits_allocated, description.frames) = (8, 2);
    let turned = [1, 2, 3, 4, 5, 6];
    for (number, range, wanted) in [(1, 0..4, [1, 2, 3]), (2, 2..6, [4, 5, 6])] {
        let frame = native_frame(&description, (&(0..6), 2), number).unwrap();
        assert_eq!(&*frame.ranges, std::slice::from_ref(&range));
        let (begin, end) = (usize::try_from(range.start), usize::try_from(range.end));
        let words = &turned[begin.unwrap()..end.unwrap()];
        assert_eq!(
            shifted(words, frame.shift_bits, frame.bits.unwrap()),
            wanted
        );
    }
}

#[test]
fn fragments_are_frames_by_count_or_by_either_table() {
    let none: &[u8] = &[];
    let two = encapsulated(image("2 ", 1, 1, 8), &[none, b"ab", b"cd"]);
    assert_eq!(frames(&two).unwrap(), [b"ab", b"cd"]);
    let one = encapsulated(image("1 ", 1, 1, 8), &[none, b"ab", b"cd"]);
    assert_eq!(frames(&one).unwrap(), [b"abcd"]);
    let table = [0_u32.to_le_bytes(), 20_u32.to_le_bytes()].concat();
    let basic = encapsulated(image("2 ", 1, 1, 8), &[&table, b"ab", b"cd", b"ef"]);
    assert_eq!(frames(&basic).unwrap(), [b"abcd".as_slice(), b"ef"]);
    let mut head = image("2 ", 1, 1, 8);
    let offsets = [0_u64.to_le_bytes(), 10_u64.to_le_bytes()].concat();
    let lengths = [1_u64.to_le_bytes(), 2_u64.to_le_bytes()].concat();
    element(&mut head, 0x7fe0, 1, b"OV", &offsets);
    element(&mut head, 0x7fe0, 2, b"OV", &lengths);
    let extended = encapsulated(head, &[none, b"a\0", b"cd"]);
    assert_eq!(frames(&extended).unwrap(), [b"a".as_slice(), b"cd"]);
}

#[test]
fn without_a_table_a_frame_begins_with_each_fragment_that_begins_as_its_code_streams_do() {
    let (first, second) = (b"\xFF\xD8\xFF\xC0", b"\xFF\xD8\xFF\xC1");
    let items: [&[u8]; 6] = [b"", first, b"ab", b"cd", second, b"ef"];
    let data_set = encapsulated(image("2 ", 1, 1, 8), &items);
    let found = frames(&data_set).unwrap();
    assert_eq!(found, [&b"\xFF\xD8\xFF\xC0abcd"[..], b"\xFF\xD8\xFF\xC1ef"]);
}

#[test]
fn frames_that_cannot_be_told_apart_are_not_guessed() {
    let none: &[u8] = &[];
    let three = encapsulated(image("2 ", 1, 1, 8), &[none, b"ab", b"cd", b"ef"]);
    let error = frames(&three).unwrap_err().to_string();
    assert!(error.contains("cannot be told apart"), "{error}");
    let nothing = encapsulated(image("2 ", 1, 1, 8), &[none]);
    assert!(matches!(
        frames(&nothing),
        Err(FrameError::Map(FrameMapError::NoFragments))
    ));
    assert!(matches!(
        frames(&image("1 ", 1, 1, 8)),
        Err(FrameError::NoPixelData)
    ));
}

#[test]
fn an_element_is_found_by_its_path() {
    let mut inner = Vec::new();
    element(&mut inner, 0x5400, 0x1010, b"OB", b"xy");
    let item = |content: &[u8]| {
        let mut item = b"\xfe\xff\0\xe0".to_vec();
        item.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        item.extend(content);
        item
    };
    let mut data_set = Vec::new();
    let items = [item(&[]), item(&inner)].concat();
    element(&mut data_set, 0x5400, 0x100, b"SQ", &items);
    let sequence = Tag(0x5400, 0x100);
    let last = Tag(0x5400, 0x1010);
    let find_in = |item| {
        let mut walk = walk_of(&data_set, Encoding::ExplicitLittleEndian);
        find(&mut walk, &[(sequence, item)], last).unwrap()
    };
    let Some(Found::Value(element)) = find_in(2) else {
        panic!("not found");
    };
    assert_eq!(data_set.as_slice().read(&element.value).unwrap(), b"xy");
    assert_eq!(find_in(1), None);
    assert_eq!(find_in(3), None);
}

#[test]
fn a_frame_of_many_fragments_is_looked_up_once_and_bounded_however_often_it_is_asked_for() {
    let empty: &[u8] = b"";
    let data_set = encapsulated(image("1 ", 1, 1, 8), &[empty; 11]);
    let mut walk = walk_of(&data_set, Encoding::ExplicitLittleEndian);
    let (description, pixels) = describe(&mut walk).unwrap();
    let Pixels::Encapsulated { items } = pixels else {
        panic!("{pixels:?}");
    };
    let limits = TableLimits {
        fragments_max: 30,
        offset_table_bytes_max: 1_000,
    };
    let source = data_set.as_slice();
    let table = FrameTable::find(&source, &description, (items, &syntax()), limits).unwrap();
    // The first of the eleven items is the table of offsets.
    let three = table.frames(&source, [1, 1, 1], limits).unwrap();
    let [first, _, third] = three.as_slice() else {
        panic!("{three:?}");
    };
    assert_eq!(first.ranges.len(), 10);
    assert!(Arc::ptr_eq(&first.ranges, &third.ranges));
    let four = table.frames(&source, [1, 1, 1, 1], limits);
    assert!(matches!(
        four,
        Err(FrameError::TooMany { fragments_max: 30 })
    ));
}

/// A data set that counts how often it is read, and how much.
struct Counting<'a> {
    bytes: &'a [u8],
    /// Bytes of each read.
    reads: std::cell::RefCell<Vec<usize>>,
}

impl DataSet for Counting<'_> {
    fn length_bytes(&self) -> u64 {
        self.bytes.length_bytes()
    }

    fn read(&self, range: &Range<u64>) -> Result<Vec<u8>, ReadError> {
        let read = self.bytes.read(range)?;
        self.reads.borrow_mut().push(read.len());
        Ok(read)
    }
}

/// How often and how much is read to find frame `number`, and to read it.
fn cost(data_set: &[u8], number: u64) -> (usize, usize) {
    let source = Counting {
        bytes: data_set,
        reads: std::cell::RefCell::default(),
    };
    let limits = pacs_core::limits::ScanLimits::default();
    let mut walk = Walk::new(source, Encoding::ExplicitLittleEndian, 100, &limits);
    let (description, pixels) = describe(&mut walk).unwrap();
    let source = walk.into_source();
    let limits = TableLimits {
        fragments_max: 10_000,
        offset_table_bytes_max: 1 << 20,
    };
    let frame = match &pixels {
        Pixels::Native { value, .. } => native_frame(&description, (value, 1), number).unwrap(),
        Pixels::Encapsulated { items } => {
            let table =
                FrameTable::find(&source, &description, (*items, &syntax()), limits).unwrap();
            table.frames(&source, [number], limits).unwrap().remove(0)
        }
    };
    for range in frame.ranges.iter() {
        source.read(range).unwrap();
    }
    let reads = source.reads.borrow();
    (reads.len(), reads.iter().sum())
}

#[test]
fn every_frame_costs_the_same_reads_wherever_it_is() {
    let native = {
        let mut data_set = image("1000", 16, 16, 16);
        element(&mut data_set, 0x7FE0, 0x10, b"OW", &vec![7; 1_000 * 512]);
        data_set
    };
    let frame = [7; 512];
    let table: Vec<u8> = (0..1_000_u32)
        .flat_map(|n| (n * 520).to_le_bytes())
        .collect();
    let mut items: Vec<&[u8]> = vec![&table];
    items.extend([&frame[..]; 1_000]);
    let by_table = encapsulated(image("1000", 16, 16, 16), &items);
    for data_set in [native, by_table] {
        let first = cost(&data_set, 1);
        assert_eq!(cost(&data_set, 500), first);
        assert_eq!(cost(&data_set, 999), first);
        let (reads, bytes) = first;
        // Behind the last one the end is looked for.
        let (last_reads, last_bytes) = cost(&data_set, 1_000);
        assert!(last_reads <= reads + 1 && last_bytes <= bytes + 8);
        assert!(
            reads <= 6 && bytes < 16 << 10,
            "{reads} reads of {bytes} bytes"
        );
    }
}
