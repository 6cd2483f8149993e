//! Wire structs with the offsets of their fields.

/// Define a struct for binrw to read and write, and `AT`, the offset of each field in bytes. `from`
/// is the offset of the first field, after the magic. Fields after a semicolon exist only in some
/// versions: `AT.end` is their offset.
macro_rules! wire {
    (
        $(#[$outer:meta])*
        $vis:vis struct $name:ident, $offsets:ident from $start:expr => {
            $( $(#[$inner:meta])* $field_vis:vis $field:ident: $type:ty, )*
            $(; $( $(#[$optional_inner:meta])* $optional_vis:vis $optional:ident: $optional_type:ty, )* )?
        }
    ) => {
        $(#[$outer])*
        $vis struct $name {
            $( $(#[$inner])* $field_vis $field: $type, )*
            $( $( $(#[$optional_inner])* $optional_vis $optional: $optional_type, )* )?
        }

        /// The offsets of the fields, in bytes.
        #[derive(Clone, Copy)]
        #[allow(dead_code, reason = "all fields are listed, but not all offsets are used")]
        pub(crate) struct $offsets {
            $( pub $field: usize, )*
            pub end: usize,
        }

        impl $name {
            pub(crate) const AT: $offsets = {
                let mut at = $start;
                $offsets {
                    $( $field: { let here = at; at += size_of::<$type>(); here }, )*
                    end: at,
                }
            };
        }
    };
}
pub(in crate::image) use wire;
