//! What settings are taken, and what each fault is called.

use super::ae_table::refused_destination;
use super::*;
use pacs_net::tls::ClientAuthentication;
use std::io::Write;

fn load(toml: &str, options: Options) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(toml.as_bytes()).unwrap();
    Config::load(&Options {
        config: Some(file.path().into()),
        ..options
    })
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    let config = Config::load(&Options::default()).unwrap();

    assert_eq!(config.dicom.to_string(), "127.0.0.1:11112");
    assert_eq!(config.http.to_string(), "127.0.0.1:8080");
    assert_eq!(config.ae_title.as_str(), "PACS");
    assert_eq!(config.data.to_str(), Some("./pacs-data"));
}

#[test]
fn the_command_line_is_stronger_than_the_file() {
    let options = Options {
        ae_title: Some("CLI".into()),
        ..Options::default()
    };

    let config = load(
        "[dicom]\nae_title = \"FILE\"\naddress = \"127.0.0.1:0\"",
        options,
    );

    let config = config.unwrap();
    assert_eq!(config.ae_title.as_str(), "CLI");
    assert_eq!(config.dicom.port(), 0);
}

#[test]
fn every_fault_is_named_at_once() {
    let toml = "[dicom]\nae_title = \"THIS TITLE IS TOO LONG\"\naddress = \"nowhere\"\n\
                [[dicom.ae]]\ntitle = \"A\"\naddress = \"127.0.0.1:0\"\nmove_to = [\"B\"]";

    let faults = load(toml, Options::default()).unwrap_err().faults;

    assert_eq!(faults.len(), 4, "{faults:?}");
}

#[test]
fn plain_dicom_off_loopback_needs_the_explicit_setting() {
    let bare = "[dicom]\naddress = \"0.0.0.0:0\"";
    let explicit = "[dicom]\naddress = \"0.0.0.0:0\"\ninsecure = true";

    assert!(load(bare, Options::default()).is_err());
    assert!(load(explicit, Options::default()).unwrap().is_insecure());
}

#[test]
fn http_off_loopback_needs_the_explicit_setting() {
    let bare = "[http]\naddress = \"0.0.0.0:0\"";
    let explicit = "[http]\naddress = \"0.0.0.0:0\"\ninsecure = true";
    let by_flag = Options {
        insecure_http: Some(true),
        ..Options::default()
    };

    let faults = load(bare, Options::default()).unwrap_err().faults;
    assert!(faults[0].contains("http.insecure"), "{faults:?}");
    assert!(
        load(explicit, Options::default())
            .unwrap()
            .is_http_insecure()
    );
    assert!(load(bare, by_flag).unwrap().is_http_insecure());
    assert!(!load("", Options::default()).unwrap().is_http_insecure());
}

