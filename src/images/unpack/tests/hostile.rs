//! Layers that try to reach what is outside of them. Whatever the answer is, the canary stays as it was.

use super::*;

/// Unpacks, and sees that nothing outside was touched. The answer is the error's reason, if there is one.
#[track_caller]
fn attack(fill: impl FnOnce(&mut Tar, &str)) -> Result<Bench, String> {
    let bench = Bench::new();
    let mut tar = Tar::new();
    fill(&mut tar, bench.home.path().join("canary").to_str().unwrap());
    let result = bench.unpack(&tar.finish());
    bench.assert_canary();
    result.map(|_| bench).map_err(|e| e.to_string())
}

#[test]
fn absolute_names_are_below_the_root() {
    let bench = attack(|tar, canary| {
        tar.file(&format!("{canary}/file"), b"changed");
    })
    .unwrap();
    let inside = bench.root().join(bench.home.path().strip_prefix("/").unwrap());
    assert_eq!(std::fs::read(inside.join("canary/file")).unwrap(), b"changed");
}

#[test]
fn names_that_climb_out_are_refused() {
    for name in ["../../canary/file", "a/../../../canary/file", "/../../canary/file"] {
        let error = attack(|tar, _| {
            tar.file(name, b"changed");
        });
        assert!(error.err().unwrap().contains("climbs out"), "{name}");
    }
}

#[test]
fn writing_through_a_link_stays_inside() {
    for target in ["../../canary", "../../../../../../../..", "/", "/proc/self/root", "/proc/self/cwd"] {
        let _ = attack(|tar, canary| {
            let target = if target == "/" { canary } else { target };
            tar.symlink("out", target);
            tar.dir("out/dir", 0o777);
            tar.file("out/file", b"changed");
        });
    }
}

#[test]
fn a_link_to_an_absolute_directory_leads_to_the_layers_own() {
    let bench = attack(|tar, _| {
        tar.dir("usr/lib", 0o755);
        tar.symlink("lib", "/usr/lib");
        tar.file("lib/libc.so", b"elf");
    })
    .unwrap();
    assert_eq!(std::fs::read(bench.path("usr/lib/libc.so")).unwrap(), b"elf");
}

#[test]
fn a_file_replaces_a_link_and_is_not_written_through_it() {
    let bench = attack(|tar, canary| {
        tar.symlink("file", &format!("{canary}/file"));
        tar.file("file", b"changed");
        tar.symlink("dir", canary);
        tar.dir("dir", 0o777);
        tar.file("dir/new", b"");
    })
    .unwrap();
    assert_eq!(std::fs::read(bench.path("file")).unwrap(), b"changed");
}

#[test]
fn hard_links_stay_inside() {
    for target in ["../../canary/file", "/proc/self/root/etc/passwd"] {
        attack(|tar, _| {
            tar.hard_link("got", target);
        })
        .err()
        .unwrap();
    }
    attack(|tar, canary| {
        tar.symlink("out", canary);
        tar.hard_link("got", "out/file");
        tar.file("got", b"changed");
    })
    .err()
    .unwrap();
    // A link to the link itself: what it points to is never opened.
    attack(|tar, canary| {
        tar.symlink("out", &format!("{canary}/file"));
        tar.hard_link("got", "out");
        tar.file("got", b"changed");
    })
    .unwrap();
}

#[test]
fn whiteouts_stay_inside() {
    for name in ["../../canary/.wh.file", ".wh...", "a/.wh...", ".wh..", ".wh."] {
        attack(|tar, _| {
            tar.dir("a", 0o755);
            tar.file(name, b"");
        })
        .err()
        .unwrap();
    }
    for name in ["out/.wh.file", "out/.wh..wh..opq"] {
        let _ = attack(|tar, canary| {
            tar.symlink("out", canary);
            tar.file(name, b"");
        });
    }
}

