//! `vfioboot cmdline --effective`: the line as the kernel sees it.

use serde_json::json;
use vfioboot::bootset::sources::DeviceTreeLine;
use vfioboot::bootset::{BootSet, EffectiveCmdline, KernelState};
use vfioboot::cmdline::COMMAND_LINE_SIZE;
use vfioboot::image::bootconfig::{Bootconfig, Entry};

use crate::cli::print::{self, say};
use crate::cli::style::{BAD, DIM, HEAD, NOTE};

/// All that is known about the line.
struct Known<'s> {
    line: &'s EffectiveCmdline,
    /// For each parameter the index of the one that overrides it.
    overridden: Vec<Option<usize>>,
    device_trees: Vec<(&'s str, &'s DeviceTreeLine)>,
    /// Keys that are not kernel parameters but for user space.
    bootconfig: Vec<(&'s str, Vec<Entry>)>,
    notes: Vec<String>,
}

pub fn print(set: &BootSet<'_>, as_json: bool) -> anyhow::Result<()> {
    let known = Known::of(set);
    match as_json {
        true => print::json(&known.to_json())?,
        false => known.print()?,
    }
    Ok(())
}

/// A note about the kernel: whether `CONFIG_CMDLINE` is known and used.
fn about_kernel(set: &BootSet<'_>) -> Option<String> {
    match &set.kernel().state {
        KernelState::Absent => Some("no kernel among the images".to_owned()),
        KernelState::Unreadable(error) => {
            let name = set.kernel().image.map(|image| set.name(image)).unwrap_or_default();
            Some(format!("{name}: the kernel cannot be read: {error}"))
        }
        KernelState::NoConfig | KernelState::Config => None,
    }
}

fn for_user_space(config: &Bootconfig) -> Vec<Entry> {
    let of_kernel =
        |entry: &Entry| entry.key.starts_with("kernel.") || entry.key.starts_with("init.");
    config.entries().into_iter().filter(|entry| !of_kernel(entry)).collect()
}

impl<'s> Known<'s> {
    fn of(set: &'s BootSet<'_>) -> Self {
        let lines = set.command_lines();
        let line = set.cmdline();
        let trees = lines.device_trees.iter();
        let configs = lines.bootconfigs.iter();
        let mut notes: Vec<String> = about_kernel(set).into_iter().collect();
        notes.extend(lines.notes.iter().map(ToString::to_string));
        notes.extend(line.mode.explain().map(str::to_owned));
        Known {
            line,
            overridden: line.overridden(),
            device_trees: trees.map(|(image, line)| (set.name(*image), line)).collect(),
            bootconfig: configs
                .map(|(image, config)| (set.name(*image), for_user_space(config)))
                .collect(),
            notes,
        }
    }

    fn print(&self) -> std::io::Result<()> {
        for (index, own) in self.line.entries.iter().enumerate() {
            let quote = if own.text.contains(char::is_whitespace) { "\"" } else { "" };
            let label = own.label();
            let shown = format!("{quote}{}{quote}", own.text);
            match self.overridden[index].map(|winner| &self.line.entries[winner]) {
                Some(winner) => say!(
                    "{shown}  {DIM}{label}{DIM:#}  {NOTE}overridden by {} ({}){NOTE:#}",
                    winner.text,
                    winner.origin
                )?,
                None => say!("{shown}  {DIM}{label}{DIM:#}")?,
            }
        }
        let length = self.line.length();
        let limit = COMMAND_LINE_SIZE - 1;
        let style = if length > limit { BAD } else { HEAD };
        say!("{style}{length} of {limit} bytes{style:#}, and what the bootloader adds")?;
        for (file, line) in &self.device_trees {
            let trees = if line.count == 1 { "device tree" } else { "device trees" };
            say!(
                "{HEAD}{} {trees} of {file}{HEAD:#} {DIM}(/chosen/bootargs; counts only with a \
                 bootloader that keeps it){DIM:#}: {}",
                line.count,
                line.text
            )?;
        }
        for (file, entries) in self.bootconfig.iter().filter(|(_, entries)| !entries.is_empty()) {
            say!(
                "{HEAD}bootconfig of {file}{HEAD:#} {DIM}(for user space: /proc/bootconfig){DIM:#}"
            )?;
            for entry in entries {
                say!("  {} = {}", entry.key, quoted(&entry.values))?;
            }
        }
        for note in &self.notes {
            say!("{NOTE}note:{NOTE:#} {note}")?;
        }
        Ok(())
    }

    fn to_json(&self) -> serde_json::Value {
        let words = self.line.entries.iter().enumerate().map(|(index, own)| {
            json!({
                "word": own.text,
                "origin": own.origin.name(),
                "file": own.origin.file(),
                "counts": own.counts,
                "overridden_by": self.overridden[index],
            })
        });
        let device_trees = self.device_trees.iter().map(
            |(file, line)| json!({ "file": file, "bootargs": line.text, "count": line.count }),
        );
        let bootconfig = self.bootconfig.iter().flat_map(|(file, entries)| {
            entries.iter().map(move |e| json!({ "file": file, "key": e.key, "values": e.values }))
        });
        json!({
            "format": 1,
            "mode": self.line.mode.name(),
            "words": words.collect::<Vec<_>>(),
            "length": self.line.length(),
            "limit": COMMAND_LINE_SIZE - 1,
            "device_trees": device_trees.collect::<Vec<_>>(),
            "bootconfig": bootconfig.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// As /proc/bootconfig prints them.
fn quoted(values: &[String]) -> String {
    values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ")
}
