//! A planned layer as the bytes that a registry serves: a tar, compressed with gzip.
//!
//! The bytes depend on the plan and on the files only: entries in the order of their names, user and group
//! 0 without names, one modification time for all, no name and no time in the gzip header. So the same
//! host gives the same digest every time, and a layer that is here already is not stored twice.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};

use super::plan::{Content, Entry, PlannedLayer};
use crate::oci::{Digest, Digester};

/// A compromise: for centos, level 1 gives 21 % more bytes in 15 % less time, level 6 gives 2 % fewer bytes
/// in 25 % more time.
const LEVEL: u32 = 3;

/// Part of what an image is made from: to be raised when the same plan gives other bytes than before.
pub const PACKING: u32 = 1;

/// What came out of packing a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Of the tar: the layer's name in the image config.
    pub diff_id: Digest,
    /// Bytes of all files in it.
    pub content: u64,
    pub entries: usize,
}

/// Writes the layer to `out`. `modified` is in seconds since 1970.
pub fn pack<W: Write>(layer: &PlannedLayer, modified: u64, out: W) -> io::Result<(Packed, W)> {
    let gzip = GzBuilder::new().write(out, Compression::new(LEVEL));
    let mut tar = tar::Builder::new(Digesting { out: gzip, digester: Digester::new() });
    let mut content = 0;
    for (path, entry) in &layer.entries {
        content += append(&mut tar, path, entry, modified)?;
    }
    let Digesting { out: gzip, digester } = tar.into_inner()?;
    let out = gzip.finish()?;
    let packed = Packed { diff_id: digester.finish(), content, entries: layer.entries.len() };
    Ok((packed, out))
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &str, entry: &Entry, modified: u64) -> io::Result<u64> {
    let mut header = tar::Header::new_ustar();
    header.set_mtime(modified);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match entry {
        Entry::Dir { mode } => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(*mode);
            tar.append_data(&mut header, format!("{path}/"), io::empty())?;
            Ok(0)
        }
        Entry::Symlink { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, path, target)?;
            Ok(0)
        }
        Entry::HardLink { to, mode } => {
            header.set_entry_type(tar::EntryType::Link);
            header.set_mode(*mode);
            tar.append_link(&mut header, path, to)?;
            Ok(0)
        }
        Entry::File { mode, content } => {
            // Read whole (a program is a few megabytes): the header's size is then that of what follows,
            // even if a package manager replaces the file at this moment.
            let bytes = match content {
                Content::Bytes(bytes) => std::borrow::Cow::Borrowed(&bytes[..]),
                Content::Host(file) => std::fs::read(file).map_err(|e| with_path(file, &e))?.into(),
            };
            header.set_mode(*mode);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, &bytes[..])?;
            Ok(bytes.len() as u64)
        }
    }
}

fn with_path(file: &std::path::Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// Passes bytes on, and knows their digest.
struct Digesting<W> {
    out: W,
    digester: Digester,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.digester.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    fn layer() -> PlannedLayer {
        let entries = BTreeMap::from([
            ("b".to_owned(), Entry::Dir { mode: 0o1777 }),
            ("b/file".to_owned(), Entry::File { mode: 0o640, content: Content::Bytes(b"abc".to_vec()) }),
            ("b/link".to_owned(), Entry::HardLink { to: "b/file".into(), mode: 0o640 }),
            ("a".to_owned(), Entry::Symlink { target: "b".into() }),
        ]);
        PlannedLayer { comment: String::new(), entries }
    }

    #[test]
    fn equal_layers_give_equal_bytes() {
        let (one, bytes) = pack(&layer(), 1_000, Vec::new()).unwrap();
        let (two, again) = pack(&layer(), 1_000, Vec::new()).unwrap();
        assert_eq!(one, two);
        assert!(bytes == again);
        assert_ne!(pack(&layer(), 1_001, Vec::new()).unwrap().0.diff_id, one.diff_id);
    }

    #[test]
    fn the_diff_id_is_the_digest_of_the_uncompressed_tar() {
        let (packed, bytes) = pack(&layer(), 1_000, Vec::new()).unwrap();
        assert_eq!((packed.content, packed.entries), (3, 4));
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut tar).unwrap();
        assert_eq!(packed.diff_id, Digest::of(&tar));
    }

    #[test]
    fn entries_are_sorted_and_belong_to_root_at_one_time() {
        let (_, bytes) = pack(&layer(), 1_000, Vec::new()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let seen: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let h = entry.header();
                assert_eq!((h.uid().unwrap(), h.gid().unwrap(), h.mtime().unwrap()), (0, 0, 1_000));
                (entry.path().unwrap().display().to_string(), h.mode().unwrap())
            })
            .collect();
        let expected = [("a", 0o777), ("b/", 0o1777), ("b/file", 0o640), ("b/link", 0o640)];
        assert_eq!(seen, expected.map(|(p, m)| (p.to_owned(), m)));
    }
}
