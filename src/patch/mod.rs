//! Plan a patch, apply it, undo it.
