//! Names that come and go, and what goes with them.

use super::*;
use std::sync::Mutex;

/// Containers, as a test says.
#[derive(Default)]
struct Made(Mutex<Vec<Use>>);

impl Users for Made {
    fn uses(&self) -> Vec<Use> {
        self.0.lock().unwrap().clone()
    }
}

impl Bench {
    fn container(&self, name: &str, running: bool) -> Arc<Made> {
        let image = self.images.get(name).unwrap();
        let layers = self.images.lower_dirs(&image).unwrap().1;
        let made = Made(Mutex::new(vec![Use { container: "c0ffee".repeat(11), image: image.id, running, layers }]));
        let made = Arc::new(made);
        self.images.used_by(made.clone());
        made
    }

    async fn force(&self, name: &str) -> Result<Vec<Removed>, RemoveError> {
        self.images.remove(name, RemoveImage { force: true, prune: true }).await
    }

    fn tag(&self, source: &str, target: &str) {
        self.images.tag(source, &Reference::parse(target).unwrap().with_default_tag()).unwrap();
    }

    /// All names as `docker images -a` has them.
    fn names(&self) -> Vec<String> {
        let list = self.images.list().unwrap();
        list.into_iter().flat_map(|i| [i.repo_tags, i.repo_digests].concat()).collect()
    }
}

fn untagged(names: &[&str]) -> Vec<Removed> {
    names.iter().map(|n| Removed::Untagged((*n).to_owned())).collect()
}

fn said(result: Result<Vec<Removed>, RemoveError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    error.to_string()
}

#[tokio::test]
async fn a_digest_reference_belongs_to_the_repository_that_was_pulled() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    let digest = bench.pull_ok("centos").await.digest;
    bench.tag("centos", "other/name:1");
    assert_eq!(bench.names(), ["centos:latest", "other/name:1", &format!("centos@{digest}")]);
    assert!(bench.images.get(&format!("other/name@{digest}")).is_err());
    // The last tag of the repository takes its digest along; the image stays.
    let removed = bench.remove("centos").await.unwrap();
    assert_eq!(removed, untagged(&["centos:latest", &format!("centos@{digest}")]));
    assert_eq!(bench.names(), ["other/name:1"]);
    // By digest alone there is no tag.
    let pulled = bench.pull(&format!("centos@{digest}")).await.0;
    assert!(pulled.is_err(), "the registry of the test knows names only");
    bench.remove("other/name:1").await.unwrap();
    bench.assert_clean(0);
}

#[tokio::test]
async fn a_name_that_moves_leaves_the_old_image_without_a_tag() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    let old = bench.pull_ok("centos").await;
    bench.registry.image("centos:latest", &[layer("a"), layer("b")]);
    let new = bench.pull_ok("centos").await;
    assert_eq!(bench.images.get("centos").unwrap().id, new.id);
    let list = bench.images.list().unwrap();
    let kept = list.iter().find(|i| i.id == old.id).unwrap();
    assert_eq!((kept.repo_tags.len(), kept.repo_digests.clone()), (0, vec![format!("centos@{}", old.digest)]));
    // Of tags made here nothing is left but the image itself.
    bench.tag(old.id.as_str(), "mine:1");
    bench.remove(&format!("centos@{}", old.digest)).await.unwrap();
    bench.tag("centos", "mine:1");
    let list = bench.images.list().unwrap();
    let kept = list.iter().find(|i| i.id == old.id).unwrap();
    assert_eq!((kept.repo_tags.len(), kept.repo_digests.len()), (0, 0));
    let removed = bench.remove(old.id.short()).await.unwrap();
    assert_eq!(removed, [Removed::Deleted(old.id)], "its layer is the other's too");
    bench.assert_clean(2);
    assert!(bench.images.lower_dirs(&bench.images.get("mine:1").unwrap()).is_ok());
}

