//! An OpenID provider, as far as a client can tell: it keeps codes to their challenges and
//! clients to their secrets, and is right or has one of the flaws by which providers are
//! impersonated.
//!
//! Nobody types anything at it: [`Provider::authorize`] is what a browser would bring back.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64ct::{Base64, Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::tls_listener::Terms;

/// What the archive is called there, and what it shows. The secret has what a form encodes.
pub const CLIENT: (&str, &str) = ("pacs", "wooden bridge: 71% goats");

/// Where it sends browsers back to.
pub const CALLBACK: &str = "http://localhost/api/v1/session/oidc/callback";

/// The access token; it must be seen nowhere.
pub const ACCESS_TOKEN: &str = "CANARY-ACCESS-TOKEN";

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The token is signed by nothing, and says so.
    AlgorithmNone,
    /// The token is of another sign-in.
    AnotherNonce,
    /// The token is for another party.
    AnotherParty,
    /// The token was issued in an hour.
    AnotherTime,
    /// The digest is that of another access token.
    AccessHash,
    /// The token is for another client.
    Audience,
    /// The token must be understood beyond what anybody does.
    Critical,
    /// What it says of itself names a token endpoint elsewhere.
    EndpointElsewhere,
    /// What it says of itself names keys at another port.
    KeysElsewhere,
    /// What it says of itself never ends.
    EndlessDiscovery,
    /// Its keys never end.
    EndlessKeys,
    /// Its tokens never end.
    EndlessTokens,
    /// The token has expired.
    Expired,
    /// It is signed by a key that is not its own, under the name of the right one.
    ForeignKey,
    /// It is signed by HMAC with the public key as the secret.
    HmacWithPublicKey,
    /// The token is of another issuer.
    Issuer,
    /// It is no token.
    NoToken,
    /// The token is of no sign-in.
    NoNonce,
    /// It takes no S256.
    NoS256,
    /// The token is of nobody.
    NoSubject,
    /// The token was issued yesterday.
    Old,
    /// What it says of itself is of another issuer.
    OtherIssuer,
    /// Sends whoever asks what it is elsewhere.
    RedirectingDiscovery,
    /// Sends whoever asks for tokens elsewhere.
    RedirectingTokens,
    /// Gives no tokens.
    Refusing,
    /// The token is for others too, and says not whose it is.
    SeveralAudiences,
    /// Takes a request for tokens and says nothing.
    SilentTokens,
    /// Takes the question what it is and says nothing.
    SilentDiscovery,
    /// One bit of the signature is another.
    Signature,
}

/// How it is set up. The default: right, with a client that shows its secret by HTTP Basic, over
/// plain HTTP.
#[derive(Clone, Debug, Default)]
pub struct Terrain {
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
    /// It takes the secret in the form alone.
    pub takes_post_alone: bool,
    /// The client has no secret.
    pub is_public: bool,
    /// Its answers through the browser name it (RFC 9207), and it says so.
    pub names_itself: bool,
    /// It ends sessions, at this address behind the issuer or at another one.
    pub ends_sessions_at: Option<String>,
    /// How those who sign in proved who they are.
    pub methods: Vec<String>,
    /// How many seconds ago they did, where it says so.
    pub proved_s_ago: Option<i64>,
}

/// It listens until the process ends.
#[derive(Clone, Debug)]
pub struct Provider {
    address: SocketAddr,
    is_secure: bool,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    terrain: Terrain,
    subject: String,
    key: Key,
    /// What is asked with each code that is not used yet.
    codes: HashMap<String, HashMap<String, String>>,
    requests: Vec<String>,
    issued: Vec<String>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// A key, and what it is called.
struct Key {
    id: String,
    pair: RsaKeyPair,
}

impl Key {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            pair: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        }
    }

    fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn jwk(&self) -> Value {
        // The head of a sequence of two numbers; the first has a zero before.
        let modulus = &self.public()[9..9 + 256];
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id,
            "n": url(modulus), "e": "AQAB",
        })
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        let signed = self
            .pair
            .sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature);
        signed.expect("a signature");
        signature
    }
}

