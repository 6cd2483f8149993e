//! The lists of a ramdisk's modules, edited: the appended segment shadows them, and PID 1 restores
//! the originals in a boot without the patch.

use std::collections::BTreeMap;

use crate::bootfile::ORIGINALS;
use crate::modules::ModuleTree;
use crate::modules::depmod::name_of;
use crate::patch::contribution::Contribution;
use crate::patch::edit::{Change, ListEdit};
use crate::patch::segment_file::SegmentFile;

/// The lists that are edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    Dep,
    Load,
    Softdep,
    Options,
    Blocklist,
}

impl List {
    pub(crate) fn name(self) -> &'static str {
        match self {
            List::Dep => "modules.dep",
            List::Load => "modules.load",
            List::Softdep => "modules.softdep",
            List::Options => "modules.options",
            List::Blocklist => "modules.blocklist",
        }
    }
}

/// An edited list.
#[derive(Default)]
struct Edited {
    lines: Vec<String>,
    /// For the plan.
    added: Vec<String>,
    removed: Vec<String>,
}

/// The lists of a tree with the edits of all parts of a patch.
pub(crate) struct Lists<'t> {
    pub tree: &'t ModuleTree,
    edited: BTreeMap<List, Edited>,
}

impl<'t> Lists<'t> {
    /// The lists as they are.
    pub(crate) fn new(tree: &'t ModuleTree) -> Self {
        Lists { tree, edited: BTreeMap::new() }
    }

    fn edit(&mut self, list: List) -> &mut Edited {
        let tree = self.tree;
        self.edited.entry(list).or_insert_with(|| {
            let bytes = tree.raw_lists.get(list.name()).map(Vec::as_slice).unwrap_or_default();
            let lines = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
            Edited { lines, ..Edited::default() }
        })
    }

    /// Add lines at the end.
    pub(crate) fn append(&mut self, list: List, lines: &[String]) {
        let edited = self.edit(list);
        edited.lines.extend_from_slice(lines);
        edited.added.extend_from_slice(lines);
    }

    /// Add lines before the first that `before` accepts, or at the end.
    pub(crate) fn insert(
        &mut self,
        list: List,
        lines: &[String],
        before: impl Fn(&String) -> bool,
    ) {
        let edited = self.edit(list);
        let at = edited.lines.iter().position(before).unwrap_or(edited.lines.len());
        let place = match edited.lines.get(at) {
            Some(next) => format!("before {next}"),
            None => "at the end".to_owned(),
        };
        edited.added.push(format!("{} ({place})", lines.join(" ")));
        edited.lines.splice(at..at, lines.iter().cloned());
    }

    /// Remove the lines that `which` accepts.
    pub(crate) fn remove(&mut self, list: List, which: impl Fn(&String) -> bool) {
        let edited = self.edit(list);
        let (removed, lines): (Vec<String>, Vec<String>) =
            std::mem::take(&mut edited.lines).into_iter().partition(which);
        edited.lines = lines;
        edited.removed.extend(removed);
    }

    /// Give the module options, each `name=value`, that replace those of the same name; of a name in
    /// `lists` the value is added to the one that is there. Of several lines for a module only the
    /// first counts, so that one is changed.
    pub(crate) fn options(&mut self, module: &str, options: &[(String, String)], lists: &[&str]) {
        if options.is_empty() {
            return;
        }
        let edited = self.edit(List::Options);
        let ours = |line: &&mut String| {
            let mut words = line.split(' ');
            words.next() == Some("options") && words.next().map(name_of).as_deref() == Some(module)
        };
        let Some(line) = edited.lines.iter_mut().find(ours) else {
            let words: Vec<String> =
                options.iter().map(|(n, value)| format!("{n}={value}")).collect();
            let line = format!("options {module} {}", words.join(" "));
            edited.added.push(line.clone());
            edited.lines.push(line);
            return;
        };
        let old = line.clone();
        let mut words: Vec<String> = old.split(' ').map(str::to_owned).collect();
        for (name, value) in options {
            let is_own = |word: &&mut String| {
                word.split('=').next() == Some(name.as_str()) && word.contains('=')
            };
            match words.iter_mut().skip(2).find(is_own) {
                Some(word) if lists.contains(&name.as_str()) => {
                    word.push(',');
                    word.push_str(value);
                }
                Some(word) => *word = format!("{name}={value}"),
                None => words.push(format!("{name}={value}")),
            }
        }
        *line = words.join(" ");
        if *line != old {
            edited.added.push(line.clone());
            edited.removed.push(old);
        }
    }

    /// The edited lists as files of the segment, with their originals.
    pub(crate) fn finish(self) -> Contribution {
        let mut contribution = Contribution::default();
        for (list, Edited { lines, added, removed }) in self.edited {
            if added.is_empty() && removed.is_empty() {
                continue;
            }
            let path = format!("/{}/{}", self.tree.directory, list.name());
            let mut text = lines.join("\n");
            text.push('\n');
            contribution.files.push(SegmentFile::new(&path, 0o644, text.into_bytes()));
            if let Some(original) = self.tree.raw_lists.get(list.name()) {
                let kept = format!("{ORIGINALS}{path}");
                contribution.files.push(SegmentFile::new(&kept, 0o644, original.clone()));
            }
            contribution.shadows.push(path.clone());
            contribution.changes.push(Change::ModuleList(ListEdit { path, added, removed }));
        }
        contribution
    }
}
