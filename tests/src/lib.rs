//! End-to-end tests of execgate, all in one binary: `tests/it`. They start the real
//! server and speak to it over its sockets; there is nothing here to be used elsewhere.
