//! The modes of the IOMMU, the options of VFIO's modules and the drivers that are kept away: what is
//! written where, and what is refused.

use crate::common;
use crate::common::flows;
use crate::common::ko::Ko;
use crate::common::synthetic::{self, LAYOUTS, symbol_table};

use common::{AARCH64, RELEASE, X86_64, cpio, elf, kernel, with_cmdline, with_section};
use vfioboot::bootset::BootSet;
use vfioboot::compression::Format;
use vfioboot::image::{Image, SectionName};
use vfioboot::modules::ModuleSource;
use vfioboot::patch::{
    self, DriverPlace, Error, IommuMode, LoadedBy, NotBlocked, OptionBy, OptionEvidence, Options,
    RefusedOption, RefusedParameter, Runtimes, Warning,
};
use vfioboot::ramdisk::{Limits, tree};

const MODULAR: &str =
    "CONFIG_MODULES=y\nCONFIG_VFIO=m\nCONFIG_VFIO_PCI=m\nCONFIG_VFIO_IOMMU_TYPE1=m\n";
const BUILT_IN: &str = "CONFIG_MODULES=y\nCONFIG_VFIO=y\nCONFIG_VFIO_PCI=y\n\
    CONFIG_VFIO_IOMMU_TYPE1=y\nCONFIG_PCI_HOST_GENERIC=y\n";
const X86: &str = "CONFIG_X86_64=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_GZIP=y\n\
    CONFIG_IOMMU_SUPPORT=y\nCONFIG_INTEL_IOMMU=y\nCONFIG_AMD_IOMMU=y\n";

/// A kernel for arm64 of this version, which has as many characters as 6.1.99.
fn arm64(version: &str, config: &str) -> Vec<u8> {
    replaced(&kernel(config), b"6.1.99", version.as_bytes())
}

fn x86(version: &str, config: &str) -> Vec<u8> {
    let body = replaced(
        &synthetic::body(Some(config)),
        b"version 6.1.99",
        format!("version {version}").as_bytes(),
    );
    synthetic::bzimage(&synthetic::pack(Format::Gzip, &synthetic::elf(62, ".text", &body)), "x")
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut new = bytes.to_vec();
    for at in memchr::memmem::find_iter(bytes, from) {
        new[at..at + from.len()].copy_from_slice(to);
    }
    new
}

/// What a patch of one image is like.
struct Patched {
    words: Vec<String>,
    warnings: Vec<Warning>,
    modules: patch::ModulePlan,
    json: serde_json::Value,
    image: Vec<u8>,
}

impl Patched {
    fn line(&self) -> String {
        let image = Image::parse(&self.image).unwrap();
        String::from_utf8(image.header().unwrap().cmdline()).unwrap()
    }

    fn file(&self, path: &str) -> Option<String> {
        let image = Image::parse(&self.image).unwrap();
        let ramdisk = image.section(SectionName::Ramdisk).unwrap();
        let mut bytes = Vec::new();
        tree::read_file(ramdisk, path.as_bytes(), &mut bytes, Limits::default()).ok()?;
        Some(String::from_utf8(bytes).unwrap())
    }
}

fn options<'o>(runtime: &'o [u8], change: impl FnOnce(&mut Options<'o>)) -> Options<'o> {
    let device = "1b36:0010".parse().unwrap();
    let mut options = Options::new(vec![device], Runtimes::given(runtime));
    change(&mut options);
    options
}

/// Patch; and it stacks with nothing, and unpatch undoes it.
fn patch(image: &[u8], options: &Options<'_>) -> Result<Patched, Error> {
    let set = |bytes| BootSet::from_images(&[Image::parse(bytes).unwrap()]);
    let first = set(image);
    // The set lives as long as the options in the library's signature, and no longer here.
    let plan = patch::plan(&first, &shorter(options))?;
    let patched = plan.images[0].output.as_ref().unwrap().to_vec();
    let found = Patched {
        words: plan.parameters.iter().map(|word| word.text.clone()).collect(),
        warnings: plan.warnings.clone(),
        modules: plan.modules.clone(),
        json: serde_json::to_value(&plan).unwrap(),
        image: patched.clone(),
    };
    let again = set(&patched);
    let again = patch::plan(&again, &shorter(options)).unwrap();
    assert!(again.images[0].output.as_ref().unwrap().to_vec() == patched, "it stacks");
    let back = patch::unpatch(&set(&patched)).unwrap();
    assert!(back[0].as_ref().unwrap().to_vec() == image, "it is not undone");
    Ok(found)
}

fn shorter<'o>(options: &Options<'o>) -> Options<'o> {
    options.clone()
}

