//! The modules of a patch: which are taken from where, who loads them, what is refused.

use crate::common;
use crate::common::ko;

use common::{AARCH64, RELEASE, cpio, elf, kernel, module};
use ko::{Form, Ko, kernel_with_exports, usual_exports};
use vfioboot::bootset::BootSet;
use vfioboot::image::Image;
use vfioboot::modules::ModuleSource;
use vfioboot::patch::{self, LoadedBy, ModuleOptions, Options, Plan, Runtimes, Warning};
use vfioboot::ramdisk::{Limits, tree};

const CONFIG: &str =
    "CONFIG_MODULES=y\nCONFIG_VFIO=m\nCONFIG_VFIO_PCI=m\nCONFIG_VFIO_IOMMU_TYPE1=m\n";
const LOAD: &str = "clk.ko\npcie-qcom.ko\nnvme.ko\n";

/// A boot image of these parts, as mkbootimg lays a version 2 out.
fn boot(kernel: &[u8], ramdisk: &[u8]) -> Vec<u8> {
    use vfioboot::image::SectionName;
    let image = common::fixture("images/boot-v2-raw.img");
    let image = common::with_section(&image, SectionName::Kernel, kernel.to_vec());
    common::with_section(&image, SectionName::Ramdisk, ramdisk.to_vec())
}

