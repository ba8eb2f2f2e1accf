//! The server as its callers see it: the real binary, on its real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "all of it is tests, some of them tables of cases"
)]

mod api;
mod audit;
mod audit_crash;
mod audit_faults;
mod audit_reading;
mod client;
mod client_examples;
mod client_files;
mod client_resume;
mod client_retry;
mod client_tls;
mod client_trace;
mod commands;
mod conformance;
mod docker;
mod gate;
mod keep_alive;
mod refusals;
mod resume;
mod retained;
mod scenarios;
mod secrets;
mod ssh;
mod ssh_faults;
mod ssh_login;
mod ssh_profiles;
mod ssh_targets;
mod sshd;
mod stop;
mod support;
mod undo;
