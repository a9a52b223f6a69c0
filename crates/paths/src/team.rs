//! Sharing out one op's independent parts, at a cost of about a microsecond.
//!
//! A decoded token is some two hundred products of a matrix and a vector, each of tens to hundreds of microseconds. Handing
//! one to a pool whose threads sleep in between costs as much again. Here the helpers look for the next op for a while
//! before they sleep, and a helper that has not come by the time the parts are gone is not waited for.
//!
//! There are as many threads as the current [`rayon`] pool has. One op at a time has the helpers; another that comes
//! meanwhile, from another thread, does its parts alone. Who does which part changes no bit: parts are whole outputs.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};
use std::{hint, ptr, thread};

/// How long a helper looks for work before it sleeps; by the clock, because processors differ in how long a look takes.
const LOOKING: Duration = Duration::from_micros(100);
/// Looks between two at the clock.
const LOOKS: u32 = 100;
/// Looks at helpers that are not done before the processor is offered to others: they may be waiting for it.
const PATIENCE: u32 = 200;

/// Set in the gate while no op may be entered.
const CLOSED: u64 = 1 << 15;
/// The helpers inside, in the gate's low bits.
const INSIDE: u64 = CLOSED - 1;
/// What the gate's number of the op counts in.
const OP: u64 = 1 << 16;

/// What is done with each part.
pub type Part<'a> = &'a (dyn Fn(usize) + Sync);

/// A value on lines of the cache that hold nothing else; two, because processors fetch them in pairs. A line that two threads
/// write travels between them each time: on Zen 4 for 0.03 to 0.1 microseconds, and 0.2 to 0.3 where they share no cache.
#[repr(align(128))]
struct Apart<T>(T);

/// What a leader and helpers have in common.
struct Shared {
    door: Apart<Door>,
    /// What a helper panicked with.
    panic: Apart<Mutex<Option<Box<dyn Any + Send>>>>,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// Where helpers enter an op.
struct Door {
    /// The number of the op, whether it may be entered, and how many helpers are inside.
    gate: AtomicU64,
    /// The op: valid from before the gate opens until it is closed and nobody is inside.
    op: AtomicPtr<Op<'static>>,
}

/// The op whose parts are being shared out.
struct Op<'a> {
    part: Part<'a>,
    parts: usize,
    /// One for each thread that takes part: the leader's, then those of the helpers in their order.
    shares: &'a [Share],
}

/// How many parts of a thread's share have been taken. Shares are successive parts, so that each thread reads one stretch of
/// memory; whoever is done with its own goes on with the others'. Zero between ops.
type Share = Apart<AtomicUsize>;

static SHARED: Shared = Shared {
    door: Apart(Door { gate: AtomicU64::new(CLOSED), op: AtomicPtr::new(ptr::null_mut()) }),
    panic: Apart(Mutex::new(None)),
    sleepers: AtomicUsize::new(0),
    sleep: Mutex::new(()),
    wake: Condvar::new(),
};

/// Held by the thread whose op has the helpers: its share, and those of the helpers that exist.
static LEADER: Mutex<Vec<Share>> = Mutex::new(Vec::new());

/// The helpers, unless another op has them. A leader that panicked has waited for them.
fn try_lead() -> Option<MutexGuard<'static, Vec<Share>>> {
    match LEADER.try_lock() {
        Ok(leader) => Some(leader),
        Err(TryLockError::Poisoned(leader)) => Some(leader.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `part(i)` once for each `i` below `parts`, on all threads.
///
/// # Panics
/// When a part does.
pub fn for_each(parts: usize, part: Part<'_>) {
    let threads = rayon::current_num_threads().min(parts);
    let leader = if threads > 1 { try_lead() } else { None };
    let Some(mut shares) = leader else {
        return (0..parts).for_each(part);
    };
    while shares.len() < threads {
        // The first share is the leader's own.
        let helper = shares.len();
        if helper > 0 && thread::Builder::new().name(format!("team {helper}")).spawn(move || help(helper)).is_err() {
            break;
        }
        shares.push(Apart(AtomicUsize::new(0)));
    }
    let op = Op { part, parts, shares: &shares[..threads.min(shares.len())] };
    let open = Open::new(&op);
    op.take(0);
    drop(open);
    let panic = lock(&SHARED.panic.0).take();
    drop(shares);
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

/// `f(i)` for each `i` below `parts`, made on all threads.
///
/// # Panics
/// When `f` does.
pub fn map<T: Send>(parts: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut made: Vec<Option<T>> = (0..parts).map(|_| None).collect();
    chunks(&mut made, 1, |i, place| place[0] = Some(f(i)));
    made.into_iter().flatten().collect()
}

/// Calls `f(i, chunk)` for each chunk of `data`, on all threads.
///
/// # Panics
/// When `f` does, or a chunk has no value.
pub fn chunks<T: Send>(data: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let (len, start) = (data.len(), Start(data.as_mut_ptr()));
    let start = &start;
    for_each(len.div_ceil(chunk), &|i| {
        let from = i * chunk;
        // SAFETY: the ranges of two parts have no place in common, each is inside `data`, which is borrowed until all are
        // done, and each part is called once.
        f(i, unsafe { std::slice::from_raw_parts_mut(start.0.add(from), chunk.min(len - from)) });
    });
}

/// A pointer whose parts go to several threads.
struct Start<T>(*mut T);

// SAFETY: each thread makes slices of its own places only, of values that may be sent to it.
unsafe impl<T: Send> Sync for Start<T> {}

impl Op<'_> {
    /// Does parts until there are none: those of share `own`, then those that are left of the others.
    fn take(&self, own: usize) {
        let threads = self.shares.len();
        for of in (own..threads).chain(0..own) {
            let share = of * self.parts / threads..(of + 1) * self.parts / threads;
            let taken = &self.shares[of].0;
            // Looked at first, because a share that is gone need not travel.
            while taken.load(Ordering::Relaxed) < share.len() {
                let part = share.start + taken.fetch_add(1, Ordering::Relaxed);
                if part < share.end {
                    (self.part)(part);
                }
            }
        }
    }
}

/// An op that helpers may enter. Dropped, it waits for those inside, also when the leader panics.
struct Open<'a>(&'a Op<'a>);

impl<'a> Open<'a> {
    fn new(op: &'a Op<'a>) -> Open<'a> {
        *lock(&SHARED.panic.0) = None;
        let Door { gate, op: place } = &SHARED.door.0;
        place.store(ptr::from_ref(op).cast_mut().cast(), Ordering::Relaxed);
        let number = gate.load(Ordering::Relaxed) & !(OP - 1);
        gate.store(number.wrapping_add(OP), Ordering::SeqCst);
        if SHARED.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&SHARED.sleep));
            SHARED.wake.notify_all();
        }
        Open(op)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let gate = &SHARED.door.0.gate;
        gate.fetch_or(CLOSED, Ordering::AcqRel);
        let mut looks = 0;
        while gate.load(Ordering::Acquire) & INSIDE > 0 {
            looks += 1;
            if looks < PATIENCE { hint::spin_loop() } else { thread::yield_now() }
        }
        self.0.shares.iter().for_each(|share| share.0.store(0, Ordering::Relaxed));
    }
}

