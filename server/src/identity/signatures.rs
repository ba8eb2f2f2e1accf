//! Signatures of tokens, checked by `ring`, which the rest of the server's cryptography comes
//! from too. Only public keys and only algorithms with them: nothing here can sign, and no
//! shared secret is taken for a key.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has tokens checked by the means of this file. To be called before the first one is.
pub(super) fn install() {
    // The second time changes nothing.
    let _again = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let means = means(*algorithm).ok_or(ErrorKind::InvalidAlgorithm)?;
    // An algorithm of another family than the key's is how signatures were forged elsewhere.
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Ok(Box::new(Checked {
        algorithm: *algorithm,
        means,
        key: key.kind().clone(),
    }))
}

#[derive(Clone, Copy)]
enum Means {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

fn means(algorithm: Algorithm) -> Option<Means> {
    Some(match algorithm {
        Algorithm::RS256 => Means::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Means::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Means::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Means::Rsa(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Means::Rsa(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Means::Rsa(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Means::Other(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Means::Other(&ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Means::Other(&ED25519),
        _ => return None,
    })
}

struct Checked {
    algorithm: Algorithm,
    means: Means,
    key: DecodingKeyKind,
}

impl Verifier<Vec<u8>> for Checked {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let checked = match (self.means, &self.key) {
            (Means::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Means::Other(means), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(means, key).verify(message, signature)
            }
            _ => return Err(signature::Error::new()),
        };
        checked.map_err(|_wrong| signature::Error::new())
    }
}

impl JwtVerifier for Checked {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// The family of keys that an algorithm wants; nothing for one that is not taken.
pub(super) fn family(algorithm: Algorithm) -> Option<AlgorithmFamily> {
    means(algorithm).map(|_| algorithm.family())
}
