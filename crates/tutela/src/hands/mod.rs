//! Hands: they carry out what the conductor's machines decide, and tell what came of it.
//!
//! Each is a thread or a task of its own, because each may have to wait for something that the conductor
//! must not wait for: a disk, a program, a peer. Between them and the conductor stand bounded queues.
//!
//! - [`spawner`]: starts programs; [`launch`] is what it starts them with;
//! - [`probes`]: questions over the network; [`questions`]: which of them are asked, and where;
//! - [`alerts`]: what an operator is told, at least once;
//! - [`otlp`]: figures, spans and records on their way to a collector;