/// What a helper does for ever.
fn help(number: usize) {
    let Door { gate, op } = &SHARED.door.0;
    let mut last = 0;
    loop {
        last = open_op(last);
        let seen = gate.load(Ordering::Relaxed);
        if seen & CLOSED > 0 || seen & !(OP - 1) != last {
            continue;
        }
        if gate.compare_exchange(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            last = 0;
            continue;
        }
        // SAFETY: the op was open when this thread entered it, and stays valid until this thread has left.
        let op = unsafe { &*op.load(Ordering::Relaxed) };
        if number < op.shares.len()
            && let Err(panic) = catch_unwind(AssertUnwindSafe(|| op.take(number)))
        {
            *lock(&SHARED.panic.0) = Some(panic);
        }
        gate.fetch_sub(1, Ordering::Release);
    }
}

/// Waits for an op that is open and not number `last`; returns its number.
fn open_op(last: u64) -> u64 {
    let open = || {
        let gate = SHARED.door.0.gate.load(Ordering::SeqCst);
        (gate & CLOSED == 0 && gate & !(OP - 1) != last).then_some(gate & !(OP - 1))
    };
    let since = Instant::now();
    while since.elapsed() < LOOKING {
        for _ in 0..LOOKS {
            if let Some(number) = open() {
                return number;
            }
            hint::spin_loop();
        }
    }
    let mut guard = lock(&SHARED.sleep);
    SHARED.sleepers.fetch_add(1, Ordering::SeqCst);
    let number = loop {
        if let Some(number) = open() {
            break number;
        }
        guard = SHARED.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
    };
    SHARED.sleepers.fetch_sub(1, Ordering::SeqCst);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
    }

    #[test]
    fn every_part_is_done_once_whatever_the_threads() {
        for threads in 1..=8 {
            on(threads, || {
                for parts in (0..40).chain([1000]) {
                    let done: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    for_each(parts, &|i| {
                        done[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1), "{threads} threads, {parts} parts");
                }
            });
        }
    }

    #[test]
    fn chunks_cover_the_data_in_their_places() {
        on(3, || {
            for (len, chunk) in [(0, 4), (1, 4), (4, 4), (5, 4), (1001, 7)] {
                let mut data = vec![usize::MAX; len];
                chunks(&mut data, chunk, |i, part| part.iter_mut().enumerate().for_each(|(j, x)| *x = i * chunk + j));
                assert!(data.iter().enumerate().all(|(i, x)| i == *x), "{len} by {chunk}");
            }
        });
    }

    #[test]
    fn what_is_made_lies_in_its_order() {
        on(3, || assert_eq!(map(100, |i| i.to_string()), (0..100).map(|i| i.to_string()).collect::<Vec<_>>()));
    }

    #[test]
    fn ops_of_several_threads_and_ops_inside_ops_are_all_done() {
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    on(2, || {
                        for _ in 0..200 {
                            for_each(5, &|_| {
                                for_each(3, &|_| {
                                    count.fetch_add(1, Ordering::Relaxed);
                                });
                            });
                        }
                    });
                });
            }
        });
        assert_eq!(count.into_inner(), 4 * 200 * 5 * 3);
    }

    #[test]
    fn a_part_that_panics_is_the_callers_panic_and_the_next_op_is_done() {
        on(2, || {
            for bad in 0..4 {
                let all = || for_each(4, &|i| assert!(i != bad, "planted"));
                assert!(catch_unwind(AssertUnwindSafe(all)).is_err());
                let done = AtomicUsize::new(0);
                for_each(9, &|_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(done.into_inner(), 9);
            }
        });
    }
}
