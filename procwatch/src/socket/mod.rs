//! The agent's socket: what is asked there, and what it answers.
//!
//! JSON lines both ways. The agent speaks first: [`Answer::Hello`]. Nothing that is asked changes anything.

pub mod client;
pub mod protocol;
