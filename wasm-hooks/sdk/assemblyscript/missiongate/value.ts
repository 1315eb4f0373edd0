/**
 * JSON as values that keep their own text, so that what is only moved is never rewritten.
 *
 * A value that was read holds the exact bytes it was read from, and is written by copying them: a number keeps all its
 * digits, a string its every byte. Only values that a hook makes are serialised. Source: RFC 8259.
 */

import { decode, encode, room, same, Text, textAt } from "./bytes";
import { invalid, malformed } from "./failure";
import { isWhole, whole } from "./numbers";
import { unescape } from "./strings";

export const enum Kind {
  NULL,
  BOOLEAN,
  /** Numbers live in their raw text only. */
  NUMBER,
  TEXT,
  /** A string whose text is still to be decoded from its raw text. */
  ESCAPED,
  ARRAY,
  OBJECT,
}

/** One JSON value. Nothing is freed: a run is one call. */
@unmanaged
export class Value {
  /** The text that this value was read from; without length where a hook made the value. */
  raw: usize;
  rawLength: usize;
  /** A text's bytes, an array's values or an object's members, one behind the other; a boolean's 0 or 1. */
  at: usize;
  /** How many of them there are. */
  count: usize;
  kind: Kind;

  /** Returns the value null. */
  static nothing(): Value {
    return make(Kind.NULL, 0, 0);
  }

  static bool(value: bool): Value {
    return make(Kind.BOOLEAN, <usize>value, 0);
  }

  static integer(value: i64): Value {
    const digits = encode(value.toString());
    return readNumber(digits.at, digits.length);
  }

  static text(value: string): Value {
    const bytes = encode(value);
    return make(Kind.TEXT, bytes.at, bytes.length);
  }

  /** Returns an empty array, for `push` to fill. */
  static array(): Value {
    return make(Kind.ARRAY, 0, 0);
  }

  /** Returns an empty object, for `set` to fill. */
  static object(): Value {
    return make(Kind.OBJECT, 0, 0);
  }

  isNull(): bool {
    return this.kind == Kind.NULL;
  }

  isBool(): bool {
    return this.kind == Kind.BOOLEAN;
  }

  isNumber(): bool {
    return this.kind == Kind.NUMBER;
  }

  /** Whether this is a number without a fraction, however it is written (1, 1.0, 10e-1), that fits 64 bits. */
  isInteger(): bool {
    return this.kind == Kind.NUMBER && isWhole(this.raw, this.raw + this.rawLength);
  }

  isText(): bool {
    return this.kind == Kind.TEXT || this.kind == Kind.ESCAPED;
  }

  isArray(): bool {
    return this.kind == Kind.ARRAY;
  }

  isObject(): bool {
    return this.kind == Kind.OBJECT;
  }

  /** Returns a boolean's value; false where this is none. */
  asBool(): bool {
    return this.kind == Kind.BOOLEAN && this.at != 0;
  }

  /** Returns an integer's value; 0 where this is none. */
  asInteger(): i64 {
    return this.isInteger() ? whole : 0;
  }

  /** Returns a number's JSON text, with every digit it came with; empty where this is none. */
  asNumber(): string {
    return this.kind == Kind.NUMBER ? decode(this.raw, this.rawLength) : "";
  }

  /** Returns a number's value; NaN where this is none. */
  asFloat(): f64 {
    return this.kind == Kind.NUMBER ? parseFloat(decode(this.raw, this.rawLength)) : NaN;
  }

  /** Returns a string's text; empty where this is none. */
  asText(): string {
    const text = this.utf8();
    return decode(text.at, text.length);
  }

  /** Returns a string's text as it lies in memory, which costs less; empty where this is none. */
  utf8(): Text {
    if (this.kind == Kind.TEXT) return textAt(this.at, this.count);
    if (this.kind == Kind.ESCAPED) return unescape(this.raw + 1, this.rawLength - 2);
    return textAt(0, 0);
  }

  /** Whether this is a string of that text. */
  is(text: string): bool {
    if (!this.isText()) return false;
    const mine = this.utf8();
    const other = encode(text);
    return same(mine.at, mine.length, other.at, other.length);
  }

  /** Returns how many values an array has, or members an object; 0 for the others. */
  get length(): i32 {
    return this.kind >= Kind.ARRAY ? <i32>this.count : 0;
  }

  /** Returns an array's value, or that of an object's member, of an index from 0 to `length` - 1. */
  item(index: i32): Value {
    if (<u32>index >= <u32>this.length) return Value.nothing();
    if (this.kind == Kind.ARRAY) return changetype<Value>(this.at + <usize>index * offsetof<Value>());
    return this.member(index).value();
  }

  /** Returns the name of an object's member of an index from 0 to `length` - 1. */
  name(index: i32): string {
    if (this.kind != Kind.OBJECT || <u32>index >= <u32>this.length) return "";
    const member = this.member(index);
    return decode(member.name, member.nameLength);
  }

  private member(index: i32): Member {
    return changetype<Member>(this.at + <usize>index * SLOT);
  }

