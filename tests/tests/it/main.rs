//! The server as its callers see it: the real binary, on its real sockets.

mod api;
mod audit;
mod commands;
mod gate;
mod refusals;
mod stop;
mod support;