impl Provider {
    /// Listens on a free port, over TLS where there are `terms`. Everybody who signs in is
    /// `subject`.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(subject: &str, terrain: Terrain, terms: Option<Terms>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let provider = Self {
            address: listener.local_addr().expect("a bound listener"),
            is_secure: terms.is_some(),
            shared: Arc::new(Mutex::new(Shared {
                terrain,
                subject: subject.to_owned(),
                key: Key::new("first"),
                codes: HashMap::new(),
                requests: Vec::new(),
                issued: Vec::new(),
            })),
        };
        let serving = provider.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serving, terms) = (serving.clone(), terms.clone());
                std::thread::spawn(move || {
                    // A client that goes away, or does not trust it, is none of its business.
                    match terms {
                        None => serving.serve(stream).ok(),
                        Some(terms) => terms
                            .accept(stream)
                            .and_then(|stream| serving.serve(stream))
                            .ok(),
                    }
                });
            }
        });
        provider
    }

    /// As it names itself.
    #[must_use]
    pub fn issuer(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}/realms/health", self.address)
    }

    /// What is wrong with it from now on.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    pub fn has(&self, flaw: Option<Flaw>) {
        self.shared().terrain.flaw = flaw;
    }

    /// Who signs in from now on, and by what they prove it.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    pub fn is_used_by(&self, subject: &str, methods: &[&str]) {
        let mut shared = self.shared();
        subject.clone_into(&mut shared.subject);
        shared.terrain.methods = methods.iter().map(|&method| method.to_owned()).collect();
    }

    /// How many seconds ago whoever signs in from now on proved who they are.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    pub fn was_shown_proof(&self, s_ago: Option<i64>) {
        self.shared().terrain.proved_s_ago = s_ago;
    }

    /// Has another key from now on, which is called `id`, and the one before no more.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    pub fn rotate(&self, id: &str) {
        self.shared().key = Key::new(id);
    }

    /// The first lines of requests that came.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared().requests.clone()
    }

    /// The ID tokens that it gave.
    ///
    /// # Panics
    /// Where a thread of it panicked.
    #[must_use]
    pub fn issued(&self) -> Vec<String> {
        self.shared().issued.clone()
    }

    /// What a browser that was sent to `location` brings back, once somebody has signed in: what
    /// stands behind the question mark.
    ///
    /// # Panics
    /// When it is not asked as it must be.
    #[must_use]
    pub fn authorize(&self, location: &str) -> String {
        let (place, query) = location.split_once('?').expect("a question");
        assert_eq!(place, format!("{}/authorize", self.issuer()));
        let asked = form(query);
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], CLIENT.0);
        assert_eq!(asked["redirect_uri"], CALLBACK);
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(asked["code_challenge"].len(), 43);
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
        assert!(asked["state"].len() >= 43 && asked["nonce"].len() >= 43);
        let state = asked["state"].clone();
        let mut shared = self.shared();
        let code = format!("CANARY-CODE-{}", shared.codes.len() + shared.issued.len());
        let mut query = format!("code={code}&state={state}&session_state=x");
        if shared.terrain.names_itself {
            query += &format!("&iss={}", self.issuer());
        }
        shared.codes.insert(code, asked);
        query
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic")
    }

    fn serve(&self, mut stream: impl Read + Write) -> io::Result<()> {
        let (head, body) = request(&mut stream)?;
        let line = head.lines().next().unwrap_or_default().to_owned();
        self.shared().requests.push(line.clone());
        let flaw = self.shared().terrain.flaw;
        let path = line.split(' ').nth(1).unwrap_or_default();
        let (endless, silent, redirecting, answer) = match path {
            "/realms/health/.well-known/openid-configuration" => (
                Flaw::EndlessDiscovery,
                Flaw::SilentDiscovery,
                Flaw::RedirectingDiscovery,
                (200, self.discovery(flaw)),
            ),
            "/realms/health/keys" => (
                Flaw::EndlessKeys,
                Flaw::SilentDiscovery,
                Flaw::RedirectingDiscovery,
                (200, json!({"keys": self.keys()})),
            ),
            "/realms/health/token" => (
                Flaw::EndlessTokens,
                Flaw::SilentTokens,
                Flaw::RedirectingTokens,
                self.tokens(flaw, &head, &form(&body)),
            ),
            _ => {
                return write!(
                    stream,
                    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
                );
            }
        };
        let (status, answer) = (answer.0, answer.1.to_string());
        if flaw == Some(silent) {
            // Until the client goes.
            return stream.read_to_end(&mut Vec::new()).map(drop);
        }
        if flaw == Some(redirecting) {
            let to = format!("{}/elsewhere", self.issuer());
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
            );
        }
        if flaw == Some(endless) {
            write!(stream, "HTTP/1.1 200 OK\r\n\r\n{answer}")?;
            // Until the client has enough.
            loop {
                stream.write_all(&[b' '; 16 << 10])?;
            }
        }
        let length = answer.len();
        write!(
            stream,
            "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
        )?;
        stream.flush()
    }

    fn discovery(&self, flaw: Option<Flaw>) -> Value {
        let issuer = self.issuer();
        let shared = self.shared();
        let mut about = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "code_challenge_methods_supported": ["plain", "S256"],
            "authorization_response_iss_parameter_supported": shared.terrain.names_itself,
            "subject_types_supported": ["public"],
        });
        if let Some(end) = &shared.terrain.ends_sessions_at {
            about["end_session_endpoint"] = match end.strip_prefix('/') {
                Some(path) => json!(format!("{issuer}/{path}")),
                None => json!(end),
            };
        }
        if shared.terrain.takes_post_alone {
            about["token_endpoint_auth_methods_supported"] = json!(["client_secret_post"]);
        }
        match flaw {
            Some(Flaw::EndpointElsewhere) => {
                // Also the way down from TLS, where there is any.
                about["token_endpoint"] = json!("http://192.0.2.1/realms/health/token");
            }
            Some(Flaw::KeysElsewhere) => about["jwks_uri"] = json!("http://127.0.0.1:1/keys"),
            Some(Flaw::NoS256) => about["code_challenge_methods_supported"] = json!(["plain"]),
            Some(Flaw::OtherIssuer) => about["issuer"] = json!(format!("{issuer}/")),
            _ => {}
        }
        about
    }

    fn keys(&self) -> Vec<Value> {
        // Beside the right one there are some that nobody can use.
        vec![
            json!({"kty": "oct", "k": "AAAA", "kid": "first"}),
            json!({"kty": "PQ", "kid": "new"}),
            json!("none"),
            self.shared().key.jwk(),
        ]
    }

    fn tokens(
        &self,
        flaw: Option<Flaw>,
        head: &str,
        asked: &HashMap<String, String>,
    ) -> (u16, Value) {
        let get = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
        let mut shared = self.shared();
        if !shared.terrain.knows(head, asked) {
            return (401, json!({"error": "invalid_client"}));
        }
        let begun = shared.codes.remove(get("code"));
        let challenge = url(&Sha256::digest(get("code_verifier")));
        let is_right = begun.as_ref().is_some_and(|begun| {
            begun["code_challenge"] == challenge && begun["redirect_uri"] == get("redirect_uri")
        });
        let refuses = flaw == Some(Flaw::Refusing) || get("grant_type") != "authorization_code";
        let Some(begun) = begun.filter(|_| is_right && !refuses) else {
            return (400, json!({"error": "invalid_grant"}));
        };
        let token = shared.id_token(&self.issuer(), flaw, &begun["nonce"]);
        shared.issued.push(token.clone());
        let tokens = json!({
            "access_token": ACCESS_TOKEN, "id_token": token, "token_type": "Bearer",
            "expires_in": 300,
        });
        (200, tokens)
    }
}