#[test]
fn content_is_scrubbed_within_thirty_days_unless_something_else_is_said() {
    let days = |toml: &str| {
        let plan = load(toml, Options::default()).map(|config| config.scrub);
        plan.map(|plan| plan.map(|plan| plan.pass_duration.as_secs()))
    };

    assert_eq!(days("").unwrap(), Some(30 * 86_400));
    assert_eq!(days("[scrub]\ndays = 0.5").unwrap(), Some(43_200));
    assert_eq!(days("[scrub]\ndays = 0").unwrap(), None);
    for wrong in ["days = -1", "days = nan", "megabytes_per_second_max = 0"] {
        assert!(days(&format!("[scrub]\n{wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn an_ae_may_be_idle_for_as_long_as_is_said_of_it() {
    let load = |seconds: u64| {
        let ae = "[[dicom.ae]]\ntitle = \"A\"\naddress = \"127.0.0.1:1\"\nidle_seconds =";
        load(&format!("{ae} {seconds}"), Options::default())
    };

    let config = load(600).unwrap();

    let title = AeTitle::parse("A").unwrap();
    let of_it = config.remote_aes[&title].idle_duration_max;
    assert_eq!(of_it, Some(Duration::from_secs(600)));
    assert_eq!(config.idle_duration_max, Duration::from_secs(60));
    for wrong in [0, 86_401] {
        let error = load(wrong).unwrap_err();
        assert!(
            error.to_string().starts_with("dicom.ae[0].idle_seconds"),
            "{error}"
        );
    }
}

#[test]
fn what_is_sent_on_goes_to_an_ae_of_the_table_once_and_an_archive_sees_it_all() {
    let ae = "[[dicom.ae]]\ntitle = \"CENTRE\"\naddress = \"127.0.0.1:1\"\n";
    let seeing = format!("{ae}sees = \"everything\"\n");
    let forward = |to: &str, more: &str| format!("[[forward]]\nto = \"{to}\"\n{more}\n");
    let load = |toml: &[&str]| load(&toml.concat(), Options::default());

    let plain = load(&[ae, &forward("CENTRE", "")]).unwrap();
    let confirmed = load(&[&seeing, &forward("CENTRE", "confirm = true")]).unwrap();

    assert!(load(&[ae]).unwrap().forwards.is_empty());
    assert!(!plain.forwards[0].confirm && confirmed.forwards[0].confirm);
    assert_eq!(plain.changed_for_restart(&confirmed), ["forward"]);
    let twice = [forward("CENTRE", ""), forward("CENTRE", "")].concat();
    let many: String = (0..9).map(|_| forward("CENTRE", "")).collect();
    for (toml, fault) in [
        (forward("NOBODY", ""), "forward[0].to: NOBODY is not"),
        (forward("", ""), "forward[0].to:"),
        (twice, "forward[1].to: CENTRE stands twice"),
        (many, "forward: more than 8"),
        (
            forward("CENTRE", "confirm = true"),
            "forward[0].to: CENTRE is to confirm",
        ),
        (forward("CENTRE", "confirms = true"), "confirms"),
    ] {
        let error = load(&[ae, &toml]).unwrap_err().to_string();
        assert!(error.contains(fault), "{error}");
    }
}

#[test]
fn a_misspelt_key_or_right_is_refused() {
    assert!(load("[dicom]\nadress = \"127.0.0.1:1\"", Options::default()).is_err());
    let ae = "[[dicom.ae]]\ntitle = \"A\"\naddress = \"127.0.0.1:1\"\nallow = [\"stroe\"]";
    assert!(load(ae, Options::default()).is_err());
}

#[test]
fn a_destination_must_not_be_a_name_that_leads_to_this_machine() {
    let to = |text: &str, ip: &str| {
        refused_destination(text, &[SocketAddr::new(ip.parse().unwrap(), 104)]).is_some()
    };

    assert!(to("ct1.example:104", "127.0.0.1"));
    assert!(to("ct1.example:104", "169.254.169.254"));
    assert!(to("2130706433:104", "127.0.0.1"), "no form of an address");
    assert!(to("ct1.example:104", "fe80::1") && to("ct1.example:104", "::1"));
    assert!(to("0.0.0.0:104", "0.0.0.0") && to("[ff02::1]:104", "ff02::1"));
    // What is written as an address is meant.
    assert!(!to("127.0.0.1:104", "127.0.0.1") && !to("[::1]:104", "::1"));
    assert!(!to("localhost:104", "127.0.0.1"));
    assert!(!to("ct1.example:104", "192.0.2.7"));
}

#[test]
fn a_destination_must_not_be_a_listener_of_this_server() {
    let toml = |dicom: &str, ae: &str| {
        let of = "[dicom]\ninsecure = true\naddress = ";
        format!("{of}\"{dicom}\"\n[[dicom.ae]]\ntitle = \"A\"\naddress = \"{ae}\"")
    };
    let loads = |dicom, ae| load(&toml(dicom, ae), Options::default()).is_ok();

    assert!(!loads("127.0.0.1:11112", "127.0.0.1:11112"));
    assert!(!loads("0.0.0.0:11112", "127.0.0.1:11112"));
    assert!(!loads("127.0.0.1:11112", "127.0.0.1:8080"), "HTTP");
    assert!(loads("127.0.0.1:11112", "127.0.0.1:11113"));
    assert!(loads("0.0.0.0:11112", "192.0.2.7:11112"));
}

fn load_tls(section: &str, ae: &str) -> Result<TlsConfig, Vec<String>> {
    let toml = format!(
        "[dicom.tls]\n{section}\n[[dicom.ae]]\ntitle = \"A\"\naddress = \"192.0.2.7:1\"\n{ae}"
    );
    let loaded = load(&toml, Options::default());
    loaded
        .map(|config| config.tls)
        .map_err(|error| error.faults)
}

#[test]
fn client_certificates_are_required_where_one_could_be_accepted() {
    let own = "address = \"127.0.0.1:0\"\ncertificate = \"c\"\nkey = \"k\"";
    let pin = format!("certificate_sha256 = [\"{}\"]", "0a".repeat(32));
    let with_ca = format!("{own}\nclient_ca = \"ca\"");
    let off = format!("{with_ca}\nclients = \"off\"");
    let clients = |section: &str, ae: &str| load_tls(section, ae).map(|tls| tls.clients);

    assert_eq!(clients("", ""), Ok(ClientAuthentication::Off));
    assert_eq!(clients(own, ""), Ok(ClientAuthentication::Off));
    assert_eq!(clients(own, &pin), Ok(ClientAuthentication::Required));
    assert_eq!(clients(&with_ca, ""), Ok(ClientAuthentication::Required));
    assert_eq!(clients(&off, ""), Ok(ClientAuthentication::Off));
    assert_eq!(clients(&off, &pin).unwrap_err().len(), 1);
}

#[test]
fn settings_of_tls_that_promise_nothing_are_refused() {
    let own = "address = \"127.0.0.1:0\"\ncertificate = \"c\"\nkey = \"k\"";
    let pin = format!("certificate_sha256 = [\"{}\"]", "0a".repeat(32));
    let required = format!("{own}\nclients = \"required\"");
    for (section, ae) in [
        ("address = \"127.0.0.1:0\"", ""),
        ("certificate = \"c\"", ""),
        ("key = \"k\"", ""),
        (&*required, ""),
        ("minimum_version = \"1.1\"", ""),
        ("", &*pin),
        (own, "certificate_subject = \"CN=A\""),
        (own, "certificate_sha256 = [\"0a\"]"),
        (own, "source_addresses = [\"10.0.0.1/8\"]"),
        ("", "tls = true"),
    ] {
        assert!(load_tls(section, ae).is_err(), "{section}\n{ae}");
    }
    assert!(load_tls("", &format!("tls = true\n{pin}")).is_ok());
    assert!(load_tls("ca = \"ca\"", "tls = true").is_ok());
}
