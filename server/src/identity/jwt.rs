//! JSON Web Tokens of one issuer (RFC 7519), checked with the keys of its JWKS file (RFC 7517).
//! The file is the operator's to fetch and replace; nothing is looked up in a network, and
//! nothing that a token says of keys (`jku`, `jwk`, `x5u`) is followed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};

use super::watched::Watched;
use super::{is_name, signatures};

/// Longest token that is read, in bytes: as much as a header may hold.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the issuer's clock and ours may be apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// Why a token is nobody's. Which of the checks it failed is in the server's log at `debug`.
const NO_TOKEN: &str = "the JSON Web Token is not good here, or no longer";

/// An algorithm that tokens may be signed with: those with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    RS384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    RS512,
    /// RSA PSS with SHA-256.
    PS256,
    /// RSA PSS with SHA-384.
    PS384,
    /// RSA PSS with SHA-512.
    PS512,
}

impl From<SignatureAlgorithm> for Algorithm {
    fn from(algorithm: SignatureAlgorithm) -> Self {
        use SignatureAlgorithm as S;
        match algorithm {
            S::ES256 => Self::ES256,
            S::ES384 => Self::ES384,
            S::EdDSA => Self::EdDSA,
            S::RS256 => Self::RS256,
            S::RS384 => Self::RS384,
            S::RS512 => Self::RS512,
            S::PS256 => Self::PS256,
            S::PS384 => Self::PS384,
            S::PS512 => Self::PS512,
        }
    }
}

/// Whose tokens are taken, and how they are checked.
#[derive(Debug, Clone)]
pub struct JwtSettings {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or hold.
    pub audience: String,
    /// Where the issuer's public keys are.
    pub keys_file: PathBuf,
    /// What tokens may be signed with.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// What stands before `sub` in the name of a principal.
    pub prefix: String,
}

/// Why no token can be checked.
#[derive(Debug, thiserror::Error)]
#[error("read the issuer's keys in {file}: {problem}")]
pub struct JwtError {
    file: String,
    problem: String,
}

/// What is asked of a token beside what every token needs.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
}

/// An issuer.
#[derive(Debug)]
pub(super) struct Jwt {
    keys: Watched<JwkSet>,
    validation: Validation,
    prefix: String,
}

impl Jwt {
    pub(super) fn load(settings: JwtSettings) -> Result<Self, JwtError> {
        signatures::install();
        let file = settings.keys_file.clone();
        let keys = Watched::new([file.clone()], move || read(&file));
        keys.now().map_err(|problem| JwtError {
            file: settings.keys_file.display().to_string(),
            problem,
        })?;
        let algorithms: Vec<Algorithm> = settings
            .algorithms
            .into_iter()
            .map(Algorithm::from)
            .collect();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.algorithms = algorithms;
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[settings.issuer]);
        validation.set_audience(&[settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(Self {
            keys,
            validation,
            prefix: settings.prefix,
        })
    }

    /// The principal that a token makes of its bearer.
    pub(super) fn subject(&self, token: &str) -> Result<String, &'static str> {
        let refused = |why: &str| {
            tracing::debug!(why, "a JSON Web Token was refused");
            NO_TOKEN
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused("it is too long"));
        }
        let header = decode_header(token).map_err(|error| refused(&error.to_string()))?;
        if header.crit.is_some() {
            return Err(refused(
                "it has critical headers, of which none is known here",
            ));
        }
        let keys = self
            .keys
            .now()
            .map_err(|_problem| "the issuer's keys cannot be read now")?;
        let key = pick(&keys, header.kid.as_deref(), header.alg).map_err(refused)?;
        let key = DecodingKey::from_jwk(key).map_err(|error| refused(&error.to_string()))?;
        let mut validation = self.validation.clone();
        // All that remain must be of the key's family, or the crate refuses the key.
        let family = key.family();
        validation
            .algorithms
            .retain(|&algorithm| signatures::family(algorithm) == Some(family));
        let data = decode::<Claims>(token, &key, &validation)
            .map_err(|error| refused(&error.to_string()))?;
        let name = format!("{}{}", self.prefix, data.claims.sub);
        match !data.claims.sub.is_empty() && is_name(&name) {
            true => Ok(name),
            false => Err(refused("its subject is no name")),
        }
    }
}

/// The key that a token names; one that names none may have the only one there is.
fn pick<'a>(
    keys: &'a JwkSet,
    id: Option<&str>,
    algorithm: Algorithm,
) -> Result<&'a Jwk, &'static str> {
    let key = match (id, keys.keys.as_slice()) {
        (Some(id), _) => keys.find(id).ok_or("its key is not among the issuer's")?,
        (None, [only]) => only,
        (None, _) => return Err("it names no key, and the issuer has several"),
    };
    if matches!(&key.common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature) {
        return Err("its key is not for signatures");
    }
    let meant = key.common.key_algorithm;
    match meant.map(Algorithm::try_from) {
        None => Ok(key),
        Some(Ok(meant)) if meant == algorithm => Ok(key),
        Some(_) => Err("its key is for another algorithm"),
    }
}

