//! `procwatch top`: a client of the agent's socket that shows processes by their threads.
//!
//! [`model`] is what is known and what the person chose, [`view`] draws it into cells, and neither does anything else.
//! [`source`] brings the agent's answers, [`keys`] the person's orders, [`work`] carries out those that do something, and
//! [`run`] is the loop between them and the [`screen`].

pub mod keys;
pub mod mailbox;
pub mod model;
pub mod run;
#[cfg(test)]
pub(crate) mod samples;
pub mod screen;
pub mod signals;
pub mod source;
pub mod view;
pub mod work;
