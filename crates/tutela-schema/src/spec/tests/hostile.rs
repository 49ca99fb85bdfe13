//! Text that nobody meant as a spec: it is refused, and never costs more than its length.

use super::*;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Words that lead deep into the reader.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "name",
        "services",
        "a",
        "b",
        "command",
        "ready",
        "http",
        "stop",
        "ladder",
        "restart",
        "delay",
        "env",
        "needs",
        "alerts",
        "on",
        "windows",
        "linux",
        "instances",
        "=",
        "=",
        "=",
        ".",
        ".",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        ",",
        "\n",
        "\n",
        "\"",
        "\"x\"",
        "\"${A:1}\"",
        "\"${instance}\"",
        "\"5s\"",
        "\"h:1\"",
        "1",
        "1.5",
        "inf",
        "true",
        "2026-01-01",
        "'",
        "\"\"\"",
        "#",
        "\\u0000",
        "\"\\u0000\"",
        "é",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

fn look(text: &[u8]) {
    for os in [Os::Linux, Os::Windows] {
        match Case::new(text).file("/srv/.env", text).os(os).read() {
            Ok(loaded) => drop(loaded.resolved()),
            Err(refused) => {
                for it in refused.diagnostics {
                    if let Some(origin) = &it.origin {
                        assert!(origin.source.get(origin.span.clone()).is_some(), "{it}");
                        assert!(origin.line > 0 && origin.column > 0);
                        let _ = origin.line_text();
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        look(&bytes);
    }

    #[test]
    fn no_words_make_the_reader_panic(text in words()) {
        look(text.as_bytes());
        look(format!("name = \"s\"\n[services.a]\ncommand = \"a\"\nenv_files = [\".env\"]\n{text}").as_bytes());
    }

    #[test]
    fn no_value_of_any_key_makes_the_reader_panic(
        row in prop::sample::select(super::super::reference::rows().into_iter().map(|row| row.key).collect::<Vec<_>>()),
        value in "[-0-9a-z\\[\\]{}\"$:. %]{0,20}",
    ) {
        let key = row.replace("NAME", "a").replace("[]", "");
        look(format!("{key} = {value}\n").as_bytes());
        look(format!("{key} = \"{value}\"\n").as_bytes());
    }
}

#[test]
fn nesting_costs_no_stack() {
    for text in [
        format!("a = {}", "[".repeat(500_000)),
        format!("a = {}", "{a=".repeat(300_000)),
        format!("{}a = 1", "a.".repeat(500_000)),
        format!("[{}a]", "a.".repeat(500_000)),
        format!("services.a.{}a = 1", "a.".repeat(60)),
        format!("services.a.cwd = \"{}\"", "${A:".repeat(100_000)),
        format!("services.a.ready.log = \"{}\"", "(".repeat(100_000)),
        format!("services.a.ready.log = \"{}\"", "(a{1000}){1000}".repeat(1000)),
    ] {
        Case::new(text).refused();
    }
}

#[test]
fn a_chain_of_needs_as_long_as_the_spec_costs_no_stack() {
    let mut text = String::from("name = \"s\"\n");
    for at in 0..9_000 {
        let _ = write!(text, "[services.s{at}]\ncommand = \"x\"\nneeds = [\"s{}\"]\n", at + 1);
    }
    text.push_str("[services.s9000]\ncommand = \"x\"\n");
    assert_eq!(Case::new(text).loaded().spec.services.len(), 9_001);
}

#[test]
fn a_thousand_services_are_read_while_nobody_notices() {
    let mut text = String::from("name = \"s\"\n");
    for at in 0..1_000 {
        let _ = write!(
            text,
            "[services.s{at}]\ncommand = [\"./x\", \"--port\", \"${{PORT:80}}\"]\nenv = {{ A = \"b\" }}\n\
             [services.s{at}.ready]\nhttp = \"http://127.0.0.1:80/\"\n[services.s{at}.restart]\ndelay = \"1s\"\n"
        );
    }
    let mut case = Case::new(text);
    case.env = (0..40).map(|at| (format!("VARIABLE_{at}"), "some value of usual length".to_owned())).collect();
    let begin = Instant::now();
    assert_eq!(case.loaded().spec.services.len(), 1_000);
    let took = begin.elapsed();
    eprintln!("1,000 services took {took:?}");
    // Far above what it takes, so that only a mistake in the order of growth fails it.
    assert!(took < Duration::from_secs(5), "{took:?}");
}
