//! The SDK of hooks in Rust: pure functions of their input, exported under version 1 of the hook ABI (abi.md).
//!
//! A step is a file that says `missiongate::export_step!(run);` and has a function `run`; `export_screen!`,
//! `export_rewrite!` and `export_observe!` are for the other kinds. Whatever goes wrong becomes an error document; a
//! run out of memory is the only thing that traps, and the host reports it as what it is.
//!
//! ```
//! use missiongate::{member, Answer, Refusal, Step, Value};
//!
//! fn run(step: &Step) -> Result<Answer, Refusal> {
//!     step.parameters.expect(&["path"])?;
//!     let path = step.parameters.require_string("path")?;
//!     Ok(match step.outcome()? {
//!         None => Answer::effect("file.read", Value::object([("path", path)])),
//!         Some(read) => Answer::Output(member(read, "bytes")?),
//!     })
//! }
//!
//! missiongate::export_step!(run);
//! ```
//!
//! There are no dependencies: a hook whose every line lies in its own folder is easier to trust. Written for Rust 1.63.

mod fields;
pub mod hook;
#[cfg(target_arch = "wasm32")]
mod memory;
mod numbers;
pub mod observe;
mod parse;
mod refusal;
pub mod rewrite;
pub mod screen;
pub mod step;
mod strings;
mod value;

pub use fields::Fields;
pub use hook::member;
pub use observe::{Observe, ObserveAt};
pub use refusal::Refusal;
pub use rewrite::{Rewrite, RewriteAt};
pub use screen::{Narrow, Reason, Screen, ScreenAt, Verdict};
pub use step::{Answer, Effect, Step};
pub use value::{Member, Value, DEPTH_MAX};

/// Returns the one JSON value that a text holds, or `None` where it is not strict JSON, or nested more than 64 deep.
pub fn parse(text: &'static str) -> Option<Value> {
    parse::parse(text, parse::TEXT_DEPTH_MAX)
}

/// Exports a step: `fn(&Step) -> Result<Answer, Refusal>`.
#[macro_export]
macro_rules! export_step {
    ($run:path) => {
        $crate::__export!($crate::step::answer, $run);
    };
}

/// Exports a screen: `fn(&Screen) -> Result<Verdict, Refusal>`.
#[macro_export]
macro_rules! export_screen {
    ($run:path) => {
        $crate::__export!($crate::screen::answer, $run);
    };
}

/// Exports a rewrite: `fn(&Rewrite) -> Result<Value, Refusal>`.
#[macro_export]
macro_rules! export_rewrite {
    ($run:path) => {
        $crate::__export!($crate::rewrite::answer, $run);
    };
}

/// Exports an observer: `fn(&Observe) -> Result<(), Refusal>`.
#[macro_export]
macro_rules! export_observe {
    ($run:path) => {
        $crate::__export!($crate::observe::answer, $run);
    };
}

/// Exports a function from the bytes of an input to the text of an answer, for a hook that reads JSON by other means.
#[macro_export]
macro_rules! export_raw {
    ($respond:path) => {
        $crate::__export!(@ $respond);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($answer:path, $run:path) => {
        /// Answers the text of an input; what `mission_run` calls, and what a test on any machine can.
        pub fn respond(input: &'static [u8]) -> String {
            $answer(input, $run)
        }
        $crate::__export!(@ respond);
    };
    (@ $respond:path) => {
        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        pub extern "C" fn mission_abi_v1() {}

        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        pub extern "C" fn mission_alloc(length: u32) -> u32 {
            $crate::hook::alloc(length)
        }

        #[cfg(target_arch = "wasm32")]
        #[no_mangle]
        pub extern "C" fn mission_run(address: u32, length: u32) -> u64 {
            $crate::hook::call(address, length, $respond)
        }
    };
}
