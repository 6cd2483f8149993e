//! The built-in profiles: all are read, and the one that the device goes by is written as a
//! constant, so that the device needs no reader of profiles.
//!
//! The constant has what the device uses and nothing else, because the program travels in small
//! ramdisks: no rules that are good to know only, no reasons, no settings for a config. The rules of
//! every architecture stay: the tree of another machine is judged by its own.

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::rules::config::Value;
use crate::rules::{
    Arch, Assignment, BUILTIN, Condition, KconfigLine, KernelVersion, Level, List, Note, Profile,
    RecommendedParameter, Rule, Scope, Soc, SocPart, Switch, Test, Text, When,
};

/// What the device goes by.
const DEVICE: &str = "passthrough";

/// Read every profile, and write that of the device to `out`: one expression of the type
/// [`Profile`], to be included where the types of `src/rules/language.rs` are in scope.
pub fn write(out: &Path) {
    println!("cargo:rerun-if-changed=kernel-configs");
    println!("cargo:rerun-if-changed=src/rules");
    println!("cargo:rerun-if-changed=build");
    for builtin in BUILTIN {
        let profile = builtin.read().unwrap_or_else(|error| match error.source() {
            Some(cause) => panic!("{error}: {cause}"),
            None => panic!("{error}"),
        });
        if builtin.name == DEVICE
            && let Err(error) = fs::write(out, for_device(profile).source())
        {
            panic!("{}: {error}", out.display());
        }
    }
}

/// What the device uses of a profile.
fn for_device(profile: Profile) -> Profile {
    let rules = profile.rules.iter().filter(|rule| rule.level != Level::Optional);
    let rules = rules.map(|rule| Rule {
        set: List::default(),
        why: Text::default(),
        by_soc: None,
        ..rule.clone()
    });
    let spoken_of = |note: &&Note| note.parameter.is_some();
    Profile {
        rules: rules.collect(),
        notes: profile.notes.iter().filter(spoken_of).cloned().collect(),
        parameters: List::default(),
        // What a function that did not run has left out can be seen on the device.
        initcalls: List::default(),
        socs: List::default(),
        ..profile
    }
}

/// A value as an expression of Rust. Each takes itself apart, so that a new field does not compile
/// until it is written.
trait Source {
    fn source(&self) -> String;
}

fn list<T: Source>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(Source::source).collect();
    format!("Cow::Borrowed(&[{}])", items.join(", "))
}

impl Source for std::borrow::Cow<'static, str> {
    fn source(&self) -> String {
        format!("Cow::Borrowed({self:?})")
    }
}

impl<T: Source + Clone> Source for std::borrow::Cow<'static, [T]> {
    fn source(&self) -> String {
        list(self)
    }
}

impl<A: Source, B: Source> Source for (A, B) {
    fn source(&self) -> String {
        format!("({}, {})", self.0.source(), self.1.source())
    }
}

impl<T: Source> Source for Option<T> {
    fn source(&self) -> String {
        match self {
            Some(value) => format!("Some({})", value.source()),
            None => "None".to_owned(),
        }
    }
}

impl Source for Profile {
    fn source(&self) -> String {
        let Profile {
            name,
            title,
            arch,
            rules,
            parameters,
            notes,
            modules,
            part_of,
            socs,
            initcalls,
        } = self;
        let fields = [
            ("name", name.source()),
            ("title", title.source()),
            ("arch", arch.source()),
            ("rules", rules.source()),
            ("parameters", parameters.source()),
            ("notes", notes.source()),
            ("modules", modules.source()),
            ("part_of", part_of.source()),
            ("socs", socs.source()),
            ("initcalls", initcalls.source()),
        ];
        record("Profile", &fields)
    }
}

impl Source for Rule {
    fn source(&self) -> String {
        let Rule {
            id,
            title,
            level,
            condition,
            scope,
            accept,
            vendor_module,
            modules,
            module_hints,
            never_module,
            by_soc,
            alternative,
            satisfied_by,
            broken_by,
            set,
            why,
            effect,
            fix,
        } = self;
        let fields = [
            ("id", id.source()),
            ("title", title.source()),
            ("level", level.source()),
            ("condition", condition.source()),
            ("scope", scope.source()),
            ("accept", accept.source()),
            ("vendor_module", vendor_module.to_string()),
            ("modules", modules.source()),
            ("module_hints", module_hints.source()),
            ("never_module", never_module.source()),
            ("by_soc", by_soc.source()),
            ("alternative", alternative.source()),
            ("satisfied_by", satisfied_by.source()),
            ("broken_by", broken_by.source()),
            ("set", set.source()),
            ("why", why.source()),
            ("effect", effect.source()),
            ("fix", fix.source()),
        ];
        record("Rule", &fields)
    }
}

