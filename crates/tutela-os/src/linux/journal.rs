//! The journal of systemd: whether our output goes there.

use rustix::fs::fstat;

/// Whether standard output or standard error is the stream that systemd connected this unit with the journal by.
pub(crate) fn is_output_ours() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok().and_then(|text| parse(&text)) else { return false };
    let is = |stat: rustix::io::Result<rustix::fs::Stat>| stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == stream);
    is(fstat(std::io::stderr())) || is(fstat(std::io::stdout()))
}

/// Device and inode.
fn parse(text: &str) -> Option<(u64, u64)> {
    let (device, inode) = text.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_device_and_inode() {
        assert_eq!(parse("8:4711"), Some((8, 4711)));
        assert_eq!(parse("8"), None);
        assert_eq!(parse("8:x"), None);
    }
}
