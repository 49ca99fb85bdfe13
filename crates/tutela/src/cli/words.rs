//! The words of the command line. Help texts, completions and `docs/reference/cli.md` are made from here.

use crate::client::{Address, Remote};
use crate::upgrade::stand_in::InPlaceOf;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use tutela_core::spec::TOKEN_VARIABLE;

/// Keeps programs running as proper services, from one spec file.
#[derive(Debug, Parser)]
#[command(name = "tutela", version, about, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Where.
    #[command(flatten)]
    pub remote: RemoteWords,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// A guard on another computer, by its control API over TCP.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "A guard on another computer (with status, top, logs, events, metrics and commands)")]
pub struct RemoteWords {
    /// Where its API listens, as its spec has it in [api]
    #[arg(long, value_name = "https://HOST:PORT")]
    pub connect: Option<String>,
    /// The file with the token; left out: the variable TUTELA_TOKEN has it
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub token_file: Option<PathBuf>,
    /// Certificates of the authorities to believe, in PEM; left out: those of the OS
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub ca: Option<PathBuf>,
    /// Your own certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "connect", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "connect", requires = "cert")]
    pub key: Option<PathBuf>,
}

impl RemoteWords {
    /// Whether another computer is meant.
    pub fn is_there(&self) -> bool {
        self.connect.is_some()
    }

    /// The guard there.
    ///
    /// # Errors
    /// The words cannot be used, or `command` is for this computer alone; what and how to mend it.
    pub fn remote(&self, command: &Command) -> Result<Remote, (String, String)> {
        if !command.is_of_a_guard() {
            let message = "refused: --connect is for commands that ask a guard; this one is about this computer";
            return Err((message.to_owned(), "leave --connect out, or run it there".to_owned()));
        }
        Remote::new(&Address {
            url: self.connect.as_deref().unwrap_or_default(),
            token_file: self.token_file.as_deref(),
            token: std::env::var(TOKEN_VARIABLE).ok(),
            ca: self.ca.as_deref(),
            identity: self.cert.as_deref().zip(self.key.as_deref()),
        })
    }
}

