//! An observer: looks at what has been allowed, or at an output. Nothing that it answers changes anything; an error
//! that it reports is counted, and its code recorded.

use crate::{hook, Fields, Refusal, Value};

/// Where an observer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObserveAt {
    Mission,
    Step,
    Output,
}

/// The input of an observer.
#[derive(Clone, Copy, Debug)]
pub struct Observe {
    pub at: ObserveAt,
    /// What the site's configuration gives this hook.
    pub settings: Fields,
    /// The whole document (abi.md).
    pub document: Value,
}

impl Observe {
    /// Returns a member of the document, which must be there.
    pub fn member(&self, name: &str) -> Result<Value, Refusal> {
        hook::member(self.document, name)
    }
}

const PLACES: [(&str, ObserveAt); 3] =
    [("mission", ObserveAt::Mission), ("step", ObserveAt::Step), ("output", ObserveAt::Output)];

/// Answers the input of an observer; `export_observe!` calls it.
pub fn answer(input: &'static [u8], run: fn(&Observe) -> Result<(), Refusal>) -> String {
    hook::answer(input, "observe", |document| {
        let at = hook::place(document, &PLACES)?;
        let settings = hook::object(document, "settings")?;
        run(&Observe { at, settings, document })?;
        Ok(Value::object([]))
    })
}
