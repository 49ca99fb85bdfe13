//! What a guard kept for the next one, damaged or made up: texts are refused or read, and what is read is written as it was
//! read; a slate and a tray take any memory and go on; and a machine takes any estate back, asks for nothing for ever, and
//! can be stopped. `cargo fuzz run kept fuzz/corpus/kept fuzz/seeds/kept`.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Unstructured};
use libfuzzer_sys::fuzz_target;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tutela_core::guard::{Command, Guard, Input};
use tutela_core::names::{InstanceId, RunId};
use tutela_core::probe::Verdict;
use tutela_core::service::{
    Action, Afterwards, Estate, Exit, History, HookOutcome, KeptVerdict, Phase, ProbeRole, StartStep, Then,
};
use tutela_core::spec::GuardSpec;
use tutela_core::time::Moment;
use tutela_logs::tray::{self, TRAY_BYTES, Tray};
use tutela_schema::saved::estate::{decode_estate, decode_stamps, encode_estate, encode_stamps};
use tutela_schema::saved::slate::{self, Slate};
use tutela_schema::saved::{handover, sink};
use tutela_schema::spec::{Os, Sources, read};
use tutela_schema::{alert, saved};

/// A service with every probe, hooks and a ladder, and one that waits for it.
const SPEC: &str = "name = 's'\n[services.a]\ncommand = 'a'\ninstances = 2\nstart_timeout = '90s'\n\
    ready.tcp = 'h:1'\nlive = { notify = true }\nstartup.http = 'http://h:2/'\n\
    restart = { burst = 3, within = '1m', cooldown = '2m', reset_after = '5s' }\n\
    stop.ladder = [{ signal = 'TERM', wait = '3s' }, { signal = 'INT', wait = '1s' }, { kill = true }]\n\
    hooks.before_start = [{ command = 'b' }]\n[services.b]\ncommand = 'b'\nneeds = ['a']\n";

static READ: LazyLock<GuardSpec> = LazyLock::new(|| {
    let files = BTreeMap::from([(PathBuf::from("/srv/s.toml"), SPEC.as_bytes().to_vec())]);
    let sources = Sources {
        path: "s.toml".into(),
        cwd: "/srv".into(),
        profile: None,
        env: BTreeMap::new(),
        env_left_out: Vec::new(),
        os: Os::Linux,
        files: &files,
    };
    read(&sources).expect("it is right").spec
});

/// Long after the computer's boot, so that there is something before.
const NOW: Moment = Moment::from_millis(1_000_000);

/// Turns of the machine within which it has to come to rest once its programs end as asked.
const TURNS_MAX: usize = 2_000;

// ---- memory

struct Plain(Vec<u8>);

impl slate::Memory for Plain {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn release(&mut self, _part: Range<usize>) {}
}

/// Memory that somebody has for a while, and what is in it afterwards.
struct Lender(Arc<Mutex<Vec<u8>>>);

struct Lent(Vec<u8>, Arc<Mutex<Vec<u8>>>);

impl Lender {
    fn lend(&self) -> Lent {
        Lent(self.0.lock().expect("nobody panicked").clone(), self.0.clone())
    }
}

impl tray::Memory for Lent {
    fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn release(&mut self, _part: Range<usize>) {}
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.1.lock().expect("nobody panicked") = std::mem::take(&mut self.0);
    }
}

fn owned(slate: &Slate<Plain>) -> BTreeMap<String, Vec<u8>> {
    slate.notes().map(|(key, text)| (key.to_owned(), text.to_vec())).collect()
}

fn slates(bytes: &[u8]) {
    // Room for the head, and for what is noted below in either half.
    let mut memory = vec![0; 64 * 1024];
    let mut chalked = Slate::create(Plain(memory.clone()));
    chalked.note("known", b"once");
    let whole = chalked.into_memory().0;
    // Damage of a slate that was whole, and memory that never was one.
    for front in [&whole[..], &[]] {
        memory.fill(0);
        memory[..front.len()].copy_from_slice(front);
        let at = bytes.first().map_or(0, |first| usize::from(*first) * 16);
        let end = (at + bytes.len()).min(memory.len());
        memory[at..end].iter_mut().zip(bytes).for_each(|(there, other)| *there ^= *other);
        let Ok(mut slate) = Slate::open(Plain(memory.clone())) else { continue };
        let taken = slate.note_all(BTreeMap::from([("a".into(), Some(b"one".to_vec())), ("known".into(), None)]));
        let noted = owned(&slate);
        let again = Slate::open(slate.into_memory()).expect("it was one a moment ago");
        assert_eq!(owned(&again), noted);
        assert_eq!(taken, noted.get("a").is_some_and(|text| text == b"one") && !noted.contains_key("known"));
    }
}

