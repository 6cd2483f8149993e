//! `vfioboot cmdline`: show and edit the kernel command line and the bootconfig of an image.

mod bootconfig;
mod effective;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use vfioboot::cmdline::{self, Cmdline};
use vfioboot::image::{Chunk, Image, SectionName};
use vfioboot::text;

use super::image_set::{self, Partition};
use super::input::Input;
use super::output;
use super::print::say;
use super::style::GOOD;

/// Show or edit the kernel command line and the bootconfig in an image
///
/// Without an edit it is printed; with several images, one line each. Edits are made in the order
/// remove, set, add, and need one image and -o. The bootconfig is in vendor_boot v4 only; a value
/// is written as in a bootconfig file, so 'K="a;b"' needs its quotes.
#[derive(clap::Args)]
pub struct Args {
    /// The images
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Set KEY=VALUE: replace the last such parameter, or add one
    #[arg(long, value_name = "KEY=VALUE", value_parser = parameters)]
    set: Vec<String>,
    /// Append a kernel parameter, unless it is already there
    #[arg(long, value_name = "PARAMETER", value_parser = parameters)]
    add: Vec<String>,
    /// Remove every parameter named KEY, with or without a value
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// Set a key of the bootconfig: replace its value, or append a line
    #[arg(long, value_name = "KEY=VALUE")]
    bootconfig_set: Vec<String>,
    /// Remove a key from the bootconfig, with every value it has
    #[arg(long, value_name = "KEY")]
    bootconfig_remove: Vec<String>,
    /// Print the bootconfig instead of the command line
    #[arg(long, conflicts_with_all = ["set", "add", "remove", "bootconfig_set",
          "bootconfig_remove", "output", "effective"])]
    bootconfig: bool,
    /// Show the line as the kernel will see it: every parameter in order, where it comes from, and
    /// which one takes effect when several have the same name
    #[arg(long, conflicts_with_all = ["set", "add", "remove", "bootconfig_set",
          "bootconfig_remove", "output"])]
    effective: bool,
    /// With --effective: print JSON
    #[arg(long, requires = "effective")]
    json: bool,
    /// The image to write; `-` is standard output
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// Kernel parameters that leave those after them alone.
pub fn parameters(text: &str) -> Result<String, &'static str> {
    match cmdline::closes_quotes(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err("a quote that is not closed would include the parameters after it"),
    }
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let opened = image_set::open(&args.images)?;
    let (set, inputs) = image_set::boot_set(&opened)?;
    let images = set.images();
    let parameters = !(args.set.is_empty() && args.add.is_empty() && args.remove.is_empty());
    let keys = !(args.bootconfig_set.is_empty() && args.bootconfig_remove.is_empty());
    let edits = parameters || keys;
    match (edits, &args.output, inputs.as_slice()) {
        (true, Some(output), [input]) => edit(args, input, &images[0], output)?,
        (true, None, _) => bail!("an edit needs -o FILE to write the image to"),
        (true, Some(_), _) => bail!("an edit takes one image, {} were given", inputs.len()),
        (false, Some(_), _) => bail!(
            "nothing to edit: give --set, --add, --remove, --bootconfig-set or --bootconfig-remove with -o"
        ),
        (false, None, _) if args.effective => effective::print(&set, args.json)?,
        (false, None, _) if args.bootconfig => bootconfig::print(&inputs, images)?,
        (false, None, _) => {
            for (input, image) in inputs.iter().copied().zip(images) {
                say!("{}", text::visible_bytes(&header(input, image)?.cmdline()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn header<'i>(input: &Input, image: &'i Image<'_>) -> anyhow::Result<&'i vfioboot::image::Header> {
    image.header().with_context(|| {
        format!("{}: a bare {} has no command line field", input.name(), image.kind())
    })
}

fn edit(args: &Args, input: &Input, image: &Image<'_>, output: &Path) -> anyhow::Result<()> {
    header(input, image)?;
    let mut edit = image.edit().context("no header")?;
    let mut line = Cmdline::new(edit.header.cmdline());
    for key in &args.remove {
        if line.remove(key) == 0 {
            bail!("{}: the command line has no parameter {key}", input.name());
        }
    }
    for text in &args.set {
        let Some((key, value)) = text.split_once('=') else {
            bail!("--set {text}: expected KEY=VALUE (without a value: --add {text})");
        };
        line.set(key, value);
    }
    args.add.iter().for_each(|text| line.add(text));
    edit.header.set_cmdline(line.as_bytes()).with_context(|| input.name())?;
    let config = bootconfig::edited(&args.bootconfig_set, &args.bootconfig_remove, image)
        .with_context(|| input.name())?;
    if let Some(config) = &config {
        let chunk = Chunk::owned(config.as_bytes().to_vec());
        edit.sections.push((SectionName::Bootconfig, vec![chunk]));
    }
    let rebuilt = image.rebuild(edit).with_context(|| input.name())?;
    let (size, content) = (rebuilt.output.size(), rebuilt.content_size);
    let remedy = || "what could be left out: keys of the bootconfig".to_owned();
    Partition { partition_size: None }
        .require_room(input.partition, size, content, remedy)
        .with_context(|| input.name())?;
    output::refuse_inputs(output, [input.path.as_path()])?;
    output::write_file(output, |file| rebuilt.output.write_to(file))?;
    super::report_packing(input, output);
    super::report_avb(&input.name(), rebuilt.avb_change);
    if let Some(config) = &config {
        bootconfig::report(input, config, &line);
    }
    if !output::is_stdout(output) {
        say!("{}", text::visible_bytes(line.as_bytes()))?;
        say!("{GOOD}wrote{GOOD:#} {}", output.display())?;
    }
    Ok(())
}
