//! What a simulated run must keep the operating system from telling it.
//!
//! The executor replaces `getrandom` and the clocks; what is left is entropy that libraries ask of the kernel itself by
//! `syscall` (ring does), and the random addresses of the process, which find their way into hash keys (ahash).
#![expect(unsafe_code, reason = "replaces a function of libc and starts the program anew")]

use std::ffi::{c_long, c_void};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::world;

type Syscall = unsafe extern "C" fn(c_long, usize, usize, usize, usize, usize, usize) -> c_long;

/// Where libc's own `syscall` is: a constant of the process, found at the first call.
static REAL_SYSCALL: AtomicUsize = AtomicUsize::new(0);

fn real_syscall() -> Syscall {
    let mut address = REAL_SYSCALL.load(Ordering::Relaxed);
    if address == 0 {
        // SAFETY: looks up a name; the name is a C string.
        address = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) } as usize;
        assert!(address != 0, "libc has a syscall");
        REAL_SYSCALL.store(address, Ordering::Relaxed);
    }
    // SAFETY: this is libc's variadic function of integers, which on this platform are passed as those of any other.
    unsafe { std::mem::transmute::<usize, Syscall>(address) }
}

/// Answers for entropy from the streams of the run, inside one; all else goes to the kernel.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(n: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    if n == libc::SYS_getrandom && b > 0 && world::in_task() {
        // SAFETY: the caller passes a buffer of `b` bytes, as getrandom(2) asks for.
        let bytes = unsafe { std::slice::from_raw_parts_mut(a as *mut u8, b) };
        world::current().fill_entropy(bytes);
        return b as c_long;
    }
    // SAFETY: whatever the caller promises the kernel.
    unsafe { real_syscall()(n, a, b, c, d, e, f) }
}

/// Makes sure that the process has the same addresses in every run: starts the program anew without address-space
/// randomisation when it has it. An error means that runs cannot be repeated, and must not go on.
#[expect(
    clippy::disallowed_methods,
    reason = "passes on the program's own arguments and environment"
)]
pub fn fix_addresses() -> io::Result<()> {
    const AGAIN: &str = "UNDERSTUDY_SIMULATION_REEXECUTED";
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: asks for the flags, changes nothing.
    let flags = unsafe { libc::personality(ASK) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::ADDR_NO_RANDOMIZE != 0 {
        return Ok(());
    }
    if std::env::var(AGAIN).is_ok() {
        return Err(io::Error::other(
            "address-space randomisation is still on after personality(ADDR_NO_RANDOMIZE): allow that call (container \
             profiles often forbid it), or start with `setarch -R`",
        ));
    }
    // SAFETY: changes a flag of this process, which counts from the next execve on.
    if unsafe { libc::personality((flags | libc::ADDR_NO_RANDOMIZE) as libc::c_ulong) } < 0 {
        let cause = io::Error::last_os_error();
        return Err(io::Error::other(format!(
            "cannot switch address-space randomisation off ({cause}): allow personality(2), or start with `setarch -R`"
        )));
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    Err(std::process::Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .env(AGAIN, "1")
        .exec())
}

const _: () = assert!(size_of::<usize>() == size_of::<*mut c_void>());
