#![doc = include_str!("../README.md")]
//!
//! # The way of one command
//!
//! [`Client`] holds one connection, [`Session`] one shell. [`Session::run`] waits for
//! the [`RunResult`]; [`Session::exec`] gives an [`ExecStream`] of [`Event`]s.
//! Whatever a started command does is data, a non-zero exit too; an [`Error`] means
//! that it did not start, or that the connection to it broke and stayed broken for
//! longer than [`Resume`] says: up to then, calls go on by themselves. What fails in a way that
//! passes is tried again as [`RetryPolicy`] says.
//!
//! Dropping a future or an [`ExecStream`] ends the call and nothing else: what
//! becomes of the command is said by [`Command::on_disconnect`].

mod address;
mod budget;
mod calls;
mod checkpoints;
mod client;
mod command;
mod connect;
mod error;
mod event;
mod executions;
mod files;
mod introduce;
mod outcome;
mod pages;
mod position;
mod probe;
mod result;
mod resume;
mod retry;
mod session;
mod session_builder;
mod stdin;
mod stream;
mod text;
mod tls;
mod token;
mod trace;

pub use budget::Budget;
pub use client::Client;
pub use command::{Command, OnDisconnect};
pub use connect::ClientBuilder;
pub use error::{Error, FieldViolation, Refusal};
pub use event::{Channel, Event, Gap, Notice, Output, Started};
pub use execgate_proto::v1 as proto;
pub use execgate_proto::v1::{
    BudgetReport, Cause, ErrorReason, ObservedBy, OutputBudget, SignalKind,
};
pub use executions::{OutputPiece, ReadOutput};
pub use files::error::{FileError, FileErrorReason};
pub use files::get::Get;
pub use files::put::Put;
pub use files::{FileRead, FileWritten, Source};
pub use outcome::{ChannelTotals, Finished, Outcome};
pub use result::RunResult;
pub use resume::Resume;
pub use retry::RetryPolicy;
pub use session::{Closed, Session};
pub use session_builder::SessionBuilder;
pub use stdin::Stdin;
pub use stream::{ExecStream, MAX_COLLECTED_BYTES};
pub use text::{TextDecoder, TextPieces};
pub use tls::{Tls, TlsError, TlsErrorReason};
pub use tonic::Code;
pub use trace::TraceHeaders;

/// The guide's code is compiled with the examples of the documentation. It is not in
/// the package.
#[cfg(doctest)]
#[doc = include_str!("../../docs/rust.md")]
mod guide {}
