//! Reads JSON strictly: RFC 8259, no duplicate names, no lone surrogates, numbers in range, bounded depth.
//!
//! There is no recursion, so the depth of a document costs no stack.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use crate::value::{Member, Value};
use crate::{numbers, strings};

/// Nesting of an input document: parameters and journal hold whole values, each nested up to `TEXT_DEPTH_MAX`.
pub(crate) const DOCUMENT_DEPTH_MAX: usize = 128;

/// Nesting of JSON that arrives as text in a string; the engine accepts no more in a document.
pub(crate) const TEXT_DEPTH_MAX: usize = 64;

/// Below this many members a plain comparison of all pairs is cheaper than a set.
const FEW: usize = 8;

/// Returns the one value of the text, or `None` where it is malformed or nested more than `depth_max` deep.
pub(crate) fn parse(text: &'static str, depth_max: usize) -> Option<Value> {
    let pending = vec![Member { name: "", value: Value::NULL }];
    Parser { text, bytes: text.as_bytes(), frames: Vec::new(), depth_max, pending }.run()
}

/// An open array or object: its members so far are `pending[first..]`.
struct Frame {
    first: usize,
    start: usize,
    closer: u8,
}

struct Parser {
    text: &'static str,
    bytes: &'static [u8],
    frames: Vec<Frame>,
    depth_max: usize,
    /// The members of all open values, outermost first; the last one waits for the value that is read next.
    pending: Vec<Member>,
}

impl Parser {
    fn run(mut self) -> Option<Value> {
        let mut at = self.space(0);
        loop {
            let first = self.byte(at);
            if matches!(first, b'{' | b'[') {
                let closer = self.open(at, first)?;
                at = self.space(at + 1);
                if self.byte(at) != closer {
                    at = self.member(at)?;
                    continue;
                }
                self.close(at)?;
                at += 1;
            } else {
                at = self.scalar(at, first)?;
            }
            loop {
                // a value ended before `at`
                at = self.space(at);
                let closer = match self.frames.last() {
                    None if at == self.bytes.len() => return self.pending.first().map(|member| member.value),
                    None => return None,
                    Some(frame) => frame.closer,
                };
                let byte = self.byte(at);
                if byte == b',' {
                    at = self.member(self.space(at + 1))?;
                    break;
                }
                if byte != closer {
                    return None;
                }
                self.close(at)?;
                at += 1;
            }
        }
    }

    /// Opens the value whose first byte is at `at`, and returns the byte that closes it.
    fn open(&mut self, at: usize, first: u8) -> Option<u8> {
        if self.frames.len() == self.depth_max {
            return None;
        }
        let closer = first + 2; // ASCII: [ \ ] and { | }
        self.frames.push(Frame { first: self.pending.len(), start: at, closer });
        Some(closer)
    }

    /// Makes room for a member of the innermost value; in an object, reads its name. Returns where its value starts.
    fn member(&mut self, start: usize) -> Option<usize> {
        let mut name = "";
        let mut at = start;
        if self.frames.last()?.closer == b'}' {
            if self.byte(start) != b'"' {
                return None;
            }
            let (value, end) = self.string(start)?;
            name = value.as_str()?;
            at = self.space(end);
            if self.byte(at) != b':' {
                return None;
            }
            at = self.space(at + 1);
        }
        self.pending.push(Member { name, value: Value::NULL });
        Some(at)
    }

    /// Closes the innermost value, whose last byte is at `at`.
    fn close(&mut self, at: usize) -> Option<()> {
        let frame = self.frames.pop()?;
        let raw = self.text.get(frame.start..=at)?;
        let members = self.pending.get(frame.first..)?;
        let closed = if frame.closer == b'}' {
            if !distinct(members) {
                return None;
            }
            Value::read_object(raw, members.to_vec().leak())
        } else {
            Value::read_array(raw, members.iter().map(|member| member.value).collect::<Vec<_>>().leak())
        };
        self.pending.truncate(frame.first);
        self.place(closed)
    }

    fn place(&mut self, value: Value) -> Option<()> {
        self.pending.last_mut()?.value = value;
        Some(())
    }

    /// Reads a value without members, and returns where it ends.
    fn scalar(&mut self, at: usize, first: u8) -> Option<usize> {
        let (value, end) = match first {
            b'"' => self.string(at)?,
            b't' => (Value::from(true), self.literal(at, "true")?),
            b'f' => (Value::from(false), self.literal(at, "false")?),
            b'n' => (Value::NULL, self.literal(at, "null")?),
            _ => {
                let end = at + numbers::acceptable(self.bytes.get(at..)?)?;
                (Value::read_number(self.text.get(at..end)?), end)
            }
        };
        self.place(value)?;
        Some(end)
    }

    fn string(&self, start: usize) -> Option<(Value, usize)> {
        let mut escaped = false;
        let mut at = start + 1;
        loop {
            at += strings::plain_prefix(self.bytes, at);
            match self.bytes.get(at)? {
                b'"' => return Some((Value::read_text(self.text.get(start..=at)?, escaped), at + 1)),
                b'\\' => {
                    escaped = true;
                    at += strings::escape(self.bytes, at)?.0;
                }
                _ => return None, // a control character
            }
        }
    }

    fn literal(&self, at: usize, word: &str) -> Option<usize> {
        self.bytes.get(at..)?.starts_with(word.as_bytes()).then(|| at + word.len())
    }

    fn space(&self, start: usize) -> usize {
        let rest = self.bytes.get(start..).unwrap_or_default();
        start + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
    }

    /// Returns the byte at `at`, or NUL at the end: outside of strings a NUL is malformed wherever it stands.
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }
}

/// Returns whether all names differ; large objects cost linear time.
fn distinct(members: &[Member]) -> bool {
    if members.len() > FEW {
        let mut seen = HashSet::with_capacity_and_hasher(members.len(), BuildHasherDefault::<Fnv>::default());
        return members.iter().all(|member| seen.insert(member.name));
    }
    let earlier = |at: usize| members.get(..at).unwrap_or_default();
    members.iter().enumerate().all(|(at, member)| earlier(at).iter().all(|other| other.name != member.name))
}

/// FNV-1a, folded. An input that makes names collide only spends its own fuel, and a random seed there is none.
struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0x811c_9dc5)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        // The set takes its tag from the topmost bits.
        u64::from(self.0 ^ self.0 >> 15) << 32 | u64::from(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}
