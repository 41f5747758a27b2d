//! Data sets say who the registry knows the patient to be and what was ordered; what is stored
//! stays.

use crate::foreign::{dcmtk, has_dcmtk, read, run};
use crate::people::particulars;
use crate::site::{Reply, Sent, Site, now};
use pacs_core::ExaminationId;
use pacs_core::patient::PatientKey;
use pacs_core::role::Agent;
use pacs_store::registry::Stored;
use pacs_store::registry::patients::Patient;
use pacs_tests::peers::free_port;
use std::path::{Path, PathBuf};

const OPEN: &str = "[http]\nopen_loopback = true\n";
const STUDY: &str = "2.25.4711";

/// A study that a console sent with the examination ID typed and a name of its own.
async fn matched(site: &Site) -> (PatientKey, ExaminationId, Sent<'static>) {
    let patient = site.patient("Жээнбеков").await;
    let id = site.order(patient, ("op", "006"), "006").await;
    let accession: &'static str = Box::leak(id.to_string().into_boxed_str());
    let sent = Sent {
        modality: "CT",
        sender: "NATHOS_CT1",
        study: STUDY,
        number: 1,
        accession,
        patient: ("ZHEENBEKOV^USON", ""),
    };
    site.send(&sent).await;
    assert!(site.matched(STUDY).await);
    (patient, id, sent)
}

async fn patient(site: &Site, key: PatientKey) -> Stored<Patient> {
    let licence = Agent::system("test").national_licence().unwrap();
    site.registry.patient(&licence, key, now()).await.unwrap()
}

/// Gives the patient another family name.
async fn rename(site: &Site, key: PatientKey, family: &str) {
    let licence = Agent::system("test").national_licence().unwrap();
    let before = patient(site, key).await;
    let changed = site.registry.change_patient(
        &licence,
        (key, before.revision),
        particulars(family),
        None,
        now(),
    );
    changed.await.unwrap();
}

