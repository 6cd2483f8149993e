//! Puts the on-device runtime into vfioboot, so that `patch` needs no other file and does not have
//! to compress it. Reads every built-in rule profile, so that a broken rule breaks the build, and
//! leaves the runtime the one that its doctor goes by, as a constant (`build/profile.rs`); so too the
//! table of causes (`build/causes.rs`).
//!
//! `VFIOBOOT_RUNTIME_DIR` names a directory with `vfiorun-aarch64` and
//! `vfiorun-x86_64` (`make dist` builds them). Without it they are taken from `runtimes/`, which the
//! published crate has and a checkout has not. Where neither is, or without the feature `runtimes`,
//! vfioboot is built with no runtime inside and `patch` asks for `--runtime FILE`.

#![allow(clippy::disallowed_macros, reason = "how a build script talks to cargo")]

#[path = "build/causes.rs"]
mod causes;
#[cfg(feature = "desktop")]
#[allow(dead_code, unused_imports, reason = "a build script only compresses")]
#[path = "src/compression/mod.rs"]
mod compression;
#[path = "build/profile.rs"]
mod profile;
#[path = "src/rules/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a build script judges no kernel")]
mod rules;

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=VFIOBOOT_RUNTIME_DIR");
    let Some(out) = env::var_os("OUT_DIR") else { panic!("cargo sets OUT_DIR") };
    profile::write(&Path::new(&out).join("profile.rs"));
    causes::write(&Path::new(&out).join("causes.rs"));
    #[cfg(feature = "desktop")]
    runtime::embed(Path::new(&out), runtime::directory().as_deref());
}

/// The runtime and its compressed parts.
#[cfg(feature = "desktop")]
mod runtime {
    use std::fmt::Write as _;
    use std::io::ErrorKind;
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use crate::compression::{Format, part};

    /// Where the executables are, if they shall be inside.
    pub fn directory() -> Option<PathBuf> {
        let inside = cfg!(feature = "runtimes");
        let named = env::var_os("VFIOBOOT_RUNTIME_DIR").map(PathBuf::from);
        let packaged = Path::new("runtimes");
        // A name that is not there would count as changed with every build.
        if packaged.is_dir() {
            println!("cargo:rerun-if-changed={}", packaged.display());
        }
        let beside = || packaged.is_dir().then(|| packaged.to_path_buf());
        inside.then(|| named.or_else(beside)).flatten()
    }

    /// Writes `runtime.rs`: the statics that `src/patch/runtime.rs` starts from.
    pub fn embed(out: &Path, dir: Option<&Path>) {
        println!("cargo:rerun-if-changed=src/compression");
        let mut source = String::new();
        for (constant, arch) in [("AARCH64", "aarch64"), ("X86_64", "x86_64")] {
            let value = match dir {
                None => "None".to_owned(),
                Some(dir) => executable(&dir.join(format!("vfiorun-{arch}")), out),
            };
            _ = writeln!(source, "static {constant}: Option<Runtime<'static>> = {value};");
        }
        write(&out.join("runtime.rs"), source.as_bytes());
    }

    /// The static for one executable, whose files go to `out`.
    fn executable(file: &Path, out: &Path) -> String {
        println!("cargo:rerun-if-changed={}", file.display());
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("cargo:warning={} is missing, so it is not inside", file.display());
                return "None".to_owned();
            }
            Err(error) => panic!("VFIOBOOT_RUNTIME_DIR: {}: {error}", file.display()),
        };
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let include = |suffix: &str, bytes: &[u8]| {
            let copy = out.join(format!("{name}{suffix}"));
            write(&copy, bytes);
            format!("include_bytes!({copy:?})")
        };
        let mut parts = String::new();
        for format in Format::all() {
            let part = part(format, &bytes)
                .unwrap_or_else(|error| panic!("{}: {format}: {error}", file.display()));
            if let Some(part) = part {
                let bytes = include(&format!(".{format}"), &part);
                _ = write!(parts, "({:?}, {bytes}), ", format.name());
            }
        }
        format!("Some(Runtime {{ executable: {}, parts: &[{parts}] }})", include("", &bytes))
    }

    fn write(file: &Path, bytes: &[u8]) {
        if let Err(error) = fs::write(file, bytes) {
            panic!("{}: {error}", file.display());
        }
    }
}
