//! A gateway at a hospital, the centre that it sends to, and a device that asks.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use pacs_tests::corpus::Parts;
use pacs_tests::peers::{Listener, dcmtk, files_below, has_dcmtk};
use pacs_tests::samples::Slice;
use pacs_tests::server::{Options, RemoteAe, Server};
use pacs_tests::wire::identifier::tag;
use pacs_tests::wire::{Association, Context, Keys, Proposal, digest, uid};
use pacs_tests::workspace;
use tempfile::TempDir;

pub(crate) const CT: &str = uid::CT_IMAGE_STORAGE;

/// The centre, which knows the gateway at this port.
pub(crate) fn centre(gateway_port: u16) -> Server {
    let gateway = ([127, 0, 0, 1], gateway_port).into();
    Server::start(Options {
        remote: vec![RemoteAe::new("GATEWAY", gateway)],
        arguments: ["--ae-title", "CENTRE"].map(str::to_owned).into(),
        ..Options::default()
    })
}

/// A destination in the settings.
pub(crate) fn sent_to(title: &str, confirms: bool) -> String {
    format!("[[forward]]\nto = \"{title}\"\nconfirm = {confirms}\n")
}

/// An AE in the settings.
pub(crate) fn ae(title: &str, address: SocketAddr) -> String {
    format!(
        "[[dicom.ae]]\ntitle = \"{title}\"\naddress = \"{address}\"\n\
         allow = [\"echo\", \"store\"]\nsees = \"everything\"\n"
    )
}

/// A hospital.
pub(crate) struct Site {
    pub(crate) gateway: Server,
    /// What its settings always have.
    aes: String,
}

impl Site {
    /// With a gateway that listens on `port`, sends to the centre behind `uplink`, and reports to
    /// its device at `device`.
    pub(crate) fn start(port: u16, uplink: SocketAddr, device: SocketAddr) -> Self {
        let mut site = Self::without(port, uplink, device);
        site.gateway.stop();
        site.rewrite(&sent_to("CENTRE", true));
        site.gateway.restart();
        site
    }

    /// The same with nothing that is sent on.
    pub(crate) fn without(port: u16, uplink: SocketAddr, device: SocketAddr) -> Self {
        let mut aes = ae("CENTRE", uplink);
        write!(
            aes,
            "[[dicom.ae]]\ntitle = \"CT1\"\naddress = \"{device}\"\n\
             allow = [\"echo\", \"store\", \"commit\"]\n"
        )
        .expect("writing to a string does not fail");
        let address = format!("127.0.0.1:{port}");
        let arguments = [
            "--ae-title",
            "GATEWAY",
            "--dicom",
            &address,
            "--open-loopback",
        ];
        let gateway = Server::start(Options {
            config: aes.clone(),
            arguments: arguments.map(str::to_owned).into(),
            ..Options::default()
        });
        Self { gateway, aes }
    }

    /// Gives it other settings from its next start on.
    pub(crate) fn rewrite(&mut self, more: &str) {
        let config = format!("{}{more}", self.aes);
        self.gateway.rewrite_config(config);
    }
}

/// An association of the device.
pub(crate) fn association(server: &Server) -> Association {
    calling("CT1", server)
}

/// An association of whoever calls itself `title`.
pub(crate) fn calling(title: &str, server: &Server) -> Association {
    let proposal = Proposal {
        calling: title.to_owned(),
        called: "GATEWAY".to_owned(),
        ..Proposal::new(vec![
            Context::new(CT, uid::EXPLICIT_LITTLE_ENDIAN),
            Context::new(uid::STORAGE_COMMITMENT, uid::IMPLICIT_LITTLE_ENDIAN),
        ])
    };
    Association::connect(server.dicom(), &proposal).expect("an association")
}

/// Stores slices of a study and gives their UIDs.
pub(crate) fn store(
    association: &mut Association,
    study: u32,
    numbers: RangeInclusive<u32>,
) -> Vec<String> {
    let stored = numbers.map(|number| {
        let slice = Slice::new(study, number);
        let syntax = uid::EXPLICIT_LITTLE_ENDIAN;
        let status = association.store(CT, &slice.instance, syntax, &slice.data_set());
        assert_eq!(status.expect("a status"), 0);
        slice.instance
    });
    stored.collect()
}

/// Instances as they are asked about.
pub(crate) fn references(instances: &[String]) -> Vec<(&str, &str)> {
    let references = instances.iter().map(|instance| (CT, instance.as_str()));
    references.collect()
}

/// Asks for their commitment, which is taken.
pub(crate) fn commit(association: &mut Association, transaction: &str, instances: &[String]) {
    let status = association.commit(transaction, &references(instances));
    assert_eq!(status.expect("a status"), 0);
}

/// The digests of what a server gives back of a study, sorted.
pub(crate) fn digests(server: &Server, study: u32) -> Vec<String> {
    let contexts = vec![
        Context::new(uid::STUDY_ROOT_GET, uid::IMPLICIT_LITTLE_ENDIAN),
        Context::receiving(CT, uid::EXPLICIT_LITTLE_ENDIAN),
    ];
    let mut association = server.associate(contexts).expect("an association");
    let keys = Keys::at("STUDY").with(tag::STUDY, &Slice::new(study, 1).study);
    let (_, received) = association.get(&keys).expect("C-GET is answered");
    association.release().expect("a release in order");
    let mut digests: Vec<String> = received.into_iter().map(|back| back.digest).collect();
    digests.sort();
    digests
}

/// What a metric says; 0 where it is not there.
pub(crate) fn counted(server: &Server, metric: &str) -> u64 {
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    found.map_or(0, |count| count.parse().expect("a number"))
}

/// C-STOREs of an AE that were answered with Success.
pub(crate) fn stores_of(server: &Server, title: &str) -> u64 {
    let labels = format!("{{ae=\"{title}\",service=\"store\",status=\"0000\"}}");
    let metric = format!("pacs_dimse_operation_seconds_count{labels}");
    counted(server, &metric)
}

/// A workstation: storescp of DCMTK, titled `WS1`.
pub(crate) struct Workstation {
    // Dropped before its folder.
    listener: Listener,
    disk: TempDir,
}

impl Workstation {
    /// Listens on `port`; `None` (said loudly) without DCMTK.
    pub(crate) fn start(port: u16) -> Option<Self> {
        if !has_dcmtk() {
            return None;
        }
        let disk = workspace::temporary_folder();
        let mut storescp = dcmtk("storescp");
        // +B keeps the data set as it was received.
        storescp.args(["-aet", "WS1", "+B", "-od"]).arg(disk.path());
        let listener = Listener::start(storescp.arg(port.to_string()), port);
        Some(Self { listener, disk })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The digests of the data sets that it has, sorted; those it writes just now are left out.
    pub(crate) fn digests(&self) -> Vec<String> {
        let files = files_below(self.disk.path()).into_iter();
        let mut digests: Vec<String> = files
            .filter_map(|path| {
                let file = std::fs::read(path).ok().filter(|file| file.len() > 8_192)?;
                Some(digest(&file[Parts::of(&file).data_set_offset..]))
            })
            .collect();
        digests.sort();
        digests
    }
}
