//! The `.modinfo` of a kernel module.

use std::borrow::Cow;

use goblin::container::Ctx;
use goblin::elf::{Elf, SectionHeader};

use crate::compression::{self, Format, decode_all};

/// Maximum decompressed size of a module in bytes.
const MAX_MODULE: u64 = 512 << 20;

/// A parameter of a module: `parm=` and `parmtype=` of `.modinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type (`bool`, `uint`, `string`, `array of int`…); empty if unknown.
    pub kind: String,
    /// Its description; empty if unknown.
    pub description: String,
}

/// The `.modinfo` of a `.ko` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Its name in the kernel, with `_` for `-`.
    pub name: String,
    /// The version magic, which must match the kernel: release, then build options.
    pub vermagic: Option<String>,
    /// Names of its dependencies, with `_` for `-`, in file order.
    pub depends: Vec<String>,
    /// Aliases (`pci:v*d*…`).
    pub aliases: Vec<String>,
    /// Soft dependencies as written: `post: vfio_iommu_type1`.
    pub softdeps: Vec<String>,
    /// Its parameters, in order of first occurrence.
    pub parameters: Vec<Parameter>,
    /// `GPL`, `GPL v2`, `Proprietary`…; empty if unknown.
    pub license: String,
    /// Symbol namespaces that it imports (`MODULE_IMPORT_NS`).
    pub namespaces: Vec<String>,
    /// Whether a signature is appended (`include/linux/module_signature.h`).
    pub signed: bool,
    /// Its path in its source; empty if unknown.
    pub path: String,
    /// The name of its file in messages; empty if unknown.
    pub file: String,
}

/// The last bytes of a signed module.
const SIGNATURE: &[u8] = b"~Module signature appended~\n";

/// Errors of reading a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not an ELF file, or a damaged one.
    #[error("is not a kernel module: {0}")]
    Elf(#[from] goblin::error::Error),
    /// An ELF file without `.modinfo`.
    #[error("is not a kernel module: an ELF file without a .modinfo section")]
    NoModinfo,
    /// Neither `.modinfo` nor the file name contains its name.
    #[error("is a kernel module without a name")]
    NoName,
    /// A compressed module could not be decompressed.
    #[error(transparent)]
    Compression(#[from] compression::Error),
}

pub(crate) use crate::rules::module_name as normalise;

impl Module {
    /// Read a `.ko`, plain or compressed in any [`Format`]. `file_name`, such as `vfio-pci.ko.xz`,
    /// determines the name if the module does not contain it (before Linux 4.13).
    ///
    /// # Errors
    /// [`Error::Elf`], [`Error::NoModinfo`], [`Error::NoName`], [`Error::Compression`].
    pub fn parse(bytes: &[u8], file_name: &str) -> Result<Self, Error> {
        Self::from_elf(&unpack(bytes)?, file_name)
    }

    /// As [`Module::parse`], of a `.ko` that is unpacked already.
    pub(crate) fn from_elf(bytes: &[u8], file_name: &str) -> Result<Self, Error> {
        let mut module = Module { signed: bytes.ends_with(SIGNATURE), ..Module::default() };
        module.path = file_name.to_owned();
        for entry in modinfo(bytes)?.split(|byte| *byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            if let Some((key, value)) = entry.split_once('=') {
                module.take(key, value);
            }
        }
        if module.name.is_empty() {
            let file = file_name.rsplit('/').next().unwrap_or_default();
            module.name = normalise(file.split(".ko").next().unwrap_or_default());
        }
        if module.name.is_empty() { Err(Error::NoName) } else { Ok(module) }
    }

    fn take(&mut self, key: &str, value: &str) {
        match key {
            "name" => self.name = normalise(value),
            "vermagic" => self.vermagic = Some(value.to_owned()),
            "depends" => {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                self.depends.extend(names.map(normalise));
            }
            "alias" => self.aliases.push(value.to_owned()),
            "softdep" => self.softdeps.push(value.to_owned()),
            "license" => value.clone_into(&mut self.license),
            "import_ns" => self.namespaces.push(value.to_owned()),
            "parm" => {
                if let Some((name, text)) = value.split_once(':') {
                    self.parameter(name).description = text.to_owned();
                }
            }
            "parmtype" => {
                if let Some((name, text)) = value.split_once(':') {
                    self.parameter(name).kind = text.to_owned();
                }
            }
            _ => {}
        }
    }

    fn parameter(&mut self, name: &str) -> &mut Parameter {
        let index = self.parameters.iter().position(|parameter| parameter.name == name);
        let index = index.unwrap_or_else(|| {
            self.parameters.push(Parameter { name: name.to_owned(), ..Parameter::default() });
            self.parameters.len() - 1
        });
        &mut self.parameters[index]
    }

    /// Whether it was built for exactly this kernel release (`6.1.192-android14-11`), according to
    /// the first part of its vermagic. False without a vermagic.
    ///
    /// A kernel with `MODVERSIONS` compares the CRC of each symbol instead of that part
    /// (`same_magic` in `kernel/module/version.c`); see [`Module::has_modversions`].
    pub fn vermagic_matches(&self, release: &str) -> bool {
        let vermagic = self.vermagic.as_deref().unwrap_or_default();
        vermagic.split(' ').next() == Some(release) && !release.is_empty()
    }

    /// Whether its licence allows it to use symbols that are exported only to GPL modules
    /// (`license_is_gpl_compatible` in `include/linux/license.h`).
    pub(crate) fn is_gpl(&self) -> bool {
        const COMPATIBLE: [&str; 6] = [
            "GPL",
            "GPL v2",
            "GPL and additional rights",
            "Dual BSD/GPL",
            "Dual MIT/GPL",
            "Dual MPL/GPL",
        ];
        COMPATIBLE.contains(&self.license.as_str())
    }

    /// Whether it was built with `MODVERSIONS`: then the kernel does not compare the release.
    pub fn has_modversions(&self) -> bool {
        let vermagic = self.vermagic.as_deref().unwrap_or_default();
        vermagic.split(' ').any(|part| part == "modversions")
    }
}

/// Decompress a `.ko` in any [`Format`].
///
/// # Errors
/// [`compression::Error`].
pub(crate) fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, compression::Error> {
    match Format::detect(bytes) {
        Some(format) => Ok(Cow::Owned(decode_all(format, bytes, MAX_MODULE)?.0)),
        None => Ok(Cow::Borrowed(bytes)),
    }
}

/// The bytes of the `.modinfo` section: NUL-terminated `key=value` strings.
fn modinfo(bytes: &[u8]) -> Result<&[u8], Error> {
    let header = Elf::parse_header(bytes)?;
    let context = Ctx::new(header.container()?, header.endianness()?);
    let (offset, count) = (header.e_shoff as usize, header.e_shnum as usize);
    let sections = SectionHeader::parse(bytes, offset, count, context)?;
    let contents = |section: &SectionHeader| -> Option<&[u8]> {
        let start = usize::try_from(section.sh_offset).ok()?;
        let size = usize::try_from(section.sh_size).ok()?;
        bytes.get(start..start.checked_add(size)?)
    };
    let names = sections.get(header.e_shstrndx as usize).and_then(contents);
    let names = names.ok_or(Error::NoModinfo)?;
    let is_modinfo = |section: &&SectionHeader| {
        names.get(section.sh_name..).is_some_and(|name| name.starts_with(b".modinfo\0"))
    };
    sections.iter().find(is_modinfo).and_then(contents).ok_or(Error::NoModinfo)
}
