//! The rules in `kernel-configs/`, as they are written: what the audit on the desktop and `vfiorun doctor`
//! on the device agree on. The header of `kernel-configs/passthrough.toml` says what each key means.
//!
//! The build script reads them too, and leaves the device what it needs of them, so that no reader of
//! rules has to be carried there.

#![allow(dead_code, reason = "the audit, the device and the build script each need some of it")]

use serde::Deserialize;

/// How much a rule matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Without it passthrough does not work.
    Required,
    /// With it passthrough does not work; counts like `Required`.
    Forbidden,
    /// Works without, but worse or less safely.
    Recommended,
    /// Good to know.
    Optional,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    pub id: String,
    pub title: String,
    pub level: Level,
    pub symbol: Option<String>,
    pub any: Option<Vec<Group>>,
    pub all: Option<Vec<String>>,
    pub parameter: Option<String>,
    pub accept: Option<Vec<String>>,
    pub reject: Option<Vec<String>>,
    pub since: Option<String>,
    pub until: Option<String>,
    #[serde(default)]
    pub arch: Vec<String>,
    #[serde(default)]
    pub when: Vec<String>,
    #[serde(default)]
    pub vendor_module: bool,
    #[serde(default)]
    pub modules: Vec<String>,
    #[serde(default)]
    pub module_hints: Vec<String>,
    #[serde(default)]
    pub never_module: Vec<String>,
    #[serde(default)]
    pub satisfied_by: Vec<String>,
    #[serde(default)]
    pub broken_by: Vec<String>,
    #[serde(default)]
    pub set: Vec<String>,
    pub why: String,
    pub effect: String,
    pub fix: String,
}

/// One of `any`: a symbol, or several that count only together.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Group {
    One(String),
    All(Vec<String>),
}
