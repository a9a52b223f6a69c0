//! Running commands with their output captured and their time bounded.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// How a command ended.
pub(crate) struct Ended {
    /// Whether its exit code was 0.
    pub(crate) success: bool,
    /// Standard output and standard error as they came.
    pub(crate) output: String,
}

/// Runs a command to its end, or kills it and all that it started after `limit`.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn run(command: &mut Command, limit: Duration) -> anyhow::Result<Ended> {
    let mut log = tempfile::tempfile().context("cannot make a temporary file")?;
    let writer = |log: &File| log.try_clone().map(Stdio::from);
    command.stdin(Stdio::null()).stdout(writer(&log)?).stderr(writer(&log)?);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > limit {
            // Found first: the children of a dead process are nobody's.
            let started = descendants(child.id())?;
            child.kill()?;
            // One that has ended meanwhile is no error.
            let _ = Command::new("kill").arg("-KILL").args(&started).stderr(Stdio::null()).status();
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut bytes = Vec::new();
    log.rewind()?;
    log.read_to_end(&mut bytes)?;
    let mut output = String::from_utf8_lossy(&bytes).into_owned();
    if status.is_none() {
        output.push_str(&format!("\n{name} was killed after {} s\n", limit.as_secs()));
    }
    Ok(Ended { success: status.is_some_and(|s| s.success()), output })
}

/// What a process started, and what that started, by POSIX `ps`. (A process group of its own would be simpler to kill, but
/// would no longer hear an interrupt from the terminal.)
fn descendants(of: u32) -> anyhow::Result<Vec<String>> {
    let ps = Command::new("ps").args(["-A", "-o", "pid=", "-o", "ppid="]).output().context("cannot run ps")?;
    let text = String::from_utf8_lossy(&ps.stdout).into_owned();
    let pairs: Vec<(&str, &str)> = text.lines().filter_map(|line| line.trim().split_once(' ')).collect();
    let mut found = vec![of.to_string()];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next].clone();
        found.extend(pairs.iter().filter(|(_, ppid)| ppid.trim() == parent).map(|(pid, _)| (*pid).to_owned()));
        next += 1;
    }
    found.remove(0);
    Ok(found)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn output_of_both_streams_is_captured_and_failure_is_seen() {
        let script = "echo out; echo err >&2; exit 3";
        let ended = run(Command::new("sh").args(["-c", script]), Duration::from_secs(10)).unwrap();
        assert_eq!((ended.success, ended.output.as_str()), (false, "out\nerr\n"));
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children_and_is_no_success() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 60 & echo $! > child; wait";
        let mut sh = Command::new("sh");
        let ended = run(sh.args(["-c", script]).current_dir(folder.path()), Duration::from_secs(1)).unwrap();
        assert!(!ended.success && ended.output.contains("killed"), "{}", ended.output);
        let child = std::fs::read_to_string(folder.path().join("child")).unwrap();
        // A zombie that nobody has reaped yet is dead too.
        let state = Command::new("ps").args(["-o", "stat=", "-p", child.trim()]).output().unwrap().stdout;
        let state = String::from_utf8(state).unwrap();
        assert!(state.trim().is_empty() || state.trim().starts_with('Z'), "the child lives: {state}");
    }
}
