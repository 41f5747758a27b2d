//! Pixel data that is decoded or encoded on the way.

use crate::writer::{Form, Node, write};
use crate::{RLE, leaf, number, sequence, uid};
use pacs_core::convert::{
    ConvertError, Converter, PixelDecoder, PixelEncoder, PixelError, PixelForm, Progress, convert,
};
use pacs_core::limits::ScanLimits;
use pacs_core::tag::{Tag, Vr, tags};
use std::sync::Arc;

/// Gives back the bytes of all fragments, or is told that they are wrong.
#[derive(Default)]
struct Echo {
    in_table: bool,
    ready: Vec<u8>,
    form: Option<PixelForm>,
}

impl PixelDecoder for Echo {
    fn begin(&mut self, form: &PixelForm) -> Result<(), PixelError> {
        self.in_table = true;
        self.form = Some(*form);
        Ok(())
    }

    fn fragment(&mut self, _length_bytes: u64) -> Result<(), PixelError> {
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), PixelError> {
        self.ready.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<(), PixelError> {
        Ok(())
    }

    fn read(&mut self, out: &mut Vec<u8>, _bytes_max: usize) -> Result<(), PixelError> {
        out.append(&mut self.ready);
        Ok(())
    }

    fn bytes_held(&self) -> u64 {
        0
    }
}

fn decoded(nodes: &[Node], to: Form) -> Result<Vec<u8>, ConvertError> {
    let decoder = Some(Box::new(Echo::default()) as Box<dyn PixelDecoder>);
    let limits = ScanLimits::default();
    let bytes = write(Form::Explicit, nodes);
    convert(&bytes, &uid(RLE), &uid(to.uid()), decoder, &limits)
}

fn image(samples: u16, bits: u16) -> Vec<Node> {
    vec![
        number(tags::SAMPLES_PER_PIXEL, samples),
        leaf(tags::NUMBER_OF_FRAMES, Vr::IS, "2 "),
        number(tags::ROWS, 1),
        number(tags::COLUMNS, 1),
        number(tags::BITS_ALLOCATED, bits),
    ]
}

#[test]
fn decoded_pixel_data_is_native_of_even_length_with_the_attributes_it_needs() {
    let fragments = |bytes: &[&[u8]]| {
        let mut all = vec![vec![]];
        all.extend(bytes.iter().map(|b| b.to_vec()));
        Node::Fragments(tags::PIXEL_DATA, all)
    };
    let with = |mut nodes: Vec<Node>, node| {
        nodes.push(node);
        nodes
    };
    // Where frames are is of no use any more.
    let mut sixteen = image(1, 16);
    sixteen.push(leaf(Tag(0x7FE0, 0x0001), Vr::OV, [0; 16]));
    let out = decoded(
        &with(sixteen, fragments(&[&[1, 2], &[3, 4]])),
        Form::Explicit,
    )
    .unwrap();
    let native = with(image(1, 16), leaf(tags::PIXEL_DATA, Vr::OW, [1, 2, 3, 4]));
    assert_eq!(out, write(Form::Explicit, &native));
    let out = decoded(
        &with(image(1, 16), fragments(&[&[1, 2], &[3, 4]])),
        Form::BigEndian,
    )
    .unwrap();
    assert!(out.ends_with(&[b'O', b'W', 0, 0, 0, 0, 0, 4, 2, 1, 4, 3]));

    // Planar Configuration must be there for colour; the last byte makes the length even.
    let mut grey = image(1, 8);
    drop(grey.remove(1));
    let out = decoded(&with(grey.clone(), fragments(&[&[7]])), Form::Explicit).unwrap();
    assert_eq!(
        out,
        write(
            Form::Explicit,
            &with(grey, leaf(tags::PIXEL_DATA, Vr::OB, [7, 0]))
        )
    );
    let out = decoded(
        &with(image(3, 8), fragments(&[&[1, 2, 3, 4, 5, 6]])),
        Form::Explicit,
    )
    .unwrap();
    let mut colour = image(3, 8);
    colour.insert(1, number(tags::PLANAR_CONFIGURATION, 0));
    let colour = with(colour, leaf(tags::PIXEL_DATA, Vr::OB, [1, 2, 3, 4, 5, 6]));
    assert_eq!(out, write(Form::Explicit, &colour));
}

#[test]
fn pixel_data_that_is_not_what_its_attributes_say_is_refused() {
    let with = |mut nodes: Vec<Node>, bytes: &[u8]| {
        nodes.push(Node::Fragments(
            tags::PIXEL_DATA,
            vec![vec![], bytes.to_vec()],
        ));
        nodes
    };
    for bytes in [&[1, 2][..], &[1, 2, 3, 4, 5, 6]] {
        let result = decoded(&with(image(1, 16), bytes), Form::Explicit);
        let is_damaged = matches!(
            result,
            Err(ConvertError::Pixels(PixelError::Damaged { .. }))
        );
        assert!(is_damaged, "{result:?}");
    }
    let mut planar = image(3, 8);
    planar.insert(1, number(tags::PLANAR_CONFIGURATION, 2));
    let mut huge = image(3, 32);
    huge[2] = number(tags::ROWS, u16::MAX);
    huge[3] = number(tags::COLUMNS, u16::MAX);
    let no_rows = image(1, 8).into_iter().skip(3).collect();
    for nodes in [planar, huge, no_rows] {
        assert!(decoded(&with(nodes, &[1, 2]), Form::Explicit).is_err());
    }
}

/// An encoder whose frames are a byte that says which, and what they were.
#[derive(Default)]
struct Numbered {
    is_by_pixel: bool,
    count: u8,
}

impl PixelEncoder for Numbered {
    fn is_by_pixel(&self) -> bool {
        self.is_by_pixel
    }

