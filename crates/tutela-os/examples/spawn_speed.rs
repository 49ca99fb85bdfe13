//! How long a start and the collection of its end take, beside the floor: a bare `fork`, `execve` and
//! `waitpid` in a process of the same size.
//!
//! `cargo run --release -p tutela-os --example spawn_speed [STARTS] [OPEN FILES]`; with open files the
//! guard holds that many more, as one with many services does.

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the floor is what a C program would do")]
mod floor {
    use std::time::{Duration, Instant};

    /// One start of `/bin/true` by `fork` and `execve`, until it is collected.
    pub fn start() -> Duration {
        let argv = [c"true".as_ptr(), std::ptr::null()];
        let envp = [std::ptr::null()];
        let began = Instant::now();
        // SAFETY: the child only calls functions that are safe between fork and exec.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: as above; the path and both arrays are valid.
            unsafe { libc::execve(c"/bin/true".as_ptr(), argv.as_ptr(), envp.as_ptr()) };
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(127) };
        }
        let mut status = 0;
        // SAFETY: the status is a live integer of ours.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        began.elapsed()
    }
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::{Duration, Instant};
    use tutela_os::process::{Nursery, NurseryOptions, SpawnRequest};

    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let (starts, open) = (numbers.next().unwrap_or(1_000), numbers.next().unwrap_or(0));
    tutela_os::limits::raise_open_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{starts} starts of /bin/true, {open} more open files; the rows of a kind were taken in turns");
    for force_walk in [false, true] {
        let nursery = Nursery::open("speed", &NurseryOptions { force_walk, ..NurseryOptions::default() })?;
        let _held: Vec<_> = (0..open).map(|_| std::fs::File::open("/dev/null")).collect::<Result<_, _>>()?;
        let request = SpawnRequest::new("/bin/true", "/", "speed");
        let (mut spawned, mut ended, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        runtime.block_on(async {
            let mut signal = nursery.child_signal()?;
            for _ in 0..starts {
                let at = Instant::now();
                let child = nursery.spawn(&request)?;
                spawned.push(at.elapsed());
                let mut over = false;
                while !over {
                    signal.ready().await?;
                    nursery.reap(&mut |reaped| over |= reaped.owner == Some(child.token()));
                }
                ended.push(at.elapsed());
                floor.push(floor::start());
            }
            Ok::<_, Box<dyn std::error::Error>>(())
        })?;
        let kind = nursery.container().word();
        for (row, mut times) in [("spawn", spawned), ("spawn, end, reap", ended), ("floor: fork, exec, wait", floor)] {
            times.sort_unstable();
            let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
            let all: Duration = times.iter().sum();
            let (low, middle, high) = (at(10), at(50), at(99));
            println!("{kind:7}{row:25} p10 {low:>9.1?}  p50 {middle:>9.1?}  p99 {high:>9.1?}  all {all:>9.1?}");
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("programs cannot be started on this OS yet");
}
