//! The flattened device tree as the kernel shows it: a directory for each node, a file for each
//! property (`Documentation/ABI/testing/sysfs-firmware-ofw`, Devicetree Specification 0.4).

use crate::device::sys::host::Host;

/// Where it is; systems without one have no such directory.
pub(crate) const BASE: &str = "sys/firmware/devicetree/base";

/// Deeper than any bus of a board is nested.
const DEPTH: usize = 6;

/// We ask for no property longer than this.
const PROPERTY_LIMIT: u64 = 16 * 1024;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its path below the root node: `soc/pcie@fe150000`.
    pub(crate) path: String,
}

impl Node {
    /// Its own name: `pcie@fe150000`.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it has the property.
    pub(crate) fn has(&self, host: &Host, property: &str) -> bool {
        host.exists(&self.file(property))
    }

    /// The bytes of a property.
    pub(crate) fn bytes(&self, host: &Host, property: &str) -> Option<Vec<u8>> {
        host.bytes(&self.file(property), PROPERTY_LIMIT)
    }

    /// A property that consists of 32-bit numbers.
    pub(crate) fn cells(&self, host: &Host, property: &str) -> Option<Vec<u32>> {
        let bytes = self.bytes(host, property)?;
        let (cells, _) = bytes.as_chunks::<4>();
        Some(cells.iter().map(|cell| u32::from_be_bytes(*cell)).collect())
    }

    /// A property that consists of texts.
    pub(crate) fn texts(&self, host: &Host, property: &str) -> Vec<String> {
        let bytes = self.bytes(host, property).unwrap_or_default();
        let texts = bytes.split(|byte| *byte == 0).filter(|text| !text.is_empty());
        texts.map(|text| String::from_utf8_lossy(text).trim_end().to_owned()).collect()
    }

    /// Whether it is in use: `status` is `okay`, or there is none (section 2.3.4).
    pub(crate) fn is_enabled(&self, host: &Host) -> bool {
        let status = self.texts(host, "status");
        status.first().is_none_or(|status| status == "okay" || status == "ok")
    }

    /// What others name it by.
    pub(crate) fn phandle(&self, host: &Host) -> Option<u32> {
        let own = self.cells(host, "phandle").or_else(|| self.cells(host, "linux,phandle"));
        own?.first().copied()
    }

    /// Itself and the nodes that it is in, the nearest first.
    pub(crate) fn and_above(&self) -> impl Iterator<Item = Node> {
        let ends = self.path.match_indices('/').map(|(at, _)| at).rev();
        let paths = std::iter::once(self.path.len()).chain(ends);
        let nodes: Vec<Node> =
            paths.map(|end| Node { path: self.path[..end].to_owned() }).collect();
        nodes.into_iter()
    }

    fn file(&self, property: &str) -> String {
        format!("{BASE}/{}/{property}", self.path)
    }
}

/// All nodes, parents before their children.
pub(crate) fn nodes(host: &Host) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut open = vec![(String::new(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let path = |name: &str| match directory.is_empty() {
            true => name.to_owned(),
            false => format!("{directory}/{name}"),
        };
        let names = host.directories(&format!("{BASE}/{directory}"));
        let children: Vec<String> = names.iter().map(|name| path(name)).collect();
        if depth + 1 < DEPTH {
            open.extend(children.iter().map(|child| (child.clone(), depth + 1)));
        }
        nodes.extend(children.into_iter().map(|path| Node { path }));
    }
    nodes.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    nodes
}
