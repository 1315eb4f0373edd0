/** Writes JSON: values that were read as the bytes they were read from, values that were made by serialising them. */

import { room, Text, textAt } from "./bytes";
import { refuse } from "./failure";
import { escape, escapedMax } from "./strings";
import { Kind, Member, SLOT, Value } from "./value";

/** A made value nested deeper is refused; the host accepts no more either. */
const DEPTH_MAX: i32 = 128;

/** Returns a value's JSON text; a value that is nested too deeply refuses the run. */
export function write(value: Value): Text {
  if (value.rawLength != 0) return textAt(value.raw, value.rawLength);
  const writer = new Writer();
  writer.write(value, 0);
  return textAt(writer.start, writer.length);
}

class Writer {
  start: usize = 0;
  length: usize = 0;
  private lengthMax: usize = 0;

  write(value: Value, depth: i32): void {
    if (value.rawLength != 0) return this.bytes(value.raw, value.rawLength);
    if (depth == DEPTH_MAX) return refuse("output.too_deep", "the output is nested too deeply");
    const kind = value.kind;
    if (kind == Kind.TEXT) this.text(value.at, value.count);
    else if (kind == Kind.BOOLEAN) this.word(value.asBool() ? "true" : "false");
    else if (kind == Kind.ARRAY) this.array(value, depth);
    else if (kind == Kind.OBJECT) this.object(value, depth);
    else this.word("null"); // numbers and escaped strings always have raw text
  }

  private array(value: Value, depth: i32): void {
    this.byte(0x5b);
    for (let i: usize = 0; i < value.count; i++) {
      if (i > 0) this.byte(0x2c);
      this.write(changetype<Value>(value.at + i * offsetof<Value>()), depth + 1);
    }
    this.byte(0x5d);
  }

  private object(value: Value, depth: i32): void {
    this.byte(0x7b);
    for (let i: usize = 0; i < value.count; i++) {
      if (i > 0) this.byte(0x2c);
      const member = changetype<Member>(value.at + i * SLOT);
      this.text(member.name, member.nameLength);
      this.byte(0x3a);
      this.write(member.value(), depth + 1);
    }
    this.byte(0x7d);
  }

  private text(at: usize, length: usize): void {
    this.reserve(escapedMax(length));
    this.length = escape(at, length, this.start + this.length) - this.start;
  }

  private word(word: string): void {
    for (let i = 0; i < word.length; i++) this.byte(<u8>word.charCodeAt(i));
  }

  private bytes(at: usize, length: usize): void {
    this.reserve(length);
    memory.copy(this.start + this.length, at, length);
    this.length += length;
  }

  private byte(byte: u8): void {
    this.reserve(1);
    store<u8>(this.start + this.length, byte);
    this.length++;
  }

  private reserve(more: usize): void {
    const wanted = this.length + more;
    if (wanted <= this.lengthMax) return;
    const lengthMax = max<usize>(max<usize>(2 * this.lengthMax, wanted), 256);
    const moved = room(lengthMax);
    memory.copy(moved, this.start, this.length);
    this.start = moved;
    this.lengthMax = lengthMax;
  }
}
