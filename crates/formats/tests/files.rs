//! What happens around a file: what is mapped, what is refused, split models, writes that fail, and a file that shrinks.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{every_type, fault, fill, llama_plans};
use twinpath_formats::atomic::write_atomically;
use twinpath_formats::gguf::{self, Gguf, Metadata, Value};
use twinpath_formats::map::Bytes;
use twinpath_formats::{Container, Fault, FormatError, ModelFile, TensorPlan, TensorType, Verify};

#[test]
fn only_regular_files_with_bytes_are_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    assert!(matches!(fault(Bytes::map(&path)), Fault::Io { action: "open", .. }));
    assert!(matches!(fault(Bytes::map(folder.path())), Fault::NotAFile { what: "folder" }));
    std::fs::write(&path, []).unwrap();
    assert!(matches!(fault(Bytes::map(&path)), Fault::Empty));
    std::fs::write(&path, b"ab").unwrap();
    assert_eq!(&*Bytes::map(&path).unwrap(), b"ab");
    assert!(matches!(fault(Bytes::map(Path::new("/dev/null"))), Fault::NotAFile { what: "device" }));
}

#[test]
fn a_fifo_without_a_writer_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(matches!(fault(Bytes::map(&path)), Fault::NotAFile { what: "FIFO" }));
    assert!(matches!(fault(ModelFile::open(&path, Verify::All)), Fault::NotAFile { what: "FIFO" }));
}

#[test]
fn the_kind_is_told_by_content_not_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("misnamed.gguf");
    std::fs::copy(common::zoo("teacher-q4_k_m.apr"), &path).unwrap();
    assert_eq!(ModelFile::open(&path, Verify::Header).unwrap().kind(), "apr");
    std::fs::write(&path, b"ab").unwrap();
    assert!(matches!(fault(ModelFile::open(&path, Verify::All)), Fault::UnknownMagic { .. }));
}

/// Touches a mapping of which the file was cut; run as a child of the test below.
#[test]
fn child_that_reads_a_shrunken_file() {
    let Ok(path) = std::env::var("TWINPATH_TEST_SHRINK") else { return };
    let bytes = Bytes::map(Path::new(&path)).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    let sum: u64 = bytes.iter().map(|b| u64::from(*b)).sum();
    panic!("read {sum} from an empty file");
}

#[test]
fn a_file_that_shrinks_while_mapped_is_named_and_ends_the_process_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrinking.gguf");
    std::fs::write(&path, vec![1; 1 << 16]).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_reads_a_shrunken_file", "--nocapture"])
        .env("TWINPATH_TEST_SHRINK", &path)
        .output()
        .unwrap();
    let expected = format!("{}: file shrank while mapped; do not change model files in use\n", path.display());
    assert_eq!(child.status.code(), Some(2), "{child:?}");
    assert!(String::from_utf8_lossy(&child.stderr).ends_with(&expected), "{child:?}");
}

#[test]
fn a_write_that_fails_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, b"old").unwrap();
    let failed = write_atomically(&path, |out| {
        out.write_all(&vec![0; 3 << 20]).unwrap();
        Err(FormatError::new(&path, Fault::Empty))
    });
    assert!(failed.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    write_atomically(&path, |out| {
        out.write_all(b"new").unwrap();
        Ok(())
    })
    .unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let link = folder.path().join("link.gguf");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    write_atomically(&link, |_| Ok(())).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    let nowhere = folder.path().join("absent/model.gguf");
    assert!(matches!(fault(write_atomically(&nowhere, |_| Ok(()))), Fault::Io { .. }));
}

/// Writes shard `no` of `count` with one tensor named `name`, and says that the model has `tensors`.
fn shard(folder: &Path, no: u16, count: u16, name: &str, tensors: i32) -> PathBuf {
    let mut metadata = if no == 0 { every_type() } else { Metadata::default() };
    metadata.set("split.no", Value::U16(no));
    metadata.set("split.count", Value::U16(count));
    metadata.set("split.tensors.count", Value::I32(tensors));
    let plans = [TensorPlan::new(name, TensorType::F32, &[usize::from(no) + 2])];
    let path = folder.join(format!("m-{:05}-of-{count:05}.gguf", no + 1));
    gguf::write(&path, &metadata, &plans, &mut fill(&plans)).unwrap();
    path
}

#[test]
fn a_write_never_replaces_a_device_or_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(fault(write_atomically(folder.path(), |_| Ok(()))), Fault::NotAFile { what: "folder" }));
    assert!(matches!(fault(write_atomically(Path::new("/dev/null"), |_| Ok(()))), Fault::NotAFile { what: "device" }));
}

#[test]
fn opening_the_first_shard_opens_all() {
    let folder = tempfile::tempdir().unwrap();
    let first = shard(folder.path(), 0, 3, "a", 3);
    let later = shard(folder.path(), 1, 3, "b", 3);
    shard(folder.path(), 2, 3, "c", 3);
    let model = Gguf::open(&first).unwrap();
    assert_eq!((model.paths().len(), model.tensors().len()), (3, 3));
    assert_eq!(model.bytes(model.tensor("c").unwrap()).len(), 16);
    assert_eq!(model.str("general.architecture").unwrap(), Some("llama"));
    let refused = Gguf::open(&later).err().unwrap();
    assert!(matches!(refused.fault, Fault::NotFirstShard { number: 1, .. }));
    assert!(refused.to_string().contains(&first.display().to_string()), "{refused}");
}

#[test]
fn missing_or_foreign_shards_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = shard(folder.path(), 0, 2, "a", 2);
    let refused = Gguf::open(&first).err().unwrap();
    assert!(matches!(refused.fault, Fault::BadShard { .. }), "{refused}");
    assert!(refused.file.ends_with("m-00002-of-00002.gguf"));

    let second = shard(folder.path(), 1, 2, "b", 2);
    Gguf::open(&first).unwrap();
    std::fs::copy(&first, &second).unwrap();
    assert!(matches!(fault(Gguf::open(&first)), Fault::BadShard { .. }));
    shard(folder.path(), 1, 2, "a", 2);
    assert!(matches!(fault(Gguf::open(&first)), Fault::DuplicateTensor { .. }));
    shard(folder.path(), 1, 2, "b", 2);
    shard(folder.path(), 0, 2, "a", 7);
    assert!(matches!(fault(Gguf::open(&first)), Fault::BadShard { .. }));

    let renamed = folder.path().join("other.gguf");
    std::fs::copy(&first, &renamed).unwrap();
    assert!(matches!(fault(Gguf::open(&renamed)), Fault::BadShard { .. }));
}

#[test]
fn a_split_model_is_converted_whole_and_the_split_keys_are_named_as_dropped() {
    use twinpath_formats::convert::{Options, convert};
    let folder = tempfile::tempdir().unwrap();
    let first = shard(folder.path(), 0, 2, "output.weight", 2);
    shard(folder.path(), 1, 2, "output_norm.weight", 2);
    let output = folder.path().join("whole.apr");
    let report = convert(&first, &output, &Options::default(), &mut |_, _| ()).unwrap();
    assert_eq!(report.tensors.len(), 2);
    assert_eq!(report.dropped_keys, ["split.no", "split.count", "split.tensors.count"]);
}

#[test]
fn a_file_written_is_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    gguf::write(&path, &every_type(), &llama_plans(), &mut fill(&llama_plans())).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);
    assert_ne!(mode & 0o044, 0, "temporary files are private by default, models are not");
}
