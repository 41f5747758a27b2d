//! The AE table: titles, addresses, certificates, rights and destinations.

use super::*;
use crate::config::Options;
use pacs_net::security::Fingerprint;
use std::io::Write;

fn access_of(toml: &str) -> Access {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    let options = Options {
        config: Some(file.path().into()),
        ..Options::default()
    };
    Access::new(&Config::load(&options).unwrap())
}

fn access(dicom: &str) -> Access {
    access_of(&format!(
        "[dicom]\naddress = \"{dicom}\"\ninsecure = true\n\
         [[dicom.ae]]\ntitle = \"CT1\"\naddress = \"192.0.2.7:104\"\nallow = [\"store\"]\n\
         [[dicom.ae]]\ntitle = \"WS1\"\naddress = \"127.0.0.1:11113\"\n\
         allow = [\"find\", \"move\"]\nmove_to = [\"WS1\"]\n"
    ))
}

/// CT1 is bound to a fingerprint, CT2 to a subject, GW1 to both, WS1 to its address alone; WS2 must
/// come over TLS.
fn with_certificates(tls: &str) -> Access {
    let (one, three) = ("01".repeat(32), "03".repeat(32));
    let ae = |title: &str, more: &str| {
        format!(
            "[[dicom.ae]]\ntitle = \"{title}\"\naddress = \"192.0.2.7:104\"\n\
             allow = [\"store\"]\n{more}\n"
        )
    };
    access_of(&format!(
        "[dicom]\naddress = \"127.0.0.1:0\"\n[dicom.tls]\naddress = \"{tls}\"\n\
         certificate = \"c\"\nkey = \"k\"\nclient_ca = \"ca\"\nclients = \"optional\"\n{}{}{}{}{}",
        ae("CT1", &format!("certificate_sha256 = [\"{one}\"]")),
        ae("CT2", "certificate_subject = \"CN=CT2\""),
        ae(
            "GW1",
            &format!("certificate_sha256 = [\"{three}\"]\ncertificate_subject = \"CN=GW1\"")
        ),
        ae("WS1", ""),
        ae("WS2", "tls = true\ntls_ca = \"ca\"")
    ))
}

fn title(text: &str) -> AeTitle {
    AeTitle::parse(text).unwrap()
}

fn over_tls(byte: u8, subject: &str) -> Channel {
    Channel::Tls {
        certificate: Some(PeerCertificate {
            sha256: Fingerprint::new([byte; 32]),
            subject: subject.to_owned(),
        }),
    }
}

const ANONYMOUS: Channel = Channel::Tls { certificate: None };

fn admit(
    access: &Access,
    called: &str,
    calling: &str,
    address: IpAddr,
    channel: &Channel,
) -> Result<(), Refusal> {
    access.admit(Knock {
        called: &title(called),
        calling: &title(calling),
        address,
        channel,
    })
}

