//! Who sent an instance, as rows say it.

use super::super::codec::{Reader, Writer};
use crate::index::{IndexError, Provenance};
use std::net::IpAddr;

pub(super) fn sender(provenance: &Provenance) -> Vec<u8> {
    let mut writer = Writer::default();
    match provenance.address {
        None => writer.byte(0),
        Some(IpAddr::V4(address)) => {
            writer.byte(4);
            writer.raw(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            writer.byte(6);
            writer.raw(&address.octets());
        }
    }
    writer.raw(provenance.calling.as_bytes());
    writer.into_bytes()
}

pub(super) fn provenance(sender: &[u8], received_unix_ms: u64) -> Result<Provenance, IndexError> {
    let mut reader = Reader::new(sender, "sender of an instance");
    let address = match reader.byte()? {
        0 => None,
        4 => Some(IpAddr::from(reader.array::<4>()?)),
        6 => Some(IpAddr::from(reader.array::<16>()?)),
        _ => return Err(reader.damaged()),
    };
    let calling = std::str::from_utf8(reader.rest()).map_err(|_| reader.damaged())?;
    Ok(Provenance {
        received_unix_ms,
        calling: calling.to_owned(),
        address,
    })
}
