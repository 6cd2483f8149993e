//! Images are flashed one after the other, and one of them may be replaced later: the device boots
//! with every part of the results.

use super::read_back::ReadBack;
use super::report::Step;
use super::unproven::Unproven;
use crate::bootset::{BootSet, Setting};
use crate::image::Image;
use crate::patch::context::Context;
use crate::patch::error::Error;
use crate::patch::hook::choose::{HookReason, Obstacle};
use crate::patch::parts::Parts;

/// The program that the kernel runs in an initramfs without `rdinit=` (`init/main.c`).
const DEFAULT_INIT: &str = "/init";

/// Prove it. If the user asked for `rdinit=` although it is in another image than the file that it
/// names, only the order of flashing is proven.
///
/// # Errors
/// [`Error::NotProven`].
pub(super) fn prove(
    set: &Context<'_, '_>,
    read: &ReadBack<'_>,
    parts: &Parts<'_>,
) -> Result<Vec<Step>, Error> {
    let booting: Vec<usize> =
        read.changed.iter().copied().filter(|index| set.set.roles()[*index].boots()).collect();
    let alone = booting.iter().map(|index| vec![*index]);
    let in_order = (2..=booting.len()).map(|count| booting[..count].to_vec());
    let apart = matches!(parts.hook.reason, HookReason::RequestedDespite(Obstacle::Apart(..)));
    let before = program(set.set, set.set);
    let mut steps = Vec::new();
    for flashed in alone.chain(in_order) {
        let mix = mix(set.set, read, &flashed);
        let starts = program(&mix, set.set);
        // A program that no image of the set has stays where it was.
        let boots = starts == before || mix.tree()?.find(starts.as_bytes(), false).is_some();
        let by_order = apart && booting.first() != flashed.first();
        if !boots && !by_order {
            let names: Vec<&str> =
                flashed.iter().map(|index| set.images[*index].kind().as_str()).collect();
            return Err(Unproven::Alone { flashed: names.join(" and "), program: starts }.into());
        }
        steps.push(Step { flashed, starts, boots });
    }
    Ok(steps)
}

/// The set with these images flashed.
fn mix<'b, 'a: 'b>(
    originals: &BootSet<'a>,
    read: &'b ReadBack<'b>,
    flashed: &[usize],
) -> BootSet<'b> {
    let results = read.set.images();
    let image = |(index, original): (usize, &Image<'a>)| -> Image<'b> {
        match flashed.contains(&index) {
            true => results[index].clone(),
            false => original.clone(),
        }
    };
    let mix = originals.successor(originals.images().iter().enumerate().map(image).collect());
    for index in 0..results.len() {
        match flashed.contains(&index) {
            true => mix.share(index, &read.set),
            false => mix.share(index, originals),
        }
    }
    mix
}

/// The program that the kernel starts.
fn program(set: &BootSet<'_>, known: &BootSet<'_>) -> String {
    match set.cmdline_for(known).setting("rdinit") {
        Setting::Values(mut values) if !values.is_empty() => values.remove(0).0,
        _ => DEFAULT_INIT.to_owned(),
    }
}
