//! `pacs ae`: the AEs of a configuration, and what stands between us and one of them.

use super::connect::UNCOMPRESSED;
use super::failure::Failure;
use super::output::Output;
use super::peer::{self, Peer};
use super::person::PersonArgs;
use super::tls::TlsArgs;
use super::{AeListing, AeTest, Connection};
use crate::config::{Config, Options, RemoteAe};
use pacs_net::requestor::{Requestor, RequestorError};
use pacs_net::sop_class::VERIFICATION;
use pacs_net::tls::TlsClient;
use pacs_net::transport::Connector as _;
use pacs_net::{ByteStream, transport};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;
use tokio::net::TcpStream;

/// `pacs ae list`: every AE that the configuration names.
pub(super) fn list(listing: &AeListing, output: &Output) -> Result<(), Failure> {
    let config = load(Some(&listing.config))?;
    output.note("TITLE\tADDRESS\tALLOW\tMOVE TO");
    for ae in config.remote_aes.values() {
        let allow: Vec<String> = ae.allow.iter().map(action).collect();
        let move_to: Vec<&str> = ae.move_to.iter().map(|title| title.as_str()).collect();
        let text = format!(
            "{}\t{}\t{}\t{}",
            ae.title,
            ae.address,
            allow.join(","),
            move_to.join(",")
        );
        let value = serde_json::json!({
            "title": ae.title.as_str(),
            "address": ae.address.to_string(),
            "allow": allow,
            "move_to": move_to,
            "sees": ae.sees.name(),
            "notify": ae.notify,
        });
        output.result(&text, &value);
    }
    let count = config.remote_aes.len();
    output.summary("", &serde_json::json!({ "count": count }));
    Ok(())
}

fn action(action: &pacs_core::Action) -> String {
    format!("{action:?}").to_lowercase()
}

/// Reads the settings of the server.
pub(super) fn load(config: Option<&Path>) -> Result<Config, Failure> {
    let options = Options {
        config: config.map(Path::to_owned),
        ..Options::default()
    };
    Config::load(&options).map_err(|error| Failure::CommandLine(error.to_string()))
}

/// `pacs ae test`: one line for each layer, from the name to C-ECHO; the first that fails ends it.
pub(super) async fn test(test: &AeTest, output: &Output) -> Result<(), Failure> {
    let connection = connection(test)?;
    let steps = Steps { output };
    let begun = Instant::now();
    let found = steps.told("name", begun, connection.resolve().await, |found| {
        let found: Vec<String> = found
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        found.join(", ")
    })?;
    let begun = Instant::now();
    let stream = steps.told("TCP", begun, connect(&connection, &found).await, |stream| {
        stream
            .peer_addr()
            .map_or_else(|_| String::new(), |address| address.to_string())
    })?;
    let tls = connection.tls.connector()?;
    let stream: Box<dyn ByteStream> = match &tls {
        None => Box::new(stream),
        Some(tls) => {
            // It opens a connection of its own.
            drop(stream);
            let begun = Instant::now();
            let secured = secure(tls.as_ref(), &connection).await;
            steps.told("TLS", begun, secured, |_| String::new())?
        }
    };
    let builder = connection.builder().context(VERIFICATION, &UNCOMPRESSED);
    let begun = Instant::now();
    let associated = builder.connect_stream(stream).await.map_err(Failure::from);
    let mut association = steps.told("association", begun, associated, |_| {
        format!("as {} with {}", connection.ae_title, connection.peer.title)
    })?;
    verify(&steps, &mut association).await?;
    association.release().await?;
    let value = serde_json::json!({
        "ae_title": connection.peer.title.as_str(),
        "address": connection.peer.address,
    });
    output.summary("", &value);
    Ok(())
}

async fn verify<S: ByteStream>(
    steps: &Steps<'_>,
    association: &mut Requestor<S>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let context = association.context(VERIFICATION).map_err(Failure::from);
    steps.told("presentation context", begun, context, |context| {
        format!("Verification in {}", context.transfer_syntax)
    })?;
    let begun = Instant::now();
    let echoed = association.echo().await.map_err(Failure::from);
    steps.told("C-ECHO", begun, echoed, |()| "status 0000H".to_owned())
}

