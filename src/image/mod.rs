//! The on-disk formats of boot partitions.
