//! Hostile clients of the HTTP side: requests within requests, other protocols, silence (T22), and
//! bodies in parts that are made to cost (T5).
//!
//! As in `hostile.rs`: after every attack the server must live, in bounded memory, and serve the
//! next client.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use pacs_tests::samples::{self, Slice};
use pacs_tests::server::{GROWTH_BYTES_MAX, Options, PATIENCE, Server, idle_bytes, unharmed};
use pacs_tests::stow::{BOUNDARY, RELATED, Request, part_head};
use pacs_tests::web_server::open_server;
use pacs_tests::wire::{Proposal, pdu, uid};

/// Sends `bytes` at once, and gives all that the server says until it hangs up; our side stays
/// open, so that the end is its own.
fn told(server: SocketAddr, name: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // The server may hang up before it has all of it.
    stream.write_all(bytes).ok();
    let mut said = Vec::new();
    let end = stream.read_to_end(&mut said);
    assert!(has_ended(&end), "{name}: kept open: {end:?}");
    String::from_utf8_lossy(&said).into_owned()
}

/// Whether the other side has ended the connection, in order or not: one that is closed while
/// something arrives is reset.
fn has_ended<T>(end: &std::io::Result<T>) -> bool {
    let reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    end.as_ref().err().is_none_or(reset)
}

/// The statuses of all answers on a connection, but for 100 (Continue).
fn statuses(said: &str) -> Vec<u16> {
    let answers = said.split("HTTP/1.").skip(1);
    let status = |answer: &str| answer.get(2..5).and_then(|digits| digits.parse().ok());
    answers.filter_map(status).filter(|it| *it != 100).collect()
}

/// A request that nobody sent: whoever passed the one around it on took it for its body, or for a
/// part of its head.
const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nHost: hidden\r\n\r\n";

/// A request with these lines in its head, which end in an empty one, and with this behind it.
fn post(fields: &str, rest: &str) -> String {
    format!(
        "POST /dicomweb/studies HTTP/1.1\r\nHost: pacs\r\nContent-Type: {RELATED}\r\n\
         {fields}\r\n{rest}{HIDDEN}{HIDDEN}"
    )
}

/// Two answers to where a body ends, of which a proxy may have believed the other one.
fn of_two_lengths() -> Vec<(String, String)> {
    let chunks = format!("0\r\n\r\n{HIDDEN}").len();
    let two = [
        format!("Content-Length: {chunks}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {chunks}\r\n"),
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        format!("X: y\nTransfer-Encoding: chunked\r\nContent-Length: {chunks}\r\n"),
        "Content-Length: 0\r\nContent-Length: 43\r\n".to_owned(),
        "Content-Length: 43\r\nContent-Length: 0\r\n".to_owned(),
    ];
    let lengths = [
        "0, 43",
        "+0",
        "-1",
        "0x2b",
        "4e1",
        "",
        "4 3",
        "43;",
        "\u{664}",
        "18446744073709551616",
    ];
    let lengths = lengths.map(|length| format!("Content-Length: {length}\r\n"));
    let vectors = two.into_iter().chain(lengths);
    vectors
        .map(|fields| (fields.clone(), post(&fields, "0\r\n\r\n")))
        .collect()
}

/// Codings that one reader takes for chunks and another one does not.
fn of_odd_codings() -> Vec<(String, String)> {
    [
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunk\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding: \0chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding\r\n",
    ]
    .into_iter()
    .map(|fields| (fields.to_owned(), post(fields, "0\r\n\r\n")))
    .collect()
}

