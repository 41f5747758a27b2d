//! Presentation states in colour.

use super::*;

/// A frame with a state of this kind.
fn shown(
    kind: PresentationKind,
    state: &[Vec<u8>],
    image: &Head,
    bytes: &[u8],
) -> Result<Picture, RenderError> {
    let state = head_of(1, 1, 8, "MONOCHROME2", state);
    let form = image.pixel_form().unwrap();
    let frame = NativeFrame {
        form: &form,
        bytes,
        is_float: false,
        number: 1,
    };
    let presentation = Presentation {
        kind,
        state: &state,
        instance: "1.4",
        frame: 1,
    };
    let (limits, parameters) = (RenderLimits::default(), RenderParameters::default());
    render(image, frame, &parameters, Some(&presentation), &limits)
}

fn colour_image() -> Head {
    head_of(
        1,
        2,
        8,
        "RGB",
        &[short(0x0028_0002, 3), short(0x0028_0006, 0)],
    )
}

/// A palette of four colours of sixteen bits.
fn palette() -> Vec<Vec<u8>> {
    let tables = [
        [0, 0xFFFF, 0, 0x8000],
        [0, 0, 0xFFFF, 0x8000],
        [0, 0, 0, 0xFFFF],
    ];
    let descriptor = words(&[4, 0, 16]);
    let mut elements = Vec::new();
    for (number, table) in (1_u32..).zip(tables) {
        elements.push(element(0x0028_1100 | number, "US", &descriptor));
        elements.push(element(0x0028_1200 | number, "OW", &words(&table)));
    }
    elements
}

#[test]
fn grey_values_get_the_colours_of_a_palette() {
    let image = head_of(1, 4, 8, "MONOCHROME2", &[]);
    let bytes = [0, 85, 170, 255];
    let picture = shown(PresentationKind::PseudoColor, &palette(), &image, &bytes).unwrap();
    assert!(picture.is_colour());
    let wanted = [[0, 0, 0], [255, 0, 0], [0, 255, 0], [128, 128, 255]];
    assert_eq!(picture.samples(), wanted.concat());

    // A window of the state, and whatever is above or below it.
    let window = [
        element(0x0028_1050, "DS", b"86"),
        element(0x0028_1051, "DS", b"2"),
    ];
    let mut state = palette();
    state.push(sequence(0x0028_3110, &[window.concat()]));
    let picture = shown(PresentationKind::PseudoColor, &state, &image, &bytes).unwrap();
    let (low, high) = ([0, 0, 0], [128, 128, 255]);
    assert_eq!(picture.samples(), [low, low, high, high].concat());
}

#[test]
fn colours_stay_as_they_are_and_are_covered_and_drawn_on_in_colour() {
    // L*, a* and b* of the red of sRGB.
    let red = words(&[35_578, 53_662, 50_858]);
    let shutter = [
        element(0x0018_1600, "CS", b"RECTANGULAR"),
        element(0x0018_1602, "IS", b"2"),
        element(0x0018_1604, "IS", b"2"),
        element(0x0018_1606, "IS", b"1"),
        element(0x0018_1608, "IS", b"1"),
        element(0x0018_1624, "US", &red),
    ];
    let bytes = [10, 20, 30, 40, 50, 60];
    let picture = shown(PresentationKind::Color, &[], &colour_image(), &bytes).unwrap();
    assert_eq!(picture.samples(), bytes);
    let picture = shown(PresentationKind::Color, &shutter, &colour_image(), &bytes).unwrap();
    let (covered, left) = picture.samples().split_at(3);
    assert_eq!(left, [40, 50, 60]);
    assert!(
        covered[0] > 250 && covered[1] < 5 && covered[2] < 5,
        "{covered:?}"
    );
}

#[test]
fn a_state_for_other_images_is_refused_and_so_is_one_without_its_palette() {
    let grey = head_of(1, 2, 8, "MONOCHROME2", &[]);
    let colours = [1, 2, 3, 4, 5, 6];
    for refused in [
        shown(PresentationKind::Color, &[], &grey, &[1, 2]),
        shown(PresentationKind::PseudoColor, &[], &grey, &[1, 2]),
        shown(
            PresentationKind::PseudoColor,
            &palette(),
            &colour_image(),
            &colours,
        ),
    ] {
        let told = refused.unwrap_err().to_string();
        assert!(told.contains("its presentation state"), "{told}");
    }
}