impl Terrain {
    /// Whether a request for tokens is of the client.
    fn knows(&self, head: &str, asked: &HashMap<String, String>) -> bool {
        let (client, secret) = CLIENT;
        let is = |name: &str, value: &str| asked.get(name).is_some_and(|said| said == value);
        let head = head.to_owned() + "\r\n";
        let mut fields = head.lines();
        let basic = fields.find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let value = value.strip_prefix("Basic ")?;
            name.eq_ignore_ascii_case("authorization")
                .then(|| value.to_owned())
        });
        let in_form = asked.contains_key("client_secret");
        if self.is_public {
            return basic.is_none() && !in_form && is("client_id", client);
        }
        if self.takes_post_alone {
            return basic.is_none() && is("client_id", client) && is("client_secret", secret);
        }
        let said = basic.and_then(|basic| Base64::decode_vec(&basic).ok());
        let said = said.and_then(|said| String::from_utf8(said).ok());
        let said = said.and_then(|said| {
            let (client, secret) = said.split_once(':')?;
            Some((decoded(client), decoded(secret)))
        });
        !in_form && said.is_some_and(|(id, shown)| id == client && shown == secret)
    }
}

impl Shared {
    fn id_token(&self, issuer: &str, flaw: Option<Flaw>, nonce: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs();
        let half = Sha256::digest(ACCESS_TOKEN);
        let mut claims = json!({
            "iss": issuer, "sub": self.subject, "aud": CLIENT.0, "exp": now + 300, "iat": now,
            "nonce": nonce, "at_hash": url(&half[..16]), "amr": self.terrain.methods,
            "preferred_username": format!("name of {}", self.subject),
        });
        if let Some(s_ago) = self.terrain.proved_s_ago {
            claims["auth_time"] = json!(now.cast_signed() - s_ago);
        }
        let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": self.key.id});
        match flaw {
            Some(Flaw::AccessHash) => claims["at_hash"] = json!(url(&half[16..])),
            Some(Flaw::AlgorithmNone) => header["alg"] = json!("none"),
            Some(Flaw::AnotherNonce) => claims["nonce"] = json!("n".repeat(43)),
            Some(Flaw::AnotherParty) => claims["azp"] = json!("another"),
            Some(Flaw::AnotherTime) => claims["iat"] = json!(now + 3600),
            Some(Flaw::Audience) => claims["aud"] = json!("another"),
            Some(Flaw::Critical) => header["crit"] = json!(["exp"]),
            Some(Flaw::Expired) => claims["exp"] = json!(now - 3600),
            Some(Flaw::HmacWithPublicKey) => header["alg"] = json!("HS256"),
            Some(Flaw::Issuer) => claims["iss"] = json!("https://another.example"),
            Some(Flaw::NoNonce) => drop(members(&mut claims).remove("nonce")),
            Some(Flaw::NoSubject) => drop(members(&mut claims).remove("sub")),
            Some(Flaw::NoToken) => return "no.token".to_owned(),
            Some(Flaw::Old) => claims["iat"] = json!(now - 86_400),
            Some(Flaw::SeveralAudiences) => claims["aud"] = json!([CLIENT.0, "another"]),
            _ => {}
        }
        let part = |value: &Value| url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = match flaw {
            Some(Flaw::AlgorithmNone) => Vec::new(),
            Some(Flaw::ForeignKey) => Key::new("first").sign(&signed),
            Some(Flaw::HmacWithPublicKey) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.public());
                hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
            _ => self.key.sign(&signed),
        };
        if flaw == Some(Flaw::Signature) {
            signature[100] ^= 1;
        }
        format!("{signed}.{}", url(&signature))
    }
}

fn members(value: &mut Value) -> &mut Map<String, Value> {
    value.as_object_mut().expect("an object")
}

fn url(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Names and values of a form.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn form(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [left.next(), left.next()].map(|digit| digit.expect("a digit"));
                let digits = std::str::from_utf8(&digits).expect("digits").to_owned();
                u8::from_str_radix(&digits, 16).expect("digits")
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// Head and body of a request.
fn request(stream: &mut impl Read) -> io::Result<(String, String)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length = lower.split_once("content-length: ");
            let length = length.and_then(|(_, rest)| rest.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok((head.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
