//! `vfioboot check`: reports for programs, the fragment, baselines, several inputs at once.

use crate::common::synthetic;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use synthetic::*;
use tempfile::TempDir;

/// Run in the directory and expect this status; what was printed.
fn check(dir: &Path, status: i32, words: &[&str]) -> String {
    let mut command = Command::cargo_bin("vfioboot").unwrap();
    let assert = command.current_dir(dir).arg("check").args(words).assert().code(status);
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// Fails VB-KVM-001; VB-VFIO-003 is unknown.
fn bad() -> String {
    CONFIG.replace("CONFIG_KVM=y\n", "").replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m")
}

/// A name that means something in every syntax.
const HOSTILE: &str = "a&b<i>\"'%,:|`*_]\n::error::x\u{1b}[31m@y.config";

/// A good, a bad, a hostile and a missing input.
fn inputs() -> (TempDir, [&'static str; 4]) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.config"), CONFIG).unwrap();
    fs::write(dir.path().join("bad.config"), bad()).unwrap();
    fs::write(dir.path().join(HOSTILE), bad()).unwrap();
    (dir, ["good.config", "bad.config", HOSTILE, "missing"])
}

fn report(format: &str) -> String {
    let (dir, names) = inputs();
    let words = [names[0], names[1], names[2], names[3], "--format", format];
    check(dir.path(), 2, &words)
}

/// Every tag is closed by its own name and nothing but the five entities and numbers is used: the
/// names of the elements in order.
fn well_formed(xml: &str) -> Vec<String> {
    let body = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").unwrap();
    let (mut open, mut seen) = (Vec::<String>::new(), Vec::new());
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        assert!(!text.contains('>'), "{piece}");
        let name: String = tag.chars().take_while(|c| !c.is_whitespace() && *c != '/').collect();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed));
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        seen.push(name.clone());
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    for entity in body.split('&').skip(1) {
        let name = entity.split(';').next().unwrap();
        let number = name.strip_prefix('#').is_some_and(|n| n.parse::<u32>().is_ok());
        assert!(number || ["amp", "lt", "gt", "quot"].contains(&name), "&{name}");
    }
    assert!(!body.contains('\x1b'));
    seen
}

#[test]
fn json_lines_are_the_inputs_of_the_document() {
    let document: Value = serde_json::from_str(&report("json")).unwrap();
    assert_eq!(document["verdict"], "error");
    assert_eq!(document["fail_on"], "required");
    let lines = report("jsonl");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for (line, input) in lines.iter().zip(document["inputs"].as_array().unwrap()) {
        for (field, value) in line.as_object().unwrap() {
            match field.as_str() {
                "format" => assert_eq!(value, 2),
                "version" | "profile" | "fail_on" => assert_eq!(value, &document[field]),
                "findings" | "lesser_failed" | "lesser_unknown" | "passed" | "words" => {}
                "shortened" => assert_eq!(value, true),
                _ => assert_eq!(value, &input[field], "{field}"),
            }
        }
        for finding in list(&input["findings"]) {
            let own = list(&line["findings"]).into_iter().find(|own| own["id"] == finding["id"]);
            let verdict = finding["verdict"].as_str().unwrap();
            let decides = finding["decides"] == true;
            let listed = match (verdict, decides) {
                ("pass", _) => Some("passed"),
                ("fail", false) => Some("lesser_failed"),
                ("unknown", false) => Some("lesser_unknown"),
                _ => None,
            };
            for name in ["passed", "lesser_failed", "lesser_unknown"] {
                let is_listed = list(&line[name]).contains(&finding["id"]);
                assert_eq!(is_listed, listed == Some(name), "{finding}");
            }
            let open = decides && ["fail", "unknown"].contains(&verdict);
            assert_eq!(own.is_some(), open, "{finding}");
            if let Some(own) = own {
                assert_eq!(own["verdict"], finding["verdict"]);
                let reason = own["reason"].as_str().unwrap();
                let whole = finding["reason"].as_str().unwrap();
                assert!(whole.starts_with(reason.trim_end_matches('…')), "{reason}");
            }
        }
    }
    assert_eq!(document["inputs"][2]["input"], HOSTILE);
    assert_eq!(document["inputs"][1]["summary"]["failed"], 1);
    assert_eq!(document["inputs"][1]["summary"]["unknown"], 1);
}

