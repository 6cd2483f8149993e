//! The plan: what a patch changes, where and why, as data; and the bytes to write.

use serde::Serialize;

use super::avb::{self, AvbOptions, Outlook, Signing};
use super::hook::{Hook, HookChoice, HookKind, Original};
use super::kernel_facts::KernelFacts;
use super::modules::{self, ModuleOptions, ModulePlan};
use super::runtime::Runtimes;
use super::segment::Payload;
use super::target::{self, Targets};
use super::{Cmdline, Error, ImageUndo, UndoRecord};
use crate::bootfile::{BootFile, DISABLE_WORD, DeviceSpec, RUNTIME};
use crate::compression::Format;
use crate::image::{
    self, Chunk, DerivedPolicy, Edit, Header, Image, ImageKind, Output, Rebuilt, SectionName,
    resize_fragment,
};
use crate::ramdisk::{self, AppendPoint};

/// What to patch in.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// The devices to put on vfio-pci, in order.
    pub devices: Vec<DeviceSpec>,
    /// vfiorun for each architecture.
    pub runtimes: Runtimes<'a>,
    /// Modules to load, and where they may come from.
    pub modules: ModuleOptions<'a>,
    /// Words for the kernel command line, besides those that the audit recommends.
    pub words: Vec<String>,
    /// Milliseconds that PID 1 may take, see [`BootFile::deadline_ms`].
    pub deadline_ms: u32,
    /// What becomes of AVB's metadata.
    pub avb: AvbOptions<'a>,
    /// Milliseconds that PID 1 waits for a missing device, see [`BootFile::wait_ms`].
    pub wait_ms: u32,
    /// How the kernel is to start the runtime.
    pub hook: HookChoice,
}

/// A patch, computed and not yet written.
#[derive(Clone, Debug, Serialize)]
pub struct Plan<'a> {
    /// What is changed.
    pub edits: Vec<PlannedEdit>,
    /// What may go wrong, for people.
    pub warnings: Vec<String>,
    /// How the kernel starts the runtime.
    pub hook: Hook,
    /// The kernel that the plan is for, and what the audit says of it.
    pub kernel: KernelFacts,
    /// The modules that are loaded, by whom, and who would take the devices otherwise.
    pub modules: ModulePlan,
    /// Words that the images cannot carry: the bootloader's configuration must.
    pub words_for_bootloader: Vec<String>,
    /// What devices do with the result; None where no image has anything of AVB.
    pub avb: Option<Outlook>,
    /// The images in the order they were given.
    pub images: Vec<PlannedImage<'a>>,
}

/// One change.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedEdit {
    /// Index of the image.
    pub image: usize,
    /// What is changed: `ramdisk`, `cmdline`, `avb_footer`, `vbmeta`, `id`.
    pub what: &'static str,
    /// Why it is.
    pub why: String,
    /// What stands there now.
    pub before: String,
    /// What will stand there.
    pub after: String,
}

/// One image of the set.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedImage<'a> {
    /// What kind of image it is.
    pub kind: ImageKind,
    /// Size of the file in bytes.
    pub size_before: u64,
    /// Size of the patched file in bytes; the same when nothing changes.
    pub size_after: u64,
    /// Bytes of the image proper, without padding to the partition, vbmeta and footer.
    pub content_size: u64,
    /// The patched file; None when the image stays as it is.
    #[serde(skip)]
    pub output: Option<Output<'a>>,
}

