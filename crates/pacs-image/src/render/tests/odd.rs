//! Data sets that are odd, or want to cost much.

use super::*;

#[test]
fn a_strip_of_an_image_costs_no_more_than_what_is_shown() {
    let head = head_of(3000, 400, 8, "MONOCHROME2", &[]);
    let bytes = vec![77; 3000 * 400];
    let form = head.pixel_form().unwrap();
    let frame = NativeFrame {
        form: &form,
        bytes: &bytes,
        is_float: false,
        number: 1,
    };
    let strip = |width, height, region| RenderParameters {
        viewport: Some(Viewport {
            width,
            height,
            region,
        }),
        ..RenderParameters::default()
    };
    let region = Region {
        y: 1500.0,
        width: Some(400.0),
        height: Some(1.0),
        ..Region::default()
    };
    let limits = RenderLimits::default();
    let shown = render(&head, frame, &strip(60_000, 150, region), None, &limits).unwrap();
    assert_eq!((shown.width(), shown.height()), (60_000, 150));
    assert!(shown.samples().iter().all(|level| *level == 77));
    let refused = render(&head, frame, &strip(80_000, 200, region), None, &limits);
    let (what, limit) = ("pixels of an edge", 65_535);
    assert_eq!(refused, Err(RenderError::TooLarge { what, limit }));
}

#[test]
fn a_palette_of_eight_or_twelve_bits_is_seen_whatever_its_descriptor_says() {
    let shown = |bits: u16, entries: [u16; 2]| {
        let mut more = Vec::new();
        for tag in [0x0028_1101, 0x0028_1102, 0x0028_1103] {
            more.push(element(tag, "US", &words(&[2, 0, bits])));
            more.push(element(tag + 0x100, "OW", &words(&entries)));
        }
        let head = head_of(1, 2, 8, "PALETTE COLOR", &more);
        let levels = plain(&head, &[0, 1]);
        (levels[0], levels[3])
    };
    assert_eq!(shown(16, [0x8000, 0xFFFF]), (128, 255));
    assert_eq!(shown(16, [128, 255]), (128, 255));
    assert_eq!(shown(12, [0x800, 0xFFF]), (128, 255));
    assert_eq!(shown(12, [0x8000, 0xFFFF]), (128, 255));
    assert_eq!(shown(8, [0x8000, 0xFFFF]), (128, 255));
}

#[test]
fn an_image_that_says_inverse_is_inverted_once() {
    let shape = element(0x2050_0020, "CS", b"INVERSE");
    for photometric in ["MONOCHROME1", "MONOCHROME2"] {
        let head = head_of(1, 2, 8, photometric, std::slice::from_ref(&shape));
        assert_eq!(plain(&head, &[0, 255]), [255, 0], "{photometric}");
    }
}

#[test]
fn padding_of_floating_point_images_has_no_say_in_what_is_white() {
    let padding = element(0x0028_0122, "FL", &(-1e30_f32).to_le_bytes());
    let head = head_of(1, 3, 32, "MONOCHROME2", &[padding]);
    let form = head.pixel_form().unwrap();
    let samples = [-1e30_f32, 1.0, 3.0].map(f32::to_le_bytes).concat();
    let frame = NativeFrame {
        form: &form,
        bytes: &samples,
        is_float: true,
        number: 1,
    };
    let limits = RenderLimits::default();
    let shown = render(&head, frame, &RenderParameters::default(), None, &limits).unwrap();
    assert_eq!(shown.samples(), [0, 0, 255]);
}

#[test]
fn every_frame_has_its_own_spacing_and_an_animation_one_size() {
    let group = |spacing: &[u8]| sequence(0x0028_9110, &[element(0x0028_0030, "DS", spacing)]);
    let more = [sequence(0x5200_9230, &[group(b"1\\1"), group(b"2\\1")])];
    let mut head = head_of(2, 2, 8, "MONOCHROME2", &more);
    let parameters = RenderParameters::default();
    let square = rendered(&head, &[9; 4], &parameters);
    assert_eq!((square.width(), square.height()), (2, 2));
    let syntax = TransferSyntaxUid::parse_legacy("1.2.840.10008.1.2.1").unwrap();
    let limits = RenderLimits::default();
    head.turn_to(&syntax, 2, &limits).unwrap();
    let high = rendered(&head, &[9; 4], &parameters);
    assert_eq!((high.width(), high.height()), (2, 4));

    let mut animation = Animation::new(10, limits);
    animation.add(&square).unwrap();
    animation.add(&high).unwrap();
    assert!(animation.finish().unwrap().starts_with(b"GIF89a"));
}

#[test]
fn of_a_value_that_is_too_long_the_beginning_is_read() {
    let many = element(0x0028_0120, "UN", &[0x31, 0x5C].repeat(1 << 20));
    let head = head_of(1, 1, 8, "MONOCHROME2", &[many]);
    let tag = tags::PIXEL_PADDING_VALUE;
    assert!(head.root().text(tag).unwrap().len() <= 65_528 * 6);
    assert_eq!(head.root().words(tag, 3).unwrap().len(), 3);
}

#[test]
fn frames_that_say_nothing_are_alike_where_they_share_a_range() {
    let frame_of = |form: &PixelForm, bytes: &[u8], head: &Head| {
        let frame = NativeFrame {
            form,
            number: 1,
            bytes,
            is_float: false,
        };
        spread(head, frame, None, &RenderLimits::default()).unwrap()
    };
    let head = head_of(1, 2, 16, "MONOCHROME2", &[]);
    let form = head.pixel_form().unwrap();
    let (dark, bright) = (words(&[0, 100]), words(&[100, 200]));
    assert_eq!(frame_of(&form, &dark, &head), Some((0.0, 100.0)));
    assert_eq!(frame_of(&form, &bright, &head), Some((100.0, 200.0)));
    let shared = RenderParameters {
        range: Some((0.0, 200.0)),
        ..RenderParameters::default()
    };
    let levels = |bytes: &[u8]| rendered(&head, bytes, &shared).samples().to_vec();
    assert_eq!(levels(&dark), [0, 128]);
    assert_eq!(levels(&bright), [128, 255]);

    // What says it, and what is shown whole, needs none.
    let window = [
        element(0x0028_1050, "DS", b"1"),
        element(0x0028_1051, "DS", b"2"),
    ];
    let told = head_of(1, 2, 16, "MONOCHROME2", &window);
    assert_eq!(frame_of(&form, &dark, &told), None);
    let small = head_of(1, 2, 8, "MONOCHROME2", &[]);
    let form = small.pixel_form().unwrap();
    assert_eq!(frame_of(&form, &[1, 2], &small), None);
}
