//! Kernel command line descriptors of AVB in the effective command line: what libavb appends, in
//! its order. `fixtures/make-avb.py` made the images.

use crate::common::avb;
use crate::common::cli;

use cli::Scratch;

/// boot.img, init_boot.img with its own command line, and vbmeta.img, which chains to init_boot.
fn scratch(vbmeta: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.image("plain.img", "boot-v4");
    scratch.ok("cmdline plain.img --add quiet -o boot.img");
    scratch.file("init_boot.img", &avb::image("init_boot-cmdline"));
    scratch.file("vbmeta.img", &avb::image(vbmeta));
    scratch
}

const ALL: &str = "boot.img init_boot.img vbmeta.img";

fn effective(vbmeta: &str, images: &str) -> String {
    scratch(vbmeta).ok(&format!("cmdline --effective {images}"))
}

/// The parameters that AVB adds, each with its file.
fn words(text: &str) -> Vec<(String, String)> {
    let of_avb = |line: &str| {
        let (word, label) = line.split_once("  ")?;
        let file = label.strip_prefix("AVB descriptor of ")?.split("  ").next()?;
        Some((word.to_owned(), file.to_owned()))
    };
    text.lines().filter_map(of_avb).collect()
}

fn expected(words: &[(&str, &str)]) -> Vec<(String, String)> {
    words.iter().map(|(word, file)| (word.to_string(), file.to_string())).collect()
}

#[test]
fn descriptors_follow_the_headers_in_the_order_of_libavb() {
    let text = effective("vbmeta-cmdline", ALL);
    let all = [
        ("iommu.strict=1", "vbmeta.img"),
        ("androidboot.fixture=1", "vbmeta.img"),
        ("from_init_boot=1", "init_boot.img"),
        ("root=PARTUUID=$(ANDROID_SYSTEM_PARTUUID)", "vbmeta.img"),
        ("verity=$(ANDROID_VERITY_MODE)", "vbmeta.img"),
    ];
    assert_eq!(words(&text), expected(&all), "{text}");
    let lines: Vec<_> = text.lines().collect();
    let first = lines.iter().position(|line| line.contains("AVB descriptor of"));
    let boot = lines.iter().rposition(|line| line.ends_with("  boot.img"));
    assert!(boot.is_some() && boot < first, "{text}");
}

#[test]
fn a_descriptor_for_disabled_hash_trees_is_a_note_when_they_are_not() {
    let text = effective("vbmeta-cmdline", ALL);
    assert!(
        text.contains(
            "note: vbmeta.img: AVB descriptor 3 (root=/dev/plain) counts only where hash trees \
             are disabled, and they are not disabled\n"
        ),
        "{text}"
    );
}

#[test]
fn with_hash_trees_disabled_the_other_descriptor_counts() {
    let text = effective("vbmeta-cmdline-no-hashtree", ALL);
    let roots: Vec<_> = words(&text).into_iter().filter(|(w, _)| w.starts_with("root=")).collect();
    assert_eq!(roots, expected(&[("root=/dev/plain", "vbmeta.img")]), "{text}");
    assert!(text.contains("counts only where hash trees are not disabled, and they are disabled"));
}

#[test]
fn with_verification_disabled_no_descriptor_counts() {
    let text = effective("vbmeta-cmdline-disabled", ALL);
    assert_eq!(words(&text), []);
    assert!(text.contains("note: vbmeta.img: its flags disable verification"), "{text}");
}

#[test]
fn what_the_bootloader_fills_in_is_named() {
    let text = effective("vbmeta-cmdline", ALL);
    for variable in ["$(ANDROID_SYSTEM_PARTUUID)", "$(ANDROID_VERITY_MODE)"] {
        let note = format!("note: {variable} is filled in by the bootloader\n");
        assert!(text.contains(&note), "{text}");
    }
    assert!(!text.contains("ANDROID_BOOT_PARTUUID"), "{text}");
}

#[test]
fn without_vbmeta_img_the_blob_of_the_image_counts() {
    let text = effective("vbmeta-cmdline", "boot.img init_boot.img");
    assert_eq!(words(&text), expected(&[("from_init_boot=1", "init_boot.img")]), "{text}");
}

#[test]
fn a_blob_that_vbmeta_img_does_not_chain_to_does_not_count() {
    let text = effective("vbmeta-hash", ALL);
    assert!(words(&text).iter().all(|(_, file)| file == "vbmeta.img"), "{text}");
    assert!(
        text.contains(
            "note: init_boot.img: the kernel command line in its vbmeta blob does not count: \
             vbmeta.img does not chain to it\n"
        ),
        "{text}"
    );
}

#[test]
fn two_vbmeta_images_are_reported_and_ignored() {
    let scratch = scratch("vbmeta-cmdline");
    scratch.file("other.img", &avb::image("vbmeta-hash"));
    let text = scratch.ok(&format!("cmdline --effective {ALL} other.img"));
    assert_eq!(words(&text), []);
    assert!(text.contains("2 vbmeta images (vbmeta.img, other.img): give the top-level one alone"));
}

#[test]
fn a_damaged_vbmeta_image_is_reported() {
    let scratch = scratch("vbmeta-cmdline");
    let mut bytes = avb::image("vbmeta-cmdline");
    bytes[7] = 9;
    scratch.file("vbmeta.img", &bytes);
    let text = scratch.ok(&format!("cmdline --effective {ALL}"));
    assert!(
        text.contains("note: vbmeta.img: vbmeta.required_libavb_version_major at offset 4"),
        "{text}"
    );
}

#[test]
fn in_json_the_origin_is_avb_and_has_its_file() {
    let scratch = scratch("vbmeta-cmdline");
    let text = scratch.ok("cmdline --effective --json vbmeta.img");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let word = &json["words"][0];
    assert_eq!(word["word"], "iommu.strict=1");
    assert_eq!(word["origin"], "avb");
    assert_eq!(word["file"], "vbmeta.img");
}

#[test]
fn check_counts_what_avb_adds_and_says_what_it_leaves_out() {
    let scratch = scratch("vbmeta-cmdline");
    let run = scratch.run(&format!("check --format json {ALL}"));
    let report: serde_json::Value =
        serde_json::from_slice(&run.get_output().stdout).expect("a report");
    assert_eq!(report["inputs"].as_array().unwrap().len(), 1);
    let input = &report["inputs"][0];
    let words = input["effective_cmdline"]["words"].as_array().unwrap();
    let strict = words.iter().find(|word| word["word"] == "iommu.strict=1").unwrap();
    assert_eq!(strict["origin"], "avb");
    assert_eq!(strict["file"], "vbmeta.img");
    let notes = input["notes"].to_string();
    assert!(notes.contains("AVB descriptor 3 (root=/dev/plain) counts only"), "{notes}");
}
