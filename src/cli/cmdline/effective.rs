//! `vfioboot cmdline --effective`: the line as the kernel will see it.

use serde_json::json;
use vfioboot::audit::sources::{self, DeviceTreeLine, Named};
use vfioboot::audit::{CmdlineMode, EffectiveCmdline, Facts};
use vfioboot::cmdline::COMMAND_LINE_SIZE;
use vfioboot::image::bootconfig::{Bootconfig, Entry};
use vfioboot::image::{Image, SectionName};
use vfioboot::kernel::Kernel;

use crate::cli::input::Input;
use crate::cli::print::{self, say};
use crate::cli::style::{BAD, DIM, HEAD, NOTE};

/// All that is known about the line.
struct Known {
    line: EffectiveCmdline,
    /// For each parameter the index of the one that overrides it.
    overridden: Vec<Option<usize>>,
    device_trees: Vec<(String, DeviceTreeLine)>,
    /// Keys that are not kernel parameters but for user space.
    bootconfig: Vec<(String, Vec<Entry>)>,
    notes: Vec<String>,
}

pub fn print(inputs: &[Input], images: &[Image<'_>], as_json: bool) -> anyhow::Result<()> {
    let known = gather(inputs, images);
    match as_json {
        true => print::json(&known.to_json())?,
        false => known.print()?,
    }
    Ok(())
}

fn gather(inputs: &[Input], images: &[Image<'_>]) -> Known {
    let names: Vec<String> = inputs.iter().map(Input::name).collect();
    let named = || names.iter().zip(images);
    let all: Vec<Named<'_, '_>> = named().map(|(file, image)| Named { file, image }).collect();
    let mut notes = Vec::new();
    let mut facts = kernel_facts(&names, images, &mut notes);
    let mut parts = sources::of_headers(&all);
    let avb = sources::of_avb(&all);
    parts.extend(avb.parts);
    notes.extend(avb.notes);
    let mut bootconfig = Vec::new();
    for (name, image) in named() {
        match sources::bootconfig_of(image) {
            None => {}
            Some(Ok(config)) => {
                parts.extend(sources::of_bootconfig(name, &config));
                bootconfig.push((name.clone(), for_user_space(&config)));
            }
            Some(Err(error)) => {
                notes.push(format!("{name}: {error}: the kernel ignores the whole bootconfig"));
            }
        }
    }
    facts.set_cmdline(parts);
    let device_trees = named().flat_map(|(name, image)| {
        sources::of_device_trees(image).into_iter().map(|line| (name.clone(), line))
    });
    let device_trees = device_trees.collect();
    let line = EffectiveCmdline::new(&facts)
        .unwrap_or(EffectiveCmdline { words: Vec::new(), mode: CmdlineMode::Unknown });
    notes.extend(line.mode.explain().map(str::to_owned));
    let overridden = line.overridden();
    Known { line, overridden, device_trees, bootconfig, notes }
}

/// What the kernel says of itself; `CONFIG_CMDLINE` and its use matter here.
fn kernel_facts(names: &[String], images: &[Image<'_>], notes: &mut Vec<String>) -> Facts {
    let mut kernels = names
        .iter()
        .zip(images)
        .filter_map(|(name, image)| Some((name, image.section(SectionName::Kernel)?)));
    let Some((name, bytes)) = kernels.next() else {
        notes.push("no kernel among the images".to_owned());
        return Facts::default();
    };
    match Kernel::parse(bytes).and_then(|kernel| Ok((kernel.arch(), kernel.scan()?))) {
        Ok((arch, scan)) => Facts::from_scan(&scan, arch, name),
        Err(error) => {
            notes.push(format!("{name}: the kernel cannot be read: {error}"));
            Facts::default()
        }
    }
}

fn for_user_space(config: &Bootconfig) -> Vec<Entry> {
    let of_kernel =
        |entry: &Entry| entry.key.starts_with("kernel.") || entry.key.starts_with("init.");
    config.entries().into_iter().filter(|entry| !of_kernel(entry)).collect()
}

impl Known {
    fn print(&self) -> std::io::Result<()> {
        for (index, word) in self.line.words.iter().enumerate() {
            let quote = if word.word.contains(char::is_whitespace) { "\"" } else { "" };
            let label = word.label();
            let shown = format!("{quote}{}{quote}", word.word);
            match self.overridden[index].map(|winner| &self.line.words[winner]) {
                Some(winner) => say!(
                    "{shown}  {DIM}{label}{DIM:#}  {NOTE}overridden by {} ({}){NOTE:#}",
                    winner.word,
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
        let words = self.line.words.iter().enumerate().map(|(index, word)| {
            json!({
                "word": word.word,
                "origin": word.origin.name(),
                "file": word.origin.file(),
                "counts": word.counts,
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
