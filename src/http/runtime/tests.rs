//! The runtime on epoll, by what its users see.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    sync::mpsc::channel,
    task::Waker,
    thread,
};

use super::*;
use crate::base::yield_now;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(5);

fn run<T>(future: impl Future<Output = T>) -> T {
    block_on(async { timeout(LONG, future).await.expect("stands still") }).unwrap()
}

#[test]
fn tasks_run_beside_their_parent_and_in_turn() {
    let order = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let (first, second) = (Rc::clone(&order), Rc::clone(&order));
        spawn(async move {
            for _ in 0..2 {
                first.borrow_mut().push(1);
                yield_now().await;
            }
        });
        spawn(async move {
            for _ in 0..2 {
                second.borrow_mut().push(2);
                yield_now().await;
            }
        });
        while order.borrow().len() < 4 {
            yield_now().await;
        }
    });
    assert_eq!(*order.borrow(), [1, 2, 1, 2]);
}

#[test]
fn timers_end_in_their_order_and_not_early() {
    let order = Rc::new(RefCell::new(Vec::new()));
    run(async {
        let started = now();
        for ms in [6, 2, 4, 2] {
            let order = Rc::clone(&order);
            spawn(async move {
                sleep(Duration::from_millis(ms)).await;
                assert!(started.elapsed() >= Duration::from_millis(ms));
                order.borrow_mut().push(ms);
            });
        }
        while order.borrow().len() < 4 {
            sleep(SHORT).await;
        }
    });
    assert_eq!(*order.borrow(), [2, 2, 4, 6]);
}

#[test]
fn timer_that_is_dropped_leaves_nothing_behind() {
    run(async {
        assert_eq!(timeout(SHORT, pending::<()>()).await, Err(Elapsed));
        assert_eq!(timeout(LONG, async { 7 }).await, Ok(7));
        let mut left = pin!(sleep(LONG));
        let polled = poll_fn(|context| Poll::Ready(left.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    });
    assert!(local().is_none());
    block_on(async {
        let _ = timeout(SHORT, sleep(LONG)).await;
        assert_eq!(local().unwrap().timers.due(), None);
    })
    .unwrap();
}

#[test]
fn another_thread_wakes_a_sleeping_one() {
    run(async {
        for _ in 0..200 {
            let (give, take) = channel::<Waker>();
            let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let theirs = std::sync::Arc::clone(&done);
            let other = thread::spawn(move || {
                let waker = take.recv().unwrap();
                theirs.store(true, std::sync::atomic::Ordering::SeqCst);
                waker.wake();
            });
            poll_fn(|context| {
                if done.load(std::sync::atomic::Ordering::SeqCst) {
                    return Poll::Ready(());
                }
                let _ = give.send(context.waker().clone());
                Poll::Pending
            })
            .await;
            other.join().unwrap();
        }
    });
}

#[test]
fn tasks_that_wake_themselves_without_end_leave_the_others_their_turn() {
    run(async {
        spawn(async {
            loop {
                yield_now().await;
            }
        });
        sleep(SHORT).await;
    });
}

#[test]
fn what_has_not_ended_is_dropped_with_the_runtime() {
    struct Last(Rc<Cell<u32>>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            // Whoever goes last may start something, which goes too.
            if self.0.get() < 3 {
                let next = Last(Rc::clone(&self.0));
                spawn(async move {
                    let _next = next;
                    pending::<()>().await;
                });
            }
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let last = Last(Rc::clone(&dropped));
    run(async {
        spawn(async move {
            let _last = last;
            pending::<()>().await;
        });
        yield_now().await;
    });
    assert_eq!((dropped.get(), Rc::strong_count(&dropped)), (3, 1));
}

#[test]
fn one_runtime_a_thread() {
    run(async {
        assert!(block_on(async {}).is_err());
        // The one that runs goes on.
        sleep(SHORT).await;
    });
}

#[test]
fn panic_of_a_task_ends_the_runtime_and_leaves_the_thread_fit_for_another() {
    let panicked = std::panic::catch_unwind(|| {
        block_on(async {
            spawn(async { panic!("on purpose") });
            pending::<()>().await;
        })
    });
    assert!(panicked.is_err());
    assert_eq!(run(async { 1 }), 1);
}
