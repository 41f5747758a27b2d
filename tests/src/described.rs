//! Metadata with bulk data, as clients send it by STOW-RS, and as one server gives it for another.

use crate::server::Server;
use crate::stow::{Answer, BOUNDARY, ask};
use crate::web::{Reply, get};
use crate::web_server::instance_path;

/// The `Content-Type` of metadata in JSON with bulk data behind it.
pub const DESCRIBED: &str =
    "multipart/related; type=\"application/dicom+json\"; boundary=boundary-of-the-tests";

/// The same of metadata in XML, a document a part.
pub const DESCRIBED_XML: &str =
    "multipart/related; type=\"application/dicom+xml\"; boundary=boundary-of-the-tests";

/// Bulk data on its way: the name that metadata has for it, its media type, its bytes.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// `Content-Location`.
    pub name: String,
    /// `Content-Type`.
    pub kind: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Bulk {
    /// Plain bytes.
    #[must_use]
    pub fn plain(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            kind: "application/octet-stream".to_owned(),
            bytes: bytes.to_vec(),
        }
    }
}

/// A body of `metadata` and `bulk`.
#[must_use]
pub fn body(metadata: &str, bulk: &[Bulk]) -> Vec<u8> {
    body_of("application/dicom+json", &[metadata], bulk)
}

/// A body of documents in XML and of `bulk`.
#[must_use]
pub fn body_in_xml(documents: &[&str], bulk: &[Bulk]) -> Vec<u8> {
    body_of("application/dicom+xml", documents, bulk)
}

fn body_of(kind: &str, metadata: &[&str], bulk: &[Bulk]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in metadata {
        let part = format!("\r\n--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n{text}");
        body.extend_from_slice(part.as_bytes());
    }
    for Bulk { name, kind, bytes } in bulk {
        let head =
            format!("\r\n--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Location: {name}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
    }
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Stores `metadata` with `bulk`.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn store(server: &Server, path: &str, metadata: &str, bulk: &[Bulk]) -> Answer {
    let kind = [("Content-Type", DESCRIBED)];
    ask(server.http(), "POST", path, &kind, &body(metadata, bulk))
}

/// Stores `documents` in XML with `bulk`.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn store_xml(server: &Server, path: &str, documents: &[&str], bulk: &[Bulk]) -> Answer {
    let kind = [("Content-Type", DESCRIBED_XML)];
    let body = body_in_xml(documents, bulk);
    ask(server.http(), "POST", path, &kind, &body)
}

/// The metadata in XML of the instance at `path`.
///
/// # Panics
/// When it does not come as one document.
#[must_use]
pub fn fetch_xml(server: &Server, path: &str) -> String {
    let accept = "multipart/related; type=\"application/dicom+xml\"";
    let path = format!("{path}/metadata");
    let reply = get(server.http(), &path, &[("Accept", accept)]);
    assert_eq!((reply.status, reply.is_whole), (200, true), "{path}");
    let [part] = <[_; 1]>::try_from(reply.parts()).expect("one part");
    String::from_utf8(part.body).expect("UTF-8")
}

/// What `server` has of one instance: its path, its metadata, and the bulk data that this names.
/// The metadata is the text: some is deeper than what reads it into memory would follow.
///
/// # Errors
/// What the server says of bulk data that it cannot give.
///
/// # Panics
/// When it is not there, or does not come in order.
pub fn fetch(server: &Server, instance: &str) -> Result<(String, String, Vec<Bulk>), String> {
    let path = instance_path(server, instance).expect("it is there");
    let path = format!("/dicomweb{path}");
    let metadata = get(server.http(), &format!("{path}/metadata"), &[]);
    assert_eq!((metadata.status, metadata.is_whole), (200, true), "{path}");
    let metadata = String::from_utf8(metadata.body).expect("UTF-8");
    let names = metadata.split("\"BulkDataURI\":\"").skip(1);
    let names = names.filter_map(|rest| rest.split_once('"'));
    let bulk: Result<Vec<_>, _> = names.map(|(name, _)| bulk_of(server, name)).collect();
    let bulk = bulk?.concat();
    Ok((path, metadata, bulk))
}

fn path_of(url: &str) -> String {
    let (_, path) = url.split_once("/dicomweb").expect("a URL of ours");
    format!("/dicomweb{path}")
}

fn bulk_of(server: &Server, name: &str) -> Result<Vec<Bulk>, String> {
    let path = path_of(name);
    // Pixel data would be decoded for whoever asks for bytes alone.
    if !path.ends_with("7FE00010") {
        let plain = ("Accept", "application/octet-stream");
        let plain = get(server.http(), &path, &[plain]);
        if plain.status == 200 {
            assert!(plain.is_whole, "{path}");
            return Ok(vec![Bulk::plain(name, &plain.body)]);
        }
    }
    let any = "multipart/related; type=\"*/*\"; transfer-syntax=*";
    let reply: Reply = get(server.http(), &path, &[("Accept", any)]);
    if reply.status != 200 {
        let body = String::from_utf8_lossy(&reply.body);
        return Err(format!("{name}: {} {body}", reply.status));
    }
    assert!(reply.is_whole, "{path}");
    let parts = reply.parts().into_iter();
    let parts = parts
        .map(|part| Bulk {
            name: name.to_owned(),
            kind: part.header("content-type").expect("a type").to_owned(),
            bytes: part.body,
        })
        .collect();
    Ok(parts)
}
