//! Messages of the subcommands on standard error.

use std::path::Path;

use vfioboot::image::{AvbChange, Image};

use super::input::Input;
use super::print::complain;

/// Say on standard error where the header and the file disagree.
pub fn report_problems(input: &Input, image: &Image<'_>) {
    for problem in image.problems() {
        complain(format_args!("warning: {}: {problem}", input.name()));
    }
}

/// Say that a result is not packed as its input is.
pub fn report_packing(input: &Input, output: &Path) {
    if let Some(packing) = input.packing() {
        let output = match super::output::is_stdout(output) {
            true => "standard output".to_owned(),
            false => output.display().to_string(),
        };
        complain(format_args!(
            "note: {} is an image in another form ({packing}): {output} is the plain image",
            input.name()
        ));
    }
}

/// Say what an edit did to AVB's metadata.
pub fn report_avb(input: &str, change: Option<AvbChange>) {
    let what = match change {
        Some(AvbChange::Preserved) => {
            "the digest in its AVB descriptor no longer matches: an unlocked (orange) device boots it, a locked one does not"
        }
        Some(AvbChange::Rehashed) => {
            "its vbmeta image is not signed: the digest in it was made right"
        }
        _ => return,
    };
    complain(format_args!("note: {input}: {what}"));
}