fn number(patient: PatientKey) -> String {
    patient.to_string()
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = std::fs::read_dir(folder).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

/// Compares what pydicom read of a file with what it has to say.
fn check(said: &serde_json::Value, patient: PatientKey, id: ExaminationId, sent: &Sent<'_>) {
    let key = number(patient);
    assert_eq!(said["charset"], "ISO_IR 192");
    assert_eq!(said["name"], "Жээнбеков^Үсөн^Өмүрбекович");
    assert_eq!(said["id"], key);
    assert_eq!(said["issuer"], "KGPACS");
    assert_eq!(said["birth"], "19900131");
    assert_eq!(said["accession"], id.to_string());
    assert_eq!(said["request"][0], id.to_string());
    assert_eq!(said["series"], "Голова", "text of the device is UTF-8, too");
    assert_eq!(said["study"], "КТ: голова");
    assert_eq!(said["institution"], "Больница 006");
    let uids = [sent.study.to_owned(), format!("{STUDY}.1"), sent.uid()];
    assert_eq!(said["uids"], serde_json::json!(uids));
    let pixels: String = (0..512_u16)
        .map(|at| format!("{:02x}", at.to_le_bytes()[0]))
        .collect();
    assert_eq!(said["pixels"], pixels);
    let original = &said["original"];
    assert_eq!(original.as_array().unwrap().len(), 1);
    assert_eq!(original[0]["name"], "ZHEENBEKOV^USON");
    assert_eq!(original[0]["system"], "KGPACS");
    assert_eq!(original[0]["reason"], "COERCE");
}

/// What DCMTK gets by C-GET in a transfer syntax.
async fn got(site: &Site, syntax: &str, folder: &Path) -> PathBuf {
    let port = site.dicom.port().to_string();
    let mut get = dcmtk("getscu");
    get.args(["-aet", "NATHOS_CT1", "-aec", "PACS", syntax, "-S", "-od"])
        .arg(folder)
        .args(["127.0.0.1", &port, "-k", "QueryRetrieveLevel=STUDY", "-k"])
        .arg(format!("StudyInstanceUID={STUDY}"));
    tokio::task::spawn_blocking(move || run(&mut get))
        .await
        .unwrap();
    let file = only_file(folder);
    run(dcmtk("dcmdump").arg(&file));
    file
}

/// What DCMTK has moved to itself.
async fn moved(site: &Site, sink: u16, folder: &Path) -> PathBuf {
    let port = site.dicom.port().to_string();
    let mut moving = dcmtk("movescu");
    moving
        .args([
            "-aet",
            "NATHOS_CT1",
            "-aec",
            "PACS",
            "-aem",
            "NATHOS_CT1",
            "+P",
        ])
        .arg(sink.to_string())
        .args(["-S", "-od"])
        .arg(folder)
        .args(["127.0.0.1", &port, "-k", "QueryRetrieveLevel=STUDY", "-k"])
        .arg(format!("StudyInstanceUID={STUDY}"));
    tokio::task::spawn_blocking(move || run(&mut moving))
        .await
        .unwrap();
    only_file(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn dcmtk_and_pydicom_get_who_the_patient_is_and_what_was_ordered() {
    if !has_dcmtk() {
        return;
    }
    let sink = free_port();
    let ae = format!(
        "[[dicom.ae]]\ntitle = \"NATHOS_CT1\"\naddress = \"127.0.0.1:{sink}\"\n\
         allow = [\"get\", \"find\", \"move\"]\nmove_to = [\"NATHOS_CT1\"]\n"
    );
    let site = Site::open(&format!("{OPEN}{ae}")).await;
    let (patient, id, sent) = matched(&site).await;
    let stored = site.stored(STUDY).await;
    assert!(site.kept(&stored[0]).await == sent.data_set());

    // As it is kept and in another transfer syntax.
    for syntax in ["+xe", "+xi"] {
        let folder = tempfile::tempdir().unwrap();
        let file = got(&site, syntax, folder.path()).await;
        let Some(said) = read(&file) else { return };
        check(&said, patient, id, &sent);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = moved(&site, sink, folder.path()).await;
    check(&read(&file).unwrap(), patient, id, &sent);
    let path = format!(
        "/dicomweb/studies/{STUDY}/series/{STUDY}.1/instances/{}",
        sent.uid()
    );
    let headers = [("Accept", "application/dicom")];
    let reply = site.http("GET", &path, &headers).await;
    assert_eq!(reply.status, 200);
    let file = folder.path().join("web.dcm");
    std::fs::write(&file, &reply.body).unwrap();
    check(&read(&file).unwrap(), patient, id, &sent);

    // What is stored is as it came.
    assert!(site.kept(&stored[0]).await == sent.data_set());
    let kept = site.leave().await;
    let data = kept.path().join("data");
    let out = tempfile::tempdir().unwrap();
    exported(&data, out.path(), &[]);
    let said = read(&exported_file(out.path())).unwrap();
    check(&said, patient, id, &sent);
    let out = tempfile::tempdir().unwrap();
    exported(&data, out.path(), &["--as-stored"]);
    let said = read(&exported_file(out.path())).unwrap();
    assert_eq!(said["name"], "ZHEENBEKOV^USON");
    assert_eq!(said["original"], serde_json::json!([]));
}

/// Exports a study of the archive in `data`, whose server has stopped.
fn exported(data: &Path, out: &Path, more: &[&str]) {
    let mut export = std::process::Command::new(env!("CARGO_BIN_EXE_pacs"));
    export
        .args(["export", "--data"])
        .arg(data)
        .arg("--key")
        .arg(format!("StudyInstanceUID={STUDY}"))
        .arg("--out");
    run(export.arg(out.join("set")).args(more));
}

fn exported_file(out: &Path) -> PathBuf {
    let mut folder = out.join("set/DICOM");
    while folder.is_dir() {
        folder = only_file(&folder);
    }
    folder
}

fn value<'v>(of: &'v serde_json::Value, tag: &str) -> &'v serde_json::Value {
    &of[tag]["Value"][0]
}

async fn ask(site: &Site, path: &str) -> Reply {
    let reply = site.http("GET", &format!("/dicomweb{path}"), &[]).await;
    assert!(
        matches!(reply.status, 200 | 204),
        "{path}: {}",
        reply.status
    );
    reply
}

/// How many results a search has.
async fn found(site: &Site, query: &str) -> usize {
    let reply = ask(site, &format!("/studies?{query}")).await;
    reply.json().as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_searches_follow_the_patient_and_never_say_what_was() {
    let site = Site::open(OPEN).await;
    let (patient, id, sent) = matched(&site).await;
    let path = format!("/studies/{STUDY}/metadata");

    let first = ask(&site, &path).await;
    let json = first.json();
    let name = value(&json[0], "00100010");
    assert_eq!(name["Alphabetic"], "Жээнбеков^Үсөн^Өмүрбекович");
    assert_eq!(value(&json[0], "0008103E"), "Голова");
    assert_eq!(value(&json[0], "00080050"), &id.to_string());
    let previous = &value(&json[0], "04000561")["04000550"]["Value"][0];
    assert_eq!(value(previous, "00100010")["Alphabetic"], "ZHEENBEKOV^USON");
    let pixels = json[0]["7FE00010"]["BulkDataURI"].as_str().unwrap();
    let pixels = pixels.split("/dicomweb").nth(1).unwrap().to_owned();
    let tag = first.header("etag").unwrap().to_owned();
    let rendered =
        format!("/studies/{STUDY}/rendered?annotation=patient&viewport=512,512&accept=image/png");
    let picture = ask(&site, &rendered).await;
    assert_eq!(
        found(&site, &format!("PatientID={}", number(patient))).await,
        1
    );
    assert_eq!(found(&site, "PatientName=Жээнбеков*").await, 1);
    assert_eq!(found(&site, &format!("AccessionNumber={id}")).await, 1);
    let search = format!("/studies/{STUDY}/series?includefield=InstitutionName");
    let series = ask(&site, &search).await.json();
    assert_eq!(value(&series[0], "00080080"), "Больница 006");

    rename(&site, patient, "Сыдыков").await;

    let again = ask(&site, &path).await;
    assert_ne!(again.header("etag").unwrap(), tag);
    let json = again.json();
    let name = value(&json[0], "00100010");
    assert_eq!(name["Alphabetic"], "Сыдыков^Үсөн^Өмүрбекович");
    let headers = [("If-None-Match", tag.as_str())];
    let asked = site
        .http("GET", &format!("/dicomweb{path}"), &headers)
        .await;
    assert_eq!(asked.status, 200);
    assert!(
        ask(&site, &rendered).await.body != picture.body,
        "the name is in the picture"
    );
    site.settle().await;
    assert_eq!(found(&site, "PatientName=Жээнбеков*").await, 0);
    assert_eq!(
        found(&site, "PatientName=ZHEENBEKOV*").await,
        0,
        "nor by what the device said"
    );
    let study = ask(&site, "/studies?PatientName=Сыдыков*").await.json();
    assert_eq!(value(&study[0], "00100020"), &number(patient));

    // Pixel data stands where it stood.
    let bytes = ask(&site, &pixels).await.body;
    let data_set = sent.data_set();
    assert!(data_set.ends_with(&bytes) && bytes.len() == 512);
    site.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_nobody_has_matched_is_given_byte_for_byte() {
    let site = Site::open(OPEN).await;
    let sent = Sent {
        modality: "CT",
        sender: "NATHOS_CT1",
        study: STUDY,
        number: 1,
        accession: "",
        patient: ("SOMEBODY^ELSE", "1"),
    };
    site.send(&sent).await;
    assert!(!site.matched(STUDY).await);

    let path = format!("/studies/{STUDY}/series/{STUDY}.1/instances/{}", sent.uid());
    let headers = [("Accept", "application/dicom")];
    let reply = site
        .http("GET", &format!("/dicomweb{path}"), &headers)
        .await;

    assert!(reply.body.ends_with(&sent.data_set()));
    assert_eq!(
        reply.header("content-length").unwrap(),
        reply.body.len().to_string()
    );
    let json = ask(&site, &format!("{path}/metadata")).await.json();
    assert_eq!(value(&json[0], "00100010")["Alphabetic"], "SOMEBODY^ELSE");
    assert_eq!(found(&site, "PatientName=SOMEBODY*").await, 1);
    site.close().await;
}