#[tokio::test]
async fn conflicts_are_told_in_dockers_words() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    let pulled = bench.pull_ok("centos").await;
    let short = pulled.id.short().to_owned();
    bench.tag("centos", "one:1");
    let names =
        format!("conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories");
    assert_eq!(said(bench.remove(&short).await), names);
    let made = bench.container("centos", false);
    bench.remove("one:1").await.unwrap();
    let last = format!(
        "conflict: unable to remove repository reference \"centos\" (must force) - container c0ffeec0ffee is using its referenced image {short}"
    );
    assert_eq!(said(bench.remove("centos").await), last);
    let stopped = format!(
        "conflict: unable to delete {short} (must be forced) - image is being used by stopped container c0ffeec0ffee"
    );
    assert_eq!(said(bench.remove(&short).await), stopped);
    made.0.lock().unwrap()[0].running = true;
    let running = format!(
        "conflict: unable to delete {short} (cannot be forced) - image is being used by running container c0ffeec0ffee"
    );
    assert_eq!(said(bench.force(&short).await), running);
    // By force the name goes, and nothing else.
    let removed = bench.force("centos").await.unwrap();
    assert_eq!(removed, untagged(&["centos:latest", &format!("centos@{}", pulled.digest)]));
    assert_eq!(bench.images.get(&short).unwrap().id, pulled.id);
    bench.assert_clean(1);
}

#[tokio::test]
async fn a_stopped_container_keeps_its_layers_when_the_image_goes() {
    let bench = Bench::new();
    let blobs = bench.registry.image("centos:latest", &[layer("a"), layer("b")]);
    let id = bench.pull_ok("centos").await.id;
    let made = bench.container("centos", false);
    let removed = bench.force("centos").await.unwrap();
    assert_eq!(removed.last(), Some(&Removed::Deleted(id)), "no layer went");
    assert!(bench.images.list().unwrap().is_empty());
    assert!(!bench.images.store().has(&blobs[0]), "the packed layer is of no use to it");
    bench.assert_clean(2);
    // The same after a restart of the daemon, which collects.
    assert_eq!(bench.images.collect().await.unwrap(), 0);
    bench.assert_clean(2);
    made.0.lock().unwrap().clear();
    assert!(bench.images.collect().await.unwrap() >= 8000);
    bench.assert_clean(0);
}

#[tokio::test]
async fn what_is_held_stays_until_it_is_let_go() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    let id = bench.pull_ok("centos").await.id;
    // As a push does, or a container that is being made.
    let (image, lease) = bench.images.hold("centos").unwrap();
    let removed = bench.remove("centos").await.unwrap();
    assert_eq!(removed.last(), Some(&Removed::Deleted(id)));
    assert!(bench.images.lower_dirs(&image).is_ok());
    assert!(image.parts().iter().take(2).all(|blob| bench.images.store().has(blob)));
    drop(lease);
    bench.images.collect().await.unwrap();
    bench.assert_clean(0);
    assert!(bench.images.store().digests().unwrap().is_empty());
}

#[tokio::test]
async fn a_pull_that_waits_for_the_network_does_not_hold_up_a_removal() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    bench.pull_ok("centos").await;
    let blobs = bench.registry.image("mysql:latest", &[layer("a"), layer("b")]);
    bench.registry.fault(&blobs[1], Some(Fault::Hangs));
    let (to, mut from) = unbounded_channel();
    let reference = Reference::parse("mysql").unwrap();
    let mut pull = Box::pin(bench.images.pull(&reference, Some("linux/amd64"), None, to));
    loop {
        tokio::select! {
            _ = &mut pull => panic!("it hangs"),
            message = from.recv() => {
                if line(&message.unwrap()).ends_with("Downloading") {
                    break;
                }
            }
        }
    }
    let removed = tokio::select! {
        _ = &mut pull => panic!("it hangs"),
        removed = bench.remove("centos") => removed.unwrap(),
    };
    // The layer that the pull has found to exist stays.
    assert!(matches!(removed.last(), Some(Removed::Deleted(d)) if removed.len() == 3 && *d != blobs[0]), "{removed:?}");
    assert!(bench.images.store().has(&blobs[0]));
    drop(pull);
    bench.registry.fault(&blobs[1], None);
    bench.registry.opened();
    bench.pull_ok("mysql").await;
    assert_eq!(bench.registry.opened().len(), 2, "config and one layer");
    bench.assert_clean(2);
}

#[tokio::test]
async fn an_index_that_cannot_be_followed_keeps_everything() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    bench.pull_ok("centos").await;
    let store = bench.images.store();
    let nonsense = descriptor(media::OCI_MANIFEST, b"no JSON");
    store.put(b"no JSON").unwrap();
    store.tag("docker.io/library/damaged:1", &nonsense).unwrap();
    assert!(bench.images.collect().await.is_err());
    bench.assert_clean(1);
    store.untag("docker.io/library/damaged:1").unwrap();
    bench.images.collect().await.unwrap();
    assert!(!store.has(&Digest::of(b"no JSON")));
    bench.assert_clean(1);
}

