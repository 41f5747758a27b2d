//! Where all that comes is sent on to: a hospital's gateway sends it to the central archive.

use super::{AeSight, RemoteAe, title};
use crate::limits::FORWARDS_COUNT;
use pacs_core::AeTitle;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForwardSection {
    to: String,
    #[serde(default)]
    confirm: bool,
}

/// An AE to which all that comes is sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Its title; where it is says the AE table.
    pub to: AeTitle,
    /// It is asked for storage commitment, and what devices ask of us waits for its answer. It
    /// sees everything.
    pub confirm: bool,
}

/// The destinations, checked against the AE table.
pub(super) fn settings(
    sections: &[ForwardSection],
    remote_aes: &BTreeMap<AeTitle, RemoteAe>,
    faults: &mut Vec<String>,
) -> Vec<Forward> {
    if sections.len() > FORWARDS_COUNT {
        faults.push(format!("forward: more than {FORWARDS_COUNT} destinations"));
    }
    let mut forwards: Vec<Forward> = Vec::new();
    for (at, section) in sections.iter().enumerate() {
        let key = format!("forward[{at}].to");
        let Some(to) = title(&key, &section.to, faults) else {
            continue;
        };
        match remote_aes.get(&to) {
            None => faults.push(format!("{key}: {to} is not configured as dicom.ae")),
            Some(ae) if section.confirm && ae.sees != AeSight::Everything => {
                faults.push(format!(
                    "{key}: {to} is to confirm all that comes, and so has to see it: \
                     sees = \"everything\" of its dicom.ae"
                ));
            }
            Some(_) => {}
        }
        if forwards.iter().any(|known| known.to == to) {
            faults.push(format!("{key}: {to} stands twice"));
            continue;
        }
        forwards.push(Forward {
            to,
            confirm: section.confirm,
        });
    }
    forwards
}