/// Every field that a report has is in the schema, and every field the schema demands is there.
#[test]
fn json_is_what_the_schema_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/check.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let holds = |value: &Value, name: &str| {
        let definition = &schema["$defs"][name];
        for field in value.as_object().unwrap().keys() {
            assert!(definition["properties"][field].is_object(), "{name}: {field}");
        }
        for field in definition["required"].as_array().unwrap() {
            assert!(value.get(field.as_str().unwrap()).is_some(), "{name}: {field} is missing");
        }
    };
    let document: Value = serde_json::from_str(&report("json")).unwrap();
    holds(&document, "document");
    for rule in document["rules"].as_array().unwrap() {
        holds(rule, "rule");
    }
    for line in report("jsonl").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        holds(&line, "line");
        for finding in line["findings"].as_array().into_iter().flatten() {
            holds(finding, "line_finding");
        }
    }
    for input in document["inputs"].as_array().unwrap() {
        holds(input, "input");
        for finding in input["findings"].as_array().into_iter().flatten() {
            holds(finding, "finding");
            holds(&finding["provenance"], "source");
        }
    }
    let (_dir, document) = evidence("json");
    let document: Value = serde_json::from_str(&document).unwrap();
    holds(&document["inputs"][0]["evidence"], "evidence");
    holds(&document["inputs"][1]["effective_cmdline"], "effective_cmdline");
    for word in document["inputs"][1]["effective_cmdline"]["words"].as_array().unwrap() {
        holds(word, "cmdline_word");
    }
    for finding in document["inputs"][0]["findings"].as_array().unwrap() {
        holds(&finding["provenance"], "source");
    }
}

/// A kernel without a config but with a symbol table, and one with a module and a command line of
/// its own.
fn evidence(format: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    let mut names: Vec<String> = (0..1000).map(|i| format!("tsome_function_{i}")).collect();
    names.extend(["Tload_module".into(), "Tkvm_dev_ioctl".into(), "Tvfio_pci_probe".into()]);
    let mut table = body(None);
    table.resize(table.len().next_multiple_of(256), 0);
    table.extend(symbol_table(LAYOUTS[2], &names));
    write("names", &arm64_image(&table, 1 << 20));
    let own = "CONFIG_CMDLINE=\"kvm-arm.mode=nvhe\"\nCONFIG_CMDLINE_EXTEND=y";
    let config = CONFIG
        .replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m")
        .replace("CONFIG_CMDLINE=\"\"", own);
    write("kernel", &arm64_image(&body(Some(&config)), 1 << 20));
    let vermagic = format!("vermagic={RELEASE} SMP preempt mod_unload aarch64");
    write("vfio-pci.ko", &module(&["name=vfio_pci", &vermagic]));
    let words = ["names", "kernel", "--modules", "vfio-pci.ko", "--format", format];
    let line = ["--cmdline", "iommu.passthrough=1", "--report", "text=report.txt"];
    let out = check(dir.path(), 1, &[&words[..], &line[..]].concat());
    (dir, out)
}

