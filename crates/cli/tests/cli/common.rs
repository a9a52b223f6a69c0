//! Starting the program.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// No command of these tests takes longer, however busy the machine is; a hang is a failure, not a wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a command printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The root of the source tree, where `zoo` is.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn gguf() -> PathBuf {
    root().join("zoo/teacher-q4_k_m.gguf")
}

pub(crate) fn apr() -> PathBuf {
    root().join("zoo/teacher-q4_k_m.apr")
}

pub(crate) fn tiny(name: &str) -> PathBuf {
    root().join("testdata/tiny").join(name)
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The program with its pipes open, in the root of the source tree.
pub(crate) fn program(args: &[impl AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinpath"));
    command.args(args).current_dir(root()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end; a command that does not end is killed and fails the test.
pub(crate) fn end(mut command: Command) -> Ended {
    let child = command.spawn().unwrap();
    let id = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
        panic!("{command:?} did not end within {PATIENCE:?}");
    };
    let output = output.unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Ended { code: output.status.code(), out, err }
}

pub(crate) fn twinpath(args: &[impl AsRef<OsStr>]) -> Ended {
    end(program(args))
}

/// Runs a command that must succeed and gives its standard output.
pub(crate) fn ok(args: &[impl AsRef<OsStr>]) -> String {
    let ended = twinpath(args);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.out
}

/// Runs a command that must succeed and gives the JSON that is all of its standard output.
pub(crate) fn json(args: &[&str]) -> serde_json::Value {
    let ended = twinpath(args);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{args:?} {}", ended.out);
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", ended.out))
}

/// Runs a command that must be refused with exit code 2 and one line that holds all of `needles`, in a short time.
pub(crate) fn refused(args: &[&str], needles: &[&str]) {
    let start = Instant::now();
    let ended = twinpath(args);
    let took = start.elapsed();
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{args:?} {}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{args:?} {}", ended.err);
    assert!(ended.err.starts_with("error: "), "{args:?} {}", ended.err);
    for needle in needles {
        assert!(ended.err.contains(needle), "{args:?}: no {needle:?} in {}", ended.err);
        assert!(!ended.err.contains(&format!("{needle}: {needle}")), "said twice: {}", ended.err);
    }
    // A refusal takes milliseconds; the bound leaves room for a machine that is busy with other tests.
    assert!(took < Duration::from_secs(10), "{args:?} took {took:?}");
}

/// Runs a command whose arguments must be refused by the parser: exit code 2, and a text that holds `needle`.
pub(crate) fn misused(args: &[&str], needle: &str) {
    let ended = twinpath(args);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{args:?} {}", ended.err);
    assert!(ended.err.contains(needle), "{args:?}: no {needle:?} in {}", ended.err);
}

/// Names in a folder that begin with a point are hidden; all of them, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
