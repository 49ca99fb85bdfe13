//! The values of the control API over the network. Hashes are masked: nobody needs them but the guard.

use super::super::section::steps;
use super::super::tree::Step;
use super::{List, MASK, array, quoted};
use tutela_core::spec::ApiSpec;

impl List<'_> {
    pub(super) fn api(&mut self, api: &ApiSpec) {
        let Some(door) = &api.door else { return };
        let at = |key: &str| [Step::from("api"), Step::from(key)];
        self.text(&at("listen"), &door.listen.to_string());
        if let Some(tls) = &door.tls {
            self.text(&at("certificate"), &tls.certificate.to_string_lossy());
            self.text(&at("key"), &tls.key.to_string_lossy());
            if let Some(authorities) = &tls.client_ca {
                self.text(&at("client_ca"), &authorities.to_string_lossy());
            }
        }
        self.put(&at("without_tls"), door.tls.is_none().to_string());
        if !door.allow.is_empty() {
            self.put(&at("allow"), array(&door.allow));
        }
        self.text(&at("rate"), &door.rate.to_string());
        for (index, token) in door.tokens.iter().enumerate() {
            self.text(steps!["api", "tokens", index, "name"], token.name.as_str());
            self.text(steps!["api", "tokens", index, "role"], token.role.word());
            self.put(steps!["api", "tokens", index, "hash"], quoted(MASK));
            if let Some(expires) = token.expires {
                let expires = crate::wall::WallTime::from_unix_millis(expires).to_string();
                self.text(steps!["api", "tokens", index, "expires"], &expires);
            }
        }
        for (index, entry) in door.certificates.iter().enumerate() {
            self.text(steps!["api", "certificates", index, "name"], &entry.name);
            self.text(steps!["api", "certificates", index, "role"], entry.role.word());
        }
    }
}