#[test]
fn sarif_has_a_rule_for_each_result_and_stable_fingerprints() {
    let sarif: Value = serde_json::from_str(&report("sarif")).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    let mut prints: Vec<&str> = Vec::new();
    for result in results {
        let rule = &rules[result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        let help = rule["helpUri"].as_str().unwrap();
        let page = help.rsplit_once("/blob/main/").unwrap().1;
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(page).exists(), "{help}");
        // What is not a failure has no level.
        assert_eq!(result["kind"] == "fail", result["level"] != "none");
        let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        let uri = uri.as_str().unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
        assert!(uri.chars().all(plain), "{uri}");
        prints.push(result["partialFingerprints"]["vfiobootFinding/v1"].as_str().unwrap());
    }
    let count = prints.len();
    prints.sort_unstable();
    prints.dedup();
    assert_eq!(prints.len(), count, "one fingerprint twice");
    let of = |rule: &str| results.iter().find(|result| result["ruleId"] == rule).unwrap();
    assert_eq!(of("VB-KVM-001")["level"], "error");
    assert_eq!(of("VB-VFIO-003")["kind"], "open");
    let line = 1 + bad().lines().position(|line| line == "CONFIG_VFIO_PCI=m").unwrap();
    let region = &of("VB-VFIO-003")["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], line);
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let notifications = run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
    assert_eq!(notifications.len(), 1);
}

#[test]
fn junit_is_well_formed_and_fails_where_the_check_fails() {
    let xml = report("junit");
    let seen = well_formed(&xml);
    let count = |name: &str| seen.iter().filter(|seen| *seen == name).count();
    assert_eq!(count("testsuite"), 4);
    assert_eq!((count("failure"), count("error")), (2, 1));
    let head = xml.lines().nth(1).unwrap();
    let tests = count("testcase");
    assert!(head.contains(&format!("tests=\"{tests}\" failures=\"2\" errors=\"1\"")), "{head}");
    // The good one: what is only recommended does not fail.
    let (dir, names) = inputs();
    let xml = check(dir.path(), 0, &[names[0], "--format", "junit"]);
    assert!(!well_formed(&xml).contains(&"failure".to_owned()));
}

#[test]
fn github_commands_keep_to_their_line() {
    let commands = report("github");
    for line in commands.lines() {
        let known = ["::error ", "::warning ", "::notice "].iter().any(|k| line.starts_with(k));
        assert!(known, "{line}");
        let (properties, _) = line[2..].split_once("::").unwrap();
        let commas =
            [",line=", ",title="].iter().filter(|name| properties.contains(**name)).count();
        assert_eq!(properties.matches(',').count(), commas, "{line}");
    }
    let first = commands.lines().next().unwrap();
    let line = 1 + bad().lines().position(|line| line == "CONFIG_VIRTUALIZATION=y").unwrap();
    let start = format!("::error file=bad.config,line={line},title=VB-KVM-001 KVM (required)::");
    assert!(first.starts_with(&start), "{first}");
    assert!(commands.contains("file=a&b<i>\"'%25%2C%3A|`*_]%0A%3A%3Aerror"), "{commands}");
}

#[test]
fn markdown_and_html_and_text_let_no_name_act() {
    let markdown = report("markdown");
    assert!(markdown.starts_with("## vfioboot check: "));
    for line in markdown.lines().filter(|line| line.starts_with("| ❌")) {
        let bars = line.replace("\\|", "").matches('|').count();
        assert_eq!(bars, 7, "{line}");
    }
    assert!(!markdown.contains("<i>") && !markdown.contains("@y"));
    assert!(!markdown.lines().any(|line| line.starts_with("::")));

    let html = report("html");
    assert!(!html.contains("<i>\"") && !html.contains('\x1b'));
    assert!(html.contains("a&amp;b&lt;i&gt;&quot;&#39;%,:|`*_]&#10;::error"));
    for outside in ["src=", "@import", "url(", "http://", "https://"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(html.matches("<section id=").count(), 4);
    assert!(html.contains("class=\"matrix\""));
    let mut ids: Vec<&str> =
        html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id twice");
    for link in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(ids.binary_search(&link).is_ok(), "#{link} leads nowhere");
    }

    let text = report("text");
    assert!(!text.contains('\x1b') && !text.lines().any(|line| line.starts_with("::")));
}

#[test]
fn a_comment_on_github_is_never_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..60).map(|i| format!("kernel-{i}.config")).collect();
    for name in &names {
        fs::write(dir.path().join(name), bad()).unwrap();
    }
    let mut words: Vec<&str> = names.iter().map(String::as_str).collect();
    words.extend(["--format", "markdown"]);
    let markdown = check(dir.path(), 1, &words);
    assert!(markdown.len() < 65_536, "{} bytes", markdown.len());
    assert!(markdown.contains("did not fit"));
}

