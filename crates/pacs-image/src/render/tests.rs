//! Data sets of a few pixels, and what they must look like.

use super::*;
use pacs_core::TransferSyntaxUid;

/// An element in Explicit VR Little Endian.
fn element(tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let [g1, g0, n1, n0] = tag.to_be_bytes();
    out.extend([g0, g1, n0, n1]);
    out.extend(vr.as_bytes());
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(b' ');
    }
    if ["OB", "OW", "SQ", "UN"].contains(&vr) {
        out.extend([0, 0]);
        out.extend(length(&value).to_le_bytes());
    } else {
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
    }
    out.extend(value);
    out
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

fn short(tag: u32, value: u16) -> Vec<u8> {
    element(tag, "US", &value.to_le_bytes())
}

fn words(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn sequence(tag: u32, items: &[Vec<u8>]) -> Vec<u8> {
    let mut value = Vec::new();
    for item in items {
        value.extend([0xFE, 0xFF, 0x00, 0xE0]);
        value.extend(length(item).to_le_bytes());
        value.extend(item);
    }
    element(tag, "SQ", &value)
}

/// The elements of an image, in order of their tags, and others of the test.
fn head_of(rows: u16, columns: u16, bits: u16, photometric: &str, more: &[Vec<u8>]) -> Head {
    let mut elements = vec![
        element(0x0028_0004, "CS", photometric.as_bytes()),
        short(0x0028_0010, rows),
        short(0x0028_0011, columns),
        short(0x0028_0100, bits),
        short(0x0028_0101, bits),
    ];
    elements.extend_from_slice(more);
    elements.sort_by_key(|element| {
        let group = u16::from_le_bytes([element[0], element[1]]);
        (group, u16::from_le_bytes([element[2], element[3]]))
    });
    let syntax = TransferSyntaxUid::parse_legacy("1.2.840.10008.1.2.1").unwrap();
    Head::read(elements.concat(), &syntax, 1, &RenderLimits::default()).unwrap()
}

fn rendered(head: &Head, bytes: &[u8], parameters: &RenderParameters) -> Picture {
    let form = head.pixel_form().unwrap();
    let frame = NativeFrame {
        form: &form,
        bytes,
        is_float: false,
    };
    render(head, frame, parameters, &RenderLimits::default()).unwrap()
}

fn plain(head: &Head, bytes: &[u8]) -> Vec<u8> {
    rendered(head, bytes, &RenderParameters::default())
        .samples()
        .to_vec()
}

#[test]
fn a_window_maps_values_as_the_standard_says() {
    let window = [
        element(0x0028_1050, "DS", b"50\\1"),
        element(0x0028_1051, "DS", b"100\\2"),
        element(0x0028_1052, "DS", b"-1000"),
        element(0x0028_1053, "DS", b"1"),
    ];
    let values = words(&[0, 1000, 1049, 1050, 1099, 1100]);
    let head = head_of(1, 6, 16, "MONOCHROME2", &window);
    assert_eq!(plain(&head, &values), [0, 0, 126, 129, 255, 255]);

    let inverse = head_of(1, 6, 16, "MONOCHROME1", &window);
    assert_eq!(plain(&inverse, &values), [255, 255, 129, 126, 0, 0]);

    let exact = RenderParameters {
        window: Window::new(50.0, 100.0, WindowFunction::LinearExact),
        ..RenderParameters::default()
    };
    let levels = rendered(&head, &values, &exact);
    assert_eq!(levels.samples(), [0, 0, 125, 128, 252, 255]);
    let sigmoid = RenderParameters {
        window: Window::new(50.0, 100.0, WindowFunction::Sigmoid),
        ..RenderParameters::default()
    };
    let levels = rendered(&head, &values, &sigmoid);
    assert_eq!(levels.samples(), [0, 30, 125, 128, 224, 225]);
}

#[test]
fn without_a_window_the_smallest_value_is_black_and_padding_has_no_say() {
    let signed = [
        short(0x0028_0103, 1),
        element(0x0028_0120, "SS", &(-2000_i16).to_le_bytes()),
    ];
    let head = head_of(1, 4, 16, "MONOCHROME2", &signed);
    let values = words(&[
        (-2000_i16).cast_unsigned(),
        (-100_i16).cast_unsigned(),
        0,
        100,
    ]);
    assert_eq!(plain(&head, &values), [0, 0, 128, 255]);
}

#[test]
fn tables_stand_before_windows() {
    let table = |count: u16, first: u16, bits: u16, data: &[u16]| {
        [
            element(0x0028_3002, "US", &words(&[count, first, bits])),
            element(0x0028_3006, "OW", &words(data)),
        ]
        .concat()
    };
    let voi = [
        element(0x0028_1050, "DS", b"1"),
        element(0x0028_1051, "DS", b"1"),
        sequence(0x0028_3010, &[table(3, 10, 8, &[255, 128, 0])]),
    ];
    let head = head_of(1, 4, 16, "MONOCHROME2", &voi);
    assert_eq!(plain(&head, &words(&[0, 11, 12, 99])), [255, 128, 0, 0]);

    let modality = [
        sequence(0x0028_3000, &[table(2, 0, 16, &[0, 1000])]),
        element(0x0028_1050, "DS", b"500.5"),
        element(0x0028_1051, "DS", b"1001"),
    ];
    let head = head_of(1, 3, 8, "MONOCHROME2", &modality);
    assert_eq!(plain(&head, &[0, 1, 200]), [0, 255, 255]);
}

#[test]
fn functional_groups_of_the_frame_say_how_it_is_rescaled() {
    let group = |intercept: &[u8]| {
        let item = [
            element(0x0028_1052, "DS", intercept),
            element(0x0028_1053, "DS", b"1"),
        ];
        sequence(0x0028_9145, &[item.concat()])
    };
    let window = [
        element(0x0028_1050, "DS", b"100.5"),
        element(0x0028_1051, "DS", b"256"),
    ];
    let shared = sequence(0x0028_9132, &[window.concat()]);
    let more = [
        sequence(0x5200_9229, &[shared]),
        sequence(0x5200_9230, &[group(b"-5000"), group(b"0")]),
    ];
    let first = head_of(1, 1, 16, "MONOCHROME2", &more);
    assert_eq!(plain(&first, &words(&[100])), [0]);
    let syntax = TransferSyntaxUid::parse_legacy("1.2.840.10008.1.2.1").unwrap();
    let second = first
        .of_frame(&syntax, 2, &RenderLimits::default())
        .unwrap();
    assert_eq!(plain(&second, &words(&[100])), [128]);
}

#[test]
fn colours_come_out_as_rgb() {
    let three = [short(0x0028_0002, 3)];
    let rgb = head_of(1, 2, 8, "RGB", &three);
    assert_eq!(plain(&rgb, &[1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]);
    let planes = [short(0x0028_0002, 3), short(0x0028_0006, 1)];
    let planar = head_of(1, 2, 8, "RGB", &planes);
    assert_eq!(plain(&planar, &[1, 4, 2, 5, 3, 6]), [1, 2, 3, 4, 5, 6]);
    let full = head_of(1, 2, 8, "YBR_FULL", &three);
    assert_eq!(
        plain(&full, &[76, 85, 255, 255, 128, 128]),
        [254, 0, 0, 255, 255, 255]
    );
    let half = head_of(1, 2, 8, "YBR_FULL_422", &three);
    assert_eq!(plain(&half, &[10, 20, 128, 128]), [10, 10, 10, 20, 20, 20]);
    let deep = head_of(1, 1, 16, "RGB", &three);
    assert_eq!(plain(&deep, &words(&[0xFFFF, 0x8000, 0xFF])), [255, 128, 0]);
}

#[test]
fn palettes_are_applied_whole_or_in_segments() {
    let descriptor = words(&[4, 1, 16]);
    let data = words(&[0, 0x5500, 0xAA00, 0xFF00]);
    let mut more = Vec::new();
    for (at, tag) in [0x0028_1101, 0x0028_1102, 0x0028_1103]
        .into_iter()
        .enumerate()
    {
        more.push(element(tag, "US", &descriptor));
        let segments = words(&[0, 1, 0, 1, 3, 0xFF00]);
        if at == 0 {
            more.push(element(tag + 0x120, "OW", &segments));
        } else {
            more.push(element(tag + 0x100, "OW", &data));
        }
    }
    let head = head_of(1, 4, 8, "PALETTE COLOR", &more);
    let expected = [0, 0, 0, 0, 0, 0, 85, 85, 85, 255, 255, 255];
    assert_eq!(plain(&head, &[0, 1, 2, 9]), expected);
    let bare = head_of(1, 4, 8, "PALETTE COLOR", &[]);
    let form = bare.pixel_form().unwrap();
    let frame = NativeFrame {
        form: &form,
        bytes: &[0; 4],
        is_float: false,
    };
    let refused = render(
        &bare,
        frame,
        &RenderParameters::default(),
        &RenderLimits::default(),
    );
    assert!(matches!(refused, Err(RenderError::Damaged { .. })));
}

#[test]
fn a_viewport_cuts_out_turns_and_scales() {
    let head = head_of(2, 4, 8, "MONOCHROME2", &[]);
    let bytes = [0, 10, 20, 30, 100, 110, 120, 130];
    let view = |width, height, region| RenderParameters {
        viewport: Some(Viewport {
            width,
            height,
            region,
        }),
        ..RenderParameters::default()
    };
    let shown = |parameters: RenderParameters| {
        let picture = rendered(&head, &bytes, &parameters);
        (
            picture.width(),
            picture.height(),
            picture.samples().to_vec(),
        )
    };
    assert_eq!(shown(view(2, 9, Region::default())), (2, 1, vec![55, 75]));
    assert_eq!(shown(view(4, 4, Region::default())).2, bytes);
    let corner = Region {
        x: 1.0,
        y: 1.0,
        width: Some(2.0),
        height: Some(1.0),
        is_flipped_horizontally: true,
        ..Region::default()
    };
    assert_eq!(shown(view(2, 2, corner)), (2, 1, vec![120, 110]));
    let upside_down = Region {
        is_flipped_vertically: true,
        ..Region::default()
    };
    let turned = [100, 110, 120, 130, 0, 10, 20, 30];
    assert_eq!(shown(view(4, 2, upside_down)).2, turned);
    let (width, height, samples) = shown(view(8, 8, Region::default()));
    assert_eq!((width, height), (8, 4));
    assert_eq!(&samples[..8], [0, 3, 8, 13, 18, 23, 28, 30]);

    let form = head.pixel_form().unwrap();
    let frame = NativeFrame {
        form: &form,
        bytes: &bytes,
        is_float: false,
    };
    let outside = Region {
        x: 4.0,
        ..Region::default()
    };
    let limits = RenderLimits::default();
    let refused = render(&head, frame, &view(9, 9, outside), &limits);
    assert_eq!(refused, Err(RenderError::OutsideImage));
    let huge = view(u32::MAX, u32::MAX, Region::default());
    let refused = render(&head, frame, &huge, &limits);
    assert!(matches!(refused, Err(RenderError::TooLarge { .. })));
}

#[test]
fn pixels_that_are_not_square_become_so() {
    let tall = [element(0x0028_0034, "IS", b"2\\1")];
    let head = head_of(1, 2, 8, "MONOCHROME2", &tall);
    let picture = rendered(&head, &[10, 20], &RenderParameters::default());
    assert_eq!((picture.width(), picture.height()), (2, 2));
    assert_eq!(picture.samples(), [10, 20, 10, 20]);
}

#[test]
fn frames_shorter_than_they_say_are_refused() {
    let head = head_of(600, 600, 16, "MONOCHROME2", &[]);
    let form = head.pixel_form().unwrap();
    let frame = NativeFrame {
        form: &form,
        bytes: &[0; 600],
        is_float: false,
    };
    let refused = render(
        &head,
        frame,
        &RenderParameters::default(),
        &RenderLimits::default(),
    );
    assert!(matches!(refused, Err(RenderError::Damaged { .. })));
}

#[test]
fn files_say_what_they_are() {
    let head = head_of(2, 2, 8, "MONOCHROME2", &[]);
    let picture = rendered(&head, &[0, 50, 100, 255], &RenderParameters::default());
    let limits = RenderLimits::default();
    let file = |format| picture.encode(format, &limits).unwrap();
    assert!(file(PictureFormat::Png).starts_with(b"\x89PNG"));
    assert!(file(PictureFormat::Jpeg { quality: 0 }).starts_with(&[0xFF, 0xD8, 0xFF]));
    assert!(file(PictureFormat::Gif).starts_with(b"GIF89a"));

    let mut animation = Animation::new(
        10,
        RenderLimits {
            animation_frames_max: 2,
            ..limits
        },
    );
    animation.add(&picture).unwrap();
    animation.add(&picture).unwrap();
    assert!(matches!(
        animation.add(&picture),
        Err(RenderError::TooLarge { .. })
    ));
}
