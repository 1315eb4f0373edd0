//! JSON as values that keep their own text, so that what is only moved is never rewritten.
//!
//! A value that was read holds the exact text it was read from, and is written by copying it: a number keeps all its
//! digits, a string its every byte. Only values that a hook makes are serialised. Source: RFC 8259.
//!
//! Everything is `'static`: a run is one call, after which its memory is thrown away, so nothing is ever freed.

use crate::{numbers, strings};

/// A made value nested deeper is refused; the host accepts no more either.
pub const DEPTH_MAX: usize = 128;

/// One JSON value; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// The text that this value was read from; empty where a hook made the value.
    raw: &'static str,
    data: Data,
}

#[derive(Clone, Copy, Debug)]
enum Data {
    Null,
    Boolean(bool),
    /// Numbers live in `raw` only.
    Number,
    Text(&'static str),
    /// A string whose text is still to be decoded from `raw`.
    Escaped,
    Array(&'static [Value]),
    Object(&'static [Member]),
}

/// A name and a value of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub name: &'static str,
    pub value: Value,
}

/// A value was made that is nested deeper than `DEPTH_MAX`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooDeep;

impl Value {
    pub const NULL: Value = Value { raw: "", data: Data::Null };

    /// Returns a string.
    pub fn text(text: impl Into<String>) -> Value {
        Value { raw: "", data: Data::Text(leak(text.into())) }
    }

    /// Returns an array of `items`.
    pub fn array(items: Vec<Value>) -> Value {
        Value { raw: "", data: Data::Array(items.leak()) }
    }

    /// Returns an object of `members`, whose names must differ.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
        let members = members.into_iter().map(|(name, value)| Member { name: leak(name.into()), value });
        Value { raw: "", data: Data::Object(members.collect::<Vec<_>>().leak()) }
    }

    pub(crate) fn read_object(raw: &'static str, members: &'static [Member]) -> Value {
        Value { raw, data: Data::Object(members) }
    }

    pub(crate) fn read_array(raw: &'static str, items: &'static [Value]) -> Value {
        Value { raw, data: Data::Array(items) }
    }

    pub(crate) fn read_text(raw: &'static str, escaped: bool) -> Value {
        let inside = raw.get(1..raw.len() - 1).unwrap_or_default();
        Value { raw, data: if escaped { Data::Escaped } else { Data::Text(inside) } }
    }

    pub(crate) fn read_number(raw: &'static str) -> Value {
        Value { raw, data: Data::Number }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    pub fn is_text(&self) -> bool {
        matches!(self.data, Data::Text(_) | Data::Escaped)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.data {
            Data::Boolean(value) => Some(value),
            _ => None,
        }
    }

    /// Returns a number without a fraction, however it is written (`1`, `1.0`, `10e-1`), if it fits 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self.data {
            Data::Number => numbers::whole(self.raw.as_bytes()),
            _ => None,
        }
    }

    /// Returns a number's JSON text, with every digit it came with.
    pub fn as_number(&self) -> Option<&'static str> {
        matches!(self.data, Data::Number).then(|| self.raw)
    }

    /// Returns a string's text; one with escapes is decoded each time.
    pub fn as_str(&self) -> Option<&'static str> {
        match self.data {
            Data::Text(text) => Some(text),
            Data::Escaped => Some(leak(strings::decode(self.raw.get(1..self.raw.len() - 1)?))),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&'static [Value]> {
        match self.data {
            Data::Array(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&'static [Member]> {
        match self.data {
            Data::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Returns the member of that name, or `None`; also where the value is no object.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.as_object()?.iter().find(|member| member.name == name).map(|member| member.value)
    }

    /// Whether this was read from exactly that text.
    pub(crate) fn is_written(&self, text: &str) -> bool {
        self.raw == text
    }

    pub(crate) fn write(&self, out: &mut String, depth: usize) -> Result<(), TooDeep> {
        if !self.raw.is_empty() {
            out.push_str(self.raw);
            return Ok(());
        }
        if depth == DEPTH_MAX {
            return Err(TooDeep);
        }
        match self.data {
            Data::Null | Data::Number | Data::Escaped => out.push_str("null"), // the last two always have raw text
            Data::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
            Data::Text(text) => strings::encode(text, out),
            Data::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    item.write(out, depth + 1)?;
                }
                out.push(']');
            }
            Data::Object(members) => {
                out.push('{');
                for (at, member) in members.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    strings::encode(member.name, out);
                    out.push(':');
                    member.value.write(out, depth + 1)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value { raw: "", data: Data::Boolean(value) }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::read_number(leak(decimal(value)))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::text(text)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::array(items)
    }
}

/// Returns an integer's digits; `i64::to_string` would bring the whole of `core::fmt`.
fn decimal(value: i64) -> String {
    let mut digits = String::new();
    let mut rest = value.unsigned_abs();
    loop {
        digits.insert(0, char::from(b'0' + (rest % 10) as u8));
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        digits.insert(0, '-');
    }
    digits
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}
