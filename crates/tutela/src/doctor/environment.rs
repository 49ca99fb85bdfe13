//! Variables by which a loader or an interpreter runs code that nobody named in the command.
//!
//! In a program of an administrator's account each of them is a way in for whoever can set it: an environment file that
//! others may write, a folder in it that others may fill. They are told, not refused: some are meant.

use super::{Chart, is_privileged};
use std::collections::BTreeSet;
use tutela_core::spec::ServiceSpec;
use tutela_schema::spec::{Code, Diagnostic};

/// The variable, and who obeys it.
const HIJACKERS: [(&str, &str); 22] = [
    ("LD_PRELOAD", "the dynamic linker loads it into the program"),
    ("LD_AUDIT", "the dynamic linker loads it into the program"),
    ("LD_LIBRARY_PATH", "the dynamic linker looks there first for every library"),
    ("DYLD_INSERT_LIBRARIES", "the dynamic linker loads it into the program"),
    ("DYLD_LIBRARY_PATH", "the dynamic linker looks there first for every library"),
    ("GCONV_PATH", "the C library loads converters from there"),
    ("OPENSSL_CONF", "OpenSSL loads the modules that it names"),
    ("OPENSSL_MODULES", "OpenSSL loads modules from there"),
    ("BASH_ENV", "bash runs it before each script"),
    ("ENV", "sh runs it when it starts"),
    ("PYTHONPATH", "Python loads modules from there first"),
    ("PYTHONSTARTUP", "Python runs it when it starts"),
    ("PYTHONHOME", "Python takes its whole library from there"),
    ("NODE_OPTIONS", "Node.js obeys it, --require included"),
    ("NODE_PATH", "Node.js loads modules from there"),
    ("JAVA_TOOL_OPTIONS", "every Java machine obeys it, -javaagent included"),
    ("JDK_JAVA_OPTIONS", "the java command obeys it, -javaagent included"),
    ("PERL5OPT", "Perl obeys it, -M included"),
    ("PERL5LIB", "Perl loads modules from there first"),
    ("RUBYOPT", "Ruby obeys it, -r included"),
    ("DOTNET_STARTUP_HOOKS", ".NET loads it into the program"),
    ("COR_PROFILER_PATH", ".NET loads it into the program"),
];

/// Variables of the guard's own environment that were told already: every service has them.
pub(super) type Inherited = BTreeSet<&'static str>;

pub(super) fn examine(chart: &mut Chart<'_>, inherited: &mut Inherited, service: &ServiceSpec) {
    if !is_privileged(&service.launch) {
        return;
    }
    for (name, what) in HIJACKERS {
        let Some(value) = super::variable(&service.launch, name).filter(|value| !value.is_empty()) else { continue };
        if std::env::var_os(name).is_some_and(|own| own == value) {
            if inherited.insert(name) {
                let message = format!("{name} is set here, and programs with an administrator's rights get it: {what}");
                let help = format!("unset it, or set env = {{ {name} = \"\" }} in the services");
                chart.found.push(Diagnostic::warning(Code::LoaderVariable, None, message).help(help));
            }
            continue;
        }
        let message = format!("{name} is set for a program with an administrator's rights: {what}");
        let help = "run the service as an account of its own (user = …), or leave the variable out";
        chart.note(Code::LoaderVariable, service.name.as_str(), &["env", name], message, help);
    }
}
