//! A screen: looks at a mission or at a step before it begins, and may deny it or give it less.

use crate::{hook, Fields, Refusal, Value};

/// Why a screen denies. The host puts `screen.<name of the hook>.` before the code.
#[derive(Clone, Debug)]
pub struct Reason {
    pub code: String,
    pub message: String,
}

/// What the run gets at most; what is `None`, or more than it would get anyway, changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Narrow {
    pub wall_ms_max: Option<i64>,
    pub fuel_max: Option<i64>,
    pub memory_bytes_max: Option<i64>,
}

#[derive(Clone, Debug)]
pub enum Verdict {
    Allow,
    /// Allows, with less.
    Narrow(Narrow),
    /// Says nothing, for what this screen is not about.
    Abstain,
    /// At least one reason, and at most 16.
    Deny(Vec<Reason>),
}

impl Verdict {
    /// Returns a no for one reason.
    pub fn deny(code: impl Into<String>, message: impl Into<String>) -> Verdict {
        Verdict::Deny(vec![Reason { code: code.into(), message: message.into() }])
    }

    fn document(self) -> Value {
        match self {
            Verdict::Allow => Value::object([("verdict", "allow".into())]),
            Verdict::Abstain => Value::object([("verdict", "abstain".into())]),
            Verdict::Narrow(narrow) => Value::object([("verdict", "allow".into()), ("narrow", narrow.document())]),
            Verdict::Deny(reasons) => {
                let one = |reason: Reason| {
                    Value::object([("code", reason.code.into()), ("message", reason.message.into())])
                };
                let reasons = reasons.into_iter().map(one).collect();
                Value::object([("verdict", "deny".into()), ("reasons", Value::array(reasons))])
            }
        }
    }
}

impl Narrow {
    fn document(self) -> Value {
        let limits = [
            ("wall_ms_max", self.wall_ms_max),
            ("fuel_max", self.fuel_max),
            ("memory_bytes_max", self.memory_bytes_max),
        ];
        Value::object(limits.into_iter().filter_map(|(name, limit)| Some((name, Value::from(limit?)))))
    }
}

/// Where a screen stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScreenAt {
    Mission,
    Step,
}

/// The input of a screen.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub at: ScreenAt,
    /// What the site's configuration gives this hook.
    pub settings: Fields,
    /// The whole document (abi.md).
    pub document: Value,
}

impl Screen {
    /// Returns a member of the document, which must be there.
    pub fn member(&self, name: &str) -> Result<Value, Refusal> {
        hook::member(self.document, name)
    }

    /// Returns the members of an object of the document, which must be there.
    pub fn object(&self, name: &str) -> Result<Fields, Refusal> {
        hook::object(self.document, name)
    }
}

/// Answers the input of a screen; `export_screen!` calls it.
pub fn answer(input: &'static [u8], run: fn(&Screen) -> Result<Verdict, Refusal>) -> String {
    hook::answer(input, "screen", |document| {
        let at = hook::place(document, &[("mission", ScreenAt::Mission), ("step", ScreenAt::Step)])?;
        let settings = hook::object(document, "settings")?;
        Ok(run(&Screen { at, settings, document })?.document())
    })
}
