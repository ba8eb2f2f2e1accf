#![doc = include_str!("../README.md")]
//!
//! # The way of one command
//!
//! [`Client`] holds one connection, [`Session`] one shell. [`Session::run`] waits for
//! the [`RunResult`]; [`Session::exec`] gives an [`ExecStream`] of [`Event`]s.
//! Whatever a started command does is data, a non-zero exit too; an [`Error`] means
//! that it did not start, or that the connection to it broke.
//!
//! Dropping a future or an [`ExecStream`] ends the call and nothing else: what
//! becomes of the command is said by [`Command::on_disconnect`].

mod address;
mod client;
mod command;
mod error;
mod event;
mod outcome;
mod result;
mod session;
mod stream;
mod token;

pub use client::{Client, ClientBuilder};
pub use command::{Command, OnDisconnect};
pub use error::{Error, FieldViolation, Refusal};
pub use event::{Channel, Event, Gap, Notice, Output, Started};
pub use execgate_proto::v1 as proto;
pub use execgate_proto::v1::{BudgetReport, Cause, ErrorReason, ObservedBy, OutputBudget};
pub use outcome::{ChannelTotals, Finished, Outcome};
pub use result::RunResult;
pub use session::{Closed, Session, SessionBuilder};
pub use stream::{ExecStream, MAX_COLLECTED_BYTES};
pub use tonic::Code;
