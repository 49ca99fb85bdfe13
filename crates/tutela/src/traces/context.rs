//! Where a span stands: its trace, itself, and the clock that its trace keeps to.
//!
//! Made at the edge and handed through: by the API for a request, by the tracer for everything else. The text form is
//! that of W3C's *Trace Context*, the headers `traceparent` and `tracestate`.

use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tutela_core::time::Moment;

/// The longest `tracestate` that is handed on, as the standard has it. A longer one is left out, which it allows.
const STATE_BYTES_MAX: usize = 512;

/// Two readings of clocks that are no further apart than this say the same: a reading has two parts, and a time service
/// moves the clock by parts of a millisecond. So traces that follow each other stand to each other as their moments do.
const READING_NOISE: Duration = Duration::from_millis(2);

/// Bytes of chance that are asked of the OS at a time: some twenty spans' worth.
const POOL_BYTES: usize = 256;

/// Where a span stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its trace; never all zeros.
    pub trace: [u8; 16],
    /// It; never all zeros.
    pub span: [u8; 8],
    /// Whether the trace is made; of one that is not, nothing is sent.
    pub sampled: bool,
    /// Whether it is of another process.
    pub remote: bool,
    /// What others wrote into the trace for themselves.
    pub state: Option<Arc<str>>,
    /// The time of day in this trace.
    pub clock: Anchor,
}

/// The time of day of moments: one pair of readings for a whole trace, so that its spans stand to each other as their
/// moments do, whatever happens to the wall clock meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// Nanoseconds since 1970 at the first moment.
    origin: u64,
}

impl Anchor {
    /// That `moment` is `wall`.
    pub fn new(moment: Moment, wall: SystemTime) -> Self {
        let wall = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let nanos = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        Anchor { origin: nanos.saturating_sub(moment.as_nanos()) }
    }

    /// This one, unless the wall clock has gone another way since: then `newer`.
    fn kept(self, newer: Anchor) -> Anchor {
        let apart = Duration::from_nanos(self.origin.abs_diff(newer.origin));
        if apart <= READING_NOISE { self } else { newer }
    }

    /// Nanoseconds since 1970 at a moment.
    pub fn nanos(self, moment: Moment) -> u64 {
        self.origin.saturating_add(moment.as_nanos())
    }
}

/// What a tracer has from outside: chance and the time of day.
pub trait Edge: Send {
    /// Fills `bytes` with chance. Answers whether there was any.
    fn fill(&mut self, bytes: &mut [u8]) -> bool;

    /// The time of day.
    fn anchor(&mut self) -> Anchor;
}

/// The real edge.
#[derive(Debug)]
pub struct OsEdge {
    pool: [u8; POOL_BYTES],
    used: usize,
    anchor: Option<Anchor>,
}

impl OsEdge {
    /// The OS's.
    pub fn new() -> Self {
        OsEdge { pool: [0; POOL_BYTES], used: POOL_BYTES, anchor: None }
    }
}

impl Default for OsEdge {
    fn default() -> Self {
        OsEdge::new()
    }
}

impl Edge for OsEdge {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        if self.used + bytes.len() > POOL_BYTES {
            if SystemRandom::new().fill(&mut self.pool).is_err() {
                return false;
            }
            self.used = 0;
        }
        bytes.copy_from_slice(&self.pool[self.used..self.used + bytes.len()]);
        self.used += bytes.len();
        true
    }

    fn anchor(&mut self) -> Anchor {
        let read = read_clocks();
        let anchor = self.anchor.map_or(read, |known| known.kept(read));
        self.anchor = Some(anchor);
        anchor
    }
}

