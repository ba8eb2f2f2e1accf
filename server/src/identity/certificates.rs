//! Whom a client's certificate names. That an authority vouches for it has been checked in
//! the handshake; here it is only read.

use execgate_core::ids::Principal;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::is_name;

/// The principal in the certificate's alternative names: its one URI (a SPIFFE id), else its
/// one DNS name, as `dns:NAME`. A common name says nothing.
///
/// # Errors
/// Where there is none, or more than one of a kind.
pub(crate) fn principal(certificate: &CertificateDer<'_>) -> Result<Principal, &'static str> {
    let certificate =
        EndEntityCert::try_from(certificate).map_err(|_bad| "the certificate cannot be read")?;
    let uris: Vec<&str> = certificate.valid_uri_names().collect();
    let hosts: Vec<&str> = certificate.valid_dns_names().collect();
    let name = match (uris.as_slice(), hosts.as_slice()) {
        ([uri], _) => (*uri).to_owned(),
        ([], [host]) => format!("dns:{host}"),
        ([], []) => return Err("the certificate has neither a URI nor a DNS name in it"),
        _ => return Err("the certificate has more than one name that could be its holder's"),
    };
    match is_name(&name) && name.contains(':') {
        true => Ok(Principal::new(name)),
        false => Err("the certificate's name cannot be a principal's"),
    }
}
