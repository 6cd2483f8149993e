//! Puts the on-device runtime into vfioboot, so that `patch` needs no other file; and into the
//! runtime the rules about kernel configs that its doctor goes by.
//!
//! `VFIOBOOT_RUNTIME_DIR` names a directory with `vfiorun-aarch64` and
//! `vfiorun-x86_64` (`make dist` builds them). Without it vfioboot is built with no
//! runtime inside and `patch` asks for `--runtime FILE`.

#[path = "src/rulefile.rs"]
mod rulefile;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use rulefile::{Group, Level, RawRule};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=VFIOBOOT_RUNTIME_DIR");
    let Some(out) = env::var_os("OUT_DIR") else { panic!("cargo sets OUT_DIR") };
    if env::var_os("CARGO_FEATURE_DEVICE").is_some() {
        rules(Path::new(&out));
    }
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
