//! The symbols that a module imports and exports.

use std::collections::HashMap;

use goblin::elf::section_header::{SHN_ABS, SHN_UNDEF};
use goblin::elf::sym::STB_WEAK;
use goblin::elf::{Elf, SectionHeader};

use super::module::{Error, unpack};

/// An imported symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name.
    pub name: String,
    /// Whether the module loads without it.
    pub weak: bool,
    /// The CRC of its type in the module (`MODVERSIONS`).
    pub crc: Option<u32>,
}

/// An exported symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// Whether it is exported only to modules with a GPL-compatible licence.
    pub gpl: bool,
    /// Only modules that import this namespace may use it; empty for any module.
    pub namespace: String,
    /// The CRC of its type (`MODVERSIONS`).
    pub crc: Option<u32>,
}

/// The imported and exported symbols of a `.ko`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// Imported symbols in file order.
    pub imports: Vec<Import>,
    /// Exported symbols by name.
    pub exports: HashMap<String, Export>,
}

impl Symbols {
    /// Read the symbol table of a `.ko`, plain or compressed.
    ///
    /// # Errors
    /// [`Error::Elf`], [`Error::Compression`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::of_elf(&unpack(bytes)?)
    }

    /// The same, of a `.ko` that is unpacked already.
    pub(crate) fn of_elf(bytes: &[u8]) -> Result<Self, Error> {
        let elf = Elf::parse(bytes)?;
        let file = File { bytes, elf: &elf };
        let crcs = file.versions();
        let mut symbols = Symbols::default();
        for symbol in &elf.syms {
            let Some(name) = elf.strtab.get_at(symbol.st_name).filter(|name| !name.is_empty())
            else {
                continue;
            };
            if symbol.st_shndx == SHN_UNDEF as usize {
                let import = Import {
                    name: name.to_owned(),
                    weak: symbol.st_bind() == STB_WEAK,
                    crc: crcs.get(name).copied(),
                };
                symbols.imports.push(import);
            } else if let Some(name) = name.strip_prefix("__ksymtab_") {
                let export = symbols.exports.entry(name.to_owned()).or_default();
                // Before 5.13 there were more kinds; all except the first are for GPL modules.
                export.gpl = file.section_name(symbol.st_shndx) != "__ksymtab";
            } else if let Some(name) = name.strip_prefix("__crc_") {
                let export = symbols.exports.entry(name.to_owned()).or_default();
                export.crc = match symbol.st_shndx {
                    // Before 5.19 it was the value of an absolute symbol.
                    index if index == SHN_ABS as usize => Some(symbol.st_value as u32),
                    index => file.u32_at(index, symbol.st_value),
                };
            } else if let Some(name) = name.strip_prefix("__kstrtabns_") {
                let namespace = file.text_at(symbol.st_shndx, symbol.st_value);
                let export = symbols.exports.entry(name.to_owned()).or_default();
                export.namespace = namespace.unwrap_or_default();
            }
        }
        Ok(symbols)
    }

    /// Which of these functions a `.ko`, plain or compressed, defines; also those that it does not
    /// export.
    ///
    /// # Errors
    /// [`Error::Elf`], [`Error::Compression`].
    pub(crate) fn defined(bytes: &[u8], names: &[String]) -> Result<Vec<String>, Error> {
        let bytes = unpack(bytes)?;
        let elf = Elf::parse(&bytes)?;
        let own = elf.syms.iter().filter(|symbol| symbol.st_shndx != SHN_UNDEF as usize);
        let own = own.filter_map(|symbol| elf.strtab.get_at(symbol.st_name));
        // The compiler adds to the names of clones: `vfio_noiommu_ioctl.part.0`.
        let own = own.map(|name| name.split('.').next().unwrap_or(name));
        Ok(own
            .filter(|name| names.iter().any(|wanted| wanted == name))
            .map(str::to_owned)
            .collect())
    }

    /// Whether it imports the symbol of this name.
    pub(crate) fn needs(&self, name: &str) -> bool {
        self.imports.iter().any(|import| import.name == name)
    }
}

/// An ELF file and its bytes.
struct File<'f> {
    bytes: &'f [u8],
    elf: &'f Elf<'f>,
}

impl<'f> File<'f> {
    fn section_name(&self, index: usize) -> &'f str {
        let section = self.elf.section_headers.get(index);
        section.and_then(|section| self.elf.shdr_strtab.get_at(section.sh_name)).unwrap_or_default()
    }

    fn contents(&self, section: &SectionHeader) -> &'f [u8] {
        let range = section.file_range();
        range.and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }

    fn section(&self, name: &str) -> &'f [u8] {
        let mut sections = self.elf.section_headers.iter();
        let section = sections.find(|s| self.elf.shdr_strtab.get_at(s.sh_name) == Some(name));
        section.map(|section| self.contents(section)).unwrap_or_default()
    }

    fn at(&self, index: usize, offset: u64) -> &'f [u8] {
        let section = self.elf.section_headers.get(index).map(|section| self.contents(section));
        let offset = usize::try_from(offset).ok();
        section.zip(offset).and_then(|(bytes, offset)| bytes.get(offset..)).unwrap_or_default()
    }

    fn number(&self, bytes: [u8; 4]) -> u32 {
        match self.elf.little_endian {
            true => u32::from_le_bytes(bytes),
            false => u32::from_be_bytes(bytes),
        }
    }

    fn u32_at(&self, index: usize, offset: u64) -> Option<u32> {
        self.at(index, offset).first_chunk().map(|bytes| self.number(*bytes))
    }

    fn text_at(&self, index: usize, offset: u64) -> Option<String> {
        let bytes = self.at(index, offset);
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// `struct modversion_info`: 64 bytes each, the CRC as an unsigned long, then the name. From 6.14
    /// on, numbers and names are also in separate sections, for longer names.
    fn versions(&self) -> HashMap<String, u32> {
        let mut crcs = HashMap::new();
        let long = if self.elf.is_64 { 8 } else { 4 };
        for entry in self.section("__versions").chunks_exact(64) {
            let (number, name) = entry.split_at(long);
            let low = if self.elf.little_endian { 0 } else { long - 4 };
            let Some(number) = number[low..].first_chunk() else { continue };
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            crcs.insert(String::from_utf8_lossy(name).into_owned(), self.number(*number));
        }
        let numbers = self.section("__version_ext_crcs").chunks_exact(4);
        let names = self.section("__version_ext_names").split(|byte| *byte == 0);
        for (number, name) in numbers.zip(names) {
            let Some(number) = number.first_chunk() else { continue };
            crcs.insert(String::from_utf8_lossy(name).into_owned(), self.number(*number));
        }
        crcs
    }
}
