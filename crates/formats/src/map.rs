//! Model files mapped read-only.
//!
//! The one place of this crate with `unsafe`. A mapping is only as sound as the file is still: whoever shortens a mapped
//! file makes the kernel raise SIGBUS at the next touch. The handler installed here turns that into one line that names
//! the file, and exit code 2, in place of a bare crash.
//!
//! ```
//! use twinpath_formats::{map::Bytes, Fault};
//! let folder = tempfile::tempdir()?;
//! let error = Bytes::map(folder.path()).err().expect("a folder is no file");
//! assert!(matches!(error.fault, Fault::NotAFile { what: "folder" }));
//! # Ok::<(), std::io::Error>(())
//! ```
#![allow(unsafe_code, reason = "mapping a file and handling SIGBUS need it; everything else of the crate is safe")]

use std::fs::{FileType, OpenOptions};
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::error::{Fault, FormatError, io};

/// Mappings that can be alive at once.
pub const MAX_MAPPED: usize = 1024;

/// The bytes of a file: mapped, or owned.
#[derive(Clone)]
pub struct Bytes(Backing);

#[derive(Clone)]
enum Backing {
    Mapped(Arc<Mapping>),
    Owned(Arc<[u8]>),
}

struct Mapping {
    /// Dropped before `map`, so that the handler never claims an address that is no longer ours.
    _slot: shrink::Slot,
    map: Mmap,
}

impl Bytes {
    /// Maps a regular file.
    ///
    /// # Errors
    /// When it cannot be opened, is no regular file, is empty, or too many files are mapped.
    pub fn map(path: &Path) -> Result<Bytes, FormatError> {
        let mut options = OpenOptions::new();
        options.read(true);
        // A FIFO without a writer must be refused, not waited for.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        let file = options.open(path).map_err(io(path, "open"))?;
        let metadata = file.metadata().map_err(io(path, "read its attributes"))?;
        if !metadata.is_file() {
            return Err(Fault::NotAFile { what: name_of(metadata.file_type()) }.at(path));
        }
        if metadata.len() == 0 {
            return Err(Fault::Empty.at(path));
        }
        // SAFETY: the mapping is private and read-only. The bytes can still change if another process writes the
        // file; all readers treat them as plain numbers and check ranges against the length fixed here, so a change
        // gives wrong values, not wrong accesses. A shortened file raises SIGBUS, handled below.
        let map = unsafe { Mmap::map(&file) }.map_err(io(path, "map"))?;
        let slot = shrink::Slot::claim(path, &map).ok_or_else(|| Fault::TooManyMapped { cap: MAX_MAPPED }.at(path))?;
        Ok(Bytes(Backing::Mapped(Arc::new(Mapping { _slot: slot, map }))))
    }
}

impl Bytes {
    /// Takes a part of a mapped file out of this process's memory, where the system can: what is read of it again comes from
    /// the file. Bytes that are not of this mapping are left alone.
    pub fn let_go(&self, part: &[u8]) {
        #[cfg(unix)]
        if let Backing::Mapped(mapping) = &self.0
            && self.holds(part)
        {
            let offset = part.as_ptr().addr() - self.as_ptr().addr();
            // SAFETY: the mapping is read-only and of a file, so that its pages hold what the file holds whenever they are
            // brought back. Advice that is not taken changes nothing.
            drop(unsafe { mapping.map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, part.len()) });
        }
        #[cfg(not(unix))]
        let _ = part;
    }

    /// Whether a part is of these bytes.
    pub fn holds(&self, part: &[u8]) -> bool {
        let (all, of) = (self.as_ptr_range(), part.as_ptr_range());
        all.start <= of.start && of.end <= all.end
    }
}

impl From<Arc<[u8]>> for Bytes {
    fn from(bytes: Arc<[u8]>) -> Bytes {
        Bytes(Backing::Owned(bytes))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Backing::Owned(bytes.into()))
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(Backing::Owned(bytes.into()))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Backing::Mapped(mapping) => &mapping.map,
            Backing::Owned(bytes) => bytes,
        }
    }
}

/// What a path that is no regular file is.
pub(crate) fn name_of(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "FIFO";
        }
        if kind.is_socket() {
            return "socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "device";
        }
    }
    if kind.is_dir() { "folder" } else { "special file" }
}

/// The SIGBUS handler and the table of mappings it reads.
#[cfg(unix)]
mod shrink {
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::sync::Once;
    use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