    fn begin(&mut self, native: &PixelForm) -> Result<(), PixelError> {
        let what = "no colour of 32 bits";
        match native.bits_allocated {
            32 => Err(PixelError::Unsupported { what }),
            _ => Ok(()),
        }
    }

    fn encode(&mut self, native: Vec<u8>) -> Result<Vec<u8>, PixelError> {
        self.count += 1;
        Ok([vec![self.count], native].concat())
    }
}

fn encoded_by(
    bytes: &[u8],
    form: Form,
    encoder: Numbered,
    lengths: Option<&[u64]>,
) -> Result<(Vec<u8>, Vec<u64>), ConvertError> {
    let limits = ScanLimits::default();
    let (from, lengths) = (uid(form.uid()), lengths.map(Arc::from));
    let mut converter = Converter::encoding(&from, None, Box::new(encoder), lengths, &limits)?;
    let mut pieces = bytes.chunks(5);
    let mut out = Vec::new();
    loop {
        let bytes_max = out.len() + 3;
        match converter.read(&mut out, bytes_max)? {
            Progress::Done => return Ok((out, converter.frame_lengths().to_vec())),
            Progress::Full => {}
            Progress::NeedsInput => match pieces.next() {
                Some(piece) => converter.push(piece.to_vec()),
                None => converter.end(),
            },
        }
    }
}

fn encoded(bytes: &[u8], form: Form, lengths: Option<&[u64]>) -> Result<Vec<u8>, ConvertError> {
    encoded_by(bytes, form, Numbered::default(), lengths).map(|(out, _)| out)
}

/// An image of frames of one row of three pixels.
fn frames_of(bits: u16, frames: &str, pixels: Node) -> Vec<Node> {
    vec![
        leaf(tags::PATIENT_NAME, Vr::PN, "Test^One"),
        leaf(tags::NUMBER_OF_FRAMES, Vr::IS, frames),
        number(tags::ROWS, 1),
        number(tags::COLUMNS, 3),
        number(tags::BITS_ALLOCATED, bits),
        pixels,
        leaf(Tag(0xFFFC, 0xFFFC), Vr::OB, [0, 0]),
    ]
}

#[test]
fn frames_are_encoded_and_the_table_says_where_they_begin() {
    let native = leaf(tags::PIXEL_DATA, Vr::OB, [1, 2, 3, 4, 5, 6]);
    let bytes = write(Form::Explicit, &frames_of(8, "2 ", native));
    let fragments = |table: &[u8]| {
        let items = vec![table.to_vec(), vec![1, 1, 2, 3], vec![2, 4, 5, 6]];
        let nodes = frames_of(8, "2 ", Node::Fragments(tags::PIXEL_DATA, items));
        write(Form::Explicit, &nodes)
    };
    let (first, lengths) = encoded_by(&bytes, Form::Explicit, Numbered::default(), None).unwrap();
    assert_eq!(lengths, [4, 4]);
    assert_eq!(first, fragments(&[]));
    let second = encoded(&bytes, Form::Explicit, Some(&lengths)).unwrap();
    assert_eq!(second, fragments(&[0, 0, 0, 0, 12, 0, 0, 0]));
    // Lengths of something else are found out.
    for wrong in [&[4, 6][..], &[4], &[4, 4, 4]] {
        let error = encoded(&bytes, Form::Explicit, Some(wrong)).unwrap_err();
        assert!(
            matches!(error, ConvertError::Pixels(PixelError::Worker { .. })),
            "{wrong:?}"
        );
    }
}

#[test]
fn of_one_frame_the_table_is_known_and_an_odd_one_is_padded() {
    let native = leaf(tags::PIXEL_DATA, Vr::OW, [1, 2, 3, 4, 5, 6]);
    for form in [Form::Explicit, Form::Implicit, Form::BigEndian] {
        let bytes = write(form, &frames_of(16, "1 ", native.clone()));
        let out = encoded(&bytes, form, None).unwrap();
        let pixels = match form {
            Form::BigEndian => vec![1, 2, 1, 4, 3, 6, 5, 0],
            Form::Explicit | Form::Implicit => vec![1, 1, 2, 3, 4, 5, 6, 0],
        };
        let items = vec![vec![0; 4], pixels];
        let nodes = frames_of(16, "1 ", Node::Fragments(tags::PIXEL_DATA, items));
        assert_eq!(out, write(Form::Explicit, &nodes), "{form:?}");
    }
}

#[test]
fn colour_by_plane_is_said_to_be_by_pixel_where_its_frames_are() {
    let colour = |planar: u16, pixels: Node| {
        vec![
            number(tags::SAMPLES_PER_PIXEL, 3),
            number(tags::PLANAR_CONFIGURATION, planar),
            number(tags::ROWS, 1),
            number(tags::COLUMNS, 1),
            number(tags::BITS_ALLOCATED, 8),
            pixels,
        ]
    };
    let native = leaf(tags::PIXEL_DATA, Vr::OB, [7, 8, 9, 0]);
    let bytes = write(Form::Explicit, &colour(1, native));
    for (is_by_pixel, planar) in [(true, 0), (false, 1)] {
        let encoder = Numbered {
            is_by_pixel,
            count: 0,
        };
        let (out, _) = encoded_by(&bytes, Form::Explicit, encoder, None).unwrap();
        let items = vec![vec![0; 4], vec![1, 7, 8, 9]];
        let nodes = colour(planar, Node::Fragments(tags::PIXEL_DATA, items));
        assert_eq!(out, write(Form::Explicit, &nodes));
    }
}

#[test]
fn pixel_data_that_is_not_what_it_says_is_not_encoded() {
    let of = |frames: &str, pixels: &[u8]| {
        let native = leaf(tags::PIXEL_DATA, Vr::OB, pixels);
        encoded(
            &write(Form::Explicit, &frames_of(8, frames, native)),
            Form::Explicit,
            None,
        )
    };
    // Padding is no frame.
    assert!(of("1 ", &[1, 2, 3, 0]).is_ok());
    for (frames, pixels) in [
        ("3 ", &[1; 8][..]),
        ("1 ", &[1; 6]),
        ("2 ", &[1; 4]),
        ("1 ", &[]),
    ] {
        let error = of(frames, pixels).unwrap_err();
        let is_damaged = matches!(error, ConvertError::Pixels(PixelError::Damaged { .. }));
        assert!(is_damaged, "{frames} {error}");
    }
    let float = [leaf(tags::FLOAT_PIXEL_DATA, Vr::OF, [0; 4])];
    let error = encoded(&write(Form::Explicit, &float), Form::Explicit, None).unwrap_err();
    assert!(matches!(
        error,
        ConvertError::Pixels(PixelError::Unsupported { .. })
    ));
    let long = frames_of(32, "1 ", leaf(tags::PIXEL_DATA, Vr::OW, [0; 12]));
    let error = encoded(&write(Form::Explicit, &long), Form::Explicit, None).unwrap_err();
    assert!(matches!(
        error,
        ConvertError::Pixels(PixelError::Unsupported { .. })
    ));
    // What has none is a data set all the same, and an icon stays native.
    let icon = vec![
        number(tags::BITS_ALLOCATED, 8),
        leaf(tags::PIXEL_DATA, Vr::OB, [9, 9]),
    ];
    let nodes = [
        leaf(tags::PATIENT_NAME, Vr::PN, "Test^One"),
        sequence(tags::ICON_IMAGE_SEQUENCE, vec![icon]),
    ];
    let bytes = write(Form::Implicit, &nodes);
    assert_eq!(
        encoded(&bytes, Form::Implicit, None).unwrap(),
        write(Form::Explicit, &nodes)
    );
}