/// Compute a patch of unpatched images (see [`super::unpatch`]).
///
/// # Errors
/// [`Error`], each with what to do about it.
pub fn plan<'a>(images: &[Image<'a>], options: &Options<'a>) -> Result<Plan<'a>, Error> {
    images.iter().try_for_each(Image::require_unsealed)?;
    let targets = target::choose(images)?;
    refuse_words(&options.words)?;
    let mut kernel = KernelFacts::gather(images);
    let carrier = &images[targets.carrier];
    let mut modules = modules::resolve(images, &kernel, &options.devices, &options.modules)?;
    kernel.audit(modules.seen.take());
    let mut draft = Draft { edits: Vec::new(), warnings: kernel.warnings() };
    draft.warnings.append(&mut modules.warnings);
    draft.two_generic_ramdisks(images);
    let place = Place::find(carrier, &targets)?;
    kernel.require(place.point.format)?;
    refuse_legacy_sar(images)?;

    let hook = Hook::choose(options.hook, images, &targets, &kernel)?;
    let original = match hook.kind {
        HookKind::Rdinit => {
            require_init(carrier, place.ramdisk, &hook.init, &mut draft)?;
            None
        }
        HookKind::Init => Some(Original::read(place.ramdisk, &hook.init)?),
    };
    // A former rdinit= is replaced where it stands.
    let former = target::last_rdinit(images).filter(|_| hook.kind == HookKind::Rdinit);
    let line = former.map_or(targets.line, |(index, _)| Some(index));
    let (words, line, words_for_bootloader) = words(line, &hook, &kernel, options, &mut draft);

    let mut changed: Vec<Change<'a>> = Vec::new();
    let segment_sections = |segment: Vec<u8>| place.grown(carrier, &targets, segment);
    if let Some(index) = line {
        let mut edit = images[index].edit().ok_or(Error::NoCmdline)?;
        let mut cmdline = Cmdline::new(edit.header.cmdline());
        let text = cmdline.display();
        words.apply(&mut cmdline);
        edit.header.set_cmdline(cmdline.as_bytes())?;
        draft.edit(index, "cmdline", targets.reason, text, cmdline.display());
        draft.line_length(images, index, &cmdline);
        changed.push(Change { index, edit: Some(edit) });
    }
    if changed.first().is_none_or(|change| change.index != targets.carrier) {
        changed.insert(0, Change { index: targets.carrier, edit: carrier.edit() });
    }
    let indices: Vec<usize> = changed.iter().map(|change| change.index).collect();
    let signing = Signing::choose(images, &indices, &options.avb)?;
    for change in &mut changed {
        if let Some(edit) = &mut change.edit {
            edit.avb = signing.policy(&images[change.index]);
        }
    }
    // Records do not depend on the segment, which contains them.
    let vbmeta = signing.vbmeta.map(|index| ImageUndo::record(&images[index], None, &[], None));
    let records = changed.iter().map(|change| {
        let carries = change.index == targets.carrier;
        let inserted = carries.then_some((place.section, place.at as u64));
        let grown = if carries { segment_sections(vec![0]) } else { Ok(Vec::new()) };
        let edit = change.edit.as_ref();
        Ok(ImageUndo::record(&images[change.index], edit, &grown?, inserted))
    });
    let records = records.chain(vbmeta.map(Ok));
    let undo = UndoRecord::new(records.collect::<Result<_, Error>>()?);
    let payload = Payload {
        runtime: options.runtimes.choose(&kernel)?,
        boot: boot_file(options, hook.init.clone(), &mut modules),
        original,
        files: std::mem::take(&mut modules.files),
        undo,
    };
    let mut segment = payload.to_segment(&place.point)?;
    if targets.fragment.is_some() {
        place.keep_alignment(&mut segment);
    }
    draft.segment(&targets, &place, segment.len(), &hook, payload.original.as_ref());
    draft.modules(targets.carrier, &modules);

    let mut planned: Vec<PlannedImage<'a>> = images.iter().map(PlannedImage::unchanged).collect();
    for change in changed {
        let image = &images[change.index];
        let sections = match change.index == targets.carrier {
            true => segment_sections(std::mem::take(&mut segment))?,
            false => Vec::new(),
        };
        let index = change.index;
        planned[index] = change.apply(image, sections, &mut draft)?;
    }
    if let Some(index) = signing.vbmeta {
        let vbmeta = signing.vbmeta_image(images, &planned)?;
        draft.edits.push(vbmeta.edit);
        planned[index].size_after = vbmeta.output.size();
        planned[index].output = Some(vbmeta.output);
    }
    let avb = signing.outlook(images);
    draft.warnings.extend(signing.warnings(images, &planned));
    let Draft { edits, warnings } = draft;
    Ok(Plan { edits, warnings, hook, kernel, modules, words_for_bootloader, avb, images: planned })
}

/// An image that will be rewritten; a bare ramdisk has no header to edit.
struct Change<'a> {
    index: usize,
    edit: Option<Edit<'a>>,
}

impl<'a> Change<'a> {
    fn apply(
        self,
        image: &Image<'a>,
        sections: Vec<(SectionName, Vec<Chunk<'a>>)>,
        draft: &mut Draft,
    ) -> Result<PlannedImage<'a>, Error> {
        let mut planned = PlannedImage::unchanged(image);
        let Some(mut edit) = self.edit else {
            let mut output = Output::default();
            sections
                .into_iter()
                .flat_map(|(_, chunks)| chunks)
                .for_each(|chunk| output.push(chunk));
            let output = image.wrap(output, DerivedPolicy::KeepRight)?;
            planned.size_after = output.size();
            planned.content_size = planned.size_after;
            planned.output = Some(output);
            return Ok(planned);
        };
        edit.sections = sections;
        let rebuilt = image.rebuild(edit)?;
        draft.consequences(self.index, image, &rebuilt);
        planned.size_after = rebuilt.output.size();
        planned.content_size = rebuilt.content_size;
        planned.output = Some(rebuilt.output);
        Ok(planned)
    }
}