fn vfio() -> [(&'static str, Ko); 3] {
    let core = Ko::new("vfio", RELEASE).export("vfio_register", true);
    let type1 =
        Ko::new("vfio_iommu_type1", RELEASE).info("depends=vfio").import("vfio_register", None);
    let pci = Ko::new("vfio-pci", RELEASE).info("depends=vfio").import("vfio_register", None);
    [("vfio.ko", core), ("vfio_iommu_type1.ko", type1), ("vfio-pci.ko", pci)]
}

/// A ramdisk with these modules and lists, and `/init`.
fn ramdisk(modules: &[(&str, Ko)], lists: &[(&str, &str)]) -> Vec<u8> {
    let modules: Vec<(String, Vec<u8>)> =
        modules.iter().map(|(name, ko)| (format!("lib/modules/{name}"), ko.bytes())).collect();
    let lists: Vec<(String, Vec<u8>)> = lists
        .iter()
        .map(|(name, text)| (format!("lib/modules/{name}"), text.as_bytes().to_vec()))
        .collect();
    let fixed = [("init", &b"#!"[..]), ("lib/", b""), ("lib/modules/", b"")];
    let all: Vec<(&str, &[u8])> = fixed
        .into_iter()
        .chain(modules.iter().chain(&lists).map(|(n, b)| (n.as_str(), &b[..])))
        .collect();
    cpio(&all)
}

fn vendor_modules() -> Vec<(&'static str, Ko)> {
    let bridge = Ko::new("pcie_qcom", RELEASE)
        .info("alias=of:N*T*Cqcom,pcie-sm8450")
        .info("depends=clk")
        .import("dw_pcie_host_init", None);
    vec![
        ("clk.ko", Ko::new("clk", RELEASE)),
        ("pcie-qcom.ko", bridge),
        ("nvme.ko", Ko::new("nvme", RELEASE).info("alias=pci:v*d*sv*sd*bc01sc08i02*")),
    ]
}

const DEP: &str =
    "/lib/modules/clk.ko:\n/lib/modules/pcie-qcom.ko: /lib/modules/clk.ko\n/lib/modules/nvme.ko:\n";

fn with_plan<T>(
    image: &[u8],
    modules: ModuleOptions<'_>,
    look: impl FnOnce(Result<Plan<'_>, patch::Error>) -> T,
) -> T {
    let runtime = elf(AARCH64);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    options.modules = modules;
    look(patch::plan(&BootSet::from_images(&[Image::parse(image).unwrap()]), &options))
}

/// A file in the ramdisk of the patched image, as the kernel would see it.
fn file(patched: &[u8], path: &str) -> Vec<u8> {
    let image = Image::parse(patched).unwrap();
    let ramdisk = image.section(vfioboot::image::SectionName::Ramdisk).unwrap();
    let mut bytes = Vec::new();
    tree::read_file(ramdisk, path.as_bytes(), &mut bytes, Limits::default()).unwrap();
    bytes
}

fn text(patched: &[u8], path: &str) -> String {
    String::from_utf8(file(patched, path)).unwrap()
}

fn patched(image: &[u8], modules: ModuleOptions<'_>) -> Vec<u8> {
    with_plan(image, modules, |plan| plan.unwrap().images[0].output.as_ref().unwrap().to_vec())
}

fn refusal(image: &[u8], modules: ModuleOptions<'_>) -> String {
    with_plan(image, modules, |plan| plan.unwrap_err().to_string())
}

fn from(bytes: &[u8]) -> ModuleOptions<'_> {
    let source = ModuleSource::Bytes { name: "other.img".to_owned(), bytes };
    ModuleOptions { sources: vec![source], ..ModuleOptions::default() }
}

#[test]
fn modules_of_the_ramdisk_are_loaded_in_place() {
    let image = boot(&kernel(CONFIG), &ramdisk(&vfio(), &[]));
    with_plan(&image, ModuleOptions::default(), |plan| {
        let plan = plan.unwrap().modules;
        assert_eq!(plan.by, Some(LoadedBy::Pid1));
        let paths: Vec<&str> = plan.load.iter().map(|module| module.path.as_str()).collect();
        let expected = ["vfio.ko", "vfio-pci.ko", "vfio_iommu_type1.ko"];
        assert_eq!(paths, expected.map(|name| format!("/lib/modules/{name}")));
        assert!(plan.load.iter().all(|module| module.added_from.is_none()));
    });
    let boot_file = text(&patched(&image, ModuleOptions::default()), "/vfioboot/boot.toml");
    assert!(boot_file.contains("path = \"/lib/modules/vfio.ko\""), "{boot_file}");
}

#[test]
fn without_a_config_the_ramdisk_shows_that_vfio_is_a_module() {
    let mut kernel = vec![0; 4096];
    kernel[56..60].copy_from_slice(b"ARM\x64");
    for (modules, loads) in [(&vfio()[..], 3), (&vendor_modules()[..], 0)] {
        let image = boot(&kernel, &ramdisk(modules, &[("modules.load", LOAD)]));
        with_plan(&image, ModuleOptions::default(), |plan| {
            assert_eq!(plan.unwrap().modules.load.len(), loads);
        });
    }
}

#[test]
fn what_is_missing_comes_from_another_ramdisk_and_only_that() {
    let other = ramdisk(&[&vfio()[..], &vendor_modules()[..]].concat(), &[]);
    let image = boot(&kernel(CONFIG), &ramdisk(&vfio()[..1], &[]));
    with_plan(&image, from(&other), |plan| {
        let added: Vec<(String, bool)> = plan
            .unwrap()
            .modules
            .load
            .into_iter()
            .map(|module| (module.name, module.added_from.is_some()))
            .collect();
        let expected = [("vfio", false), ("vfio_pci", true), ("vfio_iommu_type1", true)];
        assert_eq!(added, expected.map(|(name, added)| (name.to_owned(), added)));
    });
}

#[test]
fn a_source_without_what_is_needed_is_refused_by_name() {
    let other = ramdisk(&vendor_modules(), &[]);
    let text = refusal(&boot(&kernel(CONFIG), &ramdisk(&[], &[])), from(&other));
    assert!(text.contains("no module vfio_pci in the ramdisk nor in other.img"), "{text}");
}

#[test]
fn without_any_module_the_plan_says_what_to_give() {
    let image = boot(&kernel(CONFIG), &ramdisk(&[], &[]));
    with_plan(&image, ModuleOptions::default(), |plan| {
        let missing = Warning::ModuleMissing { symbol: "VFIO_PCI", module: "vfio_pci" };
        assert!(plan.unwrap().warnings.contains(&missing));
    });
}

#[test]
fn a_module_with_missing_symbols_is_refused() {
    let exports = kernel_with_exports(
        &usual_exports(),
        Form { namespaces: true, crcs: false, relative: false },
    );
    let kernel = [kernel(&format!("{CONFIG}CONFIG_TRIM_UNUSED_KSYMS=y\n")), exports].concat();
    let mut modules = vfio();
    modules[2].1 = modules[2].1.clone().import("pci_reset_bus", None);
    let other = ramdisk(&modules, &[]);
    let text = refusal(&boot(&kernel, &ramdisk(&[], &[])), from(&other));
    assert!(text.contains("vfio_pci needs the symbol pci_reset_bus"), "{text}");
    assert!(text.contains("TRIM_UNUSED_KSYMS"), "{text}");
}

#[test]
fn a_host_bridge_that_needs_nothing_else_is_loaded_by_pid_1() {
    let bridge = Ko::new("pci_host_generic", RELEASE)
        .info("alias=of:N*T*Cpci-host-ecam-generic")
        .import("pci_host_common_probe", None);
    let modules = [&vfio()[..], &[("generic.ko", bridge)]].concat();
    let image = boot(&kernel(CONFIG), &ramdisk(&modules, &[("modules.load", "generic.ko\n")]));
    with_plan(&image, ModuleOptions::default(), |plan| {
        let plan = plan.unwrap().modules;
        assert_eq!(plan.by, Some(LoadedBy::Pid1));
        assert_eq!(plan.load[0].name, "pci_host_generic");
        assert!(plan.reason.contains("needs no other hardware"), "{}", plan.reason);
    });
}

/// The image of a phone whose host bridge is a vendor module, with VFIO in another ramdisk.
fn phone(lists: &[(&str, &str)]) -> Vec<u8> {
    let lists = [&[("modules.load", LOAD), ("modules.dep", DEP)], lists].concat();
    boot(&kernel(CONFIG), &ramdisk(&vendor_modules(), &lists))
}

#[test]
fn first_stage_init_loads_vfio_before_the_host_bridge() {
    let (image, other) = (phone(&[]), ramdisk(&vfio(), &[]));
    with_plan(&image, from(&other), |plan| {
        let plan = plan.unwrap().modules;
        assert_eq!(plan.by, Some(LoadedBy::Libmodprobe));
        assert!(plan.reason.contains("pcie_qcom"), "{}", plan.reason);
        assert_eq!(
            (plan.drivers[0].module.as_str(), plan.drivers[0].loaded_at_boot),
            ("nvme", true)
        );
    });
    let patched = patched(&image, from(&other));
    let list = |name: &str| text(&patched, &format!("/lib/modules/{name}"));
    assert_eq!(
        list("modules.load"),
        "clk.ko\nvfio.ko\nvfio-pci.ko\nvfio_iommu_type1.ko\npcie-qcom.ko\nnvme.ko\n"
    );
    assert_eq!(
        list("modules.softdep"),
        "softdep nvme pre: vfio_pci\nsoftdep pcie_qcom pre: vfio_pci\n"
    );
    assert_eq!(list("modules.options"), "options vfio_pci ids=1b36:0010\n");
    let dep = list("modules.dep");
    assert!(dep.starts_with(DEP), "{dep}");
    let line = "/lib/modules/vfioboot/vfio-pci.ko: /lib/modules/vfioboot/vfio.ko";
    assert!(dep.lines().any(|other| other == line), "{dep}");
    assert!(file(&patched, "/lib/modules/vfioboot/vfio.ko") == vfio()[0].1.bytes());
}

#[test]
fn options_that_are_there_are_kept_and_a_blocklist_gives_way() {
    let lists = [
        ("modules.options", "options vfio-pci disable_idle_d3=1 ids=8086:10d3\noptions a b=1\n"),
        ("modules.blocklist", "blocklist vfio_pci\nblocklist other\n"),
    ];
    let (image, other) = (phone(&lists), ramdisk(&vfio(), &[]));
    let patched = patched(&image, from(&other));
    let options = "options vfio-pci disable_idle_d3=1 ids=8086:10d3,1b36:0010\noptions a b=1\n";
    assert_eq!(text(&patched, "/lib/modules/modules.options"), options);
    assert_eq!(text(&patched, "/lib/modules/modules.blocklist"), "blocklist other\n");
}

#[test]
fn the_originals_of_shadowed_lists_are_kept_and_listed() {
    let (image, other) = (phone(&[]), ramdisk(&vfio(), &[]));
    let patched = patched(&image, from(&other));
    assert_eq!(text(&patched, "/vfioboot/original/lib/modules/modules.load"), LOAD);
    assert_eq!(text(&patched, "/vfioboot/original/lib/modules/modules.dep"), DEP);
    let boot_file = text(&patched, "/vfioboot/boot.toml");
    for name in ["load", "dep", "softdep", "options"] {
        assert!(boot_file.contains(&format!("\"/lib/modules/modules.{name}\"")), "{boot_file}");
    }
}

#[test]
fn unpatch_takes_shadows_and_modules_back() {
    let (image, other) = (phone(&[]), ramdisk(&vfio(), &[]));
    let patched = patched(&image, from(&other));
    let back = patch::unpatch(&BootSet::from_images(&[Image::parse(&patched).unwrap()])).unwrap();
    assert!(back[0].as_ref().unwrap().to_vec() == image);
}

#[test]
fn who_loads_can_be_asked_for() {
    let (image, other) = (phone(&[]), ramdisk(&vfio(), &[]));
    let asked = ModuleOptions { by: Some(LoadedBy::Pid1), ..from(&other) };
    with_plan(&image, asked, |plan| {
        let plan = plan.unwrap().modules;
        assert_eq!(plan.by, Some(LoadedBy::Pid1));
        let names: Vec<&str> = plan.load.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names[..2], ["clk", "pcie_qcom"]);
    });
    let image = boot(&kernel(CONFIG), &ramdisk(&vfio(), &[]));
    let asked = ModuleOptions { by: Some(LoadedBy::Libmodprobe), ..ModuleOptions::default() };
    let text = refusal(&image, asked);
    assert!(text.contains("has no modules.load"), "{text}");
}

