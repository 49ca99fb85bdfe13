//! `tutela secret`: values made into what a spec can refer to.

use super::words::{SealForWord, SealWords, SecretCommand};
use super::{Code, DONE, FAILED, WRONG, report};
use std::io::{IsTerminal, Write};
use tutela_os::Error;
use tutela_os::secret::{self, SealFor};

pub fn secret(command: &SecretCommand) -> Code {
    match command {
        SecretCommand::Seal(words) => seal(words),
    }
}

fn seal(words: &SealWords) -> Code {
    if words.output.is_none() && std::io::stdout().is_terminal() {
        report::error("a sealed value is no text for a terminal", Some("write it to a file: --output FILE"));
        return WRONG;
    }
    let whom = match words.for_whom {
        SealForWord::Machine => SealFor::Machine,
        SealForWord::Account => SealFor::Account,
    };
    let sealed = secret::take(std::io::stdin().lock()).and_then(|value| secret::seal(&value, whom));
    let written = sealed.and_then(|sealed| match &words.output {
        Some(path) => tutela_os::files::replace(path, &sealed),
        None => {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&sealed).and_then(|()| out.flush());
            written.map_err(|source| Error::io("write the sealed value", source))
        }
    });
    match written {
        Ok(()) => DONE,
        Err(error) => {
            let help =
                matches!(error, Error::Unsupported(_)).then_some("use secret://file/PATH or secret://systemd/NAME");
            report::error(&crate::hands::spawner::chain(&error), help);
            FAILED
        }
    }
}
