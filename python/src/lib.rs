//! The Python module `vfioboot._native`: the library's audit and images for Python.
//!
//! | file | subject |
//! |---|---|
//! | `arguments` | what Python gives, as the library's options |
//! | `check` | the checks |
//! | `report` | the report on an input, and its findings |
//! | `image` | boot images: header, sections, ramdisks, config |
//! | `rows` | findings as Arrow rows |
//! | `capsule` | Arrow's interface for Python |
//! | `error` | the library's errors as exceptions |

mod arguments;
mod capsule;
mod check;
mod error;
mod image;
mod report;
mod rows;

use pyo3::prelude::*;

/// What the package is made of.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    error::add(module)?;
    module.add_class::<arguments::Profile>()?;
    module.add_class::<report::Report>()?;
    module.add_class::<report::Finding>()?;
    module.add_class::<image::BootImage>()?;
    module.add_class::<image::Section>()?;
    module.add_class::<image::RamdiskEntry>()?;
    module.add_class::<rows::Rows>()?;
    module.add("_schema", Py::new(py, rows::Schema)?)?;
    module.add_class::<check::Checker>()?;
    module.add_function(wrap_pyfunction!(rows::rows, module)?)?;
    Ok(())
}
