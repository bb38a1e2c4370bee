//! What the system says of this process: memory, files, time, threads; from /proc, at each scrape.
//!
//! *Which core*: the admin thread. *Invariants*: what cannot be read is left out, never shown as zero.

use std::fs;

use super::instrument::Type;
use super::table::Metric;

/// Every number that this file gives.
pub const TABLE: &[Metric] = &[
    Metric {
        name: "chronik_process_cpu_seconds_total",
        kind: Type::Counter,
        help: "Processor time used, user and system.",
    },
    Metric { name: "chronik_process_resident_memory_bytes", kind: Type::Gauge, help: "Memory resident." },
    Metric { name: "chronik_process_virtual_memory_bytes", kind: Type::Gauge, help: "Address space in use." },
    Metric { name: "chronik_process_threads", kind: Type::Gauge, help: "Threads." },
    Metric { name: "chronik_process_open_fds", kind: Type::Gauge, help: "Open files and sockets." },
    Metric { name: "chronik_process_max_fds", kind: Type::Gauge, help: "Files and sockets that may be open at once." },
    Metric {
        name: "chronik_process_start_time_seconds",
        kind: Type::Gauge,
        help: "When the process was started, seconds since 1970.",
    },
];

/// The numbers of [`TABLE`], in its order.
pub fn read() -> Vec<Option<f64>> {
    let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text));
    // SAFETY: `sysconf` only reads.
    let (ticks, page_bytes) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    let (ticks, page_bytes) = (ticks.max(1) as f64, page_bytes as f64);
    vec![
        stat.as_ref().map(|stat| stat.cpu_ticks / ticks),
        stat.as_ref().map(|stat| stat.resident_pages * page_bytes),
        stat.as_ref().map(|stat| stat.virtual_bytes),
        stat.as_ref().map(|stat| stat.threads),
        // The listing itself is open while it is counted.
        fs::read_dir("/proc/self/fd").ok().map(|files| files.count().saturating_sub(1) as f64),
        fs::read_to_string("/proc/self/limits").ok().and_then(|text| max_fds(&text)),
        stat.and_then(|stat| Some(boot_time_s()? + stat.start_ticks / ticks)),
    ]
}

/// Fields of proc_pid_stat(5).
struct Stat {
    cpu_ticks: f64,
    threads: f64,
    start_ticks: f64,
    virtual_bytes: f64,
    resident_pages: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The name, in brackets, may hold anything, brackets and blanks included.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // Counted from the state, which is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn boot_time_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_there_on_linux() {
        let numbers = read();
        assert_eq!(numbers.len(), TABLE.len());
        for (metric, number) in TABLE.iter().zip(numbers) {
            let number = number.unwrap_or_else(|| panic!("{} cannot be read", metric.name));
            assert!(number > 0.0 || metric.name.contains("cpu"), "{}: {number}", metric.name);
        }
    }

    #[test]
    fn a_name_with_brackets_and_blanks_is_no_obstacle() {
        let text = "1 (a) b (c) S 0 0 0 0 0 0 0 0 0 0 7 5 0 0 0 0 3 0 100 4096 2 0";
        let stat = Stat::parse(text).expect("valid");
        assert_eq!((stat.cpu_ticks, stat.threads, stat.resident_pages), (12.0, 3.0, 2.0));
    }
}
