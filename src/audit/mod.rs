//! A kernel config and rules in, findings out.