/// A directory with VFIO among modules that cannot be read.
fn distribution(named: bool, indexed: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let kernel = directory.path().join("lib/modules").join(RELEASE).join("kernel");
    std::fs::create_dir_all(&kernel).unwrap();
    for (i, (name, ko)) in vfio().into_iter().enumerate() {
        let name = if named { name.to_owned() } else { format!("m{i}.ko") };
        std::fs::write(kernel.join(name), ko.bytes()).unwrap();
    }
    for i in 0..20 {
        std::fs::write(kernel.join(format!("other{i}.ko.xz")), b"no module").unwrap();
    }
    if indexed {
        std::fs::write(kernel.join("../modules.dep"), b"kernel/vfio.ko:\n").unwrap();
    }
    directory
}

fn from_directory(directory: &tempfile::TempDir) -> ModuleOptions<'static> {
    let source = ModuleSource::Directory(directory.path().to_owned());
    ModuleOptions { sources: vec![source], ..ModuleOptions::default() }
}

#[test]
fn of_a_directory_only_what_is_needed_is_read() {
    let image = boot(&kernel(CONFIG), &ramdisk(&vfio()[..1], &[]));
    for (named, indexed) in [(true, true), (true, false), (false, false)] {
        let directory = distribution(named, indexed);
        with_plan(&image, from_directory(&directory), |plan| {
            let plan = plan.unwrap();
            let names: Vec<&str> = plan.modules.load.iter().map(|own| own.name.as_str()).collect();
            assert_eq!(names, ["vfio", "vfio_pci", "vfio_iommu_type1"]);
            let unreadable = |own: &&Warning| matches!(own, Warning::ModuleUnreadable(_));
            assert_eq!(plan.warnings.iter().filter(unreadable).count(), 0);
        });
    }
    // By its modules.dep it does not have VFIO, and modprobe would not find it either.
    let text = refusal(&image, from_directory(&distribution(false, true)));
    assert!(text.contains("no module vfio_pci"), "{text}");
}

#[test]
fn of_several_kernels_in_a_directory_the_right_one_counts() {
    let directory = distribution(true, true);
    let other = directory.path().join("lib/modules/5.0.0-other/kernel");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("vfio-pci.ko"), module("vfio-pci", "5.0.0-other", "")).unwrap();
    let image = boot(&kernel(CONFIG), &ramdisk(&vfio()[..1], &[]));
    with_plan(&image, from_directory(&directory), |plan| {
        let modules = plan.unwrap().modules.load;
        let added = modules.iter().find(|own| own.name == "vfio_pci").unwrap();
        assert!(added.added_from.as_ref().unwrap().contains(RELEASE));
    });
}
