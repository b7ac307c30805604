use super::*;
use crate::oci::{Digest, media};
use oci_spec::image::{Descriptor, MediaType};
use std::fs;
use std::io::Write as _;
use std::sync::Arc;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("content")).unwrap();
    (dir, store)
}

fn descriptor(store: &Store, bytes: &[u8]) -> Descriptor {
    let digest = store.put(bytes).unwrap();
    Descriptor::new(MediaType::from(media::OCI_MANIFEST), bytes.len() as u64, &digest)
}

fn files(store: &Store, dir: &str) -> usize {
    fs::read_dir(store.root().join(dir)).unwrap().count()
}

#[test]
fn a_blob_comes_back_as_it_was() {
    let (_dir, store) = store();
    let digest = store.put(b"hello").unwrap();
    assert!(store.has(&digest));
    assert_eq!(store.size(&digest), Some(5));
    assert_eq!(store.read(&digest).unwrap(), b"hello");
    assert_eq!(store.digests().unwrap(), vec![digest.clone()]);
    assert!(store.remove_blob(&digest).unwrap());
    assert!(!store.remove_blob(&digest).unwrap());
    assert!(matches!(store.read(&digest), Err(ContentError::NotFound(_))));
}

#[test]
fn a_blob_with_another_digest_is_not_kept() {
    let (_dir, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"tampered").unwrap();
    let error = writer.commit(&Digest::of(b"genuine"), None).unwrap_err();
    assert!(matches!(error, ContentError::DigestMismatch { .. }));
    assert_eq!((files(&store, "ingest"), files(&store, "blobs/sha256")), (0, 0));
}

#[test]
fn a_blob_of_another_size_is_not_kept() {
    let (_dir, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"half").unwrap();
    let error = writer.commit(&Digest::of(b"half"), Some(8)).unwrap_err();
    assert!(error.to_string().ends_with("4 bytes instead of 8"), "{error}");
    assert_eq!((files(&store, "ingest"), files(&store, "blobs/sha256")), (0, 0));
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let (_dir, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"half").unwrap();
    assert_eq!(files(&store, "ingest"), 1);
    drop(writer);
    assert_eq!(files(&store, "ingest"), 0);
}

#[test]
fn what_a_killed_writer_left_is_swept_and_a_live_writer_is_spared() {
    let (_dir, store) = store();
    fs::write(store.root().join("ingest/.new-dead"), b"half").unwrap();
    let mut live = store.writer().unwrap();
    live.write_all(b"live").unwrap();
    Store::open(store.root()).unwrap();
    assert_eq!(files(&store, "ingest"), 1);
    live.commit(&Digest::of(b"live"), Some(4)).unwrap();
    assert!(store.has(&Digest::of(b"live")));
}

#[test]
fn sealing_tells_the_digest() {
    let (_dir, store) = store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"made here").unwrap();
    assert_eq!(writer.seal().unwrap(), (Digest::of(b"made here"), 9));
}

#[test]
fn a_damaged_blob_is_found_out_when_read_and_healed_when_written_again() {
    let (_dir, store) = store();
    let digest = store.put(b"hello").unwrap();
    fs::write(store.blob_path(&digest), b"hollo").unwrap();
    assert!(matches!(store.read(&digest), Err(ContentError::DigestMismatch { .. })));
    let mut writer = store.writer().unwrap();
    writer.write_all(b"hello").unwrap();
    writer.commit(&digest, None).unwrap();
    assert_eq!(store.read(&digest).unwrap(), b"hello");
}

#[test]
fn names_are_given_moved_and_taken_away() {
    let (_dir, store) = store();
    let (old, new) = (descriptor(&store, b"old"), descriptor(&store, b"new"));
    let name = "docker.io/library/centos:latest";
    store.tag(name, &old).unwrap();
    store.tag("docker.io/library/centos:7", &old).unwrap();
    store.tag(name, &new).unwrap();
    assert_eq!(store.resolve(name).unwrap().unwrap().digest(), new.digest());
    let names: Vec<String> = store.entries().unwrap().into_iter().map(|(n, _)| n).collect();
    assert_eq!(names, [name, "docker.io/library/centos:7"]);
    assert!(store.untag(name).unwrap());
    assert!(!store.untag(name).unwrap());
    assert_eq!(store.resolve(name).unwrap(), None);
}

#[test]
fn the_layout_is_what_the_specification_says() {
    let (_dir, store) = store();
    let descriptor = descriptor(&store, b"{}");
    store.tag("docker.io/library/a:1", &descriptor).unwrap();
    let layout = fs::read_to_string(store.root().join("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
    let index: serde_json::Value = serde_json::from_slice(&fs::read(store.root().join("index.json")).unwrap()).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    let entry = &index["manifests"][0];
    assert_eq!(entry["annotations"][media::REF_NAME], "docker.io/library/a:1");
    assert_eq!(entry["digest"], Digest::of(b"{}").to_string());
}

#[test]
fn a_layout_of_another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("oci-layout"), br#"{"imageLayoutVersion":"9.0"}"#).unwrap();
    let error = Store::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("9.0"), "{error}");
}

#[test]
fn a_damaged_index_is_an_error_that_names_the_file() {
    let (_dir, store) = store();
    fs::write(store.root().join("index.json"), b"{").unwrap();
    let error = store.resolve("x").unwrap_err().to_string();
    assert!(error.contains("index.json is damaged"), "{error}");
}

#[test]
fn many_threads_give_names_and_none_is_lost() {
    let (_dir, store) = store();
    let store = Arc::new(store);
    let descriptor = descriptor(&store, b"x");
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let (store, descriptor) = (Arc::clone(&store), descriptor.clone());
            std::thread::spawn(move || store.tag(&format!("docker.io/library/n:{i}"), &descriptor).unwrap())
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(store.entries().unwrap().len(), 8);
}
