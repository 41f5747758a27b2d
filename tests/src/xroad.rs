//! A security server of X-Road with a register of citizens behind it, as far as a client can tell:
//! it answers over SOAP and REST, with TLS or without, right or in each way in which such servers
//! fail.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::tls_listener::Terms;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// 403, without a word.
    Forbidden,
    /// Ends the connection in the middle of the answer.
    Drops,
    /// Declares entities that would become gigabytes.
    EntityBomb,
    /// A fault inside of an answer with 200.
    FaultInside,
    /// A SOAP fault with 500, as where the service behind it cannot be reached.
    FaultOutside,
    /// A right answer without end.
    Huge,
    /// The right answer to somebody else's question.
    OtherId,
    /// A right answer about another PIN.
    OtherPin,
    /// A page of a proxy.
    Page,
    /// Sends elsewhere.
    Redirects,
    /// As it should.
    Right,
    /// Takes the question and says nothing.
    Silent,
    /// Half of an answer, with the length of a half.
    WrongXml,
}

/// The first byte of a hand-shake of TLS (RFC 8446 5.1).
pub const HANDSHAKE: u8 = 22;

/// The one whom it knows.
pub const KNOWN_PIN: &str = "20101199099907";

/// The passport of that one.
pub const KNOWN_PASSPORT: &str = "KGZ-ID1234567";

/// The document of the foreigner whom it knows.
pub const KNOWN_FOREIGNER: &str = "UZB-AB7654321";

/// Services behind it.
const PERSON: &str = "zagsDataByPin";
const FOREIGNER: &str = "foreignByDoc";
const PASSPORT: &str = "passportDataByPSN";
const PINS: &str = "zagsPinsByNSPDate";

/// Of the settings of an archive that asks it: how long it waits for an answer.
pub const PATIENT: &str = "answer_seconds = 60";

/// The same of one that gives it up soon.
pub const HASTY: &str = "answer_seconds = 1";

/// It listens until the process ends.
#[derive(Debug)]
pub struct SecurityServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    /// On which terms it shakes hands, where it speaks TLS.
    terms: Mutex<Option<Terms>>,
    requests: Mutex<Vec<String>>,
    streams: Mutex<Vec<TcpStream>>,
    first_bytes: Mutex<Vec<u8>>,
}

impl SecurityServer {
    /// Listens on a free port, without TLS.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Self {
            address: listener.local_addr().expect("a bound listener"),
            shared: Arc::new(Shared {
                behaviour: Mutex::new(Behaviour::Right),
                terms: Mutex::default(),
                requests: Mutex::default(),
                streams: Mutex::default(),
                first_bytes: Mutex::default(),
            }),
        };
        let shared = Arc::clone(&server.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                let handle = stream.try_clone().expect("a handle");
                shared.streams.lock().expect("no panic").push(handle);
                std::thread::spawn(move || {
                    let ending = stream.try_clone().expect("a handle");
                    accept(stream, &shared);
                    // Another handle is kept: without this the connection would stay open.
                    ending.shutdown(Shutdown::Both).ok();
                });
            }
        });
        server
    }

    /// Whether it speaks TLS from now on, and on which terms.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    pub fn show(&self, terms: Option<&Terms>) {
        *self.shared.terms.lock().expect("no panic") = terms.cloned();
    }

    /// What every client said first on its connection: whatever is not [`HANDSHAKE`] was sent in
    /// the clear.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    #[must_use]
    pub fn first_bytes(&self) -> Vec<u8> {
        self.shared.first_bytes.lock().expect("no panic").clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it answers from now on.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().expect("no panic") = behaviour;
    }

    /// Ends every connection, also those on which it says nothing.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    pub fn hang_up(&self) {
        for stream in self.shared.streams.lock().expect("no panic").drain(..) {
            // It may have ended already.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// The requests that came, whole.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().expect("no panic").clone()
    }

    /// The settings of an archive that asks it over SOAP.
    #[must_use]
    pub fn soap_settings(&self) -> String {
        self.settings(
            "tunduk-soap",
            "service = \"zagsDataByPin\"\nversion = \"v1\"",
        )
    }

    /// The same with the services that find people by passport, document and name.
    #[must_use]
    pub fn all_soap_settings(&self) -> String {
        let services = [
            ("foreigner", "foreign-service", FOREIGNER),
            ("passport", "passport-service", PASSPORT),
            ("pins", "zags-service", PINS),
        ];
        let services = services.map(|(name, subsystem, service)| {
            format!(
                "[register.services.{name}]\nclass = \"GOV\"\nmember = \"70000005\"\n\
                 subsystem = \"{subsystem}\"\nservice = \"{service}\"\nversion = \"v1\"\n"
            )
        });
        self.soap_settings() + &services.concat()
    }

    /// The settings of an archive that asks it over REST.
    #[must_use]
    pub fn rest_settings(&self) -> String {
        self.settings(
            "tunduk-rest",
            "service = \"persons\"\npath = \"by-pin/{pin}\"",
        )
    }

    /// An answer that comes is never late, however busy the machine is: whoever waits for one to be
    /// late sets [`HASTY`] in place of [`PATIENT`].
    fn settings(&self, kind: &str, service: &str) -> String {
        let terms = self.shared.terms.lock().expect("no panic");
        let scheme = if terms.is_some() { "https" } else { "http" };
        format!(
            "[register]\nkind = \"{kind}\"\nurl = \"{scheme}://{}/\"\n{PATIENT}\n\
             pause_seconds = 1\n[register.client]\ninstance = \"central-server\"\n\
             class = \"GOV\"\nmember = \"70000099\"\nsubsystem = \"pacs-service\"\n\
             [register.services.person]\nclass = \"GOV\"\nmember = \"70000005\"\n\
             subsystem = \"zags-service\"\n{service}\n",
            self.address
        )
    }
}

