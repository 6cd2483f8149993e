//! The plan: what a patch changes, where and why, as data; and the bytes to write.

use serde::Serialize;

use super::active::Active;
use super::advice::Advice;
use super::avb::{AvbOptions, Outlook, Signing};
use super::draft::Draft;
use super::hook::{Hook, HookChoice, HookKind, Original};
use super::kernel_facts::KernelFacts;
use super::modules::{self, ModuleOptions, ModulePlan};
use super::place::Place;
use super::rc::{self, RcOptions, RcPlan};
use super::runtime::Runtimes;
use super::segment::Payload;
use super::words::PlannedWord;
use super::{Error, ImageUndo, UndoRecord, target, words};
use crate::bootfile::{BootFile, DeviceSpec};
use crate::bootset::{BootSet, Flow, FlowKind, Role, Spot};
use crate::cmdline::Cmdline;
use crate::image::{Chunk, DerivedPolicy, Edit, Image, ImageKind, Output, SectionName};
use crate::ramdisk;

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
    /// rc files of Android's init.
    pub rc: RcOptions,
}

impl<'a> Options<'a> {
    /// These devices, and everything else as `vfioboot patch` does it without options.
    pub fn new(devices: Vec<DeviceSpec>, runtimes: Runtimes<'a>) -> Self {
        Options {
            devices,
            runtimes,
            modules: ModuleOptions::default(),
            words: Vec::new(),
            deadline_ms: BootFile::DEFAULT_DEADLINE_MS,
            avb: AvbOptions::default(),
            wait_ms: BootFile::DEFAULT_WAIT_MS,
            hook: HookChoice::Auto,
            rc: RcOptions::default(),
        }
    }
}

/// A patch, computed and not yet written.
#[derive(Clone, Debug, Serialize)]
pub struct Plan<'a> {
    /// How a device with these images boots.
    pub flow: Flow,
    /// What is changed.
    pub edits: Vec<PlannedEdit>,
    /// What may go wrong, for people.
    pub warnings: Vec<String>,
    /// How the kernel starts the runtime.
    pub hook: Hook,
    /// The words for the command line, with what each is for.
    pub words: Vec<PlannedWord>,
    /// What runs at boot, what could go wrong, how to undo it.
    pub advice: Advice,
    /// The kernel that the plan is for, and what the audit says of it.
    pub kernel: KernelFacts,
    /// The modules that are loaded, by whom, and who would take the devices otherwise.
    pub modules: ModulePlan,
    /// rc files, and what starts guests once the system is up.
    pub rc: RcPlan,
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
    /// What is changed: `ramdisk`, `modules`, `rc`, `cmdline`, `avb_footer`, `vbmeta`, `id`.
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
    /// What it is for.
    pub role: Role,
    /// Why it is changed, or why not.
    pub decision: String,
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
    let set = BootSet::from_images(images);
    let active = Active::of(images, set.roles());
    active.images.iter().try_for_each(Image::require_unsealed)?;
    words::refuse(&options.words)?;
    let kernel = KernelFacts::of(set.kernel());
    kernel.require_arch()?;
    let flow = set.flow().clone();
    if flow.kind == FlowKind::LegacySystemAsRoot && flow.certain && !flow.ramdisk_runs {
        return Err(Error::LegacySystemAsRoot);
    }
    let mut plan = plan_active(&active, &set, flow, kernel, options)?;
    // Back to the numbers of the whole set.
    plan.edits.iter_mut().for_each(|edit| edit.image = active.indices[edit.image]);
    let mut whole: Vec<PlannedImage<'a>> = std::iter::zip(images, set.roles())
        .map(|(image, role)| PlannedImage::unchanged(image, *role))
        .collect();
    for (planned, index) in std::iter::zip(plan.images, &active.indices) {
        if planned.output.is_some() {
            whole[*index] = PlannedImage { role: plan.flow.roles[*index], ..planned };
        }
    }
    plan.images = whole;
    let changed = plan.images.iter().filter(|image| image.output.is_some());
    let changed: Vec<Role> = changed.map(|image| image.role).collect();
    plan.advice = Advice::new(&plan.flow, &plan.hook, &options.devices, &changed);
    Ok(plan)
}

