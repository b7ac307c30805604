//! Many runs in a row: no hang (a lost SIGCHLD is found by patience only), no growth, nothing left behind.

use super::support::need::Need;
use super::support::{Lab, need};

/// `RDOCK_TESTS_RUNS=1000` for the long form.
fn runs() -> usize {
    std::env::var("RDOCK_TESTS_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(100)
}

fn open_descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn a_hundred_runs_in_a_row_all_end() {
    if !need(&[Need::Root]) {
        return;
    }
    let lab = Lab::new().with_image("hello-world");
    // The first ones open what stays open.
    for _ in 0..5 {
        let _ = lab.rdock(["run", "--rm", "hello-world"]).ok();
    }
    let daemon = lab.daemon_pid().unwrap();
    let before = open_descriptors(daemon);
    for n in 0..runs() {
        let answer = lab.rdock(["run", "--rm", "hello-world"]);
        assert_eq!((answer.status, answer.stderr.as_str()), (0, ""), "run {n}: {answer:?}");
    }
    assert_eq!(lab.daemon_pid(), Some(daemon), "the daemon was replaced");
    let settled = super::support::eventually(super::support::PATIENCE, || open_descriptors(daemon) <= before + 2);
    assert!(settled, "{} descriptors open, {before} before", open_descriptors(daemon));
    assert_eq!(lab.containers_on_disk(), Vec::<std::path::PathBuf>::new());
}
