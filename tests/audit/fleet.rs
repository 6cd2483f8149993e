//! `vfioboot check` of many inputs: lines as soon as they are there, runs that go on, reports that stay small.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::common::cli::Scratch;
use crate::common::fixture;
use crate::common::synthetic::{CONFIG, module};

/// More inputs than the lines that fit into a pipe and the results that wait for them.
const MANY: usize = 400;

fn name(number: usize) -> String {
    format!("{number:04}.config")
}

/// So many configs, of which every third fails.
fn fleet(count: usize) -> Scratch {
    let scratch = Scratch::new();
    for number in 0..count {
        let own = format!("{CONFIG}CONFIG_LOCALVERSION=\"-{number}\"\n");
        let own = if number % 3 == 1 { own.replace("CONFIG_KVM=y\n", "") } else { own };
        scratch.file(&name(number), own.as_bytes());
    }
    scratch
}

/// `vfioboot check` in this directory with all of these inputs, and a pipe to read.
fn started(scratch: &Scratch, words: &[&str], count: usize) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfioboot"));
    command.current_dir(scratch.dir()).arg("check").args(words).args((0..count).map(name));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_comes_out_before_later_inputs_are_read() {
    let scratch = fleet(MANY);
    let (mut child, mut out) = started(&scratch, &["--format", "jsonl", "--jobs", "2"], MANY);
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    // The rest waits for this test to read.
    for number in MANY - 100..MANY {
        fs::remove_file(scratch.path(&name(number))).unwrap();
    }
    out.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let lines = lines(&text);
    assert_eq!(lines.len(), MANY);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["input"], name(number));
        let expected = match number {
            _ if number >= MANY - 100 => "error",
            _ if number % 3 == 1 => "fail",
            _ => "pass",
        };
        assert_eq!(line["verdict"], expected, "{line}");
    }
    let bytes = scratch.read(&name(0));
    assert_eq!(lines[0]["size"], bytes.len());
    let of_coreutils = scratch.path(&name(0));
    let sum = Command::new("sha256sum").arg(of_coreutils).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap();
    assert_eq!(lines[0]["sha256"], sum.split(' ').next().unwrap());
}

#[test]
fn an_interrupted_run_leaves_whole_lines_and_the_next_one_goes_on_after_them() {
    let scratch = fleet(MANY);
    let (mut child, mut out) = started(&scratch, &["--format", "jsonl"], MANY);
    let mut text = String::new();
    for _ in 0..3 {
        out.read_line(&mut text).unwrap();
    }
    // SIGINT is ignored below a shell in the background.
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    out.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "a signal ends it");
    assert!(text.ends_with('\n'), "{text}");
    let there = lines(&text).len();
    assert!((3..MANY).contains(&there), "{there} lines");
    // As if the machine had gone down within a line.
    scratch.file("lines", format!("{text}{{\"format\":2,\"inp").as_bytes());
    let (mut child, mut out) = started(&scratch, &["--resume", "lines"], MANY);
    let mut printed = String::new();
    out.read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "");
    assert_eq!(child.wait().unwrap().code(), Some(1), "what is there counts");
    let all = String::from_utf8(scratch.read("lines")).unwrap();
    assert!(all.starts_with(&text));
    let inputs: Vec<Value> = lines(&all).into_iter().map(|line| line["input"].clone()).collect();
    assert_eq!(inputs, (0..MANY).map(name).collect::<Vec<_>>());
}