#[test]
fn replacing_a_directory_does_not_follow_what_is_in_it() {
    attack(|tar, canary| {
        tar.symlink("d/e/out", canary);
        tar.symlink("d/out", canary);
        tar.file("d", b"");
    })
    .unwrap();
}

#[test]
fn loops_of_links_are_an_error() {
    let error = attack(|tar, _| {
        tar.symlink("a", "b");
        tar.symlink("b", "a");
        tar.file("a/x", b"");
    });
    assert!(error.is_err());
}

#[test]
fn a_file_is_no_directory_for_what_comes_later() {
    let error = attack(|tar, _| {
        tar.file("a", b"");
        tar.file("a/b", b"");
    });
    assert!(error.err().unwrap().contains("what should be its directory is none"));
}

#[test]
fn the_root_stays_a_directory() {
    for kind in [b'0', b'2', b'1'] {
        let error = attack(|tar, canary| match kind {
            b'0' => drop(tar.file(".", b"")),
            b'2' => drop(tar.symlink("/", canary)),
            _ => drop(tar.hard_link("./", "a")),
        });
        assert!(error.is_err());
    }
}

#[test]
fn what_hides_a_mark_hides_nothing() {
    let bench = attack(|tar, _| {
        tar.file("a/.wh.gone", b"").file("a/.wh..wh.gone", b"").file("a/.wh..wh..wh.gone", b"");
        tar.file("b/.wh..wh..opq", b"").file("b/.wh..wh..wh..opq", b"").file("b/stays", b"");
        // A mark is no file: what comes under its name replaces it, and hides all the same.
        tar.file(".wh.name", b"").symlink("name", "a").file(".wh.name", b"");
    })
    .unwrap();
    let names = |dir: &str| {
        let mut names: Vec<_> = std::fs::read_dir(bench.path(dir))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!((names("a"), names("b")), (vec!["gone".to_owned()], vec!["stays".to_owned()]));
    assert_eq!(bench.opaque(&bench.path("b")).as_deref(), Some(&b"y"[..]));
    assert_eq!(std::fs::read_link(bench.path("name")).unwrap(), Path::new("a"));
}

#[test]
fn marks_of_overlayfs_and_labels_of_the_host_are_not_applied() {
    const REFUSED: [&str; 12] = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.origin",
        "trusted.overlay.whiteout",
        "user.overlay.opaque",
        "user.overlay.redirect",
        "trusted.x",
        "security.selinux",
        "security.ima",
        "system.posix_acl_access",
        "security.capability.x",
    ];
    let bench = attack(|tar, _| {
        tar.dir("d", 0o755);
        for name in REFUSED {
            tar.xattr(name, b"y");
        }
        tar.file("f", b"");
        for name in REFUSED {
            tar.xattr(name, b"/etc");
        }
        tar.dir("", 0o755).xattr("trusted.overlay.opaque", b"y");
    })
    .unwrap();
    for path in ["d", "f", ""] {
        assert!(REFUSED.iter().all(|name| bench.kernel.xattr(&bench.path(path), name).is_none()), "{path}");
    }
}

#[test]
fn capabilities_that_the_kernel_does_not_understand_are_an_error() {
    if !is_root() {
        println!("skipped: needs root");
        return;
    }
    let error = attack(|tar, _| {
        tar.file("ping", b"x").xattr("security.capability", b"\xff\xff\xff\xffrubbish");
    });
    assert!(error.err().unwrap().contains("lsetxattr ping"));
}

#[test]
fn times_before_the_epoch_are_kept() {
    let bench = attack(|tar, _| {
        tar.file("pax", b"").pax("mtime", "-1.5");
        tar.file("gnu", b"").mtime_in_base_256(-86_400);
    })
    .unwrap();
    let of = |path: &str| bench.path(path).metadata().map(|m| (m.mtime(), m.mtime_nsec())).unwrap();
    assert_eq!((of("pax"), of("gnu")), ((-2, 500_000_000), (-86_400, 0)));
}
