//! What comes out: the images of the embedded recipes, made from this host into a store of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use tempfile::TempDir;

use super::host::Host;
use super::{Built, Catalog, LabError, ensure};
use crate::content::Store;
use crate::oci::Digest;

struct Lab {
    dir: TempDir,
    store: Store,
    catalog: Catalog,
}

impl Lab {
    fn new() -> Lab {
        Lab::on(Host::this_machine())
    }

    fn on(host: Host) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("hub")).unwrap();
        Lab { dir, store, catalog: Catalog::with_host(host).unwrap() }
    }

    fn make(&self, name: &str) -> Built {
        ensure(&self.store, &self.catalog, name).unwrap()
    }

    fn blob<T: serde::de::DeserializeOwned>(&self, descriptor: &Descriptor) -> T {
        let digest: Digest = descriptor.digest().to_string().parse().unwrap();
        let bytes = self.store.read(&digest).unwrap();
        assert_eq!(bytes.len() as u64, descriptor.size());
        serde_json::from_slice(&bytes).unwrap()
    }

    fn manifest(&self, name: &str) -> ImageManifest {
        let tagged = self.store.resolve(&format!("docker.io/library/{name}:latest")).unwrap().unwrap();
        self.manifest_of(&tagged)
    }

    fn manifest_of(&self, tagged: &Descriptor) -> ImageManifest {
        let index: ImageIndex = self.blob(tagged);
        assert_eq!(index.manifests().len(), 1);
        self.blob(&index.manifests()[0])
    }

    /// The image's layers, one over the other, in a new directory.
    fn assemble(&self, name: &str) -> PathBuf {
        let root = self.dir.path().join(format!("{name}-root"));
        for layer in self.manifest(name).layers() {
            let digest: Digest = layer.digest().to_string().parse().unwrap();
            let gzip = flate2::read::GzDecoder::new(self.store.open_blob(&digest).unwrap());
            let mut archive = tar::Archive::new(gzip);
            archive.set_preserve_permissions(true);
            archive.unpack(&root).unwrap();
        }
        root
    }
}

