//! The text of our own rc files.

/// The name of the runtime as a command, and of its service: init of Android 6 and earlier accepts
/// 16 characters at most.
pub(crate) const NAME: &str = "vfiorun";

/// The comment at the top.
pub(crate) fn header() -> String {
    "# Written by vfioboot patch. In recovery, in charger mode and with vfioboot.disable PID 1\n\
     # takes it away before init runs.\n"
        .to_owned()
}

/// Starts the guests once Android is up: then `/data` is decrypted and mounted.
pub(crate) fn service(command: &str, label: &str) -> String {
    format!(
        "\non property:sys.boot_completed=1\n    start {NAME}\n\n\
         service {NAME} {command} autostart\n    class late_start\n    user root\n    group root\n    \
         seclabel {label}\n    disabled\n    oneshot\n"
    )
}
