//! What presentation states have drawn.

use super::*;

fn floats(tag: u32, values: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    element(tag, "FL", &bytes)
}

fn object(units: &str, kind: &str, points: &[f32], filled: bool) -> Vec<u8> {
    [
        element(0x0070_0005, "CS", units.as_bytes()),
        floats(0x0070_0022, points),
        element(0x0070_0023, "CS", kind.as_bytes()),
        element(0x0070_0024, "CS", if filled { b"Y" } else { b"N" }),
    ]
    .concat()
}

/// An annotation of the image 1.4, on the layer `layer`.
fn annotation(layer: &str, texts: &[Vec<u8>], objects: &[Vec<u8>]) -> Vec<u8> {
    annotation_of("1.4", layer, texts, objects)
}

fn annotation_of(image: &str, layer: &str, texts: &[Vec<u8>], objects: &[Vec<u8>]) -> Vec<u8> {
    [
        sequence(0x0008_1140, &[element(0x0008_1155, "UI", image.as_bytes())]),
        element(0x0070_0002, "CS", layer.as_bytes()),
        sequence(0x0070_0008, texts),
        sequence(0x0070_0009, objects),
    ]
    .concat()
}

fn layer(name: &str, order: &[u8], level: u16) -> Vec<u8> {
    [
        element(0x0070_0002, "CS", name.as_bytes()),
        element(0x0070_0062, "IS", order),
        short(0x0070_0066, level),
    ]
    .concat()
}

/// What is shown of a black image of `side` by `side` pixels with a state of these elements.
fn shown(side: u16, annotations: &[Vec<u8>], more: &[Vec<u8>]) -> Picture {
    let mut elements = vec![sequence(0x0070_0001, annotations)];
    elements.extend_from_slice(more);
    let state = head_of(1, 1, 8, "MONOCHROME2", &elements);
    let image = head_of(side, side, 8, "MONOCHROME2", &[]);
    let form = image.pixel_form().unwrap();
    let bytes = vec![0; usize::from(side).saturating_mul(side.into())];
    let frame = NativeFrame {
        form: &form,
        bytes: &bytes,
        is_float: false,
        number: 1,
    };
    let presentation = Presentation {
        kind: PresentationKind::Grayscale,
        state: &state,
        instance: "1.4",
        frame: 1,
    };
    let (limits, parameters) = (RenderLimits::default(), RenderParameters::default());
    render(&image, frame, &parameters, Some(&presentation), &limits).unwrap()
}

/// Rows of a picture, a letter for each pixel that is not black.
fn rows(picture: &Picture) -> Vec<String> {
    let letter = |level: &u8| match level {
        0 => '.',
        255 => '#',
        _ => '+',
    };
    let width = usize::try_from(picture.width()).unwrap();
    let rows = picture.samples().chunks(width);
    rows.map(|row| row.iter().map(letter).collect()).collect()
}

#[test]
fn lines_are_drawn_where_they_are_on_the_image_however_it_is_turned() {
    let line = object("PIXEL", "POLYLINE", &[1.5, 0.5, 3.5, 0.5, 3.5, 2.5], false);
    let all = [annotation("A", &[], &[line])];
    let expected = [".###", "...#", "...#", "...."];
    assert_eq!(rows(&shown(4, &all, &[])), expected);
    let turned = [element(0x0070_0041, "CS", b"N"), short(0x0070_0042, 90)];
    let expected = ["....", "...#", "...#", ".###"];
    assert_eq!(rows(&shown(4, &all, &turned)), expected);
    let flipped = [element(0x0070_0041, "CS", b"Y"), short(0x0070_0042, 0)];
    let expected = ["###.", "#...", "#...", "...."];
    assert_eq!(rows(&shown(4, &all, &flipped)), expected);
}

#[test]
fn shapes_are_filled_and_layers_lie_over_one_another_in_their_order() {
    let square = [1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0, 1.0, 1.0];
    let below = object("PIXEL", "POLYLINE", &square, true);
    let above = object("DISPLAY", "POLYLINE", &[0.25, 0.5, 0.75, 0.5], false);
    let other = object("PIXEL", "POLYLINE", &[0.0, 0.0, 6.0, 6.0], false);
    // The one above comes first, and one is of another image.
    let all = [
        annotation("ABOVE", &[], &[above]),
        annotation_of("1.5", "ABOVE", &[], std::slice::from_ref(&other)),
        annotation("BELOW", &[], &[below]),
    ];
    let layers = sequence(
        0x0070_0060,
        &[layer("ABOVE", b"2", 0xFFFF), layer("BELOW", b"1", 0x8000)],
    );
    let picture = rows(&shown(6, &all, &[layers]));
    assert_eq!(picture[0], "......");
    assert!(picture[1].starts_with(".++++"), "{picture:?}");
    assert!(picture[3].starts_with(".####"), "{picture:?}");
}

