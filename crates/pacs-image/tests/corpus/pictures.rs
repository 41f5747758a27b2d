//! What holds for pictures of random bytes. The fuzz target `render` and the replay of its corpus
//! share it.

use pacs_core::TransferSyntaxUid;
use pacs_image::render::{
    Annotation, NativeFrame, Picture, PictureFormat, Presentation, PresentationKind, Region,
    RenderParameters, Viewport, Window, WindowFunction, render,
};
use pacs_image::{Head, RenderLimits};

/// A head and pixels of any kind become a picture, or an error: no panic, and no more than the
/// limits allow. The first four bytes choose what is wanted and where the head ends. Whether there
/// was a picture.
pub(crate) fn rendered(data: &[u8]) -> bool {
    let Some((&[choice, width, height, split], rest)) = data.split_first_chunk::<4>() else {
        return false;
    };
    let at = rest.len() * usize::from(split) / 256;
    let (head, pixels) = rest.split_at(at);
    let syntax = [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.2",
    ];
    let syntax = TransferSyntaxUid::parse_legacy(syntax[usize::from(choice) % 3]);
    let limits = RenderLimits {
        picture_pixels_max: 1 << 16,
        native_frame_bytes_max: 1 << 18,
        ..RenderLimits::default()
    };
    let Ok(head) = Head::read(head.to_vec(), &syntax.expect("a UID"), 1, &limits) else {
        return false;
    };
    let Some(form) = head.pixel_form() else {
        return false;
    };
    // What is too short is refused early; repeated, it is not.
    let wanted = usize::try_from(form.frame_bits().div_ceil(8)).unwrap_or(0);
    let mut bytes = pixels.to_vec();
    if choice & 4 != 0 && !pixels.is_empty() && wanted <= 1 << 18 {
        bytes = pixels.iter().copied().cycle().take(wanted).collect();
    }
    let frame = NativeFrame {
        form: &form,
        number: 1,
        bytes: &bytes,
        is_float: choice & 8 != 0,
    };
    let parameters = RenderParameters {
        range: None,
        window: Window::new(f64::from(width), f64::from(height), WindowFunction::Sigmoid)
            .filter(|_| choice & 16 != 0),
        viewport: (choice & 32 != 0).then(|| Viewport {
            width: u32::from(width).max(1),
            height: u32::from(height).max(1),
            region: Region {
                x: f64::from(split) / 8.0,
                is_flipped_vertically: true,
                ..Region::default()
            },
        }),
        part: None,
        annotation: Annotation {
            patient: true,
            technique: true,
            overlay: true,
        },
    };
    let presentation = Presentation {
        kind: kind(choice),
        state: &head,
        instance: "1.2",
        frame: 1,
    };
    let presentation = (choice & 64 != 0).then_some(&presentation);
    let Ok(picture) = render(&head, frame, &parameters, presentation, &limits) else {
        return false;
    };
    let pixels = u64::from(picture.width()) * u64::from(picture.height());
    assert!(pixels <= limits.picture_pixels_max);
    encoded(&picture, &limits);
    true
}

fn kind(choice: u8) -> PresentationKind {
    match choice & 6 {
        2 => PresentationKind::Color,
        4 => PresentationKind::PseudoColor,
        _ => PresentationKind::Grayscale,
    }
}

fn encoded(picture: &Picture, limits: &RenderLimits) {
    for format in [
        PictureFormat::Png,
        PictureFormat::Jpeg { quality: 50 },
        PictureFormat::Gif,
    ] {
        // One side may be longer than the format can say.
        let file = picture.encode(format, limits);
        assert!(file.map_or(true, |file| !file.is_empty()));
    }
}
