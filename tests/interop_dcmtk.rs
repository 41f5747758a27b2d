//! DCMTK as requestor and as provider: echo, store, find, get, move, in both directions.

use std::path::Path;
use std::process::Command;

use pacs_tests::corpus::digests_below;
use pacs_tests::peers::{self, Listener, dcmtk, files_below, free_port, gather, has_dcmtk, run};
use pacs_tests::samples::{Slice, digests_sent, write_study};
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::workspace;

/// The server as the last two arguments of a DCMTK command.
fn with_server(command: &str, server: &Server, options: &[&str]) -> Command {
    let mut dcmtk = dcmtk(command);
    dcmtk.args(["-aec", "PACS"]).args(options);
    dcmtk
        .arg(server.dicom().ip().to_string())
        .arg(server.dicom().port().to_string());
    dcmtk
}

/// A server that holds `count` slices of study 1.
fn server_with_study(count: u32, remote: Vec<RemoteAe>) -> Server {
    let server = Server::start(Options {
        remote,
        ..Options::default()
    });
    let files = write_study(&server.home().join("sent"), 1, count);
    let mut storescu = with_server("storescu", &server, &[]);
    let said = run(storescu.args(files)).succeeded();
    assert!(!said.text.contains("E:"), "{}", said.text);
    server
}

fn study_uid() -> String {
    format!("StudyInstanceUID={}", Slice::new(1, 1).study)
}

#[test]
fn echoscu_is_answered() {
    if !has_dcmtk() {
        return;
    }
    let server = Server::start(Options::default());

    let said = run(&mut with_server("echoscu", &server, &["-v"])).succeeded();

    assert!(
        said.text.contains("Received Echo Response (Success)"),
        "{}",
        said.text
    );
}

#[test]
fn echoscu_to_another_title_on_loopback_is_answered_or_rejected_by_name() {
    if !has_dcmtk() {
        return;
    }
    let server = Server::start(Options::default());
    let mut echoscu = dcmtk("echoscu");
    echoscu.args([
        "-aec",
        "SOMEBODY",
        "127.0.0.1",
        &server.dicom().port().to_string(),
    ]);

    let said = run(&mut echoscu);

    assert!(
        said.success || said.text.contains("Called AE Title Not Recognized"),
        "{}",
        said.text
    );
}

#[test]
fn what_dcmsend_sends_is_found_by_findscu_at_every_level() {
    if !has_dcmtk() {
        return;
    }
    let server = Server::start(Options::default());
    let folder = server.home().join("sent");
    let files = write_study(&folder, 1, 3);
    let more = write_study(&folder, 2, 2);
    assert_eq!((files.len(), more.len()), (3, 2));
    let scan = [
        "--scan-directories",
        "--recurse",
        "--no-halt",
        "--no-uid-checks",
    ];
    let mut dcmsend = with_server("dcmsend", &server, &scan);
    let _ = run(dcmsend.arg(&folder)).succeeded();

    let find = |options: &[&str]| {
        let said = run(&mut with_server("findscu", &server, options)).succeeded();
        said.text.matches("(0008,0052)").count()
    };

    let query = |level: &str| format!("QueryRetrieveLevel={level}");
    assert_eq!(
        find(&[
            "-S",
            "-k",
            &query("STUDY"),
            "-k",
            "PatientID",
            "-k",
            "PatientName=TEST^*"
        ]),
        2
    );
    assert_eq!(
        find(&["-S", "-k", &query("STUDY"), "-k", "PatientName=*patient2"]),
        1
    );
    assert_eq!(
        find(&[
            "-S",
            "-k",
            &query("STUDY"),
            "-k",
            "StudyDate=20260101-20260131"
        ]),
        2
    );
    assert_eq!(
        find(&["-S", "-k", &query("STUDY"), "-k", "StudyDate=20270101-"]),
        0
    );
    assert_eq!(
        find(&["-P", "-k", &query("PATIENT"), "-k", "PatientID=TEST00001"]),
        1
    );
    assert_eq!(find(&["-S", "-k", &query("SERIES"), "-k", &study_uid()]), 1);
    let series = format!("SeriesInstanceUID={}", Slice::new(1, 1).series);
    let image = query("IMAGE");
    assert_eq!(
        find(&["-S", "-k", &image, "-k", &study_uid(), "-k", &series]),
        3
    );
}