    /// Bytes of a path that the message shows: the last ones.
    const NAME: usize = 256;
    /// What follows the name.
    const TAIL: &[u8] = b": file shrank while mapped; do not change model files in use\n";
    /// `start` of a free entry.
    const FREE: usize = 0;
    /// `start` of an entry being written.
    const CLAIMED: usize = usize::MAX;

    /// One mapping, in atomics: the handler may run at any instant on any thread and may take no lock.
    struct Entry {
        start: AtomicUsize,
        len: AtomicUsize,
        name_len: AtomicUsize,
        name: [AtomicU8; NAME],
    }

    static TABLE: [Entry; super::MAX_MAPPED] = [const {
        Entry {
            start: AtomicUsize::new(FREE),
            len: AtomicUsize::new(0),
            name_len: AtomicUsize::new(0),
            name: [const { AtomicU8::new(0) }; NAME],
        }
    }; super::MAX_MAPPED];

    /// An entry of the table, freed on drop.
    pub(super) struct Slot(&'static Entry);

    impl Slot {
        /// Enters a mapping and makes sure that the handler is there. `None` when the table is full.
        pub(super) fn claim(path: &Path, bytes: &[u8]) -> Option<Slot> {
            static INSTALL: Once = Once::new();
            INSTALL.call_once(install);
            let entry = TABLE
                .iter()
                .find(|e| e.start.compare_exchange(FREE, CLAIMED, Ordering::AcqRel, Ordering::Relaxed).is_ok())?;
            let name = path.as_os_str().as_bytes();
            let shown = &name[name.len().saturating_sub(NAME)..];
            for (place, byte) in entry.name.iter().zip(shown) {
                place.store(*byte, Ordering::Relaxed);
            }
            entry.name_len.store(shown.len(), Ordering::Relaxed);
            entry.len.store(bytes.len(), Ordering::Relaxed);
            entry.start.store(bytes.as_ptr().addr(), Ordering::Release);
            Some(Slot(entry))
        }
    }

    impl Drop for Slot {
        fn drop(&mut self) {
            self.0.start.store(FREE, Ordering::Release);
        }
    }

    fn install() {
        // SAFETY: `action` is a valid `sigaction` (all-zero is one), its handler has the signature that SA_SIGINFO
        // asks for, and the handler calls async-signal-safe functions only.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_sigbus as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    }

    extern "C" fn on_sigbus(_signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
        // SAFETY: the kernel hands a handler installed with SA_SIGINFO a valid `info`, and SIGBUS fills `si_addr`.
        let address = unsafe { (*info).si_addr() }.addr();
        for entry in &TABLE {
            let start = entry.start.load(Ordering::Acquire);
            let ours = start != FREE && start != CLAIMED && address >= start;
            if !ours || address - start >= entry.len.load(Ordering::Relaxed) {
                continue;
            }
            let mut line = [0u8; NAME + TAIL.len()];
            let n = entry.name_len.load(Ordering::Relaxed).min(NAME);
            for (to, from) in line[..n].iter_mut().zip(&entry.name) {
                *to = from.load(Ordering::Relaxed);
            }
            line[n..n + TAIL.len()].copy_from_slice(TAIL);
            // SAFETY: `line` is valid for `n + TAIL.len()` bytes; write and _exit are async-signal-safe (POSIX).
            unsafe {
                libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), n + TAIL.len());
                libc::_exit(2);
            }
        }
        // Not a model file: the default action, which the return to the faulting instruction raises again.
        // SAFETY: `signal` with SIG_DFL is async-signal-safe (POSIX).
        unsafe {
            libc::signal(libc::SIGBUS, libc::SIG_DFL);
        }
    }
}

/// Where there are no signals there is nothing to enter.
#[cfg(not(unix))]
mod shrink {
    use std::path::Path;

    pub(super) struct Slot;

    impl Slot {
        pub(super) fn claim(_path: &Path, _bytes: &[u8]) -> Option<Slot> {
            Some(Slot)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_let_go_is_read_again_from_the_file_and_owned_bytes_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bytes");
        let content: Vec<u8> = (0..100_000u32).map(|i| (i * 7) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        for bytes in [Bytes::map(&path).unwrap(), Bytes::from(content.clone())] {
            let other = vec![3; 10];
            bytes.let_go(&bytes[5000..90_001]);
            bytes.let_go(&other);
            assert!(bytes.holds(&bytes[99_999..]) && !bytes.holds(&other));
            assert_eq!((&bytes[..], &other[..]), (&content[..], &[3; 10][..]));
        }
    }
}