fn trays(bytes: &[u8]) {
    let whole = Lender(Arc::new(Mutex::new(vec![0; TRAY_BYTES])));
    drop(Tray::create(Box::new(whole.lend())).expect("a new one"));
    // The records of the first side come behind the number of its form.
    let at = bytes.first().map_or(0, |first| usize::from(*first) * 16);
    let mut memory = whole.lend();
    memory.0[..8].copy_from_slice(b"tutray2\n");
    memory.0[at..].iter_mut().zip(bytes).for_each(|(there, other)| *there ^= *other);
    let _ = Tray::open(Box::new(memory));
}

// ---- texts

fn texts(bytes: &[u8]) {
    if let Ok(it) = saved::decode(bytes) {
        assert_eq!(saved::decode(&saved::encode(&it)).ok(), Some(it));
    }
    if let Ok(it) = alert::decode(bytes) {
        assert!(alert::decode(&alert::encode(&it)).is_ok());
    }
    if let Ok(it) = sink::decode(bytes) {
        assert_eq!(sink::decode(&sink::encode(&it)).ok(), Some(it));
    }
    if let Ok(it) = decode_estate(bytes) {
        assert_eq!(decode_estate(&encode_estate(&it)).ok(), Some(it));
    }
    if let Ok(it) = decode_stamps(bytes) {
        assert_eq!(decode_stamps(&encode_stamps(&it)).ok(), Some(it));
    }
    if let Some(it) = std::str::from_utf8(bytes).ok().and_then(handover::decode) {
        assert_eq!(handover::decode(&handover::encode(&it)), Some(it));
    }
}

// ---- estates

