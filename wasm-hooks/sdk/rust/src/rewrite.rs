//! A rewrite: gives back a step's parameters, or its output, as they are to be from then on.

use crate::{hook, Fields, Refusal, Value};

/// Where a rewrite stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteAt {
    Parameters,
    Output,
}

/// The input of a rewrite.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    pub at: RewriteAt,
    /// What the site's configuration gives this hook.
    pub settings: Fields,
    /// Whose they are: id, name, step_type, attempt.
    pub step: Fields,
    /// The parameters, an object, or the output, any value.
    pub value: Value,
}

/// Answers the input of a rewrite; what `run` returns stands where `value` stood. `export_rewrite!` calls it.
pub fn answer(input: &'static [u8], run: fn(&Rewrite) -> Result<Value, Refusal>) -> String {
    hook::answer(input, "rewrite", |document| {
        let at = hook::place(document, &[("parameters", RewriteAt::Parameters), ("output", RewriteAt::Output)])?;
        let settings = hook::object(document, "settings")?;
        let step = hook::object(document, "step")?;
        let name = if at == RewriteAt::Parameters { "parameters" } else { "output" };
        let value = hook::member(document, name)?;
        Ok(Value::object([(name, run(&Rewrite { at, settings, step, value })?)]))
    })
}
