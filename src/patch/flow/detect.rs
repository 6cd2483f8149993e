//! The flow, out of what the images have.

use super::roles::{self, Role};
use super::{Evidence, Flow, FlowKind, RecoveryPlace, Statement, managers};
use crate::audit::sources;
use crate::image::{FragmentType, Image, SectionName};
use crate::kernel::Kernel;
use crate::patch::cmdline::Cmdline;
use crate::patch::kernel_facts::KernelFacts;
use crate::patch::unpatch::record_of;
use crate::ramdisk::kind::Survey;
use crate::ramdisk::{Limits, RamdiskKind};

/// The word with which a bootloader tells a kernel of a legacy system-as-root device to leave the
/// ramdisk alone, and what Magisk writes over it in the kernel.
const SKIP: &str = "skip_initramfs";
const WANT: &str = "want_initramfs";
/// Below here is the root of a normal boot where recovery shares the ramdisk.
const FIRST_STAGE: &str = "first_stage_ramdisk";

/// How a device with these images boots.
pub fn detect(images: &[Image<'_>]) -> Flow {
    let roles = roles::of(images);
    let kernel = KernelFacts::gather(&roles::Active::of(images, &roles).images);
    detect_with(images, &roles, &kernel).0
}

/// The same where roles and kernel are known, and what was seen of the ramdisks.
pub(in crate::patch) fn detect_with(
    images: &[Image<'_>],
    roles: &[Role],
    kernel: &KernelFacts,
) -> (Flow, Ramdisks) {
    let ramdisks = look(images, roles);
    let set = Set { images, roles, ramdisks: &ramdisks };
    let mut statements = Vec::new();
    let (kind, maker, sure, ramdisk_runs) = set.kind(&mut statements);
    let recovery = set.recovery(kind, &mut statements);
    let kernel_image = set.kernel().map(|(index, _)| index);
    let (root_managers, found) = managers::find(&ramdisks, kernel, kernel_image, kind);
    statements.extend(found);
    let patched_by = record_of(images).ok().flatten().map(|record| record.tool);
    if let Some(tool) = &patched_by {
        let text = format!("already patched by {tool}");
        let carrier = images.iter().position(|image| {
            record_of(std::slice::from_ref(image)).is_ok_and(|record| record.is_some())
        });
        let evidence = carrier.map(|image| Evidence::new(image, "ramdisk", "vfioboot/undo"));
        statements.push(Statement {
            about: "patched",
            text,
            evidence: evidence.into_iter().collect(),
        });
    }
    for seen in &ramdisks {
        if let Some(problem) = &seen.problem {
            let text = format!("the {} cannot be read: {problem}", seen.place);
            let evidence = vec![Evidence::new(seen.image, &seen.place, "damaged")];
            statements.push(Statement { about: "image", text, evidence });
        }
    }
    let missing = set.missing(kind, sure);
    let flow = Flow {
        kind,
        maker,
        certain: sure,
        ramdisk_runs,
        recovery,
        root_managers,
        patched_by,
        statements,
        missing,
        roles: roles.iter().map(|role| role_in(kind, *role)).collect(),
    };
    (flow, Ramdisks(ramdisks))
}

/// What was seen of the ramdisks of a set.
pub struct Ramdisks(Vec<Seen>);

impl Ramdisks {
    /// Whether one of them has a file of the module vfio-pci.
    pub fn have_vfio_pci(&self) -> bool {
        self.0.iter().filter_map(|seen| seen.survey.as_ref()).any(|survey| survey.vfio_pci)
    }
}

/// The name of a place for people.
fn place_of(fragment: Option<usize>) -> String {
    fragment.map_or_else(|| "ramdisk".to_owned(), |number| format!("fragment {number}"))
}

/// The role as the flow shows it: of one image alone, its header does not tell a boot image from
/// recovery.
fn role_in(kind: FlowKind, role: Role) -> Role {
    match (kind, role) {
        (FlowKind::Recovery, Role::Boot | Role::InitBoot) => Role::Recovery,
        _ => role,
    }
}

/// A ramdisk of the set.
pub(super) struct Seen {
    pub image: usize,
    /// For people: `ramdisk`, `fragment 1`.
    pub place: String,
    /// A normal boot unpacks it.
    normal: bool,
    /// It holds the program that the kernel starts, unless it is damaged.
    generic: bool,
    pub survey: Option<Survey>,
    problem: Option<String>,
}

impl Seen {
    /// What shows that the ramdisk is of this kind.
    pub fn evidence(&self, kind: RamdiskKind) -> Option<Evidence> {
        let findings = self.survey.as_ref()?.kinds.findings();
        let finding = findings.iter().find(|finding| finding.kind == kind)?;
        Some(Evidence::new(self.image, &self.place, &finding.evidence))
    }

    fn has(&self, path: &str) -> bool {
        self.survey.as_ref().is_some_and(|survey| survey.has(path))
    }
}

/// Read every ramdisk once.
fn look(images: &[Image<'_>], roles: &[Role]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (index, (image, role)) in std::iter::zip(images, roles).enumerate() {
        let mut take = |place: String, normal: bool, generic: bool, bytes: &[u8]| {
            let (survey, problem) = match Survey::read(bytes, Limits::default()) {
                Ok(survey) => (Some(survey), None),
                Err(error) => (None, Some(error.to_string())),
            };
            seen.push(Seen { image: index, place, normal, generic, survey, problem });
        };
        let fragments = image.fragments();
        for (number, fragment) in fragments.iter().enumerate() {
            let normal = fragment.kind != FragmentType::Recovery;
            take(place_of(Some(number)), normal, false, fragment.bytes);
        }
        if let (true, Some(bytes)) = (fragments.is_empty(), image.section(SectionName::Ramdisk)) {
            take(place_of(None), *role != Role::Recovery, true, bytes);
        }
    }
    seen
}

/// The images and what was seen in them.
struct Set<'s, 'a> {
    images: &'s [Image<'a>],
    roles: &'s [Role],
    ramdisks: &'s [Seen],
}

impl Set<'_, '_> {
    /// Kind, maker, whether that is sure, and whether the ramdisk is unpacked at all.
    fn kind(
        &self,
        statements: &mut Vec<Statement>,
    ) -> (FlowKind, Option<&'static str>, bool, bool) {
        let mut state = |text: &str, evidence: Vec<Evidence>| {
            statements.push(Statement { about: "kind", text: text.to_owned(), evidence });
        };
        let skip = self.words(SKIP);
        if !skip.is_empty() {
            let [skips, wants] = self.kernel_contains([SKIP, WANT]).unwrap_or([true, false]);
            let mut evidence = skip;
            if wants && !skips {
                if let Some((index, _)) = self.kernel() {
                    evidence.push(Evidence::new(index, "kernel", WANT));
                }
                let text = "legacy system-as-root; the kernel was changed so that it unpacks the \
                            ramdisk all the same (as Magisk does)";
                state(text, evidence);
                return (FlowKind::LegacySystemAsRoot, None, true, true);
            }
            state("legacy system-as-root: the kernel does not unpack the ramdisk", evidence);
            return (FlowKind::LegacySystemAsRoot, None, true, false);
        }
        let normal = || self.ramdisks.iter().filter(|seen| seen.normal);
        let find = |kind| normal().find_map(|seen| seen.evidence(kind));
        let first_stage = normal().any(|seen| seen.has(FIRST_STAGE));
        let shared = normal().filter(|seen| seen.generic);
        let recovery = shared.filter_map(|seen| seen.evidence(RamdiskKind::Recovery)).next();
        let recovery = recovery.filter(|_| !first_stage).or_else(|| self.only_recovery());
        if let Some(evidence) = recovery {
            return self.recovery_ramdisk(evidence, &mut state);
        }
        if let Some(evidence) = find(RamdiskKind::TwoStage) {
            state("two-stage init: rc files in the ramdisk are never read", vec![evidence]);
            return (FlowKind::TwoStage, None, true, true);
        }
        // Devices with these partitions were launched with Android 11 or later.
        let staged = self.position(|role| matches!(role, Role::VendorBoot | Role::InitBoot));
        if let (None, Some(evidence)) = (staged, find(RamdiskKind::RootfsLegacy)) {
            state("legacy rootfs: the ramdisk stays, and its init.rc is read", vec![evidence]);
            return (FlowKind::RootfsLegacy, None, true, true);
        }
        if let Some(evidence) = find(RamdiskKind::LinuxInitramfs) {
            let surveys = normal().filter_map(|seen| seen.survey.as_ref());
            let mut findings = surveys.flat_map(|survey| survey.kinds.findings());
            let maker = findings.find_map(|finding| finding.maker);
            let text = match maker {
                Some(maker) => format!("an initramfs made by {maker}"),
                None => "a Linux initramfs, and nothing that tells whose".to_owned(),
            };
            state(&text, vec![evidence]);
            return (FlowKind::LinuxInitramfs, maker, true, true);
        }
        if let Some(evidence) = find(RamdiskKind::VendorFragment) {
            let text = "modules and first-stage files for an /init that another ramdisk brings: \
                        two-stage init";
            state(text, vec![evidence]);
            return (FlowKind::TwoStage, None, false, true);
        }
        if let Some(index) = staged {
            let (partition, header) = match self.roles[index] {
                Role::InitBoot => ("an init_boot", "version 4, no kernel"),
                _ => ("a vendor_boot", "VNDRBOOT"),
            };
            let text = format!("two-stage init, as on every device with {partition} partition");
            state(&text, vec![Evidence::new(index, "header", header)]);
            return (FlowKind::TwoStage, None, false, true);
        }
        let modern = |index: &usize| self.header_version(*index) >= Some(3);
        if let Some(index) = self.position(|role| role == Role::Boot).filter(modern) {
            let text = "two-stage init, as on every Android device with such a header";
            state(text, vec![Evidence::new(index, "header", "version 3 or 4, no ramdisk")]);
            return (FlowKind::TwoStage, None, false, true);
        }
        (FlowKind::Unknown, None, false, true)
    }

    /// A ramdisk of recovery that no normal boot can use, if that is all there is.
    fn only_recovery(&self) -> Option<Evidence> {
        let started = |role: &Role| {
            matches!(role, Role::Boot | Role::InitBoot | Role::VendorBoot | Role::Ramdisk)
        };
        if self.roles.iter().any(started) {
            return None;
        }
        self.ramdisks.iter().find_map(|seen| seen.evidence(RamdiskKind::Recovery))
    }

    /// A recovery image, or the boot image of a legacy system-as-root device, whose bootloader
    /// passes `skip_initramfs` in normal boots.
    fn recovery_ramdisk(
        &self,
        evidence: Evidence,
        state: &mut impl FnMut(&str, Vec<Evidence>),
    ) -> (FlowKind, Option<&'static str>, bool, bool) {
        let seen = self.ramdisks.iter().find(|seen| seen.image == evidence.image);
        let two_stage = seen.is_some_and(|seen| seen.evidence(RamdiskKind::TwoStage).is_some());
        let header = self.header_version(evidence.image);
        let old = header.is_some_and(|version| version < 3) && !two_stage;
        match self.kernel_contains([SKIP, WANT]) {
            Some([true, false]) if old => {
                let mut shown = vec![evidence];
                shown.extend(self.kernel().map(|(i, _)| Evidence::new(i, "kernel", SKIP)));
                let text = "recovery is all that the ramdisk has, and the kernel knows \
                            skip_initramfs: boot.img of a legacy system-as-root device, whose \
                            normal boots skip the ramdisk, or a recovery image";
                state(text, shown);
                (FlowKind::LegacySystemAsRoot, None, false, false)
            }
            Some([false, true]) if old => {
                let mut shown = vec![evidence];
                shown.extend(self.kernel().map(|(i, _)| Evidence::new(i, "kernel", WANT)));
                let text = "legacy system-as-root; the kernel was changed so that it unpacks the \
                            ramdisk in normal boots too (as Magisk does)";
                state(text, shown);
                (FlowKind::LegacySystemAsRoot, None, true, true)
            }
            _ => {
                state("recovery is all that the ramdisk is for: a recovery image", vec![evidence]);
                (FlowKind::Recovery, None, header.is_some(), true)
            }
        }
    }

    fn recovery(&self, kind: FlowKind, statements: &mut Vec<Statement>) -> RecoveryPlace {
        let mut state = |text: &str, evidence: Evidence| {
            let text = text.to_owned();
            statements.push(Statement { about: "recovery", text, evidence: vec![evidence] });
        };
        let of = |seen: &&Seen| seen.evidence(RamdiskKind::Recovery).is_some();
        let recoveries = || self.ramdisks.iter().filter(of);
        let evidence = |seen: &Seen| seen.evidence(RamdiskKind::Recovery);
        let own = |seen: &&Seen| self.roles[seen.image] == Role::Recovery;
        if kind == FlowKind::Recovery {
            return RecoveryPlace::OwnImage;
        }
        if let Some(shown) = recoveries().find(|seen| seen.normal && !own(seen)).and_then(evidence)
        {
            state(
                "recovery shares the ramdisk: a boot with androidboot.force_normal_boot=1 is a \
                 normal one, every other goes to recovery",
                shown,
            );
            return RecoveryPlace::NormalRamdisk;
        }
        let fragment = self.ramdisks.iter().find(|seen| !seen.normal && !own(seen));
        if let Some(seen) = fragment {
            let shown = Evidence::new(seen.image, &seen.place, "type recovery");
            state("recovery is in a fragment of its own, which normal boots do not load", shown);
            return RecoveryPlace::Fragment;
        }
        if let Some(shown) = recoveries().find(own).and_then(evidence) {
            state("recovery has an image of its own", shown);
            return RecoveryPlace::OwnImage;
        }
        RecoveryPlace::NotSeen
    }

    /// What would make sure of it.
    fn missing(&self, kind: FlowKind, sure: bool) -> Vec<String> {
        let has = |wanted| self.position(|role| role == wanted).is_some();
        let mut missing = Vec::new();
        let boot = self.position(|role| role == Role::Boot);
        let modern = boot.and_then(|index| self.header_version(index)) >= Some(3);
        let generic = self.ramdisks.iter().any(|seen| seen.normal && seen.has("init"));
        let android = !matches!(kind, FlowKind::LinuxInitramfs | FlowKind::Recovery);
        if !generic && android {
            let holder =
                if has(Role::Boot) { "init_boot.img" } else { "init_boot.img or boot.img" };
            missing.push(format!("{holder} not given: the generic ramdisk with /init is there"));
        }
        if android && (modern || has(Role::InitBoot)) && !has(Role::VendorBoot) {
            missing.push(
                "vendor_boot.img not given: it has a part of the ramdisk and of the command line"
                    .to_owned(),
            );
        }
        if self.kernel().is_none() {
            let what = if has(Role::Ramdisk) { "the kernel" } else { "boot.img" };
            missing.push(format!(
                "{what} not given: what the kernel can do, and whether it heeds the command line"
            ));
        }
        if kind == FlowKind::LegacySystemAsRoot && !sure {
            missing.push(
                "the bootloader's own words are in no image: on the device, skip_initramfs in \
                 /proc/cmdline decides"
                    .to_owned(),
            );
        }
        missing
    }

    /// The image with the kernel that a normal boot starts, and its bytes.
    fn kernel(&self) -> Option<(usize, &[u8])> {
        let with = |wanted: &dyn Fn(Role) -> bool| {
            let mut pairs = std::iter::zip(self.images, self.roles).enumerate();
            pairs.find_map(|(index, (image, role))| {
                let kernel = image.section(SectionName::Kernel).filter(|_| wanted(*role));
                Some((index, kernel?))
            })
        };
        with(&|role| role != Role::Recovery).or_else(|| with(&|_| true))
    }

    /// Which of these the kernel has, as strings of its own; None without a readable kernel.
    fn kernel_contains<const N: usize>(&self, texts: [&str; N]) -> Option<[bool; N]> {
        let (_, bytes) = self.kernel()?;
        let needles = texts.map(|text| [text.as_bytes(), b"\0"].concat());
        Kernel::parse(bytes).ok()?.contains(&needles).ok()?.try_into().ok()
    }

    /// Where a word stands on a command line of the images or of their device trees.
    fn words(&self, word: &str) -> Vec<Evidence> {
        let mut found = Vec::new();
        for (index, image) in self.images.iter().enumerate() {
            if self.roles[index] == Role::Recovery {
                continue;
            }
            let line = image.header().map(|header| Cmdline::new(header.cmdline()));
            if line.is_some_and(|line| line.has_word(word)) {
                found.push(Evidence::new(index, "cmdline", word));
            }
            for tree in sources::of_device_trees(image) {
                if Cmdline::new(tree.text.into_bytes()).has_word(word) {
                    found.push(Evidence::new(index, "device tree", word));
                }
            }
        }
        found
    }

    fn header_version(&self, index: usize) -> Option<u32> {
        self.images[index].header().map(crate::image::Header::version)
    }

    fn position(&self, wanted: impl Fn(Role) -> bool) -> Option<usize> {
        self.roles.iter().position(|role| wanted(*role))
    }
}
