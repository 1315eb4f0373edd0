//! The memory of one run: a bump allocator over linear memory.
//!
//! Only what was allocated last is ever given back: a run is one call, and the host throws the instance away after it.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::{memory_grow, memory_size};
use std::ptr;

const PAGE_BYTES: usize = 64 * 1024;
const ADDRESS_MAX: u64 = 0x7fff_ffff;

extern "C" {
    /// Set by the linker: the first byte after the stack and the module's data.
    static __heap_base: u8;
}

struct Bump;

#[global_allocator]
static BUMP: Bump = Bump;

/// The first free byte; 0 until the first allocation. There is one thread.
static mut NEXT: usize = 0;

// Sound because a module has one thread, and every block lies between the one before it and `NEXT`.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let free = if NEXT == 0 { ptr::addr_of!(__heap_base) as usize } else { NEXT };
        let start = (free + layout.align() - 1) & !(layout.align() - 1);
        if !reserve(start, layout.size()) {
            return ptr::null_mut();
        }
        NEXT = start + layout.size();
        start as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block as usize + layout.size() == NEXT {
            NEXT = block as usize;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if block as usize + layout.size() == NEXT {
            if !reserve(block as usize, size) {
                return ptr::null_mut();
            }
            NEXT = block as usize + size;
            return block;
        }
        let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
        }
        moved
    }
}

/// Returns the address of `length` bytes, or 0 where there are none.
pub fn room(length: u32) -> u32 {
    match Layout::from_size_align(length as usize, 8) {
        Ok(layout) => unsafe { BUMP.alloc(layout) as u32 },
        Err(_) => 0,
    }
}

/// Whether the `length` bytes at `start` lie in the memory that the host has given so far.
pub fn holds(start: u32, length: u32) -> bool {
    u64::from(start) + u64::from(length) <= (memory_size(0) * PAGE_BYTES) as u64
}

fn reserve(start: usize, length: usize) -> bool {
    let end = start as u64 + length as u64;
    let have = (memory_size(0) * PAGE_BYTES) as u64;
    end <= have || grow(end, have)
}

#[inline(never)]
fn grow(end: u64, have: u64) -> bool {
    if end > ADDRESS_MAX {
        return false;
    }
    let pages = (end - have + PAGE_BYTES as u64 - 1) as usize / PAGE_BYTES;
    if memory_grow(0, pages) != usize::MAX {
        return true;
    }
    // Take what is left up to the limit: the host tells a run that hit its memory limit by its memory's size.
    // Less than `pages` is left, so each power of two below it is tried once.
    let mut rest = 1 << (usize::BITS - 1 - pages.leading_zeros());
    while rest > 0 {
        memory_grow(0, rest);
        rest /= 2;
    }
    false
}
