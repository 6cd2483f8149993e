//! The command line: the words of the patch are in effect, and no other word is lost.

use super::read_back::ReadBack;
use super::unproven::Unproven;
use crate::bootfile::RUNTIME;
use crate::bootset::{BootSet, EffectiveCmdline, Setting};
use crate::cmdline::{COMMAND_LINE_SIZE, Cmdline, Parameter, same_name};
use crate::image::{Header, Image};
use crate::patch::context::Context;
use crate::patch::error::Error;
use crate::patch::hook::choose::HookReason;
use crate::patch::hook::kind::HookKind;
use crate::patch::parts::Parts;

/// Prove it; gives the words of the patch.
///
/// # Errors
/// [`Error::NotProven`].
pub(super) fn prove(
    set: &Context<'_, '_>,
    read: &ReadBack<'_>,
    parts: &Parts<'_>,
) -> Result<Vec<String>, Error> {
    let edit = parts.placement.edit.as_ref();
    for index in &read.changed {
        let (before, now) = (&set.images[*index], &read.set.images()[*index]);
        let planned = match edit.filter(|edit| edit.index == *index) {
            Some(edit) => Some(edit.edit.header.cmdline()),
            None => before.header().map(Header::cmdline),
        };
        if now.header().map(Header::cmdline) != planned {
            return Err(Unproven::Line { image: now.kind() }.into());
        }
        kept(before, now, parts)?;
    }
    let Some(edit) = edit else { return Ok(Vec::new()) };
    let line = read.set.images()[edit.index].header().map(Header::cmdline).unwrap_or_default();
    let line = Cmdline::new(line);
    for parameter in &parts.all.parameters {
        let text = Cmdline::new(parameter.text.as_bytes());
        if let Some(missing) = text.all().find(|word| !has(&line, word)) {
            return Err(Unproven::NoEffect { word: missing.to_string() }.into());
        }
    }
    starts(set, read, parts)?;
    length(set.set, read)?;
    Ok(parts.all.parameters.iter().map(|parameter| parameter.text.clone()).collect())
}

/// Every word of the original is there, unless the patch has one of the same name or takes it off.
fn kept(before: &Image<'_>, now: &Image<'_>, parts: &Parts<'_>) -> Result<(), Error> {
    let line =
        |image: &Image<'_>| Cmdline::new(image.header().map(Header::cmdline).unwrap_or_default());
    let (before, after) = (line(before), line(now));
    for word in before.all() {
        let named = parts.all.parameters.iter().any(|own| {
            let own = Cmdline::new(own.text.as_bytes());
            own.all().any(|own| same_name(own.name, word.name))
        });
        let replaced = named || parts.all.line_edit().replaces(&word);
        if !replaced && !after.all().any(|own| own.raw == word.raw) {
            return Err(Unproven::WordLost { word: word.to_string(), image: now.kind() }.into());
        }
    }
    Ok(())
}

/// Whether a word is among the kernel's own parameters; a list may have more elements.
fn has(line: &Cmdline, word: &Parameter<'_>) -> bool {
    let elements = |value: Option<&[u8]>| -> Vec<Vec<u8>> {
        value.unwrap_or_default().split(|byte| *byte == b',').map(<[u8]>::to_vec).collect()
    };
    let wanted = elements(word.value);
    line.parameters().filter(|own| same_name(own.name, word.name)).any(|own| {
        let there = elements(own.value);
        own.value.is_some() == word.value.is_some() && wanted.iter().all(|one| there.contains(one))
    })
}

/// The kernel starts the runtime.
fn starts(set: &Context<'_, '_>, read: &ReadBack<'_>, parts: &Parts<'_>) -> Result<(), Error> {
    // The user knows that another rdinit= does not count.
    let doubtful = matches!(parts.hook.reason, HookReason::RequestedDespite(_));
    if parts.hook.kind != HookKind::Rdinit || doubtful {
        return Ok(());
    }
    match read.set.cmdline_for(set.set).setting("rdinit") {
        Setting::Values(values) if values.iter().all(|(value, _)| value == RUNTIME) => Ok(()),
        _ => Err(Unproven::NoEffect { word: format!("rdinit={RUNTIME}") }.into()),
    }
}

/// The kernel does not cut off what it did not cut off before.
fn length(originals: &BootSet<'_>, read: &ReadBack<'_>) -> Result<(), Error> {
    let length = |line: EffectiveCmdline| line.length();
    let total = length(read.set.cmdline_for(originals));
    // With the NUL at its end. Kernels that take more are known by an original with more.
    let fits = |total: usize| total < COMMAND_LINE_SIZE;
    match fits(total) || !fits(length(originals.cmdline_for(originals))) {
        true => Ok(()),
        false => Err(Unproven::LineTooLong { total, kept: COMMAND_LINE_SIZE - 1 }.into()),
    }
}
