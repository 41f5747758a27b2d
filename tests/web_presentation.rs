//! Presentation states over the real server: what they make of an image, by themselves and where a
//! client names one.

use pacs_tests::pictures::{
    INSTANCE, OTHER, accepting, identity, png_of, sequence, stored_beside, with_small_image,
};
use pacs_tests::samples::{long, number, short, text};
use pacs_tests::web_server::ask;
use pacs_tests::wire::uid;

/// A state of this class that refers to the small image, up to what is shown of it.
fn state_for_the_image(class: &str) -> Vec<u8> {
    let mut state = identity(class, OTHER, "Test^Picture");
    let mut referenced = Vec::new();
    text(&mut referenced, 0x0008_1150, "UI", uid::CT_IMAGE_STORAGE);
    text(&mut referenced, 0x0008_1155, "UI", INSTANCE);
    let mut series = Vec::new();
    sequence(&mut series, 0x0008_1140, &[referenced]);
    text(&mut series, 0x0020_000E, "UI", "1.2.826.0.1.99.1.1");
    sequence(&mut state, 0x0008_1115, &[series]);
    state
}

/// How the small image at `image` is asked for with that state.
fn with_state(image: &str) -> String {
    format!("{image}/rendered?presentationUID={OTHER}&presentationSeriesUID=1.2.826.0.1.99.1.2")
}

#[test]
fn a_grayscale_state_is_shown_by_its_image() {
    let (server, image) = with_small_image(1);
    let class = "1.2.840.10008.5.1.4.1.1.11.1";
    let mut state = state_for_the_image(class);
    let mut window = Vec::new();
    text(&mut window, 0x0028_1050, "DS", "35.5");
    text(&mut window, 0x0028_1051, "DS", "2");
    sequence(&mut state, 0x0028_3110, &[window]);
    number(&mut state, 0x0070_0042, 180);
    text(&mut state, 0x2050_0020, "CS", "IDENTITY");
    let path = stored_beside(&server, class, &state);

    let shown = png_of(&accepting(
        &server,
        &format!("{path}/rendered"),
        "image/png",
    ));
    assert_eq!(shown.2, [255, 255, 255, 255, 0, 0, 0, 0]);
    let named = accepting(&server, &with_state(&image), "image/png");
    assert_eq!(png_of(&named).2, shown.2);
    let missing = format!("{image}/rendered?presentationUID=1.2&presentationSeriesUID=1.3");
    assert_eq!(ask(&server, &missing).status, 404);
}

#[test]
fn a_pseudo_color_state_gives_its_image_the_colours_of_its_palette() {
    let (server, image) = with_small_image(1);
    let class = "1.2.840.10008.5.1.4.1.1.11.3";
    let mut state = state_for_the_image(class);
    for table in 1..=3 {
        let descriptor: Vec<u8> = [2_u16, 0, 16]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        short(&mut state, 0x0028_1100 | table, "US", &descriptor);
    }
    // From black to yellow.
    for (table, last) in [(1, 0xFFFF_u16), (2, 0xFFFF), (3, 0)] {
        let entries: Vec<u8> = [0, last].iter().flat_map(|n| n.to_le_bytes()).collect();
        long(&mut state, 0x0028_1200 | table, "OW", &entries);
    }
    let mut window = Vec::new();
    text(&mut window, 0x0028_1050, "DS", "35.5");
    text(&mut window, 0x0028_1051, "DS", "2");
    sequence(&mut state, 0x0028_3110, &[window]);
    let path = stored_beside(&server, class, &state);

    let shown = png_of(&accepting(
        &server,
        &format!("{path}/rendered"),
        "image/png",
    ));

    let (black, yellow) = ([0; 3], [255, 255, 0]);
    let wanted = [[black; 4], [yellow; 4]].concat().concat();
    assert_eq!(shown, (4, 2, wanted));
    let named = accepting(&server, &with_state(&image), "image/png");
    assert_eq!(png_of(&named), shown);
}

#[test]
fn a_state_that_cannot_be_applied_is_refused_with_its_reason() {
    // For images in colour, which this is not; and one of blending.
    for (class, told) in [
        ("1.2.840.10008.5.1.4.1.1.11.2", "is for images in colour"),
        (
            "1.2.840.10008.5.1.4.1.1.11.4",
            "1.2.840.10008.5.1.4.1.1.11.4",
        ),
    ] {
        let (server, image) = with_small_image(1);
        let _beside = stored_beside(&server, class, &state_for_the_image(class));

        let refused = ask(&server, &with_state(&image));

        assert_eq!(refused.status, 409, "{class}");
        let detail = refused.json()["detail"]
            .as_str()
            .expect("a text")
            .to_owned();
        assert!(detail.contains(told), "{detail}");
    }
}
