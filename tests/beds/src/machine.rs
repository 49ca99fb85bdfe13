//! A whole machine in QEMU: what a test of boot, reboot, power cut and limits holds in its hand.
//!
//! Its processor is emulated, so it boots in ten to thirty seconds and runs everything several times slower than
//! this one; its bounds are wide. Its disk is a copy of the bed's, taken when the machine is made, and lives on through
//! reboots and power cuts until the machine is dropped.
//!
//! [`Machine::cut_power`] is `kill -9` of QEMU: what the system inside had not yet given to its disk is lost, as it is
//! when a plug is pulled. What the disk had taken is kept, also what it was never asked to flush: real disks are not so
//! kind, and no test here proves anything about them.

use crate::ended::Ended;
use crate::make;
use crate::place::{Place, remove};
use crate::room::{Kind, Room};
use port::{Port, Told};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

mod port;

/// How long a boot may take on two slow cores that others want as well.
const BOOT: Duration = Duration::from_secs(300);

/// How long a command may take.
const BOUND: Duration = Duration::from_secs(120);

/// Between two looks at a condition: each is a command in a slow machine.
const LOOK: Duration = Duration::from_millis(300);

/// Megabytes of memory: enough for the system, a guard and a program that wants too much.
const MEMORY: &str = "768";

/// Lines of the console that a failed test shows.
const CONSOLE_LINES: usize = 40;

/// A machine that is switched on, or not.
#[derive(Debug)]
pub struct Machine {
    place: Place,
    /// Its disk and its console.
    folder: PathBuf,
    running: Option<Running>,
    commands: u32,
}

#[derive(Debug)]
struct Running {
    port: Port,
    qemu: Child,
    /// The boot that answers on the port.
    boot: String,
    /// Ends QEMU when it is dropped; last, because the others are quiet about that.
    _room: Room,
}

