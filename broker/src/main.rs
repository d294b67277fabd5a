//! The `catchment` binary; everything it does is in the library.

use std::process::ExitCode;

/// Many small, short-lived buffers on several threads: the case mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    broker::memory::go_by_limits();
    broker::cli::main(std::env::args_os())
}
