//! The pure part of execgate: no I/O, no clock, no randomness. What can be a function
//! of bytes and time lives here, and is tested here.
//!
//! The rooms: [`framing`] writes what goes into a shell, [`pipeline`] reads what comes
//! out, [`redact`] and [`budget`] decide what is seen of it, [`policy`] what may run,
//! [`audit`] how it is recorded, [`outcome`] how it ended, [`checkpoint`] how files are kept
//! and brought back.

pub mod audit;
pub mod budget;
pub mod checkpoint;
pub mod environment;
pub mod framing;
pub mod ids;
pub mod outcome;
pub mod pipeline;
pub mod policy;
pub mod redact;
pub mod shell;
pub mod trace;
