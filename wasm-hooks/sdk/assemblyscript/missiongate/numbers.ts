/** JSON numbers as text: checked without ever becoming floating point. */

import { encode, Text } from "./bytes";

/**
 * Every number lies between plus and minus this; it is the least decimal that no longer is a finite IEEE 754 double,
 * to the nineteenth digit.
 */
const BOUND: string = "1.797693134862315807e308";

/** An integer of fewer digits fits 64 bits. */
const DIGITS_SAFE: usize = 19;

/**
 * Returns the length of the number at `at`, or 0 where there is none (RFC 8259, 6), or one that does not cross the
 * gateway unchanged: an integer beyond 64 bits, or what is no finite double.
 */
export function acceptable(at: usize, end: usize): usize {
  const first: usize = at + <usize>byteIs(at, end, 0x2d);
  let here = digits(first, end);
  const leading = here - first;
  if (leading == 0 || (leading > 1 && load<u8>(first) == 0x30)) return 0;
  const short = leading < DIGITS_SAFE;
  const fractional = byteIs(here, end, 0x2e);
  if (fractional) {
    const fraction = here + 1;
    here = digits(fraction, end);
    if (here == fraction) return 0;
  }
  if (!byteIs(here, end, 0x65) && !byteIs(here, end, 0x45)) {
    const fits = short || (fractional ? finite(at, here) : isWhole(at, here));
    return fits ? here - at : 0;
  }
  here++;
  if (byteIs(here, end, 0x2b) || byteIs(here, end, 0x2d)) here++;
  const exponent = here;
  here = digits(exponent, end);
  return here > exponent && finite(at, here) ? here - at : 0;
}

function byteIs(at: usize, end: usize, byte: u8): bool {
  return at < end && load<u8>(at) == byte;
}

/** Returns where the digits at `at` end. */
function digits(at: usize, end: usize): usize {
  let here = at;
  while (here < end && <u32>load<u8>(here) - 0x30 < 10) here++;
  return here;
}

function finite(at: usize, end: usize): bool {
  const bound: Text = encode(BOUND);
  return less(new Decimal(at, end), new Decimal(bound.at, bound.at + bound.length));
}

/** The value of the number that `isWhole` looked at last, where it is whole. */
export let whole: i64 = 0;

/** Whether a number has no fraction, however it is written, and fits 64 bits; `whole` is then its value. */
export function isWhole(at: usize, end: usize): bool {
  whole = 0;
  const decimal = new Decimal(at, end);
  if (decimal.isZero()) return true;
  if (decimal.exponent < 0 || decimal.exponent >= <i32>DIGITS_SAFE) return false;
  let value: i64 = 0; // kept negative: there is one more of these
  for (let place = decimal.exponent; place >= 0; place--) {
    const digit = <i64>decimal.next();
    if (value < (i64.MIN_VALUE + digit) / 10) return false;
    value = value * 10 - digit;
  }
  while (!decimal.isZero()) {
    if (decimal.next() != 0) return false;
  }
  if (!decimal.negative && value == i64.MIN_VALUE) return false;
  whole = decimal.negative ? value : -value;
  return true;
}

/** A number as its significant digits times a power of ten. */
class Decimal {
  negative: bool = false;
  /** The power of ten of the first significant digit, saturated. */
  exponent: i32 = 0;
  /** What is left of the significant digits; may hold one point. Empty for zero. */
  private from: usize = 0;
  private end: usize = 0;

  constructor(at: usize, end: usize) {
    const negative = byteIs(at, end, 0x2d);
    const start = at + <usize>negative;
    let mantissa = start;
    while (mantissa < end && (load<u8>(mantissa) | 0x20) != 0x65) mantissa++;
    let point = start;
    while (point < mantissa && load<u8>(point) != 0x2e) point++;
    for (let here = start; here < mantissa; here++) {
      const byte = load<u8>(here);
      if (byte == 0x30 || byte == 0x2e) continue;
      const place = <i32>(point - here);
      this.negative = negative;
      this.exponent = scale(mantissa, end) + (here < point ? place - 1 : place);
      this.from = here;
      this.end = mantissa;
      break;
    }
  }

  /** Whether no digit is left. */
  isZero(): bool {
    return this.from >= this.end;
  }

  /** Returns the next significant digit; zeros without end where none is left. */
  next(): u32 {
    if (byteIs(this.from, this.end, 0x2e)) this.from++;
    if (this.from >= this.end) return 0;
    return <u32>load<u8>(this.from++) - 0x30;
  }
}

/** Returns the value of an exponent's suffix, kept within what no sum of exponents can overflow. */
function scale(at: usize, end: usize): i32 {
  let value: i32 = 0;
  for (let here = at; here < end; here++) {
    const digit = <u32>load<u8>(here) - 0x30;
    if (digit < 10 && value < 100000000) value = value * 10 + <i32>digit;
  }
  return byteIs(at + 1, end, 0x2d) ? -value : value;
}

/** Whether the magnitude of `a` is less than that of `b`, which is not zero. */
function less(a: Decimal, b: Decimal): bool {
  if (a.isZero()) return true;
  if (a.exponent != b.exponent) return a.exponent < b.exponent;
  while (!a.isZero() || !b.isZero()) {
    const left = a.next();
    const right = b.next();
    if (left != right) return left < right;
  }
  return false;
}
