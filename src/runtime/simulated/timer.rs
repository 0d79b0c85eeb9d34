//! Timers of virtual time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Waits until an exact moment.
///
/// The executor's own timer is set once, whoever polls how often, and one that is dropped wakes nobody: a timeout of
/// minutes around something polled a million times must not leave a million wakers behind.
pub(super) struct Sleep {
    deadline: Instant,
    waiter: Option<Arc<Waiter>>,
}

#[derive(Default)]
struct Waiter(Mutex<Option<Waker>>);

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        let waker = self.0.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Sleep {
    pub fn until(deadline: Instant) -> Sleep {
        Sleep { deadline, waiter: None }
    }
}

impl Future for Sleep {
    type Output = ();

    #[expect(clippy::disallowed_methods, reason = "virtual time, as runtime::now shows it")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.deadline {
            self.waiter = None;
            return Poll::Ready(());
        }
        if let Some(waiter) = &self.waiter {
            let old = waiter.0.lock().replace(cx.waker().clone());
            drop(old);
            return Poll::Pending;
        }
        let waiter = Arc::new(Waiter(Mutex::new(Some(cx.waker().clone()))));
        self.waiter = Some(waiter.clone());
        // `reset` goes below the millisecond that the executor's sleep takes at least.
        let mut timer = madsim::time::sleep(Duration::ZERO);
        Pin::new(&mut timer).reset(self.deadline);
        Pin::new(&mut timer).poll(&mut Context::from_waker(&Waker::from(waiter)))
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(waiter) = &self.waiter {
            let old = waiter.0.lock().take();
            drop(old);
        }
    }
}
