//! The lists that accompany modules: those of `depmod(8)` and those that Android's build adds for
//! first-stage init (`libmodprobe/module_config.cpp` of AOSP). `modprobe.d(5)` describes `softdep`,
//! `options`, `alias`, `blacklist` and `install`.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::module::normalise;

/// The names of the lists that are read.
pub const LISTS: [&str; 11] = [
    "modules.dep",
    "modules.alias",
    "modules.softdep",
    "modules.options",
    "modules.load",
    "modules.load.recovery",
    "modules.load.charger",
    "modules.blocklist",
    "modules.builtin",
    "modules.builtin.modinfo",
    "modules.builtin.alias",
];

/// A line of `modules.dep`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dep {
    /// The module's path, below the directory of the list or absolute.
    pub path: String,
    /// Paths of all its dependencies, including indirect ones. They are loaded from last to first.
    pub needs: Vec<String>,
}

/// A `softdep` line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Softdep {
    /// The module, with `_`.
    pub module: String,
    /// Loaded before it, if available: names or aliases, as written.
    pub pre: Vec<String>,
    /// Loaded after it, if available.
    pub post: Vec<String>,
}

impl Softdep {
    /// Parse the text after the module's name: `pre: a b post: c`.
    pub fn parse(module: &str, text: &str) -> Self {
        let mut softdep = Softdep { module: normalise(module), ..Softdep::default() };
        let mut list = None;
        for item in text.split_ascii_whitespace() {
            match (item, list) {
                ("pre:", _) => list = Some(false),
                ("post:", _) => list = Some(true),
                (name, Some(false)) => softdep.pre.push(name.to_owned()),
                (name, Some(true)) => softdep.post.push(name.to_owned()),
                (_, None) => {}
            }
        }
        softdep
    }
}

/// The parsed lists of one directory of modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// `modules.dep` by module name; None if there is no such list.
    pub dep: Option<BTreeMap<String, Dep>>,
    /// Patterns with their modules, in order: `modules.alias` and `alias` lines.
    pub aliases: Vec<(String, String)>,
    /// `modules.softdep`, in order.
    pub softdeps: Vec<Softdep>,
    /// Parameters by module; several lines are joined.
    pub options: BTreeMap<String, String>,
    /// `modules.load`: names in load order; None if there is no such list.
    pub load: Option<Vec<String>>,
    /// `modules.load.recovery`, in the same form.
    pub load_recovery: Option<Vec<String>>,
    /// Names that are not loaded by alias, and not at all by first-stage init.
    pub blocklist: BTreeSet<String>,
    /// Names of built-in modules.
    pub builtin: BTreeSet<String>,
    /// Patterns with their built-in modules.
    pub builtin_aliases: Vec<(String, String)>,
    /// Commands that are run instead of loading a module, by module name.
    pub install: BTreeMap<String, String>,
    /// Names of the lists that were read.
    pub seen: BTreeSet<String>,
}

/// `vfio_pci` for `kernel/drivers/vfio/pci/vfio-pci.ko.xz`.
pub(crate) fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    normalise(file.split(".ko").next().unwrap_or_default())
}

impl Lists {
    /// Whether the names of built-in modules are known.
    pub(crate) fn names_builtin(&self) -> bool {
        self.seen.contains("modules.builtin")
    }

    /// Add the list of this name. Invalid lines are skipped, as in kmod and libmodprobe.
    pub fn read(&mut self, name: &str, bytes: &[u8]) {
        if self.seen.contains(name) {
            self.forget(name);
        }
        self.seen.insert(name.to_owned());
        if name == "modules.builtin.modinfo" {
            return self.builtin_modinfo(bytes);
        }
        let text = String::from_utf8_lossy(bytes);
        let lines = || text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        match name {
            "modules.dep" => self.dep = Some(lines().filter_map(dep).collect()),
            "modules.load" => self.load = Some(lines().map(name_of).collect()),
            "modules.load.recovery" => self.load_recovery = Some(lines().map(name_of).collect()),
            "modules.builtin" => self.builtin.extend(lines().map(name_of)),
            "modules.builtin.alias" => self.builtin_aliases.extend(lines().filter_map(alias)),
            _ => lines().for_each(|line| self.line(line)),
        }
    }

    /// Forget a list, because a later file of the same path replaces it.
    fn forget(&mut self, name: &str) {
        match name {
            "modules.alias" => self.aliases.clear(),
            "modules.softdep" => self.softdeps.clear(),
            "modules.options" => self.options.clear(),
            "modules.blocklist" => self.blocklist.clear(),
            "modules.builtin" => self.builtin.clear(),
            "modules.builtin.alias" => self.builtin_aliases.clear(),
            _ => {}
        }
    }

    /// Parse a line of a configuration file (`modprobe.d(5)`).
    fn line(&mut self, line: &str) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(command), Some(module)) = (fields.next(), fields.next()) else { return };
        let rest = fields.collect::<Vec<_>>().join(" ");
        match command {
            "alias" => self.aliases.extend(alias(line)),
            "softdep" => self.softdeps.push(Softdep::parse(module, &rest)),
            "options" => {
                let options = self.options.entry(name_of(module)).or_default();
                if !options.is_empty() {
                    options.push(' ');
                }
                options.push_str(&rest);
            }
            "blocklist" | "blacklist" => {
                self.blocklist.insert(name_of(module));
            }
            "install" => {
                self.install.insert(normalise(module), rest);
            }
            _ => {}
        }
    }

    /// Parse `modules.builtin.modinfo`: NUL-terminated `name.key=value` strings (`kernel/Makefile`).
    fn builtin_modinfo(&mut self, bytes: &[u8]) {
        for entry in bytes.split(|byte| *byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            let Some((key, value)) = entry.split_once('=') else { continue };
            let Some((name, key)) = key.split_once('.') else { continue };
            let name = normalise(name);
            match key {
                "alias" => self.builtin_aliases.push((value.to_owned(), name)),
                _ => {
                    self.builtin.insert(name);
                }
            }
        }
    }
}

fn dep(line: &str) -> Option<(String, Dep)> {
    let (path, needs) = line.split_once(':')?;
    let needs = needs.split_ascii_whitespace().map(str::to_owned).collect();
    Some((name_of(path), Dep { path: path.to_owned(), needs }))
}

fn alias(line: &str) -> Option<(String, String)> {
    let mut fields = line.split_ascii_whitespace();
    let (command, pattern, module) = (fields.next()?, fields.next()?, fields.next()?);
    (command == "alias").then(|| (pattern.to_owned(), normalise(module)))
}
