//! ID tokens by keys of each kind, and what is made of a set of keys.

use super::base64::encode;
use super::id_token::{Expected, Subject, TokenError, Unverified};
use super::keys::{Keys, NoKey};
use super::signature::{Algorithm, challenge};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

const NOW: i64 = 1_795_000_000;

/// Keys of each kind, and the set that shows them.
struct Signer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl Signer {
    fn new() -> Self {
        Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    fn jwks(&self) -> Vec<Value> {
        let point = self.ec.public_key().as_ref();
        // The head of a sequence of two numbers; the first has a zero before, which stays.
        let modulus = &self.rsa.public_key().as_ref()[8..9 + 256];
        vec![
            json!({"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig",
                   "x": encode(&point[1..33]), "y": encode(&point[33..])}),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "key_ops": ["verify"],
                   "x": encode(self.ed.public_key().as_ref())}),
            json!({"kty": "RSA", "kid": "rsa", "n": encode(modulus), "e": "AQAB"}),
        ]
    }

    fn keys(&self) -> Keys {
        keys(&self.jwks())
    }

    fn sign(&self, algorithm: &str, message: &str) -> Vec<u8> {
        let (random, message) = (SystemRandom::new(), message.as_bytes());
        let by_rsa = |padding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa
                .sign(padding, &random, message, &mut signature)
                .unwrap();
            signature
        };
        match algorithm {
            "ES256" => self.ec.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            "PS256" => by_rsa(&RSA_PSS_SHA256),
            _ => by_rsa(&RSA_PKCS1_SHA256),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let algorithm = header["alg"].as_str().unwrap_or_default();
        let signature = self.sign(algorithm, &signed);
        format!("{signed}.{}", encode(&signature))
    }
}

fn keys(of: &[Value]) -> Keys {
    Keys::read(json!({ "keys": of }).to_string().as_bytes()).unwrap()
}

fn claims() -> Value {
    json!({
        "iss": "https://sso.example", "sub": "s", "aud": ["pacs"], "exp": NOW + 60, "iat": NOW,
        "nonce": "n", "acr": "2", "amr": ["pwd", "otp"],
    })
}

fn verified(token: &str, keys: &Keys) -> Result<Subject, TokenError> {
    let expected = Expected {
        issuer: "https://sso.example",
        client_id: "pacs",
        nonce: "n",
        access_token: "access",
        now: NOW,
    };
    Unverified::read(token)?.verify(keys, &expected)
}

const KINDS: [(&str, &str); 4] = [
    ("ES256", "ec"),
    ("EdDSA", "ed"),
    ("PS256", "rsa"),
    ("RS256", "rsa"),
];

#[test]
fn a_token_is_verified_by_the_key_that_it_names_and_by_no_other() {
    let (signer, other) = (Signer::new(), Signer::new());
    let keys = signer.keys();
    for (algorithm, kid) in KINDS {
        let header = json!({"alg": algorithm, "kid": kid, "typ": "JWT"});
        let token = signer.token(&header, &claims());
        let subject = verified(&token, &keys).unwrap();
        assert_eq!(
            (&*subject.subject, subject.context),
            ("s", Some("2".into()))
        );
        assert_eq!(subject.methods, ["pwd", "otp"], "{algorithm}");
        let foreign = other.token(&header, &claims());
        assert_eq!(verified(&foreign, &keys), Err(TokenError::Signature));
        for (named, of) in KINDS.into_iter().filter(|(_, of)| *of != kid) {
            // The name of a key of another kind, and a signature under the name of another kind.
            let header = json!({"alg": algorithm, "kid": of});
            let token = signer.token(&header, &claims());
            assert_eq!(verified(&token, &keys), Err(TokenError::Key), "{named}");
        }
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (head, _) = signed.split_once('.').unwrap();
        let mut more = claims();
        more["sub"] = json!("another");
        let changed = encode(more.to_string().as_bytes());
        let changed = format!("{head}.{changed}.{signature}");
        assert_eq!(verified(&changed, &keys), Err(TokenError::Signature));
    }
    for (signed, said) in [("PS256", "RS256"), ("RS256", "PS256")] {
        let header = json!({"alg": said, "kid": "rsa"});
        let part = |value: &Value| encode(value.to_string().as_bytes());
        let text = format!("{}.{}", part(&header), part(&claims()));
        let token = format!("{text}.{}", encode(&signer.sign(signed, &text)));
        assert_eq!(verified(&token, &keys), Err(TokenError::Signature));
    }
}

