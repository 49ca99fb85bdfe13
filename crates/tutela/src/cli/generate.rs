//! Texts made from the code: the schema, completions, and the generated files of the repository.

use super::words::Cli;
use super::{Code, DONE, FAILED, report};
use clap::CommandFactory;
use std::fmt::Write;
use std::path::Path;

pub fn schema() -> Code {
    if report::print(&pretty(&tutela_schema::spec::schema())) { DONE } else { FAILED }
}

pub fn completions(shell: clap_complete::Shell) -> Code {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tutela", &mut script);
    if report::print(&String::from_utf8_lossy(&script)) { DONE } else { FAILED }
}

/// Writes what the repository keeps of the code's own texts; `cargo xtask generated` compares them.
pub fn generate(dir: &Path) -> Code {
    let files = [
        ("schema/spec.schema.json", pretty(&tutela_schema::spec::schema())),
        ("schema/openapi.json", pretty(&tutela_schema::api::openapi())),
        ("docs/reference/spec.md", tutela_schema::spec::reference_markdown()),
        ("docs/reference/cli.md", cli_markdown()),
    ];
    for (name, text) in files {
        let path = dir.join(name);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        if let Err(error) = written {
            report::error(&format!("failed to write {}: {error}", path.display()), None);
            return FAILED;
        }
    }
    DONE
}

fn pretty(value: &serde_json::Value) -> String {
    // Made of what JSON has: there is nothing in it that it cannot hold.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

fn cli_markdown() -> String {
    let mut out = String::from(
        "# The command line\n\n\
         This page is generated from the program; `cargo xtask generate` writes it anew.\n\n\
         Exit codes: 0 done; 1 failed; 2 the words or the spec were wrong; 3 `status` of something not running;\n\
         4 no such guard or service; 5 not allowed. What programs read goes to standard output, alone; what people\n\
         read goes to standard error.\n",
    );
    let mut root = Cli::command().term_width(100);
    root.build();
    let help = remote_help(&mut root);
    let _ = write!(out, "\n## Before any command\n\n```text\n{help}\n```\n");
    for command in root.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        let name = command.get_name().to_owned();
        section(&mut out, &name, command);
        for inner in command.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
            let name = format!("{name} {}", inner.get_name());
            section(&mut out, &name, inner);
        }
    }
    out
}

/// The part of the program's own help that is not about single commands.
fn remote_help(root: &mut clap::Command) -> String {
    let help = root.render_long_help().to_string();
    let lines = help.lines().map(str::trim_end).skip_while(|line| !line.starts_with("A guard on another computer"));
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn section(out: &mut String, name: &str, command: &mut clap::Command) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    // A page is text of ours, so a String takes it.
    let _ = write!(out, "\n## tutela {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end());
}
