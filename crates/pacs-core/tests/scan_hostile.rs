//! What an attacker would send: nesting without end, lengths that promise gigabytes, deflate bombs.
#![expect(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "what a test's own functions do is the test"
)]

#[path = "scan_support/writer.rs"]
#[allow(dead_code, reason = "not every test writes everything")]
mod writer;

use flate2::{Compress, Compression, FlushCompress};
use pacs_core::instance::InstanceError;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::inflate::{Inflater, inflate};
use pacs_core::scan::{Encoding, HeadReader, HeadState, ScanError, Scanner, gate};
use pacs_core::tag::{Tag, Vr, tags};
use pacs_core::{Instance, TransferSyntaxUid};
use writer::{Form, Node, UNDEFINED, write};

const FORMS: [Form; 3] = [Form::BigEndian, Form::Explicit, Form::Implicit];
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

fn syntax(uid: &str) -> TransferSyntaxUid {
    TransferSyntaxUid::parse(uid).unwrap()
}

/// Sequences in sequences, each with its length given or left open.
fn nested(form: Form, levels: u32, defined: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let header = form.header(tags::CONTENT_SEQUENCE, Vr::SQ, 0).len() as u32;
    for level in 0..levels {
        let inside = (levels - level - 1) * (header + 8);
        let (sequence, item) = if defined {
            (inside + 8, inside)
        } else {
            (UNDEFINED, UNDEFINED)
        };
        out.extend(form.header(tags::CONTENT_SEQUENCE, Vr::SQ, sequence));
        out.extend(form.item(0xE000, item));
    }
    if !defined {
        for _ in 0..levels {
            out.extend(form.item(0xE00D, 0));
            out.extend(form.item(0xE0DD, 0));
        }
    }
    out
}

