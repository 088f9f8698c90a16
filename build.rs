//! Tells the crate which commit it was built from (`MVAE_GIT_COMMIT`), when it is built inside a git checkout.
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Some(commit) = git.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok())
    {
        println!("cargo::rustc-env=MVAE_GIT_COMMIT={}", commit.trim());
    }
}
