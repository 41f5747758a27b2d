//! Addresses of the configuration: networks that associations may come from, and destinations that
//! a name must not lead to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Whether something is `HOST:PORT`, as what is connected to is named. Whether there is such a host
/// shows when it is connected to.
pub(super) fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && matches!(port.parse::<u16>(), Ok(1..)))
}

/// One address, or all with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether `address` is in it. IPv4 addresses are compared in their own form.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(address)) => {
                let differs = ours.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(address)) => {
                let differs = ours.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= u32::from(self.prefix_bits)
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            prefix_bits: if address.is_ipv4() { 32 } else { 128 },
        }
    }
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// It is neither an address nor an address and a number of bits.
    #[error("neither an IP address nor ADDRESS/BITS")]
    Form,
    /// The address has bits beyond those that count.
    #[error("the address has bits beyond the first {prefix_bits}")]
    HostBits {
        /// Those that count.
        prefix_bits: u8,
    },
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let Some((address, bits)) = text.split_once('/') else {
            let address: IpAddr = text.parse().map_err(|_| NotANetwork::Form)?;
            return Ok(address.into());
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::Form)?;
        let prefix_bits: u8 = bits.parse().map_err(|_| NotANetwork::Form)?;
        let (rest, bits_max) = match address {
            IpAddr::V4(address) => (
                u128::from(
                    address
                        .to_bits()
                        .checked_shl(prefix_bits.into())
                        .unwrap_or(0),
                ),
                32,
            ),
            IpAddr::V6(address) => (
                address
                    .to_bits()
                    .checked_shl(prefix_bits.into())
                    .unwrap_or(0),
                128,
            ),
        };
        if prefix_bits > bits_max {
            return Err(NotANetwork::Form);
        }
        if rest != 0 {
            return Err(NotANetwork::HostBits { prefix_bits });
        }
        Ok(Self {
            address,
            prefix_bits,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// What is special about an address, so that a host name of the configuration must not lead there:
/// names are in the hands of whoever runs the name servers. `None` for ordinary ones.
#[must_use]
pub fn special(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    // Where clouds hand out credentials, beside 169.254.169.254.
    const METADATA: [Ipv4Addr; 2] = [
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
    ];
    if address.is_loopback() {
        Some("loopback")
    } else if address.octets().first() == Some(&0) {
        Some("this machine itself")
    } else if address.is_link_local() {
        Some("link-local")
    } else if METADATA.contains(&address) {
        Some("a metadata service")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("no single machine")
    } else {
        None
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    /// RFC 6052: the last 32 bits are an IPv4 address.
    const NAT64: u128 = 0x0064_ff9b << 96;
    if address.is_loopback() {
        Some("loopback")
    } else if address.is_unspecified() {
        Some("this machine itself")
    } else if address.is_unicast_link_local() {
        Some("link-local")
    } else if address == METADATA {
        Some("a metadata service")
    } else if address.is_multicast() {
        Some("no single machine")
    } else if address.to_bits() >> 32 == NAT64 >> 32 {
        let [.., a, b, c, d] = address.octets();
        special_v4(Ipv4Addr::new(a, b, c, d))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_what_shares_its_first_bits() {
        let network: Network = "10.1.2.0/23".parse().unwrap();
        assert!(network.contains(ip("10.1.3.255")) && network.contains(ip("::ffff:10.1.2.1")));
        assert!(!network.contains(ip("10.1.4.0")) && !network.contains(ip("::1")));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains(ip("192.0.2.1")) && !all.contains(ip("2001:db8::1")));
        let six: Network = "2001:db8::/32".parse().unwrap();
        assert!(six.contains(ip("2001:db8:ffff::1")) && !six.contains(ip("2001:db9::1")));
        let one: Network = "192.0.2.7".parse().unwrap();
        assert!(one.contains(ip("192.0.2.7")) && !one.contains(ip("192.0.2.8")));
        assert_eq!(one.to_string(), "192.0.2.7/32");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in [
            "",
            "host",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0/8",
            "::/129",
            "1.2.3.4:5",
        ] {
            assert_eq!(wrong.parse::<Network>(), Err(NotANetwork::Form), "{wrong}");
        }
        let host_bits = "10.0.0.1/8".parse::<Network>();
        assert_eq!(host_bits, Err(NotANetwork::HostBits { prefix_bits: 8 }));
    }

    #[test]
    fn special_addresses_are_known_in_every_form() {
        for text in [
            "127.0.0.1",
            "127.8.9.10",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(special(ip(text)).is_some(), "{text}");
        }
        for text in [
            "10.0.0.1",
            "192.168.1.1",
            "192.0.2.7",
            "2001:db8::1",
            "fd12::1",
        ] {
            assert!(special(ip(text)).is_none(), "{text}");
        }
    }
}
