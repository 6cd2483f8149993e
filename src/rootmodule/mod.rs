//! The zip that Magisk, KernelSU and APatch install: vfiorun and vfioboot as commands, and a script that
//! starts the guests with `autostart` once the system is up.
//!
//! Its contents, and their users:
//!
//! | path | |
//! |---|---|
//! | `module.prop` | read by all three: `id`, `name`, `version`, `versionCode`, `author`, `description` |
//! | `META-INF/com/google/android/` | a recovery runs `update-binary`; Magisk's app recognises a module by `#MAGISK` |
//! | `customize.sh` | sourced by each installer: architecture, permissions, guest files |
//! | `service.sh` | run by each manager in late_start |
//! | `uninstall.sh` | run by each when the module is removed |
//! | `system/bin/vfiorun` | mounted by Magisk; KernelSU and APatch may need a metamodule for that, so `service.sh` also links it into their own directory of commands |
//! | `system/bin/vfioboot` | the same; only where one was given |
//! | `guests/*.toml` | copied by `customize.sh` to `/data/adb/vfioboot/guests`, never over an existing file |

use std::io::{self, Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::kernel::Arch;

const META: &str = "META-INF/com/google/android";
/// The default guest file: the reference, which does not start a guest automatically.
const EXAMPLE: &str = include_str!("../../docs/guest.toml");

/// A guest file of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// File name, which ends in `.toml`.
    pub name: String,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// Errors of building the module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An unsupported architecture.
    #[error("no root manager supports the architecture {0}: vfiorun runs on arm64 and x86_64")]
    Arch(&'static str),
    /// A guest file that vfiorun would refuse.
    #[error("{name}")]
    Guest {
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[source]
        problem: GuestProblem,
    },
    /// Packing failed.
    #[error("packing the module")]
    Pack(#[from] zip::result::ZipError),
    /// Packing failed.
    #[error("packing the module")]
    Write(#[from] io::Error),
}

/// What is wrong with a guest file.
#[derive(Debug, thiserror::Error)]
pub enum GuestProblem {
    /// Its name does not end in `.toml`.
    #[error("vfiorun autostart reads files whose name ends in .toml")]
    Suffix,
    /// Its name has other characters than a file on the device may have.
    #[error("the name may have letters, digits, '.', '_' and '-'")]
    Name,
    /// Two files have its name.
    #[error("two guest files of this name were given")]
    Duplicate,
    /// It is not text.
    #[error(transparent)]
    Utf8(#[from] std::str::Utf8Error),
    /// It is not TOML.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
}

/// The programs of a module, for its architecture.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'p> {
    /// vfiorun.
    pub vfiorun: &'p [u8],
    /// vfioboot, with which the device patches its own partitions.
    pub vfioboot: Option<&'p [u8]>,
}

/// Build the zip for `arch` with these programs. The same arguments give the same bytes.
///
/// # Errors
/// [`Error`].
pub fn build(arch: Arch, programs: Programs<'_>, guests: &[Guest]) -> Result<Vec<u8>, Error> {
    // The value of $ARCH in the installers.
    let arch = match arch {
        Arch::Arm64 => "arm64",
        Arch::X86_64 => "x64",
        other => return Err(Error::Arch(other.name())),
    };
    check(guests)?;
    let version = env!("CARGO_PKG_VERSION");
    let prop = include_str!("module.prop")
        .replace("@VERSION@", version)
        .replace("@CODE@", &version_code(version).to_string());
    let customize = include_str!("customize.sh").replace("@ARCH@", arch);
    let mut archive = Archive(ZipWriter::new(Cursor::new(Vec::new())));
    archive.file("module.prop", 0o644, prop.as_bytes())?;
    archive.file(&format!("{META}/update-binary"), 0o755, include_bytes!("update-binary"))?;
    archive.file(&format!("{META}/updater-script"), 0o644, include_bytes!("updater-script"))?;
    archive.file("customize.sh", 0o644, customize.as_bytes())?;
    archive.file("service.sh", 0o755, include_bytes!("service.sh"))?;
    archive.file("uninstall.sh", 0o755, include_bytes!("uninstall.sh"))?;
    archive.file("system/bin/vfiorun", 0o755, programs.vfiorun)?;
    if let Some(vfioboot) = programs.vfioboot {
        archive.file("system/bin/vfioboot", 0o755, vfioboot)?;
    }
    for guest in guests {
        archive.file(&format!("guests/{}", guest.name), 0o644, &guest.bytes)?;
    }
    if guests.is_empty() {
        archive.file("guests/example.toml", 0o644, EXAMPLE.as_bytes())?;
    }
    Ok(archive.0.finish()?.into_inner())
}

/// An integer that increases with the version: managers compare only this number.
fn version_code(version: &str) -> u32 {
    let numbers = version.split(['.', '-', '+']).take(3).map(|part| part.parse().unwrap_or(0));
    numbers.fold(0, |code: u32, number: u32| code.saturating_mul(1000).saturating_add(number))
}

/// Check the names, which become file names on the device, and that the files are TOML.
fn check(guests: &[Guest]) -> Result<(), Error> {
    for (number, guest) in guests.iter().enumerate() {
        check_guest(guest, &guests[..number])
            .map_err(|problem| Error::Guest { name: guest.name.clone(), problem })?;
    }
    Ok(())
}

fn check_guest(guest: &Guest, earlier: &[Guest]) -> Result<(), GuestProblem> {
    let usual = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    // vfiorun reads the files with this suffix.
    if guest.name.strip_suffix(".toml").is_none_or(str::is_empty) {
        return Err(GuestProblem::Suffix);
    }
    if !guest.name.chars().all(usual) {
        return Err(GuestProblem::Name);
    }
    if earlier.iter().any(|other| other.name == guest.name) {
        return Err(GuestProblem::Duplicate);
    }
    toml::from_str::<toml::Table>(str::from_utf8(&guest.bytes)?)?;
    Ok(())
}

struct Archive(ZipWriter<Cursor<Vec<u8>>>);

impl Archive {
    /// Add a file with a constant time, so that the same contents give the same archive.
    fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) -> Result<(), Error> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(mode);
        self.0.start_file(name, options)?;
        Ok(self.0.write_all(bytes)?)
    }
}
