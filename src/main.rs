//! The `mio-quiche` command.

mod cli;

fn main() -> std::process::ExitCode {
    keep_freed_memory();
    cli::run()
}

/// glibc returns the end of its heap to the system as soon as 128 KiB of it are free, and gets it back with a page
/// fault for each 4 KiB: a sixth of the time of an upload. Once a large block was freed, it keeps twice its size
/// (mallopt(3), M_MMAP_THRESHOLD).
fn keep_freed_memory() {
    const BLOCK: usize = 4 * 1024 * 1024;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BLOCK)));
}
