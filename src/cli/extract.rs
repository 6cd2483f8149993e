//! `vfioboot extract`: images out of updates, archives and other containers.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;
use vfioboot::container::{self, Entry, Opened};

use super::input::Input;
use super::output::{self, Links};
use super::print::{self, say};
use super::spill;
use super::style::GOOD;

/// Extract images from an OTA, a factory zip, an archive, or a compressed, sparse or super image
///
/// Without names, the partitions that vfioboot works with, as far as they are there: boot,
/// init_boot, vendor_boot, vendor_kernel_boot, recovery, dtbo and vbmeta; or the kernel of an
/// AnyKernel zip. Each becomes DIR/NAME.img, without the compression that the container has around
/// it. The SHA-256 of an OTA's data and partitions is checked, its signature is not. An incremental
/// OTA needs the partitions on the device and is refused.
#[derive(clap::Args)]
pub struct Args {
    /// payload.bin, an OTA or factory zip, a tar archive (.tar.md5, .tgz), an AnyKernel zip, a super
    /// or sparse image, or a compressed image
    input: PathBuf,
    /// The partitions, such as boot or vbmeta_system
    #[arg(value_name = "PARTITION")]
    partitions: Vec<String>,
    /// The directory to write to, made when missing
    #[arg(short, long, required_unless_present = "list")]
    dir: Option<PathBuf>,
    /// List the partitions and their sizes; that of a compressed image is not known
    #[arg(long, conflicts_with_all = ["dir", "partitions"])]
    list: bool,
    /// With --list: print JSON
    #[arg(long, requires = "list")]
    json: bool,
}

/// Maximum size of an image in bytes, larger than on any device.
const MAX_IMAGE: u64 = 16 << 30;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(name) = args.partitions.iter().find(|name| !is_name(name)) {
        bail!("\"{name}\" is not the name of a partition");
    }
    let input = Input::open(&args.input)?;
    let name = input.file_name().map(|_| input.name()).unwrap_or_default();
    let spill = spill::Files { dir: args.dir.clone() };
    container::open(&input, &name, &spill, |opened| match &args.dir {
        Some(dir) => extract(opened, dir, args),
        None => list(opened.entries(), args.json),
    })
    .with_context(|| input.name())?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a name stays in the directory.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte);
    !name.is_empty() && !name.starts_with(['.', '-']) && name.bytes().all(is_plain)
}

fn extract(opened: &mut Opened<'_>, dir: &Path, args: &Args) -> anyhow::Result<()> {
    let wanted = match args.partitions.is_empty() {
        true => opened.extracted()?,
        false => opened.named(&args.partitions)?,
    };
    let files: Vec<String> = wanted.iter().map(|at| opened.entries()[*at].file.clone()).collect();
    for (at, file) in files.iter().enumerate() {
        if !is_name(file) {
            bail!("\"{}\" is not a file name", file.escape_debug());
        }
        if files[..at].contains(file) {
            bail!("several files are {file}: unpack the archive, and give the right one");
        }
        output::refuse_inputs(&dir.join(file), [args.input.as_path()])?;
    }
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let (mut paths, mut staged) = (Vec::new(), Vec::new());
    opened.each::<anyhow::Error>(&wanted, MAX_IMAGE, &mut |entry, fill| {
        let path = dir.join(&entry.file);
        let write = |file: &mut dyn io::Write| fill(file).map_err(io::Error::other);
        staged.push(output::stage(&path, Links::Refuse, write)?);
        paths.push(path);
        Ok(())
    })?;
    output::publish(staged)?;
    for path in paths {
        say!("{GOOD}wrote{GOOD:#} {}", path.display())?;
    }
    Ok(())
}

fn list(entries: &[Entry], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let partition = |own: &Entry| json!({ "name": own.partition, "size": own.size });
        let partitions: Vec<_> = entries.iter().map(partition).collect();
        let report = json!({ "format": 1, "partitions": partitions });
        print::json(&report)?;
        return Ok(());
    }
    for Entry { partition, size, .. } in entries {
        let size = size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        say!("{size:>12}  {}", vfioboot::text::visible(partition))?;
    }
    Ok(())
}
