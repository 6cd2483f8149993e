//! Detects the boot flow from the images.

use super::kind::FlowKind;
use super::managers;
use super::model::{Flow, RecoveryPlace};
use super::statement::{Evidence, Statement, evidence};
use crate::bootset::kernel::SetKernel;
use crate::bootset::members::Members;
use crate::bootset::ramdisks::Ramdisk;
use crate::bootset::role::Role;
use crate::bootset::sources::CommandLines;
use crate::cmdline::Cmdline;
use crate::image::{FragmentType, Header, SectionName};
use crate::kernel::Kernel;
use crate::ramdisk::RamdiskKind;

/// The parameter with which the bootloader of a legacy system-as-root device makes the kernel skip
/// the ramdisk, and the text that Magisk writes over it in the kernel.
const SKIP: &str = "skip_initramfs";
const WANT: &str = "want_initramfs";
/// The directory with the root of a normal boot if recovery shares the ramdisk.
const FIRST_STAGE: &str = "first_stage_ramdisk";

/// The facts that decide the flow.
pub(in crate::bootset) struct Basis<'s, 'a> {
    pub set: &'s Members<'a>,
    pub roles: &'s [Role],
    pub kernel: &'s SetKernel,
    pub lines: &'s CommandLines,
}

/// How a device with these images boots.
pub(in crate::bootset) fn detect(set: &Basis<'_, '_>) -> Flow {
    let mut statements = Vec::new();
    let (kind, maker, sure, ramdisk_runs) = set.kind(&mut statements);
    let recovery = set.recovery(kind, &mut statements);
    let (root_managers, found) = managers::find(set.set, set.kernel, kind);
    statements.extend(found);
    let patched = set.set.ramdisks.iter().find_map(|own| Some((own, own.mark()?)));
    if let Some((ramdisk, mark)) = patched {
        let evidence = vec![Evidence::new(ramdisk.spot.image, "ramdisk", "vfioboot/undo")];
        let since = match mark.in_own_segment {
            true => "",
            false => ", then rebuilt by another tool",
        };
        let text = format!("already patched by {}{since}", mark.tool);
        statements.push(Statement { about: "patched", text, evidence });
    }
    for ramdisk in &set.set.ramdisks {
        if let Err(problem) = ramdisk.survey() {
            let text = format!("the {} cannot be read: {problem}", ramdisk.spot);
            let evidence = vec![Evidence::at(ramdisk, "damaged")];
            statements.push(Statement { about: "image", text, evidence });
        }
    }
    Flow {
        kind,
        maker,
        certain: sure,
        ramdisk_runs,
        recovery,
        root_managers,
        patched_by: patched.map(|(_, mark)| mark.tool.clone()),
        statements,
        missing: set.missing(kind, sure),
        roles: set.roles.iter().map(|role| role_in(kind, *role)).collect(),
    }
}

/// The role as the flow shows it: the header alone does not distinguish a boot image from
/// recovery.
fn role_in(kind: FlowKind, role: Role) -> Role {
    match (kind, role) {
        (FlowKind::Recovery, Role::Boot | Role::InitBoot) => Role::Recovery,
        _ => role,
    }
}

fn has_init(ramdisk: &Ramdisk<'_>) -> bool {
    has(ramdisk, "init")
}

fn has(ramdisk: &Ramdisk<'_>, path: &str) -> bool {
    ramdisk.survey().is_ok_and(|survey| survey.has(path))
}