#[test]
fn a_run_goes_on_with_new_and_changed_inputs_and_only_in_its_own_file() {
    let scratch = fleet(4);
    let resume = |status: i32, words: &str| {
        let run = scratch.run(&format!("check --resume lines {words}")).code(status);
        String::from_utf8_lossy(&run.get_output().stderr).into_owned()
    };
    let inputs = || {
        let all = lines(&String::from_utf8(scratch.read("lines")).unwrap());
        all.into_iter().map(|line| line["input"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    scratch.file("own", CONFIG.as_bytes());
    scratch.file("ko/a.ko", &module(&["name=a", "vermagic=6.1.9 SMP"]));
    resume(0, "0000.config 0002.config");
    resume(2, "0000.config missing 0002.config 0001.config");
    assert_eq!(inputs(), ["0000.config", "0002.config", "missing", "0001.config"]);
    // What could not be checked has its line.
    resume(2, "0000.config missing");
    assert_eq!(inputs().len(), 4);
    scratch.file("0000.config", format!("{CONFIG}CONFIG_X=y\n").as_bytes());
    scratch.file("missing", CONFIG.as_bytes());
    resume(0, "0000.config missing");
    assert_eq!(inputs()[4..], ["0000.config", "missing"]);
    let said = resume(2, "0000.config --profile kvm-only");
    assert!(said.contains("--profile passthrough"), "{said}");
    for (words, says) in [
        ("--cmdline quiet", "--cmdline none; this one has quiet"),
        ("--kernel-version 6.1", "--kernel-version none; this one has 6.1"),
        ("--config own", "--config none"),
        ("--modules ko", "--modules none"),
    ] {
        let said = resume(2, &format!("0000.config {words}"));
        assert!(said.contains(says), "{said}");
    }
    let said = resume(2, "0000.config --format sarif");
    assert!(said.contains("jsonl"), "{said}");
    scratch.file("notes", b"my notes\n");
    let before = scratch.read("lines");
    scratch.run("check --resume notes 0000.config").code(2);
    scratch.run("check --resume 0000.config 0000.config").code(2);
    assert_eq!(scratch.read("notes"), b"my notes\n");
    assert_eq!(scratch.read("lines"), before);
}

#[test]
fn a_run_with_options_goes_on_with_the_same_ones() {
    let scratch = fleet(3);
    let line = format!("quiet {}", "a".repeat(300));
    let run = |status: i32, line: &str, inputs: &[&str]| {
        let words = [&["--resume", "lines", "--cmdline", line][..], inputs].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfioboot"));
        let done = command.current_dir(scratch.dir()).arg("check").args(words).output().unwrap();
        assert_eq!(done.status.code(), Some(status), "{done:?}");
        String::from_utf8(done.stderr).unwrap()
    };
    run(0, &line, &["0000.config"]);
    run(0, &line, &["0000.config", "0002.config"]);
    let all = lines(&String::from_utf8(scratch.read("lines")).unwrap());
    assert_eq!(all.len(), 2);
    // A long text is named by its digest.
    assert_eq!(all[0]["given"]["cmdline"].as_str().unwrap().len(), 64);
    assert!(run(2, &format!("{line}a"), &["0000.config"]).contains("--cmdline"));
}

#[test]
fn a_line_is_short_and_the_rules_are_printed_once() {
    let scratch = Scratch::new();
    let lab = String::from_utf8(fixture("configs/lab-6.1-arm64.config")).unwrap();
    scratch.file("whole", lab.as_bytes());
    scratch.file(
        "bad",
        lab.replace("CONFIG_VFIO", "CONFIG_X").replace("CONFIG_KVM", "CONFIG_Y").as_bytes(),
    );
    scratch.file("part", b"CONFIG_ARM64=y\nCONFIG_KVM=y\n");
    let run = scratch.run("check whole bad part --format jsonl");
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    for line in text.lines() {
        assert!(line.len() < 2000, "{} bytes: {line}", line.len());
    }
    let rules: Value = serde_json::from_str(&scratch.ok("check --rules --format json")).unwrap();
    let known: Vec<&Value> =
        rules["rules"].as_array().unwrap().iter().map(|own| &own["id"]).collect();
    let whole = &lines(&text)[0];
    for list in ["passed", "lesser_failed", "lesser_unknown"] {
        for id in whole[list].as_array().unwrap() {
            assert!(known.contains(&id), "{id}");
        }
    }
    let fix = rules["rules"][0]["fix"].as_str().unwrap();
    assert!(!text.contains(fix));
    assert!(scratch.ok("check --rules").contains(fix));
    let document = scratch.run("check whole bad part --format json");
    let document = String::from_utf8(document.get_output().stdout.clone()).unwrap();
    assert_eq!(document.matches(&*serde_json::to_string(fix).unwrap()).count(), 1);
}

#[test]
fn a_hostile_input_is_one_line_and_the_others_have_theirs() {
    let scratch = fleet(30);
    // One line, longer than any config.
    let long = [b"CONFIG_X=\"".as_slice(), &vec![b'x'; 17 << 20], b"\"\n"].concat();
    scratch.file("0010.config", &long);
    let bomb = fixture("bombs/zeros-2g.bz2.xz");
    let bomb = vfioboot::compression::decode_all(vfioboot::compression::Format::Xz, &bomb, 1 << 30);
    scratch.file("0020.config", &bomb.unwrap().0);
    let (mut child, mut out) = started(&scratch, &["--format", "jsonl", "--limit", "16M"], 30);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let lines = lines(&text);
    assert_eq!(lines.len(), 30);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line["input"], name(number));
        let is_hostile = number == 10 || number == 20;
        assert_eq!(line["verdict"] == "error", is_hostile, "{line}");
        assert!(line["sha256"].is_string() && line["size"].is_number(), "{line}");
    }
}

#[test]
fn reports_of_many_inputs_stay_small() {
    const COUNT: usize = 1000;
    let scratch = fleet(COUNT);
    // Fails most rules.
    for number in (0..COUNT).step_by(3) {
        let own = CONFIG.replace("CONFIG_VFIO", "CONFIG_X").replace("CONFIG_KVM", "CONFIG_Y");
        scratch.file(&name(number), own.as_bytes());
    }
    let words = ["--format", "sarif", "--report", "html=page.html"];
    let (mut child, mut out) = started(&scratch, &words, COUNT);
    let mut sarif = String::new();
    out.read_to_string(&mut sarif).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(sarif.len() < 5_000_000, "{} bytes", sarif.len());
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    for rule in rules {
        assert!(results.iter().any(|result| result["ruleId"] == rule["id"]), "{rule}");
    }
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let page = String::from_utf8(scratch.read("page.html")).unwrap();
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    let data = page.split_once("type=\"application/json\">").unwrap().1;
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data["inputs"].as_array().unwrap().len(), COUNT);
    assert_eq!(data["inputs"][4]["verdict"], "fail");
    for outside in ["src=", "@import", "url(", "http://", "https://"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn the_reports_of_other_services() {
    let scratch = fleet(30);
    scratch.file("#<x>.config", CONFIG.as_bytes());
    let words = (0..30).map(name).collect::<Vec<_>>().join(" ") + " #<x>.config missing";
    let report = |format: &str| {
        let run = scratch.run(&format!("check {words} --format {format}")).code(2);
        String::from_utf8(run.get_output().stdout.clone()).unwrap()
    };
    let issues: Value = serde_json::from_str(&report("gitlab")).unwrap();
    let issues = issues.as_array().unwrap();
    let mut prints: Vec<&str> = Vec::new();
    for issue in issues {
        let severities = ["info", "minor", "major", "critical", "blocker"];
        assert!(severities.contains(&issue["severity"].as_str().unwrap()), "{issue}");
        assert!(issue["location"]["lines"]["begin"].as_u64().unwrap() > 0);
        assert!(!issue["description"].as_str().unwrap().is_empty());
        prints.push(issue["fingerprint"].as_str().unwrap());
    }
    let count = prints.len();
    prints.sort_unstable();
    prints.dedup();
    assert_eq!(prints.len(), count, "a fingerprint twice");
    let critical = |own: &&Value| own["severity"] == "critical";
    assert_eq!(issues.iter().filter(critical).count(), 10);
    assert_eq!(issues.last().unwrap()["severity"], "blocker");

    let tap = report("tap");
    assert!(tap.starts_with("TAP version 13\n# Subtest: 0000.config\n    1.."), "{tap}");
    assert!(tap.ends_with("\n1..32\n"), "{tap}");
    let points: Vec<&str> =
        tap.lines().filter(|line| line.starts_with("ok ") || line.starts_with("not ok ")).collect();
    assert_eq!(points.len(), 32);
    assert_eq!(points.iter().filter(|line| line.starts_with("not ok ")).count(), 11);
    assert!(points.contains(&"ok 31 - \\#<x>.config"), "{points:?}");

    let github = report("github");
    assert_eq!(github.lines().count(), 10);
    assert_eq!(github.lines().filter(|line| line.starts_with("::error file=")).count(), 9);
    assert!(github.lines().last().unwrap().contains("more: the summary of the job"), "{github}");
}

/// A profile with so many required rules, each of which names `symbols` symbols that no config has.
fn many_rules(rules: usize, symbols: usize, title: &str) -> String {
    let mut text = "title = \"t\"\n".to_owned();
    for rule in 0..rules {
        let symbols =
            (0..symbols).map(|number| format!("\"NOT_SET_IN_ANY_{rule:03}_{number:03}\""));
        let symbols = symbols.collect::<Vec<_>>().join(", ");
        text.push_str(&format!(
            "[[rule]]\nid = \"X-{rule:03}\"\ntitle = \"{title}\"\nlevel = \"required\"\nwhy = \"w\"\n\
             effect = \"e\"\nfix = \"f\"\nany = [{symbols}]\n"
        ));
    }
    text
}

/// The reasons in a line lose their ends first, then all but their starts, then they go.
#[test]
fn a_long_line_loses_its_reasons_step_by_step() {
    // `none of A, B … is set`, of 22 characters for each symbol and 2 between them.
    let scratch = Scratch::new();
    let line = |rules: usize, symbols: usize| {
        scratch.file("profile.toml", many_rules(rules, symbols, "t").as_bytes());
        // Set again, which is noted.
        scratch.file("a.config", format!("{CONFIG}CONFIG_KVM=y\n").as_bytes());
        let run = scratch.run("check a.config --profile profile.toml --format jsonl").code(1);
        let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
        assert!(text.len() <= 1900 + 2 * "a.config".len(), "{} bytes: {text}", text.len());
        let line = lines(&text).remove(0);
        let reasons: Vec<Option<usize>> = line["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|own| own["reason"].as_str().map(|reason| reason.chars().count()))
            .collect();
        assert_eq!(reasons.len(), rules);
        let ends = line["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|own| own["reason"].as_str().is_some_and(|reason| reason.ends_with('…')));
        (
            line["shortened"] == true,
            ends.count(),
            reasons[0],
            line["notes"].as_array().unwrap().len(),
        )
    };
    assert_eq!(line(4, 4), (false, 0, Some(4 * 22 + 3 * 2 + "none of  is set".len()), 1));
    assert_eq!(line(5, 20), (true, 5, Some(161), 1));
    let (shortened, ends, reason, notes) = line(8, 20);
    assert_eq!((shortened, ends, reason, notes), (true, 8, Some(51), 0));
    assert_eq!(line(16, 20), (true, 0, None, 0));
}

/// What the names of its files take is not counted.
#[test]
fn a_line_with_files_beside_the_kernel_is_short_too() {
    let scratch = Scratch::new();
    scratch.file("profile.toml", many_rules(8, 20, "t").as_bytes());
    let place = "boot/and/a/directory/with/a/long/name/below";
    scratch.file(&format!("{place}/vmlinuz-6.1.99"), &crate::common::kernel(""));
    scratch.file(&format!("{place}/config-6.1.99"), CONFIG.as_bytes());
    let run = scratch.run("check boot --profile profile.toml --format jsonl");
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let line = lines(&text).remove(0);
    assert_eq!(line["beside"].as_array().unwrap().len(), 1, "{line}");
    assert_eq!(line["shortened"], true, "{line}");
    let names =
        2 * place.len() + 2 * "/vmlinuz-6.1.99".len() + place.len() + "/config-6.1.99".len() + 64;
    assert!(text.len() <= 1900 + names, "{} bytes: {text}", text.len());
}

/// The most characters of a comment on GitHub are 65,536.
#[test]
fn a_summary_that_is_too_long_loses_what_passes_and_then_whole_inputs() {
    let scratch = Scratch::new();
    let passing = |rules: usize| {
        many_rules(rules, 1, &"title ".repeat(20)).replace("any = [", "any = [\"KVM\", ")
    };
    let render = |inputs: &str| {
        let run = scratch.run(&format!("check {inputs} --profile profile.toml --format markdown"));
        let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
        assert!(text.len() < 65_000, "{} bytes", text.len());
        text
    };
    scratch.file("a.config", CONFIG.as_bytes());
    scratch.file("b.config", CONFIG.as_bytes());
    for (rules, details) in [(200, [true, false]), (400, [false, false])] {
        scratch.file("profile.toml", passing(rules).as_bytes());
        let text = render("a.config b.config");
        let [a, b] =
            ["### a.config", "### b.config"].map(|head| text.find(head).expect("a section"));
        let found = [&text[a..b], &text[b..]].map(|part| part.contains(" passed, "));
        assert_eq!(found, details, "{rules}");
        assert!(!text.contains("did not fit"), "{rules}");
    }
    // Each section is half of what fits.
    scratch.file("profile.toml", many_rules(90, 8, "t").as_bytes());
    scratch.file("c.config", CONFIG.as_bytes());
    let text = render("a.config b.config c.config");
    assert!(text.contains("### a.config") && text.contains("### b.config"));
    assert!(!text.contains("### c.config") && text.contains("\n1 more did not fit"));
}

#[test]
fn the_list_of_a_summary_ends_at_half_of_a_comment() {
    let scratch = fleet(MANY * 2);
    scratch.file("profile.toml", many_rules(1, 1, "t").as_bytes());
    let words = ["--format", "markdown", "--profile", "profile.toml"];
    let (mut child, mut out) = started(&scratch, &words, MANY * 2);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let end = text.find("- and more\n").expect("an end");
    assert!((30_000..30_300).contains(&end), "{end}");
    assert_eq!(text.matches("- and more\n").count(), 1);
    assert!(text.len() < 65_000 && text.contains(" more did not fit"), "{} bytes", text.len());
}

#[test]
fn a_report_in_a_file_has_the_errors_that_standard_error_has() {
    let scratch = fleet(1);
    let run = scratch.run("check 0000.config missing --report text=report.txt").code(2);
    let error = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert_eq!(error, "vfioboot: missing: No such file or directory (os error 2)\n");
    let shown = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    assert!(!shown.contains("No such file"), "{shown}");
    let text = String::from_utf8(scratch.read("report.txt")).unwrap();
    assert!(text.contains("missing: ") && text.contains("No such file or directory"), "{text}");
}
