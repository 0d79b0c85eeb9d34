//! Processes: one per seed, because statics, task identifiers and hash seeds live as long as a process does.
//!
//! A run needs its addresses to be the same every time (hashers mix addresses into their keys), so the program starts
//! itself again with address-space randomisation off, and refuses to run where that is forbidden.

#![expect(
    clippy::disallowed_methods,
    reason = "starting processes and measuring wall time happen outside any simulated run"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Set in the process that was started again, so that a system that ignores the call cannot make it loop.
const MARK: &str = "UNDERSTUDY_SIM_FIXED_ADDRESSES";
/// What that process keeps of its environment, which lies above its stack and would move it: where it looks for scenarios.
const KEPT: [&str; 1] = ["CARGO_MANIFEST_DIR"];

/// Returns in a process with fixed addresses; starts this program again if need be.
#[cfg(target_os = "linux")]
pub fn fix_addresses() -> Result<(), String> {
    use std::os::unix::process::CommandExt;

    // SAFETY: personality only reads and sets flags of this process.
    let persona = unsafe { libc::personality(0xffff_ffff) };
    let is_fixed = persona >= 0 && persona & libc::ADDR_NO_RANDOMIZE != 0;
    let is_again = std::env::var_os(MARK).is_some();
    if is_fixed && is_again {
        return Ok(());
    }
    let refuse = |why: &str| {
        Err(format!(
            "address-space randomisation cannot be switched off ({why}); runs would not be reproducible. In a container, allow personality() in its seccomp profile"
        ))
    };
    if is_again {
        return refuse("the system ignored the request");
    }
    let wanted = libc::c_ulong::try_from(persona | libc::ADDR_NO_RANDOMIZE).expect("flags are not negative");
    // SAFETY: as above.
    if unsafe { libc::personality(wanted) } < 0 {
        return refuse(&io::Error::last_os_error().to_string());
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let error = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env_clear()
        .envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env(MARK, "1")
        .exec();
    Err(format!("could not start again with fixed addresses: {error}"))
}

#[cfg(not(target_os = "linux"))]
pub fn fix_addresses() -> Result<(), String> {
    Err("runs are reproducible on Linux only: switching address-space randomisation off is done there".to_owned())
}

/// Where things lie in this process: a function, the stack, a small piece of memory and a large one. (The allocator draws
/// where memory lies unless its C code is compiled without NDEBUG.)
pub fn addresses() -> String {
    let (small, large, here) = (Box::new(0_u8), vec![0_u8; 64 << 20], 0_u8);
    format!(
        "{:p} {:p} {:p} {:p}",
        addresses as *const (),
        &raw const here,
        small,
        large.as_ptr()
    )
}

/// This program.
pub fn this() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// A program, its output to be read.
pub fn child(program: &Path, arguments: &[String]) -> io::Result<Child> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Runs a program to its end in `folder`; its output, or what it complained of.
pub fn output(folder: &Path, environment: &[(&str, &str)], command: &[&str]) -> Result<String, String> {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(folder)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", command[0]))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{}: {}\n{said}", command.join(" "), output.status))
}

/// Wall time, for progress and for the ratio that is printed.
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// How many cores there are to use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A seed nobody has to think of.
pub fn seed_of_today() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |time| time.as_secs())
}

/// The newest lines of the trace, for the handler of the watchdog, which may take no lock and no memory: a ring of bytes.
static NEWEST: [AtomicU8; NEWEST_BYTES] = [const { AtomicU8::new(0) }; NEWEST_BYTES];
const NEWEST_BYTES: usize = 4096;
const LINE_BYTES_MAX: usize = 200;
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// Keeps a line of the trace for [`watchdog`].
pub fn remember(line: &str) {
    let start = WRITTEN.load(Ordering::Relaxed);
    let bytes = &line.as_bytes()[..line.len().min(LINE_BYTES_MAX)];
    keep(start, bytes);
    keep(start + bytes.len(), b"\n");
    // The handler, which may come at any place of this thread, must not find a length without its bytes.
    std::sync::atomic::compiler_fence(Ordering::Release);
    WRITTEN.store(start + bytes.len() + 1, Ordering::Relaxed);
}

/// Writes into the ring, once round its end if need be.
fn keep(at: usize, bytes: &[u8]) {
    let at = at % NEWEST_BYTES;
    let (first, second) = bytes.split_at(bytes.len().min(NEWEST_BYTES - at));
    for (at, part) in [(at, first), (0, second)] {
        let ring = NEWEST[at..at + part.len()].as_ptr().cast::<u8>().cast_mut();
        // SAFETY: the slice has room for the part, atomics may be written to through a shared reference, and the one who
        // reads beside us is a signal handler of this thread, which takes what it finds.
        unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), ring, part.len()) };
    }
}

/// Ends the process with exit code 4 when `limit` of wall time has passed: the one stop for a busy loop, in which
/// virtual time stands still.
pub fn watchdog(limit: Duration) {
    extern "C" fn expired(_: libc::c_int) {
        const TEXT: &[u8] =
            b"sim: no progress: the wall-clock limit has passed (a loop in which virtual time stands still?)\n";
        let mut newest = [0; NEWEST_BYTES];
        let end = WRITTEN.load(Ordering::Relaxed);
        let start = end.saturating_sub(NEWEST_BYTES);
        for (at, byte) in (start..end).zip(&mut newest) {
            *byte = NEWEST[at % NEWEST_BYTES].load(Ordering::Relaxed);
        }
        let newest = &newest[..end - start];
        const LAST: &[u8] = b"the last events:\n";
        // SAFETY: write and _exit may be called from a signal handler.
        unsafe {
            for text in [TEXT, LAST, newest] {
                libc::write(2, text.as_ptr().cast(), text.len());
            }
            libc::_exit(4);
        }
    }
    let seconds = libc::c_uint::try_from(limit.as_secs().max(1)).unwrap_or(libc::c_uint::MAX);
    // SAFETY: the handler only calls functions that are safe in a handler.
    unsafe {
        libc::signal(libc::SIGALRM, expired as *const () as libc::sighandler_t);
        libc::alarm(seconds);
    }
}

/// Lets this process end when nobody reads what it prints, as in `cargo sim list | head`: Rust would make that a panic.
pub fn end_with_the_reader() {
    // SAFETY: the default action is no handler, and nothing else runs yet.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// The most memory this process has used so far, in bytes, if the system says so.
pub fn memory_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}
