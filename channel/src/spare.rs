//! Memory that the allocator keeps after a burst, given back.

use std::hint::black_box;

/// More than shares a page of the allocator with anything else.
const OWN_PAGE_BYTES: usize = 1 << 20;

/// Less than that, and more than the allocator has at hand without looking around.
const LOOK_BYTES: usize = 2 << 10;

/// Looks after which the allocator collects what is free in the thread's own pages.
const LOOKS: usize = 10_000;

/// Lets the allocator give back what this thread has left free, and what has been free for a second.
/// To be called every second, or after a burst, by threads that work in bursts.
///
/// mimalloc does both along with other work alone, which after a burst may never come: what it took
/// would stay resident.
pub fn give_back() {
    for _ in 0..LOOKS {
        take(LOOK_BYTES);
    }
    take(OWN_PAGE_BYTES);
}

/// Takes memory and frees it, untouched.
fn take(bytes: usize) {
    let mut taken: Vec<u8> = Vec::new();
    // Without room for it there is nothing that was kept, either.
    if taken.try_reserve_exact(bytes).is_ok() {
        drop(black_box(taken));
    }
}