#[test]
fn one_run_writes_several_reports_in_the_order_of_the_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..20).map(|i| format!("{i}.config")).collect();
    for name in &names {
        fs::write(dir.path().join(name), CONFIG).unwrap();
    }
    let mut words: Vec<&str> = names.iter().map(String::as_str).collect();
    words.extend(["--format", "json", "--report", "junit=j.xml", "--report", "html=h.html"]);
    let one = check(dir.path(), 0, &[&words[..], &["--jobs", "1"]].concat());
    let many = check(dir.path(), 0, &[&words[..], &["--jobs", "7"]].concat());
    assert_eq!(one, many);
    let report: Value = serde_json::from_str(&many).unwrap();
    for (name, input) in names.iter().zip(report["inputs"].as_array().unwrap()) {
        assert_eq!(input["input"], name.as_str());
    }
    well_formed(&fs::read_to_string(dir.path().join("j.xml")).unwrap());
    assert!(fs::read_to_string(dir.path().join("h.html")).unwrap().ends_with("</html>\n"));
    check(dir.path(), 2, &["0.config", "--report", "json=0.config"]);
    check(dir.path(), 2, &["0.config", "--report", "pdf=x"]);
}

#[test]
fn fail_on_recommended() {
    let (dir, _) = inputs();
    let without = CONFIG.replace("CONFIG_HUGETLBFS=y\n", "");
    fs::write(dir.path().join("less.config"), without).unwrap();
    check(dir.path(), 0, &["less.config"]);
    let text = check(dir.path(), 1, &["less.config", "--fail-on", "recommended"]);
    assert!(text.lines().last().unwrap().contains("required or recommended rules fail"));
}

#[test]
fn a_baseline_lets_pass_what_is_known_and_nothing_new() {
    let (dir, _) = inputs();
    let dir = dir.path();
    check(dir, 1, &["bad.config", "--write-baseline", "known.json"]);
    let baseline = fs::read_to_string(dir.join("known.json")).unwrap();
    let entry = "{\"input\":\"bad.config\",\"rule\":\"VB-KVM-001\",\"verdict\":\"fail\"}";
    assert!(baseline.contains(entry), "{baseline}");
    let text = check(dir, 0, &["./bad.config", "--baseline", "known.json"]);
    assert!(text.contains("IN THE BASELINE"), "{text}");
    let sarif = check(dir, 0, &["bad.config", "--baseline", "known.json", "--format", "sarif"]);
    assert!(sarif.contains("\"baselineState\": \"unchanged\""));
    // Known as unknown, it may not fail; and another input is another matter.
    let worse = bad().replace("CONFIG_VFIO_PCI=m\n", "");
    fs::write(dir.join("bad.config"), worse).unwrap();
    check(dir, 1, &["bad.config", "--baseline", "known.json"]);
    fs::write(dir.join("other.config"), bad()).unwrap();
    check(dir, 1, &["other.config", "--baseline", "known.json"]);
    fs::write(dir.join("all.json"), baseline.replace("\"bad.config\"", "\"*\"")).unwrap();
    check(dir, 0, &["other.config", "--baseline", "all.json"]);
    // Mended: it says what can go. And it can be brought up to date in place.
    fs::write(dir.join("bad.config"), CONFIG).unwrap();
    let mut command = Command::cargo_bin("vfioboot").unwrap();
    let words = ["check", "bad.config", "--baseline", "known.json"];
    let update = ["--write-baseline", "known.json"];
    let assert = command.current_dir(dir).args(words).args(update).assert().code(0);
    let told = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(told.contains("no longer needs VB-KVM-001 of bad.config"), "{told}");
    assert!(!fs::read_to_string(dir.join("known.json")).unwrap().contains("VB-KVM"));
    fs::write(dir.join("no.json"), "{}").unwrap();
    check(dir, 2, &["bad.config", "--baseline", "no.json"]);
}