fn moment(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Moment> {
    Ok(match bytes.int_in_range(0..=3)? {
        0 => Moment::from_nanos(bytes.arbitrary()?),
        1 => NOW,
        2 => NOW + Duration::from_millis(bytes.arbitrary::<u16>()?.into()),
        _ => Moment::from_millis(bytes.int_in_range(0..=1_000_000)?),
    })
}

fn perhaps<T>(
    bytes: &mut Unstructured<'_>,
    make: impl FnOnce(&mut Unstructured<'_>) -> arbitrary::Result<T>,
) -> arbitrary::Result<Option<T>> {
    Ok(if bytes.arbitrary()? { Some(make(bytes)?) } else { None })
}

fn exit(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Exit> {
    Ok(match bytes.int_in_range(0..=2)? {
        0 => Exit::Unknown,
        1 => Exit::NotStarted("no such file".into()),
        _ => Exit::Code(bytes.arbitrary()?),
    })
}

fn phase(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Phase> {
    Ok(match bytes.int_in_range(0..=8)? {
        0 => Phase::Stopped,
        1 => Phase::Waiting,
        2 => Phase::Starting {
            until: perhaps(bytes, moment)?,
            step: *bytes.choose(&[StartStep::Hooks, StartStep::Spawning, StartStep::Startup, StartStep::Ready])?,
        },
        3 => Phase::Running { half_open_until: perhaps(bytes, moment)? },
        4 => Phase::Stopping {
            after: match bytes.int_in_range(0..=2)? {
                0 => Afterwards::Stop,
                1 => Afterwards::Restart,
                _ => Afterwards::Judge(exit(bytes)?),
            },
            rung: perhaps(bytes, |bytes| Ok((bytes.arbitrary()?, moment(bytes)?)))?,
        },
        5 => Phase::Backoff { until: moment(bytes)? },
        6 => Phase::Cooldown { until: moment(bytes)? },
        7 => Phase::Failed,
        _ => Phase::Done,
    })
}

fn verdict(bytes: &mut Unstructured<'_>) -> arbitrary::Result<KeptVerdict> {
    let role = *bytes.choose(&[ProbeRole::Startup, ProbeRole::Ready, ProbeRole::Live, ProbeRole::Dependency])?;
    Ok(KeptVerdict {
        role,
        name: role.word().to_owned(),
        verdict: *bytes.choose(&[Verdict::Unknown, Verdict::Pass, Verdict::Fail])?,
        since: moment(bytes)?,
        reason: String::new(),
        told_early: bytes.arbitrary()?,
    })
}

fn estate(bytes: &mut Unstructured<'_>) -> arbitrary::Result<Estate> {
    let mut history = History {
        restarts: bytes.arbitrary()?,
        in_a_row: bytes.arbitrary()?,
        cooldown_until: perhaps(bytes, moment)?,
        half_open: bytes.arbitrary()?,
        ..History::default()
    };
    for _ in 0..bytes.int_in_range(0..=8)? {
        history.recent.push_back(moment(bytes)?);
    }
    let mut verdicts = Vec::new();
    for _ in 0..bytes.int_in_range(0..=4)? {
        verdicts.push(verdict(bytes)?);
    }
    Ok(Estate {
        run: RunId(bytes.arbitrary()?),
        wanted_up: bytes.arbitrary()?,
        asked_down: bytes.arbitrary()?,
        phase: phase(bytes)?,
        since: moment(bytes)?,
        cause: "so".into(),
        pid: perhaps(bytes, |bytes| bytes.arbitrary())?,
        started: moment(bytes)?,
        ran: bytes.arbitrary()?,
        paused: bytes.arbitrary()?,
        history,
        last_exit: perhaps(bytes, |bytes| Ok((exit(bytes)?, moment(bytes)?)))?,
        status_text: String::new(),
        verdicts,
        then: *bytes.choose(&[Then::Keep, Then::Begin, Then::Restart, Then::Remove])?,
        then_because: String::new(),
    })
}

/// Does at once what the machine asks, as the friendliest of all worlds would.
fn obey(guard: &mut Guard, now: Moment) {
    while let Some((key, action)) = guard.poll_action() {
        let input = match action {
            Action::Spawn { run } => Input::Spawned { run, pid: 7 },
            Action::Ask { run, .. } => Input::Exited { run, exit: Exit::Code(0) },
            Action::Sweep { run } => Input::TreeEmpty { run },
            Action::EndTree { run } => {
                guard.handle(now, key, Input::TreeKilled { run, survivors: Vec::new() });
                Input::Exited { run, exit: Exit::Unknown }
            }
            Action::RunHook { run, .. } => Input::HookDone { run, outcome: HookOutcome::Success },
            Action::CancelHook { run } => Input::HookDone { run, outcome: HookOutcome::Cancelled },
            _ => continue,
        };
        guard.handle(now, key, input);
    }
    while guard.poll_event().is_some() {}
}

fn estates(bytes: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let mut guard = Guard::new(NOW, READ.clone(), 8);
    for word in ["a:0", "a:1", "b:0", "gone:0"] {
        let estate = estate(bytes)?;
        assert_eq!(decode_estate(&encode_estate(&estate)).as_ref(), Ok(&estate));
        let heir = perhaps(bytes, |bytes| Ok((RunId(bytes.arbitrary()?), bytes.int_in_range(2..=9)?)))?;
        let id = InstanceId::parse(word).expect("a name");
        let differing = |_: &_| Vec::new();
        let gone = || (**READ.services.values().next().expect("a service")).clone();
        guard.inherit(NOW, &id, estate, heir, differing, gone);
    }
    guard.begin(NOW, &BTreeSet::new());
    let mut now = NOW;
    for _ in 0..20 {
        obey(&mut guard, now);
        let keys: Vec<_> = guard.instances().map(|(key, ..)| key).collect();
        for key in keys {
            let estate = guard.estate(key).expect("it is there");
            assert_eq!(decode_estate(&encode_estate(&estate)), Ok(estate));
        }
        now = guard.poll_timeout().unwrap_or(now).max(now);
        guard.handle_timeout(now);
    }
    guard.handle_command(now, Command::End, "fuzz").expect("an end is never refused");
    for _ in 0..TURNS_MAX {
        obey(&mut guard, now);
        if guard.is_finished() {
            return Ok(());
        }
        now = guard.poll_timeout().expect("something that it waits for").max(now);
        guard.handle_timeout(now);
    }
    panic!("it does not come to its end");
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    match first % 4 {
        0 => texts(bytes),
        1 => slates(bytes),
        2 => trays(bytes),
        _ => drop(estates(&mut Unstructured::new(bytes))),
    }
});
