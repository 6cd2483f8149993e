//! The commands that come after a patch, ready to be copied: try, flash, undo.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use vfioboot::patch::{FlashTool, Plan};
use vfioboot::text;

use crate::cli::image_set::{self, Destination};
use crate::cli::print::{self, say};
use crate::cli::style::HEAD;

/// The commands for the images that were written.
#[derive(Debug, Default, Serialize)]
pub struct Commands {
    /// Starts the image once, without flashing it.
    trial: Option<String>,
    /// Flash the images, in this order.
    flash: Vec<String>,
    /// The same on the device, as root, in place of `flash`.
    on_device: Vec<String>,
    /// Restore the originals, and flash those.
    undo: Vec<String>,
}

impl Commands {
    /// For images written to these paths. What is installed is not flashed.
    pub fn new(plan: &Plan<'_>, written: &[(usize, PathBuf)], place: &Destination) -> Self {
        if place.install.install {
            let names: Vec<String> = written.iter().map(|(_, path)| quote(path)).collect();
            let undo = format!("vfioboot unpatch {} --install", names.join(" "));
            return Commands { undo: vec![undo], ..Commands::default() };
        }
        let to_directory = place.dir.is_some();
        let path_of = |image| written.iter().find(|(own, _)| *own == image).map(|(_, path)| path);
        let flash: Vec<(&FlashTool, &PathBuf)> = plan
            .next
            .flash
            .iter()
            .filter_map(|own| Some((&own.tool, path_of(own.image)?)))
            .collect();
        let trial = plan.next.trial.and_then(path_of);
        let each = |command: fn(&FlashTool, &Path) -> Option<String>| {
            flash.iter().filter_map(|(tool, path)| command(tool, path)).collect()
        };
        Commands {
            trial: trial.map(|path| format!("fastboot boot {}", quote(path))),
            flash: each(flash_command),
            on_device: each(dd),
            undo: undo(&flash, to_directory),
        }
    }

    /// Print them.
    pub fn print(&self) -> io::Result<()> {
        let order = if self.flash.len() > 1 { ", in this order" } else { "" };
        if let Some(trial) = &self.trial {
            block("try it without flashing", std::slice::from_ref(trial))?;
        }
        block(&format!("flash it{order}"), &self.flash)?;
        block(&format!("or on the device, as root{order}"), &self.on_device)?;
        block("undo it with", &self.undo)
    }
}

fn block(title: &str, commands: &[String]) -> io::Result<()> {
    if commands.is_empty() {
        return Ok(());
    }
    say!("{HEAD}{title}{HEAD:#}")?;
    commands.iter().try_for_each(|command| print::command(command))
}

fn flash_command(tool: &FlashTool, path: &Path) -> Option<String> {
    let file = quote(path);
    Some(match tool {
        FlashTool::Fastboot { partition } => format!("fastboot flash {partition} {file}"),
        FlashTool::Heimdall { partition } => {
            format!("heimdall flash --{} {file}", partition.to_uppercase())
        }
        FlashTool::Copy => return None,
    })
}

/// The suffix of the running slot is empty where there are no slots.
fn dd(tool: &FlashTool, path: &Path) -> Option<String> {
    let partition = tool.partition()?;
    let by_name = "/dev/block/by-name";
    Some(format!(
        "dd if={} of={by_name}/{partition}$(getprop ro.boot.slot_suffix) && sync",
        quote(path)
    ))
}

/// Restore the originals beside the patched images, and flash them in the reverse order.
fn undo(flash: &[(&FlashTool, &PathBuf)], to_directory: bool) -> Vec<String> {
    let patched: Vec<String> = flash.iter().map(|(_, path)| quote(path)).collect();
    let original = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        match to_directory {
            true => path.with_file_name("original").join(name),
            false => path.with_file_name(image_set::named(path, image_set::ORIGINAL)),
        }
    };
    let Some(first) = flash.first().map(|(_, path)| original(path)) else { return Vec::new() };
    let place = match to_directory {
        true => format!("-d {}", quote(first.parent().unwrap_or(Path::new(".")))),
        false => format!("-o {}", quote(&first)),
    };
    let unpatch = format!("vfioboot unpatch {} {place}", patched.join(" "));
    let back = flash.iter().rev().filter_map(|(tool, path)| flash_command(tool, &original(path)));
    std::iter::once(unpatch).chain(back).collect()
}

/// The path as a word of a POSIX shell.
fn quote(path: &Path) -> String {
    text::shell_word(&path.display().to_string())
}
