//! `scripts/action.sh`, what `action.yml` runs, as a runner of GitHub Actions starts it.

use crate::common;
use crate::common::cli;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use cli::Scratch;

/// The script in this directory, with these inputs besides `paths`.
fn action(dir: &Scratch, paths: &str, inputs: &[(&str, &str)]) -> Assert {
    let mut command = Command::new("bash");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/action.sh")).current_dir(dir.dir());
    command.env("VFIOBOOT", env!("CARGO_BIN_EXE_vfioboot")).env("PATHS", paths);
    command.env("PROFILE", "passthrough").env("FAIL_ON", "required");
    command.env("GITHUB_OUTPUT", "output").env("GITHUB_STEP_SUMMARY", "summary");
    command.envs(inputs.iter().copied()).assert()
}

fn prepared() -> Scratch {
    let dir = Scratch::new();
    let lab = common::fixture("configs/lab-6.1-arm64.config");
    dir.file("good one.config", &lab);
    dir.file(
        "bad.config",
        &String::from_utf8(lab).unwrap().replace("CONFIG_VFIO", "CONFIG_X").into_bytes(),
    );
    dir
}

#[test]
fn patterns_name_the_inputs_and_the_step_ends_as_the_check() {
    let dir = prepared();
    let files = [("SARIF", "check.sarif"), ("JUNIT", "check.xml"), ("MARKDOWN", "check.md")];
    let assert = action(&dir, "good*.config\n\nbad.config\n", &files).code(1);
    let said = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    assert!(said.contains("::error file=bad.config"), "{said}");
    assert!(!said.contains("::error file=good one.config"), "{said}");
    assert_eq!(dir.read("output"), b"status=1\n");
    assert_eq!(dir.read("summary"), dir.read("check.md"));
    assert!(dir.exists("check.sarif") && dir.exists("check.xml"));
}

#[test]
fn a_baseline_and_more_arguments_reach_the_program() {
    let dir = prepared();
    action(&dir, "bad.config", &[("ARGUMENTS", "--write-baseline\nknown.json")]).code(1);
    action(&dir, "bad.config", &[("BASELINE", "known.json")]).code(0);
}

#[test]
fn what_cannot_be_read_fails_the_step() {
    let dir = prepared();
    action(&dir, "missing*.img", &[]).code(2);
    action(&dir, "\n", &[]).code(2);
}

#[test]
fn an_inconclusive_check_fails_the_step_only_where_asked() {
    let dir = prepared();
    let config = String::from_utf8(dir.read("good one.config")).unwrap();
    dir.file("open.config", config.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m").as_bytes());
    action(&dir, "open.config", &[]).code(0);
    assert_eq!(dir.read("output"), b"status=3\n");
    action(&dir, "open.config", &[("FAIL_ON_INCONCLUSIVE", "true")]).code(3);
}

/// `scripts/action-install.sh` for releases in the directory `releases`, with only these programs.
fn install(dir: &Scratch, version: &str) -> Assert {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new("bash");
    command.arg(format!("{root}/scripts/action-install.sh")).current_dir(dir.dir());
    let releases = format!("file://{}", dir.path("releases").display());
    command.env("SOURCE", root).env("RELEASES", releases).env("VERSION", version);
    // A runner without Rust.
    command.env("RUNNER_TEMP", dir.dir()).env("PATH", "/usr/bin:/bin");
    command.assert()
}

/// A release that has this program, as `scripts/release-files.sh` packs it.
fn released(dir: &Scratch, place: &str) -> String {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let name = format!("vfioboot-9.8.7-{target}");
    let script = format!(
        "mkdir -p {place} {name} && cp \"$PROGRAM\" {name}/vfioboot && tar -czf {place}/{name}.tar.gz {name} &&
         cd {place} && sha256sum * > SHA256SUMS"
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(dir.dir());
    command.env("PROGRAM", env!("CARGO_BIN_EXE_vfioboot")).assert().success();
    format!("{place}/{name}.tar.gz")
}

#[test]
fn a_released_program_is_installed_without_rust() {
    let own = concat!("releases/download/v", env!("CARGO_PKG_VERSION"));
    for (place, version) in
        [(own, ""), ("releases/latest/download", "latest"), ("releases/download/v9.8.7", "v9.8.7")]
    {
        let dir = prepared();
        released(&dir, place);
        install(&dir, version).code(0);
        assert_eq!(dir.names("vfioboot"), ["bin"]);
        let installed = dir.path("vfioboot/bin/vfioboot");
        Command::new(installed).arg("--version").assert().code(0);
    }
}

#[test]
fn a_program_with_another_checksum_is_not_installed() {
    let dir = prepared();
    let archive = released(&dir, "releases/download/v9.8.7");
    dir.file(&archive, b"another one");
    let run = install(&dir, "9.8.7").code(2);
    let said = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert!(said.starts_with("::error::") && said.contains("SHA256SUMS"), "{said}");
    assert!(dir.names("vfioboot/bin").is_empty());
    // A version that was asked for is not replaced by another one.
    install(&dir, "9.9.9").code(2);
    install(&dir, "$(id)").code(2);
    let run = install(&dir, "").code(2);
    let said = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert!(said.contains("no Rust"), "{said}");
}
