//! `vfiorun guest new` and `guest check`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::guest::file::{self, Arch, Name};
use vfioboot::device::guest::new::seed::Login;
use vfioboot::device::guest::new::{Content, Draft, Made, Wish};
use vfioboot::device::guest::run::preflight::{Options, Start};
use vfioboot::device::sys::host::errno_text;
use vfioboot::device::sys::machine;
use vfioboot::usage::{Matches, UsageError};

use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::{output, remedy};

pub struct New {
    name: Name,
    disks: Vec<PathBuf>,
    devices: Vec<DeviceSpec>,
    chroot: Option<PathBuf>,
    user: Option<String>,
    keys: Vec<PathBuf>,
    output: Option<PathBuf>,
    dry_run: bool,
}

impl New {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        let path = |name| given.value(name).map(PathBuf::from);
        Ok(Self {
            name: given.parsed("NAME")?.pop().unwrap_or_default(),
            disks: given.parsed("disk")?,
            devices: given.parsed("device")?,
            chroot: path("chroot"),
            user: given.parsed("user")?.pop(),
            keys: given.parsed("ssh-key")?,
            output: path("output"),
            dry_run: given.has("dry-run"),
        })
    }
}

pub fn new(global: &Global, arguments: &New) -> Outcome {
    let host = global.host();
    let usual = || PathBuf::from(format!("{}.toml", arguments.name));
    let file = std::path::absolute(arguments.output.clone().unwrap_or_else(usual))?;
    let disk = |path: &PathBuf| -> io::Result<String> {
        let path = match arguments.chroot {
            // As it is inside.
            Some(_) => Path::new("/").join(path),
            None => std::path::absolute(path)?,
        };
        Ok(path.display().to_string())
    };
    let chroot = arguments.chroot.as_ref().map(std::path::absolute).transpose()?;
    let wish = Wish {
        name: arguments.name.clone(),
        arch: Arch::of_machine(&machine::of(&host)).unwrap_or(Arch::Aarch64),
        disks: arguments.disks.iter().map(disk).collect::<Result<_, _>>()?,
        devices: arguments.devices.clone(),
        chroot: chroot.map(|path| path.display().to_string()),
        login: login(arguments)?,
    };
    let draft = Draft::new(&host, &wish, file.parent().unwrap_or(Path::new("/")));
    if let Some(missing) = &draft.missing {
        output::complain(&format!("warning: {missing}"));
    }
    if arguments.dry_run {
        output::print(&draft.text)?;
        return Ok(Answer::Yes);
    }
    let own = Made { path: file.clone(), content: Content::Bytes(draft.text.into_bytes()) };
    let files: Vec<Made> = draft.files.into_iter().chain([own]).collect();
    make(&files)?;
    output::print(
        &files.iter().map(|made| format!("{}\n", made.path.display())).collect::<String>(),
    )?;
    check(global, &Check { file, json: false })
}

/// Who can log in, if somebody is to.
fn login(arguments: &New) -> Result<Option<Login>, Failure> {
    let mut keys = Vec::new();
    for path in &arguments.keys {
        let failed = |reason: &str| Failure::new(format!("--ssh-key {}: {reason}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| failed(&errno_text(&error)))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        for line in lines {
            if !["ssh-", "ecdsa-", "sk-"].iter().any(|kind| line.starts_with(kind)) {
                return Err(failed("this is not a public key, as in ~/.ssh/id_ed25519.pub"));
            }
            keys.push(line.to_owned());
        }
    }
    match (&arguments.user, keys.is_empty()) {
        (Some(_), true) => {
            Err(Failure::new("--user: with which --ssh-key? There is no other way to log in"))
        }
        (None, true) => Ok(None),
        (user, false) => Ok(Some(Login { user: user.clone(), keys })),
    }
}

/// Makes the files, or none of them: what is there already is not replaced.
fn make(files: &[Made]) -> Result<(), Failure> {
    for (number, Made { path, content }) in files.iter().enumerate() {
        let write = |bytes: &[u8]| {
            OpenOptions::new().write(true).create_new(true).open(path)?.write_all(bytes)
        };
        let made = match content {
            Content::Bytes(bytes) => write(bytes),
            Content::CopyOf(from) => fs::read(from).and_then(|bytes| write(&bytes)),
        };
        if let Err(error) = made {
            files.iter().take(number).for_each(|made| _ = fs::remove_file(&made.path));
            return Err(Failure::new(format!("{}: {}", path.display(), errno_text(&error))));
        }
    }
    Ok(())
}

pub struct Check {
    file: PathBuf,
    json: bool,
}

impl Check {
    pub fn of(given: &Matches) -> Self {
        Self { file: given.value("GUEST.toml").unwrap_or_default().into(), json: given.has("json") }
    }
}

pub fn check(global: &Global, arguments: &Check) -> Outcome {
    let (host, state) = (global.host(), global.state());
    let guest = file::read(&arguments.file)?;
    let options = Options {
        path: std::env::var("PATH").ok(),
        machine: machine::of(&host),
        ..Options::default()
    };
    let start = Start::new(&host, &state, &guest, &options);
    let refusals: Vec<String> = start.refusals.iter().map(remedy::start).collect();
    let warnings = output::texts(&start.warnings);
    if arguments.json {
        output::print_json(&json!({
            "format": 1, "name": guest.name.as_str(), "runs": refusals.is_empty(), "refusals": refusals,
            "warnings": warnings,
        }))?;
    } else {
        let lines = |kind: &str, texts: &[String]| -> String {
            let lines = texts.iter().flat_map(|text| text.lines());
            lines.map(|line| format!("{kind}: {line}\n")).collect()
        };
        let file = arguments.file.display();
        let verdict = match refusals.is_empty() {
            true => format!("{file}: guest {} can be started\n", guest.name),
            false => format!("{file}: guest {} cannot be started\n", guest.name),
        };
        output::print(&(lines("problem", &refusals) + &lines("warning", &warnings) + &verdict))?;
    }
    Ok(if refusals.is_empty() { Answer::Yes } else { Answer::No })
}
