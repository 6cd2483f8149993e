//! What std asks an unwinder for: a panic's backtrace, and what a frame needs for being unwound.
//!
//! The static program has no unwind tables and aborts, so that there is nothing to be seen and nothing
//! to be unwound. Answered here, that does not bring along a whole unwinder, and a `printf` for its
//! complaints: 3 % of the program.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK` of the Itanium C++ ABI.
const END_OF_STACK: c_int = 5;

/// There is no frame.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Functions that are called for a frame, which there is none of: only so that nobody looks for them
/// elsewhere. All of them give an address.
macro_rules! of_a_frame {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(_context: *mut c_void, _more: usize, _value: usize) -> usize {
                0
            }
        )*
    };
}

of_a_frame! {
    _Unwind_GetIP _Unwind_GetIPInfo _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart
    _Unwind_GetTextRelBase _Unwind_GetDataRelBase _Unwind_SetGR _Unwind_SetIP
}
