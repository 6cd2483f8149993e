//! Command lines, mostly odd.

use super::random::Random;

const PIECES: [&[u8]; 24] = [
    b"a", b"quiet", b"root", b"k-a", b"k_a", b"=", b"=", b"=", b"\"", b"\"", b"--", b"-", b" ",
    b" ", b"  ", b"\t", b"\n", b"\x0b", b"\xa0", b"x y", b",", b"'", b"\xe9", b"\x01",
];

/// A line without a NUL.
pub fn line(random: &mut Random) -> Vec<u8> {
    let mut line = Vec::new();
    for _ in 0..random.below(10) {
        match random.below(8) {
            0 => (0..random.below(9)).for_each(|_| line.extend_from_slice(random.pick(&PIECES))),
            1 => line.extend_from_slice(random.pick(&[&b"--"[..], b"\"--\"", b"--=", b"---"])),
            2 => line.extend_from_slice(b"\"a b=c d\""),
            3 => line.extend_from_slice(b"dyndbg=\"file a +p\""),
            _ => {
                line.extend_from_slice(random.pick(&PIECES));
                line.push(b'=');
                line.extend_from_slice(random.pick(&PIECES));
            }
        }
        line.extend_from_slice(random.pick(&[&b" "[..], b" ", b" ", b"  ", b"\t", b"\xa0", b""]));
    }
    if random.once_in(3) {
        random.damage(&mut line, b" =\"\"-_a\t\xa0\n");
    }
    // A NUL ends the line for the kernel; whoever takes ours out of its field ends it there.
    line.retain(|byte| *byte != 0);
    line
}
