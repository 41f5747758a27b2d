//! A destination by name whose name server changes its mind (T11), in a network namespace whose
//! packets are counted: what a name meant when the configuration was read is where instances go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use super::lossy::{NEEDED, namespace};
use super::{Kept, is_root, storing};
use crate::samples::Slice;
use crate::server::{Options, Server};
use crate::wire::identifier::tag;
use crate::wire::sink::Takes;
use crate::wire::{Association, Context, Keys, Sink, uid};
use crate::workspace;

/// The argument by which the campaign is told that it runs within such a namespace.
pub(super) const INSIDE: &str = "inside-names";

const NAME: &str = "console.example";

/// What the name leads to at first.
const CONSOLE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// What it leads to later: other machines of the hospital, addresses that are nobody's, a server
/// of passwords for machines in a cloud, and the machine itself.
const LATER: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0xFD00, 0x99, 0, 0, 0, 0, 0, 2)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 7)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];

/// Those of them that somebody listens at.
const OTHERS: [IpAddr; 4] = [LATER[0], LATER[1], LATER[5], LATER[6]];

/// Runs `campaign`, the program of `cargo xtask edges`, where names lie; whether it could be.
///
/// # Panics
/// When an instance, or one packet, went where a name led later.
pub fn run(campaign: &Path) -> bool {
    if !is_root() {
        return false;
    }
    for (tool, package) in NEEDED {
        if !crate::peers::has_tool(tool) {
            workspace::skip(package);
            return false;
        }
    }
    let home = workspace::temporary_folder();
    let hosts = home.path().join("hosts");
    std::fs::write(&hosts, line(CONSOLE.into())).expect("a file of names");
    let server = workspace::binary("pacs-server");
    let script = format!(
        "ip link set lo up && ip address add {CONSOLE}/32 dev lo && \
         ip address add {}/32 dev lo && ip route add default dev lo && \
         ip address add {}/128 dev lo nodad && ip -6 route add default dev lo && \
         mount --bind \"$1\" /etc/hosts && \
         exec \"$0\" {INSIDE} \"$1\" {}",
        LATER[0],
        LATER[1],
        namespace()
    );
    let status = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", &script])
        .arg(campaign)
        .arg(&hosts)
        .env("PACS_BIN_DIR", server.parent().expect("a folder"))
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("unshare runs").success(), "names that lie");
    true
}

fn line(address: IpAddr) -> String {
    format!("127.0.0.1 localhost\n{address} {NAME}\n")
}

fn nft(words: &str) -> String {
    let said = Command::new("nft").arg(words).output().expect("nft runs");
    assert!(said.status.success(), "nft {words}");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// Counts what leaves for the port of the console at each address.
fn count_packets(port: u16) {
    nft("add table inet names");
    nft("add chain inet names output { type filter hook output priority 0 ; }");
    for address in [IpAddr::V4(CONSOLE)].iter().chain(&LATER) {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        nft(&format!(
            "add rule inet names output {family} daddr {address} tcp dport {port} counter"
        ));
    }
}

/// How many packets left for each address, in the order of the rules.
fn packets() -> Vec<u64> {
    let listed = nft("list chain inet names output");
    let mut words = listed.split_whitespace();
    std::iter::from_fn(|| {
        words.find(|word| *word == "packets")?;
        words.next()?.parse().ok()
    })
    .collect()
}

/// What runs within the namespace.
///
/// # Panics
/// As [`run`].
pub(super) fn inside(hosts: &Path, outside: &str) {
    assert_ne!(namespace(), outside, "not in a namespace of its own");
    let listener = TcpListener::bind(SocketAddr::from((CONSOLE, 0))).expect("a free port");
    let console = Sink::listen(listener, Takes::Everything);
    let port = console.address().port();
    let others = OTHERS.map(|address| {
        let other = TcpListener::bind(SocketAddr::from((address, port))).expect("a free port");
        Sink::listen(other, Takes::Everything)
    });
    count_packets(port);
    let server = Server::start(Options {
        config: format!("[[dicom.ae]]\ntitle = \"CONSOLE\"\naddress = \"{NAME}:{port}\"\n"),
        ..Options::default()
    });
    let slice = Slice::new(1, 1);
    let mut sender = Association::connect(server.dicom(), &storing()).expect("an association");
    let kept = Kept::default();
    assert_eq!(kept.store(&mut sender, &slice).expect("an answer"), 0);
    let study = Keys::at("STUDY").with(tag::STUDY, &slice.study);
    let moved = || {
        let context = Context::new(uid::STUDY_ROOT_MOVE, uid::IMPLICIT_LITTLE_ENDIAN);
        let mut association = server.associate(vec![context]).expect("an association");
        let moved = association.move_to(&study, "CONSOLE").expect("an answer");
        assert_eq!(moved.status, 0, "{moved:?}");
        assert_eq!(console.take().len(), 1, "the instance reaches the console");
    };

    moved();
    for address in LATER {
        std::fs::write(hosts, line(address)).expect("a file of names");
        moved();
    }
    // It leads to this machine now: what is read again is refused, and what was stays.
    server.hang_up();
    server.wait_for_log("which is loopback");
    moved();

    let [to_console, later @ ..] = &packets()[..] else {
        panic!("the rules count");
    };
    assert!(*to_console > 0, "the counters do not count");
    assert_eq!(later, [0; LATER.len()], "packets left for {LATER:?}");
    assert!(others.iter().all(|other| other.take().is_empty()));
    println!("edges: {to_console} packets for the console, none for what its name led to later");
}

/// As [`run`], by the running program.
///
/// # Panics
/// As [`run`].
pub fn campaign() {
    run(&std::env::current_exe().expect("the running executable has a path"));
}