#[test]
fn a_key_without_a_name_or_with_an_old_one_is_known_by_what_it_signs() {
    let (signer, next) = (Signer::new(), Signer::new());
    let nameless = |signer: &Signer| {
        let mut all = signer.jwks();
        for key in &mut all {
            key.as_object_mut().unwrap().remove("kid");
        }
        keys(&all)
    };
    for (algorithm, kid) in KINDS {
        for header in [
            json!({"alg": algorithm}),
            json!({"alg": algorithm, "kid": kid}),
        ] {
            let token = next.token(&header, &claims());
            let token = Unverified::read(&token).unwrap();
            assert!(!token.is_signed_by(&signer.keys()), "{header}");
            assert!(token.is_signed_by(&next.keys()), "{header}");
            let is_known = token.is_signed_by(&nameless(&next));
            assert_eq!(is_known, header.get("kid").is_none(), "{header}");
            assert!(!token.is_signed_by(&nameless(&signer)), "{header}");
        }
    }
}

#[test]
fn no_letter_of_a_token_can_be_another() {
    let signer = Signer::new();
    let keys = signer.keys();
    for (algorithm, kid) in KINDS {
        let token = signer.token(&json!({"alg": algorithm, "kid": kid}), &claims());
        for (at, letter) in token.char_indices() {
            for other in ['A', 'z', '_', '.', '=', '\u{436}'] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, &other.to_string());
                let is_refused = verified(&changed, &keys).is_err();
                assert_eq!(is_refused, letter != other, "{algorithm}: {at} {other}");
            }
            assert!(verified(&token[..at], &keys).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn a_header_says_what_is_understood_and_nothing_else() {
    let signer = Signer::new();
    let keys = signer.keys();
    let of = |header: Value| verified(&signer.token(&header, &claims()), &keys);
    for algorithm in ["none", "None", "", "HS256", "RS384", "ES512", "rs256"] {
        let refused = of(json!({"alg": algorithm, "kid": "rsa"}));
        assert_eq!(refused, Err(TokenError::Algorithm), "{algorithm}");
    }
    for header in [
        json!({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false}),
        json!({"alg": "RS256", "kid": "rsa", "crit": []}),
        json!({"alg": "RS256", "kid": "rsa", "b64": false}),
    ] {
        assert_eq!(of(header), Err(TokenError::Critical));
    }
    let logout = of(json!({"alg": "RS256", "kid": "rsa", "typ": "logout+jwt"}));
    assert_eq!(logout, Err(TokenError::Form));
    // A key in the token itself is nobody's.
    let own = json!({"alg": "RS256", "kid": "own", "jwk": signer.jwks()[2]});
    assert_eq!(of(own), Err(TokenError::Key));
    let right = signer.token(&json!({"alg": "RS256", "kid": "rsa"}), &claims());
    for wrong in [
        "",
        "a",
        "a.b",
        "a.b.c",
        &right.replace('.', ""),
        &format!("{right}.x"),
        &format!("{right}="),
        &format!(" {right}"),
    ] {
        assert_eq!(verified(wrong, &keys), Err(TokenError::Form), "{wrong}");
    }
}

#[test]
fn claims_are_those_of_now_and_of_us() {
    let signer = Signer::new();
    let keys = signer.keys();
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        let header = json!({"alg": "EdDSA", "kid": "ed"});
        verified(&signer.token(&header, &claims), &keys).map(drop)
    };
    let hash = Algorithm::EdDsa.half_digest("access");
    assert_eq!(hash.len(), 43, "half of SHA-512");
    for (name, value) in [
        ("aud", json!("pacs")),
        ("azp", json!("pacs")),
        ("exp", json!(NOW - 59)),
        ("iat", json!(NOW + 59)),
        ("nbf", json!(NOW + 59)),
        ("at_hash", json!(hash)),
        ("auth_time", json!(NOW + 59)),
        ("auth_time", json!(0)),
        ("sub", json!("x".repeat(255))),
    ] {
        assert_eq!(with(name, value), Ok(()), "{name}");
    }
    for (name, value, why) in [
        ("iss", json!("https://sso.example/"), TokenError::Issuer),
        ("aud", json!([]), TokenError::Audience),
        ("aud", json!(["pacs", "pacs2"]), TokenError::Audience),
        ("aud", json!(7), TokenError::Claims),
        ("azp", json!("pacs2"), TokenError::Audience),
        ("exp", json!(NOW - 60), TokenError::Expired),
        ("exp", json!("soon"), TokenError::Claims),
        ("exp", json!(-1), TokenError::Expired),
        ("iat", json!(NOW + 61), TokenError::Issued),
        ("iat", json!(NOW - 661), TokenError::Issued),
        ("nbf", json!(NOW + 61), TokenError::Issued),
        ("auth_time", json!(NOW + 61), TokenError::Issued),
        ("auth_time", json!("now"), TokenError::Claims),
        ("nonce", json!("N"), TokenError::Nonce),
        ("nonce", Value::Null, TokenError::Nonce),
        ("at_hash", json!("x"), TokenError::AccessHash),
        ("sub", json!(""), TokenError::Subject),
        ("sub", json!("x".repeat(256)), TokenError::Subject),
        ("sub", json!("ж"), TokenError::Subject),
        ("sub", json!("a\nb"), TokenError::Subject),
        ("amr", json!("pwd"), TokenError::Claims),
    ] {
        assert_eq!(with(name, value.clone()), Err(why), "{name} {value}");
    }
}

#[test]
fn a_set_of_keys_may_have_more_than_is_understood() {
    let signer = Signer::new();
    let mut all = signer.jwks();
    all.push(json!({"kty": "oct", "kid": "rsa", "k": "AAAA"}));
    all.push(json!({"kty": "RSA", "kid": "rsa", "use": "enc", "n": "AQAB", "e": "AQAB"}));
    all.push(json!({"kty": "RSA", "kid": "rsa", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"}));
    all.push(json!({"kty": "RSA", "kid": "rsa", "n": "not base64!", "e": "AQAB"}));
    all.push(json!({"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"}));
    all.push(json!({"kid": "rsa"}));
    all.push(json!(7));
    assert_eq!(keys(&all), signer.keys());

    let of_set = signer.keys();
    let found = of_set.get(None, Algorithm::Rs256);
    assert_eq!(found, of_set.get(Some("rsa"), Algorithm::Ps256));
    assert_eq!(of_set.get(Some("x"), Algorithm::Rs256), Err(NoKey::Unknown));
    let mut two = signer.jwks();
    two.push(Signer::new().jwks()[2].clone());
    let two = keys(&two);
    assert_eq!(two.get(None, Algorithm::Rs256), Err(NoKey::Ambiguous));
    assert_eq!(
        two.get(Some("rsa"), Algorithm::Rs256),
        Err(NoKey::Ambiguous)
    );
    for wrong in ["", "[]", "{}", "{\"keys\": {}}", "null"] {
        assert_eq!(Keys::read(wrong.as_bytes()), None, "{wrong}");
    }
    let deep = format!("{{\"keys\": {}{}}}", "[".repeat(9_999), "]".repeat(9_999));
    assert_eq!(Keys::read(deep.as_bytes()), None);
}

/// RFC 7636, Appendix B.
#[test]
fn a_challenge_is_that_of_the_standard() {
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(
        challenge(verifier),
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
}
