//! The promises of a plan, read out of its results alone.
//!
//! [`prove_again`] knows the originals, the bytes of the results and what the plan says, and nothing of
//! how they were made. Every ramdisk is unpacked again as the bootloader puts it into memory, one after
//! the other, so it costs more than the proof that a plan comes with. Tests and fuzzers assert it of
//! each plan.

use std::collections::BTreeSet;

use super::unproven::Unproven;
use crate::bootset::{BootSet, Setting};
use crate::cmdline::{Cmdline, same_name};
use crate::image::{Header, Image};
use crate::patch::error::Error;
use crate::patch::hook::choose::{HookReason, Obstacle};
use crate::patch::hook::kind::HookKind;
use crate::patch::original;
use crate::patch::plan::Plan;
use crate::patch::unpatch::unpatch;
use crate::ramdisk::tree::{Tree, TreeNode};
use crate::ramdisk::{Entries, Limits, Ramdisk, Reach};

/// The program that the kernel starts without `rdinit=`.
const DEFAULT_INIT: &str = "/init";

/// Prove that the images of `plan`, which was made from `set`, keep what a patch promises.
///
/// # Errors
/// [`Error::NotProven`] for the first promise that is broken; other errors if the originals cannot be
/// read.
pub fn prove_again(set: &BootSet<'_>, plan: &Plan<'_>) -> Result<(), Error> {
    match original::of(set)? {
        Some(start) => promises(&start.set, plan),
        None => promises(set, plan),
    }
}

fn promises(set: &BootSet<'_>, plan: &Plan<'_>) -> Result<(), Error> {
    let outputs = plan.images.iter().map(|image| image.output.as_ref());
    let bytes: Vec<Option<Vec<u8>>> = outputs.map(|output| Some(output?.to_vec())).collect();
    let mut results = Vec::new();
    for (original, bytes) in std::iter::zip(set.images(), &bytes) {
        results.push(match bytes {
            None => original.clone(),
            Some(bytes) => {
                let image = original.kind();
                Image::parse(bytes).map_err(|source| Unproven::Unreadable { image, source })?
            }
        });
    }
    let changed: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at].is_some()).collect();
    let results = set.successor(results);
    let roles = std::iter::zip(results.roles(), set.roles());
    if let Some(index) = roles.into_iter().position(|(now, before)| now != before) {
        return Err(Unproven::Role { image: set.images()[index].kind() }.into());
    }
    undone(set, &results)?;
    digests(set, &results)?;
    words(set, &results, &changed, plan)?;
    let (before, after) = (Unpacked::of(set)?, Unpacked::of(&results)?);
    files(&before, &after, plan)?;
    let program = match plan.hook.kind {
        HookKind::Rdinit => program(&results, set),
        HookKind::Init => plan.hook.init.clone(),
    };
    let works = !matches!(plan.hook.reason, HookReason::RequestedDespite(_));
    let on_the_line = plan.parameters_for_bootloader.is_empty();
    if works && on_the_line && !after.starts_ours(&program, plan) {
        return Err(Unproven::NoEffect { word: program }.into());
    }
    parts((set, &before), (&results, &after), &changed, plan)
}

/// Undoing the patch gives every original.
fn undone(set: &BootSet<'_>, results: &BootSet<'_>) -> Result<(), Error> {
    let back = unpatch(results)?;
    for ((original, result), back) in std::iter::zip(set.images(), results.images()).zip(back) {
        let same = match back {
            Some(back) => back.to_vec() == original.file(),
            None => result.file() == original.file(),
        };
        if !same {
            return Err(Unproven::Undo { image: original.kind() }.into());
        }
    }
    Ok(())
}

/// A blob that is not signed has the digest of its image if it had it before.
fn digests(set: &BootSet<'_>, results: &BootSet<'_>) -> Result<(), Error> {
    for (before, now) in std::iter::zip(set.images(), results.images()) {
        let was_right = before.unsigned_digest_is_right() == Some(true);
        if was_right && now.unsigned_digest_is_right() == Some(false) {
            let what = "its digest is not that of the image".to_owned();
            return Err(Unproven::Avb { image: now.kind(), what }.into());
        }
    }
    Ok(())
}

/// Every word that was on the command lines is there, unless the plan has one of its name. The words
/// about the IOMMU are those that a mode sets.
fn words(
    set: &BootSet<'_>,
    results: &BootSet<'_>,
    changed: &[usize],
    plan: &Plan<'_>,
) -> Result<(), Error> {
    let planned: Vec<Cmdline<&[u8]>> =
        plan.parameters.iter().map(|own| Cmdline::new(own.text.as_bytes())).collect();
    let replaced = |name: &[u8]| {
        let mut own = planned.iter().flat_map(|line| line.all());
        own.any(|own| same_name(own.name, name))
            || name.windows(5).any(|part| part.eq_ignore_ascii_case(b"iommu"))
    };
    for index in changed {
        let line = |image: &Image<'_>| {
            Cmdline::new(image.header().map(Header::cmdline).unwrap_or_default())
        };
        let (before, after) = (line(&set.images()[*index]), line(&results.images()[*index]));
        let lost = |word: &[u8]| !after.all().any(|own| own.raw == word);
        let lost = before.all().find(|word| !replaced(word.name) && lost(word.raw));
        if let Some(word) = lost {
            let image = set.images()[*index].kind();
            return Err(Unproven::WordLost { word: word.to_string(), image }.into());
        }
    }
    Ok(())
}

