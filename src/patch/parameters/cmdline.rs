//! The image whose command line takes the parameters of a patch.

use super::parameter::LineEdit;
use crate::cmdline::{COMMAND_LINE_SIZE, Cmdline};
use crate::image::{Edit, ImageKind};
use crate::patch::assignment::Assignment;
use crate::patch::context::Context;
use crate::patch::edit::{Change, PlannedEdit};
use crate::patch::error::Error;
use crate::patch::hook::choose::Hook;
use crate::patch::hook::kind::HookKind;
use crate::patch::hook::rdinit;
use crate::patch::warning::Warning;

/// An edited command line.
pub(crate) struct CmdlineEdit<'a> {
    /// Index of the image.
    pub index: usize,
    /// Its header with the new line.
    pub edit: Edit<'a>,
    /// For the plan.
    pub planned: PlannedEdit,
}

/// The image for the parameters of a patch.
#[derive(Default)]
pub(crate) struct Placement<'a> {
    /// The image that takes them.
    pub edit: Option<CmdlineEdit<'a>>,
    /// The parameters that no image can carry.
    pub for_bootloader: Vec<String>,
    /// Possible problems.
    pub warnings: Vec<Warning>,
}

/// Carry out `line_edit` on the command line of an image, if the kernel uses one.
///
/// # Errors
/// [`Error::Image`] when the line becomes too long for the header.
pub(crate) fn place<'a>(
    set: &Context<'_, 'a>,
    assignment: &Assignment,
    hook: &Hook,
    line_edit: LineEdit<'_>,
) -> Result<Placement<'a>, Error> {
    let mut placement = Placement::default();
    if line_edit.is_empty() {
        return Ok(placement);
    }
    // An rdinit= of the originals is replaced where it is.
    let replaced = rdinit::last(set).filter(|_| hook.kind == HookKind::Rdinit);
    let index = replaced.map(|(index, _)| index).or(assignment.cmdline);
    match index.filter(|_| set.kernel.forced_cmdline().is_none()) {
        Some(index) => {
            let edit = edit(set, assignment, index, line_edit)?;
            placement.warnings.extend(contradicted_elsewhere(set, index, line_edit));
            placement.warnings.extend(too_long(set, index, &edit.edit.header.cmdline()));
            placement.edit = Some(edit);
        }
        None => {
            let mut line = Cmdline::new(Vec::new());
            line_edit.apply(&mut line);
            let parameters = line.display();
            if parameters.is_empty() {
                return Ok(placement);
            }
            placement.for_bootloader.push(parameters.clone());
            placement.warnings.push(if set.kernel.forced_cmdline().is_some() {
                Warning::CmdlineIgnored { parameters }
            } else if hook.kind == HookKind::Rdinit {
                Warning::NoCmdline { parameters }
            } else {
                Warning::NoCmdlineForOptional { parameters }
            });
        }
    }
    Ok(placement)
}

fn edit<'a>(
    set: &Context<'_, 'a>,
    assignment: &Assignment,
    index: usize,
    line_edit: LineEdit<'_>,
) -> Result<CmdlineEdit<'a>, Error> {
    let mut edit = set.images[index].edit().ok_or(Error::NoCmdline)?;
    let mut line = Cmdline::new(edit.header.cmdline());
    let before = line.display();
    line_edit.apply(&mut line);
    edit.header.set_cmdline(line.as_bytes())?;
    let change = Change::Cmdline { why: assignment.cmdline_reason, before, after: line.display() };
    Ok(CmdlineEdit { index, edit, planned: PlannedEdit { image: index, change } })
}

/// What the kernel reads on other lines than that of the image `index`, and that says otherwise.
fn contradicted_elsewhere(
    set: &Context<'_, '_>,
    index: usize,
    line_edit: LineEdit<'_>,
) -> Vec<Warning> {
    let headers = set.active().filter(|(other, image)| {
        *other != index && matches!(image.kind(), ImageKind::Boot | ImageKind::VendorBoot)
    });
    let headers = headers.filter_map(|(_, image)| Some(image.header()?.cmdline()));
    let built_in = set.kernel.extending_cmdline().map(String::into_bytes);
    let lines: Vec<Cmdline> = headers.chain(built_in).map(Cmdline::new).collect();
    let parameters = lines.iter().flat_map(Cmdline::parameters);
    let found = parameters.filter(|own| line_edit.replaces(own));
    found.map(|own| Warning::ContradictedElsewhere { present: own.to_string() }).collect()
}

/// The kernel cuts off a longer line without a message.
fn too_long(set: &Context<'_, '_>, index: usize, line: &[u8]) -> Option<Warning> {
    let others = set.active().filter(|(other, image)| {
        *other != index && matches!(image.kind(), ImageKind::Boot | ImageKind::VendorBoot)
    });
    let others = others.filter_map(|(_, image)| image.header());
    let others: usize = others.map(|header| header.cmdline().len() + 1).sum();
    let total = others + line.len();
    // With the NUL at its end.
    (total >= COMMAND_LINE_SIZE)
        .then_some(Warning::CmdlineTooLong { total, kept: COMMAND_LINE_SIZE - 1 })
}
