//! What an input is that is neither image, kernel nor config: said in words that help.

/// How much of a file is looked at, in bytes.
const SAMPLE: usize = 64 << 10;
/// Less tells nothing about how bytes are distributed.
const MIN_SAMPLE: usize = 4096;
/// Bits of entropy in a byte; of machine code some 6, of compressed or encrypted data nearly 8.
const ENCRYPTED: f64 = 7.9;

/// Containers of encrypted files, by how they begin.
const CONTAINERS: [(&[u8], &str); 4] = [
    (b"Salted__", "by openssl enc"),
    (b"LUKS\xba\xbe", "with LUKS"),
    (b"age-encryption.org/", "by age"),
    (b"-----BEGIN PGP MESSAGE-----", "with OpenPGP"),
];

/// What `bytes` are and what was expected; None when nothing better can be said than that they
/// are not known.
pub fn describe(bytes: &[u8]) -> Option<String> {
    const EXPECTED: &str = "expected a boot image, a kernel or a kernel config";
    if bytes.is_empty() {
        return Some(format!("is empty, {EXPECTED}"));
    }
    if let Some((_, how)) = CONTAINERS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(format!("is encrypted {how}: decrypt it first"));
    }
    if is_text(&bytes[..bytes.len().min(SAMPLE)]) {
        let line = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
        let line = line.lines().next().unwrap_or_default().to_owned();
        return Some(format!(
            "is text but no kernel config: the first setting must be like CONFIG_KVM=y or \
             \"# CONFIG_KVM is not set\", line 1 is {line:?}"
        ));
    }
    let unknown = "it is encrypted, or compressed in an unknown way";
    looks_encrypted(bytes).then(|| format!("cannot be read: {unknown}; {EXPECTED}"))
}

/// An Android image by its magic: its own error says more.
pub fn begins_as_image(bytes: &[u8]) -> bool {
    [b"ANDROID!", b"VNDRBOOT"].iter().any(|magic| bytes.starts_with(*magic))
}

/// All of it is printable, with line ends and tabs.
pub fn is_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| !matches!(b, 0..9 | 11 | 12 | 14..32))
}

/// Every byte value occurs about as often as every other.
pub fn looks_encrypted(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let mut counts = [0usize; 256];
    sample.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let share = |count: &usize| *count as f64 / sample.len() as f64;
    let present = counts.iter().filter(|count| **count > 0).map(share);
    let entropy: f64 = present.map(|share| -share * share.log2()).sum();
    sample.len() >= MIN_SAMPLE && entropy > ENCRYPTED
}