impl Command {
    /// Whether it asks a guard, and nothing else.
    fn is_of_a_guard(&self) -> bool {
        match self {
            Command::Start(_)
            | Command::Stop(_)
            | Command::Restart(_)
            | Command::Reload(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Status(_)
            | Command::Top(_)
            | Command::Logs(_)
            | Command::Events(_)
            | Command::Metrics(_) => true,
            Command::Run(_)
            | Command::Upgrade(_)
            | Command::Check(_)
            | Command::Install(_)
            | Command::Uninstall(_)
            | Command::Audit(_)
            | Command::Doctor(_)
            | Command::Token(_)
            | Command::Secret(_)
            | Command::EndLeft(_)
            | Command::Import(_)
            | Command::Export(_)
            | Command::Schema
            | Command::Completions { .. }
            | Command::Generate { .. } => false,
        }
    }
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Keep the services of a spec, or one program, in the foreground
    Run(RunWords),
    /// Say whether a spec is right, and what it means
    Check(CheckWords),
    /// Make the guard of a spec a service of the OS
    Install(InstallWords),
    /// Take a guard out of the services of the OS
    Uninstall(UninstallWords),
    /// Start services, with what they need
    Start(TargetWords),
    /// Stop services, after what needs them
    Stop(StopWords),
    /// Stop and start services
    Restart(TargetWords),
    /// Read the spec again; what is not different goes on undisturbed
    Reload(TargetWords),
    /// Have another tutela take a guard's place while everything runs on
    Upgrade(UpgradeWords),
    /// Hold every process of a service still
    Pause(TargetWords),
    /// Let a paused service go on
    Resume(TargetWords),
    /// Show what runs, since when, why, and what comes next
    Status(StatusWords),
    /// Watch services on the whole terminal, and start, stop and restart them with a key
    Top(TopWords),
    /// Show the output of services
    Logs(LogWords),
    /// Show what happened
    Events(EventWords),
    /// Show who did what, or check that the record of it is whole
    Audit(AuditWords),
    /// Print the figures of /metrics, for people and for Prometheus' textfile collector
    Metrics(MetricsWords),
    /// Say what this computer can and cannot do, and what a spec would meet here
    Doctor(DoctorWords),
    /// Make a token for the control API over TCP, and print what the spec is to have of it
    Token(TokenWords),
    /// Make a spec of what NSSM, WinSW, supervisord, systemd, pm2 or a Procfile is configured with
    Import(ImportWords),
    /// Write native units that keep the services of a spec without a guard
    Export(ExportWords),
    /// Make secrets that a spec can refer to
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Print the JSON Schema of spec files, for editors
    Schema,
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// End what a guard left that no other one takes over; a unit runs this whenever its guard has ended
    #[command(hide = true)]
    EndLeft(EndLeftWords),
    /// Write the generated files of the repository into a folder
    #[command(hide = true)]
    Generate {
        /// The folder.
        dir: PathBuf,
    },
}

/// `tutela run`.
#[derive(Debug, Args)]
#[command(override_usage = "tutela run [OPTIONS] SPEC\n       tutela run [OPTIONS] -- PROGRAM [ARGUMENTS]...")]
pub struct RunWords {
    /// The spec file
    #[arg(value_name = "SPEC", required_unless_present = "program", conflicts_with = "program")]
    pub spec: Option<PathBuf>,
    /// Overlay the spec by NAME.PROFILE.toml beside it
    #[arg(long, env = "TUTELA_PROFILE", hide_env_values = true)]
    pub profile: Option<String>,
    /// Show nothing of what services write; it is in their log files
    #[arg(long, short)]
    pub quiet: bool,
    /// Colours: when standard output is a terminal, always, or never
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub color: Colour,
    /// Run as a service of the OS: its service manager has started this, and sees events, not what services write
    #[arg(long)]
    pub service: bool,
    /// Whose folders it has: what a task or a start at login is registered with, where the account and the rights that
    /// it happens to be started with do not say it
    #[arg(long, hide = true, value_enum, conflicts_with = "service")]
    pub folders: Option<FoldersOf>,
    /// Show whether this program can take the place of the guard that began it
    #[arg(long, hide = true)]
    pub on_trial: bool,
    /// Take the place of the guard on trial with this number
    #[arg(long, hide = true, conflicts_with = "on_trial")]
    pub in_place_of: Option<InPlaceOf>,
    /// Walk the process table even where control groups are to be had
    #[arg(long, hide = true)]
    pub force_walk: bool,
    /// Keep this program; no file is needed
    #[arg(last = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
}

/// `tutela end-left`.
#[derive(Debug, Args)]
pub struct EndLeftWords {
    /// The guard, which is also the name of its unit
    pub guard: String,
    /// The unit is one of a user
    #[arg(long)]
    pub user: bool,
    /// Wait until another guard runs or none is to come
    #[arg(long)]
    pub watch: bool,
}

/// When there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// When standard output is a terminal and NO_COLOR is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Whose folders a guard has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FoldersOf {
    /// The computer's, whatever its account.
    Computer,
    /// Those of its account, also when that is an administrator.
    Account,
}

/// `tutela check`.
#[derive(Debug, Args)]
pub struct CheckWords {
    /// The spec file
    pub spec: PathBuf,
    /// Overlay the spec by NAME.PROFILE.toml beside it
    #[arg(long, env = "TUTELA_PROFILE", hide_env_values = true)]
    pub profile: Option<String>,
    /// Print every value with where it came from; secrets are masked
    #[arg(long)]
    pub resolved: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
    /// Look at the file alone, not at programs, accounts and ports of this computer
    #[arg(long)]
    pub offline: bool,
}

