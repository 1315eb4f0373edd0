/** Bytes of linear memory: UTF-8 text as it came, or as it was made from a string. */

/** Returns the address of `length` bytes that last as long as the run. */
export function room(length: usize): usize {
  // @ts-ignore: of the runtime
  return __cell(length);
}

/** Text as UTF-8; `length` counts bytes. */
@unmanaged
export class Text {
  at: usize;
  length: usize;
}

/** Returns a text of the bytes at `at`. */
export function textAt(at: usize, length: usize): Text {
  const text = changetype<Text>(room(offsetof<Text>()));
  text.at = at;
  text.length = length;
  return text;
}

/** Returns a string as UTF-8; half of a surrogate pair becomes U+FFFD. */
export function encode(value: string): Text {
  const out = room(<usize>value.length * 3);
  let to = out;
  for (let i = 0; i < value.length; i++) {
    let point = <u32>value.charCodeAt(i);
    if ((point & 0xf800) == 0xd800) {
      const second = i + 1 < value.length ? <u32>value.charCodeAt(i + 1) : 0;
      if ((point & 0xfc00) == 0xd800 && (second & 0xfc00) == 0xdc00) {
        point = 0x10000 + ((point & 0x3ff) << 10) + (second & 0x3ff);
        i++;
      } else point = 0xfffd;
    }
    to += encodePoint(point, to);
  }
  return textAt(out, to - out);
}

/** Writes a code point as UTF-8, and returns how many bytes that took. */
export function encodePoint(point: u32, to: usize): usize {
  if (point < 0x80) {
    store<u8>(to, <u8>point);
    return 1;
  }
  if (point < 0x800) {
    store<u8>(to, <u8>(0xc0 | (point >> 6)));
    store<u8>(to, <u8>(0x80 | (point & 0x3f)), 1);
    return 2;
  }
  if (point < 0x10000) {
    store<u8>(to, <u8>(0xe0 | (point >> 12)));
    store<u8>(to, <u8>(0x80 | ((point >> 6) & 0x3f)), 1);
    store<u8>(to, <u8>(0x80 | (point & 0x3f)), 2);
    return 3;
  }
  store<u8>(to, <u8>(0xf0 | (point >> 18)));
  store<u8>(to, <u8>(0x80 | ((point >> 12) & 0x3f)), 1);
  store<u8>(to, <u8>(0x80 | ((point >> 6) & 0x3f)), 2);
  store<u8>(to, <u8>(0x80 | (point & 0x3f)), 3);
  return 4;
}

/** Returns UTF-8 that was checked as a string. */
export function decode(at: usize, length: usize): string {
  return String.UTF8.decodeUnsafe(at, length);
}

/** Whether two texts are the same bytes. */
export function same(a: usize, aLength: usize, b: usize, bLength: usize): bool {
  return aLength == bLength && memory.compare(a, b, aLength) == 0;
}