fn read(file: &Path) -> Result<JwkSet, String> {
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    let keys: JwkSet = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    match keys.keys.is_empty() {
        true => Err("it holds no key".to_owned()),
        false => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64URL_NOPAD;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
    use serde_json::{Value, json};
    use std::time::{SystemTime, UNIX_EPOCH};

    struct Issuer {
        key: Ed25519KeyPair,
        jwt: Jwt,
        file: PathBuf,
        _root: tempfile::TempDir,
    }

    fn public(key: &Ed25519KeyPair, id: &str) -> Value {
        let x = BASE64URL_NOPAD.encode(key.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x})
    }

    fn issuer() -> Issuer {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("jwks.json");
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let keys = json!({"keys": [public(&key, "a")]});
        std::fs::write(&file, keys.to_string()).unwrap();
        let jwt = Jwt::load(JwtSettings {
            issuer: "https://id.example".to_owned(),
            audience: "execgate".to_owned(),
            keys_file: file.clone(),
            algorithms: vec![SignatureAlgorithm::EdDSA, SignatureAlgorithm::ES256],
            prefix: "jwt:".to_owned(),
        });
        Issuer {
            key,
            jwt: jwt.unwrap(),
            file,
            _root: root,
        }
    }

    fn now() -> u64 {
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        age.as_secs()
    }

    fn claims() -> Value {
        json!({"iss": "https://id.example", "aud": ["other", "execgate"], "sub": "agent-7",
               "exp": now() + 600, "nbf": now() - 5})
    }

    fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let body = format!("{}.{}", part(header), part(claims));
        let signature = BASE64URL_NOPAD.encode(&sign(body.as_bytes()));
        format!("{body}.{signature}")
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": "a"})
    }

    impl Issuer {
        fn ask(&self, header: &Value, claims: &Value) -> Result<String, &'static str> {
            let token = token(header, claims, |body| self.key.sign(body).as_ref().to_vec());
            self.jwt.subject(&token)
        }
    }

    #[test]
    fn a_token_of_the_issuer_names_its_subject() {
        let issuer = issuer();
        assert_eq!(
            issuer.ask(&header(), &claims()).as_deref(),
            Ok("jwt:agent-7")
        );
        let only = json!({"alg": "EdDSA"});
        assert_eq!(issuer.ask(&only, &claims()).as_deref(), Ok("jwt:agent-7"));
    }

    #[test]
    fn what_is_wrong_with_a_token_makes_it_nobodys() {
        let issuer = issuer();
        let wrong = [
            ("iss", json!("https://other.example")),
            ("iss", Value::Null),
            ("aud", json!("other")),
            ("aud", Value::Null),
            ("sub", json!("a b")),
            ("sub", json!("")),
            ("sub", json!(7)),
            ("sub", Value::Null),
            ("exp", json!(now() - 60)),
            ("exp", json!("9999999999")),
            ("exp", Value::Null),
            ("nbf", json!(now() + 600)),
            ("nbf", json!("0")),
        ];
        for (claim, value) in wrong {
            let mut claims = claims();
            match &value {
                Value::Null => claims.as_object_mut().unwrap().remove(claim),
                value => claims
                    .as_object_mut()
                    .unwrap()
                    .insert(claim.to_owned(), value.clone()),
            };
            assert_eq!(
                issuer.ask(&header(), &claims),
                Err(NO_TOKEN),
                "{claim} {value}"
            );
        }
        for header in [
            json!({"alg": "none", "kid": "a"}),
            json!({"alg": "HS256", "kid": "a"}),
            json!({"alg": "ES256", "kid": "a"}),
            json!({"alg": "EdDSA", "kid": "b"}),
            json!({"alg": "EdDSA", "kid": "a", "crit": ["exp"]}),
        ] {
            assert_eq!(issuer.ask(&header, &claims()), Err(NO_TOKEN), "{header}");
        }
        let good = token(&header(), &claims(), |body| {
            issuer.key.sign(body).as_ref().to_vec()
        });
        let (body, _) = good.rsplit_once('.').unwrap();
        for bad in [
            format!("{body}."),
            format!("{good}A"),
            format!("{good}.x"),
            "..".to_owned(),
        ] {
            assert_eq!(issuer.jwt.subject(&bad), Err(NO_TOKEN), "{bad}");
        }
    }

    #[test]
    fn a_public_key_is_no_shared_secret() {
        let issuer = issuer();
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "a"});
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, issuer.key.public_key().as_ref());
        let forged = token(&header, &claims(), |body| {
            ring::hmac::sign(&key, body).as_ref().to_vec()
        });
        assert_eq!(issuer.jwt.subject(&forged), Err(NO_TOKEN));
    }

    #[test]
    fn the_issuers_keys_can_be_replaced() {
        let issuer = issuer();
        assert!(issuer.ask(&header(), &claims()).is_ok());
        let random = SystemRandom::new();
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "b", "x": x, "y": y});
        let new = issuer.file.with_extension("new");
        std::fs::write(&new, json!({ "keys": [jwk] }).to_string()).unwrap();
        std::fs::rename(new, &issuer.file).unwrap();
        assert_eq!(issuer.ask(&header(), &claims()), Err(NO_TOKEN));
        let header = json!({"alg": "ES256", "kid": "b"});
        let token = token(&header, &claims(), |body| {
            key.sign(&random, body).unwrap().as_ref().to_vec()
        });
        assert_eq!(issuer.jwt.subject(&token).as_deref(), Ok("jwt:agent-7"));
        std::fs::write(&issuer.file, "{\"keys\": []}").unwrap();
        let gone = Err("the issuer's keys cannot be read now");
        assert_eq!(issuer.jwt.subject(&token), gone);
    }
}