/// The plan for the images that may change.
fn plan_active<'a>(
    active: &Active<'a>,
    set: &BootSet<'a>,
    flow: Flow,
    mut kernel: KernelFacts,
    options: &Options<'a>,
) -> Result<Plan<'a>, Error> {
    let images = active.images.as_slice();
    let targets = target::choose(images)?;
    let carrier = &images[targets.carrier];
    let mut modules = modules::resolve(
        images,
        &active.beside,
        &kernel,
        set.ramdisks().iter().any(|own| own.survey().is_ok_and(|survey| survey.vfio_pci)),
        &options.devices,
        &options.modules,
    )?;
    kernel.audit(modules.seen.take());
    let mut draft = Draft { edits: Vec::new(), warnings: kernel.warnings() };
    draft.warnings.append(&mut modules.warnings);
    draft.two_generic_ramdisks(images);
    let place = Place::find(carrier, &targets)?;
    kernel.require(place.point.format)?;

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
    let (words, line, words_for_bootloader) =
        words::words(images, line, &hook, &kernel, options, &mut draft);

    let mut changed: Vec<Change<'a>> = Vec::new();
    let segment_sections = |segment: Vec<u8>| place.grown(carrier, &targets, segment);
    if let Some(index) = line {
        let mut edit = images[index].edit().ok_or(Error::NoCmdline)?;
        let mut cmdline = Cmdline::new(edit.header.cmdline());
        let text = cmdline.display();
        words.apply(&mut cmdline);
        edit.header.set_cmdline(cmdline.as_bytes())?;
        draft.edit(index, "cmdline", targets.line_reason, text, cmdline.display());
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
    let spot = Spot { image: active.indices[targets.carrier], fragment: targets.fragment };
    let kinds = set.ramdisk(spot).and_then(|own| Some(&own.survey().ok()?.kinds));
    let mut rc = rc::resolve(images, place.ramdisk, kinds, &options.rc)?;
    draft.warnings.append(&mut rc.warnings);
    let payload = Payload {
        runtime: options.runtimes.choose(&kernel)?,
        boot: boot_file(options, hook.init.clone(), &mut modules, &rc),
        original,
        files: [std::mem::take(&mut modules.files), std::mem::take(&mut rc.segment)].concat(),
        directories: std::mem::take(&mut rc.directories),
        runtime_names: std::mem::take(&mut rc.runtime_names),
        undo,
    };
    let mut segment = payload.to_segment(&place.point)?;
    if targets.fragment.is_some() {
        place.keep_alignment(&mut segment);
    }
    draft.segment(&targets, &place, segment.len(), &hook, payload.original.as_ref());
    draft.modules(targets.carrier, &modules);
    draft.edits.extend(rc.edits(targets.carrier));

    let mut planned: Vec<PlannedImage<'a>> =
        images.iter().map(|image| PlannedImage::unchanged(image, Role::Boot)).collect();
    for change in changed {
        let image = &images[change.index];
        let sections = match change.index == targets.carrier {
            true => segment_sections(std::mem::take(&mut segment))?,
            false => Vec::new(),
        };
        let index = change.index;
        planned[index] = change.apply(image, sections, &mut draft)?;
        planned[index].decision = match index == targets.carrier {
            true => targets.reason.to_owned(),
            false => targets.line_reason.to_owned(),
        };
    }
    if let Some(index) = signing.vbmeta {
        let vbmeta = signing.vbmeta_image(images, &planned)?;
        draft.edits.push(vbmeta.edit);
        planned[index].size_after = vbmeta.output.size();
        planned[index].output = Some(vbmeta.output);
        planned[index].decision =
            "it has the digests and keys of the images that change".to_owned();
    }
    let avb = signing.outlook(images);
    draft.warnings.extend(signing.warnings(images, &planned));
    let Draft { edits, warnings } = draft;
    Ok(Plan {
        flow,
        edits,
        warnings,
        hook,
        words: words.planned,
        advice: Advice::default(),
        kernel,
        modules,
        rc,
        words_for_bootloader,
        avb,
        images: planned,
    })
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
        let mut planned = PlannedImage::unchanged(image, Role::Boot);
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
    fn unchanged(image: &Image<'_>, role: Role) -> Self {
        let size = image.file().len() as u64;
        let decision = role.left_alone().unwrap_or(match role {
            Role::Boot => "the ramdisk and the command line that count are in other images",
            Role::VendorBoot => "its ramdisk is unpacked before the one that is patched",
            _ => "nothing in it has to change",
        });
        PlannedImage {
            kind: image.kind(),
            role,
            decision: decision.to_owned(),
            size_before: size,
            size_after: size,
            content_size: size,
            output: None,
        }
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

fn boot_file(
    options: &Options<'_>,
    init: String,
    modules: &mut ModulePlan,
    rc: &RcPlan,
) -> BootFile {
    BootFile {
        version: BootFile::VERSION,
        init,
        deadline_ms: options.deadline_ms,
        wait_ms: options.wait_ms,
        devices: options.devices.iter().map(DeviceSpec::to_string).collect(),
        shadows: [std::mem::take(&mut modules.shadows), rc.shadows.clone()].concat(),
        modules: std::mem::take(&mut modules.boot),
    }
}
