//! Random Accept headers: read or refused, and what is chosen is one of the offers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pacs_web::accept::{Accept, Offer, describe};

fuzz_target!(|input: &str| {
    let offers = [
        Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.1", true),
        Offer::multipart("application/dicom").in_syntax("1.2.840.10008.1.2.4.50", false),
        Offer::single("application/dicom+json"),
        Offer::single("image/jpeg"),
    ];
    let (header, query) = input.split_once('\n').unwrap_or((input, ""));
    let Ok(accept) = Accept::parse([header], [query]) else {
        return;
    };
    let chosen = accept.choose(&offers);
    assert!(chosen.is_none_or(|chosen| offers.contains(chosen)));
    // The order of the server decides among equals alone, never what is possible at all.
    let mut reversed = offers.clone();
    reversed.reverse();
    assert_eq!(accept.choose(&reversed).is_some(), chosen.is_some());
    assert!(!describe(&offers).is_empty());
});
