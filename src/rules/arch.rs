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
    /// 64-bit LoongArch.
    Loongarch64,
    /// POWER and PowerPC.
    Powerpc,
    /// IBM Z.
    S390,
    /// MIPS.
    Mips,
}

impl Arch {
    /// The name used in rules, JSON and messages: that of the kernel, except that the name of `x86`
    /// depends on the word size.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Arm64 => "arm64",
            Arch::Arm => "arm",
            Arch::X86_64 => "x86_64",
            Arch::X86 => "x86",
            Arch::Riscv64 => "riscv64",
            Arch::Loongarch64 => "loongarch64",
            Arch::Powerpc => "powerpc",
            Arch::S390 => "s390",
            Arch::Mips => "mips",
        }
    }

    /// The architecture of that name; also takes `aarch64` and `i386`.
    pub fn from_name(name: &str) -> Option<Arch> {
        Some(match name {
            "arm64" | "aarch64" => Arch::Arm64,
            "arm" => Arch::Arm,
            "x86_64" => Arch::X86_64,
            "x86" | "i386" => Arch::X86,
            "riscv64" => Arch::Riscv64,
            "loongarch64" => Arch::Loongarch64,
            "powerpc" => Arch::Powerpc,
            "s390" => Arch::S390,
            "mips" => Arch::Mips,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
