//! Any bytes as a spec, as an environment file, as a profile, and as a text with variables: the reader refuses or takes
//! them, and its diagnostics always point into the file. `cargo fuzz run spec fuzz/corpus/spec fuzz/seeds/spec`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tutela_schema::spec::{Os, Sources, read};

/// A spec that reads an environment file and puts its variables in.
const WITH_ENV_FILE: &str = "name = 's'\n[services.a]\ncommand = ['a', '${A:1}', '${B:2}']\nenv_files = ['.env']\nenv = { C = '${A:${B:x}}' }\n";

/// A spec that takes everything else from its profile.
const WITH_PROFILE: &str = "name = 's'\n[services.a]\ncommand = 'a'\nready.tcp = 'h:1'\n";

fn look(spec: &[u8], others: &[(&str, &[u8])], profile: Option<&str>) {
    let mut files = BTreeMap::from([(PathBuf::from("/srv/shop.toml"), spec.to_vec())]);
    files.extend(others.iter().map(|(path, bytes)| (PathBuf::from(path), bytes.to_vec())));
    for os in [Os::Linux, Os::Windows] {
        let result = read(&Sources {
            path: "shop.toml".into(),
            cwd: "/srv".into(),
            profile: profile.map(Into::into),
            env: BTreeMap::from([("HOST".into(), "db".into()), ("PORT".into(), "8081".into())]),
            env_left_out: Vec::new(),
            os,
            files: &files,
        });
        let diagnostics = match result {
            Ok(loaded) => {
                // What was taken holds what core relies on.
                assert!(!loaded.spec.services.is_empty());
                for service in loaded.spec.services.values() {
                    assert!((1..=1000).contains(&service.instances));
                    assert!(!service.launch.command.words.is_empty());
                    assert!(service.restart.factor >= 1.0 && (0.0..=1.0).contains(&service.restart.jitter));
                    assert!(service.restart.delay <= service.restart.max_delay);
                    assert_eq!(service.stop.last().map(|it| &it.step), Some(&tutela_core::spec::StopStep::Kill));
                    assert!(service.needs.iter().all(|need| loaded.spec.services.contains_key(need)));
                }
                let _ = loaded.resolved();
                loaded.warnings
            }
            Err(refused) => refused.diagnostics,
        };
        for diagnostic in diagnostics {
            if let Some(origin) = &diagnostic.origin {
                assert!(origin.source.get(origin.span.clone()).is_some(), "{diagnostic}");
                assert!(origin.line >= 1 && origin.column >= 1, "{diagnostic}");
            }
            assert!(!diagnostic.message.contains('\n') && !diagnostic.message.is_empty(), "{diagnostic}");
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    look(bytes, &[("/srv/.env", bytes)], None);
    look(WITH_ENV_FILE.as_bytes(), &[("/srv/.env", bytes)], None);
    look(WITH_PROFILE.as_bytes(), &[("/srv/shop.test.toml", bytes)], Some("test"));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let text: String = text.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect();
        let spec = format!(
            "name = 's'\n[services.a]\ncommand = \"{text}\"\nenv.A = \"{text}\"\nready.http = \"{text}\"\nlimits.memory = \"{text}\"\n"
        );
        look(spec.as_bytes(), &[], None);
    }
});
