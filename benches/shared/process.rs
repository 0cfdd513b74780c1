//! What a process has used, by /proc.

use std::path::Path;

/// CPU seconds of all threads, user and system.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let process = Path::new("/proc").join(pid.to_string());
    let threads = std::fs::read_dir(process.join("task")).ok()?;
    // In nanoseconds, where `stat` has ticks of 10 ms; a kernel without it shows zeros.
    let on_cpu = |task: &Path| -> Option<u64> {
        std::fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    let nanos: u64 = threads.flatten().filter_map(|task| on_cpu(&task.path())).sum();
    if nanos > 0 {
        return Some(nanos as f64 / 1e9);
    }
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // The name, which may hold spaces, ends with the last parenthesis; Linux always counts 100 ticks per second here.
    let fields = stat.rsplit_once(')')?.1;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Some(ticks as f64 / 100.0)
}
