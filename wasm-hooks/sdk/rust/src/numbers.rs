//! JSON numbers as text: checked without ever becoming floating point.

use std::cmp::Ordering;

/// Every number lies between plus and minus this; it is the least decimal that no longer is a finite IEEE 754 double,
/// to the nineteenth digit.
const BOUND: &[u8] = b"1.797693134862315807e308";

/// An integer of fewer digits fits 64 bits.
const DIGITS_SAFE: usize = 19;

/// Returns the length of the number at the start of `text`, or `None` where there is none (RFC 8259, 6), or one that
/// does not cross the gateway unchanged: an integer beyond 64 bits, or what is no finite double.
pub(crate) fn acceptable(text: &[u8]) -> Option<usize> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let leading = digits(text, sign);
    if leading == 0 || (leading > 1 && text.get(sign) == Some(&b'0')) {
        return None;
    }
    let mut at = sign + leading;
    let fractional = text.get(at) == Some(&b'.');
    if fractional {
        let fraction = digits(text, at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    let scaled = matches!(text.get(at), Some(b'e' | b'E'));
    if scaled {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        let exponent = digits(text, at);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    let number = text.get(..at)?;
    let fits = match (fractional || scaled, leading < DIGITS_SAFE) {
        (false, short) => short || whole(number).is_some(),
        (true, short) => (short && !scaled) || finite(number),
    };
    fits.then(|| at)
}

fn digits(text: &[u8], from: usize) -> usize {
    text.get(from..).map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

fn finite(number: &[u8]) -> bool {
    order(&Decimal::of(number), &Decimal::of(BOUND)) == Ordering::Less
}

/// Returns the value of a number without a fraction, however it is written, or `None` where it does not fit 64 bits.
pub(crate) fn whole(number: &[u8]) -> Option<i64> {
    let decimal = Decimal::of(number);
    if decimal.significand.is_empty() {
        return Some(0);
    }
    if decimal.exponent < 0 || decimal.exponent >= DIGITS_SAFE as i32 {
        return None;
    }
    let mut digits = decimal.digits();
    let mut value: i64 = 0;
    for _ in 0..=decimal.exponent {
        let digit = i64::from(digits.next());
        value = value.checked_mul(10)?;
        value = if decimal.negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    while !digits.rest.is_empty() {
        if digits.next() != 0 {
            return None;
        }
    }
    Some(value)
}

/// A number as its significant digits times a power of ten.
struct Decimal<'a> {
    negative: bool,
    /// From the first digit that is not zero, without the sign; may hold one point. Empty for zero.
    significand: &'a [u8],
    /// The power of ten of the first significant digit, saturated.
    exponent: i32,
}

impl<'a> Decimal<'a> {
    fn of(number: &'a [u8]) -> Self {
        let negative = number.first() == Some(&b'-');
        let unsigned = number.get(usize::from(negative)..).unwrap_or_default();
        let length = unsigned.iter().position(|byte| byte | 0x20 == b'e').unwrap_or(unsigned.len());
        let (mantissa, suffix) = unsigned.split_at(length);
        let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(length);
        let first = match first_significant(mantissa) {
            Some(first) => first,
            None => return Decimal { negative: false, significand: &[], exponent: 0 },
        };
        let place = point as i32 - first as i32;
        let exponent = scale(suffix) + if first < point { place - 1 } else { place };
        Decimal { negative, significand: mantissa.get(first..).unwrap_or_default(), exponent }
    }

    fn digits(&self) -> Digits<'a> {
        Digits { rest: self.significand }
    }
}

/// Yields significant digits, then zeros without end.
struct Digits<'a> {
    rest: &'a [u8],
}

impl Digits<'_> {
    fn next(&mut self) -> u8 {
        if let [b'.', rest @ ..] = self.rest {
            self.rest = rest;
        }
        match self.rest {
            [digit, rest @ ..] => {
                self.rest = rest;
                digit - b'0'
            }
            [] => 0,
        }
    }
}

fn first_significant(mantissa: &[u8]) -> Option<usize> {
    mantissa.iter().position(|byte| !matches!(byte, b'0' | b'.'))
}

/// Returns the value of an `e±digits` suffix, kept within what no sum of exponents can overflow.
fn scale(suffix: &[u8]) -> i32 {
    let mut value: i32 = 0;
    for byte in suffix.iter().filter(|byte| byte.is_ascii_digit()) {
        if value < 100_000_000 {
            value = value * 10 + i32::from(byte - b'0');
        }
    }
    if suffix.get(1) == Some(&b'-') {
        -value
    } else {
        value
    }
}

/// Compares magnitudes.
fn order(a: &Decimal, b: &Decimal) -> Ordering {
    if a.significand.is_empty() || b.significand.is_empty() {
        return a.significand.len().cmp(&b.significand.len());
    }
    if a.exponent != b.exponent {
        return a.exponent.cmp(&b.exponent);
    }
    let (mut left, mut right) = (a.digits(), b.digits());
    while !left.rest.is_empty() || !right.rest.is_empty() {
        let ordered = left.next().cmp(&right.next());
        if ordered != Ordering::Equal {
            return ordered;
        }
    }
    Ordering::Equal
}