fn with_kernel(image: &[u8], kernel: Vec<u8>) -> Vec<u8> {
    with_section(image, SectionName::Kernel, kernel)
}

fn two_stage(kernel: Vec<u8>, line: &str) -> Vec<u8> {
    with_cmdline(&with_kernel(&flows::two_stage(), kernel), line)
}

fn x86_runtime() -> Vec<u8> {
    elf(X86_64)
}

/// The words about the IOMMU on the line of a patched image.
fn iommu_line(image: &[u8], machine: u16, mode: &str) -> Result<String, Error> {
    let runtime = elf(machine);
    let mode = IommuMode::from_name(mode).unwrap();
    let line = patch(image, &options(&runtime, |own| own.iommu = mode))?.line();
    let words: Vec<&str> = line.split(' ').filter(|word| word.contains("iommu")).collect();
    Ok(words.join(" "))
}

// --- the IOMMU --------------------------------------------------------------------------------

#[test]
fn each_mode_has_its_words_on_each_architecture() {
    let arm = two_stage(arm64("6.1.99", BUILT_IN), "quiet");
    let pc = two_stage(x86("6.1.99", X86), "quiet");
    let on = "intel_iommu=on amd_iommu=on";
    for (mode, arm64, x86) in [
        ("auto", "", format!("{on} iommu=pt")),
        ("translated", "iommu.passthrough=0", format!("{on} iommu=nopt")),
        ("passthrough", "iommu.passthrough=1", format!("{on} iommu=pt")),
        ("strict", "iommu.passthrough=0 iommu.strict=1", format!("{on} iommu=nopt iommu.strict=1")),
        ("lazy", "iommu.passthrough=0 iommu.strict=0", format!("{on} iommu=nopt iommu.strict=0")),
        ("keep", "", String::new()),
    ] {
        assert_eq!(iommu_line(&arm, AARCH64, mode).unwrap(), arm64, "arm64 {mode}");
        assert_eq!(iommu_line(&pc, X86_64, mode).unwrap(), x86, "x86_64 {mode}");
    }
    assert_eq!(IommuMode::TABLE.len(), 6);
}

#[test]
fn old_kernels_have_other_words_or_none() {
    let pc = two_stage(x86("5.10.9", X86), "quiet");
    let strict = "intel_iommu=on,strict amd_iommu=on,fullflush iommu=nopt";
    assert_eq!(iommu_line(&pc, X86_64, "strict").unwrap(), strict);
    let lazy = two_stage(x86("5.10.9", X86), "intel_iommu=strict amd_iommu=fullflush");
    let on = "intel_iommu=on amd_iommu=on iommu=nopt";
    assert_eq!(iommu_line(&lazy, X86_64, "lazy").unwrap(), on);
    let pc = two_stage(x86("4.18.9", X86), "iommu=pt");
    assert_eq!(iommu_line(&pc, X86_64, "translated").unwrap(), "intel_iommu=on amd_iommu=on");

    let arm = two_stage(arm64("4.19.9", BUILT_IN), "quiet");
    assert_eq!(iommu_line(&arm, AARCH64, "strict").unwrap(), "iommu.passthrough=0");
    let refused = iommu_line(&arm, AARCH64, "lazy").unwrap_err();
    assert!(matches!(refused, Error::Iommu { mode: "lazy", since: "4.20", .. }), "{refused}");
    let arm = two_stage(arm64("4.9.99", BUILT_IN), "quiet");
    assert_eq!(iommu_line(&arm, AARCH64, "translated").unwrap(), "");
    let refused = iommu_line(&arm, AARCH64, "passthrough").unwrap_err();
    assert!(matches!(refused, Error::Iommu { since: "4.12", .. }), "{refused}");
}

