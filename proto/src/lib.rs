//! The gRPC API of execgate as Rust types: messages, clients, server traits, and
//! the descriptor set.
//!
//! Everything here is generated from the `.proto` files beside this crate, which
//! hold the documentation. There is no logic, and none may be added: the server's
//! gRPC edge and the clients translate.

/// Package `execgate.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated; the documentation is checked on the descriptors"
)]
pub mod v1 {
    tonic::include_proto!("execgate.v1");
}

/// The encoded descriptor set of package `execgate.v1`, its imports and its
/// comments included; for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/execgate.v1.descriptor.bin"));

/// Domain of every `google.rpc.ErrorInfo` that this API answers.
pub const ERROR_DOMAIN: &str = "execgate.dev";

/// Largest message that the server sends or takes, in bytes: two channels at the
/// largest output budget (2 x 16 MiB) and room for everything around them.
pub const MAX_MESSAGE_BYTES: usize = 40 * 1024 * 1024;

#[cfg(test)]
mod tests;
