//! Where kernel parameters are in a set of images.

use super::avb::of_avb;
use super::named::Named;
use super::note::LineNote;
use crate::bootset::initramfs::behind_the_last;
use crate::bootset::members::Members;
use crate::bootset::origin::{CmdlinePart, Origin};
use crate::bootset::role;
use crate::image::bootconfig::{self, Bootconfig, Entry, Limits};
use crate::image::{Image, ImageKind, SectionName};
use crate::kernel::{Kernel, dtb};

/// The kernel parameters in the images of a set, by where they are.
#[derive(Clone, Debug, Default)]
pub struct CommandLines {
    /// The line that the bootloader passes, in order: the headers of vendor_boot and boot,
    /// the AVB descriptors that apply, the bootconfig.
    pub parts: Vec<CmdlinePart>,
    /// The bootconfigs that the kernel accepts, with the index of their image.
    pub bootconfigs: Vec<(usize, Bootconfig)>,
    /// The lines in device trees, with the index of their image.
    pub device_trees: Vec<(usize, DeviceTreeLine)>,
    /// Omissions and assumptions.
    pub notes: Vec<LineNote>,
}

impl CommandLines {
    pub(in crate::bootset) fn read(set: &Members<'_>) -> Self {
        let mut lines = Self::of_loader(set);
        for (index, image) in set.images.iter().enumerate() {
            let trees = of_device_trees(image);
            lines.device_trees.extend(trees.into_iter().map(|line| (index, line)));
        }
        lines
    }

    /// The same without the device trees, for which kernels may have to be searched.
    pub(in crate::bootset) fn of_loader(set: &Members<'_>) -> Self {
        let named = |(index, image)| Named { file: set.name(index), image };
        let all: Vec<Named<'_, '_>> = set.images.iter().enumerate().map(named).collect();
        let mut lines = CommandLines { parts: of_headers(&all), ..CommandLines::default() };
        let avb = of_avb(&all);
        lines.parts.extend(avb.parts);
        lines.notes.extend(avb.notes);
        for (index, bytes) in bootconfigs(set) {
            let file = set.name(index);
            match read_bootconfig(bytes) {
                Ok(config) => {
                    lines.parts.extend(of_bootconfig(file, &config));
                    lines.bootconfigs.push((index, config));
                }
                Err(error) => {
                    lines.notes.push(LineNote::Bootconfig { file: file.to_owned(), error });
                }
            }
        }
        lines
    }
}

/// The bootconfigs that reach the kernel, with the index of their image: those of vendor_boot, or the one
/// behind the last ramdisk.
fn bootconfigs<'a>(set: &Members<'a>) -> Vec<(usize, &'a [u8])> {
    let images = || set.images.iter().enumerate();
    let own = |(index, image): (usize, &Image<'a>)| {
        Some((index, image.section(SectionName::Bootconfig)?))
    };
    let found: Vec<_> = images().filter_map(own).collect();
    // Roles cost more than a look at the headers.
    let behind = || images().any(|(_, image)| image.trailing_bootconfig().is_some());
    match found.is_empty() && behind() {
        true => behind_the_last(set, &role::decide(set)).into_iter().collect(),
        false => found,
    }
}

/// The command lines of the headers as bootloaders join them: vendor_boot's, then boot's. They do not
/// use that of init_boot.
pub(crate) fn of_headers(images: &[Named<'_, '_>]) -> Vec<CmdlinePart> {
    let part = |named: &Named<'_, '_>| {
        let line = named.image.header()?.cmdline();
        let origin = match named.image.kind() {
            ImageKind::VendorBoot => Origin::VendorBoot,
            _ => Origin::Boot,
        };
        let text = String::from_utf8_lossy(&line).into_owned();
        Some(CmdlinePart { origin: origin(named.file.to_owned()), text })
    };
    let order = [ImageKind::VendorBoot, ImageKind::Boot];
    let of_kind = |kind| images.iter().filter(move |named| named.image.kind() == kind);
    order.into_iter().flat_map(of_kind).filter_map(part).collect()
}

/// # Errors
/// [`bootconfig::Error`]: the kernel ignores the whole bootconfig.
fn read_bootconfig(bytes: &[u8]) -> Result<Bootconfig, bootconfig::Error> {
    let config = Bootconfig::parse(bytes)?;
    config.validate(Limits::KERNEL)?;
    Ok(config)
}

/// Parameters from the keys of a bootconfig: those before the command line from those
/// below `kernel`, arguments of init from those below `init` (`xbc_make_cmdline` in `init/main.c`).
pub(crate) fn of_bootconfig(file: &str, config: &Bootconfig) -> Vec<CmdlinePart> {
    let entries = config.entries();
    let words = |below: &str| -> Vec<String> {
        let below = |entry: &Entry| {
            let name = entry.key.strip_prefix(below)?.strip_prefix('.')?;
            let quoted = |value: &String| format!("{name}=\"{value}\"");
            Some(match entry.values.as_slice() {
                [] => vec![name.to_owned()],
                values => values.iter().map(quoted).collect(),
            })
        };
        entries.iter().filter_map(below).flatten().collect()
    };
    let (kernel, mut init) = (words("kernel"), words("init"));
    if !init.is_empty() {
        init.insert(0, "--".to_owned());
    }
    let origin = Origin::Bootconfig(file.to_owned());
    let texts = [kernel, init].into_iter().filter(|words| !words.is_empty());
    texts.map(|words| CmdlinePart { origin: origin.clone(), text: words.join(" ") }).collect()
}

/// `/chosen/bootargs` of device trees in an image. Bootloaders differ in what they do with
/// them: most replace them with their own line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTreeLine {
    /// The line.
    pub text: String,
    /// How many of the image's device trees have it.
    pub count: usize,
}

/// The lines in the device trees of an image (in a section of their own, after the kernel, or in the
/// second stage of old images), each once.
fn of_device_trees(image: &Image<'_>) -> Vec<DeviceTreeLine> {
    let mut lines: Vec<DeviceTreeLine> = Vec::new();
    let mut take = |bytes: &[u8]| {
        let Some(text) = dtb::bootargs(bytes).filter(|text| !text.trim().is_empty()) else {
            return;
        };
        match lines.iter_mut().find(|line| line.text == text) {
            Some(line) => line.count += 1,
            None => lines.push(DeviceTreeLine { text, count: 1 }),
        }
    };
    for section in [SectionName::Dtb, SectionName::Second] {
        let Some(bytes) = image.section(section) else { continue };
        dtb::find(bytes, 0).iter().for_each(|dtb| take(&bytes[dtb.offset..]));
    }
    let kernel = image.section(SectionName::Kernel);
    if let Some((bytes, Ok(kernel))) = kernel.map(|bytes| (bytes, Kernel::parse(bytes)))
        && let Ok(dtbs) = kernel.appended_dtbs()
    {
        dtbs.iter().for_each(|dtb| take(&bytes[dtb.offset..]));
    }
    lines
}
