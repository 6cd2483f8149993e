//! Kernel payloads: containers, version, IKCONFIG, modules.
