//! Deflate bombs (T7) at every door of the network: C-STORE and STOW-RS in, C-GET and every
//! resource of WADO-RS out.

use pacs_tests::forged_media::{Burst, deflate_bomb};
use pacs_tests::samples::{Slice, part10};
use pacs_tests::server::{GROWTH_BYTES_MAX, Server, idle_bytes, unharmed};
use pacs_tests::stow;
use pacs_tests::web::get;
use pacs_tests::web_server::open_server;
use pacs_tests::wire::{Context, Keys, uid};

use super::store_context;

const STUDIES: &str = "/dicomweb/studies";

/// C000H, cannot understand (PS3.18 table I.2-2).
const CANNOT_UNDERSTAND: u64 = 0xC000;

#[test]
fn t7_a_deflate_bomb_is_refused_before_it_grows() {
    let mut server = open_server();
    let idle = idle_bytes(&server);
    for (number, burst) in (1..).zip([Burst::BeforeStudy, Burst::InPixelData]) {
        let slice = Slice::new(7, number);
        let bomb = deflate_bomb(&slice, burst);
        let mut association = store_context(&server, uid::DEFLATED_LITTLE_ENDIAN);
        let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::DEFLATED_LITTLE_ENDIAN);
        let status = association.store(class, &slice.instance, syntax, &bomb);
        let status = status.expect("a status");
        unharmed(&mut server, idle, DOOR_BYTES_MAX, "a bomb by C-STORE");
        match burst {
            Burst::BeforeStudy => assert!((0xC000..=0xCFFF).contains(&status), "{status:04X}"),
            // Who it is stands before: it need not be inflated, and is kept as it came.
            Burst::InPixelData => {
                assert_eq!(status, 0);
                asked_for_in_vain(&mut server, &slice, &bomb);
            }
        }
        unharmed(
            &mut server,
            idle,
            ASKED_BYTES_MAX,
            "a bomb that is asked for",
        );
    }
}

#[test]
fn t7_a_deflate_bomb_by_stow_is_refused_before_it_grows() {
    let mut server = open_server();
    let idle = idle_bytes(&server);
    let file = |slice: &Slice, bomb: &[u8]| {
        let of = (uid::CT_IMAGE_STORAGE, slice.instance.as_str());
        part10(of, uid::DEFLATED_LITTLE_ENDIAN, bomb)
    };
    let (early, late, good) = (Slice::new(7, 1), Slice::new(7, 2), Slice::new(7, 3));
    let bomb = deflate_bomb(&late, Burst::InPixelData);
    let files = [
        file(&early, &deflate_bomb(&early, Burst::BeforeStudy)),
        file(&late, &bomb),
        good.file(),
    ];

    let answer = stow::store(server.http(), STUDIES, &files);

    assert_eq!(answer.status, 202, "{:?}", answer.json());
    let failed = (early.instance.clone(), CANNOT_UNDERSTAND);
    assert_eq!(answer.failed(), [failed]);
    assert_eq!(answer.stored(), [late.instance.clone(), good.instance]);
    unharmed(&mut server, idle, DOOR_BYTES_MAX, "a bomb by STOW-RS");
    asked_for_in_vain(&mut server, &late, &bomb);
    unharmed(
        &mut server,
        idle,
        ASKED_BYTES_MAX,
        "a bomb that is asked for",
    );
}

/// What the memory may grow by while a bomb comes in (T7).
const DOOR_BYTES_MAX: u64 = 32 << 20;

/// What the memory may grow by where somebody asks for a bomb: 16 MiB come out of it before it is
/// noticed, in two buffers while the first one grows, and each resource is inflated by itself.
/// That is more than T7 has for a door, and no more for a bomb than for an honest data set of that
/// length: some 110 MiB are seen.
const ASKED_BYTES_MAX: u64 = 2 * GROWTH_BYTES_MAX;

/// Asks for all that would have to inflate `bomb`, which is stored.
fn asked_for_in_vain(server: &mut Server, slice: &Slice, bomb: &[u8]) {
    let series = format!("{STUDIES}/{}/series/{}", slice.study, slice.series);
    let instance = format!("{series}/instances/{}", slice.instance);
    let as_stored = "application/dicom; transfer-syntax=*";
    let back = get(server.http(), &instance, &[("Accept", as_stored)]);
    assert_eq!(back.status, 200);
    assert!(back.body.ends_with(bomb), "as it came");

    let json = "application/dicom+json";
    let frames = "multipart/related; type=\"application/octet-stream\"";
    for (path, accept) in [
        (instance.clone(), "application/dicom"),
        (format!("{instance}/metadata"), json),
        (format!("{series}/metadata"), json),
        (format!("{instance}/frames/1"), frames),
        (format!("{instance}/bulkdata/7FE00010"), frames),
        (format!("{instance}/rendered"), "image/png"),
        (format!("{instance}/thumbnail"), "image/jpeg"),
    ] {
        let reply = get(server.http(), &path, &[("Accept", accept)]);
        // Metadata are those of the index; what begins to be given before it bursts is cut.
        let is_cut = reply.status == 200 && !reply.is_whole;
        let is_of_index = reply.status == 200 && reply.body.len() < 1 << 13;
        let is_good = is_cut || is_of_index || reply.status == 409;
        assert!(is_good, "{path}: {} {}", reply.status, reply.body.len());
        assert!(reply.body.len() <= 64 << 20, "{path}: {}", reply.body.len());
    }

    let contexts = vec![
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::receiving(uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN),
    ];
    let mut association = server.associate(contexts).expect("an association");
    let keys = Keys::instance(&slice.study, &slice.series, &slice.instance);
    let ended = association.get(&keys);
    // It may begin to be given before it bursts, and then the association ends.
    if let Ok((ended, received)) = ended {
        assert_eq!((ended.completed, ended.failed), (0, 1), "{ended:?}");
        assert!(received.is_empty());
    }
    assert!(server.is_alive());
}