/// `tutela install`.
#[derive(Debug, Args)]
pub struct InstallWords {
    /// The spec file, or the NAME of NAME.toml in the folder of specs
    #[arg(value_name = "SPEC|NAME")]
    pub target: String,
    /// Overlay the spec by NAME.PROFILE.toml beside it, also whenever the OS starts the guard
    #[arg(long, env = "TUTELA_PROFILE", hide_env_values = true)]
    pub profile: Option<String>,
    /// Show every step and what it writes, and do nothing; needs no rights
    #[arg(long)]
    pub print: bool,
    /// For your own account alone, not for the computer. Not on Windows
    #[arg(long)]
    pub user: bool,
    /// As what: a service, a task of the OS's clock, or something that starts when somebody logs in
    #[arg(long = "as", value_enum, value_name = "KIND", default_value_t = InstallKind::Service)]
    pub kind: InstallKind,
    /// The account instead of the spec's: own, system, NAME, new:NAME; on Windows also local-service, network-service, managed:DOMAIN\name$
    #[arg(long)]
    pub account: Option<String>,
    /// Read the account's password from standard input, for Windows
    #[arg(long, requires = "account")]
    pub password_stdin: bool,
    /// Start it now, and wait until it is ready
    #[arg(long)]
    pub start: bool,
    /// Have the OS start it by itself, whatever the spec says
    #[arg(long, conflicts_with = "no_enable")]
    pub enable: bool,
    /// Have nobody start it but you, whatever the spec says
    #[arg(long)]
    pub no_enable: bool,
}

/// As what a guard is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum InstallKind {
    /// A service: SCM, systemd, launchd
    Service,
    /// Started by the OS's clock: Task Scheduler, a systemd timer
    Task,
    /// Started at a login: Run key, XDG autostart, launchd agent
    Login,
}

/// `tutela uninstall`.
#[derive(Debug, Args)]
pub struct UninstallWords {
    /// The guard's NAME, or its spec file
    #[arg(value_name = "SPEC|NAME")]
    pub target: String,
    /// Remove its state and its logs too
    #[arg(long)]
    pub purge: bool,
    /// Show every step, and do nothing; needs no rights
    #[arg(long)]
    pub print: bool,
    /// What is installed for your own account
    #[arg(long)]
    pub user: bool,
}

/// A command for a guard or one of its services.
#[derive(Debug, Args)]
pub struct TargetWords {
    /// The guard, or one of its services: shop, shop/api, shop/api:0
    #[arg(value_name = "NAME[/SERVICE]")]
    pub target: String,
    /// Do not wait until it is done
    #[arg(long)]
    pub no_wait: bool,
    /// Why, for the event ledger
    #[arg(long)]
    pub reason: Option<String>,
    /// Print what came of it as JSON
    #[arg(long)]
    pub json: bool,
}

/// `tutela upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeWords {
    /// The guards
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub guards: Vec<String>,
    /// Every guard that this account may control
    #[arg(long, conflicts_with = "guards")]
    pub all: bool,
    /// The program that is to take its place, instead of the one that this command is
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Why, for the event ledger
    #[arg(long)]
    pub reason: Option<String>,
    /// Print what became of each as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// `tutela stop`.
#[derive(Debug, Args)]
pub struct StopWords {
    /// The common words.
    #[command(flatten)]
    pub common: TargetWords,
    /// End the guard too
    #[arg(long)]
    pub shutdown: bool,
}

/// `tutela status`.
#[derive(Debug, Args)]
pub struct StatusWords {
    /// The guard, or one of its services; left out: every guard of this computer
    #[arg(value_name = "NAME[/SERVICE]")]
    pub target: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show it again every second
    #[arg(long, short)]
    pub watch: bool,
}