/// A host that has the programs of this one except those named.
fn host_without(dir: &Path, missing: &[&str]) -> Host {
    for from in ["/usr/sbin", "/usr/bin"] {
        for entry in fs::read_dir(from).unwrap().flatten() {
            let name = entry.file_name();
            if !missing.iter().any(|m| name == **m) {
                let _ = std::os::unix::fs::symlink(entry.path(), dir.join(name)); // in both: the first stays
            }
        }
    }
    Host::with_program_dirs(vec![dir.to_owned()])
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_root_of_centos_is_as_in_the_document() {
    let lab = Lab::new();
    lab.make("centos");
    let expected = "bin dev etc home lib lib64 lost+found media mnt opt proc root run sbin srv sys tmp usr var";
    let root = lab.assemble("centos");
    assert_eq!(names_in(&root).join(" "), expected);
    assert_eq!(fs::read_link(root.join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(fs::metadata(root.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
    assert!(fs::read_to_string(root.join("etc/os-release")).unwrap().contains("ID=rdock-lab"));
    assert!(root.join("usr/share/terminfo/x/xterm").is_file() || Host::this_machine().find_terminfo("xterm").is_none());
}

#[test]
fn configs_are_valid_and_say_what_the_images_are() {
    let lab = Lab::new();
    for (name, cmd) in [("centos", "/bin/bash"), ("hello-world", "/hello"), ("busybox", "sh")] {
        lab.make(name);
        let manifest = lab.manifest(name);
        let config: ImageConfiguration = lab.blob(manifest.config());
        assert_eq!(config.rootfs().diff_ids().len(), manifest.layers().len());
        let started = config.config().as_ref().unwrap();
        assert_eq!(started.cmd().as_deref().unwrap(), [cmd]);
        assert_eq!(
            started.env().as_deref().unwrap(),
            ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        );
        let labels = config.labels_of_config().unwrap();
        assert_eq!(labels["org.rdock.lab.stand-in"], "true");
        assert!(labels.get("org.label-schema.vendor").is_none_or(|v| v == "rdock lab, not CentOS"));
        let history = config.history().as_ref().unwrap();
        let with_layer = history.iter().filter(|h| h.empty_layer() != Some(true)).count();
        assert_eq!(with_layer, manifest.layers().len());
    }
}

#[test]
fn mysql_and_mysql_5_7_have_the_documents_layers_and_share_seven() {
    let lab = Lab::new();
    lab.make("mysql");
    let latest = lab.manifest("mysql");
    let made = lab.make("mysql-5.7");
    let older = lab.manifest_of(&made.descriptor);
    let digests = |m: &ImageManifest| m.layers().iter().map(|l| l.digest().to_string()).collect::<Vec<_>>();
    let (latest, older) = (digests(&latest), digests(&older));
    assert_eq!((latest.len(), older.len()), (12, 11));
    let shared = latest.iter().zip(&older).take_while(|(a, b)| a == b).count();
    assert_eq!(shared, 7);
    let mut distinct: Vec<&String> = latest.iter().chain(&older).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 16, "no layer is another one by accident");
    let other = lab.make("mariadb");
    assert_eq!(digests(&lab.manifest_of(&other.descriptor))[..4], latest[..4]);
}

#[test]
fn servers_say_which_ports_volumes_and_signals_they_have() {
    let lab = Lab::new();
    for (name, port, signal, volumes) in [
        ("mysql", "3306/tcp", None, Some(vec!["/var/lib/mysql".to_owned()])),
        ("mariadb", "3306/tcp", None, Some(vec!["/var/lib/mysql".to_owned()])),
        ("nginx", "80/tcp", Some("SIGQUIT".to_owned()), None),
        ("tomcat", "8080/tcp", None, None),
    ] {
        lab.make(name);
        let manifest = lab.manifest(name);
        let config: ImageConfiguration = lab.blob(manifest.config());
        let started = config.config().as_ref().unwrap();
        assert!(started.exposed_ports().as_ref().unwrap().iter().any(|p| p == port), "{name}");
        assert_eq!((started.stop_signal(), started.volumes()), (&signal, &volumes), "{name}");
        assert!(config.labels_of_config().unwrap()["org.rdock.lab.about"].starts_with("Made by rdock"), "{name}");
        let root = lab.assemble(name);
        assert!(root.join("usr/bin/bash").is_file(), "{name}");
    }
}

#[test]
fn the_same_host_gives_the_same_digests() {
    for name in ["centos", "hello-world", "busybox"] {
        let (one, two) = (Lab::new().make(name), Lab::new().make(name));
        assert_eq!(one.descriptor, two.descriptor, "{name}");
        assert!(one.fresh && two.fresh);
    }
}

#[test]
fn what_is_there_and_still_true_is_not_made_again() {
    let lab = Lab::new();
    let first = lab.make("hello-world");
    assert!(first.fresh);
    assert!(!lab.make("library/hello-world").fresh);

    let layer = lab.manifest("hello-world").layers()[0].digest().to_string();
    lab.store.remove_blob(&layer.parse().unwrap()).unwrap();
    let again = lab.make("hello-world");
    assert!(again.fresh, "a missing blob is made again");
    assert_eq!(again.descriptor, first.descriptor);

    lab.store.untag("docker.io/library/hello-world:latest").unwrap();
    assert!(lab.make("hello-world").fresh, "a missing name is set again");
}

#[test]
fn a_changed_program_of_the_host_makes_the_image_anew() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::on(host_without(dir.path(), &["busybox"]));
    let first = lab.make("busybox");
    assert!(!lab.make("busybox").fresh);

    fs::remove_file(dir.path().join("sleep")).unwrap();
    fs::write(dir.path().join("sleep"), "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(dir.path().join("sleep"), fs::Permissions::from_mode(0o755)).unwrap();
    let second = lab.make("busybox");
    assert!(second.fresh);
    assert_ne!(second.descriptor, first.descriptor);
}

#[test]
fn several_who_ask_at_once_get_the_same_image_made_once() {
    let lab = Lab::new();
    let fresh: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| lab.make("hello-world").fresh)).collect();
        threads.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
    });
    assert_eq!(fresh, 1);
}

