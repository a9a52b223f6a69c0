//! Where values begin in memory, and what becomes of it when they are dropped.

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of a line of the cache.
const LINE: usize = 64;
/// From this many bytes on values begin with a line.
const LARGE: usize = 4096;

/// The system's allocator, but that large values begin where a line of the cache does: who reads or writes 64 bytes of them at a
/// time meets one line, not parts of two, and can write a whole line past the caches.
pub struct OnLines;

/// What the system is asked for.
fn asked(layout: Layout) -> Layout {
    if layout.size() < LARGE { layout } else { layout.align_to(LINE).unwrap_or(layout) }
}

// SAFETY: what the system gives for a layout of the same size and no smaller alignment serves as well, and it is given back by
// the layout with which it was asked for, which depends on nothing else.
unsafe impl GlobalAlloc for OnLines {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's; the size is the same.
        unsafe { System.alloc(asked(layout)) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's; the size is the same.
        unsafe { System.alloc_zeroed(asked(layout)) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's; it was asked for with this layout.
        unsafe { System.dealloc(at, asked(layout)) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size().max(size) < LARGE {
            // SAFETY: the caller's; both are as the system is asked.
            return unsafe { System.realloc(at, layout, size) };
        }
        // SAFETY: the caller's: with this alignment the size is one of a layout; as many bytes as both have are copied to where
        // no other value is.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(at, new, layout.size().min(size));
                self.dealloc(at, layout);
            }
            new
        }
    }
}

/// The largest threshold from which glibc's allocator maps each value by itself: half of one of its heaps.
const MAPPED_ALONE: i32 = 32 << 20;
/// Free memory at the end of a heap that it keeps.
const KEPT: i32 = 1 << 30;

/// Asks glibc's allocator to keep what is freed for the next value, where it would give it back to the system, which has to
/// clear each page of the next one again: a forward pass drops and makes tensors of the same sizes layer after layer. All
/// threads share one heap, because the others are of 64 MiB and given back as soon as they are empty. Other allocators are
/// left as they are.
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (what, number) in
        [(libc::M_MMAP_THRESHOLD, MAPPED_ALONE), (libc::M_TRIM_THRESHOLD, KEPT), (libc::M_ARENA_MAX, 1)]
    {
        // SAFETY: `mallopt` sets a number of the allocator under its own lock; a number that it refuses changes nothing.
        unsafe { libc::mallopt(what, number) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_begin_with_a_line_and_keep_their_bytes_as_they_grow_and_shrink() {
        for align in [1, 4, 64, 128] {
            for sizes in [[1, 100, 4095], [4095, 4096, 100], [5000, 1 << 20, 4097], [1 << 20, 10, 1 << 21]] {
                let layout = |size| Layout::from_size_align(size, align).unwrap();
                // SAFETY: layouts of some bytes; each value is read inside them, and given back as it was asked for.
                unsafe {
                    let mut at = OnLines.alloc_zeroed(layout(sizes[0]));
                    assert!((0..sizes[0]).all(|i| at.add(i).read() == 0));
                    (0..sizes[0]).for_each(|i| at.add(i).write(i as u8));
                    let mut kept = sizes[0];
                    for pair in sizes.windows(2) {
                        at = OnLines.realloc(at, layout(pair[0]), pair[1]);
                        kept = kept.min(pair[1]);
                        assert!((0..kept).all(|i| at.add(i).read() == i as u8), "{align} {sizes:?}");
                        assert!(pair[1] < LARGE || at.addr().is_multiple_of(align.max(LINE)), "{align} {sizes:?}");
                    }
                    OnLines.dealloc(at, layout(sizes[2]));
                }
            }
        }
    }
}
