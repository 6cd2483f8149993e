//! Boot images: header, sections, ramdisks, config.

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use vfioboot::bootset::{BootSet, File};
use vfioboot::compression::Budget;
use vfioboot::container::{self, Choice, Kept, Memory};
use vfioboot::image::{Image, RegionKind, Value, text_of};
use vfioboot::ramdisk::cpio::FileType;
use vfioboot::ramdisk::{Entries, Limits};

use crate::error::Raise;

/// A boot, vendor_boot or init_boot image, a bare kernel or ramdisk, or the only image in a container.
#[pyclass(frozen, module = "vfioboot")]
pub(crate) struct BootImage {
    name: String,
    bytes: Bytes,
}

enum Bytes {
    Given(PyBackedBytes),
    Unpacked(Kept),
}

/// A section of an image.
#[pyclass(frozen, get_all, module = "vfioboot")]
pub(crate) struct Section {
    name: &'static str,
    offset: usize,
    size: usize,
}

/// A file in a ramdisk.
#[pyclass(frozen, get_all, module = "vfioboot")]
pub(crate) struct RamdiskEntry {
    path: Vec<u8>,
    r#type: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    size: u32,
    mtime: u32,
    segment: usize,
}

impl BootImage {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Given(bytes) => bytes,
            Bytes::Unpacked(bytes) => (**bytes).as_ref(),
        }
    }

    /// Call `read` with the image, without the interpreter, and with a budget of what is unpacked.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        read: impl Send + FnOnce(&BootSet<'_>, &Image<'_>) -> PyResult<T>,
    ) -> PyResult<T> {
        py.detach(|| {
            let bytes = self.bytes();
            let _scope = Budget::for_input(bytes.len() as u64).enter();
            let set = BootSet::new([File::new(self.name.clone(), bytes)]);
            let set = set.map_err(|error| error.raise())?;
            let [image] = set.images() else { return Err(PyKeyError::new_err("no image")) };
            read(&set, image)
        })
    }
}

#[pymethods]
impl BootImage {
    #[new]
    #[pyo3(signature = (data, name="image"))]
    fn new(py: Python<'_>, data: PyBackedBytes, name: &str) -> PyResult<Self> {
        let inside = py.detach(|| {
            let _scope = Budget::for_input(data.len() as u64).enter();
            container::read(&data, name, Choice::Only, &Memory).map_err(|error| error.raise())
        })?;
        let bytes = match inside {
            container::Given::Plain => Bytes::Given(data),
            container::Given::Images(images) => match images.into_iter().next() {
                Some(image) => Bytes::Unpacked(image.bytes),
                None => Bytes::Given(data),
            },
        };
        let image = BootImage { name: name.to_owned(), bytes };
        // What cannot be read is an error now.
        image.with(py, |_, _| Ok(()))?;
        Ok(image)
    }

    #[getter]
    fn kind(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with(py, |_, image| Ok(image.kind().as_str()))
    }

    #[getter]
    fn size(&self) -> usize {
        self.bytes().len()
    }

    #[getter]
    fn header<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let image = Image::parse(self.bytes());
        let Some(header) = image.as_ref().ok().and_then(Image::header) else { return Ok(None) };
        let fields = PyDict::new(py);
        for field in header.fields() {
            match field.value {
                Value::U32(number) => fields.set_item(field.name, number)?,
                Value::U64(number) => fields.set_item(field.name, number)?,
                Value::Text(text) => {
                    fields.set_item(field.name, String::from_utf8_lossy(text_of(text)))?;
                }
                Value::Bytes(bytes) => fields.set_item(field.name, PyBytes::new(py, bytes))?,
            }
        }
        Ok(Some(fields))
    }

    #[getter]
    fn cmdline(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.with(py, |_, image| {
            let header = image.header();
            Ok(header.map(|own| String::from_utf8_lossy(&own.cmdline()).into_owned()))
        })
    }

    #[getter]
    fn sections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = self.with(py, |_, image| {
            let section = |region: &vfioboot::image::Region| match region.kind {
                RegionKind::Section(name) => {
                    Some(Section { name: name.as_str(), offset: region.offset, size: region.size })
                }
                _ => None,
            };
            Ok(image.file_regions().iter().filter_map(section).collect::<Vec<_>>())
        })?;
        let sections = PyDict::new(py);
        for section in found {
            sections.set_item(section.name, Py::new(py, section)?)?;
        }
        Ok(sections)
    }

    fn section<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        let missing = || PyKeyError::new_err(format!("the image has no section {name:?}"));
        let range = self.with(py, |_, image| {
            let regions = image.file_regions();
            let mut own = regions.iter().filter(|region| region.kind.as_str() == name);
            let found = own.find(|region| matches!(region.kind, RegionKind::Section(_)));
            found.map(|region| (region.offset, region.size)).ok_or_else(missing)
        })?;
        let bytes = self.bytes().get(range.0..range.0 + range.1).ok_or_else(missing)?;
        Ok(PyBytes::new(py, bytes))
    }

    fn ramdisks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = self.with(py, |set, _| {
            let mut found = Vec::new();
            for ramdisk in set.ramdisks() {
                let entries = entries(ramdisk.bytes).map_err(|error| error.raise())?;
                found.push((ramdisk.spot.to_string(), entries));
            }
            Ok(found)
        })?;
        let ramdisks = PyDict::new(py);
        for (name, entries) in found {
            ramdisks.set_item(name, entries)?;
        }
        Ok(ramdisks)
    }

    fn config(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.with(py, |set, _| {
            let Some(kernel) = set.parse_kernel() else { return Ok(None) };
            let scan = kernel.and_then(|own| own.scan()).map_err(|error| error.raise())?;
            Ok(scan.ikconfig.map(|own| String::from_utf8_lossy(&own.text).into_owned()))
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<vfioboot.BootImage {:?}: {}>", self.name, self.kind(py)?))
    }
}

/// The entries of a ramdisk, in order.
fn entries(ramdisk: &[u8]) -> Result<Vec<RamdiskEntry>, vfioboot::ramdisk::Error> {
    let mut entries = Entries::new(ramdisk, Limits::default());
    let mut found = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        if entry.is_trailer() {
            continue;
        }
        let header = &entry.header;
        found.push(RamdiskEntry {
            path: entry.path().to_vec(),
            r#type: kind(entry.file_type()),
            mode: header.mode & 0o7777,
            uid: header.uid,
            gid: header.gid,
            size: header.filesize,
            mtime: header.mtime,
            segment: entries.segment(),
        });
    }
    Ok(found)
}

fn kind(own: FileType) -> &'static str {
    match own {
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::CharDevice => "char_device",
        FileType::BlockDevice => "block_device",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Regular => "regular",
        FileType::Unknown => "unknown",
    }
}