#[test]
fn what_contradicts_a_mode_is_replaced_and_nothing_else() {
    let arm = "a iommu.passthrough=1 b  iommu.passthrough=y c iommu.strict=0 --  iommu.strict=0";
    let arm = two_stage(arm64("6.1.99", BUILT_IN), arm);
    let line = |mode| {
        let runtime = elf(AARCH64);
        let mode = IommuMode::from_name(mode).unwrap();
        patch(&arm, &options(&runtime, |own| own.iommu = mode)).unwrap().line()
    };
    let rest = "--  iommu.strict=0";
    let (ours, ids) = ("rdinit=/vfioboot/init a", "vfio-pci.ids=1b36:0010");
    assert_eq!(
        line("strict"),
        format!("{ours} b  c iommu.strict=1 {ids} iommu.passthrough=0 {rest}")
    );
    assert_eq!(
        line("passthrough"),
        format!("{ours} b  c iommu.strict=0 {ids} iommu.passthrough=1 {rest}")
    );

    let pc =
        "intel_iommu=off,sm_on iommu=pt,merge amd_iommu=off iommu.passthrough=1 intel_iommu=strict";
    let pc = two_stage(x86("6.1.99", X86), pc);
    let lazy = "intel_iommu=sm_on,on iommu=merge,nopt amd_iommu=on iommu.strict=0";
    assert_eq!(iommu_line(&pc, X86_64, "lazy").unwrap(), lazy);
    let kept =
        "intel_iommu=off,sm_on iommu=pt,merge amd_iommu=off iommu.passthrough=1 intel_iommu=strict";
    assert_eq!(iommu_line(&pc, X86_64, "keep").unwrap(), kept);
}

#[test]
fn a_word_that_is_right_already_stays_where_it_is() {
    let line = "iommu.passthrough=0 quiet";
    let image = two_stage(arm64("6.1.99", BUILT_IN), line);
    let runtime = elf(AARCH64);
    let translated = options(&runtime, |own| own.iommu = IommuMode::Translated);
    let found = patch(&image, &translated).unwrap();
    let expected = format!("rdinit=/vfioboot/init {line} vfio-pci.ids=1b36:0010");
    assert_eq!(found.line(), expected);
}

#[test]
fn a_driver_that_the_kernel_lacks_gets_no_word() {
    let config = X86.replace("CONFIG_AMD_IOMMU=y\n", "");
    let pc = two_stage(x86("6.1.99", &config), "amd_iommu=off");
    assert_eq!(iommu_line(&pc, X86_64, "passthrough").unwrap(), "intel_iommu=on iommu=pt");
}

#[test]
fn the_plan_says_what_a_mode_does_and_that_vfio_needs_none() {
    let image = two_stage(arm64("6.1.99", BUILT_IN), "quiet");
    let runtime = elf(AARCH64);
    for row in IommuMode::TABLE {
        let found = patch(&image, &options(&runtime, |own| own.iommu = row.mode)).unwrap();
        assert_eq!(found.json["iommu"]["mode"], row.name);
        let does = found.json["iommu"]["does"].as_str().unwrap();
        assert!(does.contains("does not require iommu.passthrough=1"), "{does}");
        assert_eq!(does, row.mode.says());
    }
}

#[test]
fn a_requested_word_that_contradicts_a_mode_is_refused() {
    let image = two_stage(x86("6.1.99", X86), "quiet");
    let runtime = x86_runtime();
    for (mode, word, refused) in [
        (IommuMode::Translated, "iommu=pt", true),
        (IommuMode::Translated, "intel_iommu=igfx_off", false),
        (IommuMode::Strict, "iommu.strict=0", true),
        (IommuMode::Strict, "iommu.strict=1", false),
        (IommuMode::Keep, "iommu=pt", false),
        (IommuMode::Auto, "iommu=nopt", false),
    ] {
        let plan = patch(
            &image,
            &options(&runtime, |own| {
                own.iommu = mode;
                own.parameters = vec![word.to_owned()];
            }),
        );
        let is_refused =
            matches!(plan, Err(Error::Parameter { reason: RefusedParameter::Contradicts, .. }));
        assert_eq!(is_refused, refused, "{mode:?} {word}");
    }
}

