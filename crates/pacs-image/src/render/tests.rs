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
        number: 1,
    };
    render(head, frame, parameters, None, &RenderLimits::default()).unwrap()
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
    let mut head = head_of(1, 1, 16, "MONOCHROME2", &more);
    assert_eq!(plain(&head, &words(&[100])), [0]);
    let syntax = TransferSyntaxUid::parse_legacy("1.2.840.10008.1.2.1").unwrap();
    head.turn_to(&syntax, 2, &RenderLimits::default()).unwrap();
    assert_eq!(plain(&head, &words(&[100])), [128]);
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
        number: 1,
    };
    let refused = render(
        &bare,
        frame,
        &RenderParameters::default(),
        None,
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
        number: 1,
    };
    let outside = Region {
        x: 4.0,
        ..Region::default()
    };
    let limits = RenderLimits::default();
    let refused = render(&head, frame, &view(9, 9, outside), None, &limits);
    assert_eq!(refused, Err(RenderError::OutsideImage));
    let huge = view(u32::MAX, u32::MAX, Region::default());
    let refused = render(&head, frame, &huge, None, &limits);
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
        number: 1,
    };
    let refused = render(
        &head,
        frame,
        &RenderParameters::default(),
        None,
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

#[test]
fn overlays_are_drawn_where_something_is_written() {
    let overlay = [
        short(0x6000_0010, 2),
        short(0x6000_0011, 2),
        element(0x6000_0040, "CS", b"G"),
        element(0x6000_0050, "SS", &words(&[1, 2])),
        short(0x6000_0100, 1),
        short(0x6000_0102, 0),
        element(0x6000_3000, "OW", &[0b0110, 0]),
    ];
    let head = head_of(2, 4, 8, "MONOCHROME2", &overlay);
    assert_eq!(plain(&head, &[9; 8]), [9; 8]);
    let wanted = RenderParameters {
        annotation: Annotation {
            overlay: true,
            ..Annotation::default()
        },
        ..RenderParameters::default()
    };
    let picture = rendered(&head, &[9; 8], &wanted);
    assert_eq!(picture.samples(), [9, 9, 255, 9, 9, 255, 9, 9]);
}

#[test]
fn what_a_shutter_leaves_out_is_covered() {
    let rectangle = [
        element(0x0018_1600, "CS", b"RECTANGULAR"),
        element(0x0018_1602, "IS", b"2"),
        element(0x0018_1604, "IS", b"3"),
        element(0x0018_1606, "IS", b"2"),
        element(0x0018_1608, "IS", b"9"),
    ];
    let head = head_of(2, 4, 8, "MONOCHROME2", &rectangle);
    assert_eq!(plain(&head, &[9; 8]), [0, 0, 0, 0, 0, 9, 9, 0]);

    let circle = [
        element(0x0018_1600, "CS", b"CIRCULAR"),
        element(0x0018_1610, "IS", b"2\\2"),
        element(0x0018_1612, "IS", b"1"),
    ];
    let head = head_of(3, 3, 8, "MONOCHROME2", &circle);
    assert_eq!(plain(&head, &[9; 9]), [0, 9, 0, 9, 9, 9, 0, 9, 0]);

    let triangle = [
        element(0x0018_1600, "CS", b"POLYGONAL"),
        element(0x0018_1620, "IS", b"1\\1\\1\\3\\4\\1"),
    ];
    let head = head_of(3, 3, 8, "MONOCHROME2", &triangle);
    assert_eq!(plain(&head, &[9; 9]), [9, 9, 9, 9, 9, 0, 9, 0, 0]);
}

#[test]
fn a_presentation_state_says_how_its_image_is_shown() {
    let reference = |instance: &str| {
        let item = element(0x0008_1155, "UI", instance.as_bytes());
        sequence(0x0008_1140, &[item])
    };
    let window = |instance: &str, center: &[u8]| {
        let item = [
            reference(instance),
            element(0x0028_1050, "DS", center),
            element(0x0028_1051, "DS", b"2"),
        ];
        item.concat()
    };
    let area = [
        element(0x0070_0052, "SL", &[1, 0, 0, 0, 1, 0, 0, 0]),
        element(0x0070_0053, "SL", &[3, 0, 0, 0, 2, 0, 0, 0]),
    ];
    let state = [
        sequence(0x0028_3110, &[window("1.2", b"99"), window("1.4", b"3.5")]),
        element(0x0070_0041, "CS", b"Y"),
        short(0x0070_0042, 90),
        sequence(0x0070_005A, &[area.concat()]),
        element(0x2050_0020, "CS", b"INVERSE"),
    ];
    let state = head_of(1, 1, 8, "MONOCHROME2", &state);
    let image = head_of(2, 4, 8, "MONOCHROME1", &[]);
    let form = image.pixel_form().unwrap();
    let frame = NativeFrame {
        form: &form,
        bytes: &[0, 1, 2, 3, 4, 5, 6, 7],
        is_float: false,
        number: 1,
    };
    let presentation = Presentation {
        kind: PresentationKind::Grayscale,
        state: &state,
        instance: "1.4",
        frame: 1,
    };
    let limits = RenderLimits::default();
    let parameters = RenderParameters::default();
    let picture = render(&image, frame, &parameters, Some(&presentation), &limits).unwrap();
    // 0 1 2 over 4 5 6, turned to 4 0, 5 1, 6 2, and then left and right exchanged.
    assert_eq!((picture.width(), picture.height()), (2, 3));
    assert_eq!(picture.samples(), [255, 0, 255, 0, 255, 0]);
}

#[test]
fn text_is_written_in_letters_that_there_are() {
    let about = [
        element(0x0008_0005, "CS", b"ISO_IR 192"),
        element(0x0010_0010, "PN", "Сыдыкова^Айгүл".as_bytes()),
        element(0x0010_0020, "LO", "Ünal-1".as_bytes()),
    ];
    let head = head_of(200, 200, 8, "MONOCHROME2", &about);
    let wanted = RenderParameters {
        annotation: Annotation {
            patient: true,
            technique: true,
            overlay: false,
        },
        ..RenderParameters::default()
    };
    let picture = rendered(&head, &vec![7; 40_000], &wanted);
    let is_white = |part: &[u8]| part.contains(&255);
    let (upper, lower) = picture.samples().split_at(200 * 40);
    assert!(is_white(upper) && !is_white(lower));
}

/// A head with everything that rendering reads, as bytes.
fn everything() -> Vec<u8> {
    let table = [
        element(0x0028_3002, "US", &words(&[4, 0, 8])),
        element(0x0028_3006, "OW", &words(&[0, 90, 180, 255])),
    ];
    let table = table.concat();
    let reference = sequence(0x0008_1140, &[element(0x0008_1155, "UI", b"1.2")]);
    let area = [
        element(0x0070_0052, "SL", &[1, 0, 0, 0, 1, 0, 0, 0]),
        element(0x0070_0053, "SL", &[3, 0, 0, 0, 2, 0, 0, 0]),
    ];
    let mut elements = vec![
        element(0x0010_0010, "PN", b"Test^Everything"),
        element(0x0018_1600, "CS", b"CIRCULAR\\POLYGONAL"),
        element(0x0018_1610, "IS", b"2\\2"),
        element(0x0018_1612, "IS", b"2"),
        element(0x0018_1620, "IS", b"1\\1\\1\\3\\4\\1"),
        short(0x0028_0002, 1),
        element(0x0028_0004, "CS", b"MONOCHROME1"),
        short(0x0028_0010, 3),
        short(0x0028_0011, 5),
        element(0x0028_0034, "IS", b"2\\1"),
        short(0x0028_0100, 16),
        short(0x0028_0101, 12),
        short(0x0028_0102, 11),
        short(0x0028_0103, 1),
        element(0x0028_0120, "US", &words(&[3])),
    ];
    for tag in [0x0028_1101, 0x0028_1102, 0x0028_1103] {
        elements.push(element(tag, "US", &words(&[4, 1, 16])));
    }
    for tag in [0x0028_1221, 0x0028_1222, 0x0028_1223] {
        elements.push(element(
            tag,
            "OW",
            &words(&[0, 1, 0, 1, 3, 0xFF00, 2, 1, 0, 0]),
        ));
    }
    elements.push(sequence(0x0028_3000, std::slice::from_ref(&table)));
    elements.push(sequence(
        0x0028_3110,
        &[[reference, table.clone()].concat()],
    ));
    elements.push(short(0x0070_0042, 270));
    elements.push(sequence(0x0070_005A, &[area.concat()]));
    elements.push(sequence(0x2050_0010, &[table]));
    elements.push(short(0x6000_0010, 2));
    elements.push(short(0x6000_0011, 2));
    elements.push(element(0x6000_0050, "SS", &words(&[1, 2])));
    elements.push(element(0x6000_3000, "OW", &[0b0110, 0]));
    elements.concat()
}

#[test]
fn no_change_of_a_byte_makes_rendering_panic() {
    let whole = everything();
    let syntax = TransferSyntaxUid::parse_legacy("1.2.840.10008.1.2.1").unwrap();
    let limits = RenderLimits {
        picture_pixels_max: 1 << 16,
        native_frame_bytes_max: 1 << 17,
        ..RenderLimits::default()
    };
    let parameters = RenderParameters {
        annotation: Annotation {
            patient: true,
            technique: true,
            overlay: true,
        },
        ..RenderParameters::default()
    };
    let pixels: Vec<u8> = (0..=255).cycle().take(1 << 17).collect();
    let mut pictures = 0;
    for at in 0..whole.len() {
        for value in [0x00, 0x01, 0x33, 0x7F, 0x80, 0xFF, b'P'] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let Ok(head) = Head::read(bytes, &syntax, 1, &limits) else {
                continue;
            };
            let Some(form) = head.pixel_form() else {
                continue;
            };
            let frame = NativeFrame {
                form: &form,
                bytes: &pixels,
                is_float: false,
                number: 1,
            };
            let presentation = Presentation {
                kind: PresentationKind::Grayscale,
                state: &head,
                instance: "1.2",
                frame: 1,
            };
            for presentation in [None, Some(&presentation)] {
                if let Ok(picture) = render(&head, frame, &parameters, presentation, &limits) {
                    pictures += 1;
                    assert!(picture.samples().len() <= 3 << 16);
                }
            }
        }
    }
    assert!(pictures > 1000, "{pictures}");
}

mod graphics;
mod odd;
mod states;
