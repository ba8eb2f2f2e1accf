//! The fuzz targets, each for a few seconds: its seeds as they are, then seeds changed at
//! random. What is found is made small, kept in a file, and becomes a seed once it is mended.
//!
//! `EXECGATE_FUZZ_SECONDS` and `EXECGATE_FUZZ_SEED` make it longer, and other, as
//! `make fuzz` does.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "what fails in here is to fail the test"
)]

#[path = "fuzz/driver.rs"]
mod driver;
#[path = "fuzz/targets.rs"]
mod targets;

macro_rules! each {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                driver::fuzz(stringify!($name), targets::find(stringify!($name)));
            }
        )*

        #[test]
        fn every_target_is_run() {
            let named: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(named, [$(stringify!($name)),*]);
        }
    };
}

each! {
    framing pipeline redactor environment budget
    policy_script policy_argv policy_rules
    audit_line audit_chain audit_note
    pack tree ignore patch
    ids trace
}
