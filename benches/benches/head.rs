//! Reads the head of a CT slice: the scanner beside dicom-object, which reads the same elements.
//!
//! The head is like a real one: 116 root elements, 5 sequences, 20 private elements. With the
//! shared test data in reach, real heads are read too.

use criterion::{Criterion, criterion_group, criterion_main};
use dicom_dictionary_std::tags;
use dicom_object::OpenFileOptions;
use dicom_object::file::ReadPreamble;
use pacs_core::limits::ScanLimits;
use pacs_core::scan::{Encoding, HeadReader, Scanner, file};
use pacs_core::{Instance, SopClassUid, SopInstanceUid, TransferSyntaxUid};
use std::hint::black_box;
use std::path::Path;

const CT_IMAGE_STORAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

/// Writes elements in one of the two little endian encodings.
struct Writer {
    out: Vec<u8>,
    explicit: bool,
}

impl Writer {
    fn header(&mut self, group: u16, element: u16, vr: &[u8; 2], length: usize) {
        self.out.extend_from_slice(&group.to_le_bytes());
        self.out.extend_from_slice(&element.to_le_bytes());
        let length = u32::try_from(length).unwrap_or(0);
        if self.explicit {
            self.out.extend_from_slice(vr);
            if matches!(vr, b"SQ" | b"OB" | b"OW" | b"UN") {
                self.out.extend_from_slice(&[0, 0]);
            } else {
                let [a, b, ..] = length.to_le_bytes();
                self.out.extend_from_slice(&[a, b]);
                return;
            }
        }
        self.out.extend_from_slice(&length.to_le_bytes());
    }

    fn text(&mut self, group: u16, element: u16, vr: &[u8; 2], text: &str) {
        let padding = if vr == b"UI" { "\0" } else { " " };
        let padded = format!("{text}{}", if text.len() % 2 == 1 { padding } else { "" });
        self.header(group, element, vr, padded.len());
        self.out.extend_from_slice(padded.as_bytes());
    }

    fn short(&mut self, element: u16, number: u16) {
        self.header(0x0028, element, b"US", 2);
        self.out.extend_from_slice(&number.to_le_bytes());
    }

    /// A sequence with one item of a code.
    fn code(&mut self, group: u16, element: u16) {
        let mut item = Self {
            out: Vec::new(),
            explicit: self.explicit,
        };
        item.text(0x0008, 0x0100, b"SH", "P5-09051");
        item.text(0x0008, 0x0102, b"SH", "SRT");
        item.text(0x0008, 0x0104, b"LO", "CT of the abdomen");
        self.header(group, element, b"SQ", item.out.len() + 8);
        self.out.extend_from_slice(b"\xFE\xFF\x00\xE0");
        let length = u32::try_from(item.out.len()).unwrap_or(0);
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.append(&mut item.out);
    }
}

fn identifying(w: &mut Writer) {
    w.text(0x0008, 0x0005, b"CS", "ISO_IR 192");
    w.text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\AXIAL");
    w.text(0x0008, 0x0012, b"DA", "20260102");
    w.text(0x0008, 0x0013, b"TM", "101112");
    w.text(0x0008, 0x0016, b"UI", CT_IMAGE_STORAGE);
    w.text(0x0008, 0x0018, b"UI", "1.2.826.0.1.3680043.8.498.1.2.3.4");
    for element in [0x20, 0x21, 0x22, 0x23] {
        w.text(0x0008, element, b"DA", "20260102");
    }
    for element in [0x30, 0x31, 0x32, 0x33] {
        w.text(0x0008, element, b"TM", "101112.123456");
    }
    w.text(0x0008, 0x0050, b"SH", "ACC0001");
    w.text(0x0008, 0x0060, b"CS", "CT");
    w.text(0x0008, 0x0070, b"LO", "SIEMENS");
    w.text(0x0008, 0x0080, b"LO", "Городская больница");
    w.text(0x0008, 0x0081, b"ST", "Street 1");
    w.text(0x0008, 0x0090, b"PN", "Doctor^Who");
    w.text(0x0008, 0x1010, b"SH", "CT01");
    w.text(0x0008, 0x1030, b"LO", "Abdomen");
    w.code(0x0008, 0x1032);
    w.text(0x0008, 0x103E, b"LO", "Axial 1.5");
    w.text(0x0008, 0x1040, b"LO", "Radiology");
    w.text(0x0008, 0x1050, b"PN", "Performing^One");
    w.text(0x0008, 0x1070, b"PN", "Operator^One");
    w.text(0x0008, 0x1090, b"LO", "SOMATOM");
    w.code(0x0008, 0x1111);
    w.code(0x0008, 0x1140);
    w.text(0x0010, 0x0010, b"PN", "Иванов^Пётр^Сергеевич");
    w.text(0x0010, 0x0020, b"LO", "PID-0001");
    w.text(0x0010, 0x0030, b"DA", "19700101");
    w.text(0x0010, 0x0040, b"CS", "M");
    w.text(0x0010, 0x1010, b"AS", "056Y");
    w.text(0x0010, 0x1030, b"DS", "80.5");
}