/// Chunks that are none.
fn of_broken_chunks() -> Vec<(String, String)> {
    [
        "\r\n",
        "-1\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        "1 1\r\nx\r\n0\r\n\r\n",
        "g\r\nx\r\n0\r\n\r\n",
        "10000000000000000\r\nx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "1\rx\r0\r\r",
        "1\r\nxx\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "1;\nx\r\n0\r\n\r\n",
        "1;a=\"\n\"\r\nx\r\n0\r\n\r\n",
        "0\r\n\rX",
        "0\r\nno field\r\n\r\n",
        "0\r\nX\0: y\r\n\r\n",
    ]
    .into_iter()
    .map(|chunks| {
        let request = post("Transfer-Encoding: chunked\r\n", chunks);
        (chunks.to_owned(), request)
    })
    .collect()
}

#[test]
fn t22_no_request_passes_within_another() {
    let old = post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replacen("1.1", "1.0", 1);
    let mut vectors = vec![("chunks in HTTP/1.0".to_owned(), old)];
    vectors.extend(of_two_lengths());
    vectors.extend(of_odd_codings());
    vectors.extend(of_broken_chunks());
    // One server that asks who it is before it reads, and one that reads.
    for mut server in [Server::start(Options::default()), open_server()] {
        let idle = idle_bytes(&server);
        for (name, request) in &vectors {
            let said = told(server.http(), name, request.as_bytes());

            // RFC 9112 6.1: 501 is for a coding that is not understood.
            let is_refused = matches!(statuses(&said)[..], [400 | 401 | 501]);
            assert!(is_refused, "{name:?}: {said}");
            assert!(!said.contains("\"version\""), "{name:?}: {said}");
        }
        unharmed(&mut server, idle, GROWTH_BYTES_MAX, "requests in requests");
    }
}

/// The preface of HTTP/2 (RFC 9113 3.4), and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A frame of HTTP/2 (RFC 9113 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Streams of HTTP/2 that are begun and reset at once (CVE-2023-44487).
fn resets() -> Vec<u8> {
    // GET, https, /, by the static table of RFC 7541.
    let begun = |stream| frame(1, 0x5, stream, &[0x82, 0x87, 0x84]);
    let reset = |stream| frame(3, 0, stream, &8_u32.to_be_bytes());
    let streams = (0..20_000).map(|number| number * 2 + 1);
    let frames = streams.flat_map(|stream| [begun(stream), reset(stream)].concat());
    PREFACE.iter().copied().chain(frames).collect()
}

/// A head of HTTP/2 that goes on and on (CVE-2024-27316).
fn continuations() -> Vec<u8> {
    let begun = frame(1, 0, 1, &[0x82]);
    let more = frame(9, 0, 1, &[0x40; 16_000]);
    [PREFACE, &begun, &more.repeat(200)].concat()
}

#[test]
fn t22_what_is_not_http_1_is_refused_and_read_no_further() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);
    let associate = pdu::associate_rq(&Proposal::new(Vec::new()));
    let of_version = |version: &str| format!("GET /healthz {version}\r\nHost: x\r\n\r\n");
    let vectors: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP/2", PREFACE.to_vec()),
        ("HTTP/2, reset rapidly", resets()),
        ("HTTP/2, one head without an end", continuations()),
        ("half a preface", b"PRI * HTTP/2.0\r\n\r\n".to_vec()),
        ("a version of HTTP/2", of_version("HTTP/2.0").into()),
        ("a version to come", of_version("HTTP/1.2").into()),
        ("a version of nothing", of_version("HTTQ/1.1").into()),
        ("HTTP/0.9", b"GET /healthz\r\n\r\n".to_vec()),
        (
            "a method that is none",
            b"G\xc3\x84T / HTTP/1.1\r\n\r\n".to_vec(),
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(8),
        ),
        ("DICOM", associate),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("noise", vec![0xA5; 4_096]),
    ];
    for (name, mut bytes) in vectors {
        bytes.extend_from_slice(HIDDEN.as_bytes());

        let said = told(server.http(), name, &bytes);

        assert!(matches!(statuses(&said)[..], [] | [400]), "{name}: {said}");
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 400"),
            "{name}"
        );
        unharmed(&mut server, idle, GROWTH_BYTES_MAX, name);
    }
}

