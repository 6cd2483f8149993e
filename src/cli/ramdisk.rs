//! `vfioboot ramdisk`.

mod list;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::image_set::{self, Partition};
use super::input::Input;
use super::output;
use super::platform;
use super::print::{self, complain};
use vfioboot::compression::Format;
use vfioboot::image::{
    Chunk, DerivedPolicy, Error, Image, ImageKind, Output, SectionName, resize_fragment,
};
use vfioboot::ramdisk::cpio::FileType;
use vfioboot::ramdisk::edit::{NewFile, Pieces};
use vfioboot::ramdisk::{Entries, Limits, edit, extract, tree};
use vfioboot::text;

/// List, read and change the files of a ramdisk.
///
/// A ramdisk is a list of segments, each compressed on its own, and the kernel unpacks one after
/// the other: later entries overwrite earlier ones. `add` and `rm` change only what they must;
/// everything else stays byte for byte.
#[derive(clap::Args)]
pub struct Args {
    /// A ramdisk, or a boot, init_boot or vendor_boot image ("-" is standard input)
    image: PathBuf,

    /// Which ramdisk fragment of a vendor_boot image, counted from 0
    #[arg(long, value_name = "N", global = true)]
    fragment: Option<usize>,

    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the entries in order, duplicates included, as `ls -l` does
    Ls {
        /// Print segments and entries as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a file as the kernel would see it: of several entries the last one
    Cat {
        /// Path in the ramdisk; symbolic links are followed
        path: String,
    },
    /// Extract all files into a new or empty directory
    ///
    /// Nothing is written outside of it. Entries with an absolute name, with ".." or with a
    /// symbolic link among their parents are skipped and named, and so are names that the file
    /// system refuses: then the exit status is 1. Devices, pipes and sockets are skipped and named,
    /// too. Owners are not set.
    Extract {
        /// The directory
        dir: PathBuf,
    },
    /// Add a file, or replace one
    ///
    /// Appends a small segment, in the ramdisk's own compression, with the file and the parent
    /// directories that are missing. No byte of the ramdisk changes: the kernel unpacks the
    /// segment last, so its entry wins.
    Add {
        /// Path in the ramdisk
        path: String,
        /// The file to put there
        file: PathBuf,
        /// Permission bits, octal; by default 0755 for an executable file, else 0644
        #[arg(long, value_parser = octal)]
        mode: Option<u32>,
        /// Write the changed image here
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
        #[command(flatten)]
        partition: Partition,
    },
    /// Remove every entry of a name
    ///
    /// Only the segments that hold one are compressed again, in the format they had; all others
    /// stay byte for byte, and so do all other entries and their order.
    Rm {
        /// Path in the ramdisk
        path: String,
        /// Remove a directory with everything in it
        #[arg(short, long)]
        recursive: bool,
        /// Write the changed image here
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
        #[command(flatten)]
        partition: Partition,
    },
}

fn octal(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => Err("expected octal permission bits such as 0755".into()),
    }
}

/// The status when an entry could not be extracted.
const EXIT_INCOMPLETE: u8 = 1;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let input = image_set::open_one(&args.image)?;
    let found = RamdiskInFile::find(&input, args.fragment);
    let found = found.with_context(|| input.name())?;
    act(args, &input, &found).with_context(|| input.name())
}