#[test]
fn a_missing_required_program_is_a_sentence_with_the_package_and_leaves_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::on(host_without(dir.path(), &["bash"]));
    let error = ensure(&lab.store, &lab.catalog, "centos").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the lab image centos needs the program bash, which this host does not have: \
         install it (Debian, Ubuntu: apt install bash; Fedora, RHEL: dnf install bash)"
    );
    assert!(lab.store.entries().unwrap().is_empty());
    assert_eq!(names_in(&lab.store.root().join("lab")), ["centos.lock"]);
}

#[test]
fn a_missing_optional_program_is_told_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::on(host_without(dir.path(), &["ps"]));
    let built = lab.make("centos");
    let ps = built.left_out.iter().find(|l| l.name == "ps").unwrap();
    assert!(ps.packages.contains("apt install procps"), "{ps:?}");
    assert!(!lab.assemble("centos").join("usr/bin/ps").exists());
}

#[test]
fn a_busybox_that_is_not_static_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let host = host_without(dir.path(), &["busybox"]);
    let sleep = host.find_program("sleep").unwrap();
    fs::copy(sleep, dir.path().join("busybox")).unwrap();
    let lab = Lab::on(host);
    lab.make("busybox");
    let root = lab.assemble("busybox");
    assert!(root.join("bin/sh").is_file() && !root.join("bin/busybox").exists());
}

#[test]
fn the_lab_makes_no_image_that_it_has_no_recipe_for() {
    let lab = Lab::new();
    for name in ["nosuch", "../centos", "docker.io/library/centos", ""] {
        assert!(matches!(ensure(&lab.store, &lab.catalog, name), Err(LabError::NoSuchImage(_))), "{name}");
    }
}

#[test]
fn every_library_that_an_elf_header_names_is_in_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let labs =
        [("centos", Lab::new()), ("busybox", Lab::new()), ("busybox", Lab::on(host_without(dir.path(), &["busybox"])))];
    for (name, lab) in labs {
        lab.make(name);
        let root = lab.assemble(name);
        let files = regular_files(&root);
        let present: BTreeSet<&str> = files.iter().filter_map(|f| f.file_name()?.to_str()).collect();
        let mut elves = 0;
        for file in &files {
            let Some(headers) = ElfHeaders::read(&fs::read(file).unwrap()) else {
                continue;
            };
            elves += 1;
            for needed in &headers.needed {
                assert!(present.contains(needed.as_str()), "{name}: {} needs {needed}", file.display());
            }
            if let Some(loader) = &headers.interpreter {
                assert!(in_image(&root, loader).is_file(), "{name}: {} needs {loader}", file.display());
            }
        }
        assert!(elves > 0, "{name}");
    }
}

#[test]
fn every_symbolic_link_of_centos_leads_into_the_image() {
    let lab = Lab::new();
    lab.make("centos");
    let root = lab.assemble("centos");
    let dangling: Vec<PathBuf> = walk(&root)
        .into_iter()
        .filter(|p| p.is_symlink() && !p.ends_with("etc/mtab"))
        .filter(|p| {
            let to = p.parent().unwrap().join(fs::read_link(p).unwrap());
            !fs::canonicalize(to).is_ok_and(|t| t.starts_with(fs::canonicalize(&root).unwrap()))
        })
        .collect();
    assert_eq!(dangling, Vec::<PathBuf>::new());
}

#[test]
fn nothing_in_an_image_is_set_user_id() {
    let lab = Lab::new();
    lab.make("centos");
    for file in regular_files(&lab.assemble("centos")) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o6000, 0, "{}", file.display());
    }
}

#[test]
fn centos_works_as_a_root_directory() {
    let Some(output) = in_chroot("centos", Lab::new(), "ls -x -w 200 /; ps --version; id -un; echo \"${PS1@P}\"")
    else {
        return;
    };
    let lines: Vec<&str> = output.lines().collect();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "bin dev etc home lib lib64 lost+found media mnt opt proc root run sbin srv sys tmp usr var"
    );
    assert!(lines[1].starts_with("ps from"), "{output}");
    assert_eq!(lines[2], "root");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap();
    assert_eq!(lines[3].trim_end(), format!("[root@{host} /]#"));
}

