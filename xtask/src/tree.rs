//! The files of the repository, as git sees them, and a copy of them to plant faults in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Files that git tracks or would add, relative to `root`, in order.
///
/// # Errors
/// When git is missing or `root` is no checkout.
pub(crate) fn files(root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let git = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot run git")?;
    ensure!(git.status.success(), "git ls-files: {}", String::from_utf8_lossy(&git.stderr));
    let names = String::from_utf8(git.stdout).context("a file name is not UTF-8")?;
    // A deleted file stays in the index until that is committed.
    Ok(names.split('\0').filter(|n| !n.is_empty()).map(PathBuf::from).filter(|n| root.join(n).is_file()).collect())
}

/// The text of a file, or `None` where it is not text.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn text(file: &Path) -> anyhow::Result<Option<String>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')))
}

/// Makes the folder `copy` hold exactly the files of `root`, build output aside. A file that is equal already keeps its
/// time, so that cargo rebuilds only what differs.
///
/// # Errors
/// When a file cannot be read or written, or git fails.
pub(crate) fn mirror(root: &Path, copy: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(copy)?;
    if !copy.join(".git").exists() {
        let git =
            Command::new("git").arg("-C").arg(copy).args(["init", "--quiet"]).status().context("cannot run git")?;
        ensure!(git.success(), "git init failed in {}", copy.display());
    }
    let wanted = files(root)?;
    for extra in files(copy)?.difference(&wanted) {
        std::fs::remove_file(copy.join(extra))?;
    }
    for name in &wanted {
        let (from, to) = (root.join(name), copy.join(name));
        let bytes = std::fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        if std::fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        std::fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        std::fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
        std::fs::set_permissions(&to, std::fs::metadata(&from)?.permissions())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_gains_loses_and_restores_files_but_leaves_equal_ones_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (root, copy) = (folder.path().join("root"), folder.path().join("copy"));
        std::fs::create_dir_all(root.join("sub")).unwrap();
        assert!(Command::new("git").arg("-C").arg(&root).args(["init", "--quiet"]).status().unwrap().success());
        for (name, text) in [("a", "1"), ("sub/b", "2"), (".gitignore", "ignored\n"), ("ignored", "x")] {
            std::fs::write(root.join(name), text).unwrap();
        }
        mirror(&root, &copy).unwrap();
        let names = |root: &Path| files(root).unwrap().iter().map(|f| f.display().to_string()).collect::<Vec<_>>();
        assert_eq!(names(&copy), [".gitignore", "a", "sub/b"]);
        let time = |name: &str| std::fs::metadata(copy.join(name)).unwrap().modified().unwrap();
        let before = time("a");
        std::fs::write(copy.join("sub/b"), "planted").unwrap();
        std::fs::write(copy.join("new"), "planted").unwrap();
        mirror(&root, &copy).unwrap();
        assert_eq!(names(&copy), [".gitignore", "a", "sub/b"]);
        assert_eq!((std::fs::read(copy.join("sub/b")).unwrap(), time("a")), (b"2".to_vec(), before));
    }
}
