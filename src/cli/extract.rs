//! `vfioboot extract`: boot images out of an OTA or a factory zip.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;
use vfioboot::ota::{Archive, Contents, Error, Payload};

use super::input::Input;
use super::output;
use super::print::{self, say};
use super::style::GOOD;

/// Extract partitions from an OTA payload.bin, an OTA zip or a factory zip
///
/// Without names, the partitions that vfioboot works with, as far as they are there: boot,
/// init_boot, vendor_boot, vendor_kernel_boot, recovery, dtbo and vbmeta. Each becomes DIR/NAME.img. The
/// SHA-256 of an OTA's data and partitions is checked, its signature is not. An incremental OTA
/// needs the partitions on the device and is refused.
#[derive(clap::Args)]
pub struct Args {
    /// payload.bin, an OTA zip or a factory zip
    input: PathBuf,
    /// The partitions, such as boot or vbmeta_system
    #[arg(value_name = "PARTITION")]
    partitions: Vec<String>,
    /// The directory to write to, made when missing
    #[arg(short, long, required_unless_present = "list")]
    dir: Option<PathBuf>,
    /// List the partitions and their sizes
    #[arg(long, conflicts_with_all = ["dir", "partitions"])]
    list: bool,
    /// With --list: print JSON
    #[arg(long, requires = "list")]
    json: bool,
}

/// The partitions that are extracted by default.
const PARTITIONS: &[&str] =
    &["boot", "init_boot", "vendor_boot", "vendor_kernel_boot", "recovery", "dtbo", "vbmeta"];

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(name) = args.partitions.iter().find(|name| !is_name(name)) {
        bail!("\"{name}\" is not the name of a partition");
    }
    let input = Input::open(&args.input)?;
    open(&input, args).with_context(|| input.name())?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a name stays in the directory.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A file with partitions.
trait PartitionSource {
    /// Name and size of each.
    fn partitions(&self) -> Vec<(String, u64)>;
    /// An error with the partitions of the file if this one is not there.
    fn require(&self, name: &str) -> Result<(), Error>;
    fn write(&mut self, name: &str, out: &mut dyn Write) -> Result<(), Error>;
}

impl PartitionSource for Payload<'_> {
    fn partitions(&self) -> Vec<(String, u64)> {
        let all = Payload::partitions(self).iter();
        all.map(|partition| (partition.name.clone(), partition.size)).collect()
    }

    fn require(&self, name: &str) -> Result<(), Error> {
        self.partition(name).map(|_| ())
    }

    fn write(&mut self, name: &str, out: &mut dyn Write) -> Result<(), Error> {
        Payload::write(self, self.partition(name)?, out)
    }
}

impl PartitionSource for Archive<'_> {
    fn partitions(&self) -> Vec<(String, u64)> {
        self.images().map(|(name, member)| (name.to_owned(), member.size)).collect()
    }

    fn require(&self, name: &str) -> Result<(), Error> {
        self.image(name).map(|_| ())
    }

    fn write(&mut self, name: &str, out: &mut dyn Write) -> Result<(), Error> {
        let member = self.image(name)?.clone();
        self.copy(&member, out)
    }
}

fn open(bytes: &[u8], args: &Args) -> anyhow::Result<()> {
    if !Archive::starts(bytes) {
        return extract(&mut Payload::parse(bytes)?, args);
    }
    let mut archive = Archive::open(bytes)?;
    let (member, is_payload) = match archive.contents()? {
        Contents::Images => return extract(&mut archive, args),
        Contents::Payload(member) => (member, true),
        Contents::Zip(member) => (member, false),
    };
    let inner = |bytes: &[u8]| match is_payload {
        true => extract(&mut Payload::parse(bytes)?, args),
        false => extract(&mut Archive::open(bytes)?, args),
    };
    if let Some(bytes) = archive.stored(&member)? {
        return inner(bytes).with_context(|| member.name.clone());
    }
    // It is compressed and has gigabytes: it is unpacked into the directory of the images.
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vfioboot-");
    let mut unpacked = match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            builder.tempfile_in(dir)
        }
        None => builder.tempfile(),
    }?;
    archive.copy(&member, unpacked.as_file_mut())?;
    let unpacked = Input::open(unpacked.path())?;
    inner(&unpacked).with_context(|| member.name.clone())
}

fn extract(source: &mut dyn PartitionSource, args: &Args) -> anyhow::Result<()> {
    let Some(dir) = &args.dir else { return list(source, args.json) };
    let there = source.partitions();
    let wanted: Vec<&str> = match args.partitions.is_empty() {
        false => args.partitions.iter().map(String::as_str).collect(),
        true => {
            let is_there = |name: &&str| there.iter().any(|(other, _)| other == name);
            PARTITIONS.iter().copied().filter(is_there).collect()
        }
    };
    if wanted.is_empty() {
        let names: Vec<_> = there.iter().map(|(name, _)| name.escape_debug().to_string()).collect();
        bail!("none of {} found; the file has {}", PARTITIONS.join(", "), names.join(", "));
    }
    wanted.iter().try_for_each(|name| source.require(name))?;
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    for name in wanted {
        let path = dir.join(format!("{name}.img"));
        output::refuse_inputs(&path, [args.input.as_path()])?;
        write(source, name, &path)?;
        say!("{GOOD}wrote{GOOD:#} {}", path.display())?;
    }
    Ok(())
}

fn write(source: &mut dyn PartitionSource, name: &str, path: &Path) -> anyhow::Result<()> {
    output::write_file(path, |file| source.write(name, file).map_err(io::Error::other))
}

fn list(source: &dyn PartitionSource, as_json: bool) -> anyhow::Result<()> {
    let partitions = source.partitions();
    if as_json {
        let partition = |(name, size): &(String, u64)| json!({ "name": name, "size": size });
        let partitions: Vec<_> = partitions.iter().map(partition).collect();
        let report = json!({ "format": 1, "partitions": partitions });
        print::json(&report)?;
        return Ok(());
    }
    for (name, size) in partitions {
        say!("{size:>12}  {name}")?;
    }
    Ok(())
}