impl PlannedImage<'_> {
    fn unchanged(image: &Image<'_>) -> Self {
        let size = image.file().len() as u64;
        let kind = image.kind();
        PlannedImage { kind, size_before: size, size_after: size, content_size: size, output: None }
    }
}

/// Where the segment goes.
struct Place<'a> {
    /// The section that grows.
    section: SectionName,
    /// Where in it, in bytes.
    at: usize,
    /// The ramdisk (of a vendor_boot: the fragment) that grows.
    ramdisk: &'a [u8],
    point: AppendPoint,
}

impl<'a> Place<'a> {
    fn find(carrier: &Image<'a>, targets: &Targets) -> Result<Self, Error> {
        let (section, start, ramdisk) = match targets.fragment {
            None => {
                let section = SectionName::Ramdisk;
                (section, 0, carrier.section(section).ok_or(Error::NoRamdisk)?)
            }
            Some(index) => {
                let fragments = carrier.fragments();
                let fragment = fragments.get(index).ok_or(Error::NoRamdisk)?;
                (SectionName::VendorRamdisk, fragment.offset, fragment.bytes)
            }
        };
        let point = ramdisk::append_point(ramdisk)?;
        Ok(Place { section, at: start + point.offset, ramdisk, point })
    }

    /// A raw archive in a ramdisk that is loaded behind this one must stay at a multiple of 4.
    /// Behind lz4_legacy no zeros may stand, and nothing but lz4_legacy follows anyway.
    fn keep_alignment(&self, segment: &mut Vec<u8>) {
        if self.point.format != Some(Format::Lz4Legacy) {
            segment.resize(segment.len().next_multiple_of(4), 0);
        }
    }

    /// The sections with the segment in them.
    fn grown(
        &self,
        carrier: &Image<'a>,
        targets: &Targets,
        segment: Vec<u8>,
    ) -> Result<Vec<(SectionName, Vec<Chunk<'a>>)>, Error> {
        let section = self.section;
        let old = carrier.section(section).ok_or(Error::NoRamdisk)?;
        let (head, tail) = old.split_at(self.at);
        let fragment_size = self.ramdisk.len() + segment.len();
        let mut chunks = vec![Chunk::borrowed(head), Chunk::owned(segment), Chunk::borrowed(tail)];
        chunks.retain(|chunk| !chunk.is_empty());
        let mut sections = vec![(section, chunks)];
        let table = carrier.header().and_then(Header::ramdisk_table);
        let old_table = carrier.section(SectionName::VendorRamdiskTable);
        if let (Some(index), Some((_, entry_size)), Some(old)) =
            (targets.fragment, table, old_table)
        {
            let table = u32::try_from(fragment_size)
                .ok()
                .and_then(|size| resize_fragment(old, entry_size, index, size))
                .ok_or(image::Error::SectionTooLarge { section, size: fragment_size as u64 })?;
            sections.push((SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]));
        }
        Ok(sections)
    }
}

/// Words that the patch sets itself, or that would turn it off.
fn refuse_words(words: &[String]) -> Result<(), Error> {
    for text in words {
        let line = Cmdline::new(text.clone().into_bytes());
        let reason = if line.value("rdinit").is_some() {
            "the runtime is started by rdinit=, and the last one wins"
        } else if line.value("vfio-pci.ids").is_some() {
            "ids are given as --device"
        } else if line.has_word(DISABLE_WORD) {
            "it turns the patch off"
        } else {
            continue;
        };
        return Err(Error::Word { word: text.clone(), reason });
    }
    Ok(())
}

