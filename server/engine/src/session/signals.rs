//! The numbers of the signals that sessions send, as Linux has them.

/// Ctrl-C.
pub(crate) const INT: i32 = 2;
/// Ends, and cannot be refused.
pub(crate) const KILL: i32 = 9;
/// Ends, with time to clean up.
pub(crate) const TERM: i32 = 15;
/// Lets a stopped process go on.
pub(crate) const CONT: i32 = 18;
/// Stops, and cannot be refused.
pub(crate) const STOP: i32 = 19;
/// Ctrl-Z.
pub(crate) const TSTP: i32 = 20;