/// `tutela metrics`.
#[derive(Debug, Args)]
pub struct MetricsWords {
    /// The guard; left out: every guard of this computer that you may control
    #[arg(value_name = "NAME")]
    pub guard: Option<String>,
    /// Write them into this file, at once for whoever reads it
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `tutela top`.
#[derive(Debug, Args)]
pub struct TopWords {
    /// The guard, or one of its services; left out: every guard of this computer
    #[arg(value_name = "NAME[/SERVICE]")]
    pub target: Option<String>,
}

/// `tutela logs`.
#[derive(Debug, Args)]
pub struct LogWords {
    /// Guards and services: shop, shop/api, shop/api:0. Lines of several come in the order of time
    #[arg(value_name = "NAME[/SERVICE]", required = true)]
    pub targets: Vec<String>,
    /// Go on showing lines as they are written, also when the guard is started again
    #[arg(long, short)]
    pub follow: bool,
    /// Only the last so many of the lines that are wanted; 100 unless --since is given
    #[arg(long, short = 'n', value_name = "N")]
    pub lines: Option<u64>,
    /// Only lines from then on: 1h, or 2026-11-20T21:38:54Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only lines until then
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Only one of the streams
    #[arg(long, value_enum)]
    pub stream: Option<StreamWord>,
    /// Only lines that say a level of at least this: trace, debug, info, notice, warn, error, fatal
    #[arg(long, short, value_name = "LEVEL")]
    pub level: Option<String>,
    /// Only lines that this regular expression matches
    #[arg(long, short = 'g', value_name = "PATTERN")]
    pub grep: Option<String>,
    /// Do not tell capitals from small letters in --grep
    #[arg(long, short, requires = "grep")]
    pub ignore_case: bool,
    /// Only lines that --grep does not match
    #[arg(long, short = 'v', requires = "grep")]
    pub invert_match: bool,
    /// Only what the program wrote: no time, no name
    #[arg(long, visible_alias = "raw", conflicts_with = "json")]
    pub no_prefix: bool,
    /// Print one JSON record a line
    #[arg(long)]
    pub json: bool,
}

/// A stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StreamWord {
    /// Standard output.
    #[value(name = "out", alias = "stdout")]
    Stdout,
    /// Standard error.
    #[value(name = "err", alias = "stderr")]
    Stderr,
}

/// `tutela events`.
#[derive(Debug, Args)]
pub struct EventWords {
    /// The guard, or one of its services: shop, shop/api, shop/api:0
    #[arg(value_name = "NAME[/SERVICE]")]
    pub target: String,
    /// Go on showing events as they happen
    #[arg(long, short)]
    pub follow: bool,
    /// Only the last so many; 100 unless --since is given
    #[arg(long, short = 'n', value_name = "N")]
    pub lines: Option<u64>,
    /// Only events from then on: 1h, or 2026-11-20T21:38:54Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Print one JSON record a line
    #[arg(long)]
    pub json: bool,
}

/// `tutela audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct AuditWords {
    /// What else than to show it.
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
    /// The guard, or one of its services: shop, shop/api, shop/api:0
    #[arg(value_name = "NAME[/SERVICE]", required = true)]
    pub target: Option<String>,
    /// Only the last so many; 100 unless --since is given
    #[arg(long, short = 'n', value_name = "N")]
    pub lines: Option<u64>,
    /// Only entries from then on: 1h, or 2026-11-20T21:38:54Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only entries until then
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
    /// Print the entries as they are kept, one JSON record a line
    #[arg(long)]
    pub json: bool,
}

/// What can be done with a record but to show it.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Find changed and missing entries; ends with 1 where there are any
    Verify(VerifyWords),
}

