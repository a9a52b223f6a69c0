//! Says whether Debian's chromium is here, so that tests which need a browser are counted as ignored where there is none.

use std::path::Path;

const BROWSER: &str = "/usr/bin/chromium";

fn main() {
    println!("cargo::rustc-check-cfg=cfg(chromium)");
    println!("cargo::rerun-if-changed=build.rs");
    // A path that is not there would run this every time; its folder changes when it comes.
    if Path::new(BROWSER).is_file() {
        println!("cargo::rustc-cfg=chromium");
        println!("cargo::rerun-if-changed={BROWSER}");
    } else if let Some(folder) = Path::new(BROWSER).parent().filter(|folder| folder.is_dir()) {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
}