#[test]
fn t22_nobody_is_led_on_to_http_2() {
    let server = Server::start(Options::default());
    let upgrade = "GET /healthz HTTP/1.1\r\nHost: pacs\r\n\
                   Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";

    let said = told(
        server.http(),
        "h2c",
        &[upgrade.as_bytes(), PREFACE].concat(),
    );

    assert_eq!(statuses(&said), [200], "{said}");
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}

#[test]
fn t22_a_head_of_too_much_is_refused() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);
    let of_fields = |fields: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    for (name, head, status) in [
        ("many fields", of_fields(&"X: y\r\n".repeat(1_000)), 431),
        (
            "a long field",
            of_fields(&format!("X: {}\r\n", "y".repeat(40_000))),
            431,
        ),
        (
            "a field without an end",
            of_fields(&format!("X: {}", "y".repeat(4 << 20))),
            431,
        ),
        (
            "a target without an end",
            format!("GET /{}", "y".repeat(4 << 20)),
            431,
        ),
        (
            "a long target",
            HIDDEN.replace("/healthz", &format!("/{}", "y".repeat(20_000))),
            414,
        ),
    ] {
        let request = head.replacen("Host", "Connection: close\r\nHost", 1);

        let said = told(server.http(), name, request.as_bytes());

        assert_eq!(statuses(&said), [status], "{name}: {said}");
        unharmed(&mut server, idle, GROWTH_BYTES_MAX, name);
    }
}

/// Connections of each kind that wait.
const WAITING_COUNT: usize = 25;

/// What all of them may cost: a hundred kilobytes each.
const WAITING_BYTES_MAX: u64 = 5 * 25 * 100_000;

/// A connection on which this was said, and then nothing more is.
fn fallen_silent(server: SocketAddr, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(said.as_bytes()).expect("it is taken");
    stream
}

/// How long a head may take to come: longer than the time-out of the server (10 s), and much
/// shorter than any other of its times.
const HEAD_MAX: Duration = Duration::from_secs(20);

/// Says a head byte by byte, the next one whenever it was quiet for a while, until the server hangs
/// up; after how long it does, where that is before the patience of a test ends.
fn drip(server: SocketAddr) -> Option<Duration> {
    let begun = Instant::now();
    let pause = Duration::from_millis(250);
    let mut stream = TcpStream::connect(server).expect("a connection");
    stream.set_read_timeout(Some(pause)).expect("a timeout");
    let head = b"GET /healthz HTTP/1.1\r\nX: ";
    let count = usize::try_from(PATIENCE.as_millis() / pause.as_millis()).expect("few");
    let bytes = head.iter().chain(std::iter::repeat(&b'x')).take(count);
    for byte in bytes {
        let is_quiet = |error: &std::io::Error| {
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        };
        let written = stream.write_all(&[*byte]);
        let read = written.and_then(|()| stream.read(&mut [0; 64]));
        if !read.as_ref().err().is_some_and(is_quiet) {
            return matches!(read, Ok(0) | Err(_)).then(|| begun.elapsed());
        }
    }
    None
}

