//! The program and a directory of its own for each test.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;

/// A directory that goes away with the test.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Scratch(tempfile::tempdir().unwrap())
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Make a file.
    pub fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Put a fixture image here under `name`.
    pub fn image(&self, name: &str, fixture: &str) -> Vec<u8> {
        let bytes = super::fixture(&format!("images/{fixture}.img"));
        self.file(name, &bytes);
        bytes
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn exists(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// The names in a directory, in order.
    pub fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }

    /// `vfioboot` with arguments separated by spaces, run in this directory.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfioboot"));
        command.current_dir(self.dir()).args(arguments.split(' ').filter(|word| !word.is_empty()));
        command
    }

    pub fn run(&self, arguments: &str) -> Assert {
        self.command(arguments).assert()
    }

    /// Run it; what it prints.
    pub fn ok(&self, arguments: &str) -> String {
        let output = self.run(arguments).success().get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Run it; the one error it ends with, in status 2.
    pub fn error(&self, arguments: &str) -> String {
        error_of(self.run(arguments))
    }
}

/// The message of a run that fails as it should: status 2, nothing printed, no panic.
pub fn error_of(run: Assert) -> String {
    let output = run.code(2).get_output().clone();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty(), "printed: {}", String::from_utf8_lossy(&output.stdout));
    assert!(!text.contains("panicked"), "{text}");
    text
}
