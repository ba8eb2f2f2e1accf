//! The engine against real shells: one binary, a module for each subject.

mod gate;
mod lifecycle;
mod sabotage;
mod shells;
mod support;
mod terminal;
