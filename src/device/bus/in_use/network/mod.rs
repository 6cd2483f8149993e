//! The network: which cards the ways out, servers and the present session need.
//!
//! | module | subject |
//! |---|---|
//! | `interfaces` | the interfaces there are |
//! | `table`, `rtnetlink`, `routes` | the routing tables, asked of the kernel or read from proc |
//! | `netlink` | messages of netlink |
//! | `functions` | addresses and VLANs of virtual functions |
//! | `footing` | what an interface stands on, down to the cards |
//! | `sockets` | the TCP connections of processes |
//! | `session` | where the present session came from |
//! | `servers` | disks and filesystems that are on the network |
//! | `wireguard` | the far ends of WireGuard's tunnels |
//! | `ways` | what the device of a card is needed for |

mod footing;
pub(super) mod functions;
mod interfaces;
mod netlink;
mod routes;
mod rtnetlink;
mod servers;
mod session;
mod sockets;
mod table;
pub(crate) mod ways;
mod wireguard;