#[test]
fn the_fragment_makes_a_failing_config_pass() {
    let (dir, names) = inputs();
    let dir = dir.path();
    check(dir, 1, &["bad.config", "--fragment", "fix"]);
    let fragment = fs::read_to_string(dir.join("fix")).unwrap();
    let (kvm, line) = (fragment.find("# VB-KVM-001").unwrap(), fragment.find("\nCONFIG_KVM=y\n"));
    assert!(line.unwrap() > kvm, "{fragment}");
    // A module that was not seen: built in, it passes for certain.
    assert!(fragment.contains("\nCONFIG_VFIO_PCI=y\n"));
    // Appended, the later setting counts: the result passes.
    fs::write(dir.join("bad.config"), bad() + &fragment).unwrap();
    check(dir, 0, &["bad.config"]);
    check(dir, 0, &["good.config", "--fragment", "nothing"]);
    // Whatever a name says, it stays a comment.
    check(dir, 1, &[names[2], "good.config", "--fragment", "fix"]);
    for line in fs::read_to_string(dir.join("fix")).unwrap().lines() {
        let comment = line.is_empty() || line.starts_with('#');
        assert!(comment || line.starts_with("CONFIG_"), "{line}");
    }
}

/// The source of the evidence, the file of a module, and the origin of every parameter are in each
/// report but the short ones.
#[test]
fn every_report_says_where_it_knows_from() {
    let (_dir, lines) = evidence("jsonl");
    assert!(lines.contains("\"names\":1003"), "{lines}");
    let (_dir, few) = evidence("github");
    assert!(
        few.contains("1003 names in the symbol table of the kernel in names (certain)"),
        "{few}"
    );
    for format in ["text", "json", "sarif", "junit", "markdown", "html"] {
        let (dir, report) = evidence(format);
        let report = report.replace('\\', "");
        let has = |what: &str| assert!(report.contains(what), "{format}: {what}\n{report}");
        has("1003");
        has("certain");
        has("iommu.passthrough=1");
        has("kvm-arm.mode=nvhe");
        if ["json", "sarif"].contains(&format) {
            for field in ["effective", "extend", "given", "kallsyms", "confidence"] {
                has(field);
            }
        } else {
            has("the command line given");
            has("CONFIG_CMDLINE");
        }
        // It leaves out what passes.
        if format != "sarif" {
            has("vfio_pci.ko (vfio-pci.ko) fits the kernel");
        }
        let text = fs::read_to_string(dir.path().join("report.txt")).unwrap();
        assert!(text.contains("SATISFIED BY MODULES") && text.contains("1003 names"), "{text}");
    }
}

/// A symbol cannot fix a rule that a kernel parameter breaks.
#[test]
fn the_fragment_does_not_override_a_parameter() {
    let (dir, _) = inputs();
    let config = CONFIG.replace("6.1.99", "6.6.1")
        + "CONFIG_VFIO_GROUP=y\nCONFIG_IOMMU_DEFAULT_DMA_STRICT=y\n";
    fs::write(dir.path().join("strict.config"), config).unwrap();
    let words = ["strict.config", "--cmdline", "iommu.strict=0", "--fragment", "fix"];
    check(dir.path(), 0, &words);
    let fragment = fs::read_to_string(dir.path().join("fix")).unwrap();
    let section = fragment.split("\n# VB-IOMMU-007").nth(1).unwrap();
    let section = section.split("\n\n").next().unwrap();
    assert!(section.contains("# Not fixed by Kconfig") && !section.contains("\nCONFIG_"));
}
