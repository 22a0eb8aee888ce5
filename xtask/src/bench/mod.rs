//! `cargo xtask bench`: figures that anyone can repeat.

pub(crate) mod account;
