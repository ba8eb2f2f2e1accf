//! client-rs.
