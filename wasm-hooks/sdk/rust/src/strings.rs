//! JSON strings: checked, decoded and escaped. The text is known to be UTF-8.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Returns how many bytes from `from` on stand for themselves: no quote, backslash or control character.
pub(crate) fn plain_prefix(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let mut at = 0;
    for eight in rest.chunks_exact(8) {
        let word = eight.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
        let quote = word ^ (ONES * u64::from(b'"'));
        let backslash = word ^ (ONES * u64::from(b'\\'));
        // A byte below n makes (byte - n) borrow into its high bit; where bytes from 0x80 on raise a false alarm, the
        // loop below looks again.
        let found = word.wrapping_sub(ONES * 0x20) | quote.wrapping_sub(ONES) | backslash.wrapping_sub(ONES);
        if found & HIGHS != 0 {
            break;
        }
        at += 8;
    }
    at + rest.get(at..).unwrap_or_default().iter().take_while(|byte| is_plain(**byte)).count()
}

fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

/// Returns the length of the escape at `at` and the code point it names, or `None` where it is malformed; a lone
/// surrogate is.
pub(crate) fn escape(text: &[u8], at: usize) -> Option<(usize, char)> {
    let point = match text.get(at + 1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(text, at),
        _ => return None,
    };
    Some((2, point))
}

fn unicode_escape(text: &[u8], at: usize) -> Option<(usize, char)> {
    let first = unit(text, at)?;
    if first & 0xf800 != 0xd800 {
        return Some((6, char::from_u32(first)?));
    }
    let second = unit(text, at + 6)?;
    if first & 0xfc00 != 0xd800 || second & 0xfc00 != 0xdc00 {
        return None;
    }
    Some((12, char::from_u32(0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff))?))
}

/// Returns the UTF-16 code unit that `\uXXXX` at `at` names, or `None` where there is none.
fn unit(text: &[u8], at: usize) -> Option<u32> {
    match text.get(at..at + 6)? {
        [b'\\', b'u', digits @ ..] => {
            digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
        }
        _ => None,
    }
}

/// Returns the text that `escaped`, the inside of a well-formed JSON string, stands for.
pub(crate) fn decode(escaped: &str) -> String {
    let bytes = escaped.as_bytes();
    let mut out = String::with_capacity(escaped.len());
    let mut at = 0;
    while at < bytes.len() {
        let run = plain_prefix(bytes, at);
        out.push_str(escaped.get(at..at + run).unwrap_or_default());
        at += run;
        if let Some((length, point)) = escape(bytes, at) {
            out.push(point);
            at += length;
        } else {
            break;
        }
    }
    out
}

/// Appends `plain` to `out` as a JSON string.
pub(crate) fn encode(plain: &str, out: &mut String) {
    let bytes = plain.as_bytes();
    out.push('"');
    let mut at = 0;
    loop {
        let run = plain_prefix(bytes, at);
        out.push_str(plain.get(at..at + run).unwrap_or_default());
        at += run;
        match bytes.get(at) {
            None => break,
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            Some(b'\n') => out.push_str("\\n"),
            Some(b'\r') => out.push_str("\\r"),
            Some(b'\t') => out.push_str("\\t"),
            Some(control) => {
                out.push_str("\\u00");
                for digit in [control >> 4, control & 15] {
                    out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
                }
            }
        }
        at += 1;
    }
    out.push('"');
}
