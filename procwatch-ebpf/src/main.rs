//! The kernel side of procwatch: one BPF object, one file per family of events.
//!
//! A program looks at the event, asks the policy cells whether anyone cares, and leaves through [`emit`]. What a
//! process costs that nobody has a rule about is the way to that first "no".
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(
    clippy::inline_always,
    reason = "the verifier follows one function best: a pointer's type is lost when it passes through memory"
)]
#![expect(clippy::needless_pass_by_value, reason = "the macros pass a program's context by value")]

mod atomic;
mod cgroup;
mod create;
mod creators;
mod cred;
mod emit;
mod exec;
mod exit;
mod filter;
mod hold;
mod kernel;
mod maps;
mod picture;
mod place;
mod refuse;
mod rules;
mod subject;
mod threads;

/// The helpers that read other tasks' memory are lent to programs under a GPL-compatible licence only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
