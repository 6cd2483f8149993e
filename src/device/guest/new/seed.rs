//! The seed of a cloud image: what cloud-init sets up at the first boot, on a disk that it finds by its label
//! (<https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html>).

/// Blocks of ISO 9660 (ECMA-119), in bytes.
const BLOCK: usize = 2048;
/// Where the volume descriptors begin; before them is the system's own area.
const DESCRIPTORS: usize = 16;
/// Both forms of the path table, the root directory, then files.
const TABLES: u32 = DESCRIPTORS as u32 + 2;
const ROOT: u32 = TABLES + 2;
const FILES: u32 = ROOT + 1;
/// The label that cloud-init looks for.
const LABEL: &str = "cidata";

/// Who can log in to the guest, and how.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// A user to make; the image's own when not given.
    pub user: Option<String>,
    /// Public SSH keys, one a line.
    pub keys: Vec<String>,
}

/// The image of a seed for a guest: a file system with `user-data` and `meta-data`.
pub fn image(name: &str, login: &Login) -> Vec<u8> {
    let user_data = user_data(name, login);
    // cloud-init sets a guest up again when this changes.
    let id = user_data
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let meta_data = format!("instance-id: {name}-{id:08x}\nlocal-hostname: {name}\n");
    // In the order of their names. Linux shows them in lower case, without what is behind the name.
    iso9660(&[("META-DATA.;1", &meta_data), ("USER-DATA.;1", &user_data)])
}

fn user_data(name: &str, login: &Login) -> String {
    let mut text = format!("#cloud-config\nhostname: {name}\n");
    let keys = |indent: &str| {
        let keys = login.keys.iter().map(|key| format!("{indent}  - {}\n", quoted(key)));
        format!("{indent}ssh_authorized_keys:\n{}", keys.collect::<String>())
    };
    match &login.user {
        None => text += &keys(""),
        Some(user) => {
            text += &format!(
                "users:\n  - name: {}\n    shell: /bin/bash\n    \
                 sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n    lock_passwd: true\n{}",
                quoted(user),
                keys("    ")
            );
        }
    }
    text
}

/// A text as YAML reads it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A file system with these files in its root directory.
fn iso9660(files: &[(&str, &str)]) -> Vec<u8> {
    let mut root = [record(b"\0", ROOT, BLOCK, true), record(b"\x01", ROOT, BLOCK, true)].concat();
    let (mut contents, mut next) = (Vec::new(), FILES);
    for (name, text) in files {
        root.extend(record(name.as_bytes(), next, text.len(), false));
        contents.extend(text.as_bytes());
        contents.resize(contents.len().next_multiple_of(BLOCK), 0);
        next = FILES + (contents.len() / BLOCK) as u32;
    }
    let mut image = vec![0; DESCRIPTORS * BLOCK];
    let (little, big) = (
        path_table(ROOT.to_le_bytes(), 1_u16.to_le_bytes()),
        path_table(ROOT.to_be_bytes(), 1_u16.to_be_bytes()),
    );
    for block in [primary(next), b"\xffCD001\x01".to_vec(), little, big, root] {
        image.extend(&block);
        image.resize(image.len().next_multiple_of(BLOCK), 0);
    }
    image.extend(contents);
    image
}

/// The primary volume descriptor of a volume of so many blocks.
fn primary(blocks: u32) -> Vec<u8> {
    let mut text = b"\x01CD001\x01\0".to_vec();
    text.extend([b' '; 32]);
    text.extend(format!("{LABEL:32}").bytes());
    text.extend([0; 8]);
    text.extend(both(blocks));
    text.extend([0; 32]);
    // One volume of one; the size of a block.
    [1, 1, BLOCK as u16].iter().for_each(|number| text.extend(both_short(*number)));
    text.extend(both(PATH_TABLE));
    text.extend([TABLES.to_le_bytes(), [0; 4], (TABLES + 1).to_be_bytes(), [0; 4]].concat());
    text.extend(record(b"\0", ROOT, BLOCK, true));
    // Who made it, and three names of files.
    text.extend([b' '; 4 * 128 + 3 * 37]);
    for _ in 0..4 {
        // No date: digits, and the time zone.
        text.extend(b"0000000000000000\0");
    }
    text.push(1);
    text
}

/// The size of [`path_table`], in bytes.
const PATH_TABLE: u32 = 10;

/// The path table with its one directory, the root, which is its own parent.
fn path_table(place: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    [&[1, 0][..], &place, &parent, &[0, 0]].concat()
}

/// A directory's record of a file or a directory.
fn record(name: &[u8], place: u32, length: usize, directory: bool) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both(place));
    record.extend(both(length as u32));
    // 1 January 2000, for the same bytes each time.
    record.extend([100, 1, 1, 0, 0, 0, 0]);
    record.extend([u8::from(directory) << 1, 0, 0]);
    record.extend(both_short(1));
    record.push(name.len() as u8);
    record.extend(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = record.len() as u8;
    record
}

/// A number in both byte orders.
fn both(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn both_short(number: u16) -> [u8; 4] {
    let [low, high] = number.to_le_bytes();
    [low, high, high, low]
}
