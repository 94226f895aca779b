//! Money while the disk is full or slow (F-40, F-45).
//!
//! `strace` lets the calls of the one thread that writes fail or last. Who has budget on the node goes on, who needs more is told
//! so and waits for the disk, who has no limit notices nothing; afterwards every answer stands in the books, once.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{DEADLINE, Gateway, Reply, Tracer, eventually};
use crate::keys::Project;
use crate::limits::{error, exact, key, priced, shown};

/// Answers that the limited key can pay.
const PAID: usize = 100;
/// What one sync takes on the slow disk.
const SYNC: Duration = Duration::from_secs(2);

/// Starts a fault in the thread that writes the store; none where this machine does not allow it.
fn inject(gateway: &Gateway, what: &str) -> Option<Tracer> {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap().flatten();
    let named = |task: &fs::DirEntry| fs::read_to_string(task.path().join("comm")).unwrap().trim() == "store-write";
    let thread = tasks.into_iter().find(named).expect("a thread that writes").file_name();
    Tracer::attach(gateway.folder(), &[], what, thread.to_str().unwrap())
}

/// A project with a key that can pay [`PAID`] answers, and one without a limit.
struct Site {
    project: Project,
    limited: String,
    at: String,
    free: String,
    answered: usize,
    refused: usize,
}

impl Site {
    fn new() -> Self {
        let project = priced(1);
        let (at, limited) = key(&project, &json!({"description": "limited", "usage_limit": "1.2"}));
        let (_, free) = key(&project, &json!({"description": "free"}));
        Self { project, limited, at, free, answered: 0, refused: 0 }
    }

    fn ask(&mut self, key: &str) -> Reply {
        let reply = self.project.gateway.ask(&exact(key));
        match reply.status {
            200 => self.answered += 1,
            _ => self.refused += 1,
        }
        reply
    }

    fn ask_limited(&mut self) -> Reply {
        self.ask(&self.limited.clone())
    }

    /// Asks without a limit; every one is answered.
    fn ask_free(&mut self, count: usize, what: &str) {
        for _ in 0..count {
            let reply = self.ask(&self.free.clone());
            assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        }
    }

    /// Spends what is left of the limit, then every book agrees.
    fn close(mut self, paid: usize) {
        let mut paid = paid;
        let refused = loop {
            let reply = self.ask_limited();
            match reply.status {
                200 => paid += 1,
                // A busy disk keeps a lease waiting; it comes later.
                503 => assert_eq!(error(&reply).1, "ledger_unavailable", "{}", reply.text()),
                _ => break reply,
            }
        };
        assert_eq!(paid, PAID, "{}", refused.text());
        assert_eq!(error(&refused), (429, "insufficient_quota".to_owned()), "{}", refused.text());
        assert_eq!(shown(&self.project, &self.at)["usage_total"], "1.200000000");
        let sums = format!("{}?granularity=day&group_by=status", self.project.path("/analytics"));
        let counted = || {
            let total = &shown(&self.project, &sums)["total"];
            let of = |name: &str| usize::try_from(total[name].as_u64().unwrap()).unwrap();
            (of("requests") - of("errors"), of("errors"))
        };
        let want = (self.answered, self.refused);
        assert!(eventually(DEADLINE, || counted() == want), "{:?} in the book, {want:?} seen", counted());
        let open = self.project.gateway.metric("millrace_ledger_unreconciled_nanousd", "");
        assert_eq!(open, Some(0.0));
        self.project.gateway.assert_idle();
    }
}

#[test]
fn f_40_full_disk_stops_only_whom_it_must_and_no_money_is_lost() {
    let mut site = Site::new();
    for _ in 0..3 {
        assert_eq!(site.ask_limited().status, 200);
    }
    // Not `write`: with it the thread wakes others.
    let Some(full) = inject(&site.project.gateway, "pwrite64,ftruncate,fallocate:error=ENOSPC:when=1+") else { return };
    let mut paid = 3;
    let refused = loop {
        let reply = site.ask_limited();
        if reply.status != 200 {
            break reply;
        }
        paid += 1;
        assert!(paid < PAID, "all of a limit was spent without a disk");
    };
    assert_eq!(error(&refused), (503, "ledger_unavailable".to_owned()), "{}", refused.text());
    assert!(refused.header("retry-after").is_some(), "{}", refused.text());
    site.ask_free(200, "the disk is full");
    let change = json!({"description": "more"}).to_string();
    let changed = site.project.gateway.admin("POST", &site.project.path("/keys"), &[], &change);
    assert_eq!(changed.status, 503, "{}", changed.text());
    assert!(changed.text().contains("the disk is full"), "{}", changed.text());
    drop(full);
    let ended = Instant::now();
    assert!(eventually(DEADLINE, || site.ask_limited().status == 200), "not well again by itself");
    println!("{paid} answers were paid before the lease was used up; well {:?} after the end", ended.elapsed());
    site.close(paid + 1);
}

#[test]
fn f_45_slow_disk_slows_nobody_who_has_budget() {
    let mut site = Site::new();
    assert_eq!(site.ask_limited().status, 200);
    let Some(slow) = inject(&site.project.gateway, "fsync,fdatasync:delay_enter=2000000") else { return };
    let started = Instant::now();
    site.ask_free(100, "the disk is slow");
    assert!(started.elapsed() < SYNC * 100 / 2, "answers wait for the disk: {:?}", started.elapsed());
    let mut paid = 1;
    for _ in 0..10 {
        let reply = site.ask_limited();
        match reply.status {
            200 => paid += 1,
            _ => assert_eq!(error(&reply), (503, "ledger_unavailable".to_owned()), "{}", reply.text()),
        }
    }
    site.ask_free(100, "the disk is slow");
    drop(slow);
    assert!(eventually(DEADLINE, || site.ask_limited().status == 200), "not well again by itself");
    site.close(paid + 1);
}
