//! What a simulated run must keep the operating system from telling it.
//!
//! The executor replaces `getrandom` and the clocks; what is left is entropy that libraries ask of the kernel itself by
//! `syscall` (ring does), and files, which are opened by `open64` (the standard library) or by `syscall`. Folders that are
//! read, and files that are only asked about, are kept out by the lints of `clippy.toml` alone.
#![expect(unsafe_code, reason = "replaces functions of libc")]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
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
    // The C library's own calls do not come by here.
    let path = match n {
        libc::SYS_openat | libc::SYS_openat2 => Some(b),
        // A call of its own on some machines only.
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => Some(a),
        _ => None,
    };
    if let Some(path) = path
        && world::in_task()
    {
        // SAFETY: the caller passes a path that ends with a zero byte, as these calls ask for.
        refuse("a real file was opened", unsafe {
            CStr::from_ptr(path as *const c_char)
        });
    }
    // SAFETY: whatever the caller promises the kernel.
    unsafe { real_syscall()(n, a, b, c, d, e, f) }
}

/// The exit code of a run that met something that no seed repeats: addresses that vary, a thread, a real file.
pub const REFUSED: i32 = 5;

/// Ends the process: a server, or whatever runs in the world, was about to leave it.
fn refuse(what: &str, name: &CStr) -> ! {
    let name = name.to_string_lossy();
    let text = format!("sim: {what} within a run, which no seed repeats: {name}\n");
    // SAFETY: writes the text, which is there, and ends.
    unsafe {
        libc::write(2, text.as_ptr().cast(), text.len());
        libc::_exit(REFUSED)
    }
}

/// Whether a panic in this source file says that a thread was to be started within a run: the executor lets none begin, and
/// the standard library cannot go on without. Nothing else there panics.
pub fn is_refused_thread(file: &str) -> bool {
    file.contains("/std/src/sys/thread/")
}

/// Where the standard library looks how many processors this process may use. The world has no control groups.
const CONTROL_GROUP: &CStr = c"/proc/self/cgroup";

/// How the standard library opens files. Within a run there are only those of simulated disks.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: libc::mode_t) -> c_int {
    // A panic is shown with places from the program's own file.
    if world::in_task() && !std::thread::panicking() {
        // SAFETY: the caller gives a path that ends with a zero byte, as open(2) asks for.
        let name = unsafe { CStr::from_ptr(path) };
        if name != CONTROL_GROUP {
            refuse("a real file was opened", name);
        }
        // SAFETY: the place of this thread's error number.
        unsafe { *libc::__errno_location() = libc::ENOENT };
        return -1;
    }
    // SAFETY: whatever the caller promises the kernel; what `open64` of the C library does is openat(2), too.
    let opened = unsafe {
        real_syscall()(
            libc::SYS_openat,
            libc::AT_FDCWD as usize,
            path as usize,
            flags as usize,
            mode as usize,
            0,
            0,
        )
    };
    c_int::try_from(opened).unwrap_or(-1)
}

const _: () = assert!(size_of::<usize>() == size_of::<*mut c_void>());
