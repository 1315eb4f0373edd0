/**
 * Reads JSON strictly: RFC 8259, valid UTF-8, no duplicate names, no lone surrogates, numbers in range, bounded depth.
 *
 * There is no recursion, so the depth of a document costs no stack.
 */

import { encode, room, same } from "./bytes";
import { acceptable } from "./numbers";
import { escapeLength, plainPrefix, sequence, unescape } from "./strings";
import { fill, Kind, Member, SLOT, Value } from "./value";

/** Nesting of an input document: parameters and journal hold whole values, each nested up to `TEXT_DEPTH_MAX`. */
export const DOCUMENT_DEPTH_MAX: usize = 128;

/** Nesting of JSON that arrives as text in a string; the engine accepts no more in a document. */
export const TEXT_DEPTH_MAX: usize = 64;

/** Below this many members a plain comparison of all pairs is cheaper than an index. */
const FEW: usize = 8;

/**
 * Returns the one JSON value that a text holds, or null where it is not strict JSON, or nested more than 64 deep.
 */
export function parse(text: string): Value | null {
  const bytes = encode(text);
  return parseAt(bytes.at, bytes.length, TEXT_DEPTH_MAX);
}

/** Returns the one value of the bytes at `at`, nested at most `depthMax` deep, or null. */
export function parseAt(at: usize, length: usize, depthMax: usize): Value | null {
  return new Parser(at, at + length, depthMax).run();
}

/** An open array or object: the index of its first member, where it starts, and the byte that closes it. */
@unmanaged
class Frame {
  first: usize;
  start: usize;
  closer: u32;
}

class Parser {
  private frames: usize;
  private depth: usize = 0;
  /** The members of all open values, outermost first; the last one waits for the value that is read next. */
  private pending: usize;
  private pendingCount: usize = 1;
  private pendingMax: usize = 16;

  constructor(
    private at: usize,
    private end: usize,
    private depthMax: usize,
  ) {
    this.frames = room(depthMax * offsetof<Frame>());
    this.pending = room(this.pendingMax * SLOT);
  }

  run(): Value | null {
    this.space();
    while (true) {
      const first = this.byte();
      if (first == 0x7b || first == 0x5b) {
        if (!this.open(first)) return null;
        this.at++;
        this.space();
        if (this.byte() != this.frame().closer) {
          if (!this.member()) return null;
          continue;
        }
        if (!this.close()) return null;
      } else if (!this.scalar(first)) return null;
      while (true) {
        // a value ended before `at`
        this.space();
        if (this.depth == 0) return this.at == this.end ? this.waiting() : null;
        const byte = this.byte();
        if (byte == 0x2c) {
          this.at++;
          this.space();
          if (!this.member()) return null;
          break;
        }
        if (byte != this.frame().closer || !this.close()) return null;
      }
    }
  }

  private frame(): Frame {
    return changetype<Frame>(this.frames + (this.depth - 1) * offsetof<Frame>());
  }

  private slot(index: usize): Member {
    return changetype<Member>(this.pending + index * SLOT);
  }

  private waiting(): Value {
    return this.slot(this.pendingCount - 1).value();
  }

  /** Opens the value whose first byte is at `at`. */
  private open(first: u32): bool {
    if (this.depth == this.depthMax) return false;
    this.depth++;
    const frame = this.frame();
    frame.first = this.pendingCount;
    frame.start = this.at;
    frame.closer = first + 2; // ASCII: [ \ ] and { | }
    return true;
  }

  /** Makes room for a member of the innermost value; in an object, reads its name. */
  private member(): bool {
    if (this.pendingCount == this.pendingMax) {
      const moved = room(2 * this.pendingMax * SLOT);
      memory.copy(moved, this.pending, this.pendingMax * SLOT);
      this.pending = moved;
      this.pendingMax *= 2;
    }
    const slot = this.slot(this.pendingCount++);
    if (this.frame().closer == 0x5d) return true;
    if (this.byte() != 0x22 || !this.string()) return false;
    const name = slot.value();
    if (name.kind == Kind.ESCAPED) {
      const text = unescape(name.raw + 1, name.rawLength - 2);
      slot.name = text.at;
      slot.nameLength = text.length;
    } else {
      slot.name = name.at;
      slot.nameLength = name.count;
    }
    this.space();
    if (this.byte() != 0x3a) return false;
    this.at++;
    this.space();
    return true;
  }

