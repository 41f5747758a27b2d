//! Against DCMTK, both ways.

use crate::archive::{MemoryArchive, Storage, Stored, outgoing, read_file, running};
use crate::services::{instance, title};
use crate::tool;
use bytes::Bytes;
use pacs_net::pdu::Roles;
use pacs_net::service::Destination;
use pacs_net::sop_class::{
    EXPLICIT_VR_LITTLE_ENDIAN, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, VERIFICATION,
};
use pacs_net::{NetLimits, Requestor};
use std::path::Path;
use std::sync::Arc;

#[tokio::test]
async fn echoscu_verifies_us() {
    let Some(echoscu) = tool::find("echoscu") else {
        return;
    };
    let mut server = running(NetLimits::default()).await;

    let output = tool::run(
        &echoscu,
        &["-v", "-aec", "PACS", "127.0.0.1", &server.port()],
    )
    .await;

    assert!(output.status.success(), "{output:?}");
    assert_eq!(server.told.recv().await.unwrap(), "echo 0000");
    assert_eq!(server.told.recv().await.unwrap(), "ECHOSCU ended: released");
}

#[tokio::test]
async fn echoscu_is_told_that_our_title_is_another() {
    let Some(echoscu) = tool::find("echoscu") else {
        return;
    };
    let server = running(NetLimits::default()).await;

    let output = tool::run(&echoscu, &["-aec", "OTHER", "127.0.0.1", &server.port()]).await;

    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("Called AE Title Not Recognized"), "{text}");
}

#[tokio::test]
async fn storescu_and_dcmsend_store_all_that_they_are_given() {
    let (Some(storescu), Some(dcmsend)) = (tool::find("storescu"), tool::find("dcmsend")) else {
        return;
    };
    let Some(files) = tool::valid_files("1.2.840.10008.1.2.1", 20) else {
        return;
    };
    let server = running(NetLimits::default()).await;
    let port = server.port();
    let paths: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let wanted: Vec<_> = files
        .iter()
        .map(|path| read_file(path).sop_instance)
        .collect();

    for (program, options) in [
        (storescu, vec!["-aec", "PACS", "127.0.0.1", &port]),
        (dcmsend, vec!["-aec", "PACS", "127.0.0.1", &port]),
    ] {
        server.archive.stored.lock().unwrap().clear();
        let arguments = [&options[..], &paths[..]].concat();
        let output = tool::run(&program, &arguments).await;

        assert!(output.status.success(), "{output:?}");
        let stored = server.archive.stored.lock().unwrap().clone();
        let mut found: Vec<_> = stored
            .into_iter()
            .map(|stored| stored.sop_instance)
            .collect();
        let mut wanted = wanted.clone();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
    }
}

/// Explicit VR: level STUDY and a Study Instance UID.
fn study_key(uid: &str) -> Bytes {
    let mut key = b"\x08\0\x52\0CS\x06\0STUDY \x20\0\x0d\0UI".to_vec();
    let padded = uid.len().next_multiple_of(2);
    key.extend(u16::try_from(padded).unwrap().to_le_bytes());
    key.extend(uid.bytes());
    key.resize(key.len() + padded - uid.len(), 0);
    key.into()
}

/// Instances that other implementations take for a CT slice: only their identifiers are read.
fn slices() -> Vec<Stored> {
    let made = |at| {
        let mut slice = instance(at, EXPLICIT_VR_LITTLE_ENDIAN, 0);
        let mut data_set = Vec::new();
        let sop_instance = slice.sop_instance.to_string();
        for (tag, vr, value) in [
            ([8, 0, 0x16, 0], b"UI", slice.sop_class.as_str()),
            ([8, 0, 0x18, 0], b"UI", sop_instance.as_str()),
            ([16, 0, 0x20, 0], b"LO", "P1"),
            ([0x20, 0, 0x0d, 0], b"UI", "1.2.3"),
            ([0x20, 0, 0x0e, 0], b"UI", "1.2.3.4"),
        ] {
            let padded = value.len().next_multiple_of(2);
            data_set.extend_from_slice(&tag);
            data_set.extend_from_slice(vr);
            data_set.extend(u16::try_from(padded).unwrap().to_le_bytes());
            data_set.extend(value.bytes());
            data_set.resize(data_set.len() + padded - value.len(), 0);
        }
        slice.data_set = data_set.into();
        slice
    };
    (1..=8).map(made).collect()
}

#[tokio::test]
async fn findscu_sees_our_matches() {
    let Some(findscu) = tool::find("findscu") else {
        return;
    };
    let server = running(NetLimits::default()).await;
    let matches = vec![study_key("1.2.3"), study_key("1.2.4"), study_key("1.2.5")];
    server.archive.matches.lock().unwrap().clone_from(&matches);

    let port = server.port();
    let mut arguments = vec!["-v", "-S", "-aec", "PACS", "-k", "QueryRetrieveLevel=STUDY"];
    arguments.extend(["-k", "StudyInstanceUID", "127.0.0.1", &port]);
    let output = tool::run(&findscu, &arguments).await;

    let text = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
    assert!(output.status.success(), "{text}");
    for uid in ["[1.2.3", "[1.2.4", "[1.2.5"] {
        assert!(text.contains(uid), "{text}");
    }
}