fn accept(mut stream: TcpStream, shared: &Shared) {
    let mut first = [0];
    if stream.peek(&mut first).is_ok_and(|count| count == 1) {
        let mut all = shared.first_bytes.lock().expect("no panic");
        all.extend(first);
    }
    let terms = shared.terms.lock().expect("no panic").clone();
    match terms {
        // As servers of HTTP answer what they cannot read.
        None if first == [HANDSHAKE] => {
            let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(refusal.as_bytes()).ok();
        }
        None => serve(&mut stream, shared),
        Some(terms) => {
            // Who trusts it not, or is not trusted, has nothing to ask.
            if let Ok(mut secured) = terms.accept(stream) {
                serve(&mut secured, shared);
                secured.conn.send_close_notify();
                secured.flush().ok();
            }
        }
    }
}

fn serve(stream: &mut (impl Read + Write), shared: &Shared) {
    let Some(request) = request(stream) else {
        return;
    };
    let mut requests = shared.requests.lock().expect("no panic");
    requests.push(request.clone());
    drop(requests);
    let behaviour = *shared.behaviour.lock().expect("no panic");
    let is_rest = request.starts_with("GET ");
    let (id, pin) = if is_rest {
        let id = between(&request.to_lowercase(), "x-road-id: ", "\r\n");
        (id, between(&request, "/by-pin/", " "))
    } else {
        let id = between(&request, "<xro:id>", "</xro:id>");
        (id, between(&request, "<prod:pin>", "</prod:pin>"))
    };
    let body = if is_rest {
        rest(&pin)
    } else {
        soap(&request, &id, &pin)
    };
    let kind = if is_rest {
        "application/json"
    } else {
        "text/xml;charset=UTF-8"
    };
    let fields = format!("Content-Type: {kind}\r\nX-Road-Id: {id}\r\n");
    // A client that went away is none of its business.
    answer(stream, behaviour, (&fields, &body, &id, &pin)).ok();
}

fn answer(
    stream: &mut (impl Read + Write),
    behaviour: Behaviour,
    (fields, body, id, pin): (&str, &str, &str, &str),
) -> std::io::Result<()> {
    let mut send = |status: &str, fields: &str, body: &str| {
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let fault = |code: &str| {
        format!("<faultcode>{code}</faultcode><faultstring>CANARY {pin}</faultstring>")
    };
    match behaviour {
        Behaviour::Forbidden => send("403 Forbidden", "", ""),
        Behaviour::Drops => {
            let half = &body[..body.len() / 2];
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\n{fields}Content-Length: {length}\r\n\r\n{half}"
            )
        }
        Behaviour::EntityBomb => {
            let mut entities = "<!ENTITY a0 \"lol\">".to_owned();
            for n in 1..30 {
                let before = format!("&a{};", n - 1).repeat(10);
                entities += &format!("<!ENTITY a{n} \"{before}\">");
            }
            let bomb = body.replace("?>", &format!("?><!DOCTYPE x [{entities}]>"));
            send("200 OK", fields, &bomb.replace("Үсөн", "&a29;"))
        }
        Behaviour::FaultInside => {
            let inside = body.replace("<response>", &format!("<response>{}", fault("Server.Down")));
            let inside = inside.replace("{\"pin\"", "{\"faultcode\":\"Server.Down\",\"pin\"");
            send("200 OK", fields, &inside)
        }
        Behaviour::FaultOutside => {
            let fault = fault("Server.ServerProxy.NetworkError");
            let body = format!(
                "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
                 <s:Fault>{fault}</s:Fault></s:Body></s:Envelope>"
            );
            send("500 Internal Server Error", fields, &body)
        }
        Behaviour::Huge => {
            write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n{body}")?;
            // Until the client has enough.
            loop {
                stream.write_all(&[b' '; 64 << 10])?;
            }
        }
        Behaviour::OtherId => {
            let other = "00000000-0000-4000-8000-000000000000";
            send(
                "200 OK",
                &fields.replace(id, other),
                &body.replace(id, other),
            )
        }
        Behaviour::OtherPin => send("200 OK", fields, &body.replace(pin, "12902200099902")),
        Behaviour::Page => send("502 Bad Gateway", "Content-Type: text/html\r\n", "<html>"),
        Behaviour::Redirects => {
            let to = "Location: http://127.0.0.1:1/\r\n";
            send("302 Found", to, "")
        }
        Behaviour::Right => send("200 OK", fields, body),
        Behaviour::Silent => {
            // Until the client goes.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).map(drop)
        }
        Behaviour::WrongXml => send("200 OK", fields, &body[..body.find("Үсөн").unwrap_or(1)]),
    }
}