  /** Closes the innermost value, whose last byte is at `at`. */
  private close(): bool {
    const frame = this.frame();
    this.depth--;
    this.at++;
    const count = this.pendingCount - frame.first;
    const members = this.pending + frame.first * SLOT;
    const isObject = frame.closer == 0x7d;
    const kept = room(count * (isObject ? SLOT : offsetof<Value>()));
    if (isObject) {
      memory.copy(kept, members, count * SLOT);
      if (!distinct(kept, count)) return false;
    } else {
      for (let i: usize = 0; i < count; i++) {
        const from = members + i * SLOT + offsetof<Member>();
        memory.copy(kept + i * offsetof<Value>(), from, offsetof<Value>());
      }
    }
    this.pendingCount = frame.first;
    const kind = isObject ? Kind.OBJECT : Kind.ARRAY;
    fill(this.waiting(), kind, frame.start, this.at - frame.start, kept, count);
    return true;
  }

  /** Reads a value without members. */
  private scalar(first: u32): bool {
    if (first == 0x22) return this.string();
    if (first == 0x74) return this.literal("true", Kind.BOOLEAN, 1);
    if (first == 0x66) return this.literal("false", Kind.BOOLEAN, 0);
    if (first == 0x6e) return this.literal("null", Kind.NULL, 0);
    const length = acceptable(this.at, this.end);
    if (length == 0) return false;
    fill(this.waiting(), Kind.NUMBER, this.at, length, 0, 0);
    this.at += length;
    return true;
  }

  private string(): bool {
    let escaped = false;
    let here = this.at + 1;
    while (here < this.end) {
      const byte = load<u8>(here);
      if (byte == 0x22) {
        const kind = escaped ? Kind.ESCAPED : Kind.TEXT;
        fill(this.waiting(), kind, this.at, here + 1 - this.at, this.at + 1, here - this.at - 1);
        this.at = here + 1;
        return true;
      }
      let length: usize = 0;
      if (byte == 0x5c) {
        escaped = true;
        length = escapeLength(here, this.end);
      } else if (byte >= 0x80) length = sequence(here, this.end);
      else length = plainPrefix(here, this.end);
      if (length == 0) return false;
      here += length;
    }
    return false;
  }

  private literal(word: string, kind: Kind, at: usize): bool {
    const length = <usize>word.length;
    if (this.end - this.at < length) return false;
    for (let i: usize = 0; i < length; i++) {
      if (load<u8>(this.at + i) != <u8>word.charCodeAt(<i32>i)) return false;
    }
    fill(this.waiting(), kind, this.at, length, at, 0);
    this.at += length;
    return true;
  }

  private space(): void {
    let here = this.at;
    while (here < this.end) {
      const byte = load<u8>(here);
      if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) break;
      here++;
    }
    this.at = here;
  }

  /** Returns the byte at `at`, or NUL at the end: outside of strings a NUL is malformed wherever it stands. */
  private byte(): u32 {
    return this.at < this.end ? load<u8>(this.at) : 0;
  }
}

/** Whether all names differ; large objects cost linear time. */
function distinct(members: usize, count: usize): bool {
  if (count > FEW) return isIndexed(members, count);
  for (let i: usize = 1; i < count; i++) {
    for (let j: usize = 0; j < i; j++) {
      if (sameName(members, i, j)) return false;
    }
  }
  return true;
}

function sameName(members: usize, i: usize, j: usize): bool {
  const a = changetype<Member>(members + i * SLOT);
  const b = changetype<Member>(members + j * SLOT);
  return same(a.name, a.nameLength, b.name, b.nameLength);
}

/** Puts every name into a hash table that is at most half full; whether all found a place of their own. */
function isIndexed(members: usize, count: usize): bool {
  let size: usize = 16;
  while (size < 2 * count) size *= 2;
  const table = room(size * 4);
  memory.fill(table, 0, size * 4);
  for (let i: usize = 0; i < count; i++) {
    const member = changetype<Member>(members + i * SLOT);
    let slot = <usize>hash(member.name, member.nameLength) & (size - 1);
    while (true) {
      const entry = load<u32>(table + slot * 4); // an index plus one, 0 is free
      if (entry == 0) break;
      if (sameName(members, i, <usize>(entry - 1))) return false;
      slot = (slot + 1) & (size - 1);
    }
    store<u32>(table + slot * 4, <u32>i + 1);
  }
  return true;
}

/** FNV-1a, folded. An input that makes names collide only spends its own fuel. */
function hash(at: usize, length: usize): u32 {
  let state: u32 = 0x811c9dc5;
  for (let i: usize = 0; i < length; i++) state = (state ^ load<u8>(at + i)) * 0x01000193;
  return state ^ (state >> 15);
}