/// The only test that has to wait for as long as the server does: all of them at once.
#[test]
fn t22_heads_and_bodies_that_stop_are_given_up_while_others_are_served() {
    let mut server = Server::start(Options::default());
    let idle = idle_bytes(&server);
    let sign_in = "POST /api/v1/session HTTP/1.1\r\nHost: x\r\n\
                   Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"user\":";
    let address = server.http();
    let dripping: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || drip(address)))
        .collect();
    let mut waiting = Vec::new();
    for number in 0..WAITING_COUNT {
        let begun = &HIDDEN[..number % (HIDDEN.len() - 1)];
        for said in [
            "",
            begun,
            "POST / HTTP/1.1\r\nContent-Length: 9\r\n",
            sign_in,
        ] {
            waiting.push((said.to_owned(), fallen_silent(address, said)));
        }
        // It has had an answer, and has nothing more to ask.
        waiting.push((HIDDEN.to_owned(), fallen_silent(address, HIDDEN)));
    }

    assert_eq!(server.get("/healthz").0, 200);
    assert_eq!(server.echo().expect("others are served"), 0);
    for (said, stream) in &mut waiting {
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(has_ended(&end), "{said:?} is kept: {end:?}");
        let answer = String::from_utf8_lossy(&answer);
        let is_told = match statuses(&answer)[..] {
            [] => said != HIDDEN && said != sign_in,
            [200] => said == HIDDEN,
            [400..500] => true,
            _ => false,
        };
        assert!(is_told, "{said:?}: {answer}");
    }
    for dripping in dripping {
        let given_up = dripping.join().expect("it ends");
        let given_up = given_up.expect("a head does not come byte by byte");
        assert!(given_up <= HEAD_MAX, "{given_up:?}");
    }
    unharmed(&mut server, idle, WAITING_BYTES_MAX, "silence");
}

/// Requests that store at once.
const STORING_COUNT: usize = 12;

/// Memory that one request may cost.
const REQUEST_BYTES_MAX: u64 = 2 << 20;

/// What each of many requests says before it stops.
fn costly_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let slice = Slice::new(1, 1);
    let nearly = format!("\r\n--{}", &BOUNDARY[..BOUNDARY.len() - 1]);
    let mut endless_meta = samples::part10((uid::CT_IMAGE_STORAGE, &slice.instance), "1.2", &[]);
    // File Meta Information Group Length (0002,0000): 1 GiB.
    endless_meta[140..144].copy_from_slice(&(1_u32 << 30).to_le_bytes());
    endless_meta.resize(4 << 20, 0);
    let part = |bytes: &[u8]| [&part_head()[..], bytes].concat();
    vec![
        ("a preamble", vec![b'x'; 4 << 20]),
        (
            "a head without an end",
            format!("--{BOUNDARY}\r\nX: {}", "y".repeat(4 << 20)).into(),
        ),
        (
            "a head of many fields",
            format!("--{BOUNDARY}\r\n{}", "X: y\r\n".repeat(700_000)).into(),
        ),
        (
            "boundaries but for a byte",
            part(nearly.repeat((4 << 20) / nearly.len()).as_bytes()),
        ),
        ("line ends", part(&b"\r\n".repeat(2 << 20))),
        ("meta information without an end", part(&endless_meta)),
        ("parts of nothing", part_head().repeat(1_000)),
        ("a file without the last boundary", part(&slice.file())),
    ]
}

/// Has many send `body` at once; none of them ends before all have sent it.
fn send_at_once(server: &Server, body: &[u8]) {
    let all_have = Barrier::new(STORING_COUNT);
    let fields = [("Content-Type", RELATED), ("Transfer-Encoding", "chunked")];
    std::thread::scope(|scope| {
        for _ in 0..STORING_COUNT {
            scope.spawn(|| {
                let request = Request::begin(server.http(), "POST", "/dicomweb/studies", &fields);
                let mut request = request.expect("a connection");
                // The server may refuse it before it has all of it.
                request.chunk(body).ok();
                all_have.wait();
                request.chunk(&[]).ok();
                let answer = request.answer();
                assert!(
                    answer.as_ref().is_ok_and(|it| it.status < 500),
                    "{answer:?}"
                );
            });
        }
    });
}

#[test]
fn t5_bodies_that_are_made_to_cost_take_little_memory_each() {
    let mut server = open_server();
    // What the first requests cost, later ones do not.
    send_at_once(&server, &[part_head(), Slice::new(1, 1).file()].concat());
    let most = REQUEST_BYTES_MAX * u64::try_from(STORING_COUNT).expect("few");
    for (name, body) in costly_bodies() {
        let idle = idle_bytes(&server);
        send_at_once(&server, &body);
        unharmed(&mut server, idle, most, name);
    }
}
