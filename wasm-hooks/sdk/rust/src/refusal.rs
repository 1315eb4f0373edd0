//! Why a run ends with an error document.

use crate::Value;

/// Ends the run with an error document; `?` passes it on.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Stable: lower-case words joined by dots.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// Whether the same step may succeed later: for faults, never for refusals.
    pub retryable: bool,
}

impl Refusal {
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Refusal {
        Refusal { code: code.into(), message: message.into(), retryable: false }
    }

    /// The parameters, or the settings, are not what the hook takes.
    pub fn invalid(message: impl Into<String>) -> Refusal {
        Refusal::new("parameters.invalid", message)
    }

    /// The host's input is not what the ABI says.
    pub(crate) fn malformed(message: impl Into<String>) -> Refusal {
        Refusal::new("abi.malformed_input", message)
    }

    pub(crate) fn missing(name: &str) -> Refusal {
        Refusal::malformed(joined(name, ": missing"))
    }

    pub(crate) fn document(&self) -> Value {
        Value::object([(
            "error",
            Value::object([
                ("code", Value::text(&*self.code)),
                ("message", Value::text(&*self.message)),
                ("retryable", Value::from(self.retryable)),
            ]),
        )])
    }
}

/// Joins texts; `format!` would bring the whole of `core::fmt`.
pub(crate) fn joined(first: &str, second: &str) -> String {
    let mut text = String::with_capacity(first.len() + second.len());
    text.push_str(first);
    text.push_str(second);
    text
}