impl Machine {
    /// Makes a machine and boots it.
    ///
    /// # Panics
    /// It does not come up; the message has its console.
    pub fn boot() -> Self {
        static MACHINES: AtomicU32 = AtomicU32::new(0);
        let place = Place::of_checkout().expect("the folder of beds");
        make::ensure(&place, Kind::Machine).expect("the bed");
        sweep(&place.run());
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let folder = place.run().join(format!("machine-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).expect("a folder for the machine");
        let mut machine = Machine { place, folder, running: None, commands: 0 };
        let disk = machine.place.bed(Kind::Machine.word()).join("disk.img");
        let mut copy = Command::new("cp");
        copy.args(["--sparse=always", "--reflink=auto", "--"]).arg(disk).arg(machine.folder.join("disk.img"));
        assert!(copy.status().expect("cp starts").success(), "failed to copy the disk");
        machine.power_on();
        machine
    }

    /// Switches it on, and waits until it answers.
    ///
    /// # Panics
    /// It is on already, or does not come up.
    #[track_caller]
    pub fn power_on(&mut self) {
        assert!(self.running.is_none(), "it is on already");
        let room = Room::open(&self.place, Kind::Machine).expect("a room");
        let bed = self.place.bed(Kind::Machine.word());
        let mut command = room.command("/usr/bin/qemu-system-x86_64");
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"]);
        command.arg("-kernel").arg(bed.join("vmlinuz"));
        command.args(["-append", "root=/dev/nvme0n1 rw console=ttyS0 quiet panic=-1"]);
        command.arg("-serial").arg(format!("file:{}", self.console().display()));
        command
            .arg("-drive")
            .arg(format!("file={},format=raw,if=none,id=disk", self.folder.join("disk.img").display()));
        command.args(["-device", "nvme,drive=disk,serial=bed", "-device", "virtio-rng-pci"]);
        command.args(["-device", "virtio-serial-pci", "-chardev", "stdio,id=hands,signal=off"]);
        command.args(["-device", "virtserialport,chardev=hands,name=bed"]);
        let errors = std::fs::File::create(self.folder.join("qemu")).expect("a file for what QEMU says");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn();
        let mut qemu = child.expect("nsenter starts");
        let port = Port::open(qemu.stdin.take(), qemu.stdout.take());
        self.running = Some(Running { port, qemu, boot: String::new(), _room: room });
        self.await_boot();
    }

    /// Waits until another boot answers than the one before.
    #[track_caller]
    fn await_boot(&mut self) {
        let began = Instant::now();
        let running = self.running.as_mut().expect("it is on");
        loop {
            match running.port.hear(BOOT.saturating_sub(began.elapsed())) {
                Some(Told::Hello { boot }) if boot != running.boot => {
                    running.boot = boot;
                    return;
                }
                Some(_) => {}
                None => panic!("it did not come up within {BOOT:?}\n{}", self.story()),
            }
        }
    }

    /// Pulls the plug.
    ///
    /// # Panics
    /// It is off.
    pub fn cut_power(&mut self) {
        let mut running = self.running.take().expect("it is on");
        // The room's end is that of QEMU, by `SIGKILL` from the kernel.
        drop(running._room);
        let _ = running.qemu.wait();
    }

    /// Boots it anew in the regular way, and waits until it answers.
    ///
    /// # Panics
    /// It does not come up.
    #[track_caller]
    pub fn reboot(&mut self) {
        self.commands += 1;
        let running = self.running.as_mut().expect("it is on");
        // Whether its hands still get to answer is a race that they may lose.
        assert!(running.port.ask(self.commands, BOUND.as_secs(), b"systemctl reboot", &[]), "it is off");
        self.await_boot();
    }

    /// Runs a script of bash as root.
    ///
    /// # Panics
    /// The machine does not answer.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> Ended {
        self.run_with(script, &[])
    }

    #[track_caller]
    fn run_with(&mut self, script: &str, input: &[u8]) -> Ended {
        self.commands += 1;
        let (number, began) = (self.commands, Instant::now());
        // The machine ends it after `BOUND`; that it says so takes a moment more.
        let patience = BOUND * 2;
        let running = self.running.as_mut().expect("it is on");
        let sent = running.port.ask(number, BOUND.as_secs(), script.as_bytes(), input);
        assert!(sent, "it is off: `{script}`\n{}", self.story());
        loop {
            let running = self.running.as_mut().expect("it is on");
            match running.port.hear(patience.saturating_sub(began.elapsed())) {
                Some(Told::Ended { number: told, code, out, err }) if told == number => {
                    return Ended { code, out, err, script: script.to_owned() };
                }
                Some(_) => {}
                None => break,
            }
        }
        panic!("no answer within {patience:?} to `{script}`\n{}", self.story());
    }

    /// Writes a file, and makes the folders above it. It is on the disk when this returns.
    ///
    /// # Panics
    /// It can not be written.
    #[track_caller]
    pub fn put(&mut self, path: &str, text: &str) {
        let script = format!("mkdir -p \"$(dirname '{path}')\" && cat >'{path}' && sync '{path}'");
        self.run_with(&script, text.as_bytes()).ok();
    }

    /// Copies a program in.
    ///
    /// # Panics
    /// It can not be read or written.
    #[track_caller]
    pub fn put_program(&mut self, from: &Path, to: &str) {
        let program = std::fs::read(from).unwrap_or_else(|error| panic!("failed to read {}: {error}", from.display()));
        let script = format!("mkdir -p \"$(dirname '{to}')\" && cat >'{to}' && chmod 755 '{to}' && sync '{to}'");
        self.run_with(&script, &program).ok();
    }

    /// Waits until a script answers with success, and returns its output.
    ///
    /// # Panics
    /// It never did; the message has its last answer.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, script: &str) -> String {
        let began = Instant::now();
        loop {
            let ended = self.run(script);
            if ended.code == 0 {
                return ended.out.trim_end().to_owned();
            }
            assert!(began.elapsed() < BOUND, "waited in vain until {what}: {}", ended.story());
            std::thread::park_timeout(LOOK);
        }
    }

    /// Waits until `look` finds something.
    ///
    /// # Panics
    /// It never did.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(began.elapsed() < BOUND, "waited in vain until {what}");
            std::thread::park_timeout(LOOK);
        }
    }

    fn console(&self) -> PathBuf {
        self.folder.join("console")
    }

    /// What can be known without its help: its console, and what QEMU said.
    fn story(&self) -> String {
        let text = |name: &str| {
            String::from_utf8_lossy(&std::fs::read(self.folder.join(name)).unwrap_or_default()).into_owned()
        };
        let console = text("console");
        let lines: Vec<&str> = console.lines().collect();
        let end = lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n");
        format!("--- console\n{end}\n--- QEMU\n{}---", text("qemu"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.story());
            if let Some(running) = self.running.as_mut() {
                let script = b"systemctl --no-pager --failed; journalctl --no-pager --lines=80 --boot";
                running.port.ask(0, 20, script, &[]);
                while let Some(told) = running.port.hear(Duration::from_secs(30)) {
                    if let Told::Ended { number: 0, out, .. } = told {
                        println!("{out}");
                        break;
                    }
                }
            }
        }
        self.running = None;
        let _ = remove(&self.folder);
    }
}

/// Removes what machines of processes that ended in a hurry left.
fn sweep(run: &Path) {
    for entry in std::fs::read_dir(run).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("machine-")?.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = remove(&entry.path());
        }
    }
}