/// Reads both clocks at one time, as far as a busy computer lets a thread do so.
fn read_clocks() -> Anchor {
    /// A reading takes less than a microsecond, unless the thread has to wait in the middle of it.
    const UNDISTURBED: Duration = Duration::from_micros(50);
    /// Who is disturbed each time takes the best of them.
    const TRIES: usize = 4;
    let read = || {
        let before = tutela_os::clock::now();
        let wall = SystemTime::now();
        let took = tutela_os::clock::now().since(before);
        (took, Anchor::new(before + took / 2, wall))
    };
    let mut best = read();
    for _ in 1..TRIES {
        if best.0 <= UNDISTURBED {
            break;
        }
        let next = read();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

impl Context {
    /// A new trace, of which the share `sample` is made.
    pub fn root(edge: &mut dyn Edge, sample: f64) -> Context {
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        let drawn = edge.fill(&mut trace) && edge.fill(&mut span);
        // One in 2^64; the standard wants none of it.
        let valid = drawn && trace != [0; 16] && span != [0; 8];
        let sampled = valid && is_sampled(&trace, sample);
        Context { trace, span, sampled, remote: false, state: None, clock: edge.anchor() }
    }

    /// A span within this one.
    pub fn child(&self, edge: &mut dyn Edge) -> Context {
        let mut span = [0; 8];
        let sampled = self.sampled && edge.fill(&mut span) && span != [0; 8];
        Context { span, sampled, remote: false, ..self.clone() }
    }

    /// What `traceparent` and `tracestate` say; `None` for what is no trace context.
    pub fn of_headers(parent: &str, state: Option<&str>, edge: &mut dyn Edge) -> Option<Context> {
        let (trace, span, flags) = parse_traceparent(parent)?;
        let kept = state.map(str::trim).filter(|state| !state.is_empty() && state.len() <= STATE_BYTES_MAX);
        let state = kept.filter(|state| state.bytes().all(|byte| matches!(byte, 0x20..=0x7e))).map(Arc::from);
        Some(Context { trace, span, sampled: flags & 1 == 1, remote: true, state, clock: edge.anchor() })
    }
}

/// Whether a trace is among the share that is made. By its number, so that whoever has the same share decides the same.
fn is_sampled(trace: &[u8; 16], sample: f64) -> bool {
    const RANDOM_BITS: u32 = 56;
    let mut tail = [0; 8];
    tail.copy_from_slice(&trace[8..]);
    let value = u64::from_be_bytes(tail) & ((1 << RANDOM_BITS) - 1);
    #[expect(clippy::cast_precision_loss, reason = "the last of 56 bits changes no share that anybody writes")]
    let place = value as f64 / (1_u64 << RANDOM_BITS) as f64;
    place >= 1.0 - sample
}

/// The trace, the parent and the flags of a `traceparent`.
pub fn parse_traceparent(text: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let text = text.trim_matches([' ', '\t']);
    let (head, rest) = text.split_at_checked(55)?;
    let mut parts = head.split('-');
    let version = hex::<1>(parts.next()?)?[0];
    let (trace, span) = (hex::<16>(parts.next()?)?, hex::<8>(parts.next()?)?);
    let flags = hex::<1>(parts.next()?)?[0];
    // Later versions may say more behind it, this one does not.
    let ends_well = rest.is_empty() || version != 0 && rest.starts_with('-');
    let valid = parts.next().is_none() && version != 0xff && ends_well && trace != [0; 16] && span != [0; 8];
    valid.then_some((trace, span, flags))
}

/// Bytes in lower-case hexadecimal, as the standard demands.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_context_is_read_as_the_standard_has_it() {
        let context = Context::of_headers(GOOD, Some("a=b,c=d"), &mut OsEdge::new()).unwrap();
        assert_eq!((context.trace[0], context.trace[15]), (0x0a, 0x9c));
        assert_eq!(context.span, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!((context.sampled, context.remote, context.state.as_deref()), (true, true, Some("a=b,c=d")));
        let unsampled = GOOD.replace("-01", "-00");
        assert!(!Context::of_headers(&unsampled, None, &mut OsEdge::new()).unwrap().sampled);
        let long = format!("a={}", "x".repeat(STATE_BYTES_MAX));
        assert_eq!(Context::of_headers(GOOD, Some(&long), &mut OsEdge::new()).unwrap().state, None);
        assert!(parse_traceparent(&GOOD.replacen("00", "cc", 1)).is_some());
        assert!(parse_traceparent(&format!("{}-more", GOOD.replacen("00", "01", 1))).is_some());
    }

    #[test]
    fn what_is_no_trace_context_begins_no_trace() {
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &format!("{GOOD}0"),
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            &GOOD.replace('-', "_"),
            &GOOD.replace('7', "g"),
            &"é".repeat(55),
        ] {
            assert_eq!(parse_traceparent(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_share_is_about_what_was_asked_for_and_a_child_follows_its_parent() {
        let mut edge = OsEdge::new();
        let count = |edge: &mut OsEdge, sample| (0..2000).filter(|_| Context::root(edge, sample).sampled).count();
        assert_eq!((count(&mut edge, 0.0), count(&mut edge, 1.0)), (0, 2000));
        let half = count(&mut edge, 0.5);
        assert!((800..1200).contains(&half), "{half}");
        let root = Context::root(&mut edge, 1.0);
        let child = root.child(&mut edge);
        assert!(child.trace == root.trace && child.span != root.span && child.sampled && child.clock == root.clock);
        let unsampled = Context { sampled: false, ..root };
        assert!(!unsampled.child(&mut edge).sampled);
    }

    #[test]
    fn moments_of_one_trace_keep_their_distance() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let anchor = Anchor::new(Moment::from_millis(400_000), wall);
        assert_eq!(anchor.nanos(Moment::from_millis(400_000)), 1_000_000_000_000);
        assert_eq!(anchor.nanos(Moment::from_millis(400_005)), 1_000_005_000_000);
        let read = |apart: Duration| Anchor::new(Moment::from_millis(400_000), wall + apart);
        assert_eq!(anchor.kept(read(Duration::from_micros(300))), anchor);
        let stepped = read(Duration::from_secs(3));
        assert_eq!(anchor.kept(stepped), stepped);
    }
}
