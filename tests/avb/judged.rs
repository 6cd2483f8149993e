//! `verify` against AOSP's avbtool: `fixtures/avb/cases.tsv` has the recipes of the cases and what
//! avbtool says of each. `scripts/judge-avb.sh` asks it again.

use crate::common;
use crate::common::avb;
use crate::common::cli::Scratch;

use std::fs;

/// A row of the table.
struct Case<'t> {
    id: &'t str,
    files: &'t str,
    arguments: &'t str,
    /// What avbtool says.
    verified: bool,
    /// Why it is not verified; `-` if it is.
    reason: &'t str,
}

fn cases(table: &str) -> Vec<Case<'_>> {
    let rows = table.lines().skip(2).map(|row| {
        let [id, files, arguments, _, verdict, reason] =
            row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        Case { id, files, arguments, verified: verdict == "verified", reason }
    });
    rows.collect()
}

/// A fixture and edits of it: `SOURCE[,EDIT@NUMBER…]`.
fn made(recipe: &str) -> Vec<u8> {
    let mut parts = recipe.split(',');
    let source = parts.next().unwrap();
    let mut bytes = match source.contains('/') {
        true => common::fixture(&format!("{source}.img")),
        false => avb::image(source),
    };
    for edit in parts {
        let (what, number) = edit.split_once('@').unwrap();
        let number: isize = number.parse().unwrap();
        let at = if number < 0 { bytes.len() as isize + number } else { number } as usize;
        match what {
            "flip" => bytes[at] ^= 0x10,
            "cut" => bytes.truncate(at),
            "pad" => bytes.resize(at, 0),
            _ => panic!("{edit}"),
        }
    }
    bytes
}

/// Whether `verify` ends with 0, and why the first image is not verified that is not.
fn verify(case: &Case<'_>) -> (bool, String) {
    let scratch = Scratch::new();
    for bits in [2048, 4096, 8192] {
        scratch.file(&format!("{bits}.pem"), &fs::read(avb::key(bits)).unwrap());
    }
    for file in case.files.split(' ') {
        let (name, recipe) = file.split_once('=').unwrap();
        scratch.file(name, &made(recipe));
    }
    let run = scratch.run(&format!("verify --json {}", case.arguments));
    let output = run.get_output();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}: {}", case.id, String::from_utf8_lossy(&output.stderr)));
    let images = json["images"].as_array().unwrap();
    let reasons: Vec<&str> =
        images.iter().filter_map(|image| image["reason"]["kind"].as_str()).collect();
    assert_eq!(json["verified"], reasons.is_empty(), "{}", case.id);
    for image in images {
        assert_eq!(image["verified"], image["reason"].is_null(), "{}", case.id);
    }
    (output.status.success(), reasons.first().unwrap_or(&"-").to_string())
}

#[test]
fn avbtool_and_verify_agree() {
    let table = common::fixture("avb/cases.tsv");
    let table = String::from_utf8(table).unwrap();
    let cases = cases(&table);
    let mut agreed = (0, 0);
    for case in &cases {
        let (verified, reason) = verify(case);
        assert_eq!(reason, case.reason, "{}", case.id);
        if case.id.starts_with("stricter-") {
            // avbtool compares no key of a chained image, and takes contents without a signed digest.
            assert!(case.verified && !verified, "{}", case.id);
            continue;
        }
        assert_eq!(verified, case.verified, "{}", case.id);
        match verified {
            true => agreed.0 += 1,
            false => agreed.1 += 1,
        }
    }
    assert!(agreed.0 >= 20 && agreed.1 >= 20, "{agreed:?}");
}
