//! Runs. The guard itself: its conductor, its hands, its control API, and the command line that speaks to it.
//!
//! - [`run`]: brings a guard up and down again;
//! - [`conductor`]: the one task that owns the machine;
//! - [`hands`]: what carries its decisions out;
//! - [`survive`]: how programs outlive it, and how the next guard goes on with them;
//! - [`upgrade`]: how another program takes its place;
//! - [`figures`]: what is counted, for `/metrics` and for collectors;
//! - [`traces`]: what is done, as spans, for collectors;
//! - [`api`]: how others speak to it; [`client`]: how we do;
//! - [`audit`]: who did what, in a chain that shows it when it is changed;
//! - [`preflight`]: what can be known to fail before anything is started; [`doctor`]: what else can go wrong;
//! - [`import`]: what other supervisors are configured with, as a spec; [`export`]: a spec, as native files;
//! - [`install`]: what the OS is told of a guard that becomes its service;
//! - [`cli`]: words in, words out.
//!
//! Deliberately absent: what should happen (`tutela-core`), how an OS does it (`tutela-os`), the texts that
//! others rely on (`tutela-schema`), bytes of output (`tutela-logs`).
#![forbid(unsafe_code)]

pub mod api;
pub mod audit;
pub mod cli;
pub mod client;
pub mod conductor;
pub mod doctor;
pub mod export;
pub mod figures;
pub mod hands;
pub mod import;
pub mod install;
pub mod log_folders;
pub mod logs_view;
pub mod preflight;
pub mod run;
pub mod secrets;
pub mod survive;
pub mod traces;
pub mod upgrade;