#[test]
fn a_line_of_another_image_that_says_otherwise_is_reported() {
    let boot = with_cmdline(&common::fixture("images/boot-v4.img"), "iommu.passthrough=1");
    let vendor = common::fixture("images/vendor_boot-v4.img");
    let images = [boot, vendor, common::fixture("images/init_boot-v4.img")];
    let parsed: Vec<_> = images.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    let set = BootSet::from_images(&parsed);
    let runtime = elf(AARCH64);
    let plan =
        patch::plan(&set, &options(&runtime, |own| own.iommu = IommuMode::Translated)).unwrap();
    let present = "iommu.passthrough=1".to_owned();
    assert!(plan.warnings.contains(&Warning::ContradictedElsewhere { present }));
}

// --- options of VFIO --------------------------------------------------------------------------

/// A kernel with VFIO built in and the names of these parameters.
fn with_parameters(names: &[&str]) -> Vec<u8> {
    let mut kernel = arm64("6.1.99", BUILT_IN);
    kernel.extend_from_slice(
        b"\0vfio_pci.no text\0x.vfio_pci.hidden\0drivers/vfio_pci.c\0&vfio_pci.lock\0",
    );
    names.iter().for_each(|name| kernel.extend([name.as_bytes(), b"\0"].concat()));
    kernel
}

fn vfio_options(image: &[u8], texts: &[&str]) -> Result<Patched, Error> {
    vfio_options_of(image, texts, |_| {})
}

