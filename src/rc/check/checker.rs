//! What the checker knows while it reads a file, and how it reports.

use std::collections::BTreeMap;

use super::finding::Finding;
use crate::rc::language::{Language, Level};
use crate::root_manager::RcOverlay;

/// The init that reads the file.
#[derive(Clone, Copy, Debug)]
pub struct Platform {
    /// The overlay of the root manager that reads the file; None for init itself.
    pub overlay: Option<&'static RcOverlay>,
    /// The oldest possible Android version; None when unknown.
    pub oldest: Option<u32>,
    /// The newest possible Android version; None when unknown.
    pub newest: Option<u32>,
}

/// The section that a line belongs to.
pub(super) enum Section {
    /// No section has begun.
    None,
    /// The first line of the section is wrong, so its other lines are not checked.
    Broken,
    Import,
    Action,
    Service(Service),
}

/// What the section of a service has defined so far.
pub(super) struct Service {
    pub line: usize,
    pub name: String,
    pub program: String,
    pub options: Vec<String>,
}

/// The state of a check.
pub(super) struct Checker<'s> {
    pub language: &'static Language,
    pub platform: Platform,
    /// The section of the current line.
    pub section: Section,
    pub findings: Vec<Finding>,
    /// The line of each service's definition.
    pub services: BTreeMap<String, usize>,
    /// The events that the file itself triggers.
    pub triggers: Vec<&'s str>,
}

impl Checker<'_> {
    pub(super) fn report(&mut self, line: usize, level: Level, what: &str, why: &str, fix: &str) {
        let [what, why, fix] = [what, why, fix].map(str::to_owned);
        self.findings.push(Finding { line, level, what, why, fix });
    }

    pub(super) fn error(&mut self, line: usize, what: &str, why: &str, fix: &str) {
        self.report(line, Level::Error, what, why, fix);
    }

    pub(super) fn warning(&mut self, line: usize, what: &str, why: &str, fix: &str) {
        self.report(line, Level::Warning, what, why, fix);
    }

    /// The overlays of root managers that do not read the file.
    pub(super) fn other_overlays(&self) -> impl Iterator<Item = &'static RcOverlay> + use<> {
        let own = self.platform.overlay;
        RcOverlay::all().filter(move |overlay| own != Some(*overlay))
    }
}
