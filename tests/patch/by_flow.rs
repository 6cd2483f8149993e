//! What a patch does on each boot flow: where it is refused, which hook it takes, what it says could
//! go wrong; and sets with images that it leaves alone.

use crate::common;
use crate::common::cli;
use crate::common::flows;
use crate::common::synthetic;

use std::fs;
use std::path::Path;

use cli::Scratch;
use common::{
    AARCH64, RELEASE, X86_64, device_tree, elf, module, with_cmdline, with_config, with_section,
};
use flows::{beside, boot, image};
use serde_json::Value;
use vfioboot::bootset::BootSet;
use vfioboot::compression::Format;
use vfioboot::image::{Image, SectionName};
use vfioboot::patch::{
    self, Decision, HookChoice, HookKind, HookReason, Obstacle, Options, Plan, Risk, Runtimes,
    Warning,
};

fn planned_on<T>(
    machine: u16,
    set: &[Vec<u8>],
    change: impl FnOnce(&mut Options<'_>),
    look: impl FnOnce(Result<Plan<'_>, patch::Error>) -> T,
) -> T {
    let runtime = elf(machine);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    change(&mut options);
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    look(patch::plan(&BootSet::from_images(&images), &options))
}

fn planned<T>(set: &[Vec<u8>], look: impl FnOnce(Plan<'_>) -> T) -> T {
    planned_on(AARCH64, set, |_| {}, |plan| look(plan.unwrap_or_else(|error| panic!("{error}"))))
}

fn refusal(set: &[Vec<u8>]) -> String {
    planned_on(
        AARCH64,
        set,
        |_| {},
        |plan| match plan {
            Ok(_) => panic!("expected a refusal"),
            Err(error) => error.to_string(),
        },
    )
}

fn risks(set: &[Vec<u8>]) -> String {
    planned(set, |plan| {
        let risks = plan.advice.risks.iter().map(ToString::to_string);
        risks.collect::<Vec<_>>().join("\n")
    })
}

/// The parameters that are added for an x86_64 kernel with this config.
fn x86_parameters(config: Option<&str>, line: &str, add: &[&str]) -> (Vec<String>, Vec<Warning>) {
    let vmlinux = synthetic::elf(62, ".text", &synthetic::body(config));
    let kernel = synthetic::bzimage(&synthetic::pack(Format::Gzip, &vmlinux), "6.5.4-pc");
    let image = with_section(&with_cmdline(&flows::two_stage(), line), SectionName::Kernel, kernel);
    let add = add.iter().map(|word| (*word).to_owned()).collect();
    planned_on(
        X86_64,
        &[image],
        |options| options.parameters = add,
        |plan| {
            let plan = plan.unwrap();
            let words = plan.parameters.iter().map(|parameter| parameter.text.clone());
            (words.filter(|word| word.contains("iommu")).collect(), plan.warnings)
        },
    )
}

const X86_CONFIG: &str = "CONFIG_X86_64=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_GZIP=y\n\
    CONFIG_IOMMU_SUPPORT=y\nCONFIG_INTEL_IOMMU=y\nCONFIG_AMD_IOMMU=y\n";

#[test]
fn legacy_system_as_root_is_refused_with_what_to_do_instead() {
    let text = refusal(&[flows::legacy_sar()]);
    for part in
        ["skip_initramfs on the command line", "root the image with Magisk first", "vfiorun bind"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn legacy_system_as_root_that_magisk_changed_is_patched() {
    let text = risks(&[flows::magisk_legacy_sar()]);
    assert!(text.contains("the kernel that Magisk changed"), "{text}");
}

#[test]
fn what_may_be_legacy_system_as_root_is_patched_with_the_doubt() {
    let text = risks(&[flows::silent_legacy_sar()]);
    assert!(text.starts_with("if the bootloader passes skip_initramfs in normal boots"), "{text}");
}

#[test]
fn a_recovery_image_alone_has_no_effect_and_that_is_reported() {
    for name in ["recovery-v2", "recovery-v4"] {
        let text = risks(&[beside(name)]);
        assert!(text.starts_with("these images only start recovery"), "{text}");
    }
}

#[test]
fn recovery_in_boot_is_reported_as_left_alone() {
    assert!(risks(&[flows::recovery_in_boot()]).contains("androidboot.force_normal_boot=1"));
}

#[test]
fn a_root_manager_is_reported_to_rewrite_the_image() {
    assert!(risks(&[flows::magisk_two_stage()]).contains("unpatch, let Magisk do it, patch again"));
    assert!(risks(&[flows::kernelsu()]).contains("unpatch, let KernelSU do it, patch again"));
    assert!(!risks(&[with_config(&flows::two_stage(), "CONFIG_KSU=y\n")]).contains("KernelSU"));
}

#[test]
fn programs_that_rebuild_an_initramfs_are_named() {
    for (maker, image) in flows::distributions() {
        let text = risks(&[image]);
        assert!(text.contains("makes a new initramfs: patch again after it"), "{maker}: {text}");
    }
    let debian = flows::distributions().remove(0).1;
    assert!(risks(&[debian]).contains("update-initramfs makes"));
}

#[test]
fn the_chain_of_programs_fits_the_flow() {
    let chain = |set: &[Vec<u8>]| planned(set, |plan| plan.advice.chain.join(" > "));
    assert_eq!(
        chain(&[flows::magisk_two_stage()]),
        "kernel > /vfioboot/init (vfiorun puts 1b36:0010 on vfio-pci) > /init (magiskinit) > the init \
         that Magisk kept > /system/bin/init"
    );
    assert_eq!(
        chain(&[image("init_boot-v4")]),
        "kernel > /init (vfiorun at its path puts 1b36:0010 on vfio-pci) > /init (first-stage init, \
         restored) > /system/bin/init"
    );
}

#[test]
fn a_32_bit_arm_kernel_is_refused_with_the_reason() {
    let kernel = synthetic::zimage(&synthetic::pack(Format::Gzip, &synthetic::body(None)));
    let text = refusal(&[with_section(&flows::two_stage(), SectionName::Kernel, kernel)]);
    assert!(text.contains("the kernel is for arm, vfiorun runs on arm64 and x86_64"), "{text}");
    assert!(text.contains("Linux 5.7 took KVM out for 32-bit ARM hosts"), "{text}");
}

#[test]
fn a_rdinit_that_the_kernel_puts_last_is_shadowed() {
    let ramdisk = boot(&[("early", b"\x7fELF"), ("init", b"\x7fELF")]);
    let config = "CONFIG_CMDLINE_EXTEND=y\nCONFIG_CMDLINE=\"rdinit=/early\"\n";
    planned(&[with_config(&ramdisk, config)], |plan| {
        assert_eq!((plan.hook.kind, plan.hook.init.as_str()), (HookKind::Init, "/early"));
        let obstacle = Obstacle::ExtendedCmdline("/early".to_owned());
        assert_eq!(plan.hook.reason, HookReason::Obstacle(obstacle));
    });
}

#[test]
fn a_line_that_the_kernel_adds_without_rdinit_changes_nothing() {
    let config = "CONFIG_CMDLINE_EXTEND=y\nCONFIG_CMDLINE=\"kvm-arm.mode=protected\"\n";
    planned(&[with_config(&flows::two_stage(), config)], |plan| {
        assert_eq!(plan.hook.kind, HookKind::Rdinit);
    });
}

#[test]
fn a_rdinit_in_a_device_tree_is_shadowed_and_the_other_case_reported() {
    let ramdisk = boot(&[("early", b"\x7fELF"), ("init", b"\x7fELF")]);
    let tree = device_tree("quiet rdinit=/early");
    let set = [with_section(&ramdisk, SectionName::Dtb, tree)];
    planned(&set, |plan| {
        assert_eq!((plan.hook.kind, plan.hook.init.as_str()), (HookKind::Init, "/early"));
        let obstacle = Obstacle::DeviceTree("/early".to_owned());
        assert_eq!(plan.hook.reason, HookReason::Obstacle(obstacle));
        let init = "/early".to_owned();
        assert!(plan.advice.risks.contains(&Risk::BootargsReplaced { init }));
    });
    planned_on(
        AARCH64,
        &set,
        |options| options.hook = HookChoice::Rdinit,
        |plan| {
            let hook = plan.unwrap().hook;
            assert_eq!(hook.kind, HookKind::Rdinit);
            let obstacle = Obstacle::DeviceTree("/early".to_owned());
            assert_eq!(hook.reason, HookReason::RequestedDespite(obstacle));
        },
    );
}

#[test]
fn an_x86_kernel_has_the_parameters_of_both_vendors() {
    let all = ["intel_iommu=on", "amd_iommu=on", "iommu=pt"];
    assert_eq!(x86_parameters(Some(X86_CONFIG), "quiet", &[]).0, all);
    assert_eq!(x86_parameters(None, "quiet", &[]).0, all);
}

#[test]
fn an_x86_kernel_has_no_parameter_that_its_config_makes_unnecessary() {
    let config = X86_CONFIG.replace("CONFIG_AMD_IOMMU=y\n", "")
        + "CONFIG_INTEL_IOMMU_DEFAULT_ON=y\nCONFIG_IOMMU_DEFAULT_PASSTHROUGH=y\n";
    assert_eq!(x86_parameters(Some(&config), "quiet", &[]).0, [""; 0]);
}

#[test]
fn existing_and_requested_x86_parameters_are_kept() {
    let (words, _) = x86_parameters(Some(X86_CONFIG), "intel_iommu=on,sm_on iommu=nopt", &[]);
    assert_eq!(words, ["amd_iommu=on"]);
    let (words, _) = x86_parameters(Some(X86_CONFIG), "", &["iommu=strict"]);
    assert_eq!(words, ["intel_iommu=on", "amd_iommu=on", "iommu=strict"]);
}

#[test]
fn a_disabled_iommu_is_enabled_with_a_warning() {
    let (words, warnings) = x86_parameters(Some(X86_CONFIG), "intel_iommu=off", &[]);
    assert!(words.contains(&"intel_iommu=on".to_owned()));
    let (present, added) = ("intel_iommu=off".to_owned(), "intel_iommu=on".to_owned());
    assert!(warnings.contains(&Warning::Overridden { present, added }));
}

#[test]
fn an_arm64_kernel_has_no_iommu_parameter() {
    let set = [with_config(&flows::two_stage(), "CONFIG_IOMMU_SUPPORT=y\n")];
    let words: Vec<String> = planned(&set, |plan| {
        plan.parameters.iter().map(|parameter| parameter.text.clone()).collect()
    });
    assert!(words.iter().all(|word| !word.contains("iommu")), "{words:?}");
}

/// All the images of a device with a vendor_kernel_boot and a recovery partition.
fn whole_set() -> [Vec<u8>; 5] {
    [
        beside("recovery-v4"),
        image("boot-v4"),
        beside("vendor_kernel_boot-v4"),
        image("vendor_boot-v4"),
        image("init_boot-v4"),
    ]
}

#[test]
fn recovery_and_vendor_kernel_boot_are_left_alone_and_said_so() {
    planned(&whole_set(), |plan| {
        let changed: Vec<bool> = plan.images.iter().map(|image| image.output.is_some()).collect();
        assert_eq!(changed, [false, false, false, true, false]);
        assert!(matches!(plan.images[0].decision, Decision::LeftAlone(_)));
        assert!(matches!(plan.images[2].decision, Decision::LeftAlone(_)));
        assert!(plan.edits.iter().all(|edit| changed[edit.image]));
    });
}

#[test]
fn a_recovery_image_of_the_same_header_is_left_alone() {
    for set in
        [[beside("recovery-v2"), flows::two_stage()], [flows::two_stage(), beside("recovery-v2")]]
    {
        let changed = |plan: Plan<'_>| plan.images.iter().map(|i| i.output.is_some()).collect();
        let changed: Vec<bool> = planned(&set, changed);
        let recovery = usize::from(set[1] == beside("recovery-v2"));
        assert!(!changed[recovery]);
        assert!(changed[1 - recovery]);
    }
}

#[test]
fn a_set_with_images_that_are_left_alone_comes_back() {
    let set = whole_set();
    let patched: Vec<Vec<u8>> = planned(&set, |plan| {
        let bytes = std::iter::zip(&plan.images, &set);
        bytes.map(|(new, old)| new.output.as_ref().map_or(old.clone(), |o| o.to_vec())).collect()
    });
    let images: Vec<_> = patched.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    assert_eq!(patch::changed_since(&BootSet::from_images(&images)).unwrap(), None);
    let back = patch::unpatch(&BootSet::from_images(&images)).unwrap();
    let changed: Vec<bool> = back.iter().map(Option::is_some).collect();
    assert_eq!(changed, [false, false, false, true, false]);
    assert!(back[3].as_ref().unwrap().to_vec() == set[3]);
}

#[test]
fn a_vendor_kernel_boot_does_not_pass_for_the_vendor_boot_that_was_patched() {
    let set = [image("init_boot-v4"), image("vendor_boot-v4")];
    let runtime = elf(AARCH64);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    // Both images change: one has the runtime, the other the word.
    (options.hook, options.parameters) = (HookChoice::Init, vec!["extra=1".to_owned()]);
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    let images = BootSet::from_images(&images);
    let plan = patch::plan(&images, &options).unwrap();
    let patched = plan.images[0].output.as_ref().unwrap().to_vec();
    let given = [patched, beside("vendor_kernel_boot-v4")];
    let images: Vec<_> = given.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    let error = patch::unpatch(&BootSet::from_images(&images)).unwrap_err().to_string();
    assert!(error.contains("the set was patched with vendor_boot, which is missing"), "{error}");
}

#[test]
fn a_patched_recovery_image_comes_back() {
    let original = beside("recovery-v4");
    let patched = planned(std::slice::from_ref(&original), |plan| {
        plan.images[0].output.as_ref().unwrap().to_vec()
    });
    let back = patch::unpatch(&BootSet::from_images(&[Image::parse(&patched).unwrap()]))
        .unwrap()
        .remove(0);
    assert!(back.unwrap().to_vec() == original);
}

#[test]
fn modules_of_vendor_kernel_boot_are_found() {
    let config = "CONFIG_MODULES=y\nCONFIG_VFIO=m\nCONFIG_VFIO_PCI=m\nCONFIG_VFIO_IOMMU_TYPE1=m\n";
    let modules = [module("vfio_pci", RELEASE, ""), module("vfio_iommu_type1", RELEASE, "")];
    let ramdisk = common::cpio(&[
        ("lib/", b""),
        ("lib/modules/", b""),
        ("lib/modules/vfio-pci.ko", &modules[0]),
        ("lib/modules/vfio_iommu_type1.ko", &modules[1]),
    ]);
    let mut set = whole_set();
    set[1] = with_config(&set[1], config);
    set[2] = with_section(&set[2], SectionName::VendorRamdisk, ramdisk);
    // The table says how large the only fragment is.
    let size = Image::parse(&set[2]).unwrap().section(SectionName::VendorRamdisk).unwrap().len();
    let table =
        Image::parse(&set[2]).unwrap().section(SectionName::VendorRamdiskTable).unwrap().to_vec();
    let table = vfioboot::image::resize_fragment(&table, 108, 0, size as u32).unwrap();
    set[2] = with_section(&set[2], SectionName::VendorRamdiskTable, table);
    let loaded: Vec<String> =
        planned(&set, |plan| plan.modules.load.iter().map(|m| m.path.clone()).collect());
    assert_eq!(loaded, ["/lib/modules/vfio-pci.ko", "/lib/modules/vfio_iommu_type1.ko"]);
}

const PATCH: &str = "patch --runtime rt --device 1b36:0010 --anyway";

fn scratch(images: &[(&str, Vec<u8>)]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    images.iter().for_each(|(name, bytes)| scratch.file(name, bytes));
    scratch
}

#[test]
fn a_dry_run_says_what_runs_what_could_go_wrong_and_how_to_undo_it() {
    let scratch = scratch(&[("boot.img", flows::magisk_two_stage())]);
    let text = scratch.ok(&format!("{PATCH} --dry-run boot.img"));
    for part in [
        "boot flow: two-stage init (2SI)\n",
        "(boot.img, ramdisk: .backup/init.xz contains selinux_setup)",
        "  Magisk-patched: magiskinit is /init",
        "at boot: kernel → /vfioboot/init (vfiorun puts 1b36:0010 on vfio-pci) → /init (magiskinit)",
        "to see that it worked\n  · dmesg | grep vfioboot:",
        "rdinit=/vfioboot/init  starts the runtime",
        "what could go wrong\n  · ",
        "how to undo it\n  · to try it without flashing: fastboot boot",
        "dry run: nothing written",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_patch_that_is_written_keeps_to_what_changed() {
    let scratch = scratch(&[("boot.img", flows::two_stage())]);
    let text = scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    assert!(!text.contains("what could go wrong") && !text.contains("dry run"), "{text}");
    assert!(text.contains("\nwrote out.img\n"), "{text}");
}

#[test]
fn five_images_are_decided_on_and_only_what_changed_is_written() {
    let names = ["recovery", "boot", "vendor_kernel_boot", "vendor_boot", "init_boot"];
    let files: Vec<String> = names.iter().map(|name| format!("{name}.img")).collect();
    let pairs: Vec<(&str, Vec<u8>)> = files.iter().map(String::as_str).zip(whole_set()).collect();
    let scratch = scratch(&pairs);
    let all = files.join(" ");
    let text = scratch.ok(&format!("{PATCH} {all} -d out"));
    assert!(text.contains("recovery.img (recovery): stays as it is"), "{text}");
    assert!(text.contains("vendor_kernel_boot.img (vendor_kernel_boot): stays as it is"), "{text}");
    assert_eq!(scratch.names("out"), ["vendor_boot.img"]);
    scratch.ok("unpatch recovery.img boot.img vendor_kernel_boot.img out/vendor_boot.img \
         init_boot.img -d back");
    assert_eq!(scratch.names("back"), ["vendor_boot.img"]);
    assert!(scratch.read("back/vendor_boot.img") == scratch.read("vendor_boot.img"));
}

#[test]
fn json_has_the_flow_the_parameters_and_the_advice() {
    let scratch = scratch(&[("boot.img", flows::magisk_two_stage())]);
    let text = scratch.ok(&format!("{PATCH} --dry-run --json boot.img"));
    let plan = &serde_json::from_str::<Value>(&text).unwrap()["plan"];
    assert_eq!(plan["flow"]["kind"], "two_stage");
    assert_eq!(plan["flow"]["root_managers"][0]["config"]["PREINITDEVICE"], "metadata");
    assert_eq!(plan["words"][0]["word"], "rdinit=/vfioboot/init");
    assert_eq!(plan["images"][0]["role"], "boot");
    assert!(plan["advice"]["risks"].as_array().is_some_and(|risks| !risks.is_empty()));
}

#[test]
fn info_shows_the_flow_of_a_set() {
    let scratch =
        scratch(&[("boot.img", image("boot-v4")), ("init_boot.img", image("init_boot-v4"))]);
    let text = scratch.ok("info boot.img init_boot.img");
    assert!(text.contains("boot flow: two-stage init (2SI)\n"), "{text}");
    assert!(text.contains("to be sure: vendor_boot.img not given"), "{text}");
    let json: Value =
        serde_json::from_str(&scratch.ok("info --json boot.img init_boot.img")).unwrap();
    assert_eq!(json["flow"]["kind"], "two_stage");
    assert_eq!(json["flow"]["statements"][0]["evidence"][0]["image"], 1);
}

#[test]
fn info_shows_no_flow_of_images_that_do_not_belong_together() {
    let scratch = scratch(&[("a.img", flows::two_stage()), ("b.img", flows::rootfs())]);
    assert!(!scratch.ok("info a.img b.img").contains("boot flow"));
    let json: Value = serde_json::from_str(&scratch.ok("info --json a.img b.img")).unwrap();
    assert!(json["flow"].is_null());
}

#[test]
fn info_says_by_which_version_an_image_is_patched() {
    let scratch = scratch(&[("boot.img", flows::two_stage())]);
    scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    let text = scratch.ok("info out.img");
    let expected = format!("already patched by vfioboot {}", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&expected), "{text}");
}

/// Every field that the flow has is in the schema, every field the schema demands is there, and
/// values of a closed list are on it.
fn conforms(schema: &Value, root: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        return conforms(&root["$defs"][name], root, value, at);
    }
    if let Some(known) = schema["enum"].as_array() {
        assert!(known.contains(value), "{at}: {value}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{at}: {name} is missing");
    }
    if let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, field) in fields {
            assert!(known.contains_key(name), "{at}: {name} is not in the schema");
            conforms(&known[name], root, field, &format!("{at}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(&schema["items"], root, item, at);
    }
}

#[test]
fn the_flow_is_what_the_schema_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/flow.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let sets = [
        vec![flows::magisk_two_stage()],
        vec![flows::silent_legacy_sar()],
        vec![flows::rootfs()],
        vec![flows::recovery_in_boot()],
        vec![flows::distributions().remove(0).1],
        vec![beside("recovery-v4")],
        whole_set().to_vec(),
    ];
    for (number, set) in sets.iter().enumerate() {
        let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
        let flow = serde_json::to_value(BootSet::from_images(&images).flow()).unwrap();
        conforms(&schema, &schema, &flow, &format!("set {number}"));
    }
}
