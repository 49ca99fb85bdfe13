//! Who asks: somebody at the control socket, whom the OS names, or a guest from the network, who has a token or a
//! certificate and the role that goes with it.

use super::door::Guest;
use super::serve::Context;
use crate::audit::Asker;
use tutela_core::access::Role;
use tutela_os::endpoint::Peer;

/// See the module's text.
#[derive(Clone, Copy)]
pub(super) enum Caller<'a> {
    /// At the control socket, and may control the guard.
    Peer(&'a Peer),
    /// From the network.
    Guest(&'a Guest),
}

impl Caller<'_> {
    /// What they may do.
    pub(super) fn role(self) -> Role {
        match self {
            Caller::Peer(_) => Role::Admin,
            Caller::Guest(guest) => guest.role,
        }
    }

    /// For the record. Asked only for what is written down: the name of an account may come from a directory service.
    pub(super) fn asker(self, context: &Context) -> Asker {
        match self {
            Caller::Guest(guest) => guest.asker(),
            Caller::Peer(peer) => {
                // The guard's own account, which asks most, is known already.
                let own = peer.is_own_account();
                let name = if own { context.identity.account.clone() } else { peer.account.name() };
                let by = match peer.pid {
                    Some(pid) => format!("{name} (pid {pid})"),
                    None => name.clone(),
                };
                Asker::of_socket(by, name, peer)
            }
        }
    }
}
