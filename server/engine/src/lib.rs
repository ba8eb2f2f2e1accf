//! The engine of execgate: sessions, transports, the audit store. Embeddable, on tokio;
//! it knows nothing of gRPC.
//!
//! The way of one command: [`Engine::exec`] (limits, id, policy) → the session's task
//! (audit intent, shell, pipeline, outcome) → the [`execution`]'s log → whoever follows.

pub mod audit;
pub mod authority;
pub mod checkpoint;
mod directory;
mod engine;
mod error;
mod exec;
pub mod execution;
pub mod fence;
mod intervention;
pub mod isolation;
pub mod launcher;
pub mod local;
mod pattern;
pub mod policy;
pub mod quotas;
mod random;
pub mod secrets;
pub mod session;
mod talk;
pub mod target;
pub mod telemetry;
pub mod transport;

pub use directory::LeftBehind;
pub use engine::{Engine, EngineSettings};
pub use error::Error;
pub use exec::Accepted;