/// The kernel finds the files of the plan, and everything else is what it was.
fn files(before: &Unpacked, after: &Unpacked, plan: &Plan<'_>) -> Result<(), Error> {
    let shown = |path: &[u8]| format!("/{}", path.escape_ascii());
    let ours = after.resolved(&plan.proof.files);
    if let Some(path) = ours.iter().find(|path| after.tree.find(path, false).is_none()) {
        return Err(Unproven::Missing { path: shown(path) }.into());
    }
    let shadowed = before.resolved(&plan.proof.shadowed);
    for node in before.tree.nodes().filter(|node| !shadowed.contains(node.path)) {
        let Some(now) = after.node(node.path) else {
            return Err(Unproven::Lost { path: shown(node.path) }.into());
        };
        if before.content(&node) != after.content(&now) {
            return Err(Unproven::Changed { path: shown(node.path) }.into());
        }
    }
    for node in after.tree.nodes().filter(|node| before.node(node.path).is_none()) {
        let leads = |path: &Vec<u8>| {
            path.strip_prefix(node.path).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        };
        if !ours.iter().any(leads) {
            return Err(Unproven::Appeared { path: shown(node.path) }.into());
        }
    }
    Ok(())
}

/// The device boots with any of the changed images and the originals of the others.
fn parts(
    (set, before): (&BootSet<'_>, &Unpacked),
    (results, after): (&BootSet<'_>, &Unpacked),
    changed: &[usize],
    plan: &Plan<'_>,
) -> Result<(), Error> {
    if matches!(plan.hook.reason, HookReason::RequestedDespite(Obstacle::Apart(..))) {
        return Ok(());
    }
    let booting: Vec<usize> =
        changed.iter().copied().filter(|index| set.roles()[*index].boots()).collect();
    let program_before = program(set, set);
    let had_it = before.finds(&program_before);
    let all = 1usize << booting.len();
    for mask in 1..all {
        let bits = booting.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
        let flashed: Vec<usize> = bits.map(|(_, index)| *index).collect();
        let image = |(index, original)| match flashed.contains(&index) {
            true => Image::clone(&results.images()[index]),
            false => Image::clone(original),
        };
        let mix = set.successor(set.images().iter().enumerate().map(image).collect());
        let starts = program(&mix, set);
        let found = match mask + 1 == all {
            true => after.finds(&starts),
            false => Unpacked::of(&mix)?.finds(&starts),
        };
        // A program that no image of the set has stays where it was.
        if (had_it || starts != program_before) && !found {
            let names: Vec<&str> =
                flashed.iter().map(|index| set.images()[*index].kind().as_str()).collect();
            return Err(Unproven::Alone { flashed: names.join(" and "), program: starts }.into());
        }
    }
    Ok(())
}

/// What the kernel starts.
fn program(set: &BootSet<'_>, known: &BootSet<'_>) -> String {
    match set.cmdline_for(known).setting("rdinit") {
        Setting::Values(mut values) if !values.is_empty() => values.remove(0).0,
        _ => DEFAULT_INIT.to_owned(),
    }
}

/// What the kernel unpacks of the memory that the bootloader fills.
struct Unpacked {
    tree: Tree,
    /// Mode and data of each entry.
    entries: Vec<(u32, Vec<u8>)>,
}

impl Unpacked {
    /// Up to the place at which the kernel stops; nothing of a damaged ramdisk and after it.
    ///
    /// # Errors
    /// [`Error::Ramdisk`].
    fn of(set: &BootSet<'_>) -> Result<Self, Error> {
        let ramdisks = set.in_memory_order();
        let limits = Limits::default();
        for count in (0..=ramdisks.len()).rev() {
            let pieces: Vec<&[u8]> = ramdisks[..count].iter().map(|own| own.bytes).collect();
            let mut memory = pieces.concat();
            let Ok(whole) = Ramdisk::parse(&memory, limits) else { continue };
            let stop = whole.segments.iter().find(|own| own.reach == Reach::Never);
            let end = stop.map_or(memory.len(), |own| own.range.start);
            memory.truncate(end);
            return Self::read(&memory, limits);
        }
        Self::read(&[], limits)
    }

    fn read(memory: &[u8], limits: Limits) -> Result<Self, Error> {
        let mut reader = Entries::new(memory, limits);
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let mut data = Vec::new();
            reader.copy_data(&mut data)?;
            entries.push((entry.header.mode, data));
        }
        Ok(Unpacked { tree: Tree::read(memory, limits)?, entries })
    }

    fn node(&self, path: &[u8]) -> Option<TreeNode<'_>> {
        self.tree.nodes_from(path).next().filter(|node| node.path == path)
    }

    /// What makes a file what it is.
    fn content<'u>(&'u self, node: &TreeNode<'u>) -> (u32, &'u [u8], &'u [u8]) {
        let entry = usize::try_from(node.source).ok().and_then(|at| self.entries.get(at));
        let (mode, data) = entry.map_or((0, &[][..]), |(mode, data)| (*mode, &data[..]));
        (mode, data, node.target)
    }

    /// These paths, with the symbolic links on the way resolved.
    fn resolved(&self, paths: &[String]) -> BTreeSet<Vec<u8>> {
        paths.iter().filter_map(|path| self.tree.resolve(path.as_bytes(), false)).collect()
    }

    fn finds(&self, program: &str) -> bool {
        self.tree.find(program.as_bytes(), false).is_some()
    }

    /// Whether this program is a file of the plan, and executable.
    fn starts_ours(&self, program: &str, plan: &Plan<'_>) -> bool {
        let Some(found) = self.tree.find(program.as_bytes(), true) else { return false };
        let entry = usize::try_from(found.source).ok().and_then(|at| self.entries.get(at));
        let executable = entry.is_some_and(|(mode, _)| mode & 0o111 != 0);
        executable && self.resolved(&plan.proof.files).contains(&found.path)
    }
}