impl<'a> Basis<'_, 'a> {
    /// Whether a normal boot unpacks it.
    fn is_normal(&self, ramdisk: &Ramdisk<'_>) -> bool {
        match ramdisk.fragment {
            Some(kind) => kind != FragmentType::Recovery,
            None => self.roles[ramdisk.spot.image] != Role::Recovery,
        }
    }

    /// The ramdisks that a normal boot unpacks.
    fn normal(&self) -> impl Iterator<Item = &Ramdisk<'a>> {
        self.set.ramdisks.iter().filter(|ramdisk| self.is_normal(ramdisk))
    }

    /// Kind, maker, whether that is certain, and whether the ramdisk is unpacked at all.
    fn kind(
        &self,
        statements: &mut Vec<Statement>,
    ) -> (FlowKind, Option<&'static str>, bool, bool) {
        let mut state = |text: &str, evidence: Vec<Evidence>| {
            statements.push(Statement { about: "kind", text: text.to_owned(), evidence });
        };
        let skip = self.parameter(SKIP);
        if !skip.is_empty() {
            return self.skipped_ramdisk(skip, &mut state);
        }
        let find = |kind| self.normal().find_map(|ramdisk| evidence(ramdisk, kind));
        let first_stage = self.normal().any(|ramdisk| has(ramdisk, FIRST_STAGE));
        let mut generic = self.normal().filter(|ramdisk| ramdisk.spot.fragment.is_none());
        let recovery = generic.find_map(|ramdisk| evidence(ramdisk, RamdiskKind::Recovery));
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
            let maker = self.maker();
            let text = match maker {
                Some(maker) => format!("an initramfs made by {maker}"),
                None => "a Linux initramfs of unknown origin".to_owned(),
            };
            state(&text, vec![evidence]);
            return (FlowKind::LinuxInitramfs, maker, true, true);
        }
        match self.likely_two_stage(staged) {
            Some((text, evidence)) => {
                state(&text, vec![evidence]);
                (FlowKind::TwoStage, None, false, true)
            }
            None => (FlowKind::Unknown, None, false, true),
        }
    }

    /// The flow of a device whose bootloader passes `skip_initramfs`, as `skip` shows: legacy
    /// system-as-root, whose kernel a root manager may have changed.
    fn skipped_ramdisk(
        &self,
        mut skip: Vec<Evidence>,
        state: &mut impl FnMut(&str, Vec<Evidence>),
    ) -> (FlowKind, Option<&'static str>, bool, bool) {
        let [skips, wants] = self.kernel_contains([SKIP, WANT]).unwrap_or([true, false]);
        let unpacks = wants && !skips;
        if unpacks && let Some((index, _)) = self.kernel() {
            skip.push(Evidence::new(index, "kernel", WANT));
        }
        let text = match unpacks {
            true => {
                "legacy system-as-root; the kernel was changed so that it unpacks the ramdisk all \
                 the same (as Magisk does)"
            }
            false => "legacy system-as-root: the kernel does not unpack the ramdisk",
        };
        state(text, skip);
        (FlowKind::LegacySystemAsRoot, None, true, unpacks)
    }

    /// The program that made the initramfs.
    fn maker(&self) -> Option<&'static str> {
        let surveys = self.normal().filter_map(|ramdisk| ramdisk.survey().ok());
        let mut findings = surveys.flat_map(|survey| survey.kinds.findings());
        findings.find_map(|finding| finding.maker)
    }

    /// The evidence for two-stage init if no ramdisk proves it; `staged` is the index of an
    /// image that only devices with two-stage init have.
    fn likely_two_stage(&self, staged: Option<usize>) -> Option<(String, Evidence)> {
        let fragment = RamdiskKind::VendorFragment;
        if let Some(evidence) = self.normal().find_map(|ramdisk| evidence(ramdisk, fragment)) {
            let text = "modules and first-stage files for an /init that another ramdisk brings: \
                        two-stage init";
            return Some((text.to_owned(), evidence));
        }
        if let Some(index) = staged {
            let role = self.roles[index];
            let text = format!("two-stage init, as on every device with the partition {role}");
            let header = match role == Role::VendorBoot {
                true => "VNDRBOOT",
                false => "version 4, no kernel",
            };
            return Some((text, Evidence::new(index, "header", header)));
        }
        let modern = |index: &usize| self.header_version(*index) >= Some(3);
        let index = self.position(|role| role == Role::Boot).filter(modern)?;
        let text = "two-stage init, as on every Android device with such a header";
        let evidence = Evidence::new(index, "header", "version 3 or 4, no ramdisk");
        Some((text.to_owned(), evidence))
    }

    /// A ramdisk of recovery that no normal boot can use, if there is no other.
    fn only_recovery(&self) -> Option<Evidence> {
        let started = |role: &Role| {
            matches!(role, Role::Boot | Role::InitBoot | Role::VendorBoot | Role::Ramdisk)
        };
        if self.roles.iter().any(started) {
            return None;
        }
        self.set.ramdisks.iter().find_map(|ramdisk| evidence(ramdisk, RamdiskKind::Recovery))
    }

    /// A recovery image, or the boot image of a legacy system-as-root device, whose bootloader
    /// passes `skip_initramfs` in normal boots.
    fn recovery_ramdisk(
        &self,
        evidence: Evidence,
        state: &mut impl FnMut(&str, Vec<Evidence>),
    ) -> (FlowKind, Option<&'static str>, bool, bool) {
        let ramdisk = self.set.ramdisks.iter().find(|own| own.spot.image == evidence.image);
        let two_stage = ramdisk.is_some_and(|ramdisk| ramdisk.is(RamdiskKind::TwoStage));
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
                state("the ramdisk is for recovery only: a recovery image", vec![evidence]);
                (FlowKind::Recovery, None, header.is_some(), true)
            }
        }
    }

    fn recovery(&self, kind: FlowKind, statements: &mut Vec<Statement>) -> RecoveryPlace {
        let mut state = |text: &str, evidence: Evidence| {
            let text = text.to_owned();
            statements.push(Statement { about: "recovery", text, evidence: vec![evidence] });
        };
        let shown = |ramdisk: &Ramdisk<'_>| evidence(ramdisk, RamdiskKind::Recovery);
        let own = |ramdisk: &Ramdisk<'_>| self.roles[ramdisk.spot.image] == Role::Recovery;
        if kind == FlowKind::Recovery {
            return RecoveryPlace::OwnImage;
        }
        let shared = self.normal().filter(|ramdisk| !own(ramdisk)).find_map(shown);
        if let Some(shown) = shared {
            state(
                "recovery shares the ramdisk: a boot with androidboot.force_normal_boot=1 is a \
                 normal one, every other goes to recovery",
                shown,
            );
            return RecoveryPlace::NormalRamdisk;
        }
        let ramdisks = &self.set.ramdisks;
        let apart = |ramdisk: &&Ramdisk<'_>| !self.is_normal(ramdisk) && !own(ramdisk);
        if let Some(ramdisk) = ramdisks.iter().find(apart) {
            let shown = Evidence::at(ramdisk, "type recovery");
            state("recovery is in a fragment of its own, which normal boots do not load", shown);
            return RecoveryPlace::Fragment;
        }
        if let Some(shown) = ramdisks.iter().filter(|ramdisk| own(ramdisk)).find_map(shown) {
            state("recovery has an image of its own", shown);
            return RecoveryPlace::OwnImage;
        }
        RecoveryPlace::NotSeen
    }

    /// The images that would make it certain.
    fn missing(&self, kind: FlowKind, sure: bool) -> Vec<String> {
        let has = |wanted| self.position(|role| role == wanted).is_some();
        let mut missing = Vec::new();
        let boot = self.position(|role| role == Role::Boot);
        let modern = boot.and_then(|index| self.header_version(index)) >= Some(3);
        let generic = self.normal().any(has_init);
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
                "{what} not given: what the kernel can do, and whether it uses the command line"
            ));
        }
        if kind == FlowKind::LegacySystemAsRoot && !sure {
            missing.push(
                "the bootloader's own parameters are in no image: on the device, skip_initramfs in \
                 /proc/cmdline decides"
                    .to_owned(),
            );
        }
        missing
    }

    /// The image with the kernel that a normal boot starts, and its bytes.
    fn kernel(&self) -> Option<(usize, &'a [u8])> {
        let index = self.kernel.image?;
        Some((index, self.set.images[index].section(SectionName::Kernel)?))
    }

    /// Which of these strings the kernel contains; None without a readable kernel.
    fn kernel_contains<const N: usize>(&self, texts: [&str; N]) -> Option<[bool; N]> {
        let (_, bytes) = self.kernel()?;
        let needles = texts.map(|text| [text.as_bytes(), b"\0"].concat());
        Kernel::parse(bytes).ok()?.contains(&needles).ok()?.try_into().ok()
    }

    /// Where a parameter is on a command line of the images or of their device trees.
    fn parameter(&self, name: &str) -> Vec<Evidence> {
        let normal = |index: &usize| self.roles[*index] != Role::Recovery;
        let has = |line: &[u8]| Cmdline::new(line).has_flag(name);
        let mut found = Vec::new();
        for (index, image) in self.set.images.iter().enumerate() {
            if image.header().is_some_and(|header| has(&header.cmdline())) {
                found.push(Evidence::new(index, "cmdline", name));
            }
            let trees = self.lines.device_trees.iter();
            for (_, tree) in trees.filter(|(own, _)| *own == index) {
                if has(tree.text.as_bytes()) {
                    found.push(Evidence::new(index, "device tree", name));
                }
            }
        }
        found.retain(|evidence| normal(&evidence.image));
        found
    }

    fn header_version(&self, index: usize) -> Option<u32> {
        self.set.images[index].header().map(Header::version)
    }

    fn position(&self, wanted: impl Fn(Role) -> bool) -> Option<usize> {
        self.roles.iter().position(|role| wanted(*role))
    }
}
