//! One kernel parameter.

use serde::Serialize;

use crate::cmdline::Cmdline;

/// A kernel parameter that the patch adds to the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedParameter {
    /// As it is written: `intel_iommu=on`.
    #[serde(rename = "word")]
    pub text: String,
    /// Its purpose.
    pub why: String,
    #[serde(skip)]
    position: Position,
}

/// How a parameter is put on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    /// Replaces the last one of its name, or comes before all others: the kernel forgets the
    /// arguments for init that precede `rdinit=` (`rdinit_setup` in `init/main.c`).
    First { name: &'static str, value: String },
    /// The last one of its name wins, so the elements of that one are kept and these added.
    Merged { name: &'static str, elements: Vec<String> },
    /// Comes last, unless the line has it already.
    Last,
}

impl PlannedParameter {
    /// `name=value`, replaced in position or put before all others.
    pub(crate) fn first(name: &'static str, value: &str, why: &str) -> Self {
        PlannedParameter {
            text: format!("{name}={value}"),
            why: why.to_owned(),
            position: Position::First { name, value: value.to_owned() },
        }
    }

    /// `name=element,…`, merged with the existing one.
    pub(crate) fn merged(name: &'static str, elements: Vec<String>, why: &str) -> Self {
        PlannedParameter {
            text: format!("{name}={}", elements.join(",")),
            why: why.to_owned(),
            position: Position::Merged { name, elements },
        }
    }

    /// A parameter that comes last.
    pub(crate) fn last(text: impl Into<String>, why: impl Into<String>) -> Self {
        PlannedParameter { text: text.into(), why: why.into(), position: Position::Last }
    }

    /// Put it on `line`.
    pub(crate) fn apply(&self, line: &mut Cmdline) {
        match &self.position {
            Position::First { name, value } => match line.value(name).is_some() {
                true => line.set(name, value),
                false => line.prepend(&self.text),
            },
            Position::Merged { name, elements } => {
                let present = line.value(name).map(String::from_utf8_lossy);
                let present = present.as_deref().unwrap_or_default();
                let mut merged: Vec<&str> = present.split(',').filter(|e| !e.is_empty()).collect();
                for element in elements {
                    if !merged.contains(&element.as_str()) {
                        merged.push(element);
                    }
                }
                let merged = merged.join(",");
                line.set(name, &merged);
            }
            Position::Last => line.add(&self.text),
        }
    }
}
