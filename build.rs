//! Puts the on-device runtime into vfioboot, so that `patch` needs no other file and has not to
//! compress it; and into the runtime the rules about kernel configs that its doctor goes by.
//!
//! `VFIOBOOT_RUNTIME_DIR` names a directory with `vfiorun-aarch64` and
//! `vfiorun-x86_64` (`make dist` builds them). Without it vfioboot is built with no
//! runtime inside and `patch` asks for `--runtime FILE`.

#![allow(clippy::disallowed_macros, reason = "how a build script talks to cargo")]

// Compressing is all that is done with it here.
#[cfg(feature = "desktop")]
#[allow(dead_code, unused_imports)]
#[path = "src/compression/mod.rs"]
mod compression;
#[path = "src/rulefile.rs"]
mod rulefile;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use rulefile::{Group, Level, RawRule};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=VFIOBOOT_RUNTIME_DIR");
    let Some(out) = env::var_os("OUT_DIR") else { panic!("cargo sets OUT_DIR") };
    if env::var_os("CARGO_FEATURE_DEVICE").is_some() {
        rules(Path::new(&out));
    }
    #[cfg(feature = "desktop")]
    runtime::embed(Path::new(&out));
}

/// The runtime and its compressed parts.
#[cfg(feature = "desktop")]
mod runtime {
    use std::fmt::Write as _;
    use std::path::{Path, PathBuf};
    use std::{env, fs};

    use crate::compression::{Format, part};

    /// Writes `runtime.rs`: the constants that `src/patch/runtime.rs` starts from.
    pub fn embed(out: &Path) {
        println!("cargo:rerun-if-changed=src/compression");
        let dir = env::var_os("VFIOBOOT_RUNTIME_DIR").map(PathBuf::from);
        let mut source = String::new();
        for (constant, arch) in [("AARCH64", "aarch64"), ("X86_64", "x86_64")] {
            let value = match &dir {
                None => "None".to_owned(),
                Some(dir) => executable(&dir.join(format!("vfiorun-{arch}")), out),
            };
            _ = writeln!(source, "const {constant}: Option<Runtime<'static>> = {value};");
        }
        write(&out.join("runtime.rs"), source.as_bytes());
    }

    /// The constant for one executable, whose files go to `out`.
    fn executable(file: &Path, out: &Path) -> String {
        println!("cargo:rerun-if-changed={}", file.display());
        let bytes = fs::read(file)
            .unwrap_or_else(|error| panic!("VFIOBOOT_RUNTIME_DIR: {}: {error}", file.display()));
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

/// What the device's doctor needs of a profile.
#[derive(serde::Deserialize)]
struct Profile {
    rule: Vec<RawRule>,
    modules: BTreeMap<String, String>,
}

/// Writes `rules.rs`: the tables that `src/device/doctor/kernel_config.rs` has the types of.
fn rules(out: &Path) {
    const PROFILE: &str = "kernel-configs/passthrough.toml";
    println!("cargo:rerun-if-changed={PROFILE}");
    println!("cargo:rerun-if-changed=src/rulefile.rs");
    let text = fs::read_to_string(PROFILE);
    let profile: Result<Profile, String> = text
        .map_err(|error| error.to_string())
        .and_then(|text| toml::from_str(&text).map_err(|error| error.to_string()));
    let Profile { rule, modules } = profile.unwrap_or_else(|error| panic!("{PROFILE}: {error}"));
    let mut source = "const RULES: &[Rule] = &[\n".to_owned();
    for rule in rule.iter().filter(|rule| rule.level != Level::Optional && is_for_target(rule)) {
        let RawRule { id, title, level, vendor_module, effect, fix, when, .. } = rule;
        let groups = groups(rule);
        if groups.is_empty() {
            continue;
        }
        let accept = rule.accept.clone().unwrap_or_default();
        let version = |text: &Option<String>| text.as_deref().map(|text| version(id, text));
        let (since, until) = (version(&rule.since), version(&rule.until));
        _ = writeln!(
            source,
            "Rule {{ id: {id:?}, title: {title:?}, level: Level::{level:?}, groups: &{}, accept: &{accept:?}, \
             since: {since:?}, until: {until:?}, when: &{when:?}, vendor_module: {vendor_module}, \
             effect: {effect:?}, fix: {fix:?} }},",
            format!("{groups:?}").replace("[\"", "&[\""),
        );
    }
    let modules: Vec<(&String, &String)> = modules.iter().collect();
    _ = writeln!(source, "];\nconst MODULES: &[(&str, &str)] = &{modules:?};");
    if let Err(error) = fs::write(out.join("rules.rs"), source) {
        panic!("rules.rs: {error}");
    }
}

/// The symbols of a rule as groups of which one has to be there; none for another kind of rule.
fn groups(rule: &RawRule) -> Vec<Vec<&str>> {
    match rule {
        RawRule { symbol: Some(symbol), .. } => vec![vec![symbol]],
        RawRule { all: Some(symbols), .. } => vec![symbols.iter().map(String::as_str).collect()],
        RawRule { any: Some(groups), .. } => groups
            .iter()
            .map(|group| match group {
                Group::One(symbol) => vec![symbol.as_str()],
                Group::All(symbols) => symbols.iter().map(String::as_str).collect(),
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn is_for_target(rule: &RawRule) -> bool {
    let target = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let arch = if target == "aarch64" { "arm64" } else { &target };
    rule.arch.is_empty() || rule.arch.iter().any(|name| name == arch)
}

/// `6.6` as (6, 6).
fn version(id: &str, text: &str) -> (u32, u32) {
    let numbers = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("rule {id}: \"{text}\" is no version"))
}
