//! Puts the on-device runtime into vfioboot, so that `patch` needs no other file; reads every
//! built-in rule profile, so that a broken rule breaks the build; and leaves the runtime the one
//! that its doctor goes by, as a constant (`build/profile.rs`).
//!
//! `VFIOBOOT_RUNTIME_DIR` names a directory with `vfiorun-aarch64` and
//! `vfiorun-x86_64` (`make dist` builds them). Without it vfioboot is built with no
//! runtime inside and `patch` asks for `--runtime FILE`.

#[path = "build/profile.rs"]
mod profile;
#[path = "src/rules/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a build script judges no kernel")]
mod rules;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=VFIOBOOT_RUNTIME_DIR");
    let Some(out) = env::var_os("OUT_DIR") else { panic!("cargo sets OUT_DIR") };
    profile::write(&Path::new(&out).join("profile.rs"));
    let dir = env::var_os("VFIOBOOT_RUNTIME_DIR").map(PathBuf::from);
    let mut source = String::new();
    for (constant, arch) in [("AARCH64", "aarch64"), ("X86_64", "x86_64")] {
        let value = match &dir {
            None => "None".to_owned(),
            Some(dir) => {
                let file = dir.join(format!("vfiorun-{arch}"));
                println!("cargo:rerun-if-changed={}", file.display());
                let copy = Path::new(&out).join(format!("vfiorun-{arch}"));
                if let Err(error) = fs::copy(&file, &copy) {
                    panic!("VFIOBOOT_RUNTIME_DIR: {}: {error}", file.display());
                }
                format!("Some(include_bytes!(\"{}\"))", copy.display())
            }
        };
        source += &format!("const {constant}: Option<&[u8]> = {value};\n");
    }
    let generated = Path::new(&out).join("runtime.rs");
    if let Err(error) = fs::write(&generated, source) {
        panic!("{}: {error}", generated.display());
    }
}
