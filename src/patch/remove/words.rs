//! What becomes of a command line.

use crate::bootfile::RUNTIME;
use crate::cmdline::Cmdline;
use crate::patch::undo::ImageUndo;

/// Whether the last `rdinit=` of a line names the runtime.
pub(crate) fn name_runtime<B: AsRef<[u8]>>(line: &Cmdline<B>) -> bool {
    line.value("rdinit") == Some(RUNTIME.as_bytes())
}

/// `line` without what the patch added to it, and with what it replaced; None if that is the same. What
/// others have added since stays.
pub(super) fn without(undo: Option<&ImageUndo>, line: &[u8]) -> Option<Vec<u8>> {
    let lines = undo.and_then(|undo| Some((undo.original_line()?, undo.patched_line())));
    let new = match &lines {
        Some((original, patched)) if *patched == line => original.clone(),
        Some((original, patched)) => merged(original, patched, line),
        None => line.to_vec(),
    };
    let mut new = Cmdline::new(new);
    // Nothing of the patch starts the runtime any more.
    let ours: Vec<Vec<u8>> = new
        .all()
        .filter(|own| own.is("rdinit") && own.value == Some(RUNTIME.as_bytes()))
        .map(|own| own.raw.to_vec())
        .collect();
    for own in ours {
        new.replace(&own, None);
    }
    (new.as_bytes() != line).then(|| new.as_bytes().to_vec())
}

/// `line`, which was `patched` once, with the parameters that make that `original`.
fn merged(original: &[u8], patched: &[u8], line: &[u8]) -> Vec<u8> {
    let (mut gone, mut added) = (parameters(original), Vec::new());
    for own in parameters(patched) {
        match gone.iter().position(|other| *other == own) {
            Some(same) => drop(gone.remove(same)),
            None => added.push(own),
        }
    }
    let mut line = Cmdline::new(line.to_vec());
    for own in added {
        let name = own.split(|byte| *byte == b'=').next();
        let replaced =
            gone.iter().position(|other| other.split(|byte| *byte == b'=').next() == name);
        let replaced = replaced.map(|at| gone.remove(at));
        line.replace(&own, replaced.as_deref());
    }
    for own in gone {
        line.add(&String::from_utf8_lossy(&own));
    }
    line.as_bytes().to_vec()
}

fn parameters(line: &[u8]) -> Vec<Vec<u8>> {
    Cmdline::new(line).all().map(|own| own.raw.to_vec()).collect()
}
