//! The execgate server: configuration, command line and gRPC edge around the
//! engine. The only crate that knows tonic's server.

pub mod audit_check;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod grpc;
pub mod health;
pub mod identity;
pub mod init;
pub mod key;
pub mod logging;
pub mod policy_check;
pub mod redact;
pub mod serve;
pub mod telemetry;
pub mod tls;
pub mod token;