/// A request with its body.
fn request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = between(&head.to_lowercase(), "content-length: ", "\r\n");
            let length: usize = length.parse().unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn between(text: &str, before: &str, after: &str) -> String {
    let from = text.split_once(before).map_or("", |(_, from)| from);
    let end = from.find(after).unwrap_or(from.len());
    from[..end].to_owned()
}

/// Names and values of the one whom it knows.
const MEMBERS: [(&str, &str); 9] = [
    ("surname", "Жээнбеков"),
    ("name", "Үсөн"),
    ("patronymic", "Өмүрбекович"),
    ("gender", "М"),
    ("dateOfBirth", "1990-01-01"),
    ("citizenship", "KGZ"),
    ("nationality", "CANARY"),
    ("maritalStatus", "CANARY"),
    ("pinBlocked", "false"),
];

/// What a service says to a question.
fn members(request: &str, service: &str, pin: &str) -> String {
    let said = |name: &str| {
        between(
            request,
            &format!("<prod:{name}>"),
            &format!("</prod:{name}>"),
        )
    };
    let known = || {
        let members = MEMBERS.iter();
        let members = members.map(|(name, value)| format!("<{name}>{value}</{name}>"));
        format!("<pin>{pin}</pin>{}", members.collect::<String>())
    };
    match service {
        PERSON if pin == KNOWN_PIN => known(),
        PASSPORT
            if pin == KNOWN_PIN && (&*said("series"), &*said("number")) == ("ID", "1234567") =>
        {
            known() + "<voidStatus>1</voidStatus><issuedDate>2019-05-06</issuedDate>"
        }
        PINS if [said("surname"), said("name"), said("birthdate")]
            == ["Жээнбеков", "Үсөн", "1990-01-01"] =>
        {
            format!("<pin>{KNOWN_PIN}</pin><pin>21502190099901</pin>")
        }
        FOREIGNER if (&*said("doc"), &*said("code")) == ("AB7654321", "UZB") => {
            "<error>0</error><message><surname>Каримова</surname><name>Нигора</name>\
             <birthdate>1980-02-03</birthdate><gender>2</gender><citizenship>UZB</citizenship>\
             <docDateExpiration>2030-01-01</docDateExpiration></message>"
                .to_owned()
        }
        FOREIGNER => "<error>0</error>".to_owned(),
        _ => String::new(),
    }
}

fn soap(request: &str, id: &str, pin: &str) -> String {
    let service = between(request, "<iden:serviceCode>", "</iden:serviceCode>");
    let members = members(request, &service, pin);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:x=\"http://x-road.eu/xsd/xroad.xsd\" \
         xmlns:i=\"http://x-road.eu/xsd/identifiers\"><s:Header><x:id>{id}</x:id>\
         <x:protocolVersion>4.0</x:protocolVersion><x:service i:objectType=\"SERVICE\">\
         <i:serviceCode>{service}</i:serviceCode></x:service></s:Header><s:Body>\
         <p:{service}Response xmlns:p=\"http://producer.example/\">\
         <request><pin>{pin}</pin></request><response>{members}</response>\
         </p:{service}Response></s:Body></s:Envelope>"
    )
}

fn rest(pin: &str) -> String {
    if pin != KNOWN_PIN {
        return "{}".to_owned();
    }
    let members = MEMBERS.iter();
    let members = members.map(|(name, value)| format!(",\"{name}\":\"{value}\""));
    format!("{{\"pin\":\"{pin}\"{}}}", members.collect::<String>())
}