fn plain(access: &Access, called: &str, calling: &str, address: IpAddr) -> Result<(), Refusal> {
    admit(access, called, calling, address, &Channel::Plain)
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const CT1: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn device(ae_title: &str, address: IpAddr) -> Caller {
    Caller::Device {
        ae_title: title(ae_title),
        address,
        user: None,
    }
}

#[test]
fn on_loopback_an_unknown_title_is_admitted_and_off_loopback_it_is_not() {
    let here = plain(&access("127.0.0.1:0"), "PACS", "UNKNOWN", LOOPBACK);
    let away = plain(&access("0.0.0.0:0"), "PACS", "UNKNOWN", CT1);

    assert_eq!((here, away), (Ok(()), Err(Refusal::CallingTitle)));
}

#[test]
fn a_configured_title_is_bound_to_its_address_everywhere() {
    for listener in ["127.0.0.1:0", "0.0.0.0:0"] {
        let access = access(listener);

        let here = plain(&access, "PACS", "CT1", CT1);
        let elsewhere = plain(&access, "PACS", "CT1", LOOPBACK);

        assert_eq!(
            (here, elsewhere),
            (Ok(()), Err(Refusal::Address)),
            "{listener}"
        );
    }
}

#[test]
fn source_addresses_count_instead_of_the_address_that_is_dialled() {
    let access = access_of(
        "[dicom]\naddress = \"0.0.0.0:0\"\ninsecure = true\n\
         [[dicom.ae]]\ntitle = \"CT1\"\naddress = \"192.0.2.7:104\"\n\
         source_addresses = [\"198.51.100.0/24\", \"203.0.113.9\"]\n",
    );
    let from = |text: &str| plain(&access, "PACS", "CT1", text.parse().unwrap());

    assert_eq!(from("198.51.100.77"), Ok(()));
    assert_eq!(from("203.0.113.9"), Ok(()));
    assert_eq!(from("203.0.113.10"), Err(Refusal::Address));
    assert_eq!(from("192.0.2.7"), Err(Refusal::Address));
}

#[test]
fn off_loopback_the_called_title_must_be_ours() {
    let called = plain(&access("0.0.0.0:0"), "OTHER", "CT1", CT1);

    assert_eq!(called, Err(Refusal::CalledTitle));
}

#[test]
fn the_right_title_with_another_certificate_is_refused() {
    let access = with_certificates("0.0.0.0:0");
    let admit = |calling, channel: &Channel| admit(&access, "PACS", calling, CT1, channel);

    assert_eq!(admit("CT1", &over_tls(1, "CN=anything")), Ok(()));
    assert_eq!(admit("CT2", &over_tls(9, "CN=CT2")), Ok(()));
    assert_eq!(admit("GW1", &over_tls(3, "CN=GW1")), Ok(()));
    let wrong = Err(Refusal::Certificate);
    assert_eq!(admit("CT1", &over_tls(9, "CN=CT1")), wrong);
    assert_eq!(admit("CT1", &ANONYMOUS), wrong);
    assert_eq!(admit("CT2", &over_tls(9, "CN=ct2")), wrong);
    assert_eq!(admit("GW1", &over_tls(3, "CN=other")), wrong);
    assert_eq!(admit("GW1", &over_tls(9, "CN=GW1")), wrong);
    // The plain listener of this server is on loopback, and its peers could not prove anything.
    let access = with_certificates("127.0.0.1:0");
    assert_eq!(plain(&access, "PACS", "CT1", CT1), wrong);
}

#[test]
fn the_right_certificate_with_another_title_is_refused() {
    // On an open listener too, where the other title may be anything.
    for (listener, unknown) in [
        ("0.0.0.0:0", Refusal::CallingTitle),
        ("127.0.0.1:0", Refusal::Borrowed),
    ] {
        let access = with_certificates(listener);
        let admit = |calling, channel: &Channel| admit(&access, "PACS", calling, CT1, channel);

        let borrowed = Err(Refusal::Borrowed);
        assert_eq!(admit("WS1", &over_tls(1, "CN=CT1")), borrowed);
        assert_eq!(admit("WS1", &over_tls(9, "CN=CT2")), borrowed);
        assert_eq!(admit("CT2", &over_tls(1, "CN=CT1")), borrowed);
        assert_eq!(admit("UNKNOWN", &over_tls(1, "CN=CT1")), Err(unknown));
        assert_eq!(admit("WS1", &over_tls(9, "CN=WS1")), Ok(()));
    }
}

#[test]
fn a_pinned_certificate_does_not_pass_as_another_by_its_subject() {
    let access = with_certificates("0.0.0.0:0");

    // Whoever made it could write any subject into it.
    let passed = admit(&access, "PACS", "CT2", CT1, &over_tls(1, "CN=CT2"));

    assert_eq!(passed, Err(Refusal::Borrowed));
}

#[test]
fn a_title_that_must_come_over_tls_is_refused_without() {
    let access = with_certificates("127.0.0.1:0");

    assert_eq!(plain(&access, "PACS", "WS2", CT1), Err(Refusal::Plain));
    assert_eq!(admit(&access, "PACS", "WS2", CT1, &ANONYMOUS), Ok(()));
}

#[test]
fn unknown_titles_are_admitted_by_the_listener_they_come_to() {
    // Plain on loopback, TLS on every address.
    let access = with_certificates("0.0.0.0:0");

    assert_eq!(plain(&access, "PACS", "UNKNOWN", LOOPBACK), Ok(()));
    let over_tls = admit(&access, "PACS", "UNKNOWN", LOOPBACK, &ANONYMOUS);
    assert_eq!(over_tls, Err(Refusal::CallingTitle));
}

#[test]
fn guesses_are_turned_away_and_the_holder_of_a_certificate_is_not() {
    let access = with_certificates("0.0.0.0:0");
    let unseen = (0..100)
        .map(|n| admit(&access, "PACS", &format!("GUESS{n}"), CT1, &ANONYMOUS))
        .filter(|refused| *refused == Err(Refusal::Guessing))
        .count();

    assert!((80..=90).contains(&unseen), "{unseen}");
    // Not even a right guess is told from a wrong one.
    let right = admit(&access, "PACS", "WS2", CT1, &ANONYMOUS);
    assert_eq!(right, Err(Refusal::Guessing));
    let proved = admit(&access, "PACS", "CT1", CT1, &over_tls(1, "CN=CT1"));
    assert_eq!(proved, Ok(()));
}

#[test]
fn rights_are_those_of_the_table() {
    let access = access("0.0.0.0:0");
    let ct = device("CT1", CT1);
    let spoofed = device("CT1", LOOPBACK);

    assert!(access.permits(&ct, Action::Store));
    assert!(!access.permits(&ct, Action::Find));
    assert!(!access.permits(&spoofed, Action::Store));
    assert!(!access.permits(&device("UNKNOWN", LOOPBACK), Action::Store));
}

#[test]
fn an_unknown_title_has_rights_on_this_machine_alone() {
    let access = access("127.0.0.1:0");

    assert!(access.permits(&device("UNKNOWN", LOOPBACK), Action::Store));
    assert!(!access.permits(&device("UNKNOWN", CT1), Action::Store));
}

#[test]
fn reports_come_from_whom_they_are_asked_of_alone() {
    let ae = |title: &str| {
        format!(
            "[[dicom.ae]]\ntitle = \"{title}\"\naddress = \"127.0.0.1:1\"\nsees = \"everything\"\n"
        )
    };
    let forward = |title: &str, confirm: bool| {
        format!("[[forward]]\nto = \"{title}\"\nconfirm = {confirm}\n")
    };
    let aes = [ae("CENTRE"), ae("WS1"), ae("CT1")].concat();
    let forwards = [forward("CENTRE", true), forward("WS1", false)].concat();
    let access = access_of(&format!("{aes}{forwards}"));

    let confirming = ["CENTRE", "WS1", "CT1", "UNKNOWN"].map(|of| access.confirms(&title(of)));

    assert_eq!(confirming, [true, false, false, false]);
    // What is sent on tells settings from others; where nothing is, they are as ever.
    assert_ne!(access.digest(), access_of(&aes).digest());
    access.replace(BTreeMap::new());
    assert!(!access.confirms(&title("CENTRE")), "no longer in the table");
}

#[test]
fn a_destination_must_be_configured_and_allowed() {
    let access = access("127.0.0.1:0");
    let to = |from: &str, to: &str| access.move_destination(&title(from), &title(to)).is_some();

    assert!(to("WS1", "WS1") && to("ANY", "WS1"));
    assert!(!to("CT1", "WS1") && !to("ANY", "NOWHERE"));
}

#[test]
fn a_person_may_at_a_device_what_both_may() {
    use pacs_core::role::{Grant, Grants, Reach, Role};
    let access = access_of(
        "[dicom]\naddress = \"0.0.0.0:0\"\ninsecure = true\n\
         [[dicom.ae]]\ntitle = \"WS1\"\naddress = \"192.0.2.7:104\"\n\
         allow = [\"find\", \"move\"]\n",
    );
    let may = |role, address, at: Option<&str>, action| {
        let user = SignedIn {
            name: "reader".to_owned(),
            grants: Grants::single(Grant::new(role, Reach::National)),
            is_doctor: true,
            break_glass: Vec::new(),
            session: None,
            address,
            device: at.map(title),
        };
        access.permits(&Caller::User(Box::new(user)), action)
    };
    let reader = |address, at, action| may(Role::Radiologist, address, at, action);
    assert!(reader(CT1, Some("WS1"), Action::Find) && reader(CT1, Some("WS1"), Action::Move));
    assert!(!reader(CT1, Some("WS1"), Action::Get), "the device may not");
    assert!(
        !reader(LOOPBACK, Some("WS1"), Action::Find),
        "not from there"
    );
    assert!(!reader(CT1, Some("WS2"), Action::Find), "no such device");
    assert!(!may(Role::OrgAdmin, CT1, Some("WS1"), Action::Find));
    assert!(!may(Role::OrgAdmin, CT1, Some("WS1"), Action::Move));
    // Over HTTP there is nothing to move to.
    assert!(reader(CT1, None, Action::Get) && !reader(CT1, None, Action::Move));
}

#[test]
fn whoever_shows_wrong_passcodes_is_told_to_wait_and_their_titles_are_looked_at_all_the_same() {
    let access = access("0.0.0.0:0");
    let (ours, calling) = (title("PACS"), title("CT1"));
    let knock = Knock {
        called: &ours,
        calling: &calling,
        address: CT1,
        channel: &Channel::Plain,
    };
    for _ in 0..crate::limits::GUESSES_MAX {
        assert_eq!(access.refuse_passcode(knock, None), Refusal::Passcode);
    }

    assert_eq!(access.refuse_passcode(knock, None), Refusal::Guessing);
    assert_eq!(access.admit(knock), Ok(()));
    let elsewhere = Knock {
        address: LOOPBACK,
        ..knock
    };
    assert_eq!(access.refuse_passcode(elsewhere, None), Refusal::Passcode);
}
