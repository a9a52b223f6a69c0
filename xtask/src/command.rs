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
    // A group of its own, so that the tests of a killed cargo die with it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > limit {
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
            child.kill()?;
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
        let start = Instant::now();
        let ended = run(Command::new("sh").args(["-c", "sleep 60 & wait"]), Duration::from_millis(100)).unwrap();
        assert!(!ended.success && ended.output.contains("killed"), "{}", ended.output);
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