#[tokio::test]
async fn a_prune_takes_what_has_no_tag_and_with_all_what_nobody_uses() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    let old = bench.pull_ok("centos").await;
    bench.registry.image("centos:latest", &[layer("b")]);
    bench.registry.image("mysql:latest", &[layer("c")]);
    bench.pull_ok("centos").await;
    bench.pull_ok("mysql").await;
    let _made = bench.container("mysql", false);
    let filter = ImageFilter::default();
    let (removed, bytes) = bench.images.prune(&filter, false).await.unwrap();
    assert_eq!(removed[0], Removed::Untagged(format!("centos@{}", old.digest)));
    assert_eq!((removed.len(), removed[1].clone()), (3, Removed::Deleted(old.id)));
    assert!((4000..8000).contains(&bytes), "{bytes}");
    let named = ImageFilter { labels: vec!["made.for=nobody".into()], ..ImageFilter::default() };
    assert!(bench.images.prune(&named, true).await.unwrap().0.is_empty());
    bench.images.prune(&filter, true).await.unwrap();
    assert_eq!(bench.images.list().unwrap()[0].repo_tags, ["mysql:latest"], "its container needs it");
    bench.assert_clean(1);
}

#[tokio::test]
async fn an_image_made_from_another_is_its_child() {
    let bench = Bench::new();
    bench.registry.image("centos:latest", &[layer("a")]);
    bench.registry.image("child:latest", &[layer("a"), layer("b")]);
    let base = bench.pull_ok("centos").await;
    bench.pull_ok("child").await;
    // As a commit does it.
    let child = bench.images.get("child").unwrap();
    let mut descriptor = child.descriptor.clone();
    descriptor.set_annotations(Some(HashMap::from([(PARENT.to_owned(), base.id.to_string())])));
    bench.force("child").await.unwrap();
    bench.pull_ok("child").await;
    bench.images.give(&[Reference::parse("made:1").unwrap()], &descriptor).unwrap();
    bench.remove("child").await.unwrap();
    assert_eq!(bench.images.history("made:1").unwrap().len(), 0, "the config has no history");
    let said = said(bench.force(base.id.short()).await);
    assert!(said.ends_with("(cannot be forced) - image has dependent child images"), "{said}");
    // Its name may go; then the child takes it along.
    bench.remove("centos").await.unwrap();
    let removed = bench.remove("made:1").await.unwrap();
    let deleted = |r: &&Removed| matches!(r, Removed::Deleted(_));
    assert_eq!(removed.iter().filter(deleted).count(), 4, "two images, two layers: {removed:?}");
    bench.assert_clean(0);
}

#[tokio::test]
async fn a_removal_that_is_cut_off_anywhere_is_finished_by_the_next_start() {
    use crate::kernel::Errno;
    use crate::kernel::faulty::Faulty;
    let registry = Registry::default();
    registry.image("centos:latest", &[layer("a"), layer("b")]);
    let reference = Reference::parse("centos").unwrap();
    for at in 0.. {
        let home = tempfile::tempdir().unwrap();
        open(home.path(), &registry).pull(&reference, Some("linux/amd64"), None, unbounded_channel().0).await.unwrap();
        let faulty = Arc::new(Faulty::new(LinuxKernel, at, Errno::EIO));
        let remote = Arc::new(registry.clone());
        // A kernel that fails from the start cannot even open the store.
        if let Ok(images) = Images::open(home.path(), Arc::clone(&faulty) as _, remote, options()) {
            let _ = images.remove("centos", RemoveImage { force: false, prune: true }).await;
        }
        let images = open(home.path(), &registry);
        match images.get("centos") {
            Ok(image) => drop(images.lower_dirs(&image).unwrap()),
            Err(_) => {
                images.collect().await.unwrap();
                assert_eq!(std::fs::read_dir(home.path().join("snapshots")).unwrap().count(), 0, "call {at}");
                assert!(images.store().digests().unwrap().is_empty(), "call {at}");
            }
        }
        images.pull(&reference, Some("linux/amd64"), None, unbounded_channel().0).await.unwrap();
        if faulty.made() <= at {
            break;
        }
    }
}
