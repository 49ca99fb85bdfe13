//! What the service control manager's numbers mean.

use crate::host::{Control, PowerChange, SessionChange};
use std::time::{Duration, SystemTime};
use windows_sys::Win32::System::RemoteDesktop::WTSSESSION_NOTIFICATION;
use windows_sys::Win32::System::Services::{
    SERVICE_CONTROL_CONTINUE, SERVICE_CONTROL_PARAMCHANGE, SERVICE_CONTROL_PAUSE, SERVICE_CONTROL_POWEREVENT,
    SERVICE_CONTROL_PRESHUTDOWN, SERVICE_CONTROL_SESSIONCHANGE, SERVICE_CONTROL_SHUTDOWN, SERVICE_CONTROL_STOP,
    SERVICE_CONTROL_TIMECHANGE, SERVICE_TIMECHANGE_INFO,
};
use windows_sys::Win32::UI::WindowsAndMessaging::{
    PBT_APMPOWERSTATUSCHANGE, PBT_APMRESUMEAUTOMATIC, PBT_APMRESUMESUSPEND, PBT_APMSUSPEND, WTS_CONSOLE_CONNECT,
    WTS_CONSOLE_DISCONNECT, WTS_REMOTE_CONNECT, WTS_REMOTE_DISCONNECT, WTS_SESSION_LOCK, WTS_SESSION_LOGOFF,
    WTS_SESSION_LOGON, WTS_SESSION_UNLOCK,
};

/// What came with a control, read before the handler returns, after which it is the OS's again.
#[derive(Clone, Copy, Default)]
pub(super) struct Attached {
    pub(super) session: Option<WTSSESSION_NOTIFICATION>,
    pub(super) time: Option<SERVICE_TIMECHANGE_INFO>,
}

/// The control of these numbers; `None`: one that we do not take.
pub(super) fn control(number: u32, event: u32, attached: Attached) -> Option<Control> {
    Some(match number {
        SERVICE_CONTROL_STOP => Control::Stop,
        SERVICE_CONTROL_SHUTDOWN | SERVICE_CONTROL_PRESHUTDOWN => Control::Shutdown,
        SERVICE_CONTROL_PAUSE => Control::Pause,
        SERVICE_CONTROL_CONTINUE => Control::Continue,
        SERVICE_CONTROL_PARAMCHANGE => Control::Reload,
        SERVICE_CONTROL_POWEREVENT => Control::Power(match event {
            PBT_APMSUSPEND => PowerChange::Suspending,
            PBT_APMRESUMEAUTOMATIC => PowerChange::Resumed,
            PBT_APMRESUMESUSPEND => PowerChange::UserPresent,
            PBT_APMPOWERSTATUSCHANGE => PowerChange::Source,
            other => PowerChange::Other(other),
        }),
        SERVICE_CONTROL_SESSIONCHANGE => Control::Session {
            change: match event {
                WTS_CONSOLE_CONNECT => SessionChange::ConsoleConnect,
                WTS_CONSOLE_DISCONNECT => SessionChange::ConsoleDisconnect,
                WTS_REMOTE_CONNECT => SessionChange::RemoteConnect,
                WTS_REMOTE_DISCONNECT => SessionChange::RemoteDisconnect,
                WTS_SESSION_LOGON => SessionChange::Logon,
                WTS_SESSION_LOGOFF => SessionChange::Logoff,
                WTS_SESSION_LOCK => SessionChange::Lock,
                WTS_SESSION_UNLOCK => SessionChange::Unlock,
                other => SessionChange::Other(other),
            },
            id: attached.session?.dwSessionId,
        },
        SERVICE_CONTROL_TIMECHANGE => {
            let SERVICE_TIMECHANGE_INFO { liNewTime, liOldTime } = attached.time?;
            Control::TimeChanged { from: wall_time(liOldTime), to: wall_time(liNewTime) }
        }
        128..=255 => Control::User(u8::try_from(number).ok()?),
        _ => return None,
    })
}

/// A count of 100 ns since 1601. One that makes no sense is that year.
fn wall_time(count: i64) -> SystemTime {
    const TO_1970: Duration = Duration::from_secs(11_644_473_600);
    let count = u64::try_from(count).unwrap_or(0);
    let since_1601 = Duration::new(count / 10_000_000, u32::try_from(count % 10_000_000).unwrap_or(0) * 100);
    let of = |epoch: SystemTime| epoch.checked_sub(TO_1970)?.checked_add(since_1601);
    of(SystemTime::UNIX_EPOCH).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_meaning_and_others_have_none() {
        let plain = |number| control(number, 0, Attached::default());
        let told: Vec<_> = [1, 2, 3, 5, 6, 15, 128, 255].into_iter().filter_map(plain).collect();
        use Control::*;
        assert_eq!(told, [Stop, Pause, Continue, Shutdown, Reload, Shutdown, User(128), User(255)]);
        for number in [0, 4, 7, 11, 14, 16, 32, 127, 256] {
            assert_eq!(plain(number), None, "{number}");
        }
        let session = WTSSESSION_NOTIFICATION { cbSize: 8, dwSessionId: 3 };
        let attached = Attached { session: Some(session), time: None };
        assert_eq!(control(14, 5, attached), Some(Session { change: SessionChange::Logon, id: 3 }));
        assert_eq!(control(13, 18, Attached::default()), Some(Power(PowerChange::Resumed)));
    }

    #[test]
    fn a_count_since_1601_is_a_time() {
        assert_eq!(wall_time(116_444_736_000_000_000), SystemTime::UNIX_EPOCH);
        assert_eq!(wall_time(-1), wall_time(0));
    }
}
