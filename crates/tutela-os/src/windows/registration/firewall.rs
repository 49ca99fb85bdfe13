//! Openings in the firewall of Windows: a rule for each, with a name and a group by which it is known as ours.
//!
//! Through the objects of the firewall (`INetFwPolicy2`), not through `netsh`: their answers have codes instead of
//! sentences in the language of the computer, and nothing has to be quoted.

use super::com::{Apartment, NO_CLASS, NOT_IMPLEMENTED, Object, Text, checked, of_os, result};
use crate::Error;
use crate::registration::{Opening, Protocol, Step, Undo};
use core::ffi::c_void;
use std::fmt;
use std::io;
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, VARIANT_TRUE};
use windows_sys::Win32::NetworkManagement::WindowsFirewall::{
    NET_FW_ACTION_ALLOW, NET_FW_IP_PROTOCOL_TCP, NET_FW_IP_PROTOCOL_UDP, NET_FW_PROFILE2_ALL, NET_FW_RULE_DIR_IN,
    NetFwPolicy2, NetFwRule,
};
use windows_sys::core::{GUID, HRESULT};

const POLICY: GUID = GUID::from_u128(0x98325047_c671_4174_8d81_defcd3f03186);
const RULE: GUID = GUID::from_u128(0xaf230d27_baba_4e42_aced_f524f22cfce2);

/// The group under which the firewall's window shows our rules.
const GROUP: &str = "Tutela";

type GetObject = unsafe extern "system" fn(*mut c_void, *mut *mut c_void) -> HRESULT;
type PutText = unsafe extern "system" fn(*mut c_void, *const u16) -> HRESULT;
type PutNumber = unsafe extern "system" fn(*mut c_void, i32) -> HRESULT;
type PutFlag = unsafe extern "system" fn(*mut c_void, i16) -> HRESULT;

/// A rule: what the mark of a registration remembers of it is enough to make it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    service: String,
    protocol: Protocol,
    port: u16,
    from: Vec<String>,
}

impl Rule {
    /// As the mark remembers it: `tcp 8081` or `tcp 8081 from 10.0.0.0/8,fd00::/8`.
    fn remembered(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let from = if self.from.is_empty() { String::new() } else { format!(" from {}", self.from.join(",")) };
        format!("{protocol} {}{from}", self.port)
    }

    fn recall(service: &str, line: &str) -> Option<Rule> {
        let (head, from) = line.split_once(" from ").unwrap_or((line, ""));
        let (protocol, port) = head.split_once(' ')?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        let from = from.split(',').filter(|from| !from.is_empty()).map(str::to_owned).collect();
        Some(Rule { service: service.to_owned(), protocol, port: port.parse().ok()?, from })
    }

    /// Its name in the firewall. No two of ours have the same, and nobody else's begins like this.
    fn name(&self) -> String {
        format!("Tutela {}: {}", self.service, self.remembered())
    }
}

/// What openings need.
pub(super) struct Openings {
    /// What the mark is to remember.
    pub(super) names: Vec<String>,
    pub(super) steps: Vec<Box<dyn Step>>,
}

/// Compares the openings that are wanted with those that are remembered and with the firewall; with notes.
pub(super) fn plan(service: &str, wanted: &[Opening], remembered: &[String]) -> (Openings, Vec<String>) {
    let mut openings = Openings { names: Vec::new(), steps: Vec::new() };
    let mut notes = Vec::new();
    if wanted.is_empty() && remembered.is_empty() {
        return (openings, notes);
    }
    let wanted: Vec<Rule> = wanted
        .iter()
        .map(|opening| Rule {
            service: service.to_owned(),
            protocol: opening.protocol,
            port: opening.port,
            from: opening.from.clone(),
        })
        .collect();
    let rules = match Rules::open() {
        Ok(rules) => rules,
        Err(error) => {
            notes.push(format!(
                "the firewall of this computer cannot be asked, so ports are neither opened nor closed in it \
                 ({}): {error}",
                wanted.iter().map(Rule::remembered).collect::<Vec<_>>().join(", ")
            ));
            openings.names = remembered.to_vec();
            return (openings, notes);
        }
    };
    for rule in &wanted {
        match rules.has(&rule.name()) {
            Ok(true) => openings.names.push(rule.remembered()),
            Ok(false) => {
                openings.names.push(rule.remembered());
                openings.steps.push(Box::new(AddRule(rule.clone())));
            }
            Err(error) => notes.push(format!(
                "the firewall of this computer cannot be asked, so {} is not opened: {error}",
                rule.remembered()
            )),
        }
    }
    let former = remembered.iter().filter_map(|line| Rule::recall(service, line));
    for rule in former.filter(|rule| !wanted.contains(rule)) {
        if rules.has(&rule.name()).unwrap_or(true) {
            openings.steps.push(Box::new(RemoveRule(rule)));
        }
    }
    (openings, notes)
}

/// The rules of the firewall.
struct Rules {
    rules: Object,
    // Declared last, so that it is left last.
    _apartment: Apartment,
}