fn vfio_options_of(
    image: &[u8],
    texts: &[&str],
    change: impl FnOnce(&mut Options<'_>),
) -> Result<Patched, Error> {
    let runtime = elf(AARCH64);
    let mut options = options(&runtime, |own| {
        own.vfio_options = texts.iter().map(|text| text.parse().unwrap()).collect();
    });
    change(&mut options);
    patch(image, &options)
}

fn refused_option(found: Result<Patched, Error>) -> RefusedOption {
    match found {
        Err(Error::VfioOption { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(found) => panic!("{:?}", found.words),
    }
}

const PARAMETERS: &[&str] =
    &["vfio_pci.ids", "vfio_pci.disable_idle_d3", "vfio_iommu_type1.allow_unsafe_interrupts"];

#[test]
fn options_of_a_kernel_with_vfio_are_kernel_parameters() {
    let image = two_stage(with_parameters(PARAMETERS), "vfio_pci.disable_idle_d3=0");
    let found = vfio_options(&image, &["disable-idle-d3=1", "allow_unsafe_interrupts=y"]).unwrap();
    let expected = "rdinit=/vfioboot/init vfio-pci.disable_idle_d3=1 \
                    vfio_iommu_type1.allow_unsafe_interrupts=y vfio-pci.ids=1b36:0010";
    assert_eq!(found.line(), expected);
    let by: Vec<_> = found.modules.options.iter().map(|own| (own.by, own.evidence)).collect();
    assert_eq!(by, [(OptionBy::KernelParameter, OptionEvidence::Kernel); 2]);
    assert_eq!(found.json["modules"]["options"][0]["by"], "kernel_parameter");
}

#[test]
fn options_that_the_kernel_does_not_have_are_refused() {
    let image = two_stage(with_parameters(PARAMETERS), "");
    let refused = |text: &str| refused_option(vfio_options(&image, &[text]));
    let RefusedOption::Unknown { has } = refused("disable_vga=1") else { panic!() };
    assert_eq!(has, ["vfio-pci.disable_idle_d3", "vfio_iommu_type1.allow_unsafe_interrupts"]);
    assert!(matches!(refused("vfio_iommu_type1.disable_idle_d3=1"), RefusedOption::Unknown { .. }));
    assert_eq!(refused("ids=1b36:0010"), RefusedOption::Ids);
    assert_eq!(refused("vfio-pci.ids=1b36:0010"), RefusedOption::Ids);
    assert!(matches!(refused("nvme.x=1"), RefusedOption::NotOfVfio { .. }));
    assert!(matches!(refused("disable_idle_d3=maybe"), RefusedOption::Value { .. }));
    let twice = vfio_options(&image, &["disable_idle_d3=1", "vfio_pci.disable_idle_d3=0"]);
    assert_eq!(refused_option(twice), RefusedOption::Twice);
    let hidden = refused("hidden=1");
    assert!(matches!(hidden, RefusedOption::Unknown { .. }));
}

#[test]
fn text_that_is_no_option_is_refused() {
    for text in
        ["disable_idle_d3", "=1", "a=", "a b=1", "a=1 b", "a=\"x\"", "a.b.c=1", ".a=1", "a=1,2"]
    {
        assert!(text.parse::<patch::VfioOption>().is_err(), "{text}");
    }
}

#[test]
fn a_requested_word_that_contradicts_an_option_is_refused() {
    let image = two_stage(with_parameters(PARAMETERS), "");
    let change =
        |own: &mut Options<'_>| own.parameters = vec!["vfio_pci.disable_idle_d3=0".to_owned()];
    let found = vfio_options_of(&image, &["disable_idle_d3=1"], change);
    assert!(matches!(found, Err(Error::Parameter { reason: RefusedParameter::Contradicts, .. })));
}

fn vfio() -> [(&'static str, Ko); 3] {
    let type1 = Ko::new("vfio_iommu_type1", RELEASE)
        .info("depends=vfio")
        .info("parmtype=dma_entry_limit:uint");
    let pci = Ko::new("vfio-pci", RELEASE)
        .info("depends=vfio")
        .info("parmtype=ids:string")
        .info("parmtype=disable_vga:bool")
        .info("parm=disable_vga:Disable VGA resource access (bool)");
    [("vfio.ko", Ko::new("vfio", RELEASE)), ("vfio_iommu_type1.ko", type1), ("vfio-pci.ko", pci)]
}

/// A ramdisk with these modules and other files, and `/init` as first-stage init or as text.
fn ramdisk(modules: &[(&str, Ko)], files: &[(&str, &str)]) -> Vec<u8> {
    let modules = modules.iter().map(|(name, ko)| (format!("lib/modules/{name}"), ko.bytes()));
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
    let own: Vec<(String, Vec<u8>)> = modules.chain(files).collect();
    let fixed: [(&str, &[u8]); 4] = [
        ("init", b"\x7fELF selinux_setup"),
        ("first_stage_ramdisk/", b""),
        ("lib/", b""),
        ("lib/modules/", b""),
    ];
    let own = own.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    cpio(&fixed.into_iter().chain(own).collect::<Vec<_>>())
}

fn boot(kernel: Vec<u8>, ramdisk: Vec<u8>, line: &str) -> Vec<u8> {
    let image = common::fixture("images/boot-v2-raw.img");
    with_cmdline(&with_section(&with_kernel(&image, kernel), SectionName::Ramdisk, ramdisk), line)
}

#[test]
fn options_of_modules_go_to_the_program_that_loads_them() {
    let texts = ["disable_vga=1", "dma_entry_limit=4096"];
    let image = boot(arm64("6.1.99", MODULAR), ramdisk(&vfio(), &[]), "");
    let found = vfio_options(&image, &texts).unwrap();
    let boot_file = found.file("/vfioboot/boot.toml").unwrap();
    assert!(boot_file.contains("params = \"disable_vga=1\""), "{boot_file}");
    assert!(boot_file.contains("params = \"dma_entry_limit=4096\""), "{boot_file}");
    assert!(!found.line().contains("vfio-pci"), "{}", found.line());
    assert!(found.modules.options.iter().all(|own| own.by == OptionBy::Module));

    let lists = [
        ("lib/modules/modules.load", "vfio-pci.ko\n"),
        ("lib/modules/modules.options", "options vfio_pci disable_vga=0 ids=8086:10d3\n"),
    ];
    let image = boot(arm64("6.1.99", MODULAR), ramdisk(&vfio(), &lists), "");
    let by_lists = |own: &mut Options<'_>| own.modules.by = Some(LoadedBy::Libmodprobe);
    let found = vfio_options_of(&image, &texts, by_lists).unwrap();
    let list = found.file("/lib/modules/modules.options").unwrap();
    let expected = "options vfio_pci disable_vga=1 ids=8086:10d3,1b36:0010\noptions vfio_iommu_type1 dma_entry_limit=4096\n";
    assert_eq!(list, expected);
}

#[test]
fn options_that_the_module_does_not_have_are_refused() {
    let image = boot(arm64("6.1.99", MODULAR), ramdisk(&vfio(), &[]), "");
    let refused = |text: &str| refused_option(vfio_options(&image, &[text]));
    assert!(matches!(refused("disable_idle_d3=1"), RefusedOption::Unknown { .. }));
    assert!(matches!(refused("dma_entry_limit=many"), RefusedOption::Value { .. }));
    assert!(matches!(refused("dma_entry_limit=-1"), RefusedOption::Value { .. }));
}

#[test]
fn without_a_kernel_and_modules_an_option_is_written_and_not_checked() {
    let image = boot(arm64("6.1.99", MODULAR), ramdisk(&[], &[]), "");
    let found = vfio_options(&image, &["disable_idle_d3=1"]).unwrap();
    assert!(found.line().ends_with("vfio-pci.disable_idle_d3=1"), "{}", found.line());
    let option = "vfio-pci.disable_idle_d3".to_owned();
    assert!(found.warnings.contains(&Warning::OptionNotChecked { option }));
    assert!(matches!(
        refused_option(vfio_options(&image, &["what=1"])),
        RefusedOption::Unknown { .. }
    ));
}

// --- drivers that are kept away ---------------------------------------------------------------

fn blocked(image: &[u8], names: &[&str]) -> Result<Patched, Error> {
    blocked_with(image, names, |_| {})
}

fn blocked_with(
    image: &[u8],
    names: &[&str],
    change: impl FnOnce(&mut Options<'_>),
) -> Result<Patched, Error> {
    let runtime = elf(AARCH64);
    let mut options = options(&runtime, |own| {
        own.block_drivers = names.iter().map(|name| (*name).to_owned()).collect();
    });
    change(&mut options);
    patch(image, &options)
}

fn not_blocked(found: Result<Patched, Error>) -> NotBlocked {
    match found {
        Err(Error::BlockDriver { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(found) => panic!("{:?}", found.modules.blocked),
    }
}

/// A kernel with these symbols among others.
fn with_symbols(layout: usize, symbols: &[&str]) -> Vec<u8> {
    let mut names: Vec<String> = (0..1000).map(|i| format!("tsome_function_{i}")).collect();
    names.extend(symbols.iter().map(|name| (*name).to_owned()));
    [arm64("6.1.99", BUILT_IN), symbol_table(LAYOUTS[layout], &names)].concat()
}

#[test]
fn a_driver_of_the_kernel_is_kept_away_by_the_function_that_starts_it() {
    for (symbols, function) in [
        (&["tnvme_init", "tnvme_init_ctrl"][..], "nvme_init"),
        (&["tnvme_driver_init", "tnvme_other"], "nvme_driver_init"),
        (&["tstart", "d__initcall__kmod_nvme__288_3456_start6", "tnvme_init"], "start"),
        (&["tnvme_init", "d__initcall_nvme_init6"], "nvme_init"),
        (
            &["t__initstub__kmod_nvme__288_3456_nvme_init6", "tnvme_init"],
            "__initstub__kmod_nvme__288_3456_nvme_init6",
        ),
    ] {
        let image = two_stage(with_symbols(2, symbols), "quiet initcall_blacklist=x_init");
        let found = blocked(&image, &["nvme"]).unwrap();
        let word = format!("initcall_blacklist=x_init,{function}");
        assert!(found.line().split(' ').any(|own| own == word), "{}", found.line());
        assert_eq!(found.modules.blocked[0].place, DriverPlace::BuiltIn);
        assert_eq!(found.modules.blocked[0].initcalls, [function]);
    }
}

#[test]
fn a_function_that_is_no_initcall_starts_no_driver() {
    let table = ["tnvme_init", "d__initcall_other_init6"];
    let reason = not_blocked(blocked(&two_stage(with_symbols(2, &table), ""), &["nvme"]));
    assert!(matches!(reason, NotBlocked::Unknown { .. }), "{reason}");
}

#[test]
fn a_driver_that_nothing_has_is_refused() {
    let image = two_stage(with_symbols(2, &["tnvme_init"]), "");
    assert!(matches!(not_blocked(blocked(&image, &["nvmee"])), NotBlocked::Unknown { .. }));
    assert!(matches!(not_blocked(blocked(&image, &[""])), NotBlocked::Unknown { .. }));
    let image = boot(arm64("6.1.99", BUILT_IN), ramdisk(&vfio(), &[]), "");
    assert!(matches!(not_blocked(blocked(&image, &["nvme"])), NotBlocked::Unknown { .. }));
}

fn driver(name: &str, alias: &str, import: &str) -> Ko {
    let ko = Ko::new(name, RELEASE).info(&format!("alias={alias}"));
    if import.is_empty() { ko } else { ko.import(import, None) }
}

/// Modules of a phone, and the lists for them.
fn phone(line: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let modules = [
        ("clk.ko", driver("clk", "of:N*T*Cx,cc", "devm_of_clk_add_hw_provider")),
        ("pcie-qcom.ko", driver("pcie_qcom", "of:N*T*Cx,pcie", "dw_pcie_host_init")),
        ("smmu.ko", driver("smmu", "of:N*T*Cx,smmu", "iommu_device_register")),
        ("ufs-qcom.ko", driver("ufs_qcom", "of:N*T*Cx,ufs", "ufshcd_pltfrm_init")),
        ("sdhci-msm.ko", driver("sdhci_msm", "of:N*T*Cx,sdhci", "sdhci_add_host")),
        ("nvme.ko", driver("nvme", "pci:v*d*sv*sd*bc01sc08i02*", "").info("depends=nvme-core")),
        ("nvme-core.ko", Ko::new("nvme_core", RELEASE)),
        ("ath.ko", driver("ath", "pci:v0000168Cd*sv*sd*bc*sc*i*", "")),
    ];
    let names: Vec<&str> = modules.iter().map(|(name, _)| *name).collect();
    let load = names.iter().map(|name| format!("{name}\n")).collect::<String>();
    let dep = names.iter().map(|name| match *name {
        "nvme.ko" => "/lib/modules/nvme.ko: /lib/modules/nvme-core.ko\n".to_owned(),
        name => format!("/lib/modules/{name}:\n"),
    });
    let dep = dep.collect::<String>();
    let lists = [("lib/modules/modules.load", load.as_str()), ("lib/modules/modules.dep", &dep)];
    boot(arm64("6.1.99", BUILT_IN), ramdisk(&modules, &[&lists[..], files].concat()), line)
}

const UFS: &str = "androidboot.boot_devices=soc/1d84000.ufshc";

#[test]
fn first_stage_init_does_not_load_a_driver_that_is_kept_away() {
    let found = blocked(&phone(UFS, &[]), &["ath", "sdhci-msm"]).unwrap();
    let load = found.file("/lib/modules/modules.load").unwrap();
    assert!(!load.contains("ath") && !load.contains("sdhci") && load.contains("nvme.ko"), "{load}");
    let list = found.file("/lib/modules/modules.blocklist").unwrap();
    assert_eq!(list, "blocklist ath\nblocklist sdhci_msm\n");
    let kept = found.file("/vfioboot/original/lib/modules/modules.load").unwrap();
    assert!(kept.contains("ath.ko"));
    let boot_file = found.file("/vfioboot/boot.toml").unwrap();
    assert!(boot_file.contains("/lib/modules/modules.blocklist"), "{boot_file}");
    // The kernel would refuse it in recovery too, where init then gives up.
    assert!(!found.line().contains("module_blacklist"), "{}", found.line());
    assert!(found.warnings.contains(&Warning::NoRecoveryList));
    assert!(found.modules.blocked.iter().all(|own| own.place == DriverPlace::Listed));
}

#[test]
fn drivers_that_the_device_needs_are_refused() {
    let image = phone(UFS, &[]);
    let reason = |name| not_blocked(blocked(&image, &[name]));
    assert_eq!(reason("clk"), NotBlocked::Supplier);
    assert_eq!(reason("pcie-qcom"), NotBlocked::HostBridge);
    assert_eq!(reason("smmu"), NotBlocked::Iommu);
    assert_eq!(reason("ufs_qcom"), NotBlocked::BootStorage { evidence: UFS.to_owned() });
    assert_eq!(reason("vfio-pci"), NotBlocked::Vfio);
    assert_eq!(reason("nvme_core"), NotBlocked::Needed { module: "nvme".to_owned() });
    assert!(blocked(&image, &["nvme_core", "nvme"]).is_ok());
}

#[test]
fn what_the_host_boots_from_is_found_where_it_stands() {
    let boots_from = |name: &str, image: &[u8]| match blocked(image, &[name]) {
        Err(Error::BlockDriver { reason: NotBlocked::BootStorage { .. }, .. }) => Some(true),
        Err(Error::BlockDriver { reason: NotBlocked::MayBeBootStorage { .. }, .. }) => None,
        Ok(_) => Some(false),
        Err(error) => panic!("{error}"),
    };
    let fstab = |text| [("first_stage_ramdisk/fstab.x", text)];
    let by_name = fstab("/dev/block/by-name/system /system ext4 ro wait\n");
    let mmc =
        fstab("# ufs\n/dev/block/platform/soc/7c4000.sdhci/by-name/system /system ext4 ro wait\n");
    for (image, ufs, sdhci, nvme) in [
        (phone(UFS, &[]), Some(true), Some(false), Some(false)),
        (phone("", &by_name), None, None, Some(false)),
        (phone("", &mmc), Some(false), Some(true), Some(false)),
        (phone("root=/dev/nvme0n1p2", &[]), Some(false), Some(false), Some(true)),
        (phone("root=PARTUUID=1-02", &[]), None, None, Some(false)),
    ] {
        assert_eq!(boots_from("ufs_qcom", &image), ufs);
        assert_eq!(boots_from("sdhci_msm", &image), sdhci);
        assert_eq!(boots_from("nvme", &image), nvme);
    }
    let found = blocked(&phone("", &[]), &["nvme"]).unwrap();
    let storage = |own: &Warning| matches!(own, Warning::BlocksStorage { .. });
    assert!(found.warnings.iter().any(storage));
}

#[test]
fn drivers_of_the_kernel_that_the_device_needs_are_refused() {
    let symbols = [
        "tpcie_qcom_driver_init",
        "tarm_smmu_driver_init",
        "tsdhci_msm_driver_init",
        "tvfio_pci_init",
    ];
    let image = two_stage(with_symbols(2, &symbols), "");
    let reason = |name| not_blocked(blocked(&image, &[name]));
    assert_eq!(reason("pcie_qcom"), NotBlocked::HostBridge);
    assert_eq!(reason("arm_smmu"), NotBlocked::Iommu);
    assert!(matches!(reason("sdhci_msm"), NotBlocked::MayBeBootStorage { .. }));
    assert_eq!(reason("vfio_pci"), NotBlocked::Vfio);
}

#[test]
fn a_module_of_an_initramfs_is_refused_by_the_kernel_and_left_by_kmod() {
    let (_, initramfs) = flows::distributions().into_iter().next().unwrap();
    let system = ramdisk(&[("nouveau.ko", driver("nouveau", "pci:v000010DEd*", ""))], &[]);
    let image = with_kernel(&initramfs, arm64("6.1.99", BUILT_IN));
    let image = with_cmdline(&image, "module_blacklist=a modprobe.blacklist=b");
    let source = |own: &mut Options<'_>| {
        let bytes = system.clone().leak();
        own.modules.sources = vec![ModuleSource::Bytes { name: "system".to_owned(), bytes }];
    };
    let found = blocked_with(&image, &["nouveau"], source).unwrap();
    for word in ["module_blacklist=a,nouveau", "modprobe.blacklist=b,nouveau"] {
        assert!(found.line().split(' ').any(|own| own == word), "{}", found.line());
    }
    assert_eq!(found.modules.blocked[0].place, DriverPlace::Module);
    assert_eq!(found.json["modules"]["blocked"][0]["name"], "nouveau");
}
