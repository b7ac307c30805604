//! An archive that came from a container as local files. It is not trusted: every directory that its names lead through
//! has to be one, no link, and no name climbs.

use super::plan::{CopyError, Rename};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Entry, EntryType};

/// Unpacks `archive` in the directory `into`, its names changed by `rename`. What is made belongs to who runs this.
///
/// # Errors
/// The first entry that could not be made; those before it stay.
pub fn unpack(archive: impl Read, into: &Path, rename: Option<&Rename>) -> Result<(), CopyError> {
    let mut archive = Archive::new(archive);
    let mut directories = Vec::new();
    for entry in archive.entries().map_err(CopyError::Archive)? {
        let mut entry = entry.map_err(CopyError::Archive)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = rename.map_or(name.clone(), |r| r.apply(&name));
        let below = clean(&name).ok_or_else(|| CopyError::Outside(name.clone(), into.to_owned()))?;
        if below.as_os_str().is_empty() {
            continue;
        }
        let path = into.join(&below);
        make_way(&entry, into, &below)?;
        make(&mut entry, into, &path, rename)?;
        if entry.header().entry_type() == EntryType::Directory {
            directories.push((path, entry.header().clone()));
        }
    }
    // Their times last: each file that is made in one changes it. Their modes too: one may forbid to write.
    for (path, header) in directories.into_iter().rev() {
        finish(&path, &header).map_err(failed("chmod", &path))?;
    }
    Ok(())
}

fn failed(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CopyError + use<> {
    let path = path.display().to_string();
    move |source| CopyError::Local { call, path, source }
}

/// Below the directory, without `.`; none for a name that climbs.
fn clean(name: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => return None,
            _ => {}
        }
    }
    Some(path)
}

/// Makes the directories above, and removes what is in the place of a new file.
fn make_way(entry: &Entry<'_, impl Read>, into: &Path, below: &Path) -> Result<(), CopyError> {
    let mut at = into.to_owned();
    for part in below.parent().unwrap_or(Path::new("")).components() {
        at.push(part);
        match at.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(CopyError::Outside(below.display().to_string(), into.to_owned())),
            Err(_) => fs::create_dir(&at).map_err(failed("mkdir", &at))?,
        }
    }
    let path = into.join(below);
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    let to_dir = entry.header().entry_type() == EntryType::Directory;
    if meta.is_dir() != to_dir {
        return Err(CopyError::KindChanges { old: path, new: into.to_owned(), to_dir });
    }
    if to_dir { Ok(()) } else { fs::remove_file(&path).map_err(failed("unlinkat", &path)) }
}

fn make(entry: &mut Entry<'_, impl Read>, into: &Path, path: &Path, rename: Option<&Rename>) -> Result<(), CopyError> {
    let target = entry.link_name_bytes().map(|t| String::from_utf8_lossy(&t).into_owned()).unwrap_or_default();
    match entry.header().entry_type() {
        EntryType::Directory => match fs::create_dir(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(failed("mkdir", path)(e)),
            _ => Ok(()),
        },
        EntryType::Symlink => symlink(&target, path).map_err(failed("symlink", path)),
        EntryType::Link => {
            let target = rename.map_or(target.clone(), |r| r.apply(&target));
            let outside = || CopyError::Outside(target.clone(), into.to_owned());
            let first = into.join(clean(&target).ok_or_else(outside)?);
            fs::hard_link(first, path).map_err(failed("link", path))
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut file = fs::File::options().write(true).create_new(true).open(path).map_err(failed("open", path))?;
            io::copy(entry, &mut file).map_err(CopyError::Archive)?;
            finish(path, entry.header()).map_err(failed("chmod", path))
        }
        // Devices and fifos need rights that a copy should not.
        _ => Ok(()),
    }
}

/// Mode and time.
fn finish(path: &Path, header: &tar::Header) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(header.mode()? & 0o7777))?;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(header.mtime()?);
    fs::File::open(path)?.set_modified(time)
}

#[cfg(test)]
mod tests {
    use super::super::{pack, source};
    use super::*;

    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (kind, name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if kind.is_file() {
                header.set_size(content.len() as u64);
            } else {
                header.set_size(0);
                header.set_link_name_literal(content).unwrap();
            }
            header.set_cksum();
            builder.append(&header, if kind.is_file() { content.as_bytes() } else { b"" }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn no_archive_reaches_outside() {
        let home = tempfile::tempdir().unwrap();
        let (into, outside) = (home.path().join("into"), home.path().join("outside"));
        fs::create_dir(&into).unwrap();
        fs::create_dir(&outside).unwrap();
        let link = outside.to_str().unwrap();
        for hostile in [
            archive(&[(EntryType::Regular, "../outside/x", "1")]),
            archive(&[(EntryType::Symlink, "l", link), (EntryType::Regular, "l/x", "1")]),
            archive(&[(EntryType::Symlink, "m", "../outside"), (EntryType::Regular, "m/x", "1")]),
            archive(&[(EntryType::Link, "h", "../outside/../secret")]),
        ] {
            fs::write(home.path().join("secret"), "s").unwrap();
            assert!(unpack(&hostile[..], &into, None).is_err());
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
            assert!(!into.join("h").exists());
        }
        // An absolute name starts where it is unpacked.
        unpack(&archive(&[(EntryType::Regular, "/x", "1")])[..], &into, None).unwrap();
        assert_eq!(fs::read_to_string(into.join("x")).unwrap(), "1");
    }

    #[test]
    fn a_file_does_not_replace_a_directory_nor_the_other_way_round() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("d")).unwrap();
        fs::write(home.path().join("f"), "").unwrap();
        let said = |kind, name| unpack(&archive(&[(kind, name, "")])[..], home.path(), None).unwrap_err().to_string();
        assert!(said(EntryType::Regular, "d").starts_with("cannot overwrite directory "));
        assert!(said(EntryType::Directory, "f/").starts_with("cannot overwrite non-directory "));
    }

    #[test]
    fn what_was_packed_is_unpacked_the_same_under_its_new_name() {
        let home = tempfile::tempdir().unwrap();
        let from = home.path().join("from");
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/file"), "content").unwrap();
        fs::set_permissions(from.join("sub"), fs::Permissions::from_mode(0o500)).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        let source = source(from.to_str().unwrap(), false).unwrap();
        let mut bytes = Vec::new();
        pack(&source, None, &mut bytes).unwrap();
        let rename = Rename { old: "from".into(), new: "to".into() };
        unpack(&bytes[..], home.path(), Some(&rename)).unwrap();
        let to = home.path().join("to");
        assert_eq!(fs::read_to_string(to.join("sub/file")).unwrap(), "content");
        assert_eq!(to.join("sub").metadata().unwrap().permissions().mode() & 0o777, 0o500);
        assert_eq!(to.join("link").read_link().unwrap(), Path::new("nowhere"));
    }
}
