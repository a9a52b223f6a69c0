//! Commands that are stopped in the middle, and files that change under them.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use super::common::{Ended, end, gguf, names, program, root, text};

/// Runs the program under a limit of 1000 blocks (of 512 or 1024 bytes, by the shell) on the size of any file that it
/// writes, which it meets in the midst of writing. With `survives` the write fails, as on a full disk; without, the
/// process is killed by a signal that it does not handle: an interruption at a known place.
fn limited(args: &[&str], survives: bool) -> Ended {
    let trap = if survives { "trap '' XFSZ; " } else { "" };
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("{trap}ulimit -c 0; ulimit -f 1000; exec \"$0\" \"$@\""));
    command.arg(env!("CARGO_BIN_EXE_twinpath")).args(args).current_dir(root());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command)
}

/// Commands that write some megabytes to `output`.
fn writers(output: &Path) -> [Vec<String>; 2] {
    let tokens: Vec<String> = (0..64).map(|i| i.to_string()).collect();
    let output = text(output);
    [
        vec!["convert".to_owned(), text(&gguf()), output.clone(), "--force".to_owned()],
        vec![
            "trace".to_owned(),
            "--tokens".to_owned(),
            tokens.join(","),
            "-o".to_owned(),
            output,
            "--force".to_owned(),
        ],
    ]
}

#[test]
fn an_interrupted_write_leaves_nothing_under_the_files_name() {
    for i in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.apr");
        let args = &writers(&output)[i];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = limited(&args, false);
        assert_eq!(ended.code, None, "a signal ends it: {ended:?}");
        let left = names(folder.path());
        assert!(left.iter().all(|n| n.starts_with(".twinpath-") && n.ends_with(".part")), "{left:?}");
        // A file that was there stays as it was.
        std::fs::write(&output, b"precious").unwrap();
        assert_eq!(limited(&args, false).code, None);
        assert_eq!(std::fs::read(&output).unwrap(), b"precious");
    }
}

#[test]
fn a_full_disk_is_one_error_line_and_leaves_nothing_at_all() {
    for i in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("out.apr");
        let args = &writers(&output)[i];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = limited(&args, true);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert!(ended.err.contains("out.apr") && ended.err.contains("too large"), "{ended:?}");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}

#[test]
fn a_model_that_shrinks_while_it_runs_is_one_error_line_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.gguf");
    std::fs::copy(gguf(), &model).unwrap();
    // The oracle decodes every weight anew for every token, so that a thousand tokens outlast the cut by far.
    let spec = format!("{}@oracle", text(&model));
    let mut child = program(&["run", &spec, "--tokens", "1", "-n", "1000", "--ignore-eos"]).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0]).unwrap();
    std::fs::OpenOptions::new().write(true).open(&model).unwrap().set_len(4096).unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2), "{err}");
    assert!(err.contains("model.gguf: file shrank while mapped"), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}