/// `tutela audit verify`.
#[derive(Debug, Args)]
pub struct VerifyWords {
    /// The guard
    pub name: String,
    /// Compare with an entry's number and hash that an earlier verify printed and that you kept elsewhere; may be given
    /// several times
    #[arg(long, value_name = "SEQ:HASH")]
    pub expect: Vec<String>,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// `tutela doctor`.
#[derive(Debug, Args)]
pub struct DoctorWords {
    /// A spec file to try on this computer
    pub spec: Option<PathBuf>,
    /// Overlay the spec by NAME.PROFILE.toml beside it
    #[arg(long, env = "TUTELA_PROFILE", hide_env_values = true)]
    pub profile: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `tutela token`.
#[derive(Debug, Args)]
pub struct TokenWords {
    /// Who it is for; the record of who did what has this name
    #[arg(long)]
    pub name: String,
    /// What they may do; each may do what the one before may
    #[arg(long, value_enum)]
    pub role: RoleWord,
    /// From when on it is refused: 90d, or 2027-06-30T00:00:00Z; left out: never
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// Print the token and its hash as JSON, all of it on standard output
    #[arg(long)]
    pub json: bool,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RoleWord {
    /// Ask: status, events, logs, figures, health
    Viewer,
    /// Command services: start, stop, restart, pause, resume
    Operator,
    /// Change the guard itself: reload, shutdown
    Admin,
}

/// `tutela import`.
#[derive(Debug, Args)]
pub struct ImportWords {
    /// The files of the other supervisor; several become one spec, - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The format; left out: each file is looked at
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub from: Option<FormatWord>,
    /// Write the spec there, and its overlays beside it; left out: to standard output
    #[arg(long, short, value_name = "SPEC")]
    pub output: Option<PathBuf>,
    /// Write over a spec that exists
    #[arg(long, requires = "output")]
    pub force: bool,
    /// The name of the guard; left out: that of SPEC, of the only service, or of the folder
    #[arg(long)]
    pub name: Option<String>,
    /// The form of the fidelity report; JSON has the spec in it and goes to standard output
    #[arg(long, value_enum, default_value_t = ReportForm::Text)]
    pub report: ReportForm,
}

/// What can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FormatWord {
    /// A registry export with services of NSSM.
    Nssm,
    /// The XML file of WinSW.
    Winsw,
    /// The INI file of supervisord.
    Supervisord,
    /// A unit of systemd.
    Systemd,
    /// An ecosystem file of pm2.
    Pm2,
    /// A Procfile.
    Procfile,
}

impl From<FormatWord> for crate::import::Format {
    fn from(word: FormatWord) -> Self {
        use crate::import::Format;
        match word {
            FormatWord::Nssm => Format::Nssm,
            FormatWord::Winsw => Format::Winsw,
            FormatWord::Supervisord => Format::Supervisord,
            FormatWord::Systemd => Format::Systemd,
            FormatWord::Pm2 => Format::Pm2,
            FormatWord::Procfile => Format::Procfile,
        }
    }
}

/// The form of a fidelity report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportForm {
    /// For people, on standard error.
    Text,
    /// For programs, on standard output.
    Json,
}

/// `tutela export`.
#[derive(Debug, Args)]
pub struct ExportWords {
    /// Whose files are written
    #[arg(value_enum)]
    pub target: TargetWord,
    /// The spec file
    pub spec: PathBuf,
    /// Overlay the spec by NAME.PROFILE.toml beside it
    #[arg(long, env = "TUTELA_PROFILE", hide_env_values = true)]
    pub profile: Option<String>,
    /// Write the files into this folder; left out: to standard output
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Write over files that exist
    #[arg(long, requires = "output")]
    pub force: bool,
    /// The form of the fidelity report; JSON has the files in it and goes to standard output
    #[arg(long, value_enum, default_value_t = ReportForm::Text)]
    pub report: ReportForm,
}

/// What can be exported to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TargetWord {
    /// Units of systemd.
    Systemd,
    /// Property lists of launchd.
    Launchd,
}

/// What can be done with secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Seal a value with DPAPI, on Windows: for secret://dpapi/FILE. The value is read from standard input
    Seal(SealWords),
}

/// `tutela secret seal`.
#[derive(Debug, Args)]
pub struct SealWords {
    /// Who can open it again: every account of this computer, or the account that seals it
    #[arg(long = "for", value_enum, default_value_t = SealForWord::Machine)]
    pub for_whom: SealForWord,
    /// Write it to this file, and not to standard output, which PowerShell takes for text
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Who can open what is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SealForWord {
    /// Every account of this computer, and no other computer.
    Machine,
    /// The account that seals it, on this computer.
    Account,
}