/// The head of a CT slice and the beginning of its pixel data.
fn ct_head(explicit: bool) -> Vec<u8> {
    let mut w = Writer {
        out: Vec::new(),
        explicit,
    };
    identifying(&mut w);
    w.text(0x0018, 0x0015, b"CS", "ABDOMEN");
    for element in 0x50..0x5F {
        w.text(0x0018, element, b"DS", "1.500000");
    }
    w.text(0x0018, 0x1030, b"LO", "AbdRoutine");
    for element in 0x1100..0x1114 {
        w.text(0x0018, element, b"DS", "500.25");
    }
    w.text(0x0018, 0x5100, b"CS", "HFS");
    w.text(0x0020, 0x000D, b"UI", "1.2.826.0.1.3680043.8.498.1");
    w.text(0x0020, 0x000E, b"UI", "1.2.826.0.1.3680043.8.498.1.2");
    w.text(0x0020, 0x0010, b"SH", "1");
    for element in [0x11, 0x12, 0x13] {
        w.text(0x0020, element, b"IS", "17");
    }
    w.text(0x0020, 0x0032, b"DS", "-170.5\\-170.5\\-12.75");
    w.text(0x0020, 0x0037, b"DS", "1\\0\\0\\0\\1\\0");
    w.text(0x0020, 0x0052, b"UI", "1.2.826.0.1.3680043.8.498.9");
    for (element, number) in [(2, 1), (0x10, 512), (0x11, 512), (0x100, 16), (0x101, 12)] {
        w.short(element, number);
    }
    w.text(0x0029, 0x0010, b"LO", "SIEMENS CSA HEADER");
    for element in 0x1000..0x1013 {
        w.text(0x0029, element, b"LO", "a private value of some length");
    }
    w.code(0x0032, 0x1064);
    w.code(0x0040, 0x0275);
    w.header(0x7FE0, 0x0010, b"OW", 512 * 512 * 2);
    w.out.resize(w.out.len() + 512 * 512 * 2, 0);
    w.out
}

fn bench_data_set(c: &mut Criterion, name: &str, data_set: &[u8], syntax: &TransferSyntaxUid) {
    let limits = ScanLimits::default();
    let elements = Scanner::of_head(data_set, Encoding::of(syntax), &limits).count();
    let mut group = c.benchmark_group(format!("head/{name} ({elements} events)"));
    group.bench_function("Instance::parse", |b| {
        b.iter(|| Instance::parse(black_box(data_set), syntax, &limits));
    });
    group.bench_function("HeadReader in 16 KiB fragments", |b| {
        b.iter(|| {
            let mut reader = HeadReader::new(syntax, &limits);
            for fragment in black_box(data_set).chunks(16 << 10).take(2) {
                let _ = reader.push(fragment)?;
            }
            reader.finish()
        });
    });
    group.bench_function("Scanner alone", |b| {
        b.iter(|| Scanner::of_head(black_box(data_set), Encoding::of(syntax), &limits).count());
    });
    let mut with_meta = meta(syntax);
    with_meta.extend_from_slice(data_set);
    group.bench_function("dicom-object", |b| {
        b.iter(|| {
            OpenFileOptions::new()
                .read_preamble(ReadPreamble::Always)
                .read_until(tags::PIXEL_DATA)
                .from_reader(black_box(&with_meta[..]))
        });
    });
    group.finish();
}

fn meta(syntax: &TransferSyntaxUid) -> Vec<u8> {
    let (Ok(class), Ok(instance)) = (
        SopClassUid::parse(CT_IMAGE_STORAGE),
        SopInstanceUid::parse("1.2.3"),
    ) else {
        return Vec::new();
    };
    file::file_meta(&class, &instance, syntax)
}

fn heads(c: &mut Criterion) {
    for (name, syntax, explicit) in [("explicit", EXPLICIT, true), ("implicit", IMPLICIT, false)] {
        let Ok(syntax) = TransferSyntaxUid::parse(syntax) else {
            return;
        };
        bench_data_set(c, name, &ct_head(explicit), &syntax);
    }
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/testdata");
    let real = testdata.join("series/siemens-CT-24-synthetic-pixels/000.dcm");
    if let Ok(bytes) = std::fs::read(&real)
        && let Ok(form) = file::read(&bytes)
    {
        bench_data_set(c, "real", &bytes[form.data_set], &form.transfer_syntax);
    }
}

criterion_group!(benches, heads);
criterion_main!(benches);