async fn secure(tls: &TlsClient, connection: &Connection) -> Result<Box<dyn ByteStream>, Failure> {
    let connecting = tls.connect(&connection.peer.address, &connection.peer.title);
    match tokio::time::timeout(connection.timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| Failure::from(RequestorError::Transport(error))),
        Err(_) => Err(Failure::from(RequestorError::TimedOut {
            waiting_for: "a connection",
        })),
    }
}

/// Whom to test, and as whom: a title of the configuration, or a peer that is named whole.
fn connection(test: &AeTest) -> Result<Connection, Failure> {
    let config = match &test.config {
        Some(path) => Some(load(Some(path))?),
        None => None,
    };
    let mut tls = test.tls.clone();
    let peer = if test.peer.contains(':') {
        Peer::parse(&test.peer).map_err(Failure::CommandLine)?
    } else {
        let title = peer::parse_title(&test.peer).map_err(Failure::CommandLine)?;
        let known = config.as_ref().and_then(|config| {
            let ae = config.remote_aes.get(&title)?;
            Some((config, ae))
        });
        let Some((config, ae)) = known else {
            let why = format!("{title} is not in the configuration; give [AE@]HOST:PORT");
            return Err(Failure::CommandLine(why));
        };
        if ae.tls && !tls.tls {
            tls = tls_of(config, ae);
        }
        Peer {
            address: address_of(ae),
            title,
        }
    };
    let ours = config.map(|config| config.ae_title);
    let ae_title = match (&test.ae_title, ours) {
        (Some(title), _) => title.clone(),
        (None, Some(ours)) => ours,
        (None, None) => peer::parse_title("PACS_TOOL").map_err(Failure::CommandLine)?,
    };
    Ok(Connection {
        peer,
        ae_title,
        timeout: test.timeout,
        person: PersonArgs::default(),
        tls,
    })
}

/// The address of an AE as it is written, so that its name is looked up anew.
fn address_of(ae: &RemoteAe) -> String {
    let host = &ae.host;
    if host.contains(':') {
        format!("[{host}]:{}", ae.address.port())
    } else {
        format!("{host}:{}", ae.address.port())
    }
}

/// How the server dials an AE that is dialled by TLS.
fn tls_of(config: &Config, ae: &RemoteAe) -> TlsArgs {
    let own = config.tls.own.clone();
    let (certificate, key) = own.map_or((None, None), |(certificate, key)| {
        (Some(certificate), Some(key))
    });
    TlsArgs {
        tls: true,
        tls_ca: ae.tls_ca.clone().or_else(|| config.tls.ca.clone()),
        tls_sha256: ae.certificate_sha256.iter().copied().collect(),
        tls_name: ae.tls_name.clone(),
        tls_cert: certificate,
        tls_key: key,
        tls_insecure: false,
    }
}

/// The first address that answers; why the last one did not, if none does.
async fn connect(connection: &Connection, found: &[SocketAddr]) -> Result<TcpStream, Failure> {
    let mut last = RequestorError::TimedOut {
        waiting_for: "a connection",
    };
    for address in found {
        let connecting = transport::open(address);
        match tokio::time::timeout(connection.timeout, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = RequestorError::Transport(error),
            Err(_) => {
                last = RequestorError::TimedOut {
                    waiting_for: "a connection",
                }
            }
        }
    }
    Err(last.into())
}

/// Tells of each layer whether it works.
struct Steps<'a> {
    output: &'a Output,
}

impl Steps<'_> {
    fn told<T>(
        &self,
        layer: &str,
        begun: Instant,
        result: Result<T, Failure>,
        detail: impl FnOnce(&T) -> String,
    ) -> Result<T, Failure> {
        let (is_good, detail) = match &result {
            Ok(good) => (true, detail(good)),
            Err(failure) => {
                let text = failure.to_string();
                let bare = text.split_once(": ").map(|(_, bare)| bare.to_owned());
                (false, bare.unwrap_or(text))
            }
        };
        let milliseconds = begun.elapsed().as_millis();
        let word = if is_good { "ok" } else { "FAILED" };
        let text = format!("{layer:<21} {word:<7} {milliseconds:>5} ms  {detail}");
        let value = serde_json::json!({
            "layer": layer,
            "ok": is_good,
            "detail": detail,
            "seconds": begun.elapsed().as_secs_f64(),
        });
        self.output.result(&text, &value);
        result
    }
}
