//! Against DCMTK, both ways.

use crate::archive::{read_file, running};
use crate::tool;
use pacs_net::NetLimits;

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