fn refuse_legacy_sar(images: &[Image<'_>]) -> Result<(), Error> {
    let lines = images.iter().filter_map(Image::header).map(|h| Cmdline::new(h.cmdline()));
    match lines.into_iter().any(|line| line.has_word("skip_initramfs")) {
        true => Err(Error::LegacySystemAsRoot),
        false => Ok(()),
    }
}

/// PID 1 must have something to execute when it is done.
fn require_init(
    carrier: &Image<'_>,
    ramdisk_bytes: &[u8],
    init: &str,
    draft: &mut Draft,
) -> Result<(), Error> {
    if ramdisk::has_entry(ramdisk_bytes, init.as_bytes())? {
        return Ok(());
    }
    let whole =
        carrier.kind() == ImageKind::Boot && carrier.header().is_some_and(|h| h.version() < 3);
    if whole || carrier.kind() == ImageKind::InitBoot {
        return Err(Error::NoInit(init.to_owned()));
    }
    draft.warnings.push(format!(
        "this ramdisk has no {init}: the device does not boot unless another ramdisk, loaded with it, has one"
    ));
    Ok(())
}

/// Words for the command line.
struct Words {
    rdinit: bool,
    add: Vec<String>,
    ids: Option<String>,
}

impl Words {
    fn is_empty(&self) -> bool {
        !self.rdinit && self.add.is_empty() && self.ids.is_none()
    }

    fn apply(&self, line: &mut Cmdline) {
        match line.value("rdinit").is_some() {
            _ if !self.rdinit => {}
            true => line.set("rdinit", RUNTIME),
            // In front, because the kernel forgets the arguments for init that stand before
            // `rdinit=` (`rdinit_setup` in init/main.c).
            false => line.prepend(&format!("rdinit={RUNTIME}")),
        }
        if let Some(ids) = &self.ids {
            let old =
                line.value("vfio-pci.ids").map(|old| String::from_utf8_lossy(old).into_owned());
            // The last one wins, so what is there already goes into ours.
            line.set("vfio-pci.ids", &merge_ids(old.as_deref(), ids));
        }
        self.add.iter().for_each(|word| line.add(word));
    }
}

fn merge_ids(old: Option<&str>, new: &str) -> String {
    let mut ids: Vec<&str> = old.into_iter().flat_map(|ids| ids.split(',')).collect();
    for id in new.split(',') {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids.join(",")
}

/// The words, the image whose line gets them, and those that no image can carry.
fn words(
    line: Option<usize>,
    hook: &Hook,
    kernel: &KernelFacts,
    options: &Options<'_>,
    draft: &mut Draft,
) -> (Words, Option<usize>, Vec<String>) {
    let mut add: Vec<String> = kernel.recommended_words();
    add.extend(options.words.iter().cloned());
    let ids: Vec<String> = options
        .devices
        .iter()
        .filter(|device| matches!(device, DeviceSpec::Id { .. }))
        .map(DeviceSpec::to_string)
        .collect();
    // A module would get them through libmodprobe only, not from here.
    let ids = (kernel.vfio_pci_built_in() && !ids.is_empty()).then(|| ids.join(","));
    let words = Words { rdinit: hook.kind == HookKind::Rdinit, add, ids };
    if words.is_empty() {
        return (words, None, Vec::new());
    }
    let mut all = Cmdline::new(Vec::new());
    words.apply(&mut all);
    let all = all.display();
    if kernel.forced_cmdline().is_some() {
        draft.warnings.push(format!(
            "the kernel ignores the command line it is passed: whatever these words do must be \
             built into it with CONFIG_CMDLINE: {all}"
        ));
        return (words, None, vec![all]);
    }
    if line.is_some() {
        return (words, line, Vec::new());
    }
    let needed = match words.rdinit {
        true => "no image of the set has a command line: add this to your bootloader's",
        false => {
            "no image of the set has a command line for these words, without which the devices \
             are bound all the same: add them to your bootloader's, or give vendor_boot.img"
        }
    };
    draft.warnings.push(format!("{needed}: {all}"));
    (words, None, vec![all])
}

fn boot_file(options: &Options<'_>, init: String, modules: &mut ModulePlan) -> BootFile {
    BootFile {
        version: BootFile::VERSION,
        init,
        deadline_ms: options.deadline_ms,
        wait_ms: options.wait_ms,
        devices: options.devices.iter().map(DeviceSpec::to_string).collect(),
        shadows: std::mem::take(&mut modules.shadows),
        modules: std::mem::take(&mut modules.boot),
    }
}

/// `COMMAND_LINE_SIZE` of arm64 and x86, NUL included (`arch/*/include/uapi/asm/setup.h`).
pub const COMMAND_LINE_SIZE: usize = 2048;

struct Draft {
    edits: Vec<PlannedEdit>,
    warnings: Vec<String>,
}

impl Draft {
    fn edit(&mut self, image: usize, what: &'static str, why: &str, before: String, after: String) {
        self.edits.push(PlannedEdit { image, what, why: why.to_owned(), before, after });
    }

    fn segment(
        &mut self,
        targets: &Targets,
        place: &Place<'_>,
        size: usize,
        hook: &Hook,
        original: Option<&Original>,
    ) {
        let packed = place.point.format.map_or("raw cpio", Format::name);
        let old = place.ramdisk.len();
        let name = match targets.fragment {
            Some(index) => format!("vendor ramdisk fragment {index}"),
            None => "ramdisk".to_owned(),
        };
        let before = format!("{name}, {old} bytes");
        let (why, files) = match original {
            None => (
                "the kernel unpacks it behind the original, which stays byte-identical, and \
                 starts /vfioboot/init from it; that rebinds the devices and executes the \
                 original init"
                    .to_owned(),
                "/vfioboot/{init,boot.toml,undo}".to_owned(),
            ),
            Some(original) => (
                format!(
                    "{}. So the runtime stands at {init}: the kernel unpacks it over the original, \
                     of which the segment carries a copy; it rebinds the devices, puts the \
                     original back at {init} and executes it. The ramdisk in the image stays \
                     byte-identical below",
                    hook.reason,
                    init = hook.init
                ),
                format!(
                    "{}, /vfioboot/{{boot.toml,undo}} and the original {} ({} bytes unpacked)",
                    hook.init,
                    hook.init,
                    original.cost()
                ),
            ),
        };
        let after = format!("the same and a {packed} segment of {size} bytes with {files}");
        self.edit(targets.carrier, "ramdisk", &why, before, after);
    }

    /// The lists that the segment shadows.
    fn modules(&mut self, carrier: usize, modules: &ModulePlan) {
        for list in &modules.lists {
            self.edit(
                carrier,
                "modules",
                "the segment shadows the list, the original stays below it and is put back in \
                 recovery, in charger mode and with vfioboot.disable",
                match list.removed.as_slice() {
                    [] => list.path.clone(),
                    removed => format!("{}: {}", list.path, removed.join("; ")),
                },
                match list.added.as_slice() {
                    [] => "without that".to_owned(),
                    added => added.join("; "),
                },
            );
        }
    }

    /// Which of two generic ramdisks is loaded is the bootloader's choice.
    fn two_generic_ramdisks(&mut self, images: &[Image<'_>]) {
        let has = |kind| {
            let image = images.iter().find(|image| image.kind() == kind);
            image.is_some_and(|image| image.section(SectionName::Ramdisk).is_some())
        };
        if has(ImageKind::Boot) && has(ImageKind::InitBoot) {
            self.warnings.push(
                "boot has a ramdisk as well as init_boot. Devices launched with Android 13 or later \
                 load init_boot's, which is patched here; those with an android12 kernel load \
                 boot's: for such a one patch boot.img (with vendor_boot.img) without init_boot.img, \
                 or the device does not find /vfioboot/init and does not boot"
                    .to_owned(),
            );
        }
    }

    /// The kernel cuts a longer line without a word.
    fn line_length(&mut self, images: &[Image<'_>], index: usize, line: &Cmdline) {
        let others = images.iter().enumerate().filter(|(i, image)| {
            *i != index && matches!(image.kind(), ImageKind::Boot | ImageKind::VendorBoot)
        });
        let others = others.filter_map(|(_, image)| image.header());
        let others: usize = others.map(|header| header.cmdline().len() + 1).sum();
        let total = others + line.as_bytes().len();
        if total >= COMMAND_LINE_SIZE {
            self.warnings.push(format!(
                "the command lines of the images come to {total} bytes; the kernel cuts off what is behind the first {}, and bootloaders add to it",
                COMMAND_LINE_SIZE - 1
            ));
        }
    }

    /// What follows from the change of an image: AVB, the id, its size.
    fn consequences(&mut self, index: usize, image: &Image<'_>, rebuilt: &Rebuilt<'_>) {
        let ids = (image.header().and_then(Header::id), rebuilt.header.id());
        if let (Some(before), Some(after)) = ids
            && before != after
        {
            let why = "SHA-1 over the sections, computed as AOSP's mkbootimg does";
            let (before, after) = (hex::encode(&before[..20]), hex::encode(&after[..20]));
            self.edit(index, "id", why, before, after);
        }
        self.edits.extend(avb::edits(index, image, rebuilt));
        let grown = rebuilt.output.size().saturating_sub(image.file().len() as u64);
        if grown > 0 && rebuilt.avb.is_none() {
            self.warnings.push(format!(
                "{}: the file grows by {grown} bytes to {}: its partition must be that large",
                image.kind(),
                rebuilt.output.size()
            ));
        }
    }
}
