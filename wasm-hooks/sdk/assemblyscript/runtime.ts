/**
 * The memory of one run: a bump allocator over linear memory, as the compiler's runtime.
 *
 * Only what was allocated last is ever given back: a run is one call, and the host throws the instance away after it.
 * Where there is no memory left the run traps with its memory full, which the host reports as its memory limit.
 */

const PAGE_BYTES: u64 = 65536;
const ADDRESS_MAX: u64 = 0x7fffffff;
/** Before each block: its length. Blocks are aligned to 16 bytes, as the compiler's objects have to be. */
const HEAD_BYTES: usize = 4;
/** Before each object, within its block: what the compiler's layout keeps there. Only the last two are used. */
const OBJECT_BYTES: usize = 16;

// @ts-ignore: decorator
@lazy let next: usize = 0;

/** Returns the address of `length` bytes, or 0 where there are none. */
// @ts-ignore: decorator
@global @unsafe
function __room(length: usize): usize {
  const free = next == 0 ? __heap_base : next;
  const start = ((free + HEAD_BYTES + 15) & ~15);
  if (!reserve(start, length)) return 0;
  store<u32>(start - HEAD_BYTES, <u32>length);
  next = start + length;
  return start;
}

/** Returns the address of `length` bytes without a head, aligned to 4; traps where there are none. */
// @ts-ignore: decorator
@global @unsafe
function __cell(length: usize): usize {
  const start = ((next == 0 ? __heap_base : next) + 3) & ~3;
  if (!reserve(start, length)) unreachable();
  next = start + length;
  return start;
}

/** Whether the `length` bytes at `start` lie in the memory that the host has given so far. */
// @ts-ignore: decorator
@global @unsafe
function __holds(start: usize, length: usize): bool {
  return <u64>start + <u64>length <= <u64>memory.size() * PAGE_BYTES;
}

function reserve(start: usize, length: usize): bool {
  const end = <u64>start + <u64>length;
  const have = <u64>memory.size() * PAGE_BYTES;
  return end <= have || grow(end, have);
}

function grow(end: u64, have: u64): bool {
  if (end > ADDRESS_MAX) return false;
  const pages = <i32>((end - have + PAGE_BYTES - 1) / PAGE_BYTES);
  if (memory.grow(pages) >= 0) return true;
  // Take what is left up to the limit: the host tells a run that hit its memory limit by its memory's size.
  // Less than `pages` is left, so each power of two below it is tried once.
  for (let rest = 1 << (31 - clz(pages)); rest > 0; rest >>= 1) memory.grow(rest);
  return false;
}

// @ts-ignore: decorator
@global @unsafe
function __alloc(length: usize): usize {
  const start = __room(length);
  if (start == 0) unreachable();
  return start;
}

// @ts-ignore: decorator
@global @unsafe
function __realloc(block: usize, length: usize): usize {
  const old = <usize>load<u32>(block - HEAD_BYTES);
  if (length <= old) return block;
  if (block + old == next) {
    if (!reserve(block, length)) unreachable();
    store<u32>(block - HEAD_BYTES, <u32>length);
    next = block + length;
    return block;
  }
  const moved = __alloc(max(length, old << 1));
  memory.copy(moved, block, old);
  return moved;
}

// @ts-ignore: decorator
@global @unsafe
function __free(block: usize): void {
  if (block + <usize>load<u32>(block - HEAD_BYTES) == next) next = block;
}

// @ts-ignore: decorator
@global @unsafe
function __new(length: usize, id: u32): usize {
  const object = __alloc(OBJECT_BYTES + length) + OBJECT_BYTES;
  store<u32>(object - 8, id);
  store<u32>(object - 4, <u32>length);
  return object;
}

// @ts-ignore: decorator
@global @unsafe
function __renew(object: usize, length: usize): usize {
  const moved = __realloc(object - OBJECT_BYTES, OBJECT_BYTES + length) + OBJECT_BYTES;
  store<u32>(moved - 4, <u32>length);
  return moved;
}

// @ts-ignore: decorator
@global @unsafe
function __link(parent: usize, child: usize, many: bool): void {}

// @ts-ignore: decorator
@global @unsafe
function __pin(object: usize): usize {
  return object;
}

// @ts-ignore: decorator
@global @unsafe
function __unpin(object: usize): void {}

// @ts-ignore: decorator
@global @unsafe
function __visit(object: usize, cookie: u32): void {}

// @ts-ignore: decorator
@global @unsafe
function __collect(): void {}
