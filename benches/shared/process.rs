//! What a process has used, by /proc.

/// CPU seconds, user and system.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which may hold spaces, ends with the last parenthesis; Linux always counts 100 ticks per second here.
    let fields = stat.rsplit_once(')')?.1;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).flat_map(str::parse::<u64>).sum();
    Some(ticks as f64 / 100.0)
}