impl Source for Condition {
    fn source(&self) -> String {
        match self {
            Condition::Symbols(groups) => format!("Condition::Symbols({})", groups.source()),
            Condition::Parameter(switch) => format!("Condition::Parameter({})", switch.source()),
        }
    }
}

impl Source for Switch {
    fn source(&self) -> String {
        let Switch { name, reject, restore, off_when } = self;
        let fields = [
            ("name", name.source()),
            ("reject", reject.source()),
            ("restore", restore.source()),
            ("off_when", off_when.source()),
        ];
        record("Switch", &fields)
    }
}

impl Source for Scope {
    fn source(&self) -> String {
        let Scope { arch, since, until, when } = self;
        let fields = [
            ("arch", arch.source()),
            ("since", since.source()),
            ("until", until.source()),
            ("when", when.source()),
        ];
        record("Scope", &fields)
    }
}

impl Source for When {
    fn source(&self) -> String {
        let When { symbol, test } = self;
        record("When", &[("symbol", symbol.source()), ("test", test.source())])
    }
}

impl Source for Test {
    fn source(&self) -> String {
        match self {
            Test::Enabled => "Test::Enabled".to_owned(),
            Test::Is(value) => format!("Test::Is({})", value.source()),
            Test::IsNot(value) => format!("Test::IsNot({})", value.source()),
        }
    }
}

impl Source for Value {
    fn source(&self) -> String {
        match self {
            Value::Yes => "Value::Yes".to_owned(),
            Value::Module => "Value::Module".to_owned(),
            Value::No => "Value::No".to_owned(),
            Value::Text(_) | Value::Number(_) => panic!("a precondition is y, m or n"),
        }
    }
}

impl Source for Assignment {
    fn source(&self) -> String {
        let Assignment { name, value } = self;
        record("Assignment", &[("name", name.source()), ("value", value.source())])
    }
}

impl Source for KconfigLine {
    fn source(&self) -> String {
        let KconfigLine { symbol, value, since, until, when } = self;
        let fields = [
            ("symbol", symbol.source()),
            ("value", value.source()),
            ("since", since.source()),
            ("until", until.source()),
            ("when", when.source()),
        ];
        record("KconfigLine", &fields)
    }
}

impl Source for Soc {
    fn source(&self) -> String {
        let Soc { name, symbol, bridge, iommu, note } = self;
        let fields = [
            ("name", name.source()),
            ("symbol", symbol.source()),
            ("bridge", bridge.source()),
            ("iommu", iommu.source()),
            ("note", note.source()),
        ];
        record("Soc", &fields)
    }
}

impl Source for SocPart {
    fn source(&self) -> String {
        format!("SocPart::{self:?}")
    }
}

impl Source for RecommendedParameter {
    fn source(&self) -> String {
        let RecommendedParameter { parameter, level, scope, why } = self;
        let fields = [
            ("parameter", parameter.source()),
            ("level", level.source()),
            ("scope", scope.source()),
            ("why", why.source()),
        ];
        record("RecommendedParameter", &fields)
    }
}

impl Source for Note {
    fn source(&self) -> String {
        let Note { parameter, values, scope, hypervisor, text, warn } = self;
        let fields = [
            ("parameter", parameter.source()),
            ("values", values.source()),
            ("scope", scope.source()),
            ("hypervisor", hypervisor.source()),
            ("text", text.source()),
            ("warn", warn.to_string()),
        ];
        record("Note", &fields)
    }
}

impl Source for KernelVersion {
    fn source(&self) -> String {
        // Numbers only: its `Debug` is an expression.
        format!("{self:?}")
    }
}

impl Source for Level {
    fn source(&self) -> String {
        format!("Level::{self:?}")
    }
}

impl Source for Arch {
    fn source(&self) -> String {
        format!("Arch::{self:?}")
    }
}

fn record(name: &str, fields: &[(&str, String)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{name}: {value}"));
    format!("{name} {{ {} }}", fields.collect::<Vec<_>>().join(", "))
}
