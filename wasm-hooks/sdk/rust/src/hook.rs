//! What all kinds of hook share: the head of the input document, the error document, and the functions of the ABI.

use crate::parse::{parse, DOCUMENT_DEPTH_MAX};
use crate::refusal::joined;
use crate::{Fields, Refusal, Value};

/// Returns the text of the answer to an input, whatever that is: what goes wrong becomes an error document.
pub fn answer(input: &'static [u8], kind: &str, run: impl FnOnce(Value) -> Result<Value, Refusal>) -> String {
    let answered = document(input, kind).and_then(run).and_then(|value| text(value));
    match answered {
        Ok(text) => text,
        // An error document is two objects deep, so there is always a text.
        Err(refusal) => text(refusal.document()).unwrap_or_default(),
    }
}

fn text(value: Value) -> Result<String, Refusal> {
    let mut out = String::new();
    match value.write(&mut out, 0) {
        Ok(()) => Ok(out),
        Err(_) => Err(Refusal::new("output.too_deep", "the output is nested too deeply")),
    }
}

/// Returns the input document, which must be one of version 1 for a hook of that kind.
fn document(input: &'static [u8], kind: &str) -> Result<Value, Refusal> {
    let root = std::str::from_utf8(input).ok().and_then(|text| parse(text, DOCUMENT_DEPTH_MAX));
    let root = root.ok_or_else(|| Refusal::malformed("the input is not JSON"))?;
    if !member(root, "abi")?.is_written("1") {
        return Err(Refusal::malformed("abi: 1 is needed"));
    }
    if member(root, "kind")?.as_str() != Some(kind) {
        return Err(Refusal::malformed(joined("kind: ", &joined(kind, " is needed"))));
    }
    Ok(root)
}

/// Returns a member of an effect's outcome, or of the document, which must be there.
pub fn member(root: Value, name: &str) -> Result<Value, Refusal> {
    root.get(name).ok_or_else(|| Refusal::missing(name))
}

/// Returns the members of an object of the document, which must be there.
pub(crate) fn object(root: Value, name: &str) -> Result<Fields, Refusal> {
    let members = member(root, name)?.as_object();
    let members = members.ok_or_else(|| Refusal::malformed(joined(name, ": an object is needed")))?;
    Ok(Fields { members })
}

/// Returns which of the places of its kind the hook stands at.
pub(crate) fn place<At: Copy>(root: Value, places: &[(&str, At)]) -> Result<At, Refusal> {
    let given = member(root, "at")?.as_str();
    let known = places.iter().find(|(name, _)| Some(*name) == given).map(|(_, at)| *at);
    known.ok_or_else(|| Refusal::malformed("at: no place of this kind of hook"))
}

/// Implements `mission_alloc`.
#[cfg(target_arch = "wasm32")]
pub fn alloc(length: u32) -> u32 {
    crate::memory::room(length)
}

/// Implements `mission_run`: the input's address and length in, the answer's address and length out.
#[cfg(target_arch = "wasm32")]
pub fn call(address: u32, length: u32, respond: fn(&'static [u8]) -> String) -> u64 {
    let text = if crate::memory::holds(address, length) {
        // Sound: the bytes are in memory, the host wrote them, and nothing changes them during the run.
        respond(unsafe { std::slice::from_raw_parts(address as *const u8, length as usize) })
    } else {
        text(Refusal::malformed("the input lies outside of memory").document()).unwrap_or_default()
    };
    let text: &'static str = Box::leak(text.into_boxed_str());
    (text.as_ptr() as u64) << 32 | text.len() as u64
}
