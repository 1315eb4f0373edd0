/** JSON strings: checked, decoded and escaped, byte for byte. */

import { encodePoint, room, Text, textAt } from "./bytes";

const ONES: u64 = 0x0101010101010101;
const HIGHS: u64 = 0x8080808080808080;
const QUOTE: u64 = ONES * 0x22;
const BACKSLASH: u64 = ONES * 0x5c;

/** Returns how many bytes from `at` on stand for themselves: no quote, backslash, control or non-ASCII byte. */
export function plainPrefix(at: usize, end: usize): usize {
  let here = at;
  while (here + 8 <= end) {
    const word = load<u64>(here);
    // A byte below n makes (byte - n) borrow into its high bit; the first such byte is never a false alarm.
    const found = (word - ONES * 0x20) | ((word ^ QUOTE) - ONES) | ((word ^ BACKSLASH) - ONES) | word;
    if ((found & HIGHS) != 0) break;
    here += 8;
  }
  while (here < end) {
    const byte = load<u8>(here);
    if (byte < 0x20 || byte == 0x22 || byte == 0x5c || byte >= 0x80) break;
    here++;
  }
  return here - at;
}

/**
 * Returns the length of the UTF-8 sequence at `at`, whose first byte is no ASCII, or 0 where there is none
 * (RFC 3629, 4).
 */
export function sequence(at: usize, end: usize): usize {
  const lead = load<u8>(at);
  if (end - at < 2) return 0;
  const second = load<u8>(at, 1);
  if (lead < 0xe0) return lead >= 0xc2 && continues(second) ? 2 : 0;
  if (end - at < 3 || !continues(second) || !continues(load<u8>(at, 2))) return 0;
  if (lead < 0xf0) {
    if (lead == 0xe0 && second < 0xa0) return 0; // overlong
    if (lead == 0xed && second > 0x9f) return 0; // a surrogate
    return 3;
  }
  if (end - at < 4 || !continues(load<u8>(at, 3)) || lead > 0xf4) return 0;
  if (lead == 0xf0 && second < 0x90) return 0; // overlong
  if (lead == 0xf4 && second > 0x8f) return 0; // above U+10FFFF
  return 4;
}

function continues(byte: u8): bool {
  return (byte & 0xc0) == 0x80;
}

/** The code point of the escape that `escapeLength` saw last. */
let point: u32 = 0;

/** Returns the length of the escape at `at`, or 0 where it is malformed; a lone surrogate is. */
export function escapeLength(at: usize, end: usize): usize {
  if (end - at < 2) return 0;
  const letter = load<u8>(at, 1);
  if (letter == 0x75) return unicodeEscapeLength(at, end);
  point = letter;
  if (letter == 0x22 || letter == 0x5c || letter == 0x2f) return 2;
  if (letter == 0x62) point = 0x08;
  else if (letter == 0x66) point = 0x0c;
  else if (letter == 0x6e) point = 0x0a;
  else if (letter == 0x72) point = 0x0d;
  else if (letter == 0x74) point = 0x09;
  else return 0;
  return 2;
}

function unicodeEscapeLength(at: usize, end: usize): usize {
  const first = unit(at, end);
  if (first < 0) return 0;
  point = first;
  if ((first & 0xf800) != 0xd800) return 6;
  const second = unit(at + 6, end);
  if ((first & 0xfc00) != 0xd800 || (second & ~0x3ff) != 0xdc00) return 0;
  point = 0x10000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
  return 12;
}

/** Returns the UTF-16 code unit that a `u` escape at `at` names, or -1 where there is none. */
function unit(at: usize, end: usize): i32 {
  if (at + 6 > end || load<u16>(at) != 0x755c) return -1;
  let value = 0;
  for (let i: usize = 2; i < 6; i++) {
    const digit = hexadecimal(load<u8>(at + i));
    if (digit < 0) return -1;
    value = (value << 4) | digit;
  }
  return value;
}

function hexadecimal(byte: i32): i32 {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

/** Returns the text that the inside of a well-formed JSON string stands for. */
export function unescape(at: usize, length: usize): Text {
  const out = room(length);
  const end = at + length;
  let to = out;
  let from = at;
  while (from < end) {
    if (load<u8>(from) == 0x5c) {
      const escaped = escapeLength(from, end);
      if (escaped == 0) break;
      to += encodePoint(point, to); // an escape is never shorter than what it stands for, so there is room
      from += escaped;
    } else {
      const run = max<usize>(plainPrefix(from, end), 1);
      memory.copy(to, from, run);
      from += run;
      to += run;
    }
  }
  return textAt(out, to - out);
}

/** Returns how many bytes a text takes at most as a JSON string. */
export function escapedMax(length: usize): usize {
  return 6 * length + 2;
}

/** Writes a text as a JSON string, and returns where it ends. */
export function escape(at: usize, length: usize, out: usize): usize {
  let to = out;
  let from = at;
  const end = at + length;
  store<u8>(to++, 0x22);
  while (from < end) {
    const run = plainPrefix(from, end);
    memory.copy(to, from, run);
    from += run;
    to += run;
    if (from < end) to = escapeByte(load<u8>(from++), to);
  }
  store<u8>(to, 0x22);
  return to + 1;
}

/** Writes one byte of a string that `plainPrefix` stopped at. */
function escapeByte(byte: u8, to: usize): usize {
  if (byte >= 0x80) {
    store<u8>(to, byte);
    return to + 1;
  }
  let letter: u8 = 0;
  if (byte == 0x22 || byte == 0x5c) letter = byte;
  else if (byte == 0x0a) letter = 0x6e;
  else if (byte == 0x0d) letter = 0x72;
  else if (byte == 0x09) letter = 0x74;
  store<u8>(to, 0x5c);
  if (letter != 0) {
    store<u8>(to, letter, 1);
    return to + 2;
  }
  store<u8>(to, 0x75, 1);
  store<u16>(to, 0x3030, 2);
  store<u8>(to, digit(byte >> 4), 4);
  store<u8>(to, digit(byte & 15), 5);
  return to + 6;
}

function digit(value: u8): u8 {
  return value < 10 ? 0x30 + value : 0x61 - 10 + value;
}