#[test]
fn every_program_of_centos_can_be_loaded() {
    let script = "for p in /usr/bin/* /usr/sbin/*; do \
        $p --version </dev/null >/dev/null 2>/tmp/e; \
        if grep -qE 'error while loading|not found|symbol lookup' /tmp/e; then echo \"$p: $(cat /tmp/e)\"; fi; \
        done; echo end";
    let Some(output) = in_chroot("centos", Lab::new(), script) else {
        return;
    };
    assert_eq!(output, "end\n");
}

#[test]
fn both_kinds_of_busybox_work_as_a_root_directory() {
    let dir = tempfile::tempdir().unwrap();
    for lab in [Lab::new(), Lab::on(host_without(dir.path(), &["busybox"]))] {
        let Some(output) = in_chroot("busybox", lab, "echo $(seq 3); ls -d /bin/sh; id -u; /usr/bin/env -i A=1") else {
            return;
        };
        assert_eq!(output, "1 2 3\n/bin/sh\n0\nA=1\n");
    }
}

/// The output of a script in the image's root directory, with /proc and /dev as a container has them; None,
/// and it says so, where that can't be tried.
fn in_chroot(name: &str, lab: Lab, script: &str) -> Option<String> {
    let namespaces = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
    if !nix::unistd::geteuid().is_root() || !namespaces.is_ok_and(|o| o.status.success()) {
        // Not eprintln!: the test harness would keep it to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name} as a root directory: chroot(2) and unshare(2) need root");
        return None;
    }
    lab.make(name);
    let root = lab.assemble(name);
    let shell: &[&str] = if name == "centos" { &["/bin/bash", "-ic"] } else { &["/bin/sh", "-c"] };
    // Mounts and processes of the namespaces end with the script.
    let enter = "mount -t proc proc $0/proc && mount --bind /dev $0/dev && exec chroot $0 \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter])
        .arg(&root)
        .args(shell)
        .arg(script)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{errors}");
    Some(text)
}

fn walk(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                todo.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

fn regular_files(root: &Path) -> Vec<PathBuf> {
    walk(root).into_iter().filter(|p| !p.is_symlink() && p.is_file()).collect()
}

/// The path under `root`; the images' links are relative, so the host's lookup follows them rightly.
fn in_image(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// What elf(5) headers say of dynamic linking, read without the crate that made the image.
struct ElfHeaders {
    interpreter: Option<String>,
    needed: Vec<String>,
}

impl ElfHeaders {
    fn read(file: &[u8]) -> Option<ElfHeaders> {
        if !file.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let u16_at = |at: usize| u16::from_le_bytes(file[at..at + 2].try_into().unwrap()) as usize;
        let u32_at = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
        let text_at = |at: usize| {
            let end = file[at..].iter().position(|b| *b == 0).unwrap();
            String::from_utf8(file[at..at + end].to_vec()).unwrap()
        };
        let headers: Vec<usize> = (0..u16_at(56)).map(|n| u64_at(32) + n * u16_at(54)).collect();
        let of_kind = |kind: u32| headers.iter().copied().find(|h| u32_at(*h) == kind);
        let interpreter = of_kind(3).map(|h| text_at(u64_at(h + 8)));
        let mut entries: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        if let Some(dynamic) = of_kind(2) {
            let (start, len) = (u64_at(dynamic + 8), u64_at(dynamic + 32));
            for at in (start..start + len).step_by(16) {
                entries.entry(u64_at(at)).or_default().push(u64_at(at + 8));
                if u64_at(at) == 0 {
                    break;
                }
            }
        }
        let offset = |address: usize| {
            let holds =
                |h: &usize| u32_at(*h) == 1 && (u64_at(h + 16)..u64_at(h + 16) + u64_at(h + 32)).contains(&address);
            headers.iter().copied().find(holds).map(|h| address - u64_at(h + 16) + u64_at(h + 8))
        };
        let strings = entries.get(&5).and_then(|s| offset(s[0]));
        let needed = entries.get(&1).into_iter().flatten().filter_map(|n| Some(text_at(strings? + n)));
        Some(ElfHeaders { interpreter, needed: needed.collect() })
    }
}
