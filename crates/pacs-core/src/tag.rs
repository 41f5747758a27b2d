//! Tags and value representations, as dicom-rs defines them, so that its dictionary serves here
//! too.

pub use dicom_core::{Tag, VR as Vr};
pub use dicom_dictionary_std::tags;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, TagRange, VirtualVr};

/// The VR that PS3.6 gives `tag`; UN where it gives none. Where it gives a choice (OB or OW, US or
/// SS) the wider byte form or the unsigned form is named.
#[must_use]
pub fn vr_of(tag: Tag) -> Vr {
    dicom_dictionary_std::StandardDataDictionary
        .by_tag(tag)
        .map_or(Vr::UN, |entry| entry.vr().relaxed())
}

/// The tag whose keyword in PS3.6 is `keyword`.
#[must_use]
pub fn by_keyword(keyword: &str) -> Option<Tag> {
    let entry = dicom_dictionary_std::StandardDataDictionary.by_name(keyword)?;
    Some(entry.tag())
}

/// The keyword of `tag` in PS3.6; `None` where it has none, as private ones and group lengths.
#[must_use]
pub fn keyword_of(tag: Tag) -> Option<&'static str> {
    let entry = dicom_dictionary_std::StandardDataDictionary.by_tag(tag)?;
    let names_others = matches!(
        entry.tag_range(),
        TagRange::GroupLength | TagRange::PrivateCreator
    );
    (!names_others).then(|| entry.alias())
}

/// Whether PS3.6 leaves it to Pixel Representation (0028,0103) if the values of `tag` are signed
/// (US or SS).
#[must_use]
pub fn follows_pixel_representation(tag: Tag) -> bool {
    dicom_dictionary_std::StandardDataDictionary
        .by_tag(tag)
        .is_some_and(|entry| entry.vr() == VirtualVr::Xs)
}
