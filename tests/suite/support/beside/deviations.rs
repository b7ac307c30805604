//! Where rdock answers differently from the dockerd that it is compared with, and why. One table: what is not in it is
//! the same, and a row that nothing needs any more is a failure of its test.

/// One difference.
pub struct Deviation {
    /// The name that the test gave to `Beside::new`.
    pub test: &'static str,
    /// The arguments begin so, joined by spaces.
    pub when: &'static str,
    /// A piece of the normalised answer of dockerd (`status N`, `--- stdout`, `--- stderr` are part of it) …
    pub docker: &'static str,
    /// … and what rdock has there.
    pub rdock: &'static str,
    pub why: &'static str,
}

/// Grouped by area, so that those who work side by side do not meet at the end of the list.
pub const DEVIATIONS: &[Deviation] = &[
    // --- beside: the harness itself
    Deviation {
        test: "beside",
        when: "run --network none busybox nosuchcommand",
        docker: "runc create failed",
        rdock: "rdock create failed",
        why: "the runtime says its own name",
    },
    // --- images
    Deviation {
        test: "images",
        when: "images --filter dangling=maybe",
        docker: "Invalid filter 'dangling=[maybe]'",
        rdock: "invalid filter 'dangling=[maybe]'",
        why: "errors of the daemon begin with a small letter since 23.0",
    },
    Deviation {
        test: "images",
        when: "image inspect nosuch",
        docker: "no such image: nosuch: No such image: nosuch:latest",
        rdock: "No such image: nosuch:latest",
        why: "newer ones say it once",
    },
    // --- archives
    // --- exec, top, stats
    // --- life: logs, events, ps
    Deviation {
        test: "beside-life",
        when: "ps --filter nosuch=1",
        docker: "Invalid filter 'nosuch'",
        rdock: "invalid filter 'nosuch'",
        why: "errors of the daemon begin with a small letter since 23.0",
    },
    Deviation {
        test: "beside-life",
        when: "ps --filter status=bogus",
        docker: "Invalid filter",
        rdock: "invalid filter",
        why: "errors of the daemon begin with a small letter since 23.0",
    },
    Deviation {
        test: "beside-life",
        when: "ps --filter is-task=maybe",
        docker: "Invalid filter",
        rdock: "invalid filter",
        why: "errors of the daemon begin with a small letter since 23.0",
    },
    Deviation {
        test: "beside-life",
        when: "container prune -f --filter bad=1",
        docker: "Invalid filter",
        rdock: "invalid filter",
        why: "errors of the daemon begin with a small letter since 23.0",
    },
    // --- options of run
    // --- files: cp, diff, commit, export
    // --- terminal
];
