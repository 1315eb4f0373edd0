//! A step: asks for effects, and comes to an output.

use crate::refusal::joined;
use crate::{hook, Fields, Refusal, Value};

/// What a step answers with, where it is not refused.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The step is done.
    Output(Value),
    /// A batch of at least one: it is performed in order, and the step run again with the outcomes in its journal.
    Effects(Vec<Effect>),
}

/// One effect that is asked for; the manifest has to declare `op`.
#[derive(Clone, Debug)]
pub struct Effect {
    pub op: &'static str,
    pub args: Value,
}

impl Answer {
    /// Asks for one effect.
    pub fn effect(op: &'static str, args: Value) -> Answer {
        Answer::Effects(vec![Effect { op, args }])
    }
}

/// Codes of effects that may succeed when the step is tried again: nothing was done, and nothing is in doubt; of a
/// mission that failed, what is done is kept, and the rest is tried again.
const TRANSIENT: [&str; 6] = [
    "effect.connect_failed",
    "effect.mission_failed",
    "effect.name_not_resolved",
    "effect.overloaded",
    "effect.path_busy",
    "effect.unavailable",
];

/// The input of a step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub parameters: Fields,
    /// The outcomes of the effects so far, in order; `outcome` and `outcome_at` read them.
    pub journal: &'static [Value],
    /// The whole document (abi.md): `step`, `now` and `seed` are in it.
    pub document: Value,
}

impl Step {
    /// Returns what the step's one effect came to, or `None` where it has yet to be asked for.
    ///
    /// A failed effect ends the run with the effect's own code and message.
    pub fn outcome(&self) -> Result<Option<Value>, Refusal> {
        if self.journal.len() > 1 {
            return Err(Refusal::malformed("journal: one entry is expected"));
        }
        self.outcome_at(0)
    }

    /// Returns what the effect of that index, from 0, came to, or `None` where it has not been performed yet.
    pub fn outcome_at(&self, index: usize) -> Result<Option<Value>, Refusal> {
        let entry = match self.journal.get(index) {
            None => return Ok(None),
            Some(entry) => entry,
        };
        if let Some(ok) = entry.get("ok") {
            return Ok(Some(ok));
        }
        let fault = entry.get("error").ok_or_else(|| Refusal::malformed("journal: an entry has ok or error"))?;
        let code = text_of(fault, "code")?;
        let retryable = TRANSIENT.contains(&code);
        Err(Refusal { retryable, ..Refusal::new(code, text_of(fault, "message")?) })
    }
}

fn text_of(fault: Value, name: &str) -> Result<&'static str, Refusal> {
    let found = fault.get(name).ok_or_else(|| Refusal::malformed(joined("journal: an error without ", name)))?;
    let lacking = || joined(&joined("journal: an error whose ", name), " is no string");
    found.as_str().ok_or_else(|| Refusal::malformed(lacking()))
}

/// Answers the input of a step; `export_step!` calls it.
pub fn answer(input: &'static [u8], run: fn(&Step) -> Result<Answer, Refusal>) -> String {
    hook::answer(input, "step", |document| {
        let parameters = hook::object(document, "parameters")?;
        let journal = hook::member(document, "journal")?.as_array();
        let journal = journal.ok_or_else(|| Refusal::malformed("journal: an array is needed"))?;
        Ok(match run(&Step { parameters, journal, document })? {
            Answer::Output(value) => Value::object([("output", value)]),
            Answer::Effects(effects) => Value::object([("effects", Value::array(batch(effects)))]),
        })
    })
}

fn batch(effects: Vec<Effect>) -> Vec<Value> {
    let one = |effect: Effect| Value::object([("op", Value::text(effect.op)), ("args", effect.args)]);
    effects.into_iter().map(one).collect()
}