fn act(args: &Args, input: &Input, found: &RamdiskInFile<'_>) -> anyhow::Result<ExitCode> {
    let limits = Limits::default();
    match &args.action {
        Action::Ls { json } => list::list(found.ramdisk, *json, &input.name())?,
        Action::Cat { path } => {
            let mut out = print::Contents::new();
            tree::read_file(found.ramdisk, path.as_bytes(), &mut out, limits)?;
            out.finish()?;
        }
        Action::Extract { dir } => {
            let all_skipped = extract::extract(found.ramdisk, dir, limits)?;
            for skipped in &all_skipped {
                let name = text::visible_bytes(&skipped.name);
                complain(format_args!("skipped {name}: {}", skipped.reason));
            }
            if all_skipped.iter().any(|skipped| !skipped.reason.by_type()) {
                return Ok(ExitCode::from(EXIT_INCOMPLETE));
            }
        }
        Action::Add { path, file, mode, output, partition } => {
            output::refuse_inputs(output, [args.image.as_path(), file.as_path()])?;
            let data = Input::open(file)?;
            let mode = mode.unwrap_or_else(|| default_mode(file));
            let new = NewFile { path: path.as_bytes(), mode, data: &data };
            found.write(edit::add(found.ramdisk, new, limits)?, output, partition, input)?;
        }
        Action::Rm { path, recursive, output, partition } => {
            output::refuse_inputs(output, [args.image.as_path()])?;
            let pieces = edit::remove(found.ramdisk, path.as_bytes(), *recursive, limits)?;
            found.write(pieces, output, partition, input)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Only whether a file is executable goes into the image: the rest of its mode is the habit of
/// the machine it is on.
fn default_mode(file: &Path) -> u32 {
    let mode = fs::metadata(file).ok().and_then(|file| platform::mode(&file));
    let executable = mode.is_some_and(|mode| mode & 0o111 != 0);
    if executable { 0o755 } else { 0o644 }
}

/// A ramdisk and where it is in its file.
struct RamdiskInFile<'a> {
    ramdisk: &'a [u8],
    location: RamdiskLocation<'a>,
}

/// Where a ramdisk is in its file.
enum RamdiskLocation<'a> {
    /// The file is the ramdisk.
    Bare,
    /// The file is the ramdisk in a vendor's wrapper.
    Wrapped(Box<Image<'a>>),
    /// It is this section.
    Section(Box<Image<'a>>, SectionName),
    /// It is this fragment of vendor_boot v4.
    Fragment(Box<Image<'a>>, usize),
}

impl<'a> RamdiskInFile<'a> {
    fn find(input: &'a Input, fragment: Option<usize>) -> anyhow::Result<Self> {
        let bytes: &[u8] = input;
        let image = match Image::parse(bytes) {
            Ok(image) if image.kind() == ImageKind::Kernel => bail!("is a kernel, not a ramdisk"),
            Ok(image) => Some(image),
            Err(Error::UnknownMagic { .. }) if starts_like_ramdisk(bytes) => None,
            Err(error) => return Err(input.named(error).into()),
        };
        let vendor = image.as_ref().is_some_and(|image| image.kind() == ImageKind::VendorBoot);
        if fragment.is_some() && !vendor {
            bail!("--fragment is for vendor_boot images, which this is not");
        }
        let image = match image {
            Some(image) if image.kind() != ImageKind::Ramdisk => Box::new(image),
            Some(image) if image.wrapper().is_some() => {
                let ramdisk = image.bytes();
                return Ok(RamdiskInFile {
                    ramdisk,
                    location: RamdiskLocation::Wrapped(Box::new(image)),
                });
            }
            _ => return Ok(RamdiskInFile { ramdisk: bytes, location: RamdiskLocation::Bare }),
        };
        if vendor {
            return Self::find_fragment(image, fragment);
        }
        let section = SectionName::Ramdisk;
        let ramdisk = image.section(section).context("the image has no ramdisk")?;
        Ok(RamdiskInFile { ramdisk, location: RamdiskLocation::Section(image, section) })
    }

    fn find_fragment(image: Box<Image<'a>>, wanted: Option<usize>) -> anyhow::Result<Self> {
        let fragments = image.fragments();
        let index = match (wanted, fragments.as_slice()) {
            (_, []) => bail!("the image has no ramdisk"),
            (Some(index), _) => index,
            (None, [_]) => 0,
            (None, several) => {
                let name = |(index, fragment): (usize, &vfioboot::image::Fragment<'_>)| {
                    let name = text::visible_bytes(fragment.name);
                    format!("\n  {index}: \"{name}\" ({})", fragment.kind)
                };
                let names: String = several.iter().enumerate().map(name).collect();
                bail!("has {} ramdisk fragments, choose with --fragment N:{names}", several.len());
            }
        };
        let Some(fragment) = fragments.get(index) else {
            bail!("--fragment {index}: the image has {} fragments", fragments.len());
        };
        fragment.require_bare()?;
        let ramdisk = fragment.bytes;
        let location = if image.section(SectionName::VendorRamdiskTable).is_some() {
            RamdiskLocation::Fragment(image, index)
        } else {
            RamdiskLocation::Section(image, SectionName::VendorRamdisk)
        };
        Ok(RamdiskInFile { ramdisk, location })
    }

    /// Write the image with `pieces` in place of the ramdisk, when it fits the partition.
    fn write(
        &self,
        pieces: Pieces<'a>,
        output: &Path,
        partition: &Partition,
        input: &Input,
    ) -> anyhow::Result<()> {
        let remedy = || largest_files(self.ramdisk);
        let rebuild = |image: &Image<'a>, sections| -> anyhow::Result<_> {
            let mut edit = image.edit().context("the image has no header")?;
            edit.sections = sections;
            let rebuilt =
                image.rebuild(edit).map_err(|error| image_set::with_remedy(error, remedy))?;
            Ok((rebuilt.output, Some(rebuilt.content_size), rebuilt.avb_change))
        };
        let (bytes, content, avb) = match &self.location {
            RamdiskLocation::Bare => (Output::from_chunks(chunks(pieces)), None, None),
            RamdiskLocation::Wrapped(image) => {
                let wrapped = Output::from_chunks(chunks(pieces));
                (image.wrap(wrapped, DerivedPolicy::KeepRight)?, None, None)
            }
            RamdiskLocation::Section(image, section) => {
                rebuild(image, vec![(*section, chunks(pieces))])?
            }
            RamdiskLocation::Fragment(image, index) => {
                rebuild(image, replace_fragment(image, *index, pieces)?)?
            }
        };
        let size = bytes.size();
        let content = content.unwrap_or(size);
        partition.require_room(input.partition, size, content, remedy)?;
        output::write_file(output, |out| bytes.write_to(out))?;
        super::report_packing(input, output);
        super::report_avb(&output.display().to_string(), avb);
        Ok(())
    }
}

/// What could be left out of a ramdisk.
fn largest_files(ramdisk: &[u8]) -> String {
    let mut entries = Entries::new(ramdisk, Limits::default());
    let mut files = Vec::new();
    // Damage after them does not matter here.
    while let Ok(Some(entry)) = entries.next_entry() {
        if entry.file_type() == FileType::Regular {
            files.push((text::visible_bytes(entry.path()), u64::from(entry.header.filesize)));
        }
    }
    image_set::largest("the ramdisk", files)
}

/// Files that the image module does not take for a ramdisk because their contents are damaged
/// or none: what is wrong with them is ours to say.
fn starts_like_ramdisk(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let rest = &bytes[zeros..];
    rest.starts_with(b"07070") || Format::detect(rest).is_some()
}

fn chunks(pieces: Pieces<'_>) -> Vec<Chunk<'_>> {
    pieces.into_iter().map(Chunk::Bytes).collect()
}

type Sections<'a> = Vec<(SectionName, Vec<Chunk<'a>>)>;

/// The vendor ramdisk and its table with other bytes for one fragment.
fn replace_fragment<'a>(
    image: &Image<'a>,
    index: usize,
    pieces: Pieces<'a>,
) -> anyhow::Result<Sections<'a>> {
    let section = image.section(SectionName::VendorRamdisk).unwrap_or_default();
    let table = image.section(SectionName::VendorRamdiskTable).unwrap_or_default();
    let fragment = image.fragments().swap_remove(index);
    let header = image.header().context("the image has no header")?;
    let (_, entry_size) = header.ramdisk_table().context("the image has no fragment table")?;
    let size = u32::try_from(pieces.iter().map(|piece| piece.len()).sum::<usize>())?;
    let table = resize_fragment(table, entry_size, index, size)
        .context("the fragment does not fit the vendor ramdisk table")?;
    let end = fragment.offset + fragment.bytes.len();
    let mut ramdisk = vec![Chunk::borrowed(&section[..fragment.offset])];
    ramdisk.extend(chunks(pieces));
    ramdisk.push(Chunk::borrowed(&section[end..]));
    Ok(vec![
        (SectionName::VendorRamdisk, ramdisk),
        (SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]),
    ])
}
