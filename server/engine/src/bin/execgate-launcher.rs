//! A launcher of its own, for those who embed the engine and for its tests; the server
//! executes itself instead.

fn main() {
    std::process::exit(execgate_engine::launcher::main());
}