impl Rules {
    fn open() -> io::Result<Rules> {
        let apartment = Apartment::enter()?;
        let policy = Object::create(&NetFwPolicy2, &POLICY)?;
        // SAFETY: `get_Rules` is the 19th method of INetFwPolicy2.
        let get_rules = unsafe { policy.method::<GetObject>(18) };
        // SAFETY: the object lives through the call; the answer is written to a local.
        let rules = Object::given(|place| unsafe { get_rules(policy.as_ptr(), place) })?;
        Ok(Rules { rules, _apartment: apartment })
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        type Item = unsafe extern "system" fn(*mut c_void, *const u16, *mut *mut c_void) -> HRESULT;
        let name = Text::new(name);
        // SAFETY: `Item` is the 11th method of INetFwRules.
        let item = unsafe { self.rules.method::<Item>(10) };
        // SAFETY: the object and the text live through the call; the answer is written to a local.
        match Object::given(|place| unsafe { item(self.rules.as_ptr(), name.as_ptr(), place) }) {
            Ok(_) => Ok(true),
            Err(error) if result(&error) == of_os(ERROR_FILE_NOT_FOUND) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn add(&self, wanted: &Rule) -> io::Result<()> {
        type Add = unsafe extern "system" fn(*mut c_void, *mut c_void) -> HRESULT;
        let rule = Object::create(&NetFwRule, &RULE)?;
        let text = |index, value: &str| {
            let value = Text::new(value);
            // SAFETY: `index` is that of a method of INetFwRule which sets a text.
            let put = unsafe { rule.method::<PutText>(index) };
            // SAFETY: the object and the text live through the call.
            checked(unsafe { put(rule.as_ptr(), value.as_ptr()) })
        };
        let number = |index, value: i32| {
            // SAFETY: `index` is that of a method of INetFwRule which sets a number.
            let put = unsafe { rule.method::<PutNumber>(index) };
            // SAFETY: the object lives through the call.
            checked(unsafe { put(rule.as_ptr(), value) })
        };
        text(8, &wanted.name())?;
        text(10, &format!("Lets the service {} be reached. Made by Tutela, and removed with it.", wanted.service))?;
        // The protocol comes before the ports, which have a meaning only with it.
        number(
            16,
            match wanted.protocol {
                Protocol::Tcp => NET_FW_IP_PROTOCOL_TCP,
                Protocol::Udp => NET_FW_IP_PROTOCOL_UDP,
            },
        )?;
        text(18, &wanted.port.to_string())?;
        if !wanted.from.is_empty() {
            text(24, &wanted.from.join(","))?;
        }
        number(28, NET_FW_RULE_DIR_IN)?;
        text(36, GROUP)?;
        number(38, NET_FW_PROFILE2_ALL)?;
        number(42, NET_FW_ACTION_ALLOW)?;
        // SAFETY: `put_Enabled` is the 35th method of INetFwRule.
        let enable = unsafe { rule.method::<PutFlag>(34) };
        // SAFETY: the object lives through the call.
        checked(unsafe { enable(rule.as_ptr(), VARIANT_TRUE) })?;
        // SAFETY: `Add` is the 9th method of INetFwRules.
        let add = unsafe { self.rules.method::<Add>(8) };
        // SAFETY: both objects live through the call.
        checked(unsafe { add(self.rules.as_ptr(), rule.as_ptr()) })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let name = Text::new(name);
        // SAFETY: `Remove` is the 10th method of INetFwRules.
        let remove = unsafe { self.rules.method::<PutText>(9) };
        // SAFETY: the object and the text live through the call.
        checked(unsafe { remove(self.rules.as_ptr(), name.as_ptr()) })
    }
}

/// Whether the firewall has no such word on this computer.
fn unknown_here(error: &io::Error) -> bool {
    [NOT_IMPLEMENTED, NO_CLASS].contains(&result(error))
}

fn failed(what: String, error: io::Error) -> Error {
    if unknown_here(&error) {
        return Error::Unsupported(crate::Unsupported::new("firewall", format!("nothing was done to {what}: {error}")));
    }
    Error::io(what, error)
}

struct AddRule(Rule);

impl fmt::Display for AddRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "open the firewall for {}", self.0.remembered())
    }
}

impl Step for AddRule {
    fn text(&self) -> Option<String> {
        let from = if self.0.from.is_empty() { "everybody".to_owned() } else { self.0.from.join(", ") };
        Some(format!("rule {:?} in the group {GROUP}, all profiles, from {from}", self.0.name()))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        Rules::open().and_then(|rules| rules.add(&self.0)).map_err(|error| failed(self.to_string(), error))?;
        let name = self.0.name();
        Ok(Some(Box::new(move || {
            let what = format!("remove the rule {name:?} of the firewall");
            Rules::open().and_then(|rules| rules.remove(&name)).map_err(|error| failed(what, error))
        })))
    }
}

struct RemoveRule(Rule);

impl fmt::Display for RemoveRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "close the firewall for {}", self.0.remembered())
    }
}

impl Step for RemoveRule {
    fn text(&self) -> Option<String> {
        Some(format!("rule {:?} in the group {GROUP}", self.0.name()))
    }

    fn carry_out(&self) -> Result<Option<Undo>, Error> {
        let name = self.0.name();
        Rules::open().and_then(|rules| rules.remove(&name)).map_err(|error| failed(self.to_string(), error))?;
        let rule = self.0.clone();
        Ok(Some(Box::new(move || {
            let what = format!("put back the rule {name:?} of the firewall");
            Rules::open().and_then(|rules| rules.add(&rule)).map_err(|error| failed(what, error))
        })))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_made_again_from_what_is_remembered_of_it() {
        for line in ["tcp 8081", "udp 53 from 10.0.0.0/8,fd00::/8"] {
            let rule = Rule::recall("shop", line).unwrap();
            assert_eq!(rule.remembered(), line);
            assert_eq!(rule.name(), format!("Tutela shop: {line}"));
        }
        assert_eq!(Rule::recall("shop", "icmp 1"), None);
    }
}
