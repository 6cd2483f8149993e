//! Kernel modules with symbols, and kernels that export some: made from nothing, no code in them.

/// A module under construction.
#[derive(Clone, Default)]
pub struct Ko {
    info: Vec<String>,
    imports: Vec<(String, Option<u32>)>,
    exports: Vec<(String, bool)>,
}

impl Ko {
    /// A GPL module of this name for the kernel of this release.
    pub fn new(name: &str, release: &str) -> Self {
        let vermagic = format!("vermagic={release} SMP preempt mod_unload aarch64");
        Ko::default().info(&format!("name={name}")).info("license=GPL").info(&vermagic)
    }

    /// One more line of `.modinfo`; a later one of a key counts where there can be one only.
    pub fn info(mut self, line: &str) -> Self {
        self.info.push(line.to_owned());
        self
    }

    /// A symbol that it needs, with its CRC.
    pub fn import(mut self, name: &str, crc: Option<u32>) -> Self {
        self.imports.push((name.to_owned(), crc));
        self
    }

    /// A symbol that it exports.
    pub fn export(mut self, name: &str, gpl: bool) -> Self {
        self.exports.push((name.to_owned(), gpl));
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let info: Vec<u8> =
            self.info.iter().flat_map(|line| [line.as_bytes(), b"\0"].concat()).collect();
        let mut versions = Vec::new();
        for (name, crc) in self.imports.iter().filter_map(|(name, crc)| Some((name, (*crc)?))) {
            let mut entry = u64::from(crc).to_le_bytes().to_vec();
            entry.extend_from_slice(name.as_bytes());
            entry.resize(64, 0);
            versions.extend(entry);
        }
        let (mut names, mut symbols) = (vec![0], vec![0; 24]);
        let mut symbol = |name: &str, section: u16| {
            symbols.extend_from_slice(&(names.len() as u32).to_le_bytes());
            // global, of no type
            symbols.extend_from_slice(&[0x10, 0]);
            symbols.extend_from_slice(&section.to_le_bytes());
            symbols.extend_from_slice(&[0; 16]);
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        };
        self.imports.iter().for_each(|(name, _)| symbol(name, 0));
        for (name, gpl) in &self.exports {
            symbol(&format!("__ksymtab_{name}"), if *gpl { 4 } else { 3 });
        }
        // name, type, link, size of an entry, contents; the numbers of the sections count
        elf(&[
            (".modinfo", 1, 0, 0, &info),
            ("__versions", 1, 0, 0, &versions),
            ("__ksymtab", 1, 0, 0, &[0; 64]),
            ("__ksymtab_gpl", 1, 0, 0, &[0; 64]),
            (".symtab", 2, 6, 24, &symbols),
            (".strtab", 3, 0, 0, &names),
        ])
    }
}