#[test]
fn nesting_without_end_is_refused_on_a_small_stack() {
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(|| {
        let limits = ScanLimits::default();
        for form in FORMS {
            for defined in [false, true] {
                let bytes = nested(form, 100_000, defined);
                let syntax = syntax(form.uid());
                let error = Instance::parse(&bytes, &syntax, &limits).unwrap_err();
                assert!(matches!(
                    error,
                    InstanceError::Scan(ScanError::Depth { .. })
                ));
                let last = Scanner::new(&bytes, Encoding::of(&syntax), &limits).last();
                assert!(matches!(last, Some(Err(ScanError::Depth { .. }))));
                assert!(gate::check(&bytes, Encoding::of(&syntax), &limits).is_err());
            }
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn nesting_up_to_the_limit_is_read() {
    let limits = ScanLimits::default();
    for form in FORMS {
        for defined in [false, true] {
            let bytes = nested(form, limits.depth_max as u32, defined);
            let encoding = Encoding::of(&syntax(form.uid()));
            assert_eq!(gate::check(&bytes, encoding, &limits), Ok(()));
        }
    }
}

#[test]
fn a_length_beyond_what_is_there_is_refused_before_anything_is_reserved() {
    let limits = ScanLimits::default();
    for form in FORMS {
        let syntax = syntax(form.uid());
        for vr in [Vr::OB, Vr::UN, Vr::UT, Vr::SQ, Vr::OW] {
            for length in [9, 1 << 31, (1 << 31) - 1, u32::MAX - 1] {
                let tag = Tag(0x0011, 0x1001);
                let mut bytes = form.header(tag, vr, length);
                bytes.extend([0; 8]);
                let error = Instance::parse(&bytes, &syntax, &limits).unwrap_err();
                assert!(
                    matches!(error, InstanceError::Scan(ScanError::Overrun { offset: 0 })),
                    "{form:?} {vr:?} {length}: {error:?}"
                );
                let mut reader = HeadReader::new(&syntax, &limits);
                let pushed = bytes
                    .chunks(3)
                    .try_for_each(|part| reader.push(part).map(drop));
                assert!(pushed.is_err() || reader.finish().is_err());
            }
        }
    }
}

#[test]
fn a_wanted_value_that_is_cut_is_refused_in_fragments_too() {
    let limits = ScanLimits::default();
    let explicit = syntax(Form::Explicit.uid());
    let mut bytes = write(
        Form::Explicit,
        &[
            Node::Leaf(tags::SOP_CLASS_UID, Vr::UI, b"1.2.3\0".to_vec()),
            Node::Leaf(tags::SOP_INSTANCE_UID, Vr::UI, b"1.2.4\0".to_vec()),
            Node::Leaf(tags::STUDY_INSTANCE_UID, Vr::UI, b"1.2.5\0".to_vec()),
            Node::Leaf(tags::SERIES_INSTANCE_UID, Vr::UI, b"1.2.6\0".to_vec()),
            Node::Leaf(tags::IMAGE_COMMENTS, Vr::LT, b"cut here".to_vec()),
        ],
    );
    let _ = bytes.pop();
    let whole = Instance::parse(&bytes, &explicit, &limits);
    let mut reader = HeadReader::new(&explicit, &limits);
    let _ = reader.push(&bytes).unwrap();
    for answer in [whole, reader.finish()] {
        assert!(matches!(
            answer,
            Err(InstanceError::Scan(ScanError::Overrun { .. }))
        ));
    }
}

#[test]
fn an_item_or_fragment_beyond_what_is_there_is_refused() {
    let limits = ScanLimits::default();
    for form in FORMS {
        let encoding = Encoding::of(&syntax(form.uid()));
        for length in [9, 1 << 31, (1 << 31) - 1, u32::MAX - 1] {
            for (tag, vr) in [(tags::CONTENT_SEQUENCE, Vr::SQ), (tags::PIXEL_DATA, Vr::OB)] {
                let mut bytes = form.header(tag, vr, UNDEFINED);
                bytes.extend(form.item(0xE000, length));
                bytes.extend([0; 8]);
                let last = Scanner::new(&bytes, encoding, &limits).last();
                let is_overrun = matches!(last, Some(Err(ScanError::Overrun { .. })));
                assert!(is_overrun, "{form:?} {tag} {length}: {last:?}");
            }
        }
    }
}

#[test]
fn a_sequence_that_never_ends_is_refused() {
    let limits = ScanLimits::default();
    for form in FORMS {
        let mut bytes = form.header(tags::CONTENT_SEQUENCE, Vr::SQ, UNDEFINED);
        bytes.extend(form.item(0xE000, UNDEFINED));
        let error = Instance::parse(&bytes, &syntax(form.uid()), &limits).unwrap_err();
        assert!(matches!(
            error,
            InstanceError::Scan(ScanError::Truncated { .. })
        ));
    }
}

#[test]
fn elements_without_end_are_refused() {
    let limits = ScanLimits {
        elements_max: 1_000,
        ..ScanLimits::default()
    };
    let one = Node::Leaf(Tag(0x0011, 0x1001), Vr::LO, Vec::new());
    let bytes = write(Form::Explicit, &vec![one; 1_001]);
    let error = Instance::parse(&bytes, &syntax(Form::Explicit.uid()), &limits).unwrap_err();
    assert!(matches!(
        error,
        InstanceError::Scan(ScanError::Elements { .. })
    ));
}

#[test]
fn attributes_without_end_are_refused_and_bulk_data_is_not() {
    let limits = ScanLimits {
        head_bytes_max: 100_000,
        bulk_bytes_min: 10_000,
        ..ScanLimits::default()
    };
    let value = |bytes| Node::Leaf(tags::TEXT_VALUE, Vr::UT, vec![b'x'; bytes]);
    let explicit = syntax(Form::Explicit.uid());
    let small = write(Form::Explicit, &vec![value(9_998); 11]);
    let bulk = write(Form::Explicit, &vec![value(10_000); 11]);
    assert!(matches!(
        Instance::parse(&small, &explicit, &limits),
        Err(InstanceError::Scan(ScanError::HeadBytes { .. }))
    ));
    assert!(matches!(
        Instance::parse(&bulk, &explicit, &limits),
        Err(InstanceError::Missing { .. })
    ));
}

/// A deflated data set that becomes a gigabyte and is little more than one megabyte.
fn bomb() -> Vec<u8> {
    let mut head = Form::Explicit.header(Tag(0x0011, 0x1001), Vr::OB, u32::MAX - 1);
    head.resize(1 << 20, 0);
    let mut compress = Compress::new(Compression::best(), false);
    let mut piece = |bytes: &[u8]| {
        // After a full flush a piece stands for itself and may be repeated.
        let mut out = Vec::with_capacity(1 << 16);
        compress
            .compress_vec(bytes, &mut out, FlushCompress::Full)
            .unwrap();
        out
    };
    let mut bomb = piece(&head);
    let zeros = piece(&vec![0; 1 << 20]);
    for _ in 0..1_023 {
        bomb.extend_from_slice(&zeros);
    }
    bomb
}

#[test]
fn a_deflate_bomb_is_refused_early() {
    let limits = ScanLimits::default();
    let bomb = bomb();
    assert!(bomb.len() < 2 << 20);

    let mut inflater = Inflater::new(&limits);
    let answer = inflater.push(&bomb, &mut |_| Ok(true));
    assert_eq!(answer, Err(ScanError::Inflated));
    assert!(inflater.bytes_out() <= 64 << 20);

    assert_eq!(inflate(&bomb, &limits), Err(ScanError::Inflated));
    let deflated = syntax(DEFLATED);
    assert!(matches!(
        Instance::parse(&bomb, &deflated, &limits),
        Err(InstanceError::Scan(ScanError::Inflated))
    ));
    let mut reader = HeadReader::new(&deflated, &limits);
    let pushed = bomb
        .chunks(16 << 10)
        .try_for_each(|part| reader.push(part).map(drop));
    assert_eq!(pushed, Err(ScanError::Inflated));
}

#[test]
fn an_inflated_data_set_has_an_absolute_limit() {
    let limits = ScanLimits {
        inflated_bytes_max: 1_000,
        ..ScanLimits::default()
    };
    let mut out = Vec::with_capacity(4096);
    Compress::new(Compression::best(), false)
        .compress_vec(&[7; 1_001], &mut out, FlushCompress::Finish)
        .unwrap();
    assert_eq!(inflate(&out, &limits), Err(ScanError::Inflated));
}

#[test]
fn a_cut_deflated_data_set_is_refused() {
    let mut out = Vec::with_capacity(4096);
    let nodes = [Node::Leaf(tags::PATIENT_ID, Vr::LO, b"12345678".to_vec())];
    Compress::new(Compression::best(), false)
        .compress_vec(
            &write(Form::Explicit, &nodes),
            &mut out,
            FlushCompress::Finish,
        )
        .unwrap();
    for end in 0..out.len() {
        let error = Instance::parse(&out[..end], &syntax(DEFLATED), &ScanLimits::default());
        assert!(matches!(
            error,
            Err(InstanceError::Scan(ScanError::Deflate))
        ));
    }
}

#[test]
fn a_reader_holds_no_more_than_one_value() {
    // One text of 64 MiB, in fragments: only the kept part is held, whatever its length says.
    let limits = ScanLimits::default();
    let explicit = syntax(Form::Explicit.uid());
    let mut reader = HeadReader::new(&explicit, &limits);
    let length = 64_u32 << 20;
    let _ = reader
        .push(&Form::Explicit.header(tags::PATIENT_COMMENTS, Vr::UT, length))
        .unwrap();
    for _ in 0..(length >> 14) {
        let state = reader.push(&[b'x'; 1 << 14]).unwrap();
        assert_eq!(state, HeadState::NeedMore);
        assert!(reader.bytes_held() <= 2 * limits.text_bytes_max + (1 << 14));
    }
    assert!(matches!(
        reader.finish(),
        Err(InstanceError::Missing { .. })
    ));
}
