//! The address and the VLAN of a virtual function of a card, set through its physical one
//! (`IFLA_VFINFO_LIST`, `include/uapi/linux/if_link.h`).

use std::io;

use super::netlink::{attribute, change};

const SET_LINK: u16 = 19;
/// `struct ifinfomsg`
const LINK_HEADER: usize = 16;
const FUNCTIONS: u16 = 22;
const FUNCTION: u16 = 1;
const MAC: u16 = 1;
const VLAN: u16 = 2;
/// `MAX_ADDR_LEN`
const ADDRESS_SIZE: usize = 32;

/// Sets what is given, of the function `number` of the card whose interface has the number `index`.
///
/// # Errors
/// As the kernel answers: `EOPNOTSUPP` where the driver of the card knows no such thing.
pub(crate) fn set_function(
    index: u32,
    number: u32,
    mac: Option<[u8; 6]>,
    vlan: Option<u16>,
) -> io::Result<()> {
    let mut of_function = Vec::new();
    if let Some(mac) = mac {
        let mut value = number.to_ne_bytes().to_vec();
        value.extend(mac);
        value.resize(4 + ADDRESS_SIZE, 0);
        of_function.extend(attribute(MAC, &value));
    }
    if let Some(vlan) = vlan {
        let words = [number, u32::from(vlan), 0];
        let value: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        of_function.extend(attribute(VLAN, &value));
    }
    let list = attribute(FUNCTIONS, &attribute(FUNCTION, &of_function));
    let mut body = vec![0; LINK_HEADER];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body.extend(list);
    change(SET_LINK, &body)
}
