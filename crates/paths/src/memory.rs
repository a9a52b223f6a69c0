//! What becomes of memory when a value is dropped.

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