#[test]
fn getscu_receives_every_slice_as_it_was_sent() {
    if !has_dcmtk() {
        return;
    }
    let server = server_with_study(7, Vec::new());
    let received = workspace::temporary_folder();
    let folder = received.path().to_str().expect("UTF-8");

    let study = study_uid();
    // +B keeps the data set as it was received, instead of encoding it again.
    let options = [
        "-S",
        "+B",
        "-od",
        folder,
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        &study,
    ];
    let _ = run(&mut with_server("getscu", &server, &options)).succeeded();

    assert_eq!(digests_below(received.path()), digests_sent(1, 7));
}

#[test]
fn movescu_has_every_slice_sent_to_a_storescp() {
    if !has_dcmtk() {
        return;
    }
    let received = workspace::temporary_folder();
    let port = free_port();
    let mut storescp = dcmtk("storescp");
    storescp
        .arg("+B")
        .arg("-od")
        .arg(received.path())
        .arg(port.to_string());
    let storescp = Listener::start(&mut storescp, port);
    let server = server_with_study(7, vec![RemoteAe::new("DCMTK", storescp.address())]);

    let study = study_uid();
    let options = [
        "-S",
        "-aem",
        "DCMTK",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        &study,
    ];
    let said = run(&mut with_server("movescu", &server, &options)).succeeded();

    assert!(!said.text.contains("Failed"), "{}", said.text);
    assert_eq!(digests_below(received.path()), digests_sent(1, 7));
}

#[test]
fn movescu_to_an_unknown_destination_is_told_so() {
    if !has_dcmtk() {
        return;
    }
    let server = server_with_study(1, Vec::new());

    let study = study_uid();
    let options = [
        "-v",
        "-S",
        "-aem",
        "NOBODY",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        &study,
    ];
    let said = run(&mut with_server("movescu", &server, &options));

    assert!(
        said.text.contains("MoveDestinationUnknown"),
        "{}",
        said.text
    );
}

/// A dcmqrscp with an empty archive that knows the AE `OURS` at `our_port`.
fn dcmqrscp(home: &Path, our_port: u16) -> Listener {
    let port = free_port();
    let storage = home.join("db");
    std::fs::create_dir_all(&storage).expect("a folder");
    let config = home.join("dcmqrscp.cfg");
    let text = format!(
        "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n\
         HostTable BEGIN\nours = (OURS, localhost, {our_port})\nHostTable END\n\
         VendorTable BEGIN\nVendorTable END\n\
         AETable BEGIN\nQRSCP {} RW (200, 1024mb) ANY\nAETable END\n",
        storage.display()
    );
    std::fs::write(&config, text).expect("a file");
    Listener::start(dcmtk("dcmqrscp").arg("-c").arg(&config), port)
}

/// Our tool against `peer`, titled `QRSCP`.
fn pacs(words: &[&str], peer: &Listener, options: &[&str]) -> peers::Said {
    let mut pacs = Command::new(workspace::binary("pacs"));
    let peer = format!("QRSCP@{}", peer.address());
    run(pacs.args(words).arg(peer).args(options))
}

/// Over one association: dcmqrscp names files by the time, and writes over its own where two come
/// at the same moment.
fn store_one_by_one(folder: &Path, peer: &Listener) {
    let folder = folder.to_str().expect("UTF-8");
    let _ = pacs(&["store"], peer, &["--associations", "1", folder]).succeeded();
}

#[test]
fn our_tool_echoes_stores_finds_and_gets_from_a_dcmqrscp() {
    if !has_dcmtk() {
        return;
    }
    let home = workspace::temporary_folder();
    let peer = dcmqrscp(home.path(), free_port());
    let sent = home.path().join("sent");
    assert_eq!(write_study(&sent, 1, 4).len(), 4);
    let received = home.path().join("received");

    let _ = pacs(&["echo"], &peer, &[]).succeeded();
    store_one_by_one(&sent, &peer);
    let found = pacs(&["find"], &peer, &["-k", "PatientID=TEST00001"]).succeeded();
    let study = study_uid();
    let out = received.to_str().expect("UTF-8");
    let _ = pacs(&["get"], &peer, &["-k", &study, "--out", out]).succeeded();

    assert!(found.text.contains("TEST00001"), "{}", found.text);
    assert_eq!(digests_below(&received), digests_sent(1, 4));
}

