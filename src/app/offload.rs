//! Blocking work of handlers, on a small pool of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(feature = "files")]
use super::topic::Loop;
#[cfg(feature = "files")]
use crate::transport::table::StreamId;

/// Jobs that wait and run at a time.
pub(super) const CAPACITY: usize = 1024;

/// The threads, which are started with the first job. A clone is another handle of the same ones.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    threads: usize,
    pool: OnceLock<rayon_core::ThreadPool>,
    /// Jobs that have not ended.
    jobs: AtomicUsize,
}

/// Why a job is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error("{0} jobs wait for {1} threads (offload_threads)")]
    Full(usize, usize),
    #[error("no threads (offload_threads): {0}")]
    Threads(#[from] rayon_core::ThreadPoolBuildError),
}

impl Pool {
    pub(super) fn new(threads: usize) -> Self {
        Pool(Arc::new(Inner { threads, pool: OnceLock::new(), jobs: AtomicUsize::new(0) }))
    }

    /// Whether another job is taken, of so many that may wait and run.
    pub(super) fn check(&self, capacity: usize) -> Result<(), NotTaken> {
        let Inner { threads, pool, jobs } = &*self.0;
        if jobs.load(Ordering::Relaxed) >= capacity {
            return Err(NotTaken::Full(capacity, *threads));
        }
        if pool.get().is_none() {
            let builder = rayon_core::ThreadPoolBuilder::new().num_threads(*threads);
            // Another loop may have been faster.
            let _ = pool.set(builder.thread_name(|n| format!("offload-{n}")).build()?);
        }
        Ok(())
    }

    /// Runs a job that [may be taken](Pool::check) and does not panic.
    pub(super) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        let Some(pool) = self.0.pool.get() else { return };
        let inner = Arc::clone(&self.0);
        inner.jobs.fetch_add(1, Ordering::Relaxed);
        pool.spawn(move || {
            job();
            inner.jobs.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Runs blocking work for the handler of a stream.
#[cfg(feature = "files")]
pub(super) struct Worker {
    pub(super) pool: Pool,
    pub(super) id: StreamId,
    pub(super) the_loop: Arc<dyn Loop>,
    /// Jobs of the pool that may wait and run.
    pub(super) capacity: usize,
}

#[cfg(feature = "files")]
impl Worker {
    /// Runs `work`, which does not panic, and then polls the handler.
    pub(super) fn run(&self, work: impl FnOnce() + Send + 'static) -> Result<(), NotTaken> {
        self.pool.check(self.capacity)?;
        let (the_loop, id) = (Arc::clone(&self.the_loop), self.id);
        self.pool.spawn(move || {
            work();
            the_loop.resume(id);
        });
        Ok(())
    }
}
