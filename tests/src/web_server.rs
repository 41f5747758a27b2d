//! A server with studies for the tests of the web services.

use crate::samples::Slice;
use crate::server::{Options, Server};
use crate::web::{Reply, get};
use crate::wire::{Context, uid};
use serde_json::Value;

/// A server that is open to the programs of this machine.
///
/// # Panics
/// When it does not start.
#[must_use]
pub fn open_server() -> Server {
    Server::start(Options {
        arguments: vec!["--open-loopback".to_owned()],
        ..Options::default()
    })
}

/// Stores one instance on an association of its own; the status.
///
/// # Panics
/// When the server does not answer in order.
#[must_use]
pub fn store(server: &Server, class: &str, instance: &str, syntax: &str, data_set: &[u8]) -> u16 {
    let context = Context::new(class, syntax);
    let mut association = server.associate(vec![context]).expect("an association");
    let status = association.store(class, instance, syntax, data_set);
    association.release().expect("a release in order");
    status.expect("an answer")
}

/// Stores a slice.
///
/// # Panics
/// When it is not taken.
pub fn store_slice(server: &Server, slice: &Slice) {
    let (class, syntax) = (uid::CT_IMAGE_STORAGE, uid::EXPLICIT_LITTLE_ENDIAN);
    let status = store(server, class, &slice.instance, syntax, &slice.data_set());
    assert_eq!(status, 0, "C-STORE");
}

/// A server with `studies` studies of two slices each.
///
/// # Panics
/// When it does not start or take them.
#[must_use]
pub fn filled(studies: u32) -> Server {
    let server = open_server();
    for study in 1..=studies {
        for number in 1..=2 {
            store_slice(&server, &Slice::new(study, number));
        }
    }
    server
}

/// Asks for `path` of the web services.
///
/// # Panics
/// When nothing answers in HTTP.
#[must_use]
pub fn ask(server: &Server, path: &str) -> Reply {
    get(server.http(), &format!("/dicomweb{path}"), &[])
}

/// The first value of `tag` in each result of a search.
///
/// # Panics
/// When the answer is none of a search.
#[must_use]
pub fn values(reply: &Reply, tag: &str) -> Vec<String> {
    if reply.status == 204 {
        return Vec::new();
    }
    assert_eq!(
        reply.status,
        200,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    let json = reply.json();
    let results = json.as_array().expect("an array").iter();
    let text = |value: &Value| {
        let value = &value[tag]["Value"][0];
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    results.map(text).collect()
}

/// Where below the service an instance is that can be searched for; `None`: it cannot.
///
/// # Panics
/// When the answer is none of a search, or names no address.
#[must_use]
pub fn instance_path(server: &Server, instance: &str) -> Option<String> {
    let found = ask(server, &format!("/instances?SOPInstanceUID={instance}"));
    let url = values(&found, "00081190").into_iter().next()?;
    let (_, path) = url.split_once("/dicomweb").expect("a URL of ours");
    Some(path.to_owned())
}

/// The Study Instance UID of a study of [`filled`].
#[must_use]
pub fn study(number: u32) -> String {
    Slice::new(number, 1).study
}