#[test]
fn circles_ellipses_curves_and_points_are_where_they_should_be() {
    let circle = object("PIXEL", "CIRCLE", &[8.5, 8.5, 12.5, 8.5], false);
    let picture = rows(&shown(17, &[annotation("A", &[], &[circle])], &[]));
    for (x, y) in [(12, 8), (4, 8), (8, 12), (8, 4)] {
        assert_eq!(picture[y].as_bytes()[x], b'#', "{picture:?}");
    }
    assert_eq!(picture[8].as_bytes()[8], b'.');
    let points = [2.5, 8.5, 14.5, 8.5, 8.5, 6.5, 8.5, 10.5];
    let ellipse = object("PIXEL", "ELLIPSE", &points, true);
    let picture = rows(&shown(17, &[annotation("A", &[], &[ellipse])], &[]));
    for (x, y, is_in) in [
        (2, 8, b'#'),
        (14, 8, b'#'),
        (8, 6, b'#'),
        (8, 8, b'#'),
        (3, 6, b'.'),
    ] {
        assert_eq!(picture[y].as_bytes()[x], is_in, "{picture:?}");
    }
    let through = [2.5, 8.5, 8.5, 4.5, 14.5, 8.5];
    let curve = object("PIXEL", "INTERPOLATED", &through, false);
    let point = object("PIXEL", "POINT", &[8.5, 13.5], false);
    let picture = rows(&shown(17, &[annotation("A", &[], &[curve, point])], &[]));
    for (x, y) in [(2, 8), (8, 4), (14, 8), (8, 13), (8, 11), (10, 13)] {
        assert_eq!(picture[y].as_bytes()[x], b'#', "{picture:?}");
    }
}

#[test]
fn texts_stand_in_their_boxes_and_at_their_anchors() {
    let boxed = [
        element(0x0070_0003, "CS", b"PIXEL"),
        element(0x0070_0004, "CS", b"PIXEL"),
        element(0x0070_0006, "ST", b"Fracture\r\nL2"),
        floats(0x0070_0010, &[100.0, 20.0]),
        floats(0x0070_0011, &[180.0, 60.0]),
        element(0x0070_0012, "CS", b"RIGHT"),
        floats(0x0070_0014, &[10.0, 40.0]),
        element(0x0070_0015, "CS", b"Y"),
    ];
    let picture = shown(200, &[annotation("A", &[boxed.concat()], &[])], &[]);
    let rows = rows(&picture);
    let white = |rows: &[String], from: usize, to: usize| {
        let white = rows.iter().map(|row| row[from..to].matches('#').count());
        white.sum::<usize>()
    };
    // Two lines, right of which nothing stands, and a line from the anchor.
    assert!(white(&rows[20..30], 130, 180) > 40);
    assert!(white(&rows[30..40], 165, 180) > 8);
    assert_eq!(white(&rows, 181, 200), 0);
    assert!(white(&rows[40..41], 10, 100) >= 90);
    assert_eq!(white(&rows[..20], 0, 200), 0);
}

#[test]
fn overlays_are_drawn_where_the_state_activates_them() {
    let overlay = [
        short(0x6000_0010, 1),
        short(0x6000_0011, 2),
        element(0x6000_0050, "SS", &[1, 0, 1, 0]),
        element(0x6000_3000, "OW", &[0b10, 0]),
    ];
    let image = head_of(1, 2, 8, "MONOCHROME2", &overlay);
    let form = image.pixel_form().unwrap();
    let frame = NativeFrame {
        form: &form,
        bytes: &[7, 7],
        is_float: false,
        number: 1,
    };
    let with = |state: &[Vec<u8>]| {
        let state = head_of(1, 1, 8, "MONOCHROME2", state);
        let presentation = Presentation {
            kind: PresentationKind::Grayscale,
            state: &state,
            instance: "1.4",
            frame: 1,
        };
        let (limits, parameters) = (RenderLimits::default(), RenderParameters::default());
        let shown = render(&image, frame, &parameters, Some(&presentation), &limits);
        shown.unwrap().samples().to_vec()
    };
    assert_eq!(with(&[]), [7, 7]);
    assert_eq!(with(&[element(0x6000_1001, "CS", b"A")]), [7, 255]);
    assert_eq!(with(&[element(0x6002_1001, "CS", b"A")]), [7, 7]);
}

#[test]
fn a_state_that_draws_without_end_is_cut_off() {
    let far: Vec<f32> = (0..2000_u16)
        .flat_map(|at| {
            let sign = if at % 2 == 0 { -1.0 } else { 1.0 };
            [sign * 3e38, sign * f32::from(at)]
        })
        .collect();
    let strange = [f32::NAN, f32::INFINITY, 1.0, f32::NEG_INFINITY];
    let objects: Vec<Vec<u8>> = (0..200)
        .flat_map(|at| {
            let filled = at % 2 == 0;
            [
                object("PIXEL", "INTERPOLATED", &far, filled),
                object("DISPLAY", "ELLIPSE", &far, filled),
                object("PIXEL", "POLYLINE", &strange, filled),
            ]
        })
        .collect();
    let text = [
        element(0x0070_0004, "CS", b"DISPLAY"),
        element(0x0070_0006, "ST", &b"x\n".repeat(30_000)),
        floats(0x0070_0014, &[-3e38, 0.1]),
    ];
    let texts = vec![text.concat(); 100];
    let picture = shown(64, &[annotation("A", &texts, &objects)], &[]);
    assert_eq!((picture.width(), picture.height()), (64, 64));
}
