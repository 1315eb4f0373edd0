//! Typed access to the members of an object; whatever does not fit is refused with `parameters.invalid`.

use crate::refusal::joined;
use crate::{Member, Refusal, Value};

/// The members of an object: parameters, or settings.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    pub members: &'static [Member],
}

impl Fields {
    /// Refuses members whose names are not listed.
    pub fn expect(&self, names: &[&str]) -> Result<(), Refusal> {
        if self.members.iter().all(|member| names.contains(&member.name)) {
            return Ok(());
        }
        Err(Refusal::invalid(joined("an unknown field; the known ones: ", &names.join(", "))))
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        self.members.iter().find(|member| member.name == name).map(|member| member.value)
    }

    pub fn require(&self, name: &str) -> Result<Value, Refusal> {
        self.get(name).ok_or_else(|| refused(name, ": missing"))
    }

    /// Returns a string as the value it is, so that it can be passed on unchanged, or `None` where it is not given.
    pub fn string(&self, name: &str) -> Result<Option<Value>, Refusal> {
        match self.get(name) {
            Some(value) if !value.is_text() => Err(refused(name, ": a string is needed")),
            found => Ok(found),
        }
    }

    pub fn require_string(&self, name: &str) -> Result<Value, Refusal> {
        self.string(name)?.ok_or_else(|| refused(name, ": missing"))
    }

    /// Returns a string's text.
    pub fn require_str(&self, name: &str) -> Result<&'static str, Refusal> {
        Ok(self.require_string(name)?.as_str().unwrap_or_default())
    }

    pub fn require_array(&self, name: &str) -> Result<&'static [Value], Refusal> {
        self.require(name)?.as_array().ok_or_else(|| refused(name, ": an array is needed"))
    }

    /// Returns the texts of an array of `least` to `most` strings, or `None` where it is not given.
    pub fn strs(&self, name: &str, least: usize, most: usize) -> Result<Option<Vec<&'static str>>, Refusal> {
        let value = match self.get(name) {
            Some(value) => value,
            None => return Ok(None),
        };
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        match texts {
            None => Err(refused(name, ": an array of strings is needed")),
            Some(texts) if texts.len() < least || texts.len() > most => Err(refused(name, ": too few or too many")),
            found => Ok(found),
        }
    }

    /// Returns which of `words` a string is; the first where it is not given.
    pub fn word<'a>(&self, name: &str, words: &[&'a str]) -> Result<&'a str, Refusal> {
        let given = match self.string(name)? {
            None => return Ok(words.first().copied().unwrap_or_default()),
            Some(value) => value.as_str().unwrap_or_default(),
        };
        let known = words.iter().find(|word| **word == given);
        known.copied().ok_or_else(|| refused(name, &joined(": one of these is needed: ", &words.join(", "))))
    }

    /// Returns an integer within bounds, both included, or `None` where it is not given.
    pub fn integer(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Refusal> {
        let value = match self.get(name) {
            Some(value) => value,
            None => return Ok(None),
        };
        match value.as_i64() {
            None => Err(refused(name, ": an integer is needed")),
            Some(whole) if whole < least || whole > most => Err(refused(name, ": out of range")),
            found => Ok(found),
        }
    }

    pub fn boolean(&self, name: &str, default: bool) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| refused(name, ": true or false is needed")),
        }
    }
}

fn refused(name: &str, rule: &str) -> Refusal {
    Refusal::invalid(joined(name, rule))
}
