//! The agent's socket: what is asked there, and what it answers.
//!
//! JSON lines both ways. The agent speaks first: [`protocol::Answer::Hello`]. Nothing that is asked changes anything.

mod answers;
pub mod audience;
pub mod client;
mod complain;
pub(crate) mod file;
mod lines;
pub mod member;
mod outbox;
mod pace;
pub mod protocol;
pub mod server;
mod session;
pub mod wish;
