//! The engine against real shells: one binary, a module for each subject.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod argv;
mod bypass;
mod fence;
mod gate;
mod hidden;
mod interactive;
mod lifecycle;
mod record;
mod retained;
mod sabotage;
mod shells;
mod stdin;
mod support;
mod telemetry;
mod terminal;
mod undo;
