//! One kernel parameter.

use serde::Serialize;

use crate::cmdline::{Cmdline, Parameter};

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
    /// Replaces every other value of its name.
    Only { name: String, value: String },
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
    pub(crate) fn merged(
        name: &'static str,
        elements: Vec<String>,
        why: impl Into<String>,
    ) -> Self {
        PlannedParameter {
            text: format!("{name}={}", elements.join(",")),
            why: why.into(),
            position: Position::Merged { name, elements },
        }
    }

    /// `name=value`, instead of every other value of this name.
    pub(crate) fn only(name: &str, value: &str, why: impl Into<String>) -> Self {
        PlannedParameter {
            text: format!("{name}={value}"),
            why: why.into(),
            position: Position::Only { name: name.to_owned(), value: value.to_owned() },
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
            Position::Only { name, value } => line.set_only(name, value),
            Position::Last => line.add(&self.text),
        }
    }

    /// Whether this parameter of a line says otherwise than this one, which is to be the only one
    /// of its name.
    fn contradicts(&self, own: &Parameter<'_>) -> bool {
        match &self.position {
            Position::Only { name, value } => own.is(name) && own.value != Some(value.as_bytes()),
            _ => false,
        }
    }
}

/// What contradicts the parameters of a patch, which takes it off the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction {
    /// The parameter.
    pub name: &'static str,
    /// The element of its list; None for the whole parameter.
    pub element: Option<&'static str>,
}

impl Contradiction {
    fn take_off(self, line: &mut Cmdline) {
        match self.element {
            Some(element) => line.remove_element(self.name, element),
            None => drop(line.remove(self.name)),
        }
    }

    fn is_in(self, own: &Parameter<'_>) -> bool {
        let has = |element: &str| {
            let mut parts = own.value.unwrap_or_default().split(|byte| *byte == b',');
            parts.any(|part| part == element.as_bytes())
        };
        own.is(self.name) && self.element.is_none_or(has)
    }
}

/// The parameters that a patch puts on a line, and what it takes off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineEdit<'e> {
    /// Put on, in order.
    pub parameters: &'e [PlannedParameter],
    /// Taken off before.
    pub contradictions: &'e [Contradiction],
}

impl LineEdit<'_> {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(self) -> bool {
        self.parameters.is_empty() && self.contradictions.is_empty()
    }

    /// Edit `line`.
    pub(crate) fn apply(self, line: &mut Cmdline) {
        self.contradictions.iter().for_each(|own| own.take_off(line));
        self.parameters.iter().for_each(|parameter| parameter.apply(line));
    }

    /// Whether the edit replaces this parameter of a line, or takes it off, wholly or in part.
    pub(crate) fn replaces(self, own: &Parameter<'_>) -> bool {
        self.parameters.iter().any(|parameter| parameter.contradicts(own))
            || self.contradictions.iter().any(|contradiction| contradiction.is_in(own))
    }
}
