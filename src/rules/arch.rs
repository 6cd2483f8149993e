//! Processor architectures, by the names that the kernel gives them.

/// The processor architecture of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 64-bit ARM (`aarch64`).
    Arm64,
    /// 32-bit ARM.
    Arm,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit RISC-V.
    Riscv64,
    /// 32-bit RISC-V.
    Riscv32,
    /// 64-bit LoongArch.
    Loongarch64,
    /// 32-bit LoongArch.
    Loongarch32,
    /// POWER and PowerPC.
    Powerpc,
    /// IBM Z.
    S390,
    /// MIPS.
    Mips,
    /// DEC Alpha.
    Alpha,
    /// ARC.
    Arc,
    /// C-SKY.
    Csky,
    /// Qualcomm's Hexagon.
    Hexagon,
    /// Itanium.
    Ia64,
    /// Motorola 68000.
    M68k,
    /// `MicroBlaze`.
    Microblaze,
    /// Nios II.
    Nios2,
    /// `OpenRISC`.
    Openrisc,
    /// PA-RISC.
    Parisc,
    /// `SuperH`.
    Sh,
    /// SPARC.
    Sparc,
    /// User Mode Linux.
    Um,
    /// Xtensa.
    Xtensa,
}

/// Architectures with their names, other names, and the symbol that only their configs set.
const KNOWN: &[(Arch, &str, &[&str], &str)] = &[
    // User Mode Linux has the symbols of the machine that it runs on, too.
    (Arch::Um, "um", &[], "UML"),
    (Arch::Arm64, "arm64", &["aarch64"], "ARM64"),
    (Arch::X86_64, "x86_64", &[], "X86_64"),
    (Arch::X86, "x86", &["i386"], "X86_32"),
    (Arch::Arm, "arm", &[], "ARM"),
    (Arch::Riscv64, "riscv64", &["riscv"], "RISCV"),
    (Arch::Riscv32, "riscv32", &[], ""),
    (Arch::Loongarch64, "loongarch64", &["loongarch"], "LOONGARCH"),
    (Arch::Loongarch32, "loongarch32", &[], ""),
    (Arch::Powerpc, "powerpc", &["ppc"], "PPC"),
    (Arch::S390, "s390", &["s390x"], "S390"),
    (Arch::Mips, "mips", &[], "MIPS"),
    (Arch::Alpha, "alpha", &[], "ALPHA"),
    (Arch::Arc, "arc", &[], "ARC"),
    (Arch::Csky, "csky", &[], "CSKY"),
    (Arch::Hexagon, "hexagon", &[], "HEXAGON"),
    (Arch::Ia64, "ia64", &[], "IA64"),
    (Arch::M68k, "m68k", &[], "M68K"),
    (Arch::Microblaze, "microblaze", &[], "MICROBLAZE"),
    (Arch::Nios2, "nios2", &[], "NIOS2"),
    (Arch::Openrisc, "openrisc", &[], "OPENRISC"),
    (Arch::Parisc, "parisc", &["parisc64"], "PARISC"),
    (Arch::Sh, "sh", &[], "SUPERH"),
    (Arch::Sparc, "sparc", &["sparc64"], "SPARC"),
    (Arch::Xtensa, "xtensa", &[], "XTENSA"),
];

impl Arch {
    /// The name used in rules, JSON and messages: that of the kernel, except that some names depend on
    /// the word size.
    pub fn name(self) -> &'static str {
        KNOWN.iter().find(|(arch, ..)| *arch == self).map_or("unknown", |(_, name, ..)| name)
    }

    /// The architecture of that name; also takes `aarch64`, `i386` and others.
    pub fn from_name(name: &str) -> Option<Arch> {
        let named = |(_, own, others, _): &&(Arch, &str, &[&str], &str)| {
            *own == name || others.contains(&name)
        };
        KNOWN.iter().find(named).map(|(arch, ..)| *arch)
    }

    /// The architecture whose own symbol (without `CONFIG_`) is set.
    pub(super) fn by_symbol(is_set: impl Fn(&str) -> bool) -> Option<Arch> {
        let own = KNOWN.iter().find(|(.., symbol)| !symbol.is_empty() && is_set(symbol));
        own.map(|(arch, ..)| *arch)
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
