//! Structs of bytes in a file that know where their fields are.

/// Define a struct for binrw to read and write, and `AT`, the offset of each field in bytes. `from`
/// is where the first field is: after the magic. Fields after a semicolon are there in some versions
/// only: `AT.end` is where they start.
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

        /// Where the fields are, in bytes.
        #[derive(Clone, Copy)]
        // It has all fields, and nobody asks for every one.
        #[allow(dead_code)]
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