#[test]
fn our_tool_moves_from_a_dcmqrscp_to_our_server() {
    if !has_dcmtk() {
        return;
    }
    let server = Server::start(Options::default());
    let home = workspace::temporary_folder();
    let peer = dcmqrscp(home.path(), server.dicom().port());
    let sent = home.path().join("sent");
    assert_eq!(write_study(&sent, 1, 4).len(), 4);
    store_one_by_one(&sent, &peer);

    let _ = pacs(&["move"], &peer, &["-k", &study_uid(), "--to", "OURS"]).succeeded();

    let received = workspace::temporary_folder();
    let folder = received.path().to_str().expect("UTF-8");
    let study = study_uid();
    let options = [
        "-S",
        "+B",
        "-od",
        folder,
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        &study,
    ];
    let _ = run(&mut with_server("getscu", &server, &options)).succeeded();
    assert_eq!(received.path().read_dir().expect("a folder").count(), 4);
}

#[test]
fn our_server_moves_to_a_dcmqrscp() {
    if !has_dcmtk() {
        return;
    }
    let home = workspace::temporary_folder();
    let peer = dcmqrscp(home.path(), free_port());
    let server = server_with_study(4, vec![RemoteAe::new("QRSCP", peer.address())]);

    let study = study_uid();
    let options = [
        "-S",
        "-aem",
        "QRSCP",
        "-k",
        "QueryRetrieveLevel=STUDY",
        "-k",
        &study,
    ];
    let _ = run(&mut with_server("movescu", &server, &options)).succeeded();

    let series = "QueryRetrieveLevel=SERIES";
    let mut findscu = dcmtk("findscu");
    findscu.args([
        "-aec",
        "QRSCP",
        "-S",
        "-k",
        series,
        "-k",
        &study,
        "-k",
        "SeriesInstanceUID",
    ]);
    findscu.args(["127.0.0.1", &peer.address().port().to_string()]);
    let found = run(&mut findscu).succeeded();
    assert_eq!(
        found.text.matches("(0008,0052)").count(),
        1,
        "{}",
        found.text
    );
}

#[test]
fn storescu_sends_the_compressed_files_of_the_test_data() {
    let Some(data) = workspace::test_data() else {
        return;
    };
    if !has_dcmtk() {
        return;
    }
    let server = Server::start(Options::default());
    let sent = server.home().join("sent");
    std::fs::create_dir_all(&sent).expect("a folder");
    // One file of each syntax DCMTK 3.6.7 can propose.
    let names = [
        "ts/MR_small_implicit.dcm",
        "ts/emri_small_big_endian.dcm",
        "ts/JPEG2000.dcm",
        "ts/SC_rgb_rle.dcm",
        "ts/JPEGBaseline_1s_1f_u_08_08.dcm",
        "ts/jpeg-ls-Palette.dcm",
    ];
    gather(&sent, names.map(|name| data.join(name)));

    let profile = server.home().join("storescu.cfg");
    std::fs::write(&profile, storescu_profile()).expect("a file");
    let profile = profile.to_str().expect("UTF-8");
    for file in files_below(&sent) {
        let mut storescu = with_server("storescu", &server, &["-xf", profile, "All"]);
        let _ = run(storescu.arg(&file)).succeeded();
    }
}

/// An association profile for storescu that proposes each syntax by itself.
fn storescu_profile() -> String {
    let syntaxes = [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.2",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.80",
    ];
    let classes = [
        "1.2.840.10008.5.1.4.1.1.4",
        "1.2.840.10008.5.1.4.1.1.4.1",
        "1.2.840.10008.5.1.4.1.1.6.1",
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.3.1",
    ];
    let mut text = String::from("[[TransferSyntaxes]]\n");
    for (index, syntax) in syntaxes.iter().enumerate() {
        text.push_str(&format!("[T{index}]\nTransferSyntax1 = {syntax}\n"));
    }
    text.push_str("[[PresentationContexts]]\n[All]\n");
    let mut number = 0;
    for class in classes {
        for index in 0..syntaxes.len() {
            number += 1;
            text.push_str(&format!(
                "PresentationContext{number} = {class}\\T{index}\n"
            ));
        }
    }
    text.push_str("[[Profiles]]\n[All]\nPresentationContexts = All\n");
    text
}