#[tokio::test]
async fn getscu_gets_and_movescu_moves() {
    let (Some(getscu), Some(movescu)) = (tool::find("getscu"), tool::find("movescu")) else {
        return;
    };
    let server = running(NetLimits::default()).await;
    let target = running(NetLimits::default()).await;
    server.archive.stored.lock().unwrap().extend(slices());
    *server.archive.destination.lock().unwrap() = Some(Destination {
        ae_title: title("PACS"),
        address: target.address.to_string(),
    });
    let folder = tempfile::tempdir().unwrap();
    let port = server.port();
    let key = [
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        "StudyInstanceUID=1.2.3",
    ];

    let out = folder.path().to_str().unwrap();
    let get = [
        "-v",
        "-S",
        "+B",
        "-aec",
        "PACS",
        "-od",
        out,
        "127.0.0.1",
        &port,
    ];
    let output = tool::run(&getscu, &[&get[..], &key[..]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let got = std::fs::read_dir(folder.path()).unwrap();
    let mut got: Vec<_> = got.map(|file| read_file(&file.unwrap().path())).collect();
    got.sort_by_key(|stored| stored.sop_instance.clone());
    assert_eq!(got, slices());

    let mv = [
        "-v",
        "-S",
        "-aec",
        "PACS",
        "-aem",
        "PACS",
        "127.0.0.1",
        &port,
    ];
    let output = tool::run(&movescu, &[&mv[..], &key[..]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(*target.archive.stored.lock().unwrap(), slices());
}

#[tokio::test]
async fn our_requestor_stores_to_storescp_byte_for_byte() {
    let (Some(storescp), Some(files)) = (
        tool::find("storescp"),
        tool::valid_files(EXPLICIT_VR_LITTLE_ENDIAN, 10),
    ) else {
        return;
    };
    let address = tool::free_address();
    let folder = tempfile::tempdir().unwrap();
    let (port, out) = (address.port().to_string(), folder.path().to_str().unwrap());
    let _server = tool::start(&storescp, &["+B", "-od", out, &port], address).await;
    let mut instances: Vec<Stored> = files.iter().map(|file| read_file(file)).collect();
    instances.sort_by_key(|stored| stored.sop_instance.clone());
    instances.dedup_by_key(|stored| stored.sop_instance.clone());

    let mut builder = Requestor::builder(title("SCU"), title("ANY"))
        .context(VERIFICATION, &["1.2.840.10008.1.2"]);
    let mut classes: Vec<_> = instances.iter().map(|stored| &stored.sop_class).collect();
    classes.sort();
    classes.dedup();
    for class in classes {
        builder = builder.context(class.as_str(), &[EXPLICIT_VR_LITTLE_ENDIAN]);
    }
    let mut requestor = builder.connect(&address.to_string()).await.unwrap();
    requestor.echo().await.unwrap();
    for stored in &instances {
        requestor.store(outgoing(stored.clone())).await.unwrap();
    }
    requestor.release().await.unwrap();

    let kept = std::fs::read_dir(folder.path()).unwrap();
    let kept: Vec<_> = kept.map(|file| read_file(&file.unwrap().path())).collect();
    assert_eq!(kept.len(), instances.len());
    assert!(instances.iter().all(|stored| kept.contains(stored)));
}

fn dcmqrscp_configuration(folder: &Path, port: u16, target: u16) -> String {
    format!(
        "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n\
         HostTable BEGIN\ntarget = (PACS, 127.0.0.1, {target})\nHostTable END\n\
         VendorTable BEGIN\nVendorTable END\nAETable BEGIN\n\
         QR {} RW (200, 1024mb) ANY\nAETable END\n",
        folder.display()
    )
}

#[tokio::test]
async fn our_requestor_uses_every_service_of_dcmqrscp() {
    let Some(dcmqrscp) = tool::find("dcmqrscp") else {
        return;
    };
    let target = running(NetLimits::default()).await;
    let (address, folder) = (tool::free_address(), tempfile::tempdir().unwrap());
    let configuration = folder.path().join("dcmqrscp.cfg");
    let text = dcmqrscp_configuration(folder.path(), address.port(), target.address.port());
    std::fs::write(&configuration, text).unwrap();
    let _server = tool::start(&dcmqrscp, &["-c", configuration.to_str().unwrap()], address).await;
    let class = slices()[0].sop_class.clone();
    let builder = Requestor::builder(title("SCU"), title("QR"))
        .context(VERIFICATION, &["1.2.840.10008.1.2"])
        .context(class.as_str(), &[EXPLICIT_VR_LITTLE_ENDIAN])
        .roles(
            class.as_str(),
            Roles {
                scu: true,
                scp: true,
            },
        )
        .context(STUDY_ROOT_FIND, &[EXPLICIT_VR_LITTLE_ENDIAN])
        .context(STUDY_ROOT_GET, &[EXPLICIT_VR_LITTLE_ENDIAN])
        .context(STUDY_ROOT_MOVE, &[EXPLICIT_VR_LITTLE_ENDIAN]);
    let mut requestor = builder.connect(&address.to_string()).await.unwrap();

    for slice in slices() {
        requestor.store(outgoing(slice)).await.unwrap();
    }
    let mut find = requestor
        .find(STUDY_ROOT_FIND, study_key("1.2.3"))
        .await
        .unwrap();
    assert!(find.next().await.unwrap().is_some());
    assert!(find.next().await.unwrap().is_none());
    let received = Arc::new(MemoryArchive::default());
    let storage = Arc::new(Storage(Arc::clone(&received)));
    let get = requestor.get(STUDY_ROOT_GET, study_key("1.2.3"), storage);
    let response = get.await.unwrap().finish().await.unwrap();
    assert_eq!((response.status, response.progress.completed), (0, Some(8)));
    assert_eq!(received.stored.lock().unwrap().len(), 8);
    let key = study_key("1.2.3");
    let destination = title("PACS");
    let moved = requestor.move_to(STUDY_ROOT_MOVE, key, &destination);
    let response = moved.await.unwrap().finish().await.unwrap();
    assert_eq!((response.status, response.progress.completed), (0, Some(8)));
    assert_eq!(target.archive.stored.lock().unwrap().len(), 8);
    requestor.release().await.unwrap();
}