/// A 64-bit little-endian relocatable file for arm64 with these sections, from number 1 on.
fn elf(sections: &[(&str, u32, u32, u64, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut file = vec![0; 64];
    let mut headers = vec![0; 64];
    let shstrtab = (".shstrtab", 3, 0, 0, &[] as &[u8]);
    for (name, kind, link, entry, contents) in sections.iter().copied().chain([shstrtab]) {
        headers.extend_from_slice(&(names.len() as u32).to_le_bytes());
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        let contents = if name == ".shstrtab" { names.clone() } else { contents.to_vec() };
        file.resize(file.len().next_multiple_of(8), 0);
        headers.extend_from_slice(&kind.to_le_bytes());
        headers.extend_from_slice(&[0; 16]);
        headers.extend_from_slice(&(file.len() as u64).to_le_bytes());
        headers.extend_from_slice(&(contents.len() as u64).to_le_bytes());
        headers.extend_from_slice(&link.to_le_bytes());
        headers.extend_from_slice(&1u32.to_le_bytes());
        headers.extend_from_slice(&8u64.to_le_bytes());
        headers.extend_from_slice(&entry.to_le_bytes());
        file.extend(contents);
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len() as u64;
    file.extend(headers);
    let count = sections.len() as u16 + 2;
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..20].copy_from_slice(&[1, 0, 183, 0]);
    file[20] = 1;
    file[40..48].copy_from_slice(&table.to_le_bytes());
    file[52] = 64;
    file[58] = 64;
    file[60..62].copy_from_slice(&count.to_le_bytes());
    file[62..64].copy_from_slice(&(count - 1).to_le_bytes());
    file
}

/// Where the tables of [`kernel_with_entries`] are.
pub const TABLES_AT: usize = 4096;

/// How `struct kernel_symbol` and CRCs looked.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// With the distance to a namespace (from 5.4 on).
    pub namespaces: bool,
    /// With CRCs.
    pub crcs: bool,
    /// CRCs are elsewhere and distances lead to them (`MODULE_REL_CRCS`, 4.11 to 5.18).
    pub relative: bool,
}

/// The CRC that [`kernel_with_exports`] gives a symbol.
pub fn crc_of(name: &str) -> u32 {
    name.bytes().fold(0x9e37_79b9, |crc, byte| {
        crc.rotate_left(5) ^ u32::from(byte).wrapping_mul(0x0100_0193)
    })
}

/// What every kernel exports, enough of it for a table to be believed.
pub fn usual_exports() -> Vec<(String, bool)> {
    let more = (0..200).map(|n| (format!("some_function_{n:03}"), n % 2 == 1));
    let usual =
        ["kfree", "memcpy", "param_ops_int", "_printk"].map(|name| (name.to_owned(), false));
    usual.into_iter().chain(more).collect()
}

/// Machine code of no meaning with the tables that `RO_DATA` of `vmlinux.lds.h` lays out. `exports`
/// are names and whether they are for GPL modules; a name `x@NS` is in the namespace `NS`.
pub fn kernel_with_exports(exports: &[(String, bool)], form: Form) -> Vec<u8> {
    let mut sorted = exports.to_vec();
    sorted.sort_by_key(|(name, gpl)| (*gpl, name.clone()));
    let names: Vec<&str> = sorted.iter().map(|(name, _)| name.as_str()).collect();
    kernel_with_entries(&names, form)
}

/// The same with the entries in this order; its first table is at [`TABLES_AT`].
pub fn kernel_with_entries(sorted: &[&str], form: Form) -> Vec<u8> {
    let mut kernel: Vec<u8> =
        (0..TABLES_AT as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let start = kernel.len();
    let stride = if form.namespaces { 12 } else { 8 };
    let crcs_at = start + sorted.len() * stride;
    let strings_at = crcs_at + if form.crcs { sorted.len() * 4 } else { 0 };
    let (mut strings, mut places) = (vec![0], Vec::new());
    for name in sorted {
        let (name, namespace) = name.split_once('@').unwrap_or((name, ""));
        let mut put = |text: &str| {
            let at = strings_at + strings.len();
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        places.push((put(name), put(namespace)));
    }
    strings.resize(strings.len().next_multiple_of(4), 0);
    let far_crcs_at = strings_at + strings.len();
    let distance = |from: usize, to: usize| (to as i32).wrapping_sub(from as i32).to_le_bytes();
    for (name, namespace) in &places {
        let at = kernel.len();
        kernel.extend(distance(at, 64));
        kernel.extend(distance(at + 4, *name));
        if form.namespaces {
            kernel.extend(distance(at + 8, *namespace));
        }
    }
    let crc = |name: &str| crc_of(name.split('@').next().unwrap()).to_le_bytes();
    if form.crcs {
        for (i, name) in sorted.iter().enumerate() {
            let at = kernel.len();
            kernel.extend(match form.relative {
                true => distance(at, far_crcs_at + i * 4),
                false => crc(name),
            });
        }
    }
    kernel.extend(strings);
    if form.relative {
        sorted.iter().for_each(|name| kernel.extend(crc(name)));
    }
    kernel.resize(kernel.len() + 4096, 0x5a);
    kernel
}