  /** Returns the member of that name, or null; also where this is no object. */
  get(name: string): Value | null {
    if (this.kind != Kind.OBJECT) return null;
    const wanted = encode(name);
    for (let i = 0; i < this.length; i++) {
      const member = this.member(i);
      if (same(member.name, member.nameLength, wanted.at, wanted.length)) return member.value();
    }
    return null;
  }

  /** Appends to an array that was made by `Value.array`, and returns it. */
  push(value: Value): Value {
    if (this.kind != Kind.ARRAY || this.rawLength != 0) return this;
    this.grow(offsetof<Value>());
    memory.copy(this.at + this.count * offsetof<Value>(), changetype<usize>(value), offsetof<Value>());
    this.count++;
    return this;
  }

  /** Appends a member, whose name must be new, to an object that was made by `Value.object`, and returns it. */
  set(name: string, value: Value): Value {
    if (this.kind != Kind.OBJECT || this.rawLength != 0) return this;
    this.grow(SLOT);
    const member = this.member(<i32>this.count);
    const bytes = encode(name);
    member.name = bytes.at;
    member.nameLength = bytes.length;
    memory.copy(changetype<usize>(member.value()), changetype<usize>(value), offsetof<Value>());
    this.count++;
    return this;
  }

  /** Makes room for one more: at each power of two there is room for as many again. */
  private grow(slot: usize): void {
    const count = this.count;
    if (count != 0 && (count & (count - 1)) != 0) return;
    const moved = room(max<usize>(2 * count, 1) * slot);
    memory.copy(moved, this.at, count * slot);
    this.at = moved;
  }

  /** Refuses members whose names are not listed. */
  expect(names: string[]): void {
    for (let i = 0; i < this.length; i++) {
      if (!names.includes(this.name(i))) {
        return invalid("an unknown field; the known ones: " + names.join(", "));
      }
    }
  }

  /** Returns the member of that name; without it the run is refused. */
  require(name: string): Value {
    const found = this.get(name);
    if (found !== null) return found;
    invalid(name + ": missing");
    return Value.nothing();
  }

  /** Returns a string as the value it is, so that it can be passed on unchanged, or null where it is not given. */
  string(name: string): Value | null {
    const found = this.get(name);
    if (found !== null && !found.isText()) invalid(name + ": a string is needed");
    return found;
  }

  requireString(name: string): Value {
    const found = this.string(name);
    if (found !== null) return found;
    invalid(name + ": missing");
    return Value.text("");
  }

  requireArray(name: string): Value {
    const found = this.require(name);
    if (!found.isArray()) invalid(name + ": an array is needed");
    return found;
  }

  /** Returns an array of `least` to `most` strings as the value it is, or null where it is not given. */
  strings(name: string, least: i32, most: i32): Value | null {
    const found = this.get(name);
    if (found === null) return null;
    let ok = found.isArray();
    for (let i = 0; ok && i < found.length; i++) ok = found.item(i).isText();
    if (!ok) invalid(name + ": an array of strings is needed");
    else if (found.length < least || found.length > most) invalid(name + ": too few or too many");
    return found;
  }

  /** Returns which of `words` a string is; the first where it is not given. */
  word(name: string, words: string[]): string {
    const given = this.string(name);
    if (given === null) return words[0];
    for (let i = 0; i < words.length; i++) {
      if (given.is(words[i])) return words[i];
    }
    invalid(name + ": one of these is needed: " + words.join(", "));
    return words[0];
  }

  /** Returns an integer within bounds, both included; `absent` where it is not given. */
  integer(name: string, least: i64, most: i64, absent: i64): i64 {
    const found = this.get(name);
    if (found === null) return absent;
    if (!found.isInteger()) invalid(name + ": an integer is needed");
    else if (whole < least || whole > most) invalid(name + ": out of range");
    else return whole;
    return absent;
  }

  boolean(name: string, absent: bool): bool {
    const found = this.get(name);
    if (found === null) return absent;
    if (!found.isBool()) invalid(name + ": true or false is needed");
    return found.asBool();
  }
}

/** A member of an object: its name, and its value right behind. */
@unmanaged
export class Member {
  name: usize;
  nameLength: usize;

  value(): Value {
    return changetype<Value>(changetype<usize>(this) + offsetof<Member>());
  }
}

/** The bytes of a member with its value. */
// @ts-ignore: decorator
@inline
export const SLOT: usize = offsetof<Member>() + offsetof<Value>();

/** Returns a value that a hook makes. */
export function make(kind: Kind, at: usize, count: usize): Value {
  const value = changetype<Value>(room(offsetof<Value>()));
  fill(value, kind, 0, 0, at, count);
  return value;
}

export function fill(value: Value, kind: Kind, raw: usize, rawLength: usize, at: usize, count: usize): void {
  value.raw = raw;
  value.rawLength = rawLength;
  value.at = at;
  value.count = count;
  value.kind = kind;
}

function readNumber(at: usize, length: usize): Value {
  const value = make(Kind.NUMBER, 0, 0);
  value.raw = at;
  value.rawLength = length;
  return value;
}

/** Returns a member of an effect's outcome, or of the document, which must be there. */
export function member(outcome: Value, name: string): Value {
  const found = outcome.get(name);
  if (found !== null) return found;
  malformed(name + ": missing");
  return Value.nothing();
}
