//! What leaves the world is not let through.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use parking_lot::Mutex;

use super::between;
use crate::runtime::simulated::{REFUSED, is_refused_thread};

/// Where the child of the test below is told that it is one.
const CHILD: &str = "UNDERSTUDY_TEST_OPENS_A_FILE";

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "does what must not be done, in a process of its own"
)]
fn a_real_file_ends_the_run() {
    if std::env::var_os(CHILD).is_some() {
        assert!(
            std::fs::File::open("/etc/hostname").is_ok(),
            "outside a run it is let through"
        );
        between(1, |_| async { drop(std::fs::File::open("/etc/hostname")) });
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "runtime::simulated::tests::system::a_real_file_ends_the_run",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(REFUSED), "{said}");
    let expected = "sim: a real file was opened within a run, which no seed repeats: /etc/hostname";
    assert!(said.contains(expected), "{said}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "does what must not be done")]
fn a_thread_is_refused_and_known_by_its_panic() {
    static PLACE: Mutex<Option<String>> = Mutex::new(None);
    let own = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == own {
            *PLACE.lock() = info.location().map(|location| location.file().to_owned());
        } else {
            before(info);
        }
    }));
    between(1, |_| async {
        let started = catch_unwind(AssertUnwindSafe(|| std::thread::spawn(|| {})));
        assert!(started.is_err());
    });
    let place = PLACE.lock().take().unwrap();
    assert!(is_refused_thread(&place), "{place}");
    assert!(!is_refused_thread("src/sql/session/mod.rs"));
}
