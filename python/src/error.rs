//! The library's errors as exceptions: classes below `Error`. `kind` is the name of the case, and `file`
//! the file that it is about, where that is not the one that was asked for.

use pyo3::PyTypeInfo;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use vfioboot::audit::{self, CheckError};
use vfioboot::{bootset, container, image, kernel, ramdisk, rules};

create_exception!(vfioboot, Error, PyException, "What vfioboot cannot do.");
create_exception!(vfioboot, FileError, Error, "Neither an image, a kernel nor a config.");
create_exception!(vfioboot, ImageError, Error, "An image that cannot be read.");
create_exception!(vfioboot, KernelError, Error, "No kernel, or one that cannot be read.");
create_exception!(vfioboot, ConfigError, Error, "A kernel config that cannot be used.");
create_exception!(vfioboot, ArchitectureError, Error, "The profile has no rules for the kernel.");
create_exception!(vfioboot, ContainerError, Error, "A container that cannot be read.");
create_exception!(vfioboot, RamdiskError, Error, "A ramdisk that cannot be read.");
create_exception!(vfioboot, ModulesError, Error, "Kernel modules that cannot be read.");
create_exception!(vfioboot, ProfileError, Error, "A profile that cannot be used.");

/// Add the classes to the module.
pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    for class in [
        py.get_type::<Error>(),
        py.get_type::<FileError>(),
        py.get_type::<ImageError>(),
        py.get_type::<KernelError>(),
        py.get_type::<ConfigError>(),
        py.get_type::<ArchitectureError>(),
        py.get_type::<ContainerError>(),
        py.get_type::<RamdiskError>(),
        py.get_type::<ModulesError>(),
        py.get_type::<ProfileError>(),
    ] {
        module.add(class.name()?, class)?;
    }
    Ok(())
}

/// An error of the library as an exception.
pub(crate) trait Raise {
    /// The exception.
    fn raise(&self) -> PyErr;
}

fn exception<T: PyTypeInfo>(
    kind: &'static str,
    file: Option<&str>,
    error: &dyn std::error::Error,
) -> PyErr {
    let message = chain(error);
    Python::attach(|py| {
        let raised = PyErr::from_type(T::type_object(py), message);
        let value = raised.value(py);
        let set = value.setattr("kind", kind).and_then(|()| value.setattr("file", file));
        set.map_or_else(|failed| failed, |()| raised)
    })
}

/// An error and its causes on one line. A cause that the text already has is not repeated.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(own) = cause {
        let own_text = own.to_string();
        if !text.contains(&own_text) {
            text = format!("{text}: {own_text}");
        }
        cause = own.source();
    }
    text
}

impl Raise for CheckError {
    fn raise(&self) -> PyErr {
        let (image, kernel) = (exception::<ImageError>, exception::<KernelError>);
        let (config, file) = (exception::<ConfigError>, exception::<FileError>);
        match self {
            CheckError::Open(_) => file("open", None, self),
            CheckError::Beside { file: name, error } => match &**error {
                CheckError::Container(_) => exception::<ContainerError>("beside", Some(name), self),
                _ => file("beside", Some(name), self),
            },
            CheckError::Container(_) => exception::<ContainerError>("container", None, self),
            CheckError::Directory => file("directory", None, self),
            CheckError::Foreign(_) => file("foreign", None, self),
            CheckError::Empty => file("empty", None, self),
            CheckError::Image(_) => image("image", None, self),
            CheckError::ImageBeside { file, .. } => image("image_beside", Some(file), self),
            CheckError::ConfigBeside { file, .. } => config("config_beside", Some(file), self),
            CheckError::Kernel(_) => kernel("kernel", None, self),
            CheckError::Ramdisk => kernel("ramdisk", None, self),
            CheckError::ConfigAlone => kernel("config_alone", None, self),
            CheckError::WithoutKernel(_) => kernel("without_kernel", None, self),
            CheckError::EncryptedKernel => kernel("encrypted_kernel", None, self),
            CheckError::NotLinux(_) => kernel("not_linux", None, self),
            CheckError::Damaged(_) => kernel("damaged", None, self),
            CheckError::Config(_) => config("config", None, self),
            CheckError::TwoConfigs => config("two_configs", None, self),
            CheckError::ForeignConfig { .. } => config("foreign_config", None, self),
            CheckError::Architecture { .. } => {
                exception::<ArchitectureError>("architecture", None, self)
            }
            CheckError::Modules(_) => exception::<ModulesError>("modules", None, self),
            _ => exception::<Error>("other", None, self),
        }
    }
}

impl Raise for audit::check::ModulesError {
    fn raise(&self) -> PyErr {
        exception::<ModulesError>("modules", None, self)
    }
}

impl Raise for rules::ProfileError {
    fn raise(&self) -> PyErr {
        let kind = match self {
            rules::ProfileError::NoSuchProfile(_) => "no_such_profile",
            _ => "profile",
        };
        exception::<ProfileError>(kind, None, self)
    }
}

impl Raise for kernel::config_file::ConfigFileError {
    fn raise(&self) -> PyErr {
        exception::<ConfigError>("config", None, self)
    }
}

impl Raise for container::Error {
    fn raise(&self) -> PyErr {
        exception::<ContainerError>("container", None, self)
    }
}

impl Raise for image::Error {
    fn raise(&self) -> PyErr {
        exception::<ImageError>("image", None, self)
    }
}

impl Raise for bootset::Error {
    fn raise(&self) -> PyErr {
        match self {
            bootset::Error::Config { file, .. } => {
                exception::<ConfigError>("config", Some(file), self)
            }
            bootset::Error::Image { file, .. } => {
                exception::<ImageError>("image", Some(file), self)
            }
            _ => exception::<Error>("other", None, self),
        }
    }
}

impl Raise for kernel::Error {
    fn raise(&self) -> PyErr {
        exception::<KernelError>("kernel", None, self)
    }
}

impl Raise for ramdisk::Error {
    fn raise(&self) -> PyErr {
        exception::<RamdiskError>("ramdisk", None, self)
    }
}
