//! What the operating system tells of the machine and of this process. Where it does not tell, there is nothing.

use std::fs::read_to_string;

use twinpath_evidence::Machine;
use twinpath_evidence::bench::Warning;

/// The machine; the load is doubted if other programs were running.
pub(super) fn machine(warnings: &mut Vec<Warning>) -> Machine {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read_to_string("/proc/loadavg").ok().and_then(|s| s.split(' ').next()?.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > 0.5) {
        warnings.push(Warning::Busy { load });
    }
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor =
        info.lines().find_map(|l| l.strip_prefix("model name")).map(|l| l.trim_start_matches([' ', '\t', ':']));
    let huge = read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok();
    let huge_pages = huge.and_then(|s| Some(s.split_once('[')?.1.split_once(']')?.0.to_owned()));
    let processor = processor.unwrap_or(std::env::consts::ARCH).to_owned();
    Machine { processor, threads, caches: caches(), memory: field("/proc/meminfo", "MemTotal"), huge_pages, load }
}

/// Bytes of the second-level cache of a core, and of the last one.
pub(super) fn caches() -> Option<(u64, u64)> {
    let size = |i: usize| {
        let text = read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{i}/size")).ok()?;
        text.trim().strip_suffix('K')?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    let second = size(2)?;
    Some((second, size(3).unwrap_or(second)))
}

/// Bytes that could be had without swapping.
pub(crate) fn available() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable")
}

/// Largest resident set of this process so far, and what of it is anonymous now.
pub(super) fn resident() -> Option<(u64, u64)> {
    Some((field("/proc/self/status", "VmHWM")?, field("/proc/self/status", "RssAnon")?))
}

/// Bytes of this process on huge pages.
pub(super) fn on_huge_pages() -> Option<u64> {
    field("/proc/self/smaps_rollup", "AnonHugePages")
}

/// A line `name:   123 kB` of a file of the kernel's.
fn field(file: &str, name: &str) -> Option<u64> {
    parse(&read_to_string(file).ok()?, name)
}

fn parse(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "VmHWM2:\t 1 kB\nVmHWM:\t    2048 kB\nThreads:\t3\n";
        assert_eq!(parse(text, "VmHWM"), Some(2 << 20));
        assert_eq!((parse(text, "Vm"), parse(text, "Threads"), parse(text, "None")), (None, None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_tells_how_much_memory_this_process_has() {
        let (peak, anonymous) = resident().unwrap();
        assert!(peak >= anonymous && anonymous > 0, "{peak} {anonymous}");
    }
}
